"""Frames of any size to what the networks take."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from medvial.errors import InputError
from medvial.video_classification.config import ClipConfig

Image = NDArray[np.uint8]


def resize_frame(frame: NDArray[Any], resize: int) -> Image:
    """A frame in colour whose shorter side has a given length, its proportions kept.

    Averaged over areas where it shrinks, by linear interpolation where it grows; a frame of that
    size is taken as it is.

    Args:
        frame: (H, W) grey or (H, W, 3) RGB, uint8.
        resize: The shorter side, in pixels.

    Returns:
        (h, w, 3) RGB uint8, min(h, w) = `resize`.
    """
    if frame.ndim == 2:
        frame = np.repeat(frame[..., None], 3, axis=2)
    height, width = frame.shape[:2]
    shorter = min(height, width)
    if shorter == resize:
        return np.asarray(frame, dtype=np.uint8)
    h, w = (max(resize, round(side * resize / shorter)) for side in (height, width))
    way = cv2.INTER_AREA if resize < shorter else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(frame, (w, h), interpolation=way), dtype=np.uint8)


def spatial_crops(clip: Image, config: ClipConfig, crops: int | None = None) -> Image:
    """The squares of a clip that the network sees in validation, test and inference.

    Args:
        clip: (T, H, W, 3) uint8, frames as `resize_frame` gives them.
        config: Gives the square's side, `crop`.
        crops: 1 = the middle; 3 = beginning, middle and end of the longer side (of width where
            both are as long). None = `config.crops`.

    Returns:
        (crops, T, crop, crop, 3) uint8, a view where there is one square.

    Raises:
        InputError: The frames are smaller than the square.
    """
    crops = config.crops if crops is None else crops
    height, width = clip.shape[1:3]
    side = config.crop
    if min(height, width) < side:
        raise InputError(
            f"Expected frames of at least {side} x {side} pixels, got {width} x {height} (width x "
            f"height). Resize their shorter side to {config.resize} first."
        )
    slack_y, slack_x = height - side, width - side
    middle = (slack_y // 2, slack_x // 2)
    if crops == 1:
        corners = [middle]
    elif width >= height:
        corners = [(middle[0], 0), middle, (middle[0], slack_x)]
    else:
        corners = [(0, middle[1]), middle, (slack_y, middle[1])]
    squares = [clip[:, y : y + side, x : x + side] for y, x in corners]
    return squares[0][None] if len(squares) == 1 else np.stack(squares)


def to_tensor(clip: Image, config: ClipConfig) -> NDArray[np.float32]:
    """Frames as normalised input of the networks.

    Args:
        clip: (..., T, h, w, 3) uint8, RGB.
        config: Gives mean and standard deviation of each colour, 0 to 1.

    Returns:
        (..., 3, T, h, w) float32: (clip / 255 - mean) / std.
    """
    mean, std = (np.array(v, dtype=np.float32) * 255 for v in (config.mean, config.std))
    normalised = (clip.astype(np.float32) - mean) / std
    return np.ascontiguousarray(np.moveaxis(normalised, -1, -4))  # (T, h, w, C) => (C, T, h, w)
