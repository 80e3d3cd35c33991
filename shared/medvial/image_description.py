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
    content: _Labels | _Values = _Labels()
    for index, image in enumerate(slices):
        pixels = image.reshape(height, width, -1)
        if isinstance(content, _Labels) and not content.add(pixels, index):
            content = _Values(content)
        if isinstance(content, _Values):
            content.add(pixels, index)
    return content.describe(geometry.dimensions)


class _Labels:
    """Voxels by value, and the sums of their indices (x, y, z)."""

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()
        self.sums: defaultdict[int, NDArray[np.float64]] = defaultdict(lambda: np.zeros(3))

    def add(self, pixels: NDArray[Any], index: int) -> bool:
        """Take one more slice (H, W, C), unless the image then is none of few values."""
        if pixels.dtype.kind not in "iu":
            return False
        if pixels.dtype == np.uint8:
            found = np.flatnonzero(np.bincount(pixels.ravel(), minlength=256))
        else:
            found = np.unique(pixels)
        if len(self.counts.keys() | found.tolist()) > MAX_LABELS:
            return False
        for value in found.tolist():
            here = np.count_nonzero(pixels == value, axis=2)
            count = int(here.sum())
            self.counts[value] += count
            self.sums[value] += (*_index_sums(here.sum(axis=0), here.sum(axis=1)), count * index)
        return True

    def describe(self, dimensions: int) -> dict[str, Any]:
        values = sorted(self.counts)
        return {
            "labels": {str(value): self.counts[value] for value in values},
            "centroids": {
                str(value): _rounded(self.sums[value] / self.counts[value], dimensions)
                for value in values
                if value != 0
            },
        }


class _Values:
    """Range and sum of the values, and the sums of indices (x, y, z), also weighted by them."""

    def __init__(self, before: _Labels) -> None:
        """Go on from the slices that had few values."""
        values, counts = list(before.counts), before.counts
        self.lowest, self.highest = min(values, default=np.inf), max(values, default=-np.inf)
        self.count, self.total = counts.total(), float(sum(v * counts[v] for v in values))
        self.indices = sum(before.sums.values(), start=np.zeros(3))
        self.weighted = sum((v * before.sums[v] for v in values), start=np.zeros(3))

    def add(self, pixels: NDArray[Any], index: int) -> None:
        """Take one more slice (H, W, C)."""
        height, width, _ = pixels.shape
        self.lowest = min(self.lowest, float(pixels.min()))
        self.highest = max(self.highest, float(pixels.max()))
        columns = pixels.sum(axis=(0, 2), dtype=np.float64)
        rows = pixels.sum(axis=(1, 2), dtype=np.float64)
        total = float(rows.sum())
        self.total += total
        self.count += pixels.size
        self.weighted += (*_index_sums(columns, rows), total * index)
        self.indices += np.array([(width - 1) / 2, (height - 1) / 2, index]) * pixels.size

    def describe(self, dimensions: int) -> dict[str, Any]:
        above = self.total - self.lowest * self.count
        place = (self.weighted - self.lowest * self.indices) / above if above > 0 else None
        return {
            "minimum": float(self.lowest),
            "maximum": float(self.highest),
            "mean": self.total / self.count,
            "centroid": None if place is None else _rounded(place, dimensions),
        }


def _index_sums(columns: NDArray[Any], rows: NDArray[Any]) -> tuple[float, float]:
    """Sums of x and y, of what is in each column and row."""
    return float(columns @ np.arange(len(columns))), float(rows @ np.arange(len(rows)))


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
