"""Scores of ratings on an ordered scale, beside what the most frequent rating alone would get."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medvial.errors import InputError
from medvial_training.metrics import Bootstrap, weighted_statistics
from medvial_training.weighted_scores import (
    Counts,
    confusion,
    quadratic_weighted_kappa,
    weighted_mean,
)

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]

NAMES = ("accuracy", "balanced_accuracy", "mae", "within_one", "kappa")


def ordinal_scores(
    truth: ArrayLike,
    predicted: ArrayLike,
    clusters: ArrayLike,
    levels: Sequence[int],
    bootstrap: Bootstrap | None = None,
) -> dict[str, Any]:
    """Score ratings, JSON-ready, intervals over the patients.

    Args:
        truth: (N,) the experts' ratings; NaN: not rated.
        predicted: (N,) the model's; NaN: the model gives none.
        clusters: (N,) the patient of every rating.
        levels: The scale, ascending, in steps of 1 (0 to 4 for an item of the MDS-UPDRS).
        bootstrap: How intervals are estimated; the defaults if None.

    Returns:
        `ratings` (that have both), `patients`, `without_prediction`, `levels` (how often each is
        the truth), with intervals: `accuracy`, `balanced_accuracy` (over the levels that occur),
        `mae` (mean absolute error, in points), `within_one` (share at most one point off), `kappa`
        (quadratic weighted); `confusion` (`labels` and `matrix`, rows the truth); `majority`: the
        same scores of always giving the most frequent true rating, named in `level`.

    Raises:
        InputError: A rating is not on the scale, or lengths differ.
    """
    bootstrap, scale = bootstrap or Bootstrap(), _scale(levels)
    y, p = (np.asarray(values, np.float64) for values in (truth, predicted))
    names = np.asarray(clusters)
    if y.shape != p.shape or y.ndim != 1:
        raise InputError(f"Expected as many true as predicted ratings, got {y.shape}, {p.shape}.")
    rated, both = np.isfinite(y), np.isfinite(y) & np.isfinite(p)
    true, called = _places(y[both], scale), _places(p[both], scale)
    numbers = np.bincount(true, minlength=len(scale))
    constant = np.full_like(true, numbers.argmax())
    return {
        "ratings": int(both.sum()),
        "patients": len(np.unique(names[both])),
        "without_prediction": int((rated & ~both).sum()),
        "levels": {str(level): int(n) for level, n in zip(scale, numbers, strict=True)},
        **_scores(true, called, names[both], len(scale), bootstrap),
        "confusion": {
            "labels": [str(level) for level in scale],
            "matrix": confusion(true, called, len(scale)).tolist(),
        },
        "majority": {"level": int(scale[numbers.argmax()])}
        | _scores(true, constant, names[both], len(scale), bootstrap),
    }


def _scores(
    truth: IntArray, called: IntArray, clusters: NDArray[Any], count: int, bootstrap: Bootstrap
) -> dict[str, Any]:
    error = np.abs(truth - called).astype(np.float64)

    def statistics(weights: FloatArray) -> FloatArray:
        counts = Counts(weights, truth, called, count)
        columns = [
            counts.accuracy(),
            counts.balanced_accuracy(),
            weighted_mean(weights, error),
            weighted_mean(weights, error <= 1),
            quadratic_weighted_kappa(weights, truth, called, count),
        ]
        return np.column_stack(columns)

    estimates = weighted_statistics(statistics, clusters, bootstrap)
    return {name: e.as_dict() for name, e in zip(NAMES, estimates, strict=True)}


def _scale(levels: Sequence[int]) -> IntArray:
    scale = np.asarray(levels, dtype=np.intp)
    if len(scale) < 2 or (np.diff(scale) != 1).any():
        raise InputError(f"Expected levels that ascend in steps of 1, got {list(levels)}.")
    return scale


def _places(ratings: FloatArray, scale: IntArray) -> IntArray:
    """Positions on the scale."""
    off = ~np.isin(ratings, scale)
    if off.any():
        raise InputError(
            f"Expected ratings from {scale[0]} to {scale[-1]}, got {ratings[off][0]:g}."
        )
    return (ratings - scale[0]).astype(np.intp)
