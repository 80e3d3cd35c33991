"""The ultrasound sector in a cine: what flickers with speckle, not what is written around it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Box = tuple[int, int, int, int]

_WORKING_SIDE_PX = 320  # the sector is sought in frames shrunk to this
_USUAL_PERCENTILE = 70
_MIN_FLICKER, _FLICKER_SHARE = 0.6, 0.04  # grey levels; share of the liveliest pixels' (95 %)
_MIN_LIGHT, _LIGHT_SHARE = 12.0, 0.08  # the same of brightness, where nothing flickers
_OPENING = 0.02  # of the shorter side: text, traces and scales are thinner, a sector is not
_MIN_AREA = 0.06  # of the frame; or of the ultrasound region, where it is known
_TOP = 0.03  # of the sector's height
_MIN_SOLIDITY = 0.6  # of the convex hull: tissue fills most of a sector


@dataclass(frozen=True)
class Sector:
    """Where the ultrasound image lies in the frames of a cine."""

    found: bool
    """False: nothing that looks like one; the box is then the whole frame."""
    box: Box
    """(x0, y0, x1, y1) in pixels of a frame, x1 and y1 not in it."""
    polygon: tuple[tuple[float, float], ...]
    """Convex outline as (x, y) of pixel centres."""
    image_shape: tuple[int, int]
    """(H, W) of a frame."""
    notes: tuple[str, ...] = ()
    """What was found around and in it; one sentence each."""

    @property
    def apex_x(self) -> float:
        """Column of the apex, or of the middle of a top edge that is an arc or a line."""
        points = np.asarray(self.polygon)
        top = points[:, 1] <= points[:, 1].min() + _TOP * np.ptp(points[:, 1])
        return float(points[top, 0].min() + points[top, 0].max()) / 2

    def mask(self) -> NDArray[np.uint8]:
        """(H, W): 1 in the sector, 0 elsewhere."""
        mask = np.zeros(self.image_shape, dtype=np.uint8)
        corners = np.rint(np.asarray(self.polygon)).astype(np.int32)
        return np.asarray(cv2.fillConvexPoly(mask, corners, (1,)), dtype=np.uint8)


def find_sector(frames: Sequence[NDArray[np.uint8]], region: Box | None = None) -> Sector:
    """Find the sector: the largest compact area where the picture changes from frame to frame.

    Speckle and noise flicker all over the sector, dark parts included; text, scales, colour bars
    and logos stand still, and an ECG's trace is too thin to count. In a cine that does not change
    at all, the largest compact bright area is taken.

    Args:
        frames: A sample of grey frames (H, W) from all over the cine; 8 or more are reliable.
        region: Ultrasound region (x0, y0, x1, y1) that the file names; the sector lies in it.

    Returns:
        The sector's convex outline in pixels of a frame.
    """
    height, width = frames[0].shape
    scale = min(1.0, _WORKING_SIDE_PX / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    flicker, brightest = _statistics(frames, size)
    inside = _inside(region, size, (width, height))
    for strength, least, share in (
        (flicker, _MIN_FLICKER, _FLICKER_SHARE),
        (brightest, _MIN_LIGHT, _LIGHT_SHARE),
    ):
        hull = _largest_hull(strength, inside, least, share)
        if hull is not None:
            return _sector(hull, (height, width), size)
    corners = ((0.0, 0.0), (width - 1.0, 0.0), (width - 1.0, height - 1.0), (0.0, height - 1.0))
    note = "No ultrasound sector was found: whole frames were used."
    return Sector(False, (0, 0, width, height), corners, (height, width), (note,))


def _statistics(
    frames: Sequence[NDArray[np.uint8]], size: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Usual change from one frame to the next and brightest value of each pixel, when shrunk.

    A percentile of the changes, for speckle changes always, and a pixel that an ECG's trace
    passes or a number that is counted, now and then.
    """
    small = np.stack(
        [cv2.resize(f.astype(np.float32), size, interpolation=cv2.INTER_AREA) for f in frames]
    )
    changes = np.abs(np.diff(small, axis=0)) if len(small) > 1 else np.zeros_like(small)
    flicker = np.percentile(changes, _USUAL_PERCENTILE, axis=0).astype(np.float32)
    return flicker, small.max(axis=0)


def _inside(region: Box | None, size: tuple[int, int], full: tuple[int, int]) -> NDArray[np.uint8]:
    """Where a sector may be, (H, W) of the shrunk frames."""
    if region is None:
        return np.ones(size[::-1], dtype=np.uint8)
    mask = np.zeros(size[::-1], dtype=np.uint8)
    scale_x, scale_y = size[0] / full[0], size[1] / full[1]
    x0, y0, x1, y1 = region
    mask[
        int(y0 * scale_y) : int(np.ceil(y1 * scale_y)),
        int(x0 * scale_x) : int(np.ceil(x1 * scale_x)),
    ] = 1
    return mask


def _largest_hull(
    strength: NDArray[np.float32], inside: NDArray[np.uint8], least: float, share: float
) -> NDArray[np.int32] | None:
    """Convex hull (N, 1, 2) of the largest compact area of some strength; None if there is none."""
    smooth = cv2.blur(strength, (3, 3))
    threshold = max(least, share * float(np.percentile(smooth[inside > 0], 95)))
    strong = ((smooth > threshold) & (inside > 0)).astype(np.uint8)
    side = max(3, round(_OPENING * min(strong.shape)) | 1)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    closed = cv2.morphologyEx(strong, cv2.MORPH_CLOSE, kernel)
    opened = np.asarray(cv2.morphologyEx(closed, cv2.MORPH_OPEN, kernel), dtype=np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(opened & inside)
    if count < 2:
        return None
    best = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    area = int(stats[best, cv2.CC_STAT_AREA])
    points = cv2.findNonZero((labels == best).astype(np.uint8))
    hull = cv2.convexHull(points)
    outline = np.zeros_like(inside)
    filled = int(cv2.fillConvexPoly(outline, hull, (1,)).sum())
    if area < _MIN_AREA * int(inside.sum()) or area < _MIN_SOLIDITY * filled:
        return None
    return np.asarray(hull, dtype=np.int32)


def _sector(hull: NDArray[Any], shape: tuple[int, int], size: tuple[int, int]) -> Sector:
    """The hull in pixels of the original frames."""
    height, width = shape
    scale = np.array([size[0] / width, size[1] / height])
    # Outer corners of the shrunk pixels, so that the outline does not cut into the sector.
    corners = (hull[:, 0].astype(np.float64)[:, None] + _CORNERS).reshape(-1, 2) / scale
    outer = cv2.convexHull(corners.astype(np.float32))[:, 0]
    x0, y0 = np.floor(outer.min(axis=0)).astype(int)
    x1, y1 = np.ceil(outer.max(axis=0)).astype(int)
    box = (max(0, int(x0)), max(0, int(y0)), min(width, int(x1)), min(height, int(y1)))
    centres = np.clip(outer - 0.5, 0, [width - 1, height - 1])
    return Sector(True, box, tuple((float(x), float(y)) for x, y in centres), shape)


_CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
