"""Every number of the rating of leg agility, once."""

from dataclasses import dataclass
from typing import Literal

from medvial.errors import InputError


@dataclass(frozen=True)
class LegConfig:
    """Settings that training and inference share; written into the model's manifest.

    Inference reads it from there, never from these defaults.
    """

    levels: tuple[int, ...] = (0, 1, 2, 3)
    """The scores of the item that a network can give, rising; step 1 keeps those with data."""

    kind: Literal["temporal", "rendered", "resnet18_lstm", "kinematic"] = "temporal"
    """temporal: a small network on the knees' height and speed. rendered: a video network on drawn
    skeletons. resnet18_lstm: the source's, on the same. kinematic: a forest on quantities."""

    def __post_init__(self) -> None:
        """Refuse what cannot be rated.

        Raises:
            InputError: Names the field.
        """
        object.__setattr__(self, "levels", tuple(self.levels))  # a list, read from JSON
        rising = list(self.levels) == sorted(set(self.levels))
        if len(self.levels) < 2 or not rising or not set(self.levels) <= set(range(5)):
            raise InputError(
                f"Expected at least two rising levels of 0 to 4, got {list(self.levels)}."
            )
