"""Where to write the symbols of landmarks so that they hide no landmark and no other symbol."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Box = tuple[float, float, float, float]
"""left, top, right, bottom; y grows downwards."""

_DIRECTIONS = ((1, -0.6), (1, 0.6), (-1, -0.6), (-1, 0.6), (1, 0), (-1, 0), (0, -1), (0, 1))


def place_labels(
    anchors: NDArray[np.float64],
    widths: Sequence[float],
    height: float,
    obstacles: NDArray[np.float64],
    bounds: Box,
) -> list[Box]:
    """A place for every label, near its anchor and hiding as little as possible.

    Labels are placed in order, each where it covers least of what is there already.

    Args:
        anchors: (K, 2) as (x, y).
        widths: Widths of the K labels, in the unit of the anchors.
        height: Height of a label, in the same unit.
        obstacles: (M, 2) points that should stay visible.
        bounds: The drawing area.
    """
    placed: list[Box] = []
    for anchor, width in zip(anchors, widths, strict=True):
        boxes = _candidates(anchor, width, height)
        cost = [_covered(box, height, obstacles, placed, bounds) for box in boxes]
        placed.append(boxes[int(np.argmin(cost))])
    return placed


def _candidates(anchor: NDArray[np.float64], width: float, height: float) -> list[Box]:
    """Places around a point, the preferred ones first."""
    boxes = []
    for reach in (0.5 * height, 1.1 * height, 1.8 * height):
        for x, y in _DIRECTIONS:
            left = anchor[0] + x * reach - width * (1 - x) / 2
            top = anchor[1] + y * (reach + height / 2) - height / 2
            boxes.append((float(left), float(top), float(left + width), float(top + height)))
    return boxes


def _covered(
    box: Box, height: float, obstacles: NDArray[np.float64], placed: list[Box], bounds: Box
) -> float:
    """How much a label there would hide: points, other labels, or itself beyond the bounds."""
    left, top, right, bottom = box
    margin = 0.3 * height
    across = (obstacles[:, 0] > left - margin) & (obstacles[:, 0] < right + margin)
    down = (obstacles[:, 1] > top - margin) & (obstacles[:, 1] < bottom + margin)
    cost = float((across & down).sum())
    for other in placed:
        apart = right < other[0] or left > other[2] or bottom < other[1] or top > other[3]
        cost += 0.0 if apart else 2.0
    inside = left >= bounds[0] and top >= bounds[1] and right <= bounds[2] and bottom <= bounds[3]
    return cost + (0.0 if inside else 5.0)
