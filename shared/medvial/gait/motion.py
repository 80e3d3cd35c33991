"""What moves before a still background: spares looking again, and finds a walker as last resort."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

THUMBNAIL_HEIGHT = 96  # pixels of the short side at most: ten minutes at 5 Hz take 50 MB
CHANGED_LEVELS = 14  # grey levels beyond noise and compression
_BACKGROUND_FRAMES = 51  # whose median is the background
_LEAST_AREA, _MOST_AREA = 0.003, 0.4  # of a walker, by the frame's area
_MOST_MOVING = 0.35  # of the pixels, in the median frame: more is a camera that moves

Image = NDArray[np.uint8]
Region = tuple[int, int, int, int]
"""x0, y0, x1, y1 in pixels of the full frame, x1 and y1 not in it."""


def thumbnail(frame: Image) -> Image:
    """A small grey copy (h, w) of a frame (H, W, 3) RGB."""
    scale = min(1.0, THUMBNAIL_HEIGHT / min(frame.shape[:2]))
    size = (max(1, round(frame.shape[1] * scale)), max(1, round(frame.shape[0] * scale)))
    coarse = frame[:: max(1, int(0.5 / scale)), :: max(1, int(0.5 / scale))]  # half as dear
    small = cv2.resize(coarse, size, interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.uint8)


def changed(
    before: Image, after: Image, region: Region, width: int, people: list[Region] | None = None
) -> float:
    """Part (0 to 1) of a region that is not the same any more; 1 beyond the frame.

    Args:
        before: Thumbnail.
        after: Thumbnail of the same size.
        region: Part of the full frame.
        width: Of the full frame in pixels.
        people: Boxes in pixels of the full frame in which changes do not count.
    """
    scale = after.shape[1] / width
    x0, y0, x1, y1 = _scaled(region, scale)
    moved = cv2.absdiff(before, after) > CHANGED_LEVELS
    for box in people or []:
        left, top, right, bottom = _scaled(box, scale)
        moved[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = False
    part = moved[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)]
    return float(part.mean()) if part.size else 1.0


def moving_boxes(thumbnails: list[Image], width: int) -> list[tuple[int, Region]]:
    """The largest thing that moves, before the median of all as the background.

    Args:
        thumbnails: Of frames of a camera that stands still, in the order of time.
        width: Of the full frame in pixels.

    Returns:
        Index of the thumbnail and box in pixels of the full frame, where there is one; empty where
        the camera moves.
    """
    places = np.linspace(0, len(thumbnails) - 1, min(len(thumbnails), _BACKGROUND_FRAMES))
    chosen = np.stack([thumbnails[int(place)] for place in places])
    background = np.median(chosen, axis=0).astype(np.uint8)
    masks = [cv2.absdiff(each, background) > CHANGED_LEVELS for each in thumbnails]
    if len(thumbnails) < 3 or np.median([mask.mean() for mask in masks]) > _MOST_MOVING:
        return []
    scale = width / background.shape[1]
    found = [(index, _largest(mask)) for index, mask in enumerate(masks)]
    return [
        (index, (int(x0 * scale), int(y0 * scale), int(x1 * scale), int(y1 * scale)))
        for index, box in found
        if box is not None
        for x0, y0, x1, y1 in [box]
    ]


def _scaled(region: Region, scale: float) -> Region:
    x0, y0, x1, y1 = region
    return int(x0 * scale), int(y0 * scale), math.ceil(x1 * scale), math.ceil(y1 * scale)


def _largest(mask: NDArray[np.bool_]) -> Region | None:
    """Box of the largest thing in a mask; one body's parts are joined upwards."""
    side = max(1, round(mask.shape[0] * 0.02))
    opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
    joined = cv2.morphologyEx(opened, cv2.MORPH_CLOSE, np.ones((4 * side + 1, 2 * side + 1)))
    _, _, stats, _ = cv2.connectedComponentsWithStats(joined)
    if len(stats) < 2:
        return None
    best = stats[1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))]
    x, y, width, height, area = (int(value) for value in best)
    if not _LEAST_AREA <= area / mask.size <= _MOST_AREA:
        return None
    return x, y, x + width, y + height


def without(frame: Image, boxes: list[Region]) -> Image:
    """A frame (H, W, 3) whose boxes are painted over by what is to their left and right.

    Args:
        frame: RGB.
        boxes: In its pixels; they may reach beyond it.
    """
    if not boxes:
        return frame
    painted, (height, width) = frame.copy(), frame.shape[:2]
    for box in boxes:
        x0, x1 = max(0, box[0]), min(width, box[2])
        rows = slice(max(0, box[1]), max(0, min(height, box[3])))
        if x1 <= x0 or rows.stop <= rows.start:
            continue
        beside = [painted[rows, max(0, x0 - 1)], painted[rows, min(width - 1, x1)]]
        if x0 == 0 or x1 == width:
            beside = beside[1:] if x0 == 0 else beside[:1]
        size = (x1 - x0, rows.stop - rows.start)
        painted[rows, x0:x1] = cv2.resize(np.stack(beside, axis=1), size)
    return painted
