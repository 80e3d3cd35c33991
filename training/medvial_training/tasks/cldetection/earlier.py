"""Earlier models that a training builds on: weights to begin from, the first of two networks."""

import dataclasses
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import nn

from medvial.cldetection.config import Config
from medvial.cldetection.model import build_model
from medvial.cldetection.postprocess import Learned
from medvial.cldetection.predictor import TASK, Predictor
from medvial.cldetection.shape_prior import ShapePrior
from medvial.cldetection.upright import Matrix, magnification, upright_matrix
from medvial.errors import InputError
from medvial.models import SAFETENSORS, ModelFolder
from medvial_training.independence import BEGUN_FROM, ELSEWHERE, same_data
from medvial_training.tasks.cldetection.dataset import Sample
from medvial_training.tasks.cldetection.fold import Fold, check_films, fold_of
from medvial_training.tasks.cldetection.learn import MIN_SHAPES, fit_shape_prior

log = logging.getLogger(__name__)

FIRST = "first_sha256"
"""What a manifest calls the weights of its first network, which was there before the second."""
OWN = ("upright", "upright_margin", "views")  # what a second network may have of its own


def begin_from(
    net: nn.Module, name: str, weights: Path, data: Path, fold: Fold, valid: list[Sample]
) -> dict[str, Any]:
    """Load the weights of an earlier model into a network.

    Args:
        net: The network.
        name: Which of a model's networks it is; of a model that has no such, its first.
        weights: Folder of the earlier model.
        data: Folder that step 1 wrote.
        fold: Which films validate.
        valid: These films.

    Returns:
        What the manifest is to say of it.

    Raises:
        InputError: The weights are of another network, or have seen films that validate.
    """
    folder = ModelFolder.open(weights, task=TASK)
    known = _unseen(folder, data, fold, valid)
    file = f"{name}.safetensors"
    file = file if file in folder.manifest.files else SAFETENSORS
    _load(net, folder, file)
    return {BEGUN_FROM: folder.manifest.files[file], ELSEWHERE: not known}


@dataclass(frozen=True)
class First:
    """The first network of a model that is getting a second."""

    net: nn.Module
    matrices: dict[str, Matrix]
    """How the second network sees a film, by image_id; without the films in which the first finds
    no plausible anatomy."""
    notes: dict[str, Any]
    """What the manifest is to say of it."""
    blur_px2: float
    """Variance of both networks' training targets, their mean; pixels of the first's input,
    squared."""


def open_first(
    first: Path,
    config: Config,
    data: Path,
    fold: Fold,
    samples: dict[str, list[Sample]],
    blur_px2: float,
) -> First:
    """Let the first network find the landmarks of the films to train on and to validate with.

    Args:
        first: Model folder of step 2, trained on the same split or fold.
        config: Of the model of both.
        data: Folder that step 1 wrote.
        fold: Which films validate.
        samples: Films by split.
        blur_px2: Variance of the second network's training target, in pixels of its input, squared.

    Raises:
        InputError: It is not like the second network, has seen films that validate, finds nothing
            in the films, or there are too few of them for a mean shape.
    """
    folder = ModelFolder.open(first, task=TASK)
    _check_alike(folder, config)
    known = _unseen(folder, data, fold, samples["valid"])
    prior = fit_shape_prior(samples["train"])
    if prior is None:
        raise InputError(
            "Expected a mean shape to turn the films to, for a second network: at least "
            f"{MIN_SHAPES} films to train on with all landmarks marked, and 3 landmarks or more."
        )
    matrices = _matrices(Predictor(first), [*samples["train"], *samples["valid"]], prior, config)
    for split in ("train", "valid"):
        if samples[split] and not any(film.image_id in matrices for film in samples[split]):
            raise InputError(
                f"Expected a first network that finds the landmarks of films of {split}.csv, got "
                f"{first}, which finds a plausible shape in none. Train it longer."
            )
    net = build_model(folder.config(Config))
    _load(net, folder, SAFETENSORS)
    notes = {FIRST: folder.manifest.files[SAFETENSORS], ELSEWHERE: not known}
    intervals = Learned.from_dict(folder.read_json("postprocess.json")).intervals
    own = blur_px2 if intervals is None else intervals.blur_px2
    blur_px2 = (own + blur_px2 / magnification(prior, config) ** 2) / 2
    return First(net, matrices, notes, blur_px2)


def _matrices(
    predictor: Predictor, samples: list[Sample], prior: ShapePrior, config: Config
) -> dict[str, Matrix]:
    log.info("Finding the landmarks of %d films by the first network.", len(samples))
    matrices = {}
    for sample in samples:
        film = predictor.from_prepared(sample.read(config), sample.geometry)
        if film.plausible and film.mirrored == sample.geometry.mirrored:
            points = sample.geometry.to_network(film.points)
            matrices[sample.image_id] = upright_matrix(points, prior, config)
    if len(matrices) < len(samples):
        log.warning(
            "%d of them are left out for the second network: no plausible shape was found.",
            len(samples) - len(matrices),
        )
    return matrices


def _check_alike(folder: ModelFolder, config: Config) -> None:
    """Refuse a first network of another form than the second's."""
    there, here = dataclasses.asdict(folder.config(Config)), dataclasses.asdict(config)
    wrong = [f"{k} {there[k]}, not {here[k]}" for k in here if there[k] != here[k] and k not in OWN]
    if there["upright"]:
        wrong.append("two networks already")
    if wrong:
        raise InputError(
            f"Expected a first network of the form of the second, got {folder.path} with "
            f"{', '.join(wrong)}. Train both on the same data, with the same options of the model."
        )


def _unseen(folder: ModelFolder, data: Path, fold: Fold, valid: list[Sample]) -> bool:
    """Whether a model is known to have been trained on no film that validates or tests here.

    Raises:
        InputError: It is known that it was trained on films that validate.
    """
    manifest = folder.manifest
    if not same_data(manifest, data) or manifest.training.get(ELSEWHERE):
        log.warning(
            "Whether %s was trained on films of %s that validate or test here is not known: if so, "
            "their scores are too good, and so is what they are used for.",
            folder.path,
            data,
        )
        return False
    if fold_of(manifest) != fold:
        raise InputError(
            f"Expected a model that saw none of the films that validate, got {folder.path}: it was "
            "trained on these data with another --fold. Take one of the same fold."
        )
    check_films(manifest, valid, folder.path)
    return True


def _load(net: nn.Module, folder: ModelFolder, file: str) -> None:
    try:
        net.load_state_dict(load_file(folder.path / file))
    except RuntimeError as error:
        raise InputError(
            f"Expected weights of this network in {folder.path / file}: "
            f"{' '.join(str(error).split())[:300]}"
        ) from None
