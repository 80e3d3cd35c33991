"""Whether the regions that a model draws around its landmarks hold what they promise."""

from typing import Any

import numpy as np

from medvial.cldetection.intervals import LEVEL, RADIUS_90
from medvial_training.metrics import Bootstrap, cluster_means, number_or_none
from medvial_training.tasks.cldetection.marks import FloatArray, Marks


def interval_scores(marks: Marks, bootstrap: Bootstrap) -> dict[str, Any] | None:
    """Coverage of the 90 % regions by the experts' marks; None if the model gives none.

    `coverage` is a fraction, 0 to 1, over all marked landmarks, with its interval over the
    clusters; `half_axis_mm` the median of the regions' longer half axes. `landmarks` has the same
    per landmark, by symbol. Films without a scale count for coverage, not for millimetres.
    """
    if marks.uncertainty is None:
        return None
    held, axis = _held(marks), _longer_half_axis_mm(marks)
    if not np.isfinite(held).any():
        return None
    clusters = np.repeat(marks.clusters, len(marks.landmark_set))
    (overall,) = cluster_means(held.reshape(-1, 1), clusters, bootstrap)
    each = cluster_means(held, marks.clusters, bootstrap)
    return {
        "level": LEVEL,
        "points": int(np.isfinite(held).sum()),
        "coverage": overall.as_dict(),
        "half_axis_mm": _median(axis),
        "landmarks": {
            symbol: {"coverage": coverage.as_dict(), "half_axis_mm": _median(axis[:, index])}
            for index, (symbol, coverage) in enumerate(
                zip(marks.landmark_set.symbols, each, strict=True)
            )
        },
    }


def _held(marks: Marks) -> FloatArray:
    """(N, L) 1 where the expert's mark is within the region, 0 where not; NaN not marked."""
    assert marks.uncertainty is not None
    offset = marks.expert - marks.predicted
    pairs = zip(marks.uncertainty, offset, strict=True)
    distance = np.stack([film.distance(off) for film, off in pairs])
    return np.where(np.isfinite(distance), distance <= RADIUS_90, np.nan)


def _longer_half_axis_mm(marks: Marks) -> FloatArray:
    assert marks.uncertainty is not None
    axes = np.stack([film.half_axes_px()[:, 0] for film in marks.uncertainty])
    return axes * marks.mm_per_px[:, None]


def _median(values: FloatArray) -> float | None:
    known = values[np.isfinite(values)]
    return number_or_none(float(np.median(known))) if known.size else None
