"""How the doubt about landmarks carries over to the measurements that are made of them."""

import math
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medvial.cldetection.intervals import HALF_WIDTH_90, Uncertainty
from medvial.cldetection.landmarks import LandmarkSet
from medvial.cldetection.measurements.definition import Definition
from medvial.cldetection.measurements.evaluate import (
    DEFINITIONS,
    Measurement,
    clinical_frame,
    value_of,
)
from medvial.cldetection.measurements.tracing import Tracing, Vector


def with_intervals(
    measured: list[Measurement],
    points: NDArray[np.floating[Any]],
    uncertainty: Uncertainty,
    landmark_set: LandmarkSet,
    mm_per_px: float | None,
    *,
    facing: Literal["right", "left"] = "right",
) -> list[Measurement]:
    """Give measurements their 90 % intervals.

    First-order propagation of the landmarks' covariances, as if the errors of different landmarks
    were independent; what that misses is in `uncertainty.measurements`, learned on validation
    films.

    Args:
        measured: What `measure` made of the other arguments.
        points: (L, 2) in pixels of the film.
        uncertainty: Of these points.
        landmark_set: Names the L landmarks.
        mm_per_px: As given to `measure`.
        facing: As given to `measure`.
    """
    marks = dict(
        zip(landmark_set.symbols, clinical_frame(points, landmark_set, facing), strict=True)
    )
    side = np.array([1.0, -1.0]) if facing == "right" else np.array([-1.0, -1.0])
    half_axes = _half_axes(uncertainty.covariance_px2 * np.outer(side, side))
    axes = dict(zip(landmark_set.symbols, half_axes, strict=True))
    result = []
    for measurement, definition in zip(measured, DEFINITIONS, strict=True):
        sd = None
        if measurement.value is not None:
            sd = _standard_deviation(definition, marks, axes, mm_per_px)
        factor = HALF_WIDTH_90 * uncertainty.measurements.get(definition.name, 1.0)
        result.append(replace(measurement, half_width=None if sd is None else factor * sd))
    return result


def _half_axes(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """(L, 2, 2): per landmark the two half axes (rows) of its ellipse of one standard deviation."""
    values, vectors = np.linalg.eigh(covariance)
    lengths = np.sqrt(np.clip(values, 0.0, None))
    return np.swapaxes(vectors * lengths[..., None, :], -1, -2)


def _standard_deviation(
    definition: Definition,
    marks: dict[str, Vector],
    axes: dict[str, NDArray[np.float64]],
    scale: float | None,
) -> float | None:
    """Of a measurement: half its change from one end of each half axis to the other, summed up.

    Central differences over one standard deviation either way, which is exact for what is linear.
    None where the landmarks at such an end give no value.
    """
    variance = 0.0
    for symbol in definition.landmarks:
        for axis in axes[symbol]:
            ends = []
            for sign in (1.0, -1.0):
                moved = Tracing(marks | {symbol: marks[symbol] + sign * axis})
                ends.append(value_of(definition, moved, scale)[0])
            if ends[0] is None or ends[1] is None:
                return None
            change = ends[0] - ends[1]
            if definition.unit == "deg":
                change = (change + 180.0) % 360.0 - 180.0
            variance += (change / 2) ** 2
    return math.sqrt(variance)
