"""Leg agility by the rule of MDS-UPDRS item 3.8: what a score looks like, taps over time.

The item asks a seated person to raise and stomp the foot ten times, high and fast, each leg for
itself. Its score is the worst of three criteria: interruptions (1: one or two, 2: three to five, 3:
more, or a longer arrest), slowing (slight, mild, moderate) and decrement of the amplitude (1: near
the end, 2: midway, 3: after the first tap); 4: can hardly do it at all (Goetz et al., Movement
Disorders 2008;23:2129). Rate, elevation and the sizes of slowing and decrement are design values.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from medvial.errors import InputError

Array = NDArray[np.float64]
SCORES = (0, 1, 2, 3, 4)
SCORE_SHARES = (0.36, 0.48, 0.12, 0.03, 0.01)  # of 62 rated videos: 0 to 3; 4 is rarer still
INTERRUPTIONS = ((0, 0), (1, 2), (3, 5), (6, 8))  # fewest and most of each level
SLOWING = (0.0, 0.18, 0.38, 0.60)
DECREMENT_FROM = (None, 7, 4, 1)  # the tap, counted from 0, from which amplitudes fall
DECREMENT_BY = (0.0, 0.35, 0.45, 0.60)  # at the last tap
ARREST_SHARE = 0.5  # of the level 3 interruptions: an arrest, with one or two pauses
TAPS, BARELY_TAPS, BARELY_AMPLITUDE = 10, (2, 5), 0.12
RATE_HZ, RATE_SD, ELEVATION_DEG, ELEVATION_SD = 2.0, 0.16, 30.0, 4.0
PAUSE_S, ARREST_S = (0.35, 0.65), (1.3, 2.2)
JITTER = 0.05  # of a tap's duration and of its amplitude
LEGS_CORRELATION = 0.75  # of the latent severities of a subject's legs; a design value


@dataclass(frozen=True)
class Trial:
    """One leg's movement. Times in seconds from the beginning of the video."""

    score: int
    interruptions_level: int
    slowing_level: int
    decrement_level: int
    interruptions: int
    """Pauses between taps, arrests included."""
    arrests: int
    peaks_s: Array
    """(taps,) when the knee is highest."""
    amplitudes_deg: Array
    """(taps,) elevation of the thigh."""
    durations_s: Array
    """(taps,) of each tap, pauses not included."""
    start_s: float
    end_s: float

    def elevation(self, times_s: Array) -> Array:
        """Elevation of the thigh (T,) in degrees: a rounded bump for each tap."""
        bumps = (times_s[:, None] - self.peaks_s) / self.durations_s + 0.5
        shape = np.sin(np.pi * np.clip(bumps, 0, 1)) ** 1.5
        elevation: Array = (shape * self.amplitudes_deg).sum(axis=1)
        return elevation


def rule(interruptions: int, arrests: int, slowing_level: int, decrement_level: int) -> int:
    """Score 0 to 3 by the item's words: the worst of the criteria."""
    level = next(k for k, (_, most) in enumerate(INTERRUPTIONS) if interruptions <= most)
    return max(3 if arrests else level, slowing_level, decrement_level)


def sample_trial(rng: np.random.Generator, score: int, start_s: float = 0.6) -> Trial:
    """A leg that is rated so.

    One of the criteria has the score's level; the others have it or a lower one.
    """
    if score not in SCORES:
        raise InputError(f"Expected a score of 0 to 4, got {score}.")
    levels = rng.integers(0, min(score, 3) + 1, 3)
    levels[rng.integers(3)] = min(score, 3)
    if score == 4:
        levels[:] = 0
    few, many = INTERRUPTIONS[levels[0]]
    arrest = bool(levels[0] == 3 and rng.random() < ARREST_SHARE)
    pauses = int(rng.integers(1, 4) if arrest else rng.integers(few, many + 1))
    taps = int(rng.integers(BARELY_TAPS[0], BARELY_TAPS[1] + 1)) if score == 4 else TAPS
    amplitudes = _amplitudes(rng, taps, int(levels[2]), barely=score == 4)
    rate = float(np.clip(rng.normal(RATE_HZ, RATE_SD), 1.6, 2.4)) * (1 - SLOWING[levels[1]])
    durations = rng.normal(1, JITTER, taps) / (0.6 * rate if score == 4 else rate)
    gaps = np.zeros(taps)
    paused = rng.choice(np.arange(1, taps), size=pauses, replace=False)
    gaps[paused] = rng.uniform(*PAUSE_S, pauses)
    if arrest:
        gaps[paused[0]] = rng.uniform(*ARREST_S)
    begins = start_s + np.cumsum(gaps) + np.concatenate([[0.0], np.cumsum(durations)[:-1]])
    return Trial(
        *(score, int(levels[0]), int(levels[1]), int(levels[2]), pauses, int(arrest)),
        *(begins + durations / 2, amplitudes, durations),
        *(start_s, float(begins[-1] + durations[-1])),
    )


def _amplitudes(rng: np.random.Generator, taps: int, level: int, *, barely: bool) -> Array:
    """(taps,) in degrees; a decrement grows from its first tap to the last."""
    largest = float(np.clip(rng.normal(ELEVATION_DEG, ELEVATION_SD), 20, 42))
    amplitudes = largest * rng.normal(1, JITTER, taps)
    onset = DECREMENT_FROM[level]
    if onset is not None:
        since = np.clip((np.arange(taps) - onset + 1) / (taps - onset), 0, 1)
        amplitudes *= 1 - DECREMENT_BY[level] * since**0.6
    return amplitudes * (BARELY_AMPLITUDE if barely else 1.0)


def sample_scores(rng: np.random.Generator, subjects: int) -> NDArray[np.int64]:
    """Scores (subjects, 2) of the left and the right leg, with the shares of `SCORE_SHARES`.

    Each leg's scores are quantiles of a normal severity, so that even a small set has its share of
    each; the two legs of a subject are correlated.
    """
    first = rng.standard_normal(subjects)
    r = LEGS_CORRELATION
    second = r * first + np.sqrt(1 - r * r) * rng.standard_normal(subjects)
    limits = np.cumsum(SCORE_SHARES)[:-1]
    ranks = np.stack([first, second], axis=1).argsort(axis=0).argsort(axis=0)
    return np.searchsorted(limits, (ranks + 0.5) / subjects, side="right")


def revisit(rng: np.random.Generator, score: int) -> int:
    """The score at a subject's next visit: mostly the same, at times one more or less."""
    worse = float(norm.ppf(0.85))
    step = rng.standard_normal()
    return int(np.clip(score + int(step > worse) - int(step < -worse), 0, 4))
