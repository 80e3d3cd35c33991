"""The model folder of trained networks: weights, and what is learned from films beside them."""

import dataclasses
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from medvial.cldetection.config import Config
from medvial.cldetection.postprocess import Film, Learned
from medvial.cldetection.predictor import LANDMARKS, TASK, Predictor
from medvial.models import ModelFolder
from medvial.outputs import replace_folder, write_json
from medvial_training.provenance import provenance
from medvial_training.tasks.cldetection.dataset import Sample
from medvial_training.tasks.cldetection.learn import fit_calibration, fit_shape_prior
from medvial_training.tasks.cldetection.learn_intervals import fit_intervals
from medvial_training.tasks.cldetection.predictions import predict_samples

log = logging.getLogger(__name__)


def write_model(
    folder: Path,
    nets: Mapping[str, torch.nn.Module],
    config: Config,
    samples: dict[str, list[Sample]],
    data: Path,
    *,
    blur_px2: float,
    unseen: list[Film] | None = None,
    notes: dict[str, Any] | None = None,
) -> Path:
    """Write weights, shape prior, calibration, intervals and manifest.

    Without films to learn from there is no probability and there are no intervals. The folder is
    made beside its place and moved there whole.

    Args:
        folder: The model folder; one that is there is replaced.
        nets: The trained networks by their names, see `Config.networks`.
        config: The model's configuration.
        samples: The films of train (for the shape prior) and valid (for calibration and
            intervals), and those of test, which are only counted.
        data: Folder that step 1 wrote.
        blur_px2: As in `Intervals`.
        unseen: What networks that were not trained on the films of valid say about them; the
            networks themselves if not given.
        notes: What else the manifest is to say of the training.
    """
    part = folder.with_name(folder.name + ".part")
    films = predict_unseen(part, nets, config, samples, data) if unseen is None else unseen
    if unseen is not None:
        _draft(part, nets, data)
    doubtful = sum(not film.plausible for film in films)
    if doubtful:
        log.warning(
            "No plausible shape is found in %d of %d validation films: train longer, or look at "
            "these films.",
            doubtful,
            len(films),
        )
    training = provenance(data) | {"films": {k: len(v) for k, v in samples.items()}}
    learned = Learned(
        fit_shape_prior(samples["train"]),
        fit_calibration(samples["valid"], films) if films else None,
        fit_intervals(samples["valid"], films, config, blur_px2) if films else None,
    )
    metrics = scores_of(films, samples["valid"])
    _seal(part, config, learned, training | (notes or {}), metrics)
    if metrics:
        log.info(
            "Validation %s: MRE %.3f mm, SDR 2 mm %.3f",
            "as in the container" if unseen is None else "by networks that had not seen the films",
            metrics["mre_mm"],
            metrics["sdr_2mm"],
        )
    replace_folder(part, folder)
    return folder


def predict_unseen(
    draft: Path,
    nets: Mapping[str, torch.nn.Module],
    config: Config,
    samples: dict[str, list[Sample]],
    data: Path,
) -> list[Film]:
    """What networks say about their validation films, as they were given.

    Without a probability or intervals, which are to be learned from it. `draft` is left behind: a
    model folder that has the shape prior of the training films, and no more.
    """
    _draft(draft, nets, data)
    _seal(draft, config, Learned(fit_shape_prior(samples["train"])), {}, {})
    films = predict_samples(samples["valid"], config, Predictor(draft), progress=False)
    assert films is not None  # this process does all of them
    return films


def _draft(part: Path, nets: Mapping[str, torch.nn.Module], data: Path) -> None:
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for name, net in nets.items():
        state = {key: value.contiguous() for key, value in net.state_dict().items()}
        save_file(state, part / f"{name}.safetensors")
    shutil.copyfile(data / LANDMARKS, part / LANDMARKS)


def _seal(
    part: Path, config: Config, learned: Learned, training: dict[str, Any], metrics: dict[str, Any]
) -> None:
    write_json(part / "postprocess.json", learned.as_dict(), indent=None)
    ModelFolder.seal(
        part,
        task=TASK,
        config=dataclasses.asdict(config),
        training=training,
        metrics={"valid": metrics} if metrics else {},
    )


def scores_of(films: list[Film], samples: list[Sample]) -> dict[str, float]:
    """Errors in mm on the films as they were given; empty where none is known."""
    pairs = zip(films, samples, strict=True)
    errors = np.concatenate(
        [np.zeros(0)]
        + [np.linalg.norm(film.points - s.points, axis=1) * s.mm_per_px for film, s in pairs]
    )
    errors = errors[np.isfinite(errors)]
    if not errors.size:
        return {}  # nothing that could be measured: a NaN is no metric
    return {"mre_mm": float(errors.mean()), "sdr_2mm": float((errors < 2.0).mean())}
