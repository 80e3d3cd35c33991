"""Random changes of a training film that keep its landmarks known."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]


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


def augment(
    grey: NDArray[np.uint8],
    points: NDArray[np.float64],
    settings: Augmentation,
    rng: np.random.Generator,
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """One random version of a film.

    Args:
        grey: Network-size film, (H, W) uint8.
        points: Landmarks (L, 2) as (x, y) in network pixels; NaN where unknown.
        settings: Ranges of the changes.
        rng: Where the randomness comes from.

    Returns:
        The changed film and its landmarks, shapes and types as before.
    """
    matrix = _affine(grey.shape, settings, rng)
    height, width = grey.shape
    moved: Any = cv2.warpAffine(grey, matrix, (width, height), flags=cv2.INTER_LINEAR)
    return _change_intensity(moved, settings, rng), points @ matrix[:, :2].T + matrix[:, 2]


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


def _change_intensity(
    grey: NDArray[np.uint8], settings: Augmentation, rng: np.random.Generator
) -> NDArray[np.uint8]:
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
    return np.clip(np.rint(image * 255), 0, 255).astype(np.uint8)
