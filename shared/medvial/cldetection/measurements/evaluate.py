"""Measurements of a film: a value with its unit, or the reason why there is none."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medvial.cldetection.landmarks import LandmarkSet
from medvial.cldetection.measurements import dental, sagittal, vertical
from medvial.cldetection.measurements.definition import Definition, Unit
from medvial.cldetection.measurements.tracing import DegenerateError, Tracing, Vector
from medvial.errors import InputError

DEFINITIONS: tuple[Definition, ...] = (
    *sagittal.STEINER,
    *vertical.STEINER,
    *dental.STEINER,
    *vertical.TWEED,
    *dental.TWEED,
    *sagittal.DOWNS,
    *vertical.DOWNS,
    *sagittal.WITS,
    *vertical.VERTICAL,
    *vertical.JARABAK,
    *sagittal.MCNAMARA,
    *sagittal.RICKETTS,
    *vertical.RICKETTS,
    *dental.RICKETTS,
    *sagittal.KIM,
    *vertical.KIM,
    *vertical.BASE,
    *dental.DENTAL,
    *dental.SOFT,
)
"""Every measurement, in the order of reports: by group."""


@dataclass(frozen=True)
class Measurement:
    """One measurement of one film. Either `value` or `unavailable` is None, never both."""

    name: str
    group: str
    """The analysis it is known from: Steiner, Tweed, Downs, ..."""
    value: float | None
    unit: Unit
    unavailable: str | None
    """Why there is no value."""
    construction: str
    """Points, planes, sign and source."""
    half_width: float | None = None
    """Of the 90 % interval around the value, in `unit`; None where the model gives none."""

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON; the value rounded to 4 decimals, far below any marking error.

        `interval_90`, [low, high], is there only where it is known.
        """
        interval: dict[str, Any] = {}
        if self.value is not None and self.half_width is not None:
            low, high = self.value - self.half_width, self.value + self.half_width
            interval["interval_90"] = [round(low, 4), round(high, 4)]
        return {
            "name": self.name,
            "group": self.group,
            "value": None if self.value is None else round(self.value, 4),
            **interval,
            "unit": self.unit,
            "unavailable": self.unavailable,
            "construction": self.construction,
        }


def measure(
    points: NDArray[np.floating[Any]],
    landmark_set: LandmarkSet,
    mm_per_px: float | None,
    *,
    facing: Literal["right", "left"] = "right",
) -> list[Measurement]:
    """Take every measurement of a lateral film.

    A measurement that lacks something has no value and says why; the others are not touched.
    Angles and ratios need no calibration, millimetres never appear without one.

    Args:
        points: (L, 2) as (x, y) in pixels of the film as it is, x to the right and y down, square
            pixels; NaN where a landmark was not found.
        landmark_set: Names the L landmarks.
        mm_per_px: Millimetres per pixel at the midsagittal plane; None or NaN if unknown.
        facing: Where the face looks in the film. Left-facing films give the same values.

    Returns:
        One measurement for each of `DEFINITIONS`, in that order.

    Raises:
        InputError: The points are not (L, 2), or the calibration or `facing` is impossible.
    """
    marks = clinical_frame(points, landmark_set, facing)
    scale = _calibration(mm_per_px)
    found = {
        symbol: xy
        for symbol, xy in zip(landmark_set.symbols, marks, strict=True)
        if np.isfinite(xy).all()
    }
    return [_measure_one(definition, found, landmark_set, scale) for definition in DEFINITIONS]


def clinical_frame(
    points: NDArray[np.floating[Any]], landmark_set: LandmarkSet, facing: str
) -> NDArray[np.float64]:
    """Film pixels (L, 2) to x to the front, y up."""
    marks = np.asarray(points, dtype=np.float64)
    if marks.shape != (len(landmark_set), 2):
        raise InputError(
            f"Expected points of shape ({len(landmark_set)}, 2) for the landmark set "
            f"{landmark_set.name}, got {marks.shape}."
        )
    if facing not in ("right", "left"):
        raise InputError(f"Expected facing to be 'right' or 'left', got {facing!r}.")
    return marks * (1.0 if facing == "right" else -1.0, -1.0)


def _calibration(mm_per_px: float | None) -> float | None:
    if mm_per_px is None or math.isnan(mm_per_px):  # tables hold NaN where a scale is unknown
        return None
    if not 0 < mm_per_px < math.inf:
        raise InputError(f"Expected mm_per_px above 0, or None if unknown, got {mm_per_px}.")
    return float(mm_per_px)


def _measure_one(
    definition: Definition,
    found: dict[str, Vector],
    landmark_set: LandmarkSet,
    scale: float | None,
) -> Measurement:
    value: float | None = None
    reason = _missing(definition, found, landmark_set)
    if reason is None and definition.unit == "mm" and scale is None:
        reason = "no millimetre calibration"
    if reason is None:
        value, reason = value_of(definition, Tracing(found), scale)
    return Measurement(
        name=definition.name,
        group=definition.group,
        value=value,
        unit=definition.unit,
        unavailable=reason,
        construction=definition.construction,
    )


def value_of(
    definition: Definition, tracing: Tracing, scale: float | None
) -> tuple[float | None, str | None]:
    """The value in the definition's unit, or the reason why there is none."""
    try:
        value = definition.formula(tracing)
    except DegenerateError as error:
        return None, str(error)
    if definition.unit == "mm" and scale is not None:
        value *= scale
    return value, None


def _missing(
    definition: Definition, found: dict[str, Vector], landmark_set: LandmarkSet
) -> str | None:
    unknown = [s for s in definition.landmarks if s not in landmark_set.symbols]
    if unknown:
        return f"{_listed(unknown, 'is', 'are')} not in the set {landmark_set.name}"
    lost = [s for s in definition.landmarks if s not in found]
    if lost:
        return f"{_listed(lost, 'was', 'were')} not found"
    return None


def _listed(symbols: list[str], one: str, many: str) -> str:
    if len(symbols) == 1:
        return f"landmark {symbols[0]} {one}"
    return f"landmarks {', '.join(symbols[:-1])} and {symbols[-1]} {many}"
