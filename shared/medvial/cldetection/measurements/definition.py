"""What a measurement is made of: a row of the tables in `sagittal`, `vertical` and `dental`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from medvial.cldetection.measurements.tracing import Tracing

Unit = Literal["deg", "mm", "ratio", "percent"]


@dataclass(frozen=True)
class Definition:
    """One measurement, without a film."""

    name: str
    """Unique over all groups."""

    group: str
    """The analysis it is known from."""

    unit: Unit
    """deg, ratio and percent need no calibration; mm does."""

    needs: str
    """Symbols of the landmarks, parted by blanks."""

    formula: Callable[[Tracing], float]
    """The value in `unit`, where mm stands for pixels: scaled by the calibration afterwards."""

    construction: str
    """Points, planes, sign and source, for the reader of a report."""

    @property
    def landmarks(self) -> tuple[str, ...]:
        """Symbols of the landmarks it is made of."""
        return tuple(self.needs.split())
