"""How well clinical measurements from predicted landmarks agree with those from the expert's."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medvial.cldetection.intervals import Uncertainty
from medvial.cldetection.measurements import Measurement, measure, with_intervals
from medvial_training.agreement import agreement, intraclass_correlation
from medvial_training.metrics import Bootstrap, cluster_means, number_or_none
from medvial_training.tasks.cldetection.marks import FloatArray, Marks

# A difference that a reader would notice; no standard, and no gate: 2 degrees and 2 mm are about
# what two experts differ by on the ISBI 2015 films.
NOTICEABLE = {"deg": 2.0, "mm": 2.0, "percent": 2.0, "ratio": 0.02}


@dataclass(frozen=True)
class MeasuredPair:
    """One measurement on N films, from the expert's landmarks and from the predicted ones."""

    name: str
    group: str
    unit: str
    """deg, mm, percent or ratio."""
    construction: str
    expert: FloatArray
    """(N,); NaN where a landmark or the film's scale is missing."""
    predicted: FloatArray
    """(N,), as `expert`."""
    half_width: FloatArray
    """(N,) of the 90 % interval around `predicted`; NaN where the model gives none."""

    @property
    def difference(self) -> FloatArray:
        """(N,) predicted minus expert; an angle's within -180 to 180 degrees."""
        difference = self.predicted - self.expert
        return (difference + 180) % 360 - 180 if self.unit == "deg" else difference


def measured_pairs(marks: Marks) -> list[MeasuredPair]:
    """Every measurement that is defined for the landmark set, in the order of `measure`.

    The prediction is measured only from landmarks that the expert marked too, so that both sides
    have the same films.
    """
    expert = _measure_films(marks, marks.expert, None)
    points = np.where(marks.marked[..., None], marks.predicted, np.nan)
    predicted = _measure_films(marks, points, marks.uncertainty)
    pairs = []
    for one, other in zip(zip(*expert, strict=True), zip(*predicted, strict=True), strict=True):
        first = one[0]
        values = (_values(one), _values(other))
        widths = np.array([np.nan if m.half_width is None else m.half_width for m in other])
        pairs.append(
            MeasuredPair(first.name, first.group, first.unit, first.construction, *values, widths)
        )
    return pairs


def measurement_scores(
    marks: Marks, pairs: list[MeasuredPair], bootstrap: Bootstrap
) -> list[dict[str, Any]]:
    """One row per measurement that some film has: agreement in the measurement's unit.

    `films_not_measured` counts films that the expert's landmarks give a value for and the
    predicted ones don't: they are missing from all other numbers. `noticeable_percent` is how often
    |difference| exceeds `noticeable`; limits of agreement are bias -/+ 1.96 SD; `icc` is the
    intraclass correlation ICC(2,1). `interval_coverage_percent` is how often the model's 90 %
    interval holds the expert's value, `half_width_median` the median of its half-width: a model
    without intervals has neither.
    """
    known = [pair for pair in pairs if np.isfinite(pair.difference).any()]
    return [_row(pair, marks, bootstrap) for pair in known]


def _row(pair: MeasuredPair, marks: Marks, bootstrap: Bootstrap) -> dict[str, Any]:
    difference, threshold = pair.difference, NOTICEABLE[pair.unit]
    result = agreement(difference)
    beyond = np.where(np.isfinite(difference), np.abs(difference) > threshold, np.nan)
    held = np.where(
        np.isfinite(difference) & np.isfinite(pair.half_width),
        np.abs(difference) <= pair.half_width,
        np.nan,
    )
    columns = np.column_stack([difference, np.abs(difference), 100 * beyond, 100 * held])
    bias, absolute, exceeded, coverage = cluster_means(columns, marks.clusters, bootstrap)
    widths = pair.half_width[np.isfinite(held)]
    low, high = result.limits
    return {
        "name": pair.name,
        "group": pair.group,
        "unit": pair.unit,
        "films": result.count,
        "films_not_measured": int(np.isfinite(pair.expert).sum()) - result.count,
        "expert_mean": number_or_none(float(np.nanmean(pair.expert))),
        **bias.as_columns("bias"),
        "sd": number_or_none(result.sd),
        "limit_low": number_or_none(low),
        "limit_high": number_or_none(high),
        **absolute.as_columns("mean_absolute"),
        "noticeable": threshold,
        "noticeable_percent": number_or_none(exceeded.value),
        **coverage.as_columns("interval_coverage_percent"),
        "half_width_median": float(np.median(widths)) if widths.size else None,
        "icc": number_or_none(intraclass_correlation(pair.expert, pair.predicted)),
        "construction": pair.construction,
    }


def _measure_films(
    marks: Marks, points: NDArray[np.float64], doubts: list[Uncertainty] | None
) -> list[list[Measurement]]:
    result = []
    for index, film in enumerate(points):
        facing: Literal["left", "right"] = "left" if marks.faces_left[index] else "right"
        scale = float(marks.mm_per_px[index]) if marks.scaled[index] else None
        measured = measure(film, marks.landmark_set, scale, facing=facing)
        if doubts is not None:
            measured = with_intervals(
                measured, film, doubts[index], marks.landmark_set, scale, facing=facing
            )
        result.append(measured)
    return result


def _values(measurements: tuple[Measurement, ...]) -> FloatArray:
    return np.array([np.nan if m.value is None else m.value for m in measurements], dtype=float)
