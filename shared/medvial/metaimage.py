"""The header of a MetaImage file (.mha), checked before anything is allocated for its pixels.

Format: https://itk.org/Wiki/ITK/MetaIO/Documentation (keys, pixel types, order of axes).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

from medvial.errors import InputError

MAX_SLICE_BYTES = 400 * 1024 * 1024  # 10 times a 16-bit RGB film of 2400 x 2880
MAX_SLICES = 100_000
CHANNELS = (1, 3, 4)
ELEMENT_TYPES = {"MET_UCHAR": np.uint8, "MET_USHORT": np.uint16, "MET_SHORT": np.int16}
# One of these begins the header, whoever wrote it; further down any key may be a writer's own.
_FIRST_KEYS: tuple[str, ...] = ("ObjectType", "ObjectSubType", "Comment", "Name", "ID", "ParentID")
_FIRST_KEYS += (
    "NDims",
    "BinaryData",
    "BinaryDataByteOrderMSB",
    "ElementByteOrderMSB",
    "CompressedData",
)
_FIRST_KEYS += ("CompressedDataSize", "TransformMatrix", "Rotation", "Orientation", "Offset")
_FIRST_KEYS += ("Position", "Origin", "CenterOfRotation", "AnatomicalOrientation", "Color")
_FIRST_KEYS += ("DistanceUnits", "Modality", "DimSize", "HeaderSize", "ElementSpacing")
_FIRST_KEYS += ("ElementSize", "ElementType", "ElementMin", "ElementMax", "ElementNumberOfChannels")
_MAX_HEADER_BYTES = 64 * 1024
_MAX_NUMBER_DIGITS = 18  # int() of a longer text is slow, and no size has that many

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class MetaHeader:
    """What the header of a `.mha` says about its pixels."""

    count: int
    height: int
    width: int
    channels: int
    dtype: np.dtype[Any]
    """As stored, with its byte order."""
    compressed: bool
    data_offset: int
    """Bytes before the pixels."""
    spacing_mm: Vector
    origin_mm: Vector
    direction: tuple[Vector, Vector, Vector]
    """Columns are the directions of the axes x, y, z in the world."""
    dimensions: Literal[2, 3]
    """Axes that lie in space."""
    fields: Mapping[str, str] = field(default_factory=dict, compare=False)
    """All keys of the header with their values as text, a writer's own among them."""

    @property
    def slice_bytes(self) -> int:
        """Bytes of one slice, uncompressed."""
        return self.height * self.width * self.channels * self.dtype.itemsize


def read_meta_header(
    file: BinaryIO, path: Path, types: Mapping[str, Any] = ELEMENT_TYPES
) -> MetaHeader:
    """Read and check the header of a MetaImage file with its pixels inside.

    Args:
        file: The file, open at its beginning; left at the first byte of the pixels.
        path: Its path, for messages.
        types: The pixel types to accept, by their name in the header; by default those of films.

    Returns:
        The header; a size of 1 stands for axes that the file does not have.

    Raises:
        InputError: It is no MetaImage, or one that this reader cannot or should not read.
    """
    fields = _read_fields(file, path)
    _check_layout(fields, path)
    count, height, width, channels, space = _read_shape(fields, path)
    dtype = _read_dtype(fields, path, types)
    header = MetaHeader(
        count=count,
        height=height,
        width=width,
        channels=channels,
        dtype=dtype,
        compressed=_read_flag(fields, path, "CompressedData"),
        data_offset=file.tell(),
        fields=fields,
        **_read_world(fields, path, space),
    )
    check_slice_size(path, height, width, channels, dtype.itemsize)
    if count > MAX_SLICES:
        raise InputError(f"{path}: expected at most {MAX_SLICES} slices, the header says {count}.")
    return header


def check_slice_size(path: Path, height: int, width: int, channels: int, itemsize: int) -> None:
    """Refuse a slice that is too large to be a film, before memory is taken for it.

    Raises:
        InputError: The slice is larger than `MAX_SLICE_BYTES`.
    """
    size = height * width * channels * itemsize
    if size > MAX_SLICE_BYTES:
        raise InputError(
            f"{path}: expected slices of at most {MAX_SLICE_BYTES} bytes, the header says {width} "
            f"x {height} pixels of {channels} x {8 * itemsize} bit ({size} bytes). Is it damaged?"
        )


def _read_fields(file: BinaryIO, path: Path) -> dict[str, str]:
    fields: dict[str, str] = {}
    while file.tell() < _MAX_HEADER_BYTES:
        line = file.readline(_MAX_HEADER_BYTES)
        if not line:
            break
        key, separator, value = line.decode("utf-8", errors="replace").partition("=")
        # Metadata have keys of any form, as `0008|0060` or `Patient Name`.
        if not separator or (not fields and key.strip() not in _FIRST_KEYS):
            raise InputError(
                f"{path}: expected a MetaImage header of lines `Key = value`, got "
                f"{line[:40]!r}. Is it another kind of file?"
            )
        fields[key.strip()] = value.strip()
        if key.strip() == "ElementDataFile":  # by definition the last key: the pixels follow
            return fields
    if not fields:
        raise InputError(f"{path}: expected a MetaImage file, got an empty file.")
    raise InputError(
        f"{path}: expected a MetaImage header that ends with ElementDataFile, found its end after "
        f"{len(fields)} keys. Is the file cut off?"
    )


def _check_layout(fields: Mapping[str, str], path: Path) -> None:
    for key in ("NDims", "DimSize", "ElementType"):
        if key not in fields:
            raise InputError(f"{path}: expected the key {key} in the MetaImage header, it lacks.")
    if fields.get("ObjectType", "Image") != "Image":
        raise InputError(f"{path}: expected ObjectType Image, got {fields['ObjectType']!r}.")
    if fields["ElementDataFile"].upper() != "LOCAL":
        raise InputError(
            f"{path}: expected the pixels in the file itself (ElementDataFile = LOCAL), got "
            f"{fields['ElementDataFile']!r}. Write it as one .mha."
        )
    if not _read_flag(fields, path, "BinaryData", default=True):
        raise InputError(f"{path}: expected binary pixels, got text (BinaryData = False).")
    if fields.get("HeaderSize", "0") not in ("0", ""):
        raise InputError(f"{path}: expected no HeaderSize, got {fields['HeaderSize']!r}.")


def _read_shape(
    fields: Mapping[str, str], path: Path
) -> tuple[int, int, int, int, tuple[int, int]]:
    """Count, height, width, channels, and the range of the header's axes that lie in space."""
    dims = _positive_int(fields, path, "NDims")
    if dims not in (2, 3, 4):
        raise InputError(f"{path}: expected NDims of 2, 3 or 4, got {dims}.")
    sizes = _sizes(fields, path, dims)
    channels = _positive_int(fields, path, "ElementNumberOfChannels", default=1)
    first = 0
    if channels == 1 and dims > 2 and sizes[0] in (3, 4):  # too narrow for a film: its colours
        channels, first = sizes[0], 1
    space = sizes[first:]
    if len(space) == 4 and space[3] == 1:
        space = space[:3]
    if channels not in CHANNELS or len(space) > 3:
        raise InputError(
            f"{path}: expected a film or a stack of films with 1, 3 or 4 channels, got DimSize = "
            f"{fields['DimSize']} with {channels} channel(s)."
        )
    count = space[2] if len(space) == 3 else 1
    return count, space[1], space[0], channels, (first, first + len(space))


def _sizes(fields: Mapping[str, str], path: Path, dims: int) -> list[int]:
    texts = fields["DimSize"].split()
    valid = all(text.isascii() and text.isdigit() for text in texts)
    if len(texts) != dims or not valid or any(len(t) > _MAX_NUMBER_DIGITS for t in texts):
        raise InputError(
            f"{path}: expected DimSize to be {dims} positive whole numbers (NDims = {dims}), got "
            f"{fields['DimSize'][:60]!r}."
        )
    sizes = [int(text) for text in texts]
    if min(sizes) < 1:
        raise InputError(f"{path}: expected positive sizes, got DimSize = {fields['DimSize']}.")
    return sizes


def _read_dtype(fields: Mapping[str, str], path: Path, types: Mapping[str, Any]) -> np.dtype[Any]:
    name = fields["ElementType"].removesuffix("_ARRAY")
    if name not in types:
        films = " (a film of 8 or 16 bit)" if types is ELEMENT_TYPES else ""
        raise InputError(
            f"{path}: expected ElementType {' or '.join(types)}{films}, "
            f"got {fields['ElementType']!r}."
        )
    big_endian = any(
        _read_flag(fields, path, key) for key in ("BinaryDataByteOrderMSB", "ElementByteOrderMSB")
    )
    return np.dtype(types[name]).newbyteorder(">" if big_endian else "<")


def _read_world(fields: Mapping[str, str], path: Path, space: tuple[int, int]) -> dict[str, Any]:
    dims = int(fields["NDims"])
    spacing = _numbers(fields, path, ("ElementSpacing", "ElementSize"), [1.0] * dims)
    if any(value <= 0 for value in spacing):
        raise InputError(f"{path}: expected spacings above 0 mm, got {spacing}.")
    origin = _numbers(fields, path, ("Offset", "Position", "Origin"), [0.0] * dims)
    identity = [float(row == column) for row in range(dims) for column in range(dims)]
    axes = _numbers(fields, path, ("TransformMatrix", "Rotation", "Orientation"), identity)

    direction = np.eye(3)
    first, last = space
    # The file lists one axis after the other; a direction matrix has them as its columns.
    direction[: last - first, : last - first] = (
        np.array(axes).reshape(dims, dims)[first:last, first:last].T
    )
    pad = 3 - (last - first)
    return {
        "dimensions": last - first,
        "spacing_mm": tuple(spacing[first:last] + [1.0] * pad),
        "origin_mm": tuple(origin[first:last] + [0.0] * pad),
        "direction": tuple(tuple(float(value) for value in row) for row in direction),
    }


def _numbers(
    fields: Mapping[str, str], path: Path, keys: tuple[str, ...], default: list[float]
) -> list[float]:
    key = next((key for key in keys if key in fields), None)
    if key is None:
        return default
    try:
        values = [float(text) for text in fields[key].split()]
    except ValueError:
        values = []
    if len(values) != len(default) or not all(math.isfinite(value) for value in values):
        raise InputError(
            f"{path}: expected {key} to be {len(default)} numbers, got {fields[key][:60]!r}."
        )
    return values


def _positive_int(
    fields: Mapping[str, str], path: Path, key: str, default: int | None = None
) -> int:
    text = fields.get(key, str(default))
    valid = text.isascii() and text.isdigit() and len(text) <= _MAX_NUMBER_DIGITS
    if not valid or int(text) < 1:
        raise InputError(
            f"{path}: expected {key} to be a positive whole number, got {text[:60]!r}."
        )
    return int(text)


def _read_flag(fields: Mapping[str, str], path: Path, key: str, *, default: bool = False) -> bool:
    text = fields.get(key, str(default))
    if text.lower() not in ("true", "false", "1", "0"):
        raise InputError(f"{path}: expected {key} to be True or False, got {text[:60]!r}.")
    return text.lower() in ("true", "1")
