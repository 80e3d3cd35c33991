"""Which frames make a clip; the same for training, evaluation and the container.

A clip is `Config.clip_frames` frames at equal times, from its start on. It is counted in time, not
in frames, so that a network sees the same motion whatever the frame rate.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medvial.echonet.config import Config

BEYOND = -1
"""In place of a frame after the end of the video."""

Frames = NDArray[np.intp]
Rate = float | NDArray[np.float64]
"""Frames per second, 0 or NaN = not known; or the time of every frame in s, where not even."""

UNEVEN = 0.25  # of a frame: how far from even times a frame may be
GAP_S, GAP_INTERVALS = 1.0, 10.0  # longer than both from frame to frame is a gap


def clip_offsets(fps: float, config: Config) -> Frames:
    """Frames from a clip's start to each of its frames, (clip_frames,), rising from 0.

    Args:
        fps: Frames per second of the video; 0 or NaN = not known.
        config: `frame_interval_s`, or `frame_period` where that is 0 or `fps` is not known.
    """
    return _round(np.arange(config.clip_frames) * _frames_per_step(fps, config))


def sampling_rate(times_s: NDArray[np.float64]) -> Rate:
    """What clips are sampled by: the frame rate, or uneven times themselves."""
    return frame_rate(times_s) if is_even(times_s) else times_s


def frame_rate(times_s: NDArray[np.float64]) -> float:
    """Frames per second; by the median interval of uneven times, NaN for a single frame."""
    if len(times_s) < 2:
        return math.nan
    if is_even(times_s):
        return float((len(times_s) - 1) / (times_s[-1] - times_s[0]))
    return float(1 / np.median(np.diff(times_s)))


def is_even(times_s: NDArray[np.float64]) -> bool:
    """Whether the frames come at equal intervals, but for the rounding of their times."""
    if len(times_s) < 3:
        return True
    even = np.linspace(times_s[0], times_s[-1], len(times_s))
    return bool(np.abs(times_s - even).max() <= UNEVEN * (even[1] - even[0]))


def time_gaps(times_s: NDArray[np.float64]) -> Frames:
    """The frames before which time jumps: by more than 1 s and ten times the median interval.

    A wrong time stamp does that, or a recording that was stopped.
    """
    intervals = np.diff(times_s)
    usual_s = float(np.median(intervals)) if len(intervals) else 0.0
    return np.flatnonzero(intervals > max(GAP_S, GAP_INTERVALS * usual_s)) + 1


def clip_indices(start: int, rate: Rate, config: Config, frame_count: int) -> Frames:
    """The frames of a clip, (clip_frames,), 0-based; BEYOND after the end of the video.

    The networks see what is beyond the end as mean grey, which is how the source pads videos that
    are shorter than a clip.
    """
    times_s = _uneven(rate, config)
    if times_s is not None:
        at = times_s[start] + np.arange(config.clip_frames) * config.frame_interval_s
        return np.where(at <= _end(times_s), _nearest(times_s, at), BEYOND)
    indices = start + clip_offsets(_even(rate), config)
    return np.where(indices < frame_count, indices, BEYOND)


def last_clip_start(frame_count: int, rate: Rate, config: Config) -> int:
    """The last frame at which a clip may start, 0 for a video as short as a clip.

    As in the source, a clip lasts clip_frames * step frames, of which the last step - 1 are not
    seen: only a video shorter than that is padded.
    """
    times_s = _uneven(rate, config)
    if times_s is not None:
        length = (config.clip_frames - 1) * config.frame_interval_s
        return int(np.flatnonzero(times_s + length <= _end(times_s)).max(initial=0))
    fps = _even(rate)
    padded = max(frame_count, int(_round(config.clip_frames * _frames_per_step(fps, config))))
    return max(0, padded - 1 - int(clip_offsets(fps, config)[-1]))


def all_clip_starts(frame_count: int, rate: Rate, config: Config) -> Frames:
    """Every frame at which a clip may start, rising: the source's `clips="all"`."""
    return np.arange(last_clip_start(frame_count, rate, config) + 1)


def centred_clip_start(frame: int, rate: Rate, config: Config, frame_count: int) -> int:
    """Start of the clip in whose middle a frame lies, moved into the video where it must be.

    With the source's 32 frames, every second one, that is 32 frames earlier: the clip around
    end-systole of the source's beat-to-beat analysis.
    """
    times_s, middle = _uneven(rate, config), config.clip_frames // 2
    if times_s is not None:
        at = times_s[frame] - middle * config.frame_interval_s
        start = int(_nearest(times_s, np.array([at]))[0])
    else:
        start = frame - int(clip_offsets(_even(rate), config)[middle])
    return min(max(start, 0), last_clip_start(frame_count, rate, config))


def _uneven(rate: Rate, config: Config) -> NDArray[np.float64] | None:
    """The times to sample by; None where frames are counted, by their rate or their number."""
    return rate if isinstance(rate, np.ndarray) and config.frame_interval_s > 0 else None


def _even(rate: Rate) -> float:
    """Frames per second; of uneven times, where frames are counted, none."""
    return math.nan if isinstance(rate, np.ndarray) else rate


def _end(times_s: NDArray[np.float64]) -> float:
    """Until when the last frame is the nearest one: half an interval after it."""
    return float(times_s[-1] + 0.5 / frame_rate(times_s))


def _nearest(times_s: NDArray[np.float64], at: NDArray[np.float64]) -> Frames:
    """The frame nearest to each time, the later one of two."""
    later = np.searchsorted(times_s, at).clip(1, len(times_s) - 1)
    return np.where(at - times_s[later - 1] < times_s[later] - at, later - 1, later)


def _round(frames: Any) -> Any:
    """Nearest frame, halves up; a rate that is off in its last digits changes nothing."""
    return np.floor(np.asarray(frames) + 0.5 + 1e-6).astype(np.intp)


def _frames_per_step(fps: float, config: Config) -> float:
    """Frames from one frame of a clip to the next, above 0; need not be whole."""
    if config.frame_interval_s > 0 and math.isfinite(fps) and fps > 0:
        return config.frame_interval_s * fps
    return float(config.frame_period)
