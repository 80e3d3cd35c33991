"""Random changes of a training film that keep its landmarks known."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from medvial.errors import InputError

ELASTIC_POINTS = 7  # along the height
ELASTIC_MOST = 0.015  # the displacement of neighbours stays so alike that nothing folds over
ELASTIC_STEPS = 20  # leave less than a tenth of a pixel of error


@dataclass(frozen=True)
class Augmentation:
    """Ranges of the random changes. No mirroring: every film faces right."""

    rotation_deg: float = 15.0
    """Largest rotation either way, in degrees."""

    log_scale: float = 0.18
    """Largest change of size either way, as a natural logarithm."""

    log_aspect: float = 0.08
    """Largest change of the aspect ratio either way, as a natural logarithm."""

    shear: float = 0.08
    """Largest horizontal shear either way, in pixels per pixel."""

    shift: float = 0.07
    """Largest translation either way, in heights of the network input."""

    elastic: float = 0.0
    """Standard deviation of a smooth displacement along each axis, in heights of the network input:
    anatomy changes in places, too. Drawn for points a seventh of the height apart."""

    log_gamma: float = 0.5
    """Largest change of the gamma either way, as a natural logarithm."""

    contrast: float = 0.25
    """Largest relative change of contrast either way."""

    brightness: float = 0.12
    """Largest change of brightness either way, in grey values from 0 to 1."""

    noise: float = 0.05
    """Largest standard deviation of added noise, in grey values from 0 to 1; on 3 films in 10."""

    blur_px: float = 1.2
    """Largest standard deviation of a Gaussian blur, in pixels; on 2 films in 10."""

    clip: bool = True
    """Whether grey values that leave 0 to 1 are cut off there: bone that is white already loses its
    structure in a brighter version."""

    def __post_init__(self) -> None:
        """Refuse a displacement that would tear the film.

        Raises:
            InputError: `elastic` is out of range.
        """
        if not 0 <= self.elastic <= ELASTIC_MOST:
            raise InputError(
                f"Expected augment.elastic from 0 to {ELASTIC_MOST}, got {self.elastic}."
            )


def augment(
    grey: NDArray[np.uint8],
    points: NDArray[np.float64],
    settings: Augmentation,
    rng: np.random.Generator,
) -> tuple[NDArray[np.uint8 | np.float32], NDArray[np.float64]]:
    """One random version of a film.

    Args:
        grey: Network-size film, (H, W) uint8.
        points: Landmarks (L, 2) as (x, y) in network pixels; NaN where unknown.
        settings: Ranges of the changes.
        rng: Where the randomness comes from.

    Returns:
        The changed film, (H, W), uint8 or, not clipped, float32 with 255 for white; and its
        landmarks, shaped as before.
    """
    matrix = _affine(grey.shape, settings, rng)
    points = points @ matrix[:, :2].T + matrix[:, 2]
    height, width = grey.shape
    if settings.elastic:
        field = _elastic(grey.shape, settings, rng)
        columns, rows = _sources(matrix, field)
        moved: Any = cv2.remap(grey, columns, rows, cv2.INTER_LINEAR)
        points = _displaced(points, field)
    else:
        moved = cv2.warpAffine(grey, matrix, (width, height), flags=cv2.INTER_LINEAR)
    return _change_intensity(moved, settings, rng), points


def _affine(
    shape: tuple[int, ...], settings: Augmentation, rng: np.random.Generator
) -> NDArray[np.float64]:
    """(2, 3) matrix from old to new (x, y), about the film's centre."""
    height, width = shape
    angle = np.deg2rad(rng.uniform(-1, 1) * settings.rotation_deg)
    scale = np.exp(rng.uniform(-1, 1) * settings.log_scale)
    aspect = np.exp(rng.uniform(-1, 1) * settings.log_aspect)
    rotation = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    stretch = np.array([[aspect, rng.uniform(-1, 1) * settings.shear], [0.0, 1.0 / aspect]])
    linear = scale * stretch @ rotation
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    shift = rng.uniform(-1, 1, 2) * settings.shift * height
    return np.hstack([linear, (centre - linear @ centre + shift)[:, None]])


def _elastic(
    shape: tuple[int, ...], settings: Augmentation, rng: np.random.Generator
) -> NDArray[np.float32]:
    """(H, W, 2) how far along (x, y) from each pixel lies what it shows."""
    height, width = shape
    grid = (ELASTIC_POINTS, max(2, round((ELASTIC_POINTS - 1) * width / height) + 1), 2)
    drawn = rng.normal(0, settings.elastic * height, grid).astype(np.float32)
    return cv2.resize(drawn, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.float32)


def _sources(matrix: NDArray[np.float64], field: NDArray[np.float32]) -> list[Any]:
    """Columns and rows (H, W) of the film before both changes that each pixel shows."""
    height, width = field.shape[:2]
    back: Any = cv2.invertAffineTransform(matrix)
    x = np.arange(width, dtype=np.float32) + field[..., 0]
    y = np.arange(height, dtype=np.float32)[:, None] + field[..., 1]
    return [(a * x + b * y + c).astype(np.float32) for a, b, c in back]


def _displaced(points: NDArray[np.float64], field: NDArray[np.float32]) -> NDArray[np.float64]:
    """Where points (L, 2) come to lie: the pixel that shows them, by fixed-point iteration."""
    height, width = field.shape[:2]
    moved = points
    for _ in range(ELASTIC_STEPS):
        at = np.clip(np.nan_to_num(moved), 0, (width - 1, height - 1)).astype(np.float32)
        here: Any = cv2.remap(field, at[:, :1], at[:, 1:], cv2.INTER_LINEAR)
        moved = points - here[:, 0]
    return moved


def _change_intensity(
    grey: NDArray[np.uint8], settings: Augmentation, rng: np.random.Generator
) -> NDArray[np.uint8 | np.float32]:
    gamma = np.exp(rng.uniform(-1, 1) * settings.log_gamma)
    contrast = 1 + rng.uniform(-1, 1) * settings.contrast
    brightness = rng.uniform(-1, 1) * settings.brightness
    table = (np.arange(256) / 255.0) ** gamma * contrast + brightness
    image = np.take(table.astype(np.float32), grey)
    if rng.random() < 0.3:
        noise = rng.standard_normal(grey.shape, dtype=np.float32)
        image += noise * np.float32(rng.uniform(0, settings.noise))
    if rng.random() < 0.2:
        sigma = rng.uniform(0.25, 1.0) * settings.blur_px
        image = cv2.GaussianBlur(image, (0, 0), sigma) if sigma > 0 else image
    image *= np.float32(255)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8) if settings.clip else image
