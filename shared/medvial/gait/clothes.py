"""The colour of somebody's clothes: tells those apart who walk past each other."""

import numpy as np

from medvial.gait.blazepose import LEFT_HIP, LEFT_SHOULDER, RIGHT_HIP, RIGHT_SHOULDER, Image, Points

_LEFT_KNEE, _RIGHT_KNEE = 25, 26
_ALONG = np.linspace(0.15, 0.85, 8)  # of trunk and thighs
_ACROSS = (-0.08, 0.0, 0.08)  # of the trunk, by its length: even from the side all of it is cloth

Clothes = tuple[float, ...]
"""Median red, green, blue of the trunk, then of the thighs, 0 to 255."""


def clothes(frame: Image, points: Points) -> Clothes | None:
    """Colours of the clothes of a person with landmarks (33, 3); None outside of the frame.

    Args:
        frame: (H, W, 3) RGB.
        points: x, y in pixels, visibility; in BlazePose's order.
    """
    at = points[:, :2]
    hips = (at[LEFT_HIP] + at[RIGHT_HIP]) / 2
    trunk = _line((at[LEFT_SHOULDER] + at[RIGHT_SHOULDER]) / 2, hips)
    side = np.array([trunk[0, 1] - trunk[-1, 1], trunk[-1, 0] - trunk[0, 0]])
    places = [
        np.concatenate([trunk + part * side for part in _ACROSS]),
        np.concatenate([_line(hips, at[_LEFT_KNEE]), _line(hips, at[_RIGHT_KNEE])]),
    ]
    found: list[float] = []
    for place in places:
        x, y = np.rint(place).astype(int).T
        inside = (x >= 0) & (y >= 0) & (x < frame.shape[1]) & (y < frame.shape[0])
        if not inside.any():
            return None
        found += np.median(frame[y[inside], x[inside]], axis=0).tolist()
    return tuple(found)


def _line(start: Points, end: Points) -> Points:
    """(8, 2): places between two points."""
    return start + _ALONG[:, None] * (end - start)
