"""Step 3 of walking: scores by patient, and what they rest on."""

import dataclasses
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from medvial.errors import InputError
from medvial.gait.config import TASK, WALKING, Config
from medvial.models import ModelFolder, load_network
from medvial.outputs import read_json
from medvial.video_classification.config import ClipConfig
from medvial.video_classification.learned import Learned
from medvial.video_classification.model import build_model
from medvial_training.classification_scores import classification_scores
from medvial_training.clips.dataset import Item
from medvial_training.clips.predictions import Prediction, predict, predictions_table
from medvial_training.clips.store import ClipStore
from medvial_training.cross_validation import PREDICTIONS
from medvial_training.fold_manifest import FINAL
from medvial_training.folds import load_folds
from medvial_training.metrics import Bootstrap
from medvial_training.patients import name_key
from medvial_training.provenance import DATA_FIELDS
from medvial_training.shares import join_shares
from medvial_training.tables import write_csv
from medvial_training.tasks.gait.overlap import overlap_in_words, parts_of, warn
from medvial_training.tasks.gait.systems import CROSS_VALIDATION, SOURCE, same_folds
from medvial_training.tasks.gait.walking.prepare import FOLDS, PEOPLE
from medvial_training.tasks.gait.walking.report import Tested, write_section
from medvial_training.tasks.gait.walking.train import TEXT, check_prepared, items_of

log = logging.getLogger(__name__)

PER_VIDEO = "per_video.csv"
BRIEF = ("accuracy", "balanced_accuracy", "sensitivity", "specificity", "auroc", "macro_f1")

NEVER_SEEN = {
    CROSS_VALIDATION: "cross-validation: every patient by a network that was neither trained nor "
    "chosen on them",
    "test": "the test part, which the model was neither trained nor chosen on",
}
OTHER = "another selection of data than the model's own: "
SEEN = {
    "train": "the very patients that the model was trained on: not a test",
    "valid": "the patients that the model was chosen on: not an independent test",
    "all": "all patients, those that the model was trained on among them: not a test",
}


def evaluate_system(
    data: Path,
    model: Path,
    run: Path | None,
    out: Path,
    *,
    split: str,
    pictures: int,
    bootstrap: Bootstrap,
    progress: bool,
) -> tuple[dict[str, Any], Markup] | None:
    """Score the predictions by patient, and show what they rest on.

    Writes per_video.csv (where the model itself was tested with `in_training`: the part of its own
    data that the very file was in), per_patient.csv, figures/ and looks/ into OUT.

    Args:
        data: Folder that step 1 wrote.
        model: Model folder of gait.
        run: The system's folder of the run that made it, with the pooled predictions of its
            cross-validation; None where that is not known.
        out: Folder for the results.
        split: cross_validation; or the part of the final network's folds to classify with the
            model itself: train, valid, test; all for every video.
        pictures: Videos to draw with what the network looked at: half worst, half typical ones.
        bootstrap: Of the intervals.
        progress: Show progress bars.

    Returns:
        Metrics, JSON-ready, and the section of the report; None in processes beside the main one.

    Raises:
        InputError: There is nothing of that split, or the model has no such system.
    """
    folder = ModelFolder.open(model, task=TASK)
    config = Config.of(folder).walking
    if config is None:
        raise InputError(f"Expected a model of walking in {model}, got one of leg agility alone.")
    same = same_folds(folder, data, WALKING)
    pooled = split == CROSS_VALIDATION
    table = (
        _pooled(run, same, data) if pooled else _classified(folder, config, data, split, progress)
    )
    if table is None or join_shares().rank:  # the main process goes on alone
        return None
    parts = None if pooled else parts_of(folder.manifest, WALKING, data, table["video"].tolist())
    warn(None if same else parts, table["video"].tolist(), "videos", out / PER_VIDEO)
    metrics = _scores(table, config, bootstrap) | {
        "quality": _quality(table, config, data, bootstrap),
        "unseen": _unseen(table, parts, config, bootstrap),
    }
    metrics |= _circumstances(data, folder, config)
    metrics |= {"split": split, **_independence(split, same, parts)}
    metrics["bootstrap"] = {"unit": "patient", **vars(bootstrap)}
    _write_tables(out, table if parts is None else table.assign(in_training=parts), config)
    tested = Tested(data, config, table, metrics, f"{100 * bootstrap.level:g} %", model, run)
    section = write_section(out, tested, pictures, progress)
    _log_result(metrics)
    return metrics, section


def _pooled(run: Path | None, same: bool | None, data: Path) -> pd.DataFrame:
    """The predictions of the folds' networks on their test patients."""
    path = None if run is None else run / PREDICTIONS
    if path is None or not path.is_file():
        raise InputError(
            "Expected the pooled predictions of a cross-validation beside the model, got none. "
            "Run step 2, or test the model itself with --split test or all."
        )
    if not same:
        raise InputError(
            f"Expected the data that the cross-validation of {run} was made with, got others in "
            f"{data}. Test the model itself on them with --split all."
        )
    return pd.read_csv(path, dtype=TEXT, keep_default_na=False)


def _classified(
    folder: ModelFolder, config: ClipConfig, data: Path, split: str, progress: bool
) -> pd.DataFrame | None:
    """What the model itself says of the videos of a part, by the container's code.

    Each process classifies a share; the main one has the result, the others None.
    """
    check_prepared(data, config)
    folds = load_folds(data / FOLDS)
    part = folds.table if split == "all" else folds.part(FINAL, split)
    if part.empty:
        raise InputError(
            f"Expected videos of {FINAL} {split} in {data / FOLDS}, got none. Choose another "
            "--split: cross_validation or all."
        )
    part = part[part["label"].isin(config.labels)].reset_index(drop=True)
    learned = read_learned(folder)
    network = load_network(folder, lambda: build_model(config), WALKING)
    store = ClipStore(data)

    def work(item: Item) -> Prediction:
        return next(predict(store, [item], network, config, learned.temperature))

    items = items_of(part, config)
    said = join_shares().map(
        work, items, description="Classifying", unit="video", progress=progress
    )
    if said is None:
        return None
    table = predictions_table(said, config, learned)
    return table.assign(group=part["group"], site=part["site"], fold="model")


def read_learned(folder: ModelFolder) -> Learned:
    """What was learned after training."""
    return Learned.from_dict(folder.read_json("postprocess.json")[WALKING])


def _scores(table: pd.DataFrame, config: ClipConfig, bootstrap: Bootstrap) -> dict[str, Any]:
    """By patient, by video, and by patient of each fold and site."""

    def scored(rows: pd.DataFrame, by: Any = "patient") -> dict[str, Any]:
        return classification_scores(
            rows, config.labels, config.positive, by=by, bootstrap=bootstrap
        )

    result: dict[str, Any] = {"patients": scored(table), "videos": scored(table, "video")}
    for name in ("fold", "site"):
        parts = {value: rows for value, rows in table.groupby(name) if value}
        brief = {str(value): _brief(scored(rows)) for value, rows in parts.items()}
        result[f"by_{name}"] = brief if len(brief) > 1 else {}
    return result


def _brief(scores: dict[str, Any]) -> dict[str, Any]:
    return {n: scores[n] for n in ("patients", "videos", *BRIEF) if n in scores}


def _quality(
    table: pd.DataFrame, config: ClipConfig, data: Path, bootstrap: Bootstrap
) -> dict[str, Any]:
    """How well the patients were followed, and whether that makes a difference, by video."""
    people = pd.read_csv(data / PEOPLE, dtype={"video": str, "warnings": str}).set_index("video")
    people = people.reindex(table["video"])
    warned = (people["warnings"].fillna("") != "").to_numpy()
    found = (people["method"] == "pose").to_numpy()
    parts = {"without_warning": ~warned, "with_warning": warned, "by_motion": ~found}
    return {
        name: {"videos": int(chosen.sum())}
        | (
            _brief(
                classification_scores(
                    table[chosen], config.labels, config.positive, by="video", bootstrap=bootstrap
                )
            )
            if chosen.any()
            else {}
        )
        for name, chosen in parts.items()
    }


def _unseen(
    table: pd.DataFrame, parts: list[str] | None, config: ClipConfig, bootstrap: Bootstrap
) -> dict[str, Any] | None:
    """Scores of the patients none of whose files the model has learned from, if there are others.

    None where it is not known, or all or none of them are such.
    """
    if parts is None:
        return None
    learned, known = np.array(parts) != "", np.zeros(len(table), dtype=bool)
    for names in (table["patient"].map(name_key), table["group"]):
        known |= names.isin(names[learned]).to_numpy()
    if known.all() or not known.any():
        return None
    return _brief(
        classification_scores(table[~known], config.labels, config.positive, bootstrap=bootstrap)
    )


def _independence(split: str, same: bool | None, parts: list[str] | None) -> dict[str, Any]:
    """What was tested, in words, and whether the network had never seen it; None: not known."""
    if same:
        return {
            "tested": NEVER_SEEN.get(split) or SEEN[split],
            "never_seen": split in NEVER_SEEN,
        }
    # The same videos may have been prepared anew, with other folds.
    return {
        "tested": OTHER + overlap_in_words(parts, "videos"),
        "never_seen": False if parts and any(parts) else None,
    }


def _circumstances(data: Path, folder: ModelFolder, config: ClipConfig) -> dict[str, Any]:
    """What was tested on what; no path of a machine."""
    source, manifest = read_json(data / SOURCE), folder.manifest
    return {
        "phantom": bool(source.get("phantom")),
        "data": {name: source.get(name) for name in DATA_FIELDS},
        "model": {
            "config": dataclasses.asdict(config),
            "learned": read_learned(folder).as_dict(),
            "files": {k: v for k, v in manifest.files.items() if k.startswith(WALKING)},
            "trained_on": manifest.training.get("data", {}).get("description")
            or "data that its manifest does not name",
            "trained_on_phantoms": bool(manifest.training.get("data", {}).get("phantom")),
        },
    }


def _write_tables(out: Path, table: pd.DataFrame, config: ClipConfig) -> None:
    columns = [f"p_{label}" for label in config.labels]
    write_csv(out / PER_VIDEO, [str(name) for name in table], table.to_numpy().tolist())
    first = dict.fromkeys(("site", "fold"), "first")
    means = dict.fromkeys([*columns, "threshold"], "mean")
    rows = table.groupby(["patient", "label"], sort=False, as_index=False)
    patients = rows.agg({**first, **means, "video": "count"}).rename(columns={"video": "videos"})
    write_csv(
        out / "per_patient.csv",
        [str(name) for name in patients],
        patients.to_numpy().tolist(),
    )


def _log_result(metrics: dict[str, Any]) -> None:
    scores = metrics["patients"]
    told = [
        f"{name.replace('_', ' ')} {scores[name]['value']:.3f}"
        for name in ("auroc", "balanced_accuracy", "accuracy")
        if name in scores and scores[name]["value"] is not None
    ]
    phantom = "; PHANTOMS, says nothing about clinical accuracy" if metrics["phantom"] else ""
    seen = {True: "never seen in training", False: "NOT a test"}.get(
        metrics["never_seen"], "other data"
    )
    log.info(
        "Walking, %d patients, %s: %s (%s%s).",
        *(scores["patients"], seen, ", ".join(told), metrics["tested"], phantom),
    )
