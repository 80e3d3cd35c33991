"""Height of the knees through time, and its speed, at a fixed rate."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medvial.errors import InputError
from medvial.gait.leg_agility.options import Options
from medvial.gait.skeletons import BODY_25, Keypoints, check_keypoints

Leg = Literal["left", "right"]
LEGS: tuple[Leg, Leg] = ("left", "right")

Values = NDArray[np.float64]

_FILL_WEIGHT = 0.1  # of a value on a straight line over a gap, against one that was seen
_MIN_FRAMES = 5  # in the window of the regression
_REFERENCES = ("mid_hip", "neck")  # the first that is seen in at least half of the frames
_MAD_TO_SD = 1.4826  # of a normal distribution
_MAX_SAMPLES = 10**6
_SAME_S = 1e-6  # times nearer than this are the same


@dataclass(frozen=True)
class LegSignal:
    """One knee through time. Lengths are in trunk lengths, upwards."""

    leg: Leg
    """The patient's own left or right."""
    times_s: Values
    """(G,) even."""
    height: Values
    """(G,) of the knee above the hips; NaN in long gaps."""
    speed: Values
    """(G,) of the knee, in trunk lengths per second, upwards positive."""
    noise: float
    """Standard deviation of the single keypoints about the signal."""
    missing: float
    """Share of the frames, gaps between frames included, that have no knee that can be used."""
    frames: int
    """With a knee that can be used."""
    spikes: int
    """Knees that were left out because they jumped."""

    @property
    def duration_s(self) -> float:
        """From the first to the last frame."""
        return float(self.times_s[-1] - self.times_s[0])

    @property
    def fps(self) -> float:
        """Frames with a knee that can be used, per second; 0 for a single frame."""
        return self.frames / self.duration_s if self.duration_s > 0 else 0.0

    @property
    def range(self) -> float:
        """Height between the 1st and the 99th percentile; 0 without any."""
        seen = self.height[np.isfinite(self.height)]
        return float(np.subtract(*np.quantile(seen, [0.99, 0.01]))) if len(seen) else 0.0


@dataclass(frozen=True)
class LegSignals:
    """Both knees at the same times."""

    left: LegSignal
    right: LegSignal
    trunk_px: float
    """Median length of the trunk in pixels; NaN if it is never seen."""

    def of(self, leg: Leg) -> LegSignal:
        """That of one leg."""
        return self.left if leg == "left" else self.right


def leg_signals(
    points: Keypoints, times_s: NDArray[np.floating], options: Options | None = None
) -> LegSignals:
    """Both knees' height above the hips, over the length of the trunk.

    Smoothed by a local quadratic regression with tricube weights (Cleveland, J Am Stat Assoc
    1979;74:829-36) times the confidence of the keypoints, which also gives the speed, and puts
    frames at any times on even ones.

    Args:
        points: (T, 25, 3) BODY_25 of one person, pixels.
        times_s: (T,) of the frames, increasing, not necessarily evenly.
        options: How; None takes the defaults.

    Raises:
        InputError: The shape is another, or the times do not fit.
    """
    options = options or Options()
    check_keypoints(points, BODY_25)
    times = _checked_times(points, times_s, options)
    trunk_px = _trunk_length(points)
    reference = _reference(points, times, options)
    grid = times[0] + np.arange(int((times[-1] - times[0]) * options.rate_hz) + 1) / options.rate_hz
    expected = _expected_frames(times)
    signals = []
    for leg in LEGS:
        knee = points[:, BODY_25.indices[f"{leg}_knee"]]
        height = (reference - knee[:, 1]) / trunk_px
        signals.append(_signal(leg, times, height, knee[:, 2], grid, expected, options))
    return LegSignals(signals[0], signals[1], trunk_px)


def at_rate(
    points: Keypoints, times_s: NDArray[np.floating], rate_hz: float, options: Options | None = None
) -> Keypoints:
    """Keypoints at even times, for drawing: straight lines over short gaps, missing in long ones.

    Args:
        points: (T, K, 3) of one person.
        times_s: (T,) of the frames, increasing.
        rate_hz: Of the result.
        options: Gives the longest gap; None takes the default.

    Returns:
        (G, K, 3) from the first to the last frame.
    """
    options = options or Options()
    times = _checked_times(points, times_s, options)
    grid = times[0] + np.arange(int((times[-1] - times[0]) * rate_hz + 1e-6) + 1) / rate_hz
    result = np.full((len(grid), *points.shape[1:]), (np.nan, np.nan, 0.0))
    for joint in range(points.shape[1]):
        seen = points[:, joint, 2] > 0
        if not seen.any():
            continue
        near = _bridged(grid, times[seen], options.max_gap_s)
        for axis in range(3):
            values = np.interp(grid, times[seen], points[seen, joint, axis])
            result[near, joint, axis] = values[near]
    return result


def _checked_times(
    points: Keypoints, times_s: NDArray[np.floating], options: Options
) -> NDArray[np.float64]:
    times = np.asarray(times_s, np.float64).reshape(-1)
    increasing = np.isfinite(times).all() and (np.diff(times) > 0).all()
    if len(times) != len(points) or len(times) == 0 or not increasing:
        raise InputError(
            f"Expected increasing times of {len(points)} frames, got {len(times)} times that do "
            "not fit or do not increase."
        )
    if (times[-1] - times[0]) * options.rate_hz > _MAX_SAMPLES:
        raise InputError(
            f"Expected a clip of leg agility, got one of {times[-1] - times[0]:.0f} s. Cut it."
        )
    return times


def _expected_frames(times: Values) -> int:
    """How many frames there would be without gaps."""
    if len(times) < 2:
        return len(times)
    return max(len(times), round((times[-1] - times[0]) / float(np.median(np.diff(times)))) + 1)


def _trunk_length(points: Keypoints) -> float:
    neck, hip = (points[:, BODY_25.indices[joint], :2] for joint in ("neck", "mid_hip"))
    lengths = np.linalg.norm(neck - hip, axis=1)
    lengths = lengths[np.isfinite(lengths) & (lengths > 0)]
    return float(np.median(lengths)) if len(lengths) else float("nan")


def _reference(points: Keypoints, times: Values, options: Options) -> Values:
    """(T,) y that heights are measured from: that of the hips, smoothed by a running median."""
    for joint in _REFERENCES:
        y = points[:, BODY_25.indices[joint], 1]
        seen = np.isfinite(y)
        if seen.mean() >= 0.5:
            break
    else:
        return np.full(len(points), np.nan)
    y = np.interp(times, times[seen], y[seen])
    to_ends = np.minimum(times - times[0], times[-1] - times)  # even windows, so that none lags
    half = np.minimum(options.reference_window_s / 2, to_ends) + _SAME_S
    starts = np.searchsorted(times, times - half)
    ends = np.searchsorted(times, times + half)
    return np.array([np.median(y[a:b]) for a, b in zip(starts, ends, strict=True)])


def _signal(
    leg: Leg,
    times: Values,
    height: Values,
    confidence: Values,
    grid: Values,
    expected: int,
    options: Options,
) -> LegSignal:
    seen = np.isfinite(height)
    kept = seen.copy()
    kept[seen] = ~_spikes(times[seen], height[seen], options)
    frames = int(kept.sum())
    counts = (1 - frames / expected, frames, int(seen.sum()) - frames)
    if frames < _MIN_FRAMES:
        empty = np.full(len(grid), np.nan)
        return LegSignal(leg, grid, empty, empty, float("nan"), *counts)
    t, y, c = times[kept], height[kept], confidence[kept]
    filled = _with_lines(t, y, c, grid, options)
    half = max(options.window_s / 2, _MIN_FRAMES / 2 * float(np.median(np.diff(t))))
    level, slope = _local_quadratic(*filled, grid, half)
    residual = y - np.interp(t, grid, level)
    noise = _MAD_TO_SD * float(np.median(np.abs(residual - np.median(residual))))
    near = _bridged(grid, t, options.max_gap_s)
    level[~near], slope[~near] = np.nan, np.nan
    return LegSignal(leg, grid, level, slope, noise, *counts)


def _spikes(times: Values, values: Values, options: Options) -> NDArray[np.bool_]:
    """Which values are far from the median of those around them, at least two."""
    half = options.window_s / 2 + _SAME_S
    starts = np.searchsorted(times, times - half)
    ends = np.searchsorted(times, times + half)
    found = np.zeros(len(values), bool)
    for index, (start, end) in enumerate(zip(starts, ends, strict=True)):
        others = np.delete(values[start:end], index - start)
        if len(others) >= 2:
            found[index] = abs(values[index] - np.median(others)) > options.spike
    return found


def _bridged(grid: Values, times: Values, max_gap_s: float) -> NDArray[np.bool_]:
    """Which even times lie between two values that are not too far apart."""
    after = np.searchsorted(times, grid - _SAME_S).clip(0, len(times) - 1)
    before = (np.searchsorted(times, grid + _SAME_S) - 1).clip(0, len(times) - 1)
    inside = (grid >= times[0] - _SAME_S) & (grid <= times[-1] + _SAME_S)
    return inside & (times[after] - times[before] <= max_gap_s + _SAME_S)


def _with_lines(
    times: Values, values: Values, weights: Values, grid: Values, options: Options
) -> tuple[Values, Values, Values]:
    """The values, and in short gaps those on straight lines with little weight."""
    frame_s = float(np.median(np.diff(times)))
    line = _bridged(grid, times, options.max_gap_s) & ~_bridged(grid, times, 1.5 * frame_s)
    t = np.concatenate([times, grid[line]])
    order = np.argsort(t, kind="stable")
    y = np.concatenate([values, np.interp(grid[line], times, values)])
    w = np.concatenate([weights, np.full(line.sum(), _FILL_WEIGHT * weights.mean())])
    return t[order], y[order], w[order]


def _local_quadratic(
    times: Values, values: Values, weights: Values, grid: Values, half_s: float
) -> tuple[Values, Values]:
    """Level and slope of the parabola fitted about each even time; (G,) each."""
    starts = np.searchsorted(times, grid - half_s)
    width = int((np.searchsorted(times, grid + half_s, side="right") - starts).max())
    width = max(width, 1)
    index = np.minimum(starts[:, None] + np.arange(width), len(times) - 1)  # (G, W)
    distance = (times[index] - grid[:, None]) / half_s
    repeated = starts[:, None] + np.arange(width) > len(times) - 1
    w = weights[index] * np.clip(1 - np.abs(distance) ** 3, 0, None) ** 3
    w[repeated] = 0
    powers = distance[..., None] ** np.arange(3)  # (G, W, 3)
    normal = np.einsum("gw,gwi,gwj->gij", w, powers, powers)
    right = np.einsum("gw,gwi,gw->gi", w, powers, values[index])
    total = normal[:, :1, :1]
    ridge = np.diag([1e-12, 1e-6, 1e-4])  # a line, or a constant, where there is too little
    solved = np.linalg.solve(normal + total * ridge + np.eye(3) * 1e-30, right[..., None])[..., 0]
    return solved[:, 0], solved[:, 1] / half_s
