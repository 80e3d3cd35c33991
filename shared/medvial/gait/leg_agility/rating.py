"""Scores of item 3.8 from a network's outputs, and the rating of both legs of a clip."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medvial.gait.leg_agility.analysis import LegAgility, LegAnalysis
from medvial.gait.leg_agility.config import LegConfig
from medvial.gait.leg_agility.inputs import analyse_both, leg_input
from medvial.gait.leg_agility.quality import Reason
from medvial.gait.leg_agility.signals import LEGS, Leg
from medvial.gait.skeletons import Keypoints
from medvial.models import Network

NAME = "leg_agility"
"""Of the network's files in a model folder."""
NO_TAPS = Reason(
    "no-taps",
    "no taps: the leg was not asked for in this clip, or it cannot perform the task, which would "
    "be a 4; a clip does not say which",
)

_LEAST = 1e-6  # a probability that has a logit


@dataclass(frozen=True)
class LegRating:
    """The rating of one leg."""

    leg: Leg
    """The patient's own left or right."""
    score: int | None
    """Of MDS-UPDRS item 3.8; None where the leg is not rated."""
    probabilities: dict[int, float] | None
    """Of each level that the network can give."""
    expected: float | None
    """Mean of the levels, weighted by their probabilities."""
    analysis: LegAnalysis
    """Kinematics, criteria, quality."""
    reasons: tuple[Reason, ...] = ()
    """Why it is not rated; empty if it is."""

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready: the score, and the analysis beside it."""
        named = self.probabilities
        return {
            "score": self.score,
            "expected": None if self.expected is None else round(self.expected, 4),
            "probabilities": named and {str(k): round(v, 6) for k, v in named.items()},
            "unrated": [reason.as_dict() for reason in self.reasons],
            **self.analysis.as_dict(),
        }


def unrated(analysis: LegAnalysis) -> tuple[Reason, ...]:
    """Why a leg cannot be rated, in training as in inference; empty if it can."""
    if analysis.quality.refused:
        return analysis.quality.refused
    return () if analysis.movement.taps else (NO_TAPS,)


def rate(
    points: Keypoints,
    times_s: NDArray[np.floating],
    network: Network,
    config: LegConfig,
    learned: Mapping[str, Any] | None = None,
) -> dict[Leg, LegRating]:
    """Rate both legs of a clip in which the patient was asked to tap with both.

    Args:
        points: (T, 25, 3) BODY_25 of the patient, pixels.
        times_s: (T,) of the frames, increasing.
        network: Of `model.build_model(config)`, or a forest: (N, ...) to (N, outputs).
        config: That the network was trained with.
        learned: What was fitted after training: `temperature`, 1 where it is missing.

    Returns:
        By leg; a leg that cannot be rated says why.

    Raises:
        InputError: The shape is another, or the times do not fit.
    """
    agility = analyse_both(points, times_s)
    rated: list[Leg] = [leg for leg in LEGS if not unrated(agility.of(leg))]
    told: dict[Leg, NDArray[np.float64]] = {}
    if rated:
        inputs = np.stack([leg_input(points, times_s, leg, config, agility) for leg in rated])
        temperature = float((learned or {}).get("temperature", 1.0))
        told = dict(zip(rated, probabilities(network(inputs), config, temperature), strict=True))
    return {leg: _rating(agility, leg, told.get(leg), config) for leg in LEGS}


def probabilities(
    outputs: NDArray[np.floating], config: LegConfig, temperature: float = 1.0
) -> NDArray[np.float64]:
    """Probability of each level.

    Args:
        outputs: (N, M) of a network: logits of exceeding each level but the last, or of each level
            with cross_entropy; of a forest, probabilities of exceeding.
        config: Says which.
        temperature: Divides the logits.

    Returns:
        (N, K), in the order of `levels`; each row sums to 1.
    """
    values = np.asarray(outputs, np.float64)
    if config.kind == "kinematic":
        values = np.clip(values, _LEAST, 1 - _LEAST)
        values = np.log(values / (1 - values))
    values = values / temperature
    if values.shape[1] == len(config.levels):
        likely = np.exp(values - values.max(axis=1, keepdims=True))
        return likely / likely.sum(axis=1, keepdims=True)
    above = 1 / (1 + np.exp(-np.clip(values, -50, 50)))
    above = np.minimum.accumulate(above, axis=1)  # separate outputs may contradict each other
    ends = np.ones((len(above), 1)), np.zeros((len(above), 1))
    return -np.diff(np.concatenate([ends[0], above, ends[1]], axis=1), axis=1)


def scores(probabilities: NDArray[np.float64], config: LegConfig) -> NDArray[np.int64]:
    """(N,) the median level: the first that is not more likely exceeded than not.

    The median is off by the least on average, and is what an ordinal network's limits say.
    """
    exceeded = 1 - np.cumsum(probabilities, axis=1)[:, :-1]
    return np.asarray(config.levels, np.int64)[(exceeded > 0.5).sum(axis=1)]


def expected_scores(probabilities: NDArray[np.float64], config: LegConfig) -> NDArray[np.float64]:
    """(N,) the mean of the levels, weighted by their probabilities."""
    return probabilities @ np.asarray(config.levels, np.float64)


def _rating(
    agility: LegAgility, leg: Leg, told: NDArray[np.float64] | None, config: LegConfig
) -> LegRating:
    analysis = agility.of(leg)
    if told is None:
        return LegRating(leg, None, None, None, analysis, unrated(analysis))
    return LegRating(
        leg,
        int(scores(told[None], config)[0]),
        dict(zip(config.levels, told.tolist(), strict=True)),
        float(expected_scores(told[None], config)[0]),
        analysis,
    )
