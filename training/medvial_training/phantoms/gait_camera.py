"""Where things in space appear in the picture."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Camera:
    """A level pinhole camera.

    Space: x to the picture's right, y up from the floor, z towards the camera, in metres, with the
    origin on the floor below the subject. Picture: x to the right, y down, in pixels, with the
    first pixel's centre at (0, 0).
    """

    width: int
    height: int
    focal_px: float
    distance_m: float
    """Of the camera from the plane z = 0."""
    height_m: float
    """Of the camera above the floor."""
    centre_px: tuple[float, float]
    """Where the optical axis meets the picture."""

    def project(self, points: Array) -> Array:
        """Points (…, 3) in metres to (…, 2) in pixels."""
        scale = self.scale(points[..., 2])
        x = self.centre_px[0] + scale * points[..., 0]
        y = self.centre_px[1] - scale * (points[..., 1] - self.height_m)
        return np.stack([x, y], axis=-1)

    def scale(self, z_m: Array | float) -> Array:
        """Pixels per metre at a depth."""
        return self.focal_px / np.maximum(self.distance_m - np.asarray(z_m, float), 0.3)

    def seen_m(self) -> tuple[float, float]:
        """The part of the plane z = 0 that is in the picture: its lowest and highest x."""
        scale = float(self.scale(0.0))
        left = -self.centre_px[0] / scale
        return left, left + (self.width - 1) / scale


def place(body: Array, heading_deg: float, at: Array) -> Array:
    """Bring a body into the scene.

    Args:
        body: (T, …, 3) in metres, (forwards, up, to the right).
        heading_deg: Where it faces: 0 to the picture's right, 90 to the camera.
        at: (T, 3) or (3,) where the body's origin is, in metres.

    Returns:
        (T, …, 3) in metres, (x, y, z) of the scene.
    """
    angle = np.deg2rad(heading_deg)
    cos, sin = np.cos(angle), np.sin(angle)
    turned = body @ np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
    at = np.asarray(at, float)
    return (
        turned + at.reshape(*at.shape[:-1], *(1,) * (body.ndim - 2), 3)
        if at.ndim > 1
        else (turned + at)
    )
