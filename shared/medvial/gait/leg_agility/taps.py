"""Taps in the height of a knee: each rise from the floor and the fall back to it."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medvial.gait.leg_agility.options import Options
from medvial.gait.leg_agility.signals import LegSignal, Values

_COMPLETE = 0.5  # of the rise: what a last tap has to have fallen, to be one
_LOWER, _UPPER = 0.2, 0.8  # parts of a rise between which its speed is taken
_LAG_S = 0.15  # of a mirror movement


@dataclass(frozen=True)
class Tap:
    """One rise and fall of the knee. Times are in s of the signal, lengths in trunk lengths."""

    start_s: float
    """When the knee passes a fifth of the rise, upwards."""
    peak_s: float
    end_s: float
    """When the knee passes a fifth of the fall, downwards."""
    height: float
    """Of the knee at the peak, above the hips."""
    amplitude: float
    """Height of the peak above the mean of the valleys before and after."""
    rise_speed: float
    """Mean speed from a fifth to four fifths of the rise, in trunk lengths per s. Noise raises the
    highest speed, and smoothing lowers it."""
    fall_speed: float
    """The same of the fall; above 0."""
    run: int
    """Number of the stretch without gaps that it lies in: between two of them, time is unknown."""


def find_taps(signal: LegSignal, other: LegSignal, options: Options | None = None) -> list[Tap]:
    """The taps of the largest attempt of one leg.

    The turning points of the height are sought with a hysteresis: a rise and a fall count when
    both exceed the noise, a part of the signal's range, and a least height. What the leg does
    while the other does at least twice as much is a mirror movement. Taps that a long time parts
    from the rest belong to another attempt.

    Args:
        signal: Of the leg.
        other: Of the other leg, at the same times.
        options: How; None takes the defaults.

    Returns:
        In order of time. Taps that a gap or the clip's ends cut are left out.
    """
    options = options or Options()
    least = least_rise(signal, options)
    taps = [
        tap
        for number, (start, end) in enumerate(_runs(np.isfinite(signal.height)))
        for tap in _taps_of_run(signal, start, end, number, least)
    ]
    own = [tap for tap in taps if not _mirrors(tap, other, options)]
    return _largest_attempt(own, options.bout_gap_s)


def least_rise(signal: LegSignal, options: Options) -> float:
    """The height below which a rise is none, in trunk lengths."""
    noise = signal.noise if np.isfinite(signal.noise) else 0.0
    return max(options.min_rise, options.relative_rise * signal.range, options.noise_rise * noise)


def turning_points(values: Values, least: float) -> list[int]:
    """Where a curve turns by at least that much: valleys and peaks in turn.

    Args:
        values: (N,), finite.
        least: Smallest change between two of them, except after the last.

    Returns:
        Indices; the first is a valley or a peak, the last is the extreme after the one before.
        Empty where nothing turns.
    """
    low = high = 0
    points: list[int] = []
    rising: bool | None = None
    for index, value in enumerate(values.tolist()):
        if rising is not False and value > values[high]:
            high = index
        if rising is not True and value < values[low]:
            low = index
        if rising is not False and values[high] - value >= least:
            points.append(high)
            rising, low = False, index
        elif rising is not True and value - values[low] >= least:
            points.append(low)
            rising, high = True, index
    if rising is not None:
        points.append(high if rising else low)
    return points


def _runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Start and end (exclusive) of each stretch of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return list(itertools.pairwise(edges.tolist()))[::2]


def _taps_of_run(signal: LegSignal, start: int, end: int, number: int, least: float) -> list[Tap]:
    values = signal.height[start:end]
    points = turning_points(values, least)
    taps = []
    for before, peak, after in zip(points, points[1:], points[2:], strict=False):
        rise, fall = values[peak] - values[before], values[peak] - values[after]
        if rise >= least and fall >= max(least, _COMPLETE * rise):
            taps.append(_tap(signal, start + before, start + peak, start + after, number))
    return taps


def _tap(signal: LegSignal, before: int, peak: int, after: int, number: int) -> Tap:
    height, times = signal.height, signal.times_s
    up = _flank(times[before : peak + 1], height[before : peak + 1])
    down = _flank(-times[after : peak - 1 : -1], height[after : peak - 1 : -1])
    rise, fall = height[peak] - height[before], height[peak] - height[after]
    part = _UPPER - _LOWER
    return Tap(
        start_s=up[0],
        peak_s=_peak_time(times, height, peak),
        end_s=-down[0],
        height=float(height[peak]),
        amplitude=float((rise + fall) / 2),
        rise_speed=float(part * rise / (up[1] - up[0])),
        fall_speed=float(part * fall / (down[1] - down[0])),
        run=number,
    )


def _peak_time(times: Values, height: Values, peak: int) -> float:
    """Of the top of the parabola through a peak and its neighbours, which are both lower."""
    before, top, after = height[peak - 1 : peak + 2]
    offset = (before - after) / (2 * (before - 2 * top + after))
    return float(times[peak] + offset * (times[peak + 1] - times[peak]))


def _flank(times: Values, height: Values) -> tuple[float, float]:
    """When a rise from the first to the last value leaves its lower fifth, reaches its upper one.

    For the last time and then for the first; in time between the samples.
    """
    relative = (height - height[0]) / (height[-1] - height[0])
    left = int(np.flatnonzero(relative <= _LOWER)[-1])
    reached = left + int(np.flatnonzero(relative[left:] >= _UPPER)[0])
    return (
        _between(times[left : left + 2], relative[left : left + 2], _LOWER),
        _between(times[reached - 1 : reached + 1], relative[reached - 1 : reached + 1], _UPPER),
    )


def _between(times: Values, values: Values, level: float) -> float:
    """When a straight line between two values passes a level."""
    return float(times[0] + (times[1] - times[0]) * (level - values[0]) / (values[1] - values[0]))


def _mirrors(tap: Tap, other: LegSignal, options: Options) -> bool:
    """Whether the other leg moves much more during this tap."""
    during = (other.times_s >= tap.start_s - _LAG_S) & (other.times_s <= tap.end_s + _LAG_S)
    height = other.height[during & np.isfinite(other.height)]
    return len(height) > 0 and bool(np.ptp(height) >= options.mirror_ratio * tap.amplitude)


def _largest_attempt(taps: Sequence[Tap], gap_s: float) -> list[Tap]:
    """The taps without longer gaps between them that rise most in all."""
    attempts: list[list[Tap]] = [[]]
    for tap in taps:
        if attempts[-1] and tap.start_s - attempts[-1][-1].end_s > gap_s:
            attempts.append([])
        attempts[-1].append(tap)
    return max(attempts, key=lambda attempt: sum(tap.amplitude for tap in attempt))
