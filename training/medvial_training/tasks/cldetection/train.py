"""Step 2 of cldetection: from prepared films to a model folder."""

import dataclasses
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import seed_everything
from safetensors.torch import save_file

from medvial.cldetection.config import Config
from medvial.cldetection.postprocess import Film, Learned
from medvial.cldetection.predictor import LANDMARKS, TASK, Predictor
from medvial.errors import InputError
from medvial.models import SAFETENSORS, ModelFolder
from medvial.outputs import read_json, replace_folder, write_json
from medvial_training.distributed import is_main
from medvial_training.fit import FitArgs, fit_module
from medvial_training.provenance import provenance
from medvial_training.tasks.cldetection.augment import Augmentation
from medvial_training.tasks.cldetection.dataset import FilmData, Sample
from medvial_training.tasks.cldetection.distillation import Teachers
from medvial_training.tasks.cldetection.learn import fit_calibration, fit_shape_prior
from medvial_training.tasks.cldetection.learn_intervals import fit_intervals
from medvial_training.tasks.cldetection.losses import Loss
from medvial_training.tasks.cldetection.module import LandmarkModule

log = logging.getLogger(__name__)


def train(
    data: Path = Path("data/cldetection"),
    run: Path = Path("runs/cldetection"),
    model: Config = Config(),
    fit: FitArgs = FitArgs(),
    augment: Augmentation = Augmentation(),
    loss: Loss = Loss(),
    resume: bool = False,
    weights: Path | None = None,
    teachers: tuple[Path, ...] = (),
) -> None:
    """Train the network, learn the shape prior and the calibration, write the model folder.

    Args:
        data: Folder that step 1 wrote.
        run: Folder of the run; its model folder is run/model.
        model: Configuration of the model; starts from what step 1 wrote.
        fit: How to train.
        augment: Random changes of the training films.
        loss: What the network is trained to.
        resume: Go on from the run's last checkpoint.
        weights: Model folder whose weights training starts from.
        teachers: Model folders, trained on the same films, whose mean heatmap is part of what the
            network is trained to (loss.teachers_weight).
    """
    if not model.half_pixel_centres:
        raise InputError(
            "Expected half_pixel_centres true for training: false is for imported weights only."
        )
    if model.members != 1:
        raise InputError(
            f"Expected model.members 1 for training, got {model.members}. Train every member with "
            "a seed of its own, then: python -m medvial_training.tasks.cldetection.ensemble --help"
        )
    loss.check(model)
    films = FilmData(data, model, fit, augment)
    seed_everything(fit.seed, workers=True, verbose=False)  # before the weights are drawn
    module = LandmarkModule(model, fit, loss, Teachers(teachers, model, data, loss))
    if weights is not None:
        _start_from(module, weights)
    source = data / "source.json"
    if source.is_file() and read_json(source).get("phantom"):
        log.info("These are phantoms: no score says anything about clinical accuracy.")
    log.info(
        "Training %s (%.2f M parameters) on %d films, validating on %d.",
        model.architecture,
        sum(p.numel() for p in module.net.parameters()) / 1e6,
        len(films.samples["train"]),
        len(films.samples["valid"]),
    )
    best = fit_module(
        module,
        films,
        fit,
        run,
        task=TASK,
        monitor=LandmarkModule.monitor,
        mode="min",
        resume=resume,
        parameters={
            "data": str(data),
            "model": dataclasses.asdict(model),
            "fit": dataclasses.asdict(fit),
            "augment": dataclasses.asdict(augment),
            "loss": dataclasses.asdict(loss),
            "teachers": [str(folder) for folder in teachers],
        },
    )
    if not is_main():
        return
    state = torch.load(best, map_location="cpu", weights_only=False)["state_dict"]
    module.load_state_dict(state)
    folder = write_model(
        run / "model", module.net, model, films.samples, data, blur_px2=loss.blur_px2(model)
    )
    log.info("Model folder: %s", folder)


def write_model(
    folder: Path,
    net: torch.nn.Module,
    config: Config,
    samples: dict[str, list[Sample]],
    data: Path,
    *,
    blur_px2: float,
    notes: dict[str, Any] | None = None,
) -> Path:
    """Write weights, shape prior, calibration, intervals and manifest; validate what is written.

    The folder is made beside its place and moved there whole. `blur_px2` as in `Intervals`;
    `notes` is what else the manifest is to say of the training.
    """
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    save_file({k: v.contiguous() for k, v in net.state_dict().items()}, part / SAFETENSORS)
    shutil.copyfile(data / LANDMARKS, part / LANDMARKS)
    training = provenance(data) | {"films": {k: len(v) for k, v in samples.items()}}
    training |= notes or {}
    prior = fit_shape_prior(samples["train"])
    _seal(part, config, Learned(prior), training, {})
    films = _predict(Predictor(part), samples["valid"])
    learned = Learned(
        prior,
        fit_calibration(samples["valid"], films),
        fit_intervals(samples["valid"], films, config, blur_px2),
    )
    metrics = _validate(films, samples["valid"])
    _seal(part, config, learned, training, metrics)
    if metrics:
        log.info(
            "Validation as in the container: MRE %(mre_mm).3f mm, SDR 2 mm %(sdr_2mm).3f", metrics
        )
    replace_folder(part, folder)
    return folder


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


def _predict(predictor: Predictor, samples: list[Sample]) -> list[Film]:
    """The films as they were given; what calibration adds to them is not there yet."""
    return [predictor.from_network_input(*s.as_given(predictor.config)) for s in samples]


def _validate(films: list[Film], samples: list[Sample]) -> dict[str, float]:
    """Errors in mm on the films as they were given; empty where none is known."""
    pairs = zip(films, samples, strict=True)
    errors = np.concatenate(
        [np.linalg.norm(film.points - s.points, axis=1) * s.mm_per_px for film, s in pairs]
    )
    errors = errors[np.isfinite(errors)]
    if not errors.size:
        return {}  # nothing that could be measured: a NaN is no metric
    return {"mre_mm": float(errors.mean()), "sdr_2mm": float((errors < 2.0).mean())}


def _start_from(module: LandmarkModule, weights: Path) -> None:
    from safetensors.torch import load_file

    folder = ModelFolder.open(weights, task=TASK)
    try:
        module.net.load_state_dict(load_file(folder.path / SAFETENSORS))
    except RuntimeError as error:
        raise InputError(
            f"Expected weights of this network in {weights}: {' '.join(str(error).split())[:300]}"
        ) from None
