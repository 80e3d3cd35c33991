"""The K-fold run: train and test a network on every fold, then the one that is shipped.

Each patient is tested by a network that never saw them, and was not chosen on them either: it is
chosen on the fold's validation part. The pooled predictions are what a report is made of.
"""

import hashlib
import logging
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from medvial.errors import InputError
from medvial.outputs import read_json, write_bytes, write_json
from medvial_training.distributed import is_main
from medvial_training.fold_manifest import COLUMNS, FINAL
from medvial_training.folds import Folds
from medvial_training.settings import compare_settings, keep_settings
from medvial_training.splits import SPLITS

log = logging.getLogger(__name__)

PREDICTIONS, BEGUN, DONE = "predictions.csv", "begun.json", "done.json"
VIDEOS, CONTENT, SAMPLES = "videos_of_fold", "content_of_fold", "samples_per_step"
_CHANGED = {VIDEOS: "the folds", CONTENT: "frames, keypoints or scores of its videos"}

TrainOne = Callable[[str, pd.DataFrame, pd.DataFrame, pd.DataFrame, Path], None]
"""Trains one network: takes the fold's name, its train, valid and test videos and the run's folder.

It leaves predictions.csv of the test videos there: `video`, and whatever the network says of it; a
video may have several rows. Asked again for a fold that was interrupted, it goes on or starts anew.
"""


def run_folds(
    folds: Folds,
    run: Path,
    train_one: TrainOne,
    settings: Mapping[str, Any],
    *,
    content: Mapping[str, str] | None = None,
    samples_per_step: int | None = None,
    resume: bool = False,
    only: Collection[str] = (),
) -> None:
    """Train and test all folds, one after the other, and pool what they predict.

    Leaves run/<fold>/ as `train_one` does, with done.json beside it, and run/predictions.csv: the
    test videos of all folds that are done (`final` left out), with `fold` and what the manifest
    says of them.

    Args:
        folds: The manifest.
        run: Folder of the run.
        train_one: Trains and tests one fold.
        settings: Options that decide the result, JSON-ready; noted, and compared on resuming.
        content: By video, a text that changes with all that is learned from it beside its label;
            noted and compared, too.
        samples_per_step: Of all processes; noted, and compared with finished folds. None where
            it decides nothing.
        resume: Keep the folds that are done.
        only: Names of the folds to train now, for several machines; all if empty.

    Raises:
        InputError: A finished fold was trained with other options or another number of samples
            per step, a fold was begun with other videos or content, a fold is unknown, one is done
            and not to be kept, or a network was tested on other videos than its fold's.
    """
    names = _chosen(folds, only)
    if not resume:
        _refuse_done(run, names)
    for name in names:
        _begin(run / name, _fingerprints(folds, name, content or {}), samples_per_step)
        if (run / name / DONE).is_file():
            compare_settings(run / name / DONE, dict(settings))
            _compare_samples(run / name, samples_per_step)
            log.info("%s is trained already.", name)
            continue
        _train(folds, name, run / name, train_one)
        if is_main():
            keep_settings(run / name / DONE, dict(settings))
    if is_main():
        write_bytes(run / PREDICTIONS, pool_predictions(folds, run).to_csv(index=False).encode())


def pool_predictions(folds: Folds, run: Path) -> pd.DataFrame:
    """The test predictions of all folds that are done.

    Returns:
        `fold`, the manifest's columns of the video, and those that the networks gave.

    Raises:
        InputError: A fold was tested on other videos than its own.
    """
    done = [name for name in folds.tested if (run / name / DONE).is_file()]
    if waiting := [name for name in folds.tested if name not in done]:
        log.warning("%s: no predictions yet of %s.", run, ", ".join(waiting))
    tables = [_predictions(folds, name, run / name / PREDICTIONS) for name in done]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["fold"])


def _chosen(folds: Folds, only: Collection[str]) -> list[str]:
    unknown = sorted(set(only) - set(folds.names))
    if unknown:
        raise InputError(f"Expected folds of {', '.join(folds.names)}, got {', '.join(unknown)}.")
    return [name for name in folds.names if not only or name in only]


def _refuse_done(run: Path, names: Collection[str]) -> None:
    """Nobody loses a finished fold who only forgot --resume."""
    done = [name for name in names if (run / name / DONE).is_file()]
    if done:
        raise InputError(
            f"Expected a new run folder, got {run} with {', '.join(done)} trained already. Go on "
            "with --resume, choose another --run, or delete the folder."
        )


def _begin(folder: Path, now: dict[str, str], samples: int | None) -> None:
    """Note what a fold learns from, or refuse something else than what it was begun with.

    Its last checkpoint may have learned from patients whom the new folds test.
    """
    noted: dict[str, Any] = {}
    for name in (DONE, BEGUN):  # earlier versions noted the videos when a fold was done
        noted |= read_json(folder / name) if (folder / name).is_file() else {}
    if changed := [_CHANGED[name] for name in now if noted.get(name, now[name]) != now[name]]:
        raise InputError(
            f"Expected the videos, scores and parts that the training in {folder} was begun with, "
            f"got others: {changed[0]} have changed since. Choose another --run, or delete the "
            "folder."
        )
    if is_main() and not (folder / DONE).is_file():
        write_json(folder / BEGUN, now | {SAMPLES: samples})


def _compare_samples(folder: Path, samples: int | None) -> None:
    """Refuse other steps than those of a fold that is done; in others its checkpoint compares."""
    path = folder / BEGUN
    before = read_json(path).get(SAMPLES) if path.is_file() else None
    if before and samples and before != samples:
        raise InputError(
            f"Expected to resume with {before} samples per step (batch_size x accumulate x "
            f"processes) as in {folder}, got {samples}. Change batch_size or accumulate."
        )


def _train(folds: Folds, name: str, folder: Path, train_one: TrainOne) -> None:
    train, valid, test = (folds.part(name, split) for split in SPLITS)
    counts = [f"{part['group'].nunique()} ({len(part)})" for part in (train, valid, test)]
    log.info("%s: patients (videos) to train on %s, validate on %s, test on %s.", name, *counts)
    folder.mkdir(parents=True, exist_ok=True)
    if is_main():
        (folder / PREDICTIONS).unlink(missing_ok=True)  # of an earlier run
    train_one(name, train, valid, test, folder)
    if is_main() and name != FINAL:
        _predictions(folds, name, folder / PREDICTIONS)


def _predictions(folds: Folds, name: str, path: Path) -> pd.DataFrame:
    """One fold's predictions with the manifest's columns, checked to be of its test videos."""
    if not path.is_file():
        raise InputError(f"Expected the predictions {path}, found none. Train {name} again.")
    table = pd.read_csv(path, dtype={"video": str}, keep_default_na=False, na_values=[""])
    test = folds.part(name, "test")
    foreign = sorted(set(table["video"]) - set(test["video"]))
    if foreign:
        raise InputError(
            f"{path} has predictions of {', '.join(foreign[:5])}, which {name} does not test. "
            "Train it again."
        )
    if missing := sorted(set(test["video"]) - set(table["video"])):
        log.warning("%s: no prediction of %s.", path, ", ".join(missing[:5]))
    known = test[list(COLUMNS)].assign(fold=name)
    own = [column for column in table if column not in known or column == "video"]
    return known[["fold", *COLUMNS]].merge(table[own], on="video", how="inner")


def _fingerprints(folds: Folds, name: str, content: Mapping[str, str]) -> dict[str, str]:
    """Change with the videos, labels and parts of a fold, and with what is in its videos."""
    rows = folds.table[["video", "patient", "label", name]].sort_values("video")
    within = [(video, content.get(video, "")) for video in rows.loc[rows[name] != "", "video"]]
    texts = {VIDEOS: rows.to_csv(index=False), CONTENT: repr(within)}
    return {key: hashlib.sha256(text.encode()).hexdigest()[:16] for key, text in texts.items()}
