"""Step 2 of cldetection: from prepared films to a model folder."""

import dataclasses
import logging
from pathlib import Path

import torch
from lightning.pytorch import seed_everything

from medvial.cldetection.config import Config
from medvial.cldetection.predictor import TASK
from medvial.errors import InputError
from medvial.outputs import read_json
from medvial_training.distributed import is_main
from medvial_training.fit import FitArgs, fit_module
from medvial_training.independence import ELSEWHERE
from medvial_training.tasks.cldetection.augment import Augmentation
from medvial_training.tasks.cldetection.dataset import FilmData
from medvial_training.tasks.cldetection.earlier import begin_from, open_first
from medvial_training.tasks.cldetection.fold import Fold
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
    first: Path | None = None,
    fold: Fold = Fold(),
) -> None:
    """Train a network, learn shape prior, calibration and intervals, write the model folder.

    Args:
        data: Folder that step 1 wrote.
        run: Folder of the run; its model folder is run/model.
        model: Configuration of the model; starts from what step 1 wrote.
        fit: How to train.
        augment: Random changes of the training films.
        loss: What the network is trained to.
        resume: Go on from the run's last checkpoint.
        weights: Model folder whose weights training starts from.
        first: Model folder of a network that sees whole films: train a second one, which sees the
            anatomy upright where the first found it, and make one model of both.
        fold: Validation films of this network's own, or none, for the members of an ensemble.

    Raises:
        InputError: The options do not fit each other, or the data.
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
    fit = _to_the_end(fit) if fold.all else fit
    if model.upright and first is None:
        raise InputError(
            "Expected --first with model.upright true: the model whose network finds the anatomy."
        )
    model = dataclasses.replace(model, upright=first is not None)
    loss.check(model)
    films = FilmData(data, model, fit, augment, fold)
    seed_everything(fit.seed, workers=True, verbose=False)  # before the weights are drawn
    module = LandmarkModule(model, fit, loss)
    valid, name = films.samples["valid"], model.networks[-1]
    nets, blur_px2, notes = {name: module.net}, loss.blur_px2(model), fold.notes(valid)
    if first is not None:
        earlier = open_first(first, model, data, fold, films.samples, blur_px2)
        nets, films.matrices = {"model": earlier.net} | nets, earlier.matrices
        blur_px2 = earlier.blur_px2
        notes |= earlier.notes
    if weights is not None:
        begun = begin_from(module.net, name, weights, data, fold, valid)
        notes |= begun | {ELSEWHERE: begun[ELSEWHERE] or notes.get(ELSEWHERE, False)}
    source = data / "source.json"
    if source.is_file() and read_json(source).get("phantom"):
        log.info("These are phantoms: no score says anything about clinical accuracy.")
    log.info(
        "Training %s (%.2f M parameters) on %d films, validating on %d.",
        model.architecture,
        sum(p.numel() for p in module.net.parameters()) / 1e6,
        len(films.samples["train"]),
        len(valid),
    )
    if fold.all:
        log.warning(
            "The %d films that this training is watched by are trained on: their scores say how "
            "well they are remembered.",
            len(films.watched),
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
            "first": None if first is None else str(first),
        },
    )
    if not is_main():
        return
    state = torch.load(best, map_location="cpu", weights_only=False)["state_dict"]
    module.load_state_dict(state)
    folder = write_model(
        run / "model",
        nets,
        model,
        films.samples,
        data,
        blur_px2=blur_px2,
        notes=notes,
    )
    log.info("Model folder: %s", folder)


def _to_the_end(fit: FitArgs) -> FitArgs:
    """Options of a training that leaves no film to choose its weights or to stop it by.

    Raises:
        InputError: They ask for the best weights.
    """
    if fit.checkpoint != "last":
        raise InputError(
            "Expected --fit.checkpoint last with --fold.all true: no film is left to choose the "
            "best weights by."
        )
    return dataclasses.replace(fit, patience=fit.max_epochs)
