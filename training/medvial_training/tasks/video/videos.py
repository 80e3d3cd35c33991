"""What step 1 left, as the later steps read it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from medvial.errors import InputError
from medvial.models import config_from_dict
from medvial.outputs import read_json
from medvial.video_classification import ClipConfig
from medvial_training.clips.dataset import Item
from medvial_training.clips.store import ClipStore
from medvial_training.leaks import assert_apart
from medvial_training.splits import SPLITS, load_splits
from medvial_training.tasks.video.prepare import CONFIG, SOURCE

if TYPE_CHECKING:
    import pandas as pd

Split = Literal["train", "valid", "test"]


@dataclass(frozen=True)
class Prepared:
    """A prepared folder, its splits checked to share no patient, group or video."""

    folder: Path
    config: ClipConfig
    store: ClipStore
    splits: "dict[str, pd.DataFrame]"
    about: dict[str, Any]

    @classmethod
    def open(cls, folder: Path) -> "Prepared":
        """Read and check it.

        Raises:
            InputError: It is not what step 1 writes, or two splits share something.
        """
        if not (folder / CONFIG).is_file():
            raise InputError(f"Expected prepared videos in {folder}, found none. Run step 1 first.")
        config = config_from_dict(ClipConfig, read_json(folder / CONFIG), where=folder / CONFIG)
        splits = load_splits(folder)
        _check(splits, config, folder)
        about = read_json(folder / SOURCE) if (folder / SOURCE).is_file() else {}
        return cls(folder, config, ClipStore(folder), splits, about)

    @property
    def patients_known(self) -> bool:
        """Whether the source names patients, so that scores are theirs."""
        return any((t["patient"] != t["image_id"]).any() for t in self.splits.values())

    def items(self, split: str, labels: tuple[str, ...]) -> list[Item]:
        """The videos of a split, their classes numbered as in `labels`.

        Raises:
            InputError: One has a class that is none of them.
        """
        table, number = self.splits[split], {label: n for n, label in enumerate(labels)}
        unknown = sorted(set(table["label"]) - number.keys())
        if unknown:
            raise InputError(
                f"Expected videos of the model's classes in {self.folder / split}.csv, got "
                f"{', '.join(unknown[:5])}; it knows {', '.join(labels[:8])}"
                f"{', …' if len(labels) > 8 else ''}."
            )
        known = self.patients_known
        return [
            Item(name, number[label], patient if known else "")
            for name, label, patient in zip(
                table["image_id"], table["label"], table["patient"], strict=True
            )
        ]

    def check_config(self, config: ClipConfig) -> None:
        """Refuse a configuration that the stored frames do not fit.

        Raises:
            InputError: Names what differs.
        """
        wrong = [
            f"{name} {getattr(self.config, name):g} there, {getattr(config, name):g} here"
            for name in ("resize", "fps")
            if getattr(self.config, name) != getattr(config, name)
        ]
        if wrong:
            raise InputError(
                f"{self.folder} was prepared with other settings: {', '.join(wrong)}. Run step 1 "
                "with the settings wanted here, into this folder or into another one for --data."
            )


def _check(splits: "dict[str, pd.DataFrame]", config: ClipConfig, folder: Path) -> None:
    import pandas as pd

    for split, table in splits.items():
        if "label" not in table:
            raise InputError(f"Expected a column label in {folder / split}.csv, got none.")
        as_text = pd.read_csv(folder / f"{split}.csv", dtype=str, keep_default_na=False)
        table["label"] = as_text["label"]  # "01" is a name, not a number
        unknown = sorted(set(table["label"]) - set(config.labels))
        if unknown:
            raise InputError(
                f"Expected the classes of {folder / CONFIG} in {folder / split}.csv, got "
                f"{unknown[0]} as well. Run step 1 again."
            )
    table = pd.concat([splits[s].assign(part=s) for s in SPLITS], ignore_index=True)
    columns = {"video": "image_id", "patient": "patient", "group": "group", "sha256": "sha256"}
    known = {
        key: table[name].fillna("").astype(str).tolist()
        for key, name in columns.items()
        if name in table
    }
    assert_apart(known, table["part"].tolist(), known["video"], str(folder))
