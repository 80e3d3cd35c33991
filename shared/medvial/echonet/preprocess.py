"""A cine of any size to the networks' frames, and the geometry that leads back."""

from dataclasses import asdict, dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from medvial.cine import Cine, CineInfo
from medvial.echonet.config import Config
from medvial.echonet.sector import Sector, find_sector
from medvial.errors import InputError

MAX_FRAMES = 20_000  # 400 s at 50 frames per second; a recording of minutes is no cine
_SAMPLE_FRAMES = 24
_COLOUR_SATURATION, _COLOUR_VALUE = 150, 60  # of 255: above those of tinted grey images
_COLOUR_SHARE = 0.005  # of the sector's pixels


@dataclass(frozen=True)
class Geometry:
    """Where the pixels of the networks' frames come from.

    Pixel coordinates are (x, y) with the centre of the first pixel at (0, 0). Along each axis
    `network = (image + 0.5 - offset) * scale - 0.5`.
    """

    scale_x: float
    scale_y: float
    """Network pixels per image pixel."""
    offset_x: int
    offset_y: int
    """First image column and row of the crop; negative where it is padded."""
    image_shape: tuple[int, int]
    """(H, W) of the cine's frames."""
    spacing_mm: tuple[float, float] | None
    """Size (x, y) of a network pixel; None is uncalibrated."""

    def to_network(self, points: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Image pixels (..., 2) as (x, y) to network pixels (..., 2)."""
        xy = np.asarray(points, dtype=np.float64)
        return (xy + 0.5 - self._offset()) * self._scale() - 0.5

    def to_image(self, points: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Network pixels (..., 2) as (x, y) to image pixels (..., 2)."""
        xy = np.asarray(points, dtype=np.float64)
        return (xy + 0.5) / self._scale() + self._offset() - 0.5

    def mask_to_image(self, mask: NDArray[Any]) -> NDArray[np.uint8]:
        """A mask of a network frame as one of the cine's frames.

        Args:
            mask: (height, width) of the network, bool or 0 and 1.

        Returns:
            (H, W) of the cine, 0 and 1; the outline runs between network pixels by linear
            interpolation.
        """
        height, width = self.image_shape
        scale, start = self._scale(), self.to_network(np.zeros(2))
        matrix = np.array([[scale[0], 0.0, start[0]], [0.0, scale[1], start[1]]])
        values = cv2.warpAffine(
            np.asarray(mask, dtype=np.float32),
            matrix,
            (width, height),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        )
        return (values > 0.5).astype(np.uint8)

    def as_dict(self) -> dict[str, Any]:
        """The fields by name, for a report."""
        return asdict(self)

    def _scale(self) -> NDArray[np.float64]:
        return np.array([self.scale_x, self.scale_y])

    def _offset(self) -> NDArray[np.float64]:
        return np.array([self.offset_x, self.offset_y], dtype=np.float64)


def preprocess(
    cine: Cine, config: Config
) -> tuple[NDArray[np.uint8], Geometry, NDArray[np.float64], Sector]:
    """Bring a cine to the networks' size: grey, the sector alone, cropped to a square around it.

    The square reaches from the sector's top to its bottom and is centred on its apex; of a sector
    that is wider than deep it leaves out the outermost parts on both sides, as EchoNet-Dynamic
    does, so that the ventricle has the same size among the frames of all.

    The file is read twice: a sample of its frames for the sector, then all of them one after the
    other, of which only the small ones are kept. Frames that have the networks' size already are
    taken as they are, made grey.

    Args:
        cine: The cine; its `info` is complete afterwards.
        config: Gives `height` and `width`.

    Returns:
        frames: (T, height, width) uint8.
        geometry: The way back to the cine's pixels.
        times_s: (T,) time of each frame, in seconds from the first.
        sector: In the cine's pixels, with notes on what is not as it should be.

    Raises:
        InputError: Not one frame can be decoded, they are all black, or they are more than
            `MAX_FRAMES`.
    """
    if cine.info.slice_count > MAX_FRAMES:
        raise _too_long(cine.info)
    sample = cine.sample(_SAMPLE_FRAMES)
    greys = [to_grey(frame) for frame in sample]
    if not any(grey.any() for grey in greys):
        raise InputError(f"{cine.info.path}: expected an echocardiogram, got black frames only.")
    sector = find_sector(greys, cine.info.region)
    sector = replace(sector, notes=sector.notes + _colour_notes(sample, sector, cine.info))
    geometry, crop = _plan(cine.info, sector, config)
    keep = sector.mask() * np.uint8(255)

    pixels = bytearray()  # grows without a second copy
    count = 0
    for frame in cine:
        grey = to_grey(frame)
        if crop is not None:
            grey = _resize(np.bitwise_and(grey, keep), crop, config)
        pixels += grey.tobytes()
        count += 1
        if count > MAX_FRAMES:
            raise _too_long(cine.info)
    frames = np.frombuffer(pixels, dtype=np.uint8).reshape(count, config.height, config.width)
    return frames, geometry, np.array(cine.info.frame_times_s), sector


def to_grey(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A frame (H, W) or (H, W, 3) RGB as (H, W); colour by the luma weights of ITU-R BT.601."""
    if frame.ndim == 2:
        return frame
    return np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def to_tensor(frames: NDArray[np.uint8], config: Config) -> NDArray[np.float32]:
    """Network-size frames as normalised input.

    Args:
        frames: (..., H, W) uint8.
        config: Gives mean and standard deviation, of one channel or three.

    Returns:
        (..., C, H, W) float32; a clip (T, H, W) becomes (T, C, H, W).
    """
    mean, std = (np.array(v, dtype=np.float32)[:, None, None] for v in (config.mean, config.std))
    return (frames[..., None, :, :].astype(np.float32) - mean) / std


def _too_long(info: CineInfo) -> InputError:
    return InputError(
        f"{info.path}: expected a cine of at most {MAX_FRAMES} frames, got more. Cut out "
        "some beats."
    )


def _plan(
    info: CineInfo, sector: Sector, config: Config
) -> tuple[Geometry, tuple[int, int, int, int] | None]:
    """The geometry, and the crop (x, y, width, height); None where frames stay as they are."""
    shape = (info.height, info.width)
    if shape == (config.height, config.width):
        return Geometry(1.0, 1.0, 0, 0, shape, info.spacing_mm), None
    x_mm, y_mm = info.spacing_mm or (1.0, 1.0)
    _, y0, _, y1 = sector.box
    # From the sector's top to its bottom, and as wide in the world, whatever the pixels' shape.
    height = y1 - y0
    width = max(1, round(height * y_mm * config.width / config.height / x_mm))
    crop = (round(sector.apex_x - (width - 1) / 2), y0, width, height)
    scale_x, scale_y = config.width / width, config.height / height
    spacing = (x_mm / scale_x, y_mm / scale_y) if info.spacing_mm else None
    return Geometry(scale_x, scale_y, crop[0], crop[1], shape, spacing), crop


def _resize(
    grey: NDArray[np.uint8], crop: tuple[int, int, int, int], config: Config
) -> NDArray[np.uint8]:
    """The crop, zero where it is outside the frame, averaged over areas to the network's size."""
    x, y, width, height = crop
    rows, columns = grey.shape
    inner = grey[max(0, y) : min(rows, y + height), max(0, x) : min(columns, x + width)]
    padded = cv2.copyMakeBorder(
        inner,
        max(0, -y),
        max(0, y + height - rows),
        max(0, -x),
        max(0, x + width - columns),
        cv2.BORDER_CONSTANT,
        value=(0,),
    )
    shrinks = width > config.width or height > config.height
    way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(
        cv2.resize(padded, (config.width, config.height), interpolation=way), dtype=np.uint8
    )


def _colour_notes(
    sample: list[NDArray[np.uint8]], sector: Sector, info: CineInfo
) -> tuple[str, ...]:
    """Whether strong colours, as of colour Doppler, lie in the sector."""
    share = 0.0
    if sample[0].ndim == 3:
        inside = sector.mask() > 0
        for frame in sample:
            hsv = cv2.cvtColor(frame, cv2.COLOR_RGB2HSV)
            strong = (hsv[..., 1] > _COLOUR_SATURATION) & (hsv[..., 2] > _COLOUR_VALUE)
            share = max(share, float(strong[inside].mean()) if inside.any() else 0.0)
    if share > _COLOUR_SHARE or info.colour_doppler:
        return (
            f"Colour, as of colour Doppler, lies over up to {100 * share:.1f} % of the sector: "
            "its grey is not that of tissue.",
        )
    return ()
