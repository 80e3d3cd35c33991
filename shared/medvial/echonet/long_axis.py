"""The long axis of the left ventricle, found from its mask: apex to middle of the mitral annulus.

The cavity in an apical four-chamber view is a bullet: a rounded apex, and a base cut off by the
mitral annulus. The annulus' hinge points are the two corners of the base; the axis runs from the
point between them to the farthest point of the cavity, as the guideline draws it (Lang et al.,
J Am Soc Echocardiogr 2015;28:1-39, biplane method of disks).
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from medvial.errors import InputError

MIN_PIXELS = 30  # a smaller mask has no shape: its volume would be off by more than 20 %
MIN_SPLINTER = 0.02  # of the mask: a second part as large as this is not a splinter of the edge
FINE_SIDE = 120  # the smoothed mask is this many cells long at least
MAX_REFINEMENT = 4
EDGE_SD_PX = 0.7  # smoothing that takes the stairs off a mask's edge
ROUNDS = 6  # of refining the axis; three are enough for masks that are not ragged
UP_PRIOR = 0.08  # skewness below which the apex is the upper end
TIP = 0.02  # of the length: what counts as the far end
CENTRAL = 0.25  # of the width: the base's position is the mean this far to both sides


@dataclass(frozen=True)
class Outline:
    """A smoothed mask as a cloud of points, in the unit of `spacing`."""

    points: NDArray[np.float64]
    """Shape (P, 2), (x, y): pixel position times spacing; first pixel's centre at (0, 0)."""
    cell: float
    """Area that one point stands for."""


@dataclass(frozen=True)
class LongAxis:
    """Where the ventricle's long axis runs, in the unit of the outline."""

    apex: NDArray[np.float64]
    """(x, y)."""
    base: NDArray[np.float64]
    """(x, y) of the middle of the mitral annulus."""

    @property
    def length(self) -> float:
        """Distance from apex to base."""
        return float(np.hypot(*(self.base - self.apex)))

    @property
    def direction(self) -> NDArray[np.float64]:
        """Unit vector (x, y) from apex to base."""
        return (self.base - self.apex) / self.length


def largest_component(mask: NDArray[Any]) -> NDArray[np.bool_]:
    """The largest 8-connected part of a mask; an empty mask stays empty.

    Args:
        mask: Shape (H, W), not 0 = left ventricle.

    Returns:
        Shape (H, W).
    """
    _, labels, stats, _ = cv2.connectedComponentsWithStats((mask != 0).astype(np.uint8))
    if len(stats) < 2:
        return np.zeros(mask.shape, np.bool_)
    return np.asarray(labels == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax()))


def check_mask(mask: NDArray[Any]) -> NDArray[np.bool_]:
    """The mask's one component, without splinters.

    Args:
        mask: Shape (H, W), not 0 = left ventricle.

    Raises:
        InputError: It is not 2-D, is empty, has fewer than 30 pixels, or is in several parts of
            which the second has at least 2 % of the pixels.
    """
    if mask.ndim != 2:
        raise InputError(f"Expected a mask (rows, columns), got an array of shape {mask.shape}.")
    whole = int(np.count_nonzero(mask))
    part = largest_component(mask)
    size = int(np.count_nonzero(part))
    if size < MIN_PIXELS:
        raise InputError(
            f"Expected a left ventricle of at least {MIN_PIXELS} pixels, got {size}: it was not "
            "found in this frame, or the image is too small to measure."
        )
    if whole - size >= MIN_SPLINTER * whole:
        raise InputError(
            f"Expected a left ventricle in one part, got a mask of {whole} pixels whose largest "
            f"part has {size}. Keep the largest part first (largest_component)."
        )
    return part


def outline(mask: NDArray[np.bool_], spacing: tuple[float, float] = (1.0, 1.0)) -> Outline:
    """Take the stairs off a mask's edge and sample it finely.

    Args:
        mask: Shape (H, W), one part.
        spacing: Width and height (x, y) of a pixel, in any unit.
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    top, left = int(rows[0]) - 3, int(columns[0]) - 3
    crop = np.zeros((int(rows[-1]) + 4 - top, int(columns[-1]) + 4 - left), np.float32)
    crop[3:-3, 3:-3] = mask[top + 3 : top + crop.shape[0] - 3, left + 3 : left + crop.shape[1] - 3]
    factor = int(np.clip(np.ceil(FINE_SIDE / max(crop.shape)), 1, MAX_REFINEMENT))
    smooth = cv2.GaussianBlur(crop, (5, 5), EDGE_SD_PX)
    if factor > 1:
        smooth = cv2.resize(smooth, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
    y, x = np.nonzero(smooth > 0.5)
    points = np.stack([(x + 0.5) / factor - 0.5 + left, (y + 0.5) / factor - 0.5 + top], axis=1)
    return Outline(points * spacing, spacing[0] * spacing[1] / factor**2)


def find_long_axis(shape: Outline) -> LongAxis:
    """Apex and middle of the mitral annulus of a ventricle at any angle.

    The cavity is expected to be longer than wide. The apex is where it tapers, by the skewness of
    its extent along the principal axis; one that is nearly the same at both ends is taken as apex
    up, as on the screen (skewness alone is wrong on 6 of 500 true masks of CAMUS, with this rule on
    none). The corners of the base are the outermost points along the two diagonals of the box
    around the axis; axis and corners are refined in turn.
    """
    points = shape.points
    centre = points.mean(axis=0)
    direction = np.linalg.eigh(np.cov((points - centre).T))[1][:, 1]
    along = (points - centre) @ direction
    skewness = float((along**3).mean() / (along**2).mean() ** 1.5)
    if skewness - UP_PRIOR * direction[1] > 0:  # the tail, which is the apex, is at the far end
        direction = -direction
    hull = cv2.convexHull(points.astype(np.float32))[:, 0].astype(np.float64)
    apex = base = centre
    for _ in range(ROUNDS):
        middle = _middle_of_base(hull, centre, direction)
        apex = _farthest(points, middle)
        previous, direction = direction, (middle - apex) / np.hypot(*(middle - apex))
        base = _reach_base(shape, apex, direction)
        centre = (apex + base) / 2
        if previous @ direction > 1 - 1e-8:
            break
    return LongAxis(apex, base)


def _farthest(points: NDArray[np.float64], middle: NDArray[np.float64]) -> NDArray[np.float64]:
    """The tip as seen from the base: in the middle of the far end, which pixels make flat."""
    distance = np.hypot(*(points - middle).T)
    reach = float(distance.max())
    tip = points[distance > (1 - TIP) * reach].mean(axis=0) - middle
    return np.asarray(middle + tip * (reach / np.hypot(*tip)), np.float64)


def _middle_of_base(
    points: NDArray[np.float64], centre: NDArray[np.float64], direction: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Point between the corners of the base, which is the end that `direction` points to."""
    along = (points - centre) @ direction
    across = (points - centre) @ np.array([-direction[1], direction[0]])
    along = along / np.ptp(along)
    across = across / np.ptp(across)
    corners = points[[int((along - across).argmax()), int((along + across).argmax())]]
    return corners.mean(axis=0)


def _reach_base(
    shape: Outline, apex: NDArray[np.float64], direction: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Where the axis leaves the mask: the mean over a central strip, so that one notch is nothing.

    The strip's area beyond a point well inside, over its width, is the distance to the edge. Its
    weights fall off gently, so that it does not matter how many columns of pixels fall into it.
    """
    along = (shape.points - apex) @ direction
    across = (shape.points - apex) @ np.array([-direction[1], direction[0]])
    ramp = float(along.max()) / 4
    width = CENTRAL * float(np.ptp(across))
    weight = np.clip(1 - np.abs(across) / width, 0, 1) * np.clip(along / ramp - 1.5, 0, 1)
    return apex + direction * (2 * ramp + float(weight.sum()) * shape.cell / width)
