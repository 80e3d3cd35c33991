"""From an expert's tracing to a mask, as EchoNet-Dynamic does it."""

import numpy as np
from numpy.typing import NDArray

from medvial.errors import InputError

ROWS = 21  # the long axis and 20 discs
LEAST_PIXELS = 20  # a ventricle of fewer at 112 x 112 is a slip of the hand


def tracing_polygon(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Outline of a tracing: down one end of the discs, up the other.

    The first row, the long axis, is left out, so that the outline is cut flat at the first disc,
    which is what the published networks were trained on (github.com/echonet/dynamic, e01d029).

    Args:
        rows: (21, 4) X1, Y1, X2, Y2; the long axis, then the discs from the apex to the valve.

    Returns:
        (40, 2) as (x, y).

    Raises:
        InputError: There are not 21 rows, or a coordinate is not finite.
    """
    if len(rows) != ROWS:
        raise InputError(
            f"expected {ROWS} rows (the long axis and {ROWS - 1} discs), got {len(rows)}"
        )
    if not np.isfinite(rows).all():
        raise InputError("expected finite coordinates, got none in at least one row")
    return np.concatenate([rows[1:, :2], rows[:0:-1, 2:]])


def polygon_mask(polygon: NDArray[np.float64], height: int, width: int) -> NDArray[np.uint8]:
    """Pixels whose centre is inside a polygon or on its edge; corners are rounded to pixels.

    The same pixels as `skimage.draw.polygon` of the rounded corners, which the source uses.

    Args:
        polygon: (P, 2) as (x, y), in pixels of the mask.
        height: Rows of the mask.
        width: Columns of the mask.

    Returns:
        (height, width) uint8 {0, 1}.
    """
    corners = np.rint(polygon)
    low = np.clip(corners.min(axis=0), 0, [width - 1, height - 1]).astype(int)
    high = np.clip(corners.max(axis=0), 0, [width - 1, height - 1]).astype(int)
    mask = np.zeros((height, width), np.uint8)
    y, x = np.mgrid[low[1] : high[1] + 1, low[0] : high[0] + 1]
    inside = np.zeros(x.shape, bool)
    for (ax, ay), (bx, by) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        side = (bx - ax) * (y - ay) - (by - ay) * (x - ax)
        between = (np.minimum(ay, by) <= y) & (y <= np.maximum(ay, by))
        between &= (np.minimum(ax, bx) <= x) & (x <= np.maximum(ax, bx))
        edge = (side == 0) & between
        mask[y[edge], x[edge]] = 1
        crosses = (ay > y) != (by > y)  # a ray to the right meets the edge: even-odd rule
        inside ^= crosses & ((side > 0) == (by > ay))
    mask[y[inside], x[inside]] = 1
    return mask


def tracing_mask(
    rows: NDArray[np.float64],
    height: int,
    width: int,
    to_network: NDArray[np.float64] | None = None,
) -> NDArray[np.uint8]:
    """Mask of a tracing, (height, width) uint8 {0, 1}.

    Args:
        rows: (21, 4), see `tracing_polygon`.
        height: Rows of the mask.
        width: Columns of the mask.
        to_network: (2, 3) from pixels of the tracing to pixels of the mask; None for the same.

    Raises:
        InputError: The tracing cannot be used; the message says why.
    """
    polygon = tracing_polygon(rows)
    if to_network is not None:
        polygon = polygon @ to_network[:, :2].T + to_network[:, 2]
    if (polygon.max(axis=0) < 0).any() or (polygon.min(axis=0) > [width, height]).any():
        raise InputError("expected a tracing inside the frame, got one outside")
    mask = polygon_mask(polygon, height, width)
    if mask.sum() < LEAST_PIXELS:
        raise InputError(
            f"expected a ventricle of at least {LEAST_PIXELS} pixels, got {int(mask.sum())}"
        )
    return mask
