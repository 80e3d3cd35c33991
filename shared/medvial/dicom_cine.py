"""Multi-frame DICOM, frame by frame: pixels in grey or RGB, times, heart rate, ultrasound regions.

Attributes: DICOM PS3.3, C.7.6.5 (cine), C.7.6.3 (image pixel), C.8.5.5 (ultrasound regions).
"""

import contextlib
import logging
import os
import struct
import sys
import warnings
import zlib
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.errors import InvalidDicomError
from pydicom.filereader import data_element_generator, read_preamble
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import iter_pixels
from pydicom.uid import (
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
)

from medvial.cine import (
    DEFAULT_FPS,
    Cine,
    CineInfo,
    TimedPixels,
    check_frame_size,
)
from medvial.dicom_timing import read_heart_rate, read_timing
from medvial.errors import InputError
from medvial.ultrasound_regions import find_region

_COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
_GREYS = ("MONOCHROME1", "MONOCHROME2")
_PALETTE = "PALETTE COLOR"
_SHORT_HEADER, _LONG_HEADER = 8, 12  # bytes before the pixels: implicit VR, explicit OB or OW
_MAX_TEXT = 200
_ITEM = (0xFFFE, 0xE000)
_META = 0x0002  # the group of elements that say how the others are stored
_BLOCK, _MOST_INFLATED = 1 << 20, 2 << 30  # bytes; without compression frames come one by one
_START_BYTES = 1024  # of a JPEG: its markers of colour are among them


def open_dicom(path: Path, fps: float | None) -> Cine:
    """Open a DICOM file: reads its attributes and its first frame.

    Raises:
        InputError: It has no pixels, or pixels that cannot be decoded.
    """
    try:
        with _quiet():
            return _open(path, fps)
    except (InputError, OSError, MemoryError):
        raise
    except Exception as error:  # pydicom raises whatever a broken value runs into
        raise InputError(
            f"{path}: expected DICOM, it cannot be read ({_printable(error)}). Is it damaged?"
        ) from error


def _open(path: Path, fps: float | None) -> Cine:
    dataset, offset = _read_attributes(path)
    height, width, stored = _sizes(dataset, path)
    check_frame_size(path, height, width)
    notes: list[str] = []
    there, start = _whole_frames(dataset, path, offset)
    count = min(there, stored)
    if count < stored:
        notes.append(
            f"Damaged. The header says {stored} frames, the file holds {count} whole ones."
        )
    if count == 0:
        raise InputError(f"{path}: expected frames, the pixels are cut off before the first ends.")
    rate, times, timing_notes = read_timing(dataset, count, fps)
    found = find_region(dataset, height, width)
    info = CineInfo(
        path=path,
        kind="dicom",
        height=height,
        width=width,
        frame_count=count,
        stored_count=stored,
        fps=rate or DEFAULT_FPS,
        fps_known=rate is not None,
        frame_times_s=times or tuple(i / (rate or DEFAULT_FPS) for i in range(count)),
        spacing_mm=found.spacing_mm,
        calibration_note=found.note,
        heart_rate_bpm=read_heart_rate(dataset),
        region=found.box,
        colour_doppler=found.colour or dataset.get("UltrasoundColorDataPresent") == 1,
        notes=(*notes, *timing_notes),
    )
    options = _decoding(dataset, start)
    cine = Cine(info, lambda step: _read(path, dataset, info, step, options))
    _check_first(cine)
    return cine


def _read_attributes(path: Path) -> tuple[pydicom.Dataset, int]:
    """All attributes but the pixels, and the byte where the element of the pixels begins.

    A deflated file has no such place: its pixels come along.
    """
    _check_inflated(path)
    with path.open("rb") as file:
        dataset = pydicom.dcmread(file, stop_before_pixels=True, force=True)
        offset = file.tell()
    if "TransferSyntaxUID" not in getattr(dataset, "file_meta", {}):
        dataset.file_meta = pydicom.dataset.FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
    if dataset.file_meta.TransferSyntaxUID.is_deflated:
        dataset = pydicom.dcmread(path)
    return dataset, offset


def _check_inflated(path: Path) -> None:
    """Refuse a deflated file of more bytes than memory is meant for, before it is read.

    Raises:
        InputError: It inflates to more than `_MOST_INFLATED` bytes.
    """
    with path.open("rb") as file:
        try:
            read_preamble(file, force=False)
        except InvalidDicomError:  # no word of how it is stored, hence not deflated
            return
        meta = data_element_generator(file, False, True, lambda tag, *_: tag.group != _META)
        values = [bytes(element.value or b"").strip(b"\0 ") for element in meta]  # to its end
        if DeflatedExplicitVRLittleEndian.encode() not in values:
            return
        inflate, total = zlib.decompressobj(-zlib.MAX_WBITS), 0
        while not inflate.eof and (block := inflate.unconsumed_tail or file.read(_BLOCK)):
            total += len(inflate.decompress(block, _BLOCK))
            if total > _MOST_INFLATED:
                raise InputError(
                    f"{path}: expected a deflated DICOM cine of at most {_MOST_INFLATED >> 20} MiB "
                    "when inflated, got more. Save it without compression, or compress the frames."
                )


def _sizes(dataset: pydicom.Dataset, path: Path) -> tuple[int, int, int]:
    """Height, width, frames."""
    if "Rows" not in dataset or "Columns" not in dataset:
        kind = _printable(getattr(dataset.get("SOPClassUID"), "name", "")) or "no image"
        raise InputError(
            f"{path}: expected a DICOM cine, got one without pixels ({kind}). Give the image file."
        )
    colours = str(dataset.get("PhotometricInterpretation", ""))
    if colours not in (*_COLOURS, *_GREYS, _PALETTE):
        raise InputError(
            f"{path}: expected PhotometricInterpretation {', '.join((*_GREYS, *_COLOURS))} or "
            f"{_PALETTE}, got {_printable(colours) or 'none'}. Convert it to RGB."
        )
    try:
        count = int(dataset.get("NumberOfFrames") or 1)
        return int(dataset.Rows), int(dataset.Columns), max(count, 1)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{path}: expected whole numbers as image sizes: {_printable(error)}."
        ) from error


def _whole_frames(dataset: pydicom.Dataset, path: Path, offset: int) -> tuple[int, bytes]:
    """Frames that the file has whole, at most, and how the first compressed one starts."""
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.is_compressed:
        return _fragments(path, offset + _LONG_HEADER, "<" if syntax.is_little_endian else ">")
    samples, bits = int(dataset.get("SamplesPerPixel", 1)), int(dataset.get("BitsAllocated", 8))
    if dataset.get("PhotometricInterpretation") == "YBR_FULL_422":
        samples = 2  # two pixels share their colour
    frame_bytes = dataset.Rows * dataset.Columns * samples * bits // 8
    header = _SHORT_HEADER if syntax.is_implicit_VR else _LONG_HEADER
    there = path.stat().st_size - offset - header
    if syntax.is_deflated:
        there = len(dataset.get("PixelData", b""))
    return max(0, there) // max(1, frame_bytes), b""


def _fragments(path: Path, offset: int, order: str) -> tuple[int, bytes]:
    """Whole fragments of compressed pixels (PS3.5, A.4), and how the first of them starts."""
    end, items, start = path.stat().st_size, 0, b""
    with path.open("rb") as file:
        file.seek(offset)
        while len(head := file.read(8)) == 8:
            group, element, length = struct.unpack(f"{order}HHI", head)
            if (group, element) != _ITEM or file.tell() + length > end:
                break
            if items == 1:
                start = file.read(min(length, _START_BYTES))
            file.seek(length - (len(start) if items == 1 else 0), 1)
            items += 1
    return max(0, items - 1), start  # the first item is the offset table


def _decoding(dataset: pydicom.Dataset, start: bytes) -> dict[str, Any]:
    """Options of pydicom's decoder.

    GDCM ends the whole process on some damaged JPEG frames, so that Pillow decodes what it can.
    Where a JPEG's own Adobe marker says its colours, Pillow has turned them to RGB already.
    """
    syntax, bits = dataset.file_meta.TransferSyntaxUID, int(dataset.get("BitsStored", 8))
    samples = int(dataset.get("SamplesPerPixel", 1))
    if syntax in (JPEGBaseline8Bit, JPEGExtended12Bit) and bits == 8:
        adobe = samples == 3 and b"Adobe" in start
        colours = {"photometric_interpretation": "RGB"} if adobe else {}
        return {"decoding_plugin": "pillow", **colours}
    if syntax in (JPEG2000, JPEG2000Lossless) and (bits <= 8 or samples == 1):
        return {"decoding_plugin": "pillow"}
    return {}


def _check_first(cine: Cine) -> None:
    """Refuse a file of which not one frame can be decoded."""
    frames = iter(cine)
    try:
        next(frames)
    finally:
        cine.close()


def _read(
    path: Path, dataset: pydicom.Dataset, info: CineInfo, step: int, options: dict[str, Any]
) -> Generator[TimedPixels | InputError, None, None]:
    """Every `step`th frame; where one is damaged or missing, an `InputError` and no more."""
    count = info.frame_count or 1
    times = info.frame_times_s or ()
    indices = range(0, count, step) if step > 1 else None
    given = 0
    try:
        source = dataset if "PixelData" in dataset else path
        frames = iter_pixels(source, indices=indices, number_of_frames=count, **options)
        while True:
            with _quiet():
                stored = next(frames, None)
                pixels = None if stored is None else _visible(stored, dataset)
            if pixels is None or given * step >= count:
                break
            yield times[given * step], pixels
            given += 1
            del stored, pixels
        missing = "the file ends"
    except Exception as error:  # the decoders of pydicom's plugins raise all kinds
        missing = _printable(str(error).strip().split("\n")[-1] or repr(error))
    if given * step < count:
        yield InputError(f"Frame {given * step + 1} of {count} cannot be decoded: {missing}")


def _visible(pixels: NDArray[Any], dataset: pydicom.Dataset) -> NDArray[Any]:
    """Stored values as grey that grows with brightness, or RGB."""
    colours = dataset.PhotometricInterpretation
    if colours == _PALETTE:
        rgb = apply_color_lut(pixels, dataset)
        return (rgb >> 8).astype(np.uint8) if rgb.dtype == np.uint16 else rgb
    stored = int(dataset.get("BitsStored", 8))
    if colours == "MONOCHROME1":
        lowest_and_highest = -1 if pixels.dtype.kind == "i" else 2**stored - 1  # their sum
        pixels = lowest_and_highest - pixels
    if stored == 8 and pixels.dtype.itemsize == 2 and pixels.dtype.kind == "u":
        return pixels.astype(np.uint8)
    return pixels


def _printable(value: Any) -> str:
    """A value out of a file that may be damaged, as part of one line."""
    text = " ".join(str(value).split())[:_MAX_TEXT]
    return "".join(letter if letter.isprintable() else "?" for letter in text)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Nothing of the decoders on stderr, which the platform watches: they say it by raising.

    C libraries write to the file descriptor itself.
    """
    logger = logging.getLogger("pydicom")
    before = logger.disabled
    logger.disabled = True
    sys.stderr.flush()
    kept = os.dup(2)
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 2)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(sink)
        logger.disabled = before
