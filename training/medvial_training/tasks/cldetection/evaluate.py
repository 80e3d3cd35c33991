"""Step 3 of cldetection: test a model on prepared films, and show the result."""

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np

from medvial.cldetection.config import Config
from medvial.cldetection.landmarks import load_landmark_set
from medvial.cldetection.postprocess import Film
from medvial.cldetection.predictor import Predictor
from medvial.errors import InputError
from medvial.models import Manifest
from medvial.outputs import read_json, write_json
from medvial_training.independence import notice, same_data, trained_on
from medvial_training.metrics import Bootstrap
from medvial_training.provenance import DATA_FIELDS, check_trained_on, git_revision
from medvial_training.shares import join_shares
from medvial_training.tasks.cldetection.dataset import (
    INPUT_FIELDS,
    Sample,
    check_prepared,
    load_config,
    load_samples,
)
from medvial_training.tasks.cldetection.fold import FOLDS, Fold, check_films, fold_of
from medvial_training.tasks.cldetection.interval_scores import interval_scores
from medvial_training.tasks.cldetection.marks import FloatArray, Marks
from medvial_training.tasks.cldetection.measurement_scores import (
    measured_pairs,
    measurement_scores,
)
from medvial_training.tasks.cldetection.observers import observer_distances, observer_scores
from medvial_training.tasks.cldetection.predictions import (
    FilmPredictor,
    gather_marks,
    predict_samples,
    with_landmarks_of,
    write_predictions,
    write_table,
)
from medvial_training.tasks.cldetection.prepare import REPEATS_KEPT
from medvial_training.tasks.cldetection.report import Tested, write_pictures
from medvial_training.tasks.cldetection.scores import (
    calibration_scores,
    counts,
    image_scores,
    landmark_scores,
    overall_scores,
    worst_points,
)

log = logging.getLogger(__name__)


def evaluate(
    data: Path = Path("data/cldetection"),
    model: Path = Path("runs/cldetection/model"),
    out: Path = Path("runs/cldetection/test"),
    split: Literal["train", "valid", "test"] = "test",
    observers: tuple[Path, Path] | None = None,
    resamples: int = 2000,
    seed: int = 0,
    progress: bool = True,
) -> dict[str, Any]:
    """Predict the films of a split, score them, and write tables, pictures and report.html.

    A model that knows more landmarks than the data have marked (cl-38 on isbi-19) is scored on
    those that are.

    Args:
        data: Folder that step 1 wrote.
        model: Model folder, of step 2 or any other.
        out: Folder for the results; files of the same names are replaced.
        split: The films to test.
        observers: Two CSV files, [a.csv,b.csv], with the marks of two human observers (image_id,
            p1x,p1y,... in pixels of the full film), to compare the model's error with theirs.
        resamples: Bootstrap resamples of the patients (of the films where patients are not known;
            repeats of a film count as one), for the 95 % intervals.
        seed: Seed of the resampling.
        progress: Show progress bars.

    Returns:
        What metrics.json holds; nothing in processes beside the main one.

    Raises:
        InputError: The data or the model is unusable, they do not fit each other, or patients
            are shared between splits.
    """
    trained = Predictor(model)
    marked = load_landmark_set(load_config(data).landmark_set)
    predictor, config = with_landmarks_of(marked, trained, trained.landmark_set, trained.config)
    return evaluate_predictor(
        predictor,
        config,
        trained.manifest,
        data,
        out,
        split=split,
        observers=observers,
        bootstrap=Bootstrap(resamples, seed),
        progress=progress,
    )


def evaluate_predictor(
    predictor: FilmPredictor,
    config: Config,
    manifest: Manifest,
    data: Path,
    out: Path,
    *,
    split: str = "test",
    observers: tuple[Path, Path] | None = None,
    bootstrap: Bootstrap,
    progress: bool = False,
) -> dict[str, Any]:
    """As `evaluate`, with any predictor of films; `config` and `manifest` describe its model."""
    check_prepared(data, config, INPUT_FIELDS)
    samples = _samples(manifest, data, config, split)
    if not samples:
        raise InputError(f"Expected films in {data / split}.csv, got none. Run step 1 again.")
    distances = observer_distances(*_tested(samples, config), *observers) if observers else None
    films = predict_samples(samples, config, predictor, progress=progress, shares=join_shares())
    if films is None:  # the main process goes on alone
        return {}
    marks = gather_marks(samples, films, config)
    tested = _score(samples, films, marks, config, bootstrap, distances)
    tested.metrics.update(_circumstances(data, manifest, config, split, bootstrap))
    (out / "metrics.json").unlink(missing_ok=True)
    write_predictions(out / "predictions.csv", marks, films)
    write_table(out / "per_landmark.csv", tested.landmarks)
    write_table(out / "per_image.csv", tested.images)
    write_table(out / "measurements.csv", tested.metrics["measurements"])
    write_pictures(out, tested, progress=progress)
    write_json(out / "metrics.json", tested.metrics)  # last: its presence says that all is there
    _log_result(tested.metrics, out)
    return tested.metrics


def _samples(manifest: Manifest, data: Path, config: Config, split: str) -> list[Sample]:
    """The films of a split; of a model that was trained on these data, split as they were then.

    Raises:
        InputError: Validation films are asked for, of a model that has none or of an ensemble whose
            members each had others, or they are not those of the model's fold any more.
    """
    if not same_data(manifest, data):
        return load_samples(data, config)[split]
    check_trained_on(manifest, data, "the model")  # its valid.csv too: folds train on both
    if split == "valid" and FOLDS in manifest.training:
        raise InputError(
            "Expected --split test or train for a model that learned from what others say of films "
            "that they have not seen, got valid: parts of it may have been trained on these. The "
            "manifest has the others' scores."
        )
    fold = Fold() if FOLDS in manifest.training else fold_of(manifest)
    if split == "valid" and fold.all:
        raise InputError(
            "Expected --split test or train for a model of --fold.all true, got valid: it was "
            "trained on these films too."
        )
    samples = load_samples(data, config, fold)
    if split == "valid":
        check_films(manifest, samples["valid"], "the model")
    return samples[split]


def _tested(samples: list[Sample], config: Config) -> tuple[list[str], FloatArray, int]:
    """Films, their scales and the number of their landmarks, as `observer_distances` needs them."""
    scales = np.array([sample.mm_per_px for sample in samples], dtype=np.float64)
    return (
        [sample.image_id for sample in samples],
        scales,
        len(load_landmark_set(config.landmark_set)),
    )


def _score(
    samples: list[Sample],
    films: list[Film],
    marks: Marks,
    config: Config,
    bootstrap: Bootstrap,
    distances: FloatArray | None,
) -> Tested:
    pairs = measured_pairs(marks)
    observed = None if distances is None else observer_scores(marks, distances, bootstrap)
    metrics = {
        "counts": counts(marks) | _counts_of_films(samples, films),
        "overall": overall_scores(marks, bootstrap),
        "calibration": calibration_scores(marks, bootstrap),
        "intervals": interval_scores(marks, bootstrap),
        "measurements": measurement_scores(marks, pairs, bootstrap),
        "worst_points": worst_points(marks),
        "observers": observed,
    }
    landmarks, images = landmark_scores(marks, bootstrap), image_scores(marks)
    return Tested(config, samples, marks, pairs, metrics, landmarks, images, bootstrap, distances)


def _counts_of_films(samples: list[Sample], films: list[Film]) -> dict[str, int]:
    """On how many films the model doubted itself, and on how many it took left for right."""
    sides = zip(samples, films, strict=True)
    return {
        "films_implausible": sum(not film.plausible for film in films),
        "films_side_mistaken": sum(s.geometry.mirrored != film.mirrored for s, film in sides),
    }


def _circumstances(
    data: Path, manifest: Manifest, config: Config, split: str, bootstrap: Bootstrap
) -> dict[str, Any]:
    """What was tested on what, by which software; no path of a machine."""
    source = read_json(data / "source.json") if (data / "source.json").is_file() else {}
    model_phantom = bool(manifest.training.get("data", {}).get("phantom"))
    same = same_data(manifest, data)
    repeats = bool(source.get("repeats_kept"))
    return {
        "task": "cldetection",
        "split": split,
        "phantom": bool(source.get("phantom")),
        "landmark_set": config.landmark_set,
        "data": {name: source.get(name) for name in DATA_FIELDS},
        "model": {
            "files": manifest.files,
            "height": config.height,
            "width": config.width,
            "fit": config.fit,
            "views": config.views,
            "networks": config.members * len(config.networks),
            "trained_on": trained_on(manifest, same, split, "films"),
            "trained_on_phantoms": model_phantom,
        },
        "notice": _notice(split, same=same, repeats=repeats),
        "repeats_kept": repeats,
        "bootstrap": {"unit": "patient or repeated film", **vars(bootstrap)},
        "git_revision": git_revision(),
        "date": datetime.now(UTC).date().isoformat(),
    }


def _notice(split: str, *, same: bool | None, repeats: bool) -> str | None:
    """Why the scores are better than those of other films would be."""
    if repeats:
        return f"repeated films are kept in the splits: {REPEATS_KEPT}"
    return notice(split, "films") if same else None


def _log_result(metrics: dict[str, Any], out: Path) -> None:
    overall = metrics["overall"]
    if overall["mre_mm"]["value"] is None:
        log.info("No film has a scale: no results in mm.")
    else:
        log.info(
            "MRE %.3f mm, SDR 2 mm %.2f %% (%d films%s).",
            overall["mre_mm"]["value"],
            overall["sdr_percent"]["2"]["value"],
            metrics["counts"]["films"],
            "; PHANTOMS, says nothing about clinical accuracy" if metrics["phantom"] else "",
        )
    log.info("Report: %s", out / "report.html")
