"""What is learned after training: the threshold, the recalibration, the prediction interval."""

import logging
import math

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import LeaveOneOut, cross_val_predict

log = logging.getLogger(__name__)

THRESHOLDS = np.round(np.arange(0.3, 0.71, 0.05), 2)


def best_threshold(probabilities: NDArray[np.float32], masks: NDArray[np.bool_]) -> float:
    """The probability, 0.3 to 0.7, above which the pixels overlap best with the experts' masks.

    Args:
        probabilities: (N, H, W), 0 to 1.
        masks: (N, H, W).

    Returns:
        0.5 unless another one has a Dice that is more than 0.002 better.
    """
    dice = {float(t): _dice(probabilities > t, masks) for t in THRESHOLDS}
    best = max(dice, key=lambda t: dice[t])
    return best if dice[best] > dice[0.5] + 0.002 else 0.5


def _dice(predicted: NDArray[np.bool_], masks: NDArray[np.bool_]) -> float:
    both, areas = (predicted & masks).sum(), predicted.sum() + masks.sum()
    return float(2 * both / max(areas, 1))


def conformal_half_width(errors: NDArray[np.float64], coverage: float) -> float | None:
    """Half the width of an interval that holds a further video's truth with probability `coverage`.

    The ceil((n + 1) * coverage)-th smallest absolute error (Lei et al., J Am Stat Assoc
    2018;113:1094-111). The validation videos also chose the best epoch, so that the true coverage
    may lie a little lower.

    Args:
        errors: (n,) errors of the validation videos, percent.
        coverage: 0 to 1.

    Returns:
        Percent; None where n is too small for such a coverage.
    """
    rank = math.ceil((len(errors) + 1) * coverage)
    if rank > len(errors):
        log.info("No prediction interval: %d validation videos are too few.", len(errors))
        return None
    return float(np.sort(np.abs(errors))[rank - 1])


def recalibration(
    predicted: NDArray[np.float64], truth: NDArray[np.float64]
) -> tuple[float, float, NDArray[np.float64]]:
    """Straight line from the network's to the true ejection fraction, by least squares.

    Returns:
        Slope, intercept in percent, and the errors of each video under the line through the others.
    """
    line = LinearRegression().fit(predicted[:, None], truth)
    others = cross_val_predict(LinearRegression(), predicted[:, None], truth, cv=LeaveOneOut())
    return float(line.coef_[0]), float(line.intercept_), others - truth
