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


def clip_offsets(fps: float, config: Config) -> Frames:
    """Frames from a clip's start to each of its frames, (clip_frames,), rising from 0.

    Args:
        fps: Frames per second of the video; 0 or NaN = not known.
        config: `frame_interval_s`, or `frame_period` where that is 0 or `fps` is not known.
    """
    return _round(np.arange(config.clip_frames) * _frames_per_step(fps, config))


def clip_indices(start: int, fps: float, config: Config, frame_count: int) -> Frames:
    """The frames of a clip, (clip_frames,), 0-based; BEYOND after the end of the video.

    The networks see what is beyond the end as mean grey, which is how the source pads videos that
    are shorter than a clip.
    """
    indices = start + clip_offsets(fps, config)
    return np.where(indices < frame_count, indices, BEYOND)


def last_clip_start(frame_count: int, fps: float, config: Config) -> int:
    """The last frame at which a clip may start, 0 for a video as short as a clip.

    As in the source, a clip lasts clip_frames * step frames, of which the last step - 1 are not
    seen: only a video shorter than that is padded.
    """
    padded = max(frame_count, int(_round(config.clip_frames * _frames_per_step(fps, config))))
    return max(0, padded - 1 - int(clip_offsets(fps, config)[-1]))


def all_clip_starts(frame_count: int, fps: float, config: Config) -> Frames:
    """Every frame at which a clip may start, rising: the source's `clips="all"`."""
    return np.arange(last_clip_start(frame_count, fps, config) + 1)


def centred_clip_start(frame: int, fps: float, config: Config, frame_count: int) -> int:
    """Start of the clip in whose middle a frame lies, moved into the video where it must be.

    With the source's 32 frames, every second one, that is 32 frames earlier: the clip around
    end-systole of the source's beat-to-beat analysis.
    """
    start = frame - int(clip_offsets(fps, config)[config.clip_frames // 2])
    return min(max(start, 0), last_clip_start(frame_count, fps, config))


def _round(frames: Any) -> Any:
    """Nearest frame, halves up; a rate that is off in its last digits changes nothing."""
    return np.floor(np.asarray(frames) + 0.5 + 1e-6).astype(np.intp)


def _frames_per_step(fps: float, config: Config) -> float:
    """Frames from one frame of a clip to the next, above 0; need not be whole."""
    if config.frame_interval_s > 0 and math.isfinite(fps) and fps > 0:
        return config.frame_interval_s * fps
    return float(config.frame_period)
