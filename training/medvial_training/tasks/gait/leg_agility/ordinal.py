"""Losses of ordered scores, and what is fitted to outputs after training."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from medvial.gait.leg_agility.config import LegConfig
from medvial.gait.leg_agility.rating import probabilities

TEMPERATURES = np.geomspace(0.25, 4.0, 49)  # within these, however few legs there are


def ordinal_loss(
    outputs: Tensor, targets: Tensor, config: LegConfig, weights: Tensor | None = None
) -> Tensor:
    """Mean loss of a batch.

    coral and cumulative: the cross-entropies of exceeding each level, added up (Cao et al., Pattern
    Recognition Letters 2020;140:325-31): a score that is off by two costs more than one that is
    off by one. cross_entropy knows no order.

    Args:
        outputs: (N, M) of the network.
        targets: (N,) places in `config.levels`.
        config: Says which loss.
        weights: (K,) of each level, 1 if None.

    Returns:
        A scalar; legs count by their weights, whose mean over the training legs is 1.
    """
    if config.loss == "cross_entropy":
        losses = functional.cross_entropy(outputs, targets, reduction="none")
    else:
        above = exceeded(targets, outputs.shape[1]).to(outputs)
        losses = functional.binary_cross_entropy_with_logits(outputs, above, reduction="none")
        losses = losses.sum(dim=1)
    return losses.mean() if weights is None else (losses * weights.to(losses)[targets]).mean()


def exceeded(targets: Tensor, limits: int) -> Tensor:
    """(N, limits) whether each target is beyond each level but the last."""
    return targets[:, None] > torch.arange(limits, device=targets.device)


def level_weights(
    targets: NDArray[np.int64], config: LegConfig, balance: float
) -> NDArray[np.float32]:
    """Weight of each level in the loss: its frequency to the power of -balance.

    Args:
        targets: (N,) places in `config.levels` of the training legs.
        config: Gives the levels.
        balance: 0 (each leg alike) to 1 (each level alike).

    Returns:
        (K,) with a mean of 1 over the legs; a level without legs has the largest.
    """
    counts = np.bincount(targets, minlength=len(config.levels)).astype(np.float64)
    weights = np.maximum(counts, 1.0) ** -balance
    return np.asarray(weights / ((weights * counts).sum() / counts.sum()), np.float32)


def fit_temperature(
    outputs: NDArray[np.floating], scores: Sequence[int], config: LegConfig
) -> float:
    """The temperature by which probabilities of legs that were not trained on fit best.

    By likelihood (Guo et al., ICML 2017, arXiv 1706.04599). Validation legs of one fold are too few
    for it; outputs of all folds together are not.

    Args:
        outputs: (N, M) of networks that never saw the legs.
        scores: (N,) of them.
        config: Says how outputs are read.
    """
    places = np.searchsorted(config.levels, scores)
    rows = np.arange(len(places))

    def cost(temperature: float) -> float:
        likely = probabilities(outputs, config, temperature)[rows, places]
        return -float(np.log(np.maximum(likely, 1e-9)).mean())

    return float(min(TEMPERATURES, key=cost))
