"""A film of any size to what networks see of it, and the geometry that leads back."""

from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from medvial.cldetection.config import Config
from medvial.errors import InputError

MIN_CONTENT_PX = 32  # a smaller film holds no readable anatomy


@dataclass(frozen=True)
class Geometry:
    """Where the pixels of a network input that shows the whole film come from.

    Pixel coordinates are (x, y) with the centre of the first pixel at (0, 0). Along each axis
    `network = (image + 0.5) * scale - 0.5 + offset`, after the mirror.
    """

    scale_x: float
    scale_y: float
    """Network pixels per image pixel."""
    offset_x: int
    offset_y: int
    """Padding on the left and on top, in network pixels."""
    content_width: int
    content_height: int
    """Size of the film without its zero padding, in image pixels."""
    mirrored: bool = False
    """Whether the film was mirrored left to right before it was resized."""

    def to_network(self, points: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Image pixels (..., 2) as (x, y) to network pixels (..., 2)."""
        xy = np.array(points, dtype=np.float64)
        if self.mirrored:
            xy[..., 0] = self.content_width - 1 - xy[..., 0]
        scale, offset = self._axes()
        return (xy + 0.5) * scale - 0.5 + offset

    def to_image(self, points: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Network pixels (..., 2) as (x, y) to image pixels (..., 2)."""
        scale, offset = self._axes()
        xy = (np.asarray(points, dtype=np.float64) - offset + 0.5) / scale - 0.5
        if self.mirrored:
            xy[..., 0] = self.content_width - 1 - xy[..., 0]
        return xy

    def as_dict(self) -> dict[str, Any]:
        """The fields by name, for a manifest row."""
        return asdict(self)

    def _axes(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        scale = np.array([self.scale_x, self.scale_y])
        return scale, np.array([self.offset_x, self.offset_y], dtype=np.float64)


def preprocess(
    image: NDArray[Any], config: Config, *, mirrored: bool = False
) -> tuple[NDArray[np.uint8], Geometry]:
    """Bring a film to the network's size, or `detail` times finer.

    Trailing zero rows and columns (the challenge pads its stacks at the bottom and right) are cut
    off first, so that padding does not change the result.

    Args:
        image: Film, (H, W) or (H, W, C) with C in 1, 3, 4; uint8 or uint16.
        config: Gives `height`, `width`, `detail` and `fit`.
        mirrored: Mirror the film left to right (a left-facing film).

    Returns:
        The grey film, `film_size` uint8 in 0..255, and its geometry: in pixels of the network
        input, whatever the detail.

    Raises:
        InputError: The film is empty, of one value, too small, or of another type or shape.
    """
    grey = crop_padding(to_grey(image))
    if mirrored:
        grey = np.ascontiguousarray(grey[:, ::-1])
    grey = to_8_bit(grey)
    height, width = grey.shape
    scale_y, scale_x = config.height / height, config.width / width
    if config.fit == "letterbox":
        scale_y = scale_x = min(scale_y, scale_x)
    size_x, size_y = max(1, round(width * scale_x)), max(1, round(height * scale_y))
    fine_x, fine_y = config.detail * size_x, config.detail * size_y
    geometry = Geometry(
        scale_x=size_x / width,
        scale_y=size_y / height,
        offset_x=(config.width - size_x) // 2,
        offset_y=(config.height - size_y) // 2,
        content_width=width,
        content_height=height,
        mirrored=mirrored,
    )
    resized = _resize(grey, fine_x, fine_y)
    canvas = np.zeros(config.film_size, dtype=np.uint8)
    top, left = config.detail * geometry.offset_y, config.detail * geometry.offset_x
    canvas[top : top + fine_y, left : left + fine_x] = resized
    return canvas, geometry


def _resize(grey: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """To (height, width): first what shrinks, by areas, then what grows, between the pixels.

    By areas OpenCV also moves what grows.
    """
    least = min(width, grey.shape[1]), min(height, grey.shape[0])
    resized: Any = cv2.resize(grey, least, interpolation=cv2.INTER_AREA)
    return cv2.resize(resized, (width, height), interpolation=cv2.INTER_LINEAR)


def at_network_size(film: NDArray[np.uint8], config: Config) -> NDArray[np.uint8]:
    """The whole of a prepared film as the network sees it: `film_size` to (height, width)."""
    if config.detail == 1:
        return film
    seen: Any = cv2.resize(film, (config.width, config.height), interpolation=cv2.INTER_AREA)
    return seen


def to_grey(image: NDArray[Any]) -> NDArray[Any]:
    """A film as (H, W), its type kept; colour by the luma weights of ITU-R BT.601."""
    if image.dtype not in (np.uint8, np.uint16):
        raise InputError(f"Expected a film of 8 or 16 bit unsigned integers, got {image.dtype}.")
    if image.ndim == 2:
        return image
    channels = image.shape[2] if image.ndim == 3 else None
    if channels == 1:
        return image[:, :, 0]
    if channels == 3:
        return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    if channels == 4:
        return cv2.cvtColor(image, cv2.COLOR_RGBA2GRAY)
    raise InputError(f"Expected a film of shape (H, W) or (H, W, 1|3|4), got {image.shape}.")


def crop_padding(grey: NDArray[Any]) -> NDArray[Any]:
    """Cut trailing zero rows and columns off (H, W); the origin stays where it is."""
    rows, columns = np.flatnonzero(grey.any(axis=1)), np.flatnonzero(grey.any(axis=0))
    if rows.size == 0:
        raise InputError("Expected a film, got an image whose pixels are all 0.")
    content = grey[: rows[-1] + 1, : columns[-1] + 1]
    if min(content.shape) < MIN_CONTENT_PX:
        raise InputError(
            f"Expected a film of at least {MIN_CONTENT_PX} x {MIN_CONTENT_PX} pixels, got "
            f"{content.shape[1]} x {content.shape[0]} (width x height) without its zero padding."
        )
    if content.min() == content.max():
        raise InputError(f"Expected a film, got an image whose pixels are all {content.flat[0]}.")
    return content


def to_8_bit(grey: NDArray[Any]) -> NDArray[np.uint8]:
    """16 bit to 8 bit, linear between the film's 0.1 and 99.9 percentiles; 8 bit as it is."""
    if grey.dtype == np.uint8:
        return grey
    low, high = np.percentile(grey, (0.1, 99.9))
    if high <= low:
        low, high = float(grey.min()), float(grey.max())
    scaled = (grey.astype(np.float32) - low) * (255.0 / (high - low))
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def to_tensor(grey: NDArray[np.uint8 | np.float32], config: Config) -> NDArray[np.float32]:
    """Network-size films (..., H, W), 255 for white, to normalised input (..., C, H, W) float32."""
    scaled = (grey.astype(np.float32) / 255.0 - config.mean) / config.std
    return np.repeat(scaled[..., None, :, :], config.channels, axis=-3)  # (..., H, W) => C first
