"""The model folder of a run: both networks, and what is learned on the validation videos."""

import dataclasses
import logging
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from medvial.echonet.analysis import analyse
from medvial.echonet.clips import last_clip_start
from medvial.echonet.config import NETWORKS, Config
from medvial.echonet.networks import EchoNetworks
from medvial.echonet.postprocess import POSTPROCESS, Learned
from medvial.echonet.predictor import TASK
from medvial.errors import InputError
from medvial.models import ModelFolder
from medvial.outputs import read_json, replace_folder, write_json
from medvial_training.provenance import provenance
from medvial_training.tasks.echonet.choices import Choices
from medvial_training.tasks.echonet.dataset import fixed_starts
from medvial_training.tasks.echonet.learn import (
    best_threshold,
    conformal_half_width,
    recalibration,
)
from medvial_training.tasks.echonet.measure import times_s
from medvial_training.tasks.echonet.recordings import Recording, Recordings

log = logging.getLogger(__name__)


def trained_weights(run: Path, name: str) -> Path:
    """Where the finished weights of a network of a run lie."""
    return run / name / f"{name}.safetensors"


def write_model(run: Path, config: Config, data: Path, valid: Recordings, choices: Choices) -> Path:
    """Write run/model: the networks that the run has trained, learned numbers and manifest.

    The folder is made beside its place and moved there whole.
    """
    part = run / "model.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for name in NETWORKS:
        weights = trained_weights(run, name)
        if weights.is_file():
            shutil.copyfile(weights, part / weights.name)
    training = provenance(data) | {"videos": _counts(data)}
    if training["data"].get("phantom"):
        log.info("Phantoms: the scores that follow say nothing about clinical accuracy.")
    learned = Learned()
    _seal(part, config, learned, training, {})
    networks = EchoNetworks.load(ModelFolder.open(part, task=TASK))
    metrics: dict[str, Any] = {}
    if networks.segmentation is not None:
        learned, metrics["segmentation"] = _learn_threshold(networks, valid, learned)
    if networks.regression is not None:
        learned, metrics["ejection_fraction"] = _learn_interval(networks, valid, learned, choices)
    _seal(part, config, learned, training, {"valid": {k: v for k, v in metrics.items() if v}})
    replace_folder(part, run / "model")
    log.info("Model folder: %s", run / "model")
    return run / "model"


def check_config(run: Path, name: str, config: Config) -> None:
    """Refuse a configuration that is not that of a network that the run has trained.

    Raises:
        InputError: Names what differs.
    """
    if not trained_weights(run, name).is_file():
        return
    settings = run / name / "settings.json"
    before, now = read_json(settings)["model"], dataclasses.asdict(config)
    changed = [k for k in now if _as_json(now[k]) != _as_json(before.get(k))]
    if changed:
        raise InputError(
            f"Expected one configuration for both networks of a run, got another "
            f"{', '.join(changed)} than in {settings}. Train both again in a new --run."
        )


def _as_json(value: Any) -> Any:
    """A value as JSON has it."""
    return list(value) if isinstance(value, tuple) else value


def _counts(data: Path) -> Any:
    return read_json(data / "source.json").get("videos", {})


def _seal(
    part: Path, config: Config, learned: Learned, training: dict[str, Any], metrics: dict[str, Any]
) -> None:
    write_json(part / POSTPROCESS, learned.as_dict())
    ModelFolder.seal(
        part,
        task=TASK,
        config=dataclasses.asdict(config),
        training=training,
        metrics=metrics,
    )


def _learn_threshold(
    networks: EchoNetworks, valid: Recordings, learned: Learned
) -> tuple[Learned, dict[str, float]]:
    """The threshold, and Dice with it over all pixels of the validation frames."""
    traced = [(r, t) for r in valid.all for t in r.traces]
    if not traced:
        return learned, {}
    frames = np.stack([valid.frames(r)[t.frame] for r, t in traced])
    masks = np.stack([valid.mask(t) for _, t in traced])
    probability = np.concatenate(list(networks.segment(frames)))
    threshold = best_threshold(probability, masks)
    predicted = probability > threshold
    dice = 2 * (predicted & masks).sum() / max(predicted.sum() + masks.sum(), 1)
    log.info("Validation: Dice %.4f over %d frames, threshold %g", dice, len(masks), threshold)
    return dataclasses.replace(learned, threshold=threshold), {"dice": float(dice)}


def _learn_interval(
    networks: EchoNetworks, valid: Recordings, learned: Learned, choices: Choices
) -> tuple[Learned, dict[str, float]]:
    """Recalibration if wanted, and the interval, from what the container says of each video.

    Without a segmentation there are no beats to average over, and fixed clips stand in.
    """
    videos = [r for r in valid.all if r.is_cine and math.isfinite(r.ef)]
    if not videos:
        return learned, {}
    truth = np.array([r.ef for r in videos])
    predicted = np.array(
        [_read_video(networks, valid, video, learned, choices) for video in videos]
    )
    errors = predicted - truth
    if choices.recalibrate and len(videos) >= 10:
        slope, intercept, errors = recalibration(predicted, truth)
        learned = dataclasses.replace(learned, slope=slope, intercept=intercept)
    half_width = conformal_half_width(errors, choices.coverage)
    learned = dataclasses.replace(
        learned, half_width=half_width, coverage=choices.coverage, videos=len(videos)
    )
    mae, rmse = float(np.abs(errors).mean()), float(np.sqrt((errors**2).mean()))
    log.info("Validation: MAE %.2f, RMSE %.2f points over %d videos", mae, rmse, len(videos))
    return learned, {"mae": mae, "rmse": rmse}


def _read_video(
    networks: EchoNetworks, valid: Recordings, video: Recording, learned: Learned, choices: Choices
) -> float:
    """Ejection fraction of a video, percent."""
    frames = valid.frames(video)
    if networks.segmentation is not None:
        value = analyse(frames, times_s(video), networks, learned).ejection_fraction
        assert value is not None  # there is a regression: every video has a value
        return value
    last = last_clip_start(video.count, video.rate, networks.config)
    starts = fixed_starts(last, choices.validation_clips)
    return float(networks.ejection_fraction(frames, starts, video.rate).mean())
