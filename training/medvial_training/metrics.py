"""Statistics that every task's evaluation shares: intervals over patients, calibration.

Values of one patient are not independent of each other, so intervals come from resampling whole
patients (cluster bootstrap; A. C. Davison and D. V. Hinkley, Bootstrap Methods and their
Application, 1997, section 3.8).
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medvial.errors import InputError

FloatArray = NDArray[np.float64]

_BATCH = 500  # resamples whose weights are held at a time


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are estimated."""

    resamples: int = 2000
    """Number of bootstrap resamples of the patients."""

    seed: int = 0
    """Seed of the resampling; the same seed gives the same interval."""

    level: float = 0.95
    """Coverage of the percentile interval, 0 to 1."""

    def __post_init__(self) -> None:
        """Refuse settings without a meaning.

        Raises:
            InputError: No resample, a negative seed, or a level outside 0 to 1.
        """
        if self.resamples < 1:
            raise InputError(f"Expected at least 1 bootstrap resample, got {self.resamples}.")
        if self.seed < 0:
            raise InputError(f"Expected a seed of at least 0 for the resamples, got {self.seed}.")
        if not 0 < self.level < 1:
            raise InputError(f"Expected a confidence level between 0 and 1, got {self.level}.")


@dataclass(frozen=True)
class Estimate:
    """A value and its interval, in the value's unit; NaN where it cannot be estimated."""

    value: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float | None]:
        """JSON-ready: `value`, `low`, `high`, None for NaN."""
        return {name: number_or_none(value) for name, value in asdict(self).items()}

    def as_columns(self, name: str) -> dict[str, float | None]:
        """For a table: columns `name`, `name_low`, `name_high`, None for NaN."""
        row = self.as_dict()
        return {name: row["value"], f"{name}_low": row["low"], f"{name}_high": row["high"]}


def number_or_none(value: float) -> float | None:
    """A Python float, or None if it is not finite (JSON has no NaN)."""
    return float(value) if np.isfinite(value) else None


def cluster_means(
    values: ArrayLike, clusters: ArrayLike, bootstrap: Bootstrap | None = None
) -> list[Estimate]:
    """Mean of every column with its interval over the clusters.

    The mean is over all values (micro-average): a cluster with more values weighs more.

    Args:
        values: (N, K) or (N,); NaN is left out.
        clusters: (N,), the patient of every row.
        bootstrap: How to resample; the defaults if None.

    Returns:
        K estimates; their interval is NaN if fewer than two clusters have a value.
    """
    bootstrap = bootstrap or Bootstrap()
    table = _columns(values)
    index, count = _cluster_index(clusters, len(table))
    valid = np.isfinite(table)
    sums, counts = np.zeros((2, count, table.shape[1]))
    np.add.at(sums, index, np.where(valid, table, 0.0))
    np.add.at(counts, index, valid)
    low, high = _percentile_interval(_resampled_means(sums, counts, bootstrap), bootstrap.level)
    usable = (counts > 0).sum(axis=0) >= 2
    means = ratio(sums.sum(axis=0), counts.sum(axis=0))
    return [
        Estimate(float(m), float(lo) if ok else np.nan, float(hi) if ok else np.nan)
        for m, lo, hi, ok in zip(means, low, high, usable, strict=True)
    ]


def cluster_statistic(
    statistic: Callable[[NDArray[np.intp]], float],
    clusters: ArrayLike,
    bootstrap: Bootstrap | None = None,
) -> Estimate:
    """Any statistic with its interval over the clusters (slower than `cluster_means`).

    Args:
        statistic: Takes the row numbers of a resample and returns the value for them.
        clusters: (N,), the patient of every row.
        bootstrap: How to resample; the defaults if None.

    Returns:
        The statistic of all rows; its interval is NaN if there are fewer than two clusters.
    """
    bootstrap = bootstrap or Bootstrap()
    names = np.asarray(clusters)
    index, count = _cluster_index(names, len(names))
    value = float(statistic(np.arange(len(index)))) if len(index) else np.nan
    if count < 2:
        return Estimate(value, np.nan, np.nan)
    members = [np.flatnonzero(index == cluster) for cluster in range(count)]
    rng = np.random.default_rng(bootstrap.seed)
    draws = [
        statistic(np.concatenate([members[c] for c in rng.integers(count, size=count)]))
        for _ in range(bootstrap.resamples)
    ]
    low, high = _percentile_interval(np.array(draws)[:, None], bootstrap.level)
    return Estimate(value, float(low[0]), float(high[0]))


def weighted_statistics(
    statistics: Callable[[FloatArray], FloatArray],
    clusters: ArrayLike,
    bootstrap: Bootstrap | None = None,
) -> list[Estimate]:
    """Statistics that can be computed for many resamples at once, with intervals over the clusters.

    A resample is how often every row counts in it, so whatever is made of weighted sums (a ratio
    of sums, a root mean square, a coefficient of determination) is one matrix product for hundreds
    of resamples.

    Args:
        statistics: Takes (R, N) weights of the rows and returns (R, K), NaN where undefined.
        clusters: (N,), the patient of every row.
        bootstrap: How to resample; the defaults if None.

    Returns:
        K estimates: the statistics with every row counted once, and their intervals, which are
        NaN if there are fewer than two clusters.
    """
    bootstrap = bootstrap or Bootstrap()
    names = np.asarray(clusters)
    index, count = _cluster_index(names, len(names))
    values = statistics(np.ones((1, len(names))))[0]
    if count < 2:
        return [Estimate(float(value), np.nan, np.nan) for value in values]
    drawn = [statistics(weights[:, index]) for weights in _cluster_weights(count, bootstrap)]
    low, high = _percentile_interval(np.concatenate(drawn), bootstrap.level)
    return [
        Estimate(float(v), float(a), float(b)) for v, a, b in zip(values, low, high, strict=True)
    ]


def _columns(values: ArrayLike) -> FloatArray:
    """(N,) or (N, K) as (N, K)."""
    table = np.asarray(values, dtype=np.float64)
    return table[:, None] if table.ndim == 1 else table


def _cluster_index(clusters: ArrayLike, rows: int) -> tuple[NDArray[np.intp], int]:
    """Clusters as integers (N,), and how many there are."""
    names = np.asarray(clusters)
    if names.shape != (rows,):
        raise InputError(f"Expected one cluster for each of {rows} rows, got {names.shape}.")
    unique, index = np.unique(names, return_inverse=True)
    return index, len(unique)


def _resampled_means(sums: FloatArray, counts: FloatArray, bootstrap: Bootstrap) -> FloatArray:
    """(clusters, K) sums and counts to (resamples, K) means.

    Drawing n clusters with replacement is drawing how often each is taken (multinomial), so a
    resampled mean is a ratio of two weighted sums.
    """
    clusters = len(sums)
    if clusters == 0:
        return np.full((1, sums.shape[1]), np.nan)
    weights = _cluster_weights(clusters, bootstrap)
    return np.concatenate([ratio(w @ sums, w @ counts) for w in weights])


def _cluster_weights(clusters: int, bootstrap: Bootstrap) -> Iterator[FloatArray]:
    """How often every cluster is taken, (<= 500, clusters) for a batch of resamples at a time."""
    rng = np.random.default_rng(bootstrap.seed)
    for start in range(0, bootstrap.resamples, _BATCH):
        size = min(_BATCH, bootstrap.resamples - start)
        drawn = rng.multinomial(clusters, np.full(clusters, 1 / clusters), size=size)
        yield drawn.astype(np.float64)


def ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Quotient; NaN where the denominator is 0."""
    empty = np.full_like(numerator, np.nan, dtype=np.float64)
    return np.divide(numerator, denominator, out=empty, where=denominator > 0)


def _percentile_interval(draws: FloatArray, level: float) -> tuple[FloatArray, FloatArray]:
    """Percentile interval of (resamples, K); NaN draws are left out."""
    low = np.full(draws.shape[1], np.nan)
    high = low.copy()
    known = np.isfinite(draws).any(axis=0)
    tails = (50 * (1 - level), 50 * (1 + level))
    if known.any():
        low[known], high[known] = np.nanpercentile(draws[:, known], tails, axis=0)
    return low, high


@dataclass(frozen=True)
class ReliabilityBin:
    """Predictions whose probability lies in [low, high); the last bin includes 1."""

    low: float
    high: float
    count: int
    mean_probability: float
    """Mean predicted probability; NaN if empty."""
    observed: float
    """Fraction of outcomes that were true; NaN if empty."""

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, None for NaN."""
        row = asdict(self)
        return row | {name: number_or_none(row[name]) for name in ("mean_probability", "observed")}


def reliability_table(
    probability: ArrayLike, outcome: ArrayLike, bins: int = 10
) -> list[ReliabilityBin]:
    """Predicted probability against observed frequency in bins of equal width.

    Args:
        probability: (N,) predicted, 0 to 1.
        outcome: (N,) whether it came true.
        bins: Number of bins between 0 and 1.

    Raises:
        InputError: The lengths differ, or a probability is outside 0 to 1.
    """
    predicted = np.asarray(probability, dtype=np.float64)
    true = np.asarray(outcome, dtype=bool)
    if predicted.shape != true.shape or predicted.ndim != 1:
        raise InputError(
            f"Expected as many probabilities as outcomes, got {predicted.shape} and {true.shape}."
        )
    bin_of = bin_index(predicted, bins)
    table = []
    for number in range(bins):
        inside = bin_of == number
        count = int(inside.sum())
        mean = float(predicted[inside].mean()) if count else np.nan
        observed = float(true[inside].mean()) if count else np.nan
        table.append(ReliabilityBin(number / bins, (number + 1) / bins, count, mean, observed))
    return table


def bin_index(probability: ArrayLike, bins: int = 10) -> NDArray[np.intp]:
    """The bin of equal width, 0 to `bins` - 1, of every probability.

    Raises:
        InputError: A probability is outside 0 to 1 or not a number.
    """
    predicted = np.asarray(probability, dtype=np.float64)
    wrong = ~((predicted >= 0) & (predicted <= 1))
    if wrong.any():
        raise InputError(f"Expected probabilities from 0 to 1, got {predicted[wrong][0]}.")
    inner_edges = np.linspace(0, 1, bins + 1)[1:-1]
    return np.digitize(predicted, inner_edges)


def expected_calibration_error(probability: ArrayLike, outcome: ArrayLike, bins: int = 10) -> float:
    """Mean |observed - predicted| over the bins, weighted by their counts; 0 to 1, NaN if empty.

    Source: M. P. Naeini et al., Obtaining Well Calibrated Probabilities Using Bayesian Binning,
    AAAI 2015, for a binary outcome.
    """
    filled = [row for row in reliability_table(probability, outcome, bins) if row.count]
    if not filled:
        return float("nan")
    gaps = [abs(row.observed - row.mean_probability) for row in filled]
    return float(np.average(gaps, weights=[row.count for row in filled]))
