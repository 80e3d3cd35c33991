"""Heart beats from the area (or volume) of the left ventricle in each frame of a cine.

Definitions, as in the guideline (Lang et al., J Am Soc Echocardiogr 2015;28:1-39): end-diastole is
the frame with the largest ventricle, end-systole the one with the smallest. A beat here is one
systole: its end-diastole, then its end-systole. Everything is measured in seconds, so that it is
the same beat at any frame rate and with irregular frame times; EchoNet-Dynamic's own rule, which
counts frames, is `source_systoles`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from medvial.echonet.clips import time_gaps
from medvial.echonet.config import Config
from medvial.errors import InputError

MIN_FRAMES = 3
NEAR = 0.34  # of the smoothing window: how far smoothing may have moved an extreme
NEAR_FRAMES = 0.6  # of that: frames nearer than this are averaged
EDGE = 0.25  # of the smoothing window: this near the clip's ends an extreme may not be one
IRREGULAR_CV = 0.10
MIN_INTERVALS = 3  # of a spread that means something
GRID_POINTS = 10.0  # of the even grid a frame, at most: times may be anything
SOURCE_DISTANCE, SOURCE_PROMINENCE, SOURCE_TRIM = 20, 0.5, (0.05, 0.95)


@dataclass(frozen=True)
class BeatOptions:
    """How beats are found; the defaults hold for 45 to 170 beats and 25 to 80 frames a second."""

    smoothing_s: float = 0.12
    """Window of the Savitzky-Golay filter (second order) that the curve is smoothed with, in s."""
    min_distance_s: float = 0.30
    """Shortest time between two end-systoles, in s: 200 beats a minute."""
    prominence: float = 0.40
    """How deep a systole is at least, against the curve's range (5th to 95th percentile)."""
    min_change: float = 0.03
    """Range over median below which nothing beats: an ejection fraction of about 4 %."""

    def __post_init__(self) -> None:
        """Refuse what finds nothing or everything."""
        if not (self.smoothing_s >= 0 and self.min_distance_s > 0 and 0 < self.prominence < 1):
            raise InputError(
                "Expected smoothing_s of 0 or more, min_distance_s above 0 and a prominence "
                f"between 0 and 1, got {self}."
            )

    @staticmethod
    def of(config: Config) -> "BeatOptions":
        """The options that a model's configuration holds."""
        return BeatOptions(
            config.beat_smoothing_s, config.beat_min_distance_s, config.beat_prominence
        )


@dataclass(frozen=True)
class Beat:
    """One systole, by frame numbers from 0: `ed` <= `es`."""

    ed: int
    """End-diastole: the largest ventricle since the end-systole before."""
    es: int
    """End-systole: the smallest ventricle."""
    ed_seen: bool = True
    """False where the clip begins in this systole: `ed` is then only the largest that was seen."""
    es_seen: bool = True
    """False where the clip ends in this systole: `es` is then only the smallest that was seen."""

    @property
    def complete(self) -> bool:
        """Whether both ends were seen; else an ejection fraction from them is too low."""
        return self.ed_seen and self.es_seen


@dataclass(frozen=True)
class Rhythm:
    """Heart rate and its variability. An RR interval is the time between two end-systoles."""

    heart_rate_bpm: float | None
    """60 / mean RR; None with fewer than two end-systoles."""
    rr_mean_s: float | None
    rr_sd_s: float | None
    """Sample standard deviation of RR (SDNN; Task Force, Circulation 1996;93:1043-65); None with
    fewer than three intervals."""
    irregular: bool | None
    """RR SD over mean above 0.10. A screening threshold on exact pulse times is 0.066 (Wiesel et
    al., Pacing Clin Electrophysiol 2004;27:639-43); the end-systole of an area curve jitters by a
    frame or two. None with fewer than three intervals. It is not a diagnosis of a rhythm."""
    intervals: int


def find_beats(
    area: NDArray[Any],
    times_s: NDArray[Any] | float,
    options: BeatOptions | None = None,
) -> list[Beat]:
    """Find the systoles of a cine.

    Args:
        area: (T,) area or volume of the ventricle in each frame, any unit. A frame that is not
            finite or not above 0 has no ventricle and is bridged by its neighbours.
        times_s: (T,) time of each frame in seconds, increasing, not necessarily evenly; or the
            frame rate in frames per second.
        options: How; None takes the defaults.

    Returns:
        In order of time, incomplete first and last ones included and flagged. None reaches across
        a gap in the times (`clips.time_gaps`). Empty for a curve that does not beat: constant,
        fewer than 3 frames, or half of its frames without a ventricle.

    Raises:
        InputError: The times do not fit the areas or do not increase.
    """
    options = options or BeatOptions()
    values = np.asarray(area, np.float64).reshape(-1)
    times = _times(times_s, len(values))
    seen = np.isfinite(values) & (values > 0)
    if len(values) < MIN_FRAMES or seen.sum() * 2 <= len(values):
        return []
    values = np.interp(times, times[seen], values[seen])
    parts = np.split(np.arange(len(times)), time_gaps(times))
    parts = [part for part in parts if len(part) >= MIN_FRAMES]
    curves = [smooth_curve(values[part], times[part], options.smoothing_s) for part in parts]
    low, high = np.quantile(np.concatenate(curves), [0.05, 0.95]) if curves else (0.0, 0.0)
    if not curves or high - low < options.min_change * np.median(np.concatenate(curves)):
        return []
    found = []
    for part, curve in zip(parts, curves, strict=True):
        systoles = _systoles(curve, times[part], float(high - low), options)
        for beat in _beats(curve, times[part], systoles, options.smoothing_s * EDGE):
            exact = _to_extremes(beat, values[part], times[part], options.smoothing_s * NEAR)
            found.append(replace(exact, ed=int(part[exact.ed]), es=int(part[exact.es])))
    return found


def smooth_curve(
    values: NDArray[np.float64], times_s: NDArray[np.float64], smoothing_s: float
) -> NDArray[np.float64]:
    """A curve without single wrong frames and jitter, its peaks kept.

    A running median over half the window, then a Savitzky-Golay filter of second order, both on a
    grid with the median frame interval.

    Args:
        values: (T,), finite.
        times_s: (T,), increasing.
        smoothing_s: Window in s; 0 changes nothing.

    Returns:
        (T,) at the same times.
    """
    grid = _grid(times_s)
    step = grid[1] - grid[0]
    even = np.interp(grid, times_s, values)
    half = round(smoothing_s / 2 / step)
    median = 2 * int(smoothing_s / 4 / step) + 1
    if 1 < median <= len(even):
        padded = np.pad(even, median // 2, mode="edge")
        even = np.median(np.lib.stride_tricks.sliding_window_view(padded, median), axis=-1)
    if half > 1 and 2 * half + 1 <= len(even):
        even = signal.savgol_filter(even, 2 * half + 1, 2)
    return np.interp(times_s, grid, even)


def summarise_rhythm(beats: Sequence[Beat], times_s: NDArray[Any] | float) -> Rhythm:
    """Heart rate and variability from the times of the end-systoles.

    Args:
        beats: Of `find_beats`; an end-systole that the clip's end cut is not used, and a gap in
            the times (`clips.time_gaps`) is no interval.
        times_s: As for `find_beats`.
    """
    systoles = [beat.es for beat in beats if beat.es_seen]
    times = _times(times_s, max(systoles, default=0) + 1) if np.ndim(times_s) == 0 else times_s
    times = np.asarray(times, np.float64)
    part = np.searchsorted(time_gaps(times), systoles, side="right")
    rr = np.diff(times[systoles])[np.diff(part) == 0]
    if len(rr) == 0:
        return Rhythm(None, None, None, None, 0)
    mean = float(rr.mean())
    spread = float(rr.std(ddof=1)) if len(rr) >= MIN_INTERVALS else None
    irregular = None if spread is None else spread / mean > IRREGULAR_CV
    return Rhythm(60 / mean, mean, spread, irregular, len(rr))


def source_systoles(
    area: NDArray[Any], *, power_bug: bool = True, distance: int = SOURCE_DISTANCE
) -> NDArray[np.intp]:
    """End-systoles by EchoNet-Dynamic's rule, which counts frames; for comparison.

    Minima at least 20 frames apart with a prominence of half the curve's trimmed range. At 50
    frames a second that is .4 s; at 30 it is .67 s, and every second beat above 90 a minute goes
    missing.

    Args:
        area: (T,) pixels in the mask of each frame, finite.
        power_bug: Trim as the source does, at the sorted values number T**0.05 and T**0.95 instead
            of 0.05 T and 0.95 T. It hardly changes what is found.
        distance: In frames.

    Returns:
        Frame numbers from 0, in order. Empty where the area is constant or fewer than 3 frames.
    """
    values = np.asarray(area, np.float64).reshape(-1)
    count = len(values)
    if count < MIN_FRAMES or np.ptp(values) == 0:
        return np.zeros(0, np.intp)
    ordered = np.sort(values)
    ranks = [count**part if power_bug else count * part for part in SOURCE_TRIM]
    low, high = (ordered[min(round(rank), count - 1)] for rank in ranks)
    found, _ = signal.find_peaks(
        -values, distance=distance, prominence=SOURCE_PROMINENCE * (high - low)
    )
    return np.asarray(found, np.intp)


def _systoles(
    curve: NDArray[np.float64], times: NDArray[np.float64], extent: float, options: BeatOptions
) -> NDArray[np.intp]:
    """Frames of the deep minima. A wall at both ends makes a minimum there one that counts."""
    grid = _grid(times)
    even = np.pad(-np.interp(grid, times, curve), 1, constant_values=-curve.max() - 10 * extent)
    found, _ = signal.find_peaks(
        even,
        distance=max(1, int(options.min_distance_s / (grid[1] - grid[0]))),
        prominence=options.prominence * extent,
    )
    return np.abs(times[:, None] - grid[found - 1]).argmin(axis=0)


def _beats(
    curve: NDArray[np.float64], times: NDArray[np.float64], systoles: NDArray[np.intp], edge: float
) -> list[Beat]:
    """One beat an end-systole; `edge` in s."""
    beats: list[Beat] = []
    seen = (times >= times[0] + edge) & (times <= times[-1] - edge)
    seen[[0, -1]] = False
    start = 0
    for es in map(int, systoles):
        ed = start + int(curve[start : es + 1].argmax())
        if ed < es:  # else the clip begins at an end-systole: no systole was seen
            beats.append(Beat(ed, es, bool(seen[ed]), bool(seen[es])))
        start = es
    return beats


def _to_extremes(
    beat: Beat, values: NDArray[np.float64], times: NDArray[np.float64], near_s: float
) -> Beat:
    """The beat at the true extremes of its neighbourhood: smoothing moves and blunts sharp ones.

    Each is sought within `near_s`, on the mean of a frame and its neighbours with weights 1, 2, 1
    where frames are close enough together for that, else on the frames as they are.
    """
    light = values
    if float(np.median(np.diff(times))) <= near_s * NEAR_FRAMES:
        light = np.convolve(np.pad(values, 1, mode="edge"), (0.25, 0.5, 0.25), "valid")
    near_ed, near_es = (
        np.flatnonzero(np.abs(times - times[frame]) <= near_s + 1e-9)
        for frame in (beat.ed, beat.es)
    )
    ed = int(near_ed[light[near_ed].argmax()]) if beat.ed_seen else beat.ed
    es = int(near_es[light[near_es].argmin()]) if beat.es_seen else beat.es
    return replace(beat, ed=ed, es=es) if ed < es else beat


def _grid(times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Even times with the median interval, (G,), first and last frame included."""
    intervals = np.diff(times)
    step = float(max(np.median(intervals), intervals.mean() / GRID_POINTS))
    return times[0] + step * np.arange(round((times[-1] - times[0]) / step) + 1)


def _times(times_s: NDArray[Any] | float, count: int) -> NDArray[np.float64]:
    """Time of each of `count` frames, (count,)."""
    if np.ndim(times_s) == 0:
        if not (np.isfinite(times_s) and times_s > 0):
            raise InputError(f"Expected a frame rate above 0 per second, got {times_s}.")
        return np.arange(count) / float(times_s)
    times = np.asarray(times_s, np.float64).reshape(-1)
    if len(times) != count or not (np.isfinite(times).all() and (np.diff(times) > 0).all()):
        raise InputError(
            f"Expected increasing times of {count} frames, got {len(times)} times that "
            "do not fit or do not increase."
        )
    return times
