"""Step 2 of cldetection: from prepared films to a model folder."""

import dataclasses
import logging
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import seed_everything
from safetensors.torch import load_file

from medvial.cldetection.config import Config
from medvial.cldetection.predictor import TASK
from medvial.errors import InputError
from medvial.models import SAFETENSORS, ModelFolder
from medvial.outputs import read_json
from medvial_training.distributed import is_main
from medvial_training.fit import FitArgs, fit_module
from medvial_training.independence import BEGUN_FROM, ELSEWHERE, same_data
from medvial_training.tasks.cldetection.augment import Augmentation
from medvial_training.tasks.cldetection.dataset import FilmData, Sample
from medvial_training.tasks.cldetection.fold import Fold, check_films, fold_of
from medvial_training.tasks.cldetection.losses import Loss
from medvial_training.tasks.cldetection.module import LandmarkModule
from medvial_training.tasks.cldetection.write_model import write_model

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
    fold: Fold = Fold(),
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
        fold: Validation films of this network's own, for the members of an ensemble.
    """
    if not model.half_pixel_centres:
        raise InputError(
            "Expected half_pixel_centres true for training: false is for imported weights only."
        )
    if model.members != 1:
        raise InputError(
            f"Expected model.members 1 for training, got {model.members}. Train every member by "
            "itself, then: python -m medvial_training.tasks.cldetection.ensemble --help"
        )
    loss.check(model)
    films = FilmData(data, model, fit, augment, fold)
    seed_everything(fit.seed, workers=True, verbose=False)  # before the weights are drawn
    module = LandmarkModule(model, fit, loss)
    begun: dict[str, Any] = {}
    if weights is not None:
        begun = _start_from(module, weights, data, fold, films.samples["valid"])
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
            "fold": dataclasses.asdict(fold),
            "weights": None if weights is None else str(weights),
        },
    )
    if not is_main():
        return
    state = torch.load(best, map_location="cpu", weights_only=False)["state_dict"]
    module.load_state_dict(state)
    folder = write_model(
        run / "model",
        module.net,
        model,
        films.samples,
        data,
        blur_px2=loss.blur_px2(model),
        notes=fold.notes(films.samples["valid"]) | begun,
    )
    log.info("Model folder: %s", folder)


def _start_from(
    module: LandmarkModule, weights: Path, data: Path, fold: Fold, valid: list[Sample]
) -> dict[str, Any]:
    """Load weights; returns what the manifest is to say of it."""
    folder = ModelFolder.open(weights, task=TASK)
    known = bool(same_data(folder.manifest, data)) and not folder.manifest.training.get(ELSEWHERE)
    if known:
        if fold_of(folder.manifest) != fold:
            raise InputError(
                f"Expected weights that saw none of the films that validate, got {weights}: it was "
                "trained on these data with another --fold. Start from one of the same fold."
            )
        check_films(folder.manifest, valid, weights)
    else:
        log.warning(
            "Whether %s was trained on films of %s that validate or test here is not known: if so, "
            "their scores are too good, and so is what they are used for.",
            weights,
            data,
        )
    try:
        module.net.load_state_dict(load_file(folder.path / SAFETENSORS))
    except RuntimeError as error:
        raise InputError(
            f"Expected weights of this network in {weights}: {' '.join(str(error).split())[:300]}"
        ) from None
    return {BEGUN_FROM: folder.manifest.files[SAFETENSORS], ELSEWHERE: not known}
