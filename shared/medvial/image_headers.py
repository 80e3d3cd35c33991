"""Sizes out of the headers of TIFF, PNG, JPEG and BMP files, before anything is decoded.

OpenCV takes the memory a header asks for, up to 3 GB; these few lines let a damaged file be
refused first. Formats: TIFF 6.0 and BigTIFF, PNG (ISO/IEC 15948), JPEG (ITU-T T.81), BMP.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from medvial.errors import InputError
from medvial.metaimage import MAX_SLICES

_TIFF_TYPES = {1: "B", 3: "H", 4: "I", 5: "II", 16: "Q"}  # BYTE, SHORT, LONG, RATIONAL, LONG8
_SUBFILE, _WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _SAMPLES = 254, 256, 257, 258, 262, 277
_ORIENTATION = 274
_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT = 282, 283, 296
_UNIT_MM = {2: 25.4, 3: 10.0}  # inch, centimetre; 1 is a ratio without a unit
_BLOCKS = ((273, 279), (324, 325))  # offsets and byte counts: of strips, of tiles
_MAX_BLOCKS = 1_000_000
_TAGS = {_SUBFILE, _WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _SAMPLES, *_BLOCKS[0], *_BLOCKS[1]}
_TAGS |= {_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT, _ORIENTATION}
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _PALETTE = 0, 1, 3
_REDUCED_OR_MASK = 0b101  # a pyramid's smaller copy, a transparency mask

ImageSize = tuple[int, int, int, np.dtype[Any]]


@dataclass(frozen=True)
class TiffPage:
    """One full-resolution page of a TIFF."""

    index: int
    """Among all the directories of the file, from 0."""
    height: int
    width: int
    channels: int
    dtype: np.dtype[Any]
    pixels_end: int
    """Byte of the file where the last of its pixels ends."""
    spacing_mm: tuple[float, float]
    """(x, y) of a pixel; 1.0 where the file does not give both, and their unit."""
    white_is_zero: bool
    """Whether small values are bright."""
    orientation: int
    """How its rows and columns are to be shown, 1 to 8 (TIFF 6.0); 1 is as they are stored."""


def read_tiff_pages(path: Path) -> list[TiffPage]:
    """The films of a TIFF; a pyramid's smaller copies and masks are left out.

    Raises:
        InputError: It is no TIFF, or a broken one without a whole first page.
    """
    with path.open("rb") as file:
        try:
            pages = _walk(file, path)
        except (struct.error, OverflowError) as error:
            raise InputError(f"{path}: expected a TIFF, its directory is cut off.") from error
    if not pages:
        raise InputError(f"{path}: expected a TIFF with at least one page, found none.")
    return pages


def _walk(file: BinaryIO, path: Path) -> list[TiffPage]:
    order, big, offset = _tiff_start(file, path)
    count_format, entry_format, next_format = (
        (f"{order}Q", f"{order}HHQ8s", f"{order}Q")
        if big
        else (f"{order}H", f"{order}HHI4s", f"{order}I")
    )
    pages: list[TiffPage] = []
    seen: set[int] = set()
    while offset:
        if offset in seen or len(seen) >= MAX_SLICES:
            raise InputError(
                f"{path}: expected a TIFF of at most {MAX_SLICES} pages, its directories "
                "form a loop or are too many. Is it damaged?"
            )
        seen.add(offset)
        file.seek(offset)
        (entries,) = _unpack(file, count_format)
        if entries > 0xFFFF:
            raise InputError(f"{path}: expected a TIFF directory, got one of {entries} entries.")
        fields = [_unpack(file, entry_format) for _ in range(entries)]
        (offset,) = _unpack(file, next_format)
        tags: dict[int, tuple[int, ...]] = {}
        for tag, *rest in fields:
            if tag in _TAGS and tag not in tags:  # a repeated one would be read over and over
                tags[tag] = _values(file, order, *rest)
        if not tags.get(_SUBFILE, (0,))[0] & _REDUCED_OR_MASK:
            pages.append(_page(len(seen) - 1, tags, path))
    return pages


def _tiff_start(file: BinaryIO, path: Path) -> tuple[str, bool, int]:
    """Byte order, whether it is a BigTIFF, and where its first directory is."""
    magic = file.read(4)
    order = {b"II": "<", b"MM": ">"}.get(magic[:2], "")
    version = struct.unpack(f"{order}H", magic[2:])[0] if order and len(magic) == 4 else 0
    if version == 42:
        return order, False, _unpack(file, f"{order}I")[0]
    if version == 43:
        file.seek(8)
        return order, True, _unpack(file, f"{order}Q")[0]
    raise InputError(f"{path}: expected a TIFF, got a file that starts with {magic!r}.")


def _values(file: BinaryIO, order: str, kind: int, count: int, inline: bytes) -> tuple[int, ...]:
    """The numbers of a field, which follow it or lie elsewhere in the file; two a RATIONAL."""
    letter = _TIFF_TYPES.get(kind)
    if letter is None or not 0 < count <= _MAX_BLOCKS:
        return (0,)
    form = f"{order}{count * len(letter)}{letter[0]}"
    if struct.calcsize(form) > len(inline):
        file.seek(struct.unpack(f"{order}{'Q' if len(inline) == 8 else 'I'}", inline)[0])
        return _unpack(file, form)
    return struct.unpack_from(form, inline)


def _page(index: int, tags: dict[int, tuple[int, ...]], path: Path) -> TiffPage:
    width, height, samples, bits, photometric = (
        tags.get(tag, (default,))[0]
        for tag, default in (
            (_WIDTH, 0),
            (_HEIGHT, 0),
            (_SAMPLES, 1),
            (_BITS, 1),
            (_PHOTOMETRIC, _BLACK_IS_ZERO),
        )
    )
    if width < 1 or height < 1:
        raise InputError(f"{path}: expected page {index + 1} of the TIFF to have a size, it lacks.")
    channels = 3 if photometric == _PALETTE else samples
    dtype = np.dtype(np.uint16 if bits > 8 else np.uint8)
    ends = [
        offset + size
        for offsets, sizes in _BLOCKS
        for offset, size in zip(tags.get(offsets, ()), tags.get(sizes, ()), strict=False)
    ]
    end = max(ends, default=0)
    return TiffPage(
        index,
        height,
        width,
        channels,
        dtype,
        end,
        _tiff_spacing(tags),
        white_is_zero=photometric == _WHITE_IS_ZERO,
        orientation=tags.get(_ORIENTATION, (1,))[0],
    )


def _tiff_spacing(tags: dict[int, tuple[int, ...]]) -> tuple[float, float]:
    """Millimetres a pixel along x and y, from the pixels per unit (TIFF 6.0, section 8).

    Both are 1.0 unless both resolutions and a unit of length are given, as in SimpleITK.
    """
    unit_mm = _UNIT_MM.get(tags.get(_RESOLUTION_UNIT, (1,))[0])
    x, y = (tags.get(tag, ()) for tag in (_X_RESOLUTION, _Y_RESOLUTION))
    if unit_mm is None or len(x) != 2 or len(y) != 2 or 0 in (*x, *y):
        return 1.0, 1.0
    return unit_mm * x[1] / x[0], unit_mm * y[1] / y[0]


def _unpack(file: BinaryIO, form: str) -> tuple[Any, ...]:
    return struct.unpack(form, file.read(struct.calcsize(form)))


def read_image_size(path: Path) -> ImageSize:
    """Height, width, channels and type of a PNG, JPEG or BMP file, by its content.

    Raises:
        InputError: It is none of them, or its header is cut off.
    """
    with path.open("rb") as file:
        magic = file.read(8)
        file.seek(0)
        try:
            if magic == b"\x89PNG\r\n\x1a\n":
                return _png_size(file)
            if magic[:2] == b"\xff\xd8":
                return _jpeg_size(file)
            if magic[:2] == b"BM":
                return _bmp_size(file)
        except struct.error as error:
            raise InputError(f"{path}: expected an image, its header is cut off.") from error
    raise InputError(
        f"{path}: expected a PNG, JPEG or BMP image, got a file that starts with {magic!r}."
    )


def _png_size(file: BinaryIO) -> ImageSize:
    width, height, bits, colour = _unpack(file, ">16xIIBB")
    channels = {0: 1, 2: 3, 3: 3}.get(colour, 4)  # grey, RGB, palette; the others have alpha
    return height, width, channels, np.dtype(np.uint16 if bits == 16 else np.uint8)


def _jpeg_size(file: BinaryIO) -> ImageSize:
    file.seek(2)
    while True:
        marker, length = _unpack(file, ">HH")
        # Start of frame is C0 to CF without DHT (C4), JPG (C8) and DAC (CC).
        if 0xFFC0 <= marker <= 0xFFCF and marker not in (0xFFC4, 0xFFC8, 0xFFCC):
            bits, height, width, channels = _unpack(file, ">BHHB")
            return height, width, channels, np.dtype(np.uint8 if bits == 8 else np.uint16)
        if marker < 0xFF00 or length < 2:
            raise struct.error
        file.seek(length - 2, 1)


def _bmp_size(file: BinaryIO) -> ImageSize:
    (header_size,) = _unpack(file, "<14xI")
    if header_size == 12:
        width, height, bits = _unpack(file, "<HH2xH")
    else:
        width, height, bits = _unpack(file, "<ii2xH")
    channels = {32: 4, 24: 3}.get(bits, 3)
    return abs(height), abs(width), channels, np.dtype(np.uint8)
