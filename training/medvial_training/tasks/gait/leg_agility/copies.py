"""Recordings that are one and the same, though their files are not.

A recording that was cut, made smaller, compressed or put through the pose estimator again, under
another patient's name, would be trained on and tested on. How the knees move gives it away.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from medvial.gait.leg_agility.options import Options
from medvial.gait.leg_agility.signals import LEGS, leg_signals
from medvial.gait.skeletons import Keypoints

RATE_HZ = 30.0
SAME_RECORDING = 0.25
"""Distance below which two recordings are one."""
_LEAST_COMMON = 0.6  # of the shorter one
_FAR = 0.15  # trunk lengths between median heights: no copies

Trace = NDArray[np.float64]


def find_copies(traces: Sequence[Trace]) -> list[tuple[int, int, float]]:
    """Pairs of recordings that are one.

    Args:
        traces: `trace_of` each.

    Returns:
        Positions of both, the earlier first, and their distance.
    """
    middles = [_middle(trace) for trace in traces]
    return [
        (first, second, round(near, 4))
        for second in range(len(traces))
        for first in range(second)
        if np.abs(middles[first] - middles[second]).max() < _FAR
        and (near := distance(traces[first], traces[second])) < SAME_RECORDING
    ]


def trace_of(points: Keypoints, times_s: NDArray[np.floating]) -> Trace:
    """(2, G) heights of the left and the right knee at 30 Hz, in trunk lengths; NaN in gaps.

    Args:
        points: (T, 25, 3) BODY_25 of the patient, pixels.
        times_s: (T,) increasing.
    """
    signals = leg_signals(points, times_s, Options(rate_hz=RATE_HZ))
    return np.stack([signals.of(leg).height for leg in LEGS])


def distance(first: Trace, second: Trace) -> float:
    """How far two traces lie apart, over how far they move; the least over all shifts in time.

    The root of the mean square of their differences over that of their deviations from their own
    medians: 0 for one trace, about 1 and more for those that have nothing in common.
    """
    least = round(_LEAST_COMMON * min(first.shape[1], second.shape[1]))
    if least < RATE_HZ:
        return float("inf")
    moved = [trace - _middle(trace)[:, None] for trace in (first, second)]
    shifts = range(least - second.shape[1], first.shape[1] - least + 1)
    apart = (_apart(_common(first, second, by), _common(moved[0], moved[1], by)) for by in shifts)
    return min(apart, default=float("inf"))


def _common(first: Trace, second: Trace, shift: int) -> tuple[Trace, Trace]:
    """The parts of both that lie at the same time if the second begins `shift` steps later."""
    start, end = max(0, shift), min(first.shape[1], second.shape[1] + shift)
    return first[:, start:end], second[:, start - shift : end - shift]


def _apart(traces: tuple[Trace, Trace], moved: tuple[Trace, Trace]) -> float:
    difference = traces[0] - traces[1]
    seen = np.isfinite(difference)
    if np.count_nonzero(seen) < seen.size / 2:
        return float("inf")
    spread = sum(float(np.sum(trace**2, where=seen)) for trace in moved)
    return float(np.sqrt(2 * np.sum(difference**2, where=seen) / max(spread, 1e-12)))


def _middle(trace: Trace) -> Trace:
    """(2,) medians; 0 for a knee that is never seen."""
    return np.array(
        [np.median(row[np.isfinite(row)]) if np.isfinite(row).any() else 0 for row in trace]
    )
