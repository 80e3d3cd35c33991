"""The training curves in the source's own form, for scripts that read its log.csv."""

import csv
from pathlib import Path

from medvial.errors import InputError
from medvial.outputs import read_json, write_bytes

LOGS = "source_logs"
FOLDERS = {"segmentation": "segmentation", "ejection_fraction": "video"}  # the source's names
DICE = ("dice", "dice_large", "dice_small")

Row = dict[str, str]


def write_source_logs(out: Path, logs: Path) -> None:
    """Write source_logs/segmentation/log.csv and .../video/log.csv, without header as the source.

    Columns: epoch, phase (train, val), loss, Dice overall, large and small (video: R2), seconds,
    samples, bytes allocated and reserved, batch size. What was not logged is empty; a loss is then
    nan, so that it can be read as a number.

    Args:
        out: Folder of step 3's results.
        logs: Holds <network>/log.csv and settings.json of the training, where there was one.
    """
    for name, folder in FOLDERS.items():
        path, target = logs / name / "log.csv", out / LOGS / folder / "log.csv"
        if not path.is_file():
            target.unlink(missing_ok=True)  # nor one of an earlier test
            continue
        with path.open(newline="", encoding="utf-8") as file:
            epochs = list(csv.DictReader(file))
        lines = _lines(epochs, name, _batch_size(logs / name / "settings.json", name))
        target.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(target, "".join(f"{line}\n" for line in lines).encode())


def _lines(epochs: list[Row], name: str, batch: str) -> list[str]:
    lines = []
    for row in epochs:
        scores = {"train": [""] * 3, "val": [row.get(f"valid/{n}", "") for n in DICE]}
        if name == "ejection_fraction":  # R2, which is not logged
            scores = {"train": [""], "val": [""]}
        losses = {"train": row.get("train/loss"), "val": _validation_loss(row)}
        lines += [
            ",".join(
                [row["epoch"], phase, losses[phase] or "nan", *scores[phase], *[""] * 4, batch]
            )
            for phase in ("train", "val")
        ]
    return lines


def _validation_loss(row: Row) -> str | None:
    """The logged loss; of the ejection fraction the mean squared error, as the source's."""
    rmse = row.get("valid/rmse")
    return f"{float(rmse) ** 2:.6g}" if rmse else row.get("valid/loss")


def _batch_size(settings: Path, name: str) -> str:
    try:
        return str(read_json(settings)[f"{name}_fit"]["batch_size"])
    except (InputError, KeyError, TypeError):
        return ""
