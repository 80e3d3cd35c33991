"""From true and predicted ejection fractions to scores; arrays in, numbers out.

All ejection fractions are in percent.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import roc_curve

from medvial.errors import InputError
from medvial_training.agreement import agreement
from medvial_training.metrics import (
    Bootstrap,
    cluster_means,
    number_or_none,
    ratio,
    weighted_statistics,
)
from medvial_training.tasks.echonet.dice import SOURCE_INTERVAL

FloatArray = NDArray[np.float64]

AUC_THRESHOLDS = (35, 40, 45, 50)
"""Percent; the source's. A positive is an EF above the threshold, as in the source."""

FEWEST = 10
"""Videos that a subgroup needs to be scored."""

_NAMES = ("mae", "rmse", "bias", "r2", "r2_pearson")


def ef_scores(
    truth: ArrayLike, predicted: ArrayLike, clusters: ArrayLike, bootstrap: Bootstrap
) -> dict[str, Any]:
    """How far predicted ejection fractions lie from the true ones, JSON-ready.

    Args:
        truth: (N,) percent.
        predicted: (N,) percent; videos with a NaN in either are left out and counted.
        clusters: (N,) the patient of every video.
        bootstrap: How intervals are estimated.

    Returns:
        `videos`, `without_value`, and with intervals: `mae`, `rmse`, `bias` (predicted minus
        true) in points of EF; `r2`, 1 - SSE / SST, the share of variance explained, which punishes
        bias; `r2_pearson`, the squared correlation (what lm(EF ~ prediction) of the source's R
        script reports), which does not. `limits` are the 95 % limits of agreement;
        `source_interval` has the source's intervals (10,000 resamples, 5th to 95th percentile).
    """
    y, p, used = _pairs(truth, predicted)
    columns = _moments(y, p)

    def statistics(weights: FloatArray) -> FloatArray:
        return _from_moments(weights @ columns)

    names = np.asarray(clusters)[used]
    estimates = weighted_statistics(statistics, names, bootstrap)
    source = weighted_statistics(statistics, names, SOURCE_INTERVAL)
    limits = agreement(p - y).limits
    return {
        "videos": int(used.sum()),
        "without_value": int((~used).sum()),
        **{name: e.as_dict() for name, e in zip(_NAMES, estimates, strict=True)},
        "limits": [number_or_none(limit) for limit in limits],
        "source_interval": {
            name: e.as_dict()
            for name, e in zip(_NAMES, source, strict=True)
            if name in ("mae", "rmse", "r2")
        },
    }


def auc_scores(
    truth: ArrayLike, predicted: ArrayLike, clusters: ArrayLike, bootstrap: Bootstrap
) -> dict[str, Any]:
    """Area under the ROC curve at each threshold, JSON-ready; a positive is an EF above it.

    Beside it, what a clinician asks for: `sensitivity` and `specificity` (0 to 1) of finding the
    videos whose EF is at or below the threshold, by a predicted EF at or below it.
    Thresholds that do not divide the videos have `auc` None.
    """
    y, p, used = _pairs(truth, predicted)
    names = np.asarray(clusters)[used]
    return {str(t): _auc(y, p, names, t, bootstrap) for t in AUC_THRESHOLDS}


def roc_points(truth: ArrayLike, predicted: ArrayLike, threshold: float) -> FloatArray | None:
    """(K, 2) false and true positive rate, 0 to 1; None if the threshold divides no videos."""
    y, p, _ = _pairs(truth, predicted)
    positive = y > threshold
    if positive.all() or not positive.any():
        return None
    false_rate, true_rate, _ = roc_curve(positive, p)
    return np.column_stack([false_rate, true_rate])


def coverage_scores(
    truth: ArrayLike,
    low: ArrayLike,
    high: ArrayLike,
    clusters: ArrayLike,
    bootstrap: Bootstrap,
) -> dict[str, Any]:
    """How often the stated interval holds the true ejection fraction, JSON-ready.

    Args:
        truth: (N,) percent.
        low: (N,) lower ends, percent; NaN where no interval was given.
        high: (N,) upper ends.
        clusters: (N,) the patient of every video.
        bootstrap: How the interval of the coverage is estimated.
    """
    y, lower, upper = (np.asarray(v, np.float64) for v in (truth, low, high))
    known = np.isfinite(y) & np.isfinite(lower) & np.isfinite(upper)
    inside = np.where(known, (lower <= y) & (y <= upper), np.nan)
    coverage, width = cluster_means(
        np.column_stack([inside, np.where(known, upper - lower, np.nan)]), clusters, bootstrap
    )
    return {
        "videos": int(known.sum()),
        "coverage": coverage.as_dict(),
        "width": width.as_dict(),
    }


def subgroup_scores(
    groups: dict[str, NDArray[np.bool_]],
    truth: FloatArray,
    predicted: FloatArray,
    clusters: NDArray[np.str_],
    bootstrap: Bootstrap,
) -> list[dict[str, Any]]:
    """One row a subgroup: `name`, `videos` and, if they suffice, the scores of `ef_scores`.

    R2 is left out: a subgroup of EF has too little spread of its own for it to mean anything.
    """
    rows = []
    for name, members in groups.items():
        known = members & np.isfinite(truth) & np.isfinite(predicted)
        row: dict[str, Any] = {"name": name, "videos": int(known.sum())}
        if row["videos"] >= FEWEST:
            scores = ef_scores(truth[known], predicted[known], clusters[known], bootstrap)
            row |= {key: scores[key] for key in ("mae", "rmse", "bias")}
        rows.append(row)
    return rows


def subgroups(truth: FloatArray, fps: FloatArray) -> dict[str, NDArray[np.bool_]]:
    """Which videos are of which group, by true EF and by frame rate.

    The bounds of EF are those of heart failure with reduced, mildly reduced and preserved EF
    (2021 ESC guidelines for heart failure, table 3: up to 40, 41 to 49, 50 and more).
    """
    return {
        "EF up to 40 %": truth <= 40,
        "EF above 40 and below 50 %": (truth > 40) & (truth < 50),
        "EF from 50 %": truth >= 50,
        "below 40 frames/s": fps < 40,
        "40 to 60 frames/s": (fps >= 40) & (fps <= 60),
        "above 60 frames/s": fps > 60,
    }


def _pairs(
    truth: ArrayLike, predicted: ArrayLike
) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
    """True and predicted EF of the K videos that have both, and which of the N they are."""
    y, p = np.asarray(truth, np.float64), np.asarray(predicted, np.float64)
    if y.shape != p.shape or y.ndim != 1:
        raise InputError(f"Expected as many true as predicted EF, got {y.shape} and {p.shape}.")
    used = np.isfinite(y) & np.isfinite(p)
    return y[used], p[used], used


def _moments(y: FloatArray, p: FloatArray) -> FloatArray:
    """(N, 9) columns whose weighted sums give every score; centred, to cancel nothing."""
    error = p - y
    y, p = (v - v.mean() if v.size else v for v in (y, p))
    columns = [np.ones_like(y), np.abs(error), error**2, error, y, y**2, p, p**2, y * p]
    return np.column_stack(columns)


def _from_moments(sums: FloatArray) -> FloatArray:
    """(R, 9) sums of `_moments` to (R, 5): MAE, RMSE, bias, R2, squared correlation."""
    n, absolute, squared, error, y, yy, p, pp, yp = sums.T
    total = yy - ratio(y**2, n)
    spread = pp - ratio(p**2, n)
    together = yp - ratio(y * p, n)
    varies = (total > 1e-9 * n) & (spread > 1e-9 * n)
    explained = 1 - ratio(squared, np.where(total > 1e-9 * n, total, 0))
    correlated = ratio(together**2, np.where(varies, total * spread, 0))
    mean = [ratio(absolute, n), np.sqrt(ratio(squared, n)), ratio(error, n)]
    return np.column_stack([*mean, explained, correlated])


def _auc(
    y: FloatArray, p: FloatArray, clusters: NDArray[Any], threshold: float, bootstrap: Bootstrap
) -> dict[str, Any]:
    positive = y > threshold
    above, below = p[positive], p[~positive]
    ordered = (above[:, None] > below) + 0.5 * (above[:, None] == below)
    called_low = p <= threshold

    def statistics(weights: FloatArray) -> FloatArray:
        up, down = weights[:, positive], weights[:, ~positive]
        area = ((up @ ordered) * down).sum(axis=1)
        found = (down * called_low[~positive]).sum(axis=1)
        spared = (up * ~called_low[positive]).sum(axis=1)
        ups, downs = up.sum(axis=1), down.sum(axis=1)
        return np.column_stack([ratio(area, ups * downs), ratio(found, downs), ratio(spared, ups)])

    area, sensitivity, specificity = weighted_statistics(statistics, clusters, bootstrap)
    return {
        "above": int(positive.sum()),
        "at_or_below": int((~positive).sum()),
        "auc": area.as_dict() if above.size and below.size else None,
        "sensitivity": sensitivity.as_dict(),
        "specificity": specificity.as_dict(),
    }
