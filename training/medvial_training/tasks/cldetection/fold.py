"""Validation films of a network's own, so that networks together validate on all; or none."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medvial.errors import InputError
from medvial.models import MANIFEST, Manifest, config_from_dict
from medvial_training.patients import name_key
from medvial_training.split_dealing import group_samples

if TYPE_CHECKING:
    from medvial_training.tasks.cldetection.dataset import Sample

FOLD, FILMS = "fold", "fold_films_sha256"
"""What a manifest calls the fold of its network, and the digest of the films that validated."""
FOLDS = "folds"
"""What a manifest calls the folds whose films a model of several was calibrated by, where no films
are unseen to all of it."""
MOST = 100


@dataclass(frozen=True)
class Fold:
    """Which of the training and validation films validate; the test stays what it is."""

    number: int = 0
    """The fold that validates, from 1; the others are trained on. 0: the split of step 1."""

    of: int = 0
    """Folds into which films of train.csv and valid.csv are dealt anew, whole groups at a time."""

    all: bool = False
    """Train on all of these films, and validate on none: for networks that others calibrate."""

    def __post_init__(self) -> None:
        """Refuse a fold that there is not.

        Raises:
            InputError: `number` is not one of `of`, or there are numbers beside `all`.
        """
        if self.all and (self.number, self.of) != (0, 0):
            raise InputError(
                f"Expected fold.all true by itself, got fold {self.number} of {self.of} too: films "
                "that are all trained on leave none to validate."
            )
        if (self.number, self.of) != (0, 0) and not (
            1 <= self.number <= self.of and 2 <= self.of <= MOST
        ):
            raise InputError(
                f"Expected fold.of from 2 to {MOST} and fold.number from 1 to fold.of (or neither, "
                f"for the split of step 1), got {self.number} of {self.of}."
            )

    def deal(
        self, samples: dict[str, list["Sample"]], pairs: Iterable[tuple[str, str]] = ()
    ) -> dict[str, list["Sample"]]:
        """The samples of train, valid and test with this fold's validation films.

        Films of one patient, of one group, or nearly the same stay together. The folds depend on
        the films alone: the same for whoever asks.

        Args:
            samples: As step 1 split them.
            pairs: Names of films that are nearly the same picture; others are passed over.

        Raises:
            InputError: There are fewer groups than folds.
        """
        films = sorted((*samples["train"], *samples["valid"]), key=lambda film: film.image_id)
        if self.all:
            return samples | {"train": films, "valid": []}
        if not self.of:
            return samples
        groups = _joined(films, pairs)
        names = sorted(set(groups))
        if len(names) < self.of:
            raise InputError(
                f"Expected at least {self.of} groups (patients, or films that are not the same "
                f"picture) for fold.of {self.of}, got {len(names)}."
            )
        order = np.random.default_rng(0).permutation(len(names))
        held_out = {names[index] for index in order[self.number - 1 :: self.of]}
        sides = [(film, group in held_out) for film, group in zip(films, groups, strict=True)]
        return samples | {
            "train": [film for film, validates in sides if not validates],
            "valid": [film for film, validates in sides if validates],
        }

    def notes(self, valid: Sequence["Sample"]) -> dict[str, Any]:
        """What the manifest of a network with these validation films says; nothing by step 1."""
        return {} if self == Fold() else {FOLD: asdict(self), FILMS: _digest(valid)}


def fold_of(manifest: Manifest) -> Fold:
    """The fold that a model's network was trained with; the split of step 1 where none is noted.

    Raises:
        InputError: The manifest notes something else, or several folds: no film is known that all
            of the model has not seen.
    """
    if FOLDS in manifest.training:
        raise InputError(
            "Expected a model of step 2, or members of the same validation films, got a model that "
            "learned from the films of several others: any film may have been trained on. Name a "
            "model of step 2."
        )
    noted = manifest.training.get(FOLD)
    if noted is None:
        return Fold()
    if isinstance(noted, dict):
        noted = {"all": False} | noted  # noted since there is such a thing
    return config_from_dict(Fold, noted, where=Path(MANIFEST))


def check_films(manifest: Manifest, valid: Sequence["Sample"], where: object) -> None:
    """Refuse films as unseen that are not those which the model's fold validated on.

    Raises:
        InputError: They are others: what was dealt has changed since.
    """
    if fold_of(manifest) != Fold() and manifest.training.get(FILMS) != _digest(valid):
        raise InputError(
            f"Expected the films that {where} was validated on, got others: train.csv or valid.csv "
            "has changed since, and it may have been trained on these. Train it again."
        )


def _joined(films: Sequence["Sample"], pairs: Iterable[tuple[str, str]]) -> list[str]:
    """A name for each film, the same for all that must stay together."""
    position = {film.image_id: index for index, film in enumerate(films)}
    links = [(position[a], position[b]) for a, b in pairs if a in position and b in position]
    first: dict[str, int] = {}
    links += [(first.setdefault(name_key(film.patient), i), i) for i, film in enumerate(films)]
    return group_samples([film.group for film in films], links)


def _digest(films: Sequence["Sample"]) -> str:
    names = sorted(film.image_id for film in films)
    return hashlib.sha256("\n".join(names).encode()).hexdigest()
