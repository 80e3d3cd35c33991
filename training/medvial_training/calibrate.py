"""What is fitted on validation data after training: how sure a network is, and where it decides."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from scipy.special import softmax

from medvial.errors import InputError

FloatArray = NDArray[np.float64]

TEMPERATURES = (0.05, 20.0)


def fit_temperature(logits: ArrayLike, labels: ArrayLike, cases: ArrayLike | None = None) -> float:
    """Temperature by which logits are divided, so that probabilities are as right as they claim.

    It minimises the log loss of the probability that is reported: the mean over a case's clips of
    softmax(logits / temperature). The targets are smoothed as for Platt scaling, so that a
    few cases which are all right do not make it certain.

    Source: C. Guo et al., On Calibration of Modern Neural Networks, ICML 2017; J. Platt,
    Probabilistic Outputs for Support Vector Machines, 1999, for the targets.

    Args:
        logits: (N, C) of clips.
        labels: (N,) positions of the true classes.
        cases: (N,) whose clips they are, the patient for instance; each its own if None.

    Returns:
        The temperature, within TEMPERATURES; 1 without data.

    Raises:
        InputError: The lengths differ, or a case has two labels.
    """
    rows, truth = np.asarray(logits, np.float64), np.asarray(labels, dtype=np.intp)
    if rows.ndim != 2 or truth.shape != rows.shape[:1]:
        raise InputError(
            f"Expected a label for each row of logits, got {truth.shape}, {rows.shape}."
        )
    if not len(truth):
        return 1.0
    names = np.arange(len(truth)) if cases is None else np.asarray(cases)
    _, first, case_of = np.unique(names, return_index=True, return_inverse=True)
    if (truth[first][case_of] != truth).any():
        raise InputError("Expected one label for all clips of a case.")
    targets = _platt_targets(truth[first], rows.shape[1])
    share = 1 / np.bincount(case_of)[case_of]

    def loss(log_temperature: float) -> float:
        clips = softmax(rows / np.exp(log_temperature), axis=1) * share[:, None]
        mean = np.zeros_like(targets)
        np.add.at(mean, case_of, clips)
        return float(-(targets * np.log(np.maximum(mean, 1e-12))).sum())

    bounds = tuple(np.log(TEMPERATURES))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))


def fit_threshold(probability: ArrayLike, positive: ArrayLike) -> float:
    """Threshold of the positive class's probability with the best balanced accuracy.

    It lies half-way between two cases; of equally good ones it is the nearest to one half.

    Args:
        probability: (N,) of the positive class, 0 to 1.
        positive: (N,) the truth.

    Returns:
        The threshold, 0 to 1; 0.5 if all cases are of one class.
    """
    p, side = np.asarray(probability, np.float64), np.asarray(positive, dtype=bool)
    if side.all() or not side.any():
        return 0.5
    values = np.unique(np.append(p, 0.5))
    candidates = np.append((values[1:] + values[:-1]) / 2, 0.5)
    called = p >= candidates[:, None]
    balanced = (called[:, side].mean(axis=1) + (~called[:, ~side]).mean(axis=1)) / 2
    best = candidates[balanced >= balanced.max() - 1e-12]
    return float(best[np.argmin(np.abs(best - 0.5))])


def _platt_targets(truth: NDArray[np.intp], classes: int) -> FloatArray:
    """(N, C): (n + 1) / (n + C) for the true class of n cases, the rest shared by the others."""
    count = np.bincount(truth, minlength=classes)[truth][:, None]
    return np.where(np.eye(classes)[truth] == 1, count + 1, 1) / (count + classes)
