"""Recordings that are one and the same, though their files are not.

A recording that was cut, made smaller, compressed or put through the pose estimator again, under
another patient's name, would be trained on and tested on. How the knees move gives it away.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import correlate

from medvial.gait.leg_agility.options import Options
from medvial.gait.leg_agility.signals import LEGS, LegSignals

RATE_HZ = 30.0
SAME_RECORDING = 0.18
"""Distance below which two recordings are one.

Of 60 phantom recordings, the nearest two different ones lie at 0.27; copies that are cut by up to
2 s at either end, 30 % smaller, and have noise of 2 more pixels at 0.09 and below."""
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


def trace_of(signals: LegSignals) -> Trace:
    """(2, G) heights of the left and the right knee at 30 Hz, in trunk lengths; NaN in gaps."""
    step = round(Options().rate_hz / RATE_HZ)
    return np.stack([signals.of(leg).height[::step] for leg in LEGS])


def distance(first: Trace, second: Trace) -> float:
    """How far two traces lie apart, over how far they move; the least over all shifts in time.

    The root of the mean square of their differences over that of their deviations from their own
    medians: 0 for one trace, about 1 and more for those that have nothing in common.
    """
    seen_1, seen_2 = np.isfinite(first), np.isfinite(second)
    least = max(_LEAST_COMMON * min(seen_1.sum(), seen_2.sum()), RATE_HZ)
    origin = _middle(first)[:, None]
    one, two = (np.nan_to_num(trace - origin) for trace in (first, second))
    moved = [np.nan_to_num(trace - _middle(trace)[:, None]) for trace in (first, second)]
    # Sums over what both have at each shift, by products of Fourier transforms.
    count = _products(seen_1, seen_2)
    apart = _products(one**2, seen_2) + _products(seen_1, two**2) - 2 * _products(one, two)
    spread = _products(moved[0] ** 2, seen_2) + _products(seen_1, moved[1] ** 2)
    usable = (count > least - 0.5) & (spread > 1e-6)
    if not usable.any():
        return float("inf")
    return float(np.sqrt(2 * np.clip(apart[usable], 0, None) / spread[usable]).min())


def _products(first: NDArray[Any], second: NDArray[Any]) -> Trace:
    """(S,) sums of the products of both legs at each shift in time."""
    pairs = zip(first.astype(np.float64), second.astype(np.float64), strict=True)
    return np.sum([correlate(a, b, method="fft") for a, b in pairs], axis=0)


def _middle(trace: Trace) -> Trace:
    """(2,) medians; 0 for a knee that is never seen."""
    return np.array(
        [np.median(row[np.isfinite(row)]) if np.isfinite(row).any() else 0 for row in trace]
    )
