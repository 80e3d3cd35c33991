"""Class probabilities of a video from its clips: evaluation and the container use this."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medvial.models import Network
from medvial.video_classification.config import ClipConfig
from medvial.video_classification.preprocess import spatial_crops, to_tensor
from medvial.video_classification.sampling import view_indices

Progress = Callable[[int, int], None]
FramesAt = Callable[[NDArray[np.intp]], NDArray[np.uint8]]


@dataclass(frozen=True)
class Classified:
    """What the network says of a video."""

    starts_s: NDArray[np.float64]
    """(K,) where its clips begin, in seconds of the video."""
    clip_probabilities: NDArray[np.float64]
    """(K, C) of each clip, the mean over its squares; rows add up to 1."""
    probabilities: NDArray[np.float64]
    """(C,) mean over the clips."""


def classify(
    frames_at: FramesAt,
    times_s: NDArray[np.float64],
    network: Network,
    config: ClipConfig,
    temperature: float = 1.0,
    progress: Progress | None = None,
) -> Classified:
    """Classify a video clip by clip: the frames of one clip are in memory at a time.

    Args:
        frames_at: Gives the frames of some indices, (n,) rising and perhaps repeated, as
            (n, H, W, 3) uint8 RGB whose shorter side is at least `config.crop`.
        times_s: (T,) time of each frame, in seconds, rising.
        network: (N, 3, clip_frames, crop, crop) float32 normalised to logits (N, C).
        config: How clips are sampled and frames normalised.
        temperature: Divides the logits.
        progress: Called with clips done and clips in all.

    Raises:
        InputError: There is no frame, or frames are smaller than `config.crop`.
    """
    starts_s, indices = view_indices(times_s, config)
    rows = []
    for done, clip in enumerate(indices, start=1):
        squares = spatial_crops(frames_at(clip), config)
        rows.append(softmax(network(to_tensor(squares, config)), temperature).mean(axis=0))
        if progress is not None:
            progress(done, len(indices))
    clip_probabilities = np.stack(rows)
    return Classified(starts_s, clip_probabilities, clip_probabilities.mean(axis=0))


def softmax(logits: NDArray[Any], temperature: float = 1.0) -> NDArray[np.float64]:
    """Probabilities along the last axis, of logits divided by a temperature."""
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))
