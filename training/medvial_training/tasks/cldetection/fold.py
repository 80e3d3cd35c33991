"""Validation films of a network's own, so that the members of an ensemble validate on all films."""

from dataclasses import asdict, dataclass, fields
from typing import Protocol, TypeVar

import numpy as np

from medvial.errors import InputError
from medvial.models import Manifest

FOLD = "fold"
"""What a manifest calls the fold of its network."""
FOLDS = "folds"
"""What the manifest of an ensemble calls the folds of its members."""
MOST = 100


class Grouped(Protocol):
    """What dealing needs of a sample."""

    @property
    def image_id(self) -> str:
        """Its name."""
        ...

    @property
    def group(self) -> str:
        """What is kept together."""
        ...


SampleT = TypeVar("SampleT", bound=Grouped)


@dataclass(frozen=True)
class Fold:
    """Which of the training and validation films validate; the test stays what it is."""

    number: int = 0
    """The fold that validates, from 1; the others are trained on. 0: the split of step 1."""

    of: int = 0
    """Folds into which films of train.csv and valid.csv are dealt anew, whole groups at a time."""

    def __post_init__(self) -> None:
        """Refuse a fold that there is not.

        Raises:
            InputError: `number` is not one of `of`.
        """
        if (self.number, self.of) != (0, 0) and not (
            1 <= self.number <= self.of and 2 <= self.of <= MOST
        ):
            raise InputError(
                f"Expected fold.of from 2 to {MOST} and fold.number from 1 to fold.of (or neither, "
                f"for the split of step 1), got {self.number} of {self.of}."
            )

    def deal(self, samples: dict[str, list[SampleT]]) -> dict[str, list[SampleT]]:
        """The samples of train, valid and test with this fold's validation films.

        The folds depend on the films alone: the same for whoever asks.

        Raises:
            InputError: There are fewer groups than folds.
        """
        if not self.of:
            return samples
        films = sorted((*samples["train"], *samples["valid"]), key=lambda s: s.image_id)
        groups = sorted({film.group for film in films})
        if len(groups) < self.of:
            raise InputError(
                f"Expected at least {self.of} groups (patients, or films that are not the same "
                f"picture) for fold.of {self.of}, got {len(groups)}."
            )
        order = np.random.default_rng(0).permutation(len(groups))
        held_out = {groups[index] for index in order[self.number - 1 :: self.of]}
        return samples | {
            "train": [film for film in films if film.group not in held_out],
            "valid": [film for film in films if film.group in held_out],
        }

    def as_dict(self) -> dict[str, int]:
        """JSON-ready form."""
        return asdict(self)


def fold_of(manifest: Manifest) -> Fold:
    """The fold that a model's network was trained with; the split of step 1 where none is noted.

    Raises:
        InputError: The manifest notes something else.
    """
    noted = manifest.training.get(FOLD, {})
    names = {field.name for field in fields(Fold)}
    if not isinstance(noted, dict) or not all(
        name in names and isinstance(value, int) for name, value in noted.items()
    ):
        raise InputError(f"Expected a fold's number and their count in the manifest, got {noted}.")
    return Fold(**noted)
