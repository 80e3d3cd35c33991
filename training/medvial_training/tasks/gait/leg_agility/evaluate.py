"""Step 3 of leg agility: how good the ratings are, and what they rest on."""

import logging
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from medvial.errors import InputError
from medvial.gait.config import TASK, Config
from medvial.gait.leg_agility.config import LegConfig
from medvial.gait.leg_agility.model import build_model
from medvial.gait.leg_agility.rating import NAME, rate
from medvial.gait.leg_agility.signals import LEGS
from medvial.models import ModelFolder, load_network
from medvial.outputs import read_json
from medvial_training.cross_validation import PREDICTIONS
from medvial_training.fold_manifest import FINAL
from medvial_training.folds import load_folds
from medvial_training.metrics import Bootstrap
from medvial_training.provenance import DATA_FIELDS
from medvial_training.shares import join_shares
from medvial_training.tasks.gait.leg_agility.recordings import Recordings
from medvial_training.tasks.gait.leg_agility.report import Tested, write_section
from medvial_training.tasks.gait.leg_agility.scores import all_scores, in_words
from medvial_training.tasks.gait.leg_agility.tables import with_refused, write_tables
from medvial_training.tasks.gait.leg_agility.train import FOLDS, majority_of
from medvial_training.tasks.gait.overlap import VIDEOS, overlap_in_words, parts_of, warn
from medvial_training.tasks.gait.systems import CROSS_VALIDATION, SOURCE, same_folds

log = logging.getLogger(__name__)

POOLED = (
    "cross-validation: every patient rated by a network that never saw them, nor was chosen by them"
)
HELD_OUT = "the test part of the final network, which never saw these patients"
OTHER = "the model itself, on another selection of data than its own: "
SEEN = "recordings that the model was trained on or chosen by: not a test"


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
    """Score the ratings, and show what they rest on.

    Writes predictions.csv, kinematics.csv, figures/ and recordings/ into OUT.

    Args:
        data: Folder that step 1 wrote.
        model: Model folder of gait.
        run: The system's folder of the run that made it, with the pooled predictions of its
            cross-validation; None where that is not known.
        out: Folder for the results.
        split: cross_validation, or the part of the final network's folds to rate with the model
            itself: train, valid, test; all for every recording.
        pictures: Recordings to draw: half of them the worst, half typical ones.
        bootstrap: Of the intervals.
        progress: Show progress bars.

    Returns:
        Metrics, JSON-ready, and the section of the report; None in processes beside the main one.

    Raises:
        InputError: There is nothing of that split, or the model has no such system.
    """
    folder = ModelFolder.open(model, task=TASK)
    config = Config.of(folder).leg_agility
    if config is None:
        raise InputError(f"Expected a model of leg agility in {model}, got one of walking alone.")
    recordings = Recordings.open(data)
    same = same_folds(folder, data, NAME)
    table: pd.DataFrame | None
    if split == CROSS_VALIDATION:
        table, how = with_refused(_pooled(run, data, same), recordings), POOLED
    else:
        table = rate_recordings(folder, config, recordings, _videos(data, split), progress)
        if table is not None and split == "all":
            table = with_refused(table, recordings)
        how = HELD_OUT if split == "test" else SEEN
        if not same and table is not None:
            how = OTHER + _known(folder, data, table)
    if table is None or join_shares().rank:  # the main process goes on alone
        return None
    phantom = bool(read_json(data / SOURCE).get("phantom"))
    metrics = _circumstances(data, folder, config, split, how) | {
        "phantom": phantom,
        "bootstrap": {"unit": "patient", **vars(bootstrap)},
        "scores": all_scores(table, config.levels, bootstrap),
    }
    write_tables(out, table, recordings)
    tested = Tested(recordings, config, table, metrics, f"{100 * bootstrap.level:g} %", run)
    section = write_section(out, tested, pictures, progress)
    for line in in_words(metrics["scores"], phantom):
        log.info("Leg agility, %s", line)
    return metrics, section


def rate_recordings(
    folder: ModelFolder,
    config: LegConfig,
    recordings: Recordings,
    videos: pd.Series,
    progress: bool = False,
) -> pd.DataFrame | None:
    """Rate recordings as the container does; a row a leg that a clinician scored.

    Each process rates a share; the main one has the result, the others None.

    Args:
        folder: The verified model folder.
        config: Of its network.
        recordings: Prepared.
        videos: Names of those to rate.
        progress: Show a progress bar.
    """
    network = load_network(folder, lambda: build_model(config), NAME)
    learned = folder.read_json("postprocess.json").get(NAME) or {}
    legs = recordings.legs[recordings.legs["score"] != ""].set_index(["video", "leg"])
    majority = majority_of(recordings.samples(videos))
    known = recordings.table.set_index("video")

    def work(video: str) -> list[dict[str, Any]]:
        ratings = rate(*recordings.clip(video), network, config, learned)
        rows = []
        for leg in (leg for leg in LEGS if (video, leg) in legs.index):
            row: Any = legs.loc[(video, leg)]
            rating = ratings[leg]
            rows.append(
                {"video": video, "patient": row["patient"], "group": known["group"][video]}
                | {"leg": leg, "score": int(row["score"]), "majority": majority[leg]}
                | {"criteria": int(row["criteria_level"]) if row["criteria_level"] else None}
                | {"predicted": rating.score, "expected": rating.expected}
                | {f"p_{level}": p for level, p in (rating.probabilities or {}).items()}
            )
        return rows

    found = join_shares().map(
        work, videos.tolist(), description="Rating", unit="recording", progress=progress
    )
    if found is None:
        return None
    rows = [row for of_video in found for row in of_video]
    numbers = ["score", "majority", "criteria", "predicted", "expected"]
    return pd.DataFrame(rows).astype(dict.fromkeys(numbers, "float64"))


def _pooled(run: Path | None, data: Path, same: bool | None) -> pd.DataFrame:
    """The predictions of the cross-validation."""
    path = None if run is None else run / PREDICTIONS
    if path is None or not path.is_file() or not same:
        raise InputError(
            f"Expected the run that trained the model by the folds of {data}, with "
            f"{PREDICTIONS}, for the cross-validation; got {path or 'no run'}. Rate these "
            "recordings by the model itself: --split all."
        )
    text = dict.fromkeys(("video", "patient", "group", "leg"), str)
    return pd.read_csv(path, dtype=text, keep_default_na=False, na_values=[""])


def _videos(data: Path, split: str) -> pd.Series:
    folds = load_folds(data / FOLDS)
    videos = folds.table["video"] if split == "all" else folds.part(FINAL, split)["video"]
    if videos.empty:
        raise InputError(f"Expected recordings in the part {split} of {data / FOLDS}, got none.")
    return videos


def _known(folder: ModelFolder, data: Path, table: pd.DataFrame) -> str:
    """In words, which recordings the model has learned from; named in the log."""
    videos = table["video"].unique().tolist()
    parts = parts_of(folder.manifest, NAME, data, videos)
    warn(parts, videos, "recordings", data / VIDEOS)
    return overlap_in_words(parts, "recordings")


def _circumstances(
    data: Path, folder: ModelFolder, config: LegConfig, split: str, how: str
) -> dict[str, Any]:
    """What was tested on what; no path of a machine."""
    source, training = read_json(data / SOURCE), folder.manifest.training.get("data", {})
    return {
        "split": split,
        "tested": how,
        "data": {name: source.get(name) for name in DATA_FIELDS},
        "recordings": source["videos"],
        "patients": source["patients"],
        "repeats": source.get("repeats", 1),
        "model": {
            "kind": config.kind,
            "levels": list(config.levels),
            "one_network_for_both": config.one_network_for_both,
            "trained_on_phantoms": bool(training.get("phantom")),
        },
    }
