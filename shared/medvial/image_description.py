"""What is in an image file, as a few numbers: to check outputs, and to compare them."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medvial.errors import InputError
from medvial.metaimage import MetaHeader, read_meta_header
from medvial.metaimage_writer import PIXEL_TYPES, ImageGeometry
from medvial.pixel_sources import RawSource, ZlibSource
from medvial.stacks import STACK_SUFFIXES, open_stack

MAX_LABELS = 64  # the platform lists the segments of a mask up to this many

_ELEMENT_TYPES = {element: np.dtype(name) for name, element in PIXEL_TYPES.items()}


def describe_image(path: Path) -> dict[str, Any]:
    """Geometry, pixel type and content of an image, slice by slice.

    Returns:
        `{"image": {...}}` with `size` (x, y, z), `spacing_mm`, `origin_mm`, `direction` (its rows,
        one after the other), `pixel_type`; and what it shows. Of an integer image with at most 64
        values: `labels`, the count of voxels by value, and `centroids`, the mean index (x, y, z)
        of the voxels of each value but 0. Of others: `minimum`, `maximum`, `mean`, and
        `centroid`, the mean index weighted by the value above the minimum, None where all are the
        same. An image of several values a pixel has `channels`, their number; each value counts.

    Raises:
        InputError: The image cannot be read to its end.
    """
    geometry, pixel_type, channels, slices = _open(path)
    with closing(slices):
        content = _describe_pixels(slices, geometry)
    return {
        "image": {
            "size": list(geometry.size_xyz[: geometry.dimensions]),
            "spacing_mm": list(geometry.spacing_mm[: geometry.dimensions]),
            "origin_mm": list(geometry.origin_mm[: geometry.dimensions]),
            "direction": [
                value
                for row in geometry.direction[: geometry.dimensions]
                for value in row[: geometry.dimensions]
            ],
            "pixel_type": pixel_type,
            **({"channels": channels} if channels > 1 else {}),
            **content,
        }
    }


def read_geometry(path: Path) -> ImageGeometry:
    """Where the pixels of an image lie; reads its header only.

    Raises:
        InputError: It is no image that can be read.
    """
    geometry, _, _, slices = _open(path)
    slices.close()
    return geometry


def _describe_pixels(slices: Iterator[NDArray[Any]], geometry: ImageGeometry) -> dict[str, Any]:
    width, height, _ = geometry.size_xyz
    labels: _Labels | None = _Labels(width, height, geometry.dimensions)
    values = _Values(width, height, geometry.dimensions)
    for index, image in enumerate(slices):
        pixels = image.reshape(height, width, -1)
        values.add(pixels, index)
        if labels is not None and not labels.add(pixels, index):
            labels = None
    return values.describe() if labels is None else labels.describe()


class _Labels:
    """Voxels by value, and the sums of their indices (x, y, z)."""

    def __init__(self, width: int, height: int, dimensions: int) -> None:
        self.dimensions = dimensions
        self.counts: Counter[int] = Counter()
        self.sums: defaultdict[int, NDArray[np.float64]] = defaultdict(lambda: np.zeros(3))
        self.xy = np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64)

    def add(self, pixels: NDArray[Any], index: int) -> bool:
        """One more slice (H, W, C); whether it still is an image of few values."""
        if pixels.dtype.kind not in "iu":
            return False
        if pixels.dtype == np.uint8:
            found = np.flatnonzero(np.bincount(pixels.ravel(), minlength=256))
        else:
            found = np.unique(pixels)
        if len(found) > MAX_LABELS:
            return False
        for value in found.tolist():
            here = np.count_nonzero(pixels == value, axis=2)
            columns, rows = here.sum(axis=0), here.sum(axis=1)
            count = int(rows.sum())
            self.counts[value] += count
            self.sums[value] += (columns @ self.xy[0], rows @ self.xy[1], count * index)
        return len(self.counts) <= MAX_LABELS

    def describe(self) -> dict[str, Any]:
        centroids = {
            str(value): _rounded(self.sums[value] / self.counts[value], self.dimensions)
            for value in sorted(self.counts)
            if value != 0
        }
        labels = {str(value): self.counts[value] for value in sorted(self.counts)}
        return {"labels": labels, "centroids": centroids}


class _Values:
    """Range and mean of the values, and the sums of indices (x, y, z) weighted by them."""

    def __init__(self, width: int, height: int, dimensions: int) -> None:
        self.dimensions = dimensions
        self.lowest, self.highest, self.total, self.count = np.inf, -np.inf, 0.0, 0
        self.weighted, self.indices = np.zeros(3), np.zeros(3)
        self.xy = np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64)

    def add(self, pixels: NDArray[Any], index: int) -> None:
        """One more slice (H, W, C)."""
        self.lowest = min(self.lowest, float(pixels.min()))
        self.highest = max(self.highest, float(pixels.max()))
        rows = pixels.sum(axis=(1, 2), dtype=np.float64)
        columns = pixels.sum(axis=(0, 2), dtype=np.float64)
        total = float(rows.sum())
        self.total += total
        self.count += pixels.size
        self.weighted += (columns @ self.xy[0], rows @ self.xy[1], total * index)
        self.indices += np.array([self.xy[0].mean(), self.xy[1].mean(), index]) * pixels.size

    def describe(self) -> dict[str, Any]:
        above = self.total - self.lowest * self.count
        place = (self.weighted - self.lowest * self.indices) / above if above > 0 else None
        return {
            "minimum": self.lowest,
            "maximum": self.highest,
            "mean": self.total / self.count,
            "centroid": None if place is None else _rounded(place, self.dimensions),
        }


def _rounded(place: NDArray[np.float64], dimensions: int) -> list[float]:
    return [round(float(value), 3) for value in place[:dimensions]]


def _open(path: Path) -> tuple[ImageGeometry, str, int, Any]:
    """Geometry, name of the pixel type, number of channels, and the slices of an image."""
    if path.suffix.lower() not in STACK_SUFFIXES:
        raise InputError(f"{path}: expected an image as {', '.join(STACK_SUFFIXES)}.")
    if path.suffix.lower() != ".mha":
        stack = open_stack(path)
        info = stack.info
        return info.geometry, info.dtype.name, info.channels, _checked(iter(stack))
    try:
        with path.open("rb") as file:
            header = read_meta_header(file, path, _ELEMENT_TYPES)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}.") from None
    geometry = ImageGeometry(
        (header.width, header.height, header.count),
        header.spacing_mm,
        header.origin_mm,
        header.direction,
        header.dimensions,
    )
    return geometry, header.dtype.name, header.channels, _meta_slices(path, header)


def _checked(slices: Iterator[Any]) -> Iterator[NDArray[Any]]:
    for item in slices:
        if isinstance(item, InputError):
            raise item
        yield item


def _meta_slices(path: Path, header: MetaHeader) -> Iterator[NDArray[Any]]:
    """Pixels as they are stored, flat, one slice after the other."""
    with FileIO(path) as file:
        file.seek(header.data_offset)
        source = ZlibSource(file) if header.compressed else RawSource(file)
        buffer = np.empty(header.slice_bytes, np.uint8)
        for number in range(1, header.count + 1):
            _, failure = source.fill(buffer.data)
            if failure is None and number == header.count:
                failure = source.check_end()
            if failure is not None:
                raise InputError(f"{path}, slice {number} of {header.count}: {failure}.")
            yield buffer.view(header.dtype)
