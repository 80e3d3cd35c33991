"""A sheet to draw attenuations on: polygons and lines, anti-aliased, at sub-pixel positions."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from medvial_training.phantoms.cephalogram_shape import Points

SHIFT = 6  # fractional bits of OpenCV's drawing coordinates: 1/64 px
COARSE_SIGMA_PX = 3.0  # wider blurs are worked out on a coarser grid


class Sheet:
    """Attenuation of a film, drawn with sub-pixel accuracy and anti-aliasing."""

    def __init__(self, height: int, width: int, mm_per_px: float) -> None:
        self.attenuation: NDArray[np.float32] = np.zeros((height, width), np.float32)
        self.mm_per_px = mm_per_px

    def fill(self, outline: Points, density: float, blur_mm: float = 0.2) -> None:
        """Add a filled polygon, (n, 2) px."""
        self._add(outline, density, blur_mm, 0)

    def line(
        self, curve: Points, density: float, width_mm: float, blur_mm: float = 0.2, *, closed: bool
    ) -> None:
        """Add a line of a given width, (n, 2) px."""
        width_px = width_mm / self.mm_per_px
        thickness = max(1, round(width_px))
        self._add(curve, density * min(1.0, width_px), blur_mm, thickness, closed=closed)

    def _add(
        self,
        points: Points,
        density: float,
        blur_mm: float,
        thickness: int,
        *,
        closed: bool = True,
    ) -> None:
        """Draw on a patch around the points only; thickness 0 fills."""
        sigma = blur_mm / self.mm_per_px
        margin = int(np.ceil(3 * sigma)) + thickness + 2
        size = np.array(self.attenuation.shape[::-1])
        low = np.clip(np.floor(points.min(axis=0)).astype(int) - margin, 0, size)
        high = np.clip(np.ceil(points.max(axis=0)).astype(int) + margin + 1, 0, size)
        if (high <= low).any():
            return
        patch = np.zeros((high[1] - low[1], high[0] - low[0]), np.uint8)
        fixed = np.rint((points - low) * (1 << SHIFT)).astype(np.int32)
        if thickness:
            cv2.polylines(patch, [fixed], closed, 255, thickness, cv2.LINE_AA, SHIFT)
        else:
            cv2.fillPoly(patch, [fixed], 255, cv2.LINE_AA, SHIFT)
        patch = _blurred(patch, sigma)
        region = self.attenuation[low[1] : high[1], low[0] : high[0]]
        cv2.scaleAdd(patch.astype(np.float32), density / 255, region, dst=region)


def _blurred(patch: NDArray[np.uint8], sigma: float) -> NDArray[Any]:
    """Gaussian blur; a wide one on a coarser grid, where it costs little and looks the same."""
    if sigma <= 0.3:
        return patch
    if sigma <= COARSE_SIGMA_PX:
        return cv2.GaussianBlur(patch, (0, 0), sigma)
    height, width = patch.shape
    factor = 2.0 * sigma / COARSE_SIGMA_PX
    small = (max(1, round(width / factor)), max(1, round(height / factor)))
    coarse = cv2.resize(patch, small, interpolation=cv2.INTER_AREA)
    coarse = cv2.GaussianBlur(coarse, (0, 0), sigma / factor)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
