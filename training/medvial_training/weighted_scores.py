"""Classification scores for many resamples at once.

A bootstrap resample is how often each case counts in it, so each score here takes (R, N) weights
of N cases for R resamples and gives (R,) values, NaN where undefined. With all weights 1 they are
what scikit-learn's functions of the same name give.
"""

import numpy as np
from numpy.typing import NDArray

from medvial_training.metrics import bin_index, ratio

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]
BoolArray = NDArray[np.bool_]


def weighted_mean(weights: FloatArray, values: FloatArray | BoolArray) -> FloatArray:
    """(R, N) weights and (N,) values to (R,) means."""
    return ratio(weights @ values, weights.sum(axis=1))


def auroc(weights: FloatArray, score: FloatArray, positive: BoolArray) -> FloatArray:
    """Area under the ROC curve: how often a positive scores above a negative, ties half.

    Source: D. Bamber, The area above the ordinal dominance graph and the area below the receiver
    operating characteristic graph, J Math Psychol 12:387, 1975.

    Args:
        weights: (R, N).
        score: (N,), higher for positive.
        positive: (N,).

    Returns:
        (R,), NaN without a positive or without a negative.
    """
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.diff(score[order], prepend=-np.inf))  # of runs of equal scores
    ups, downs = weights * positive, weights * ~positive
    if not len(starts):
        return np.full(len(weights), np.nan)
    up = np.add.reduceat(ups[:, order], starts, axis=1)
    down = np.add.reduceat(downs[:, order], starts, axis=1)
    below = np.cumsum(down, axis=1) - 0.5 * down
    return ratio((up * below).sum(axis=1), ups.sum(axis=1) * downs.sum(axis=1))


def calibration_error(
    weights: FloatArray, probability: FloatArray, outcome: BoolArray, bins: int = 10
) -> FloatArray:
    """Expected calibration error as of `metrics.expected_calibration_error`, (R,)."""
    inside = np.eye(bins)[bin_index(probability, bins)]
    gap = (outcome - probability)[:, None] * inside
    return ratio(np.abs(weights @ gap).sum(axis=1), weights.sum(axis=1))


class Counts:
    """Confusion of every resample by its margins: what all scores of labels are made of.

    Attributes:
        true: (R, C) weight of the cases that are of each class.
        called: (R, C) of those called so.
        hits: (R, C) of those called so rightly.
    """

    def __init__(
        self, weights: FloatArray, truth: IntArray, called: IntArray, classes: int
    ) -> None:
        of_class = np.eye(classes)
        self.true = weights @ of_class[truth]
        self.called = weights @ of_class[called]
        self.hits = weights @ (of_class[truth] * (truth == called)[:, None])

    def accuracy(self) -> FloatArray:
        """Share of cases called rightly."""
        return ratio(self.hits.sum(axis=1), self.true.sum(axis=1))

    def recall(self) -> FloatArray:
        """(R, C): share of a class's cases that are called so."""
        return ratio(self.hits, self.true)

    def precision(self) -> FloatArray:
        """(R, C): share of the cases called so that are of the class."""
        return ratio(self.hits, self.called)

    def f1(self) -> FloatArray:
        """(R, C): harmonic mean of precision and recall; NaN if neither there nor called."""
        return ratio(2 * self.hits, self.true + self.called)

    def balanced_accuracy(self) -> FloatArray:
        """Mean recall of the classes that are there."""
        return _mean_known(self.recall())

    def macro_f1(self) -> FloatArray:
        """Mean F1 of the classes that are there or called."""
        return _mean_known(self.f1())


def quadratic_weighted_kappa(
    weights: FloatArray, truth: IntArray, called: IntArray, classes: int
) -> FloatArray:
    """Agreement of ordered classes beyond chance, (R,): 1 at best, 0 for chance.

    Source: J. Cohen, Weighted kappa, Psychol Bull 70:213, 1968, with squared distances. NaN where
    both sides name one class only.
    """
    counts = Counts(weights, truth, called, classes)
    level = np.arange(classes)
    distance = (level[:, None] - level) ** 2.0
    by_chance = ((counts.true @ distance) * counts.called).sum(axis=1)
    observed = weights @ (truth - called) ** 2.0
    return 1 - ratio(observed * weights.sum(axis=1), by_chance)


def confusion(truth: IntArray, called: IntArray, classes: int) -> IntArray:
    """(classes, classes) numbers of cases: rows are the truth, columns what they are called."""
    matrix = np.zeros((classes, classes), dtype=np.intp)
    np.add.at(matrix, (truth, called), 1)
    return matrix


def _mean_known(values: FloatArray) -> FloatArray:
    """(R, C) to (R,), NaN left out."""
    known = np.isfinite(values)
    return ratio(np.where(known, values, 0).sum(axis=1), known.sum(axis=1).astype(np.float64))
