"""What is in an image file, as a few numbers: to check outputs, and to compare them."""

from collections import Counter
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
        one after the other), `pixel_type`; and `labels`, the count of voxels by value, of an
        integer image with at most 64 values, else `minimum`, `maximum` and `mean`. An image of
        several values a pixel has `channels`, their number.

    Raises:
        InputError: The image cannot be read to its end.
    """
    geometry, pixel_type, channels, slices = _open(path)
    with closing(slices):
        content = _describe_pixels(slices)
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


def _describe_pixels(slices: Iterator[NDArray[Any]]) -> dict[str, Any]:
    labels: Counter[int] | None = Counter()
    lowest, highest, total, count = np.inf, -np.inf, 0.0, 0
    for image in slices:
        lowest, highest = min(lowest, float(image.min())), max(highest, float(image.max()))
        total, count = total + float(image.sum(dtype=np.float64)), count + image.size
        if labels is not None:
            labels = _count(image, labels) if image.dtype.kind in "iu" else None
    if labels is not None:
        return {"labels": {str(value): labels[value] for value in sorted(labels)}}
    return {"minimum": lowest, "maximum": highest, "mean": total / count}


def _count(image: NDArray[Any], labels: "Counter[int]") -> "Counter[int] | None":
    """The counts with those of one more slice; None when there are too many values."""
    if image.dtype == np.uint8:
        counts = np.bincount(image.ravel(), minlength=256)
        values = np.flatnonzero(counts)
        counts = counts[values]
    else:
        values, counts = np.unique(image, return_counts=True)
    labels.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
    return labels if len(labels) <= MAX_LABELS else None


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
