"""Which frames make a clip; the same for training, evaluation and the container.

A clip is `ClipConfig.clip_frames` frames at even times. It is counted in time, not in frames, so
that a network sees the same motion whatever the frame rate, also a variable one. A frame lasts
until the next one; the last one as long as is usual in the video.
"""

import numpy as np
from numpy.typing import NDArray

from medvial.cine import DEFAULT_FPS
from medvial.errors import InputError
from medvial.video_classification.config import ClipConfig

Times = NDArray[np.float64]
Indices = NDArray[np.intp]

_TOLERANCE = 0.05  # of a frame: time stamps are rounded, in Matroska to milliseconds
_SLOT_TOLERANCE = 0.1  # of a slot, for the same reason


def clip_length_s(times_s: Times, config: ClipConfig) -> float:
    """Length of a clip of a video, in seconds: `clip_s`, or the whole video where that is 0.

    Args:
        times_s: (T,) time of each frame, in seconds, rising.
        config: Gives `clip_s`.

    Raises:
        InputError: There is no frame.
    """
    return config.clip_s or duration_s(times_s)


def duration_s(times_s: Times) -> float:
    """From the first frame's beginning to the last frame's end, in seconds.

    Raises:
        InputError: There is no frame.
    """
    if len(times_s) == 0:
        raise InputError("Expected a video of at least one frame, got none.")
    return float(times_s[-1] - times_s[0]) + _usual_interval_s(times_s)


def view_indices(times_s: Times, config: ClipConfig) -> tuple[Times, Indices]:
    """The clips of a video in validation, test and inference: always the same ones.

    `clips` of them, spread evenly from the video's beginning to its end; a single one is its
    middle. A video that is shorter than a clip gives one, whose last frame is repeated so that
    its motion keeps its speed; of clips of the same frames one is left.

    Args:
        times_s: (T,) time of each frame, in seconds, rising; T of at least 1.
        config: Gives `clip_s`, `clip_frames` and `clips`.

    Returns:
        starts_s: (K,) where the clips begin, in the time of `times_s`; 1 <= K <= `clips`.
        indices: (K, clip_frames) frames of each clip, 0-based, rising.

    Raises:
        InputError: There is no frame.
    """
    slack = _slack_s(times_s, config)
    offsets = np.linspace(0.0, slack, config.clips) if config.clips > 1 else np.array([slack / 2])
    starts = times_s[0] + offsets
    indices = np.stack([_indices(times_s, float(start), config) for start in starts])
    _, first = np.unique(indices, axis=0, return_index=True)
    kept = np.sort(first)
    return starts[kept], indices[kept]


def random_indices(times_s: Times, config: ClipConfig, rng: np.random.Generator) -> Indices:
    """The frames of one clip that begins anywhere, for training: (clip_frames,), 0-based, rising.

    Args:
        times_s: (T,) time of each frame, in seconds, rising; T of at least 1.
        config: Gives `clip_s` and `clip_frames`.
        rng: Where chance comes from.

    Raises:
        InputError: There is no frame.
    """
    return _indices(times_s, times_s[0] + rng.uniform(0.0, _slack_s(times_s, config)), config)


def thinned_indices(times_s: Times, fps: float) -> Indices:
    """The frames that are kept of a video at a rate: in step 1 and in the container alike.

    The first frame of each `fps`th of a second: a slower video keeps all of its frames, and the
    frames keep their own times.

    Args:
        times_s: (T,) time of each frame, in seconds, rising.
        fps: Frames per second; 0 keeps all.

    Returns:
        (M,) frames, 0-based, rising.
    """
    if fps <= 0 or len(times_s) == 0:
        return np.arange(len(times_s))
    slots = np.floor((times_s - times_s[0]) * fps + _SLOT_TOLERANCE)
    return np.unique(slots, return_index=True)[1]


def _slack_s(times_s: Times, config: ClipConfig) -> float:
    """How far from the video's beginning a clip may begin, in seconds."""
    return max(0.0, duration_s(times_s) - clip_length_s(times_s, config))


def _indices(times_s: Times, start_s: float, config: ClipConfig) -> Indices:
    """The frame that is shown in the middle of each of a clip's even parts; the last one after."""
    share = (np.arange(config.clip_frames) + 0.5) / config.clip_frames
    moments = start_s + share * clip_length_s(times_s, config)
    moments += _TOLERANCE * _usual_interval_s(times_s)
    shown = np.searchsorted(times_s, moments, side="right") - 1
    return shown.clip(0, len(times_s) - 1)


def _usual_interval_s(times_s: Times) -> float:
    """Median time from a frame to the next; of a single frame, that of 30 frames per second."""
    intervals = np.diff(times_s)
    intervals = intervals[intervals > 0]
    return float(np.median(intervals)) if intervals.size else 1.0 / DEFAULT_FPS
