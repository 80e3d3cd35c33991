"""The step time of a walk seen from the side, from how far apart the ankles are."""

from dataclasses import dataclass

import numpy as np

from medvial.errors import InputError
from medvial.gait.track import Points

LEAST_STEP_S, MOST_STEP_S = 0.3, 1.5  # 200 to 40 steps a minute
LEAST_KNOWN = 0.6  # of the frames, with both ankles
_LEAST_PEAK = 0.4  # by the largest distance of the ankles
_LEAST_REPEATED = 0.2  # correlation of the distance with itself, a step later
_MOST_APART = 0.15  # natural logarithm of the ratio of two readings of the step time
_LONGEST_LAG = 0.75  # of the walk: beyond it too little overlaps
_SMOOTH_S = 0.06


@dataclass(frozen=True)
class Rhythm:
    """Time from step to step."""

    step_s: float
    spread_s: float | None
    """Standard deviation over the steps; None for a single one."""
    count: int
    """Steps whose time was read."""


def find_rhythm(times_s: Points, apart: Points) -> Rhythm:
    """The step time, where two ways to read it agree.

    The distance between the ankles is the same whichever is called left, so that it does not mind
    the swaps of left and right that pose networks make in side views. It is greatest once a step,
    at about heel strike (after Zeni et al., Gait & Posture 27:710, 2008, who take the distance of
    heel and sacrum); and it repeats from step to step, which its autocorrelation shows (after
    Moe-Nilssen and Helbostad, Journal of Biomechanics 37:121, 2004, who take accelerations of the
    trunk). The latter uses the whole walk and gives the value. It cannot tell a step from two; the
    former can, and says how many steps there are.

    Args:
        times_s: (T,) seconds, rising, of two frames at least.
        apart: (T,) distance of the ankles along the walk, 0 or more in any unit; NaN unknown.

    Raises:
        InputError: Says why there is no step time.
    """
    known = np.isfinite(apart)
    if known.mean() < LEAST_KNOWN:
        raise InputError("The ankles are in sight on too few frames.")
    even_s = np.arange(times_s[0], times_s[-1], float(np.median(np.diff(times_s))) / 2)
    values = _smoothed(np.interp(even_s, times_s[known], apart[known]), even_s)
    steps = np.diff(_peaks(even_s, values))
    steps = steps[(steps >= LEAST_STEP_S) & (steps <= MOST_STEP_S)]
    if not steps.size:
        raise InputError(
            f"Fewer than 2 steps, {LEAST_STEP_S:g} to {MOST_STEP_S:g} s apart, are in sight."
        )
    lags = _repeats(even_s, values)
    ratios = np.abs(np.log(lags / np.median(steps)))
    if not lags.size or ratios.min() > _MOST_APART:
        raise InputError("The steps are too uneven, or too few, to tell their time.")
    spread = float(np.std(steps)) if len(steps) > 1 else None
    return Rhythm(float(lags[ratios.argmin()]), spread, len(steps))


def _peaks(times_s: Points, values: Points) -> Points:
    """Times of the greatest values, at least a step apart, to less than a sample."""
    least = _LEAST_PEAK * float(np.percentile(values, 98))
    inner = np.arange(1, len(values) - 1)
    tops = inner[(values[1:-1] > values[:-2]) & (values[1:-1] >= values[2:])]
    kept: list[int] = []
    for top in sorted(tops[values[tops] >= least], key=lambda index: -values[index]):
        if all(abs(times_s[top] - times_s[other]) >= LEAST_STEP_S for other in kept):
            kept.append(int(top))
    return np.array(
        [times_s[0] + _vertex(values, top) * _sample_s(times_s) for top in sorted(kept)]
    )


def _repeats(times_s: Points, values: Points) -> Points:
    """Lags in seconds at which the values repeat best: peaks of their autocorrelation.

    Each lag is normalised by the two stretches that overlap at it, so that few steps do not fade.
    """
    sample_s, centred = _sample_s(times_s), values - values.mean()
    longest = min(round(_LONGEST_LAG * len(values)), round(MOST_STEP_S / sample_s) + 2)
    correlation = np.array(
        [_correlation(centred[: len(values) - lag], centred[lag:]) for lag in range(longest)]
    )
    inner = np.arange(max(1, round(LEAST_STEP_S / sample_s)), longest - 1)
    before, here, after = (correlation[inner + shift] for shift in (-1, 0, 1))
    tops = inner[(here > before) & (here >= after) & (here >= _LEAST_REPEATED)]
    return np.array([_vertex(correlation, int(top)) * sample_s for top in tops])


def _correlation(first: Points, second: Points) -> float:
    power = float(np.sqrt((first @ first) * (second @ second)))
    return float(first @ second) / power if power else 0.0


def _vertex(values: Points, top: int) -> float:
    """Where the parabola through a peak and its neighbours is greatest, in samples."""
    before, here, after = values[top - 1 : top + 2]
    bend = before - 2 * here + after
    return top + (0.0 if bend == 0 else float(0.5 * (before - after) / bend))


def _sample_s(times_s: Points) -> float:
    return float(times_s[1] - times_s[0])


def _smoothed(values: Points, times_s: Points) -> Points:
    width = _SMOOTH_S / _sample_s(times_s)
    offsets = np.arange(-int(3 * width + 1), int(3 * width + 1) + 1)
    weights = np.exp(-0.5 * (offsets / width) ** 2)
    padded = np.pad(values, len(offsets) // 2, mode="edge")
    return np.convolve(padded, weights / weights.sum(), mode="valid")
