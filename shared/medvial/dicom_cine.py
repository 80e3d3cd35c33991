"""Multi-frame DICOM, frame by frame: pixels in grey or RGB, times, heart rate, ultrasound regions.

Attributes: DICOM PS3.3, C.7.6.5 (cine), C.7.6.3 (image pixel), C.8.5.5 (ultrasound regions).
"""

import contextlib
import logging
import math
import os
import struct
import sys
import warnings
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import iter_pixels

from medvial.cine import (
    DEFAULT_FPS,
    Cine,
    CineInfo,
    TimedPixels,
    check_frame_size,
    from_zero,
    plausible_fps,
    unknown_fps_note,
    usual_fps,
)
from medvial.errors import InputError
from medvial.ultrasound_regions import find_region

_COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
_GREYS = ("MONOCHROME1", "MONOCHROME2")
_PALETTE = "PALETTE COLOR"
_HEART_RATES_BPM = (20.0, 350.0)
_SHORT_HEADER, _LONG_HEADER = 8, 12  # bytes before the pixels: implicit VR, explicit OB or OW
_ITEM = (0xFFFE, 0xE000)


def open_dicom(path: Path, fps: float | None) -> Cine:
    """Open a DICOM file: reads its attributes and its first frame.

    Raises:
        InputError: It has no pixels, or pixels that cannot be decoded.
    """
    dataset, offset = _read_attributes(path)
    height, width, count = _sizes(dataset, path)
    check_frame_size(path, height, width)
    notes: list[str] = []
    if (there := _whole_frames(dataset, path, offset)) is not None and there < count:
        notes.append(f"The header says {count} frames, the file holds {there} whole ones.")
        count = there
    if count == 0:
        raise InputError(f"{path}: expected frames, the pixels are cut off before the first ends.")
    rate, times, timing_notes = _timing(dataset, count, fps)
    found = find_region(dataset, height, width)
    info = CineInfo(
        path=path,
        kind="dicom",
        height=height,
        width=width,
        frame_count=count,
        fps=rate or DEFAULT_FPS,
        fps_known=rate is not None,
        frame_times_s=times or tuple(i / (rate or DEFAULT_FPS) for i in range(count)),
        spacing_mm=found.spacing_mm,
        calibration_note=found.note,
        heart_rate_bpm=_heart_rate(dataset),
        region=found.box,
        colour_doppler=found.colour or dataset.get("UltrasoundColorDataPresent") == 1,
        notes=(*notes, *timing_notes),
    )
    cine = Cine(info, lambda step: _read(path, dataset, info, step))
    _check_first(cine)
    return cine


def _read_attributes(path: Path) -> tuple[pydicom.Dataset, int]:
    """All attributes but the pixels, and the byte where the element of the pixels begins."""
    try:
        with _quiet(), path.open("rb") as file:
            dataset = pydicom.dcmread(file, stop_before_pixels=True, force=True)
            offset = file.tell()
    except (OSError, MemoryError):
        raise
    except Exception as error:  # pydicom raises whatever a broken value runs into
        raise InputError(f"{path}: expected DICOM, it cannot be read: {error}.") from error
    if "TransferSyntaxUID" not in getattr(dataset, "file_meta", {}):
        dataset.file_meta = pydicom.dataset.FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
    return dataset, offset


def _sizes(dataset: pydicom.Dataset, path: Path) -> tuple[int, int, int]:
    """Height, width, frames."""
    if "Rows" not in dataset or "Columns" not in dataset:
        kind = getattr(dataset.get("SOPClassUID"), "name", None) or "no image"
        raise InputError(
            f"{path}: expected a DICOM cine, got one without pixels ({kind}). Give the image file."
        )
    colours = str(dataset.get("PhotometricInterpretation", ""))
    if colours not in (*_COLOURS, *_GREYS, _PALETTE):
        raise InputError(
            f"{path}: expected PhotometricInterpretation {', '.join((*_GREYS, *_COLOURS))} or "
            f"{_PALETTE}, got {colours or 'none'}. Convert it to RGB."
        )
    try:
        count = int(dataset.get("NumberOfFrames") or 1)
        return int(dataset.Rows), int(dataset.Columns), max(count, 1)
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: expected whole numbers as image sizes: {error}.") from error


def _whole_frames(dataset: pydicom.Dataset, path: Path, offset: int) -> int | None:
    """Frames that the file has whole, at most; None where that is not known without decoding."""
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.is_deflated:
        return None
    if syntax.is_compressed:
        return _fragments(path, offset + _LONG_HEADER, "<" if syntax.is_little_endian else ">")
    samples, bits = int(dataset.get("SamplesPerPixel", 1)), int(dataset.get("BitsAllocated", 8))
    if dataset.get("PhotometricInterpretation") == "YBR_FULL_422":
        samples = 2  # two pixels share their colour
    frame_bytes = dataset.Rows * dataset.Columns * samples * bits // 8
    header = _SHORT_HEADER if syntax.is_implicit_VR else _LONG_HEADER
    return max(0, path.stat().st_size - offset - header) // max(1, frame_bytes)


def _fragments(path: Path, offset: int, order: str) -> int | None:
    """Whole fragments of compressed pixels (PS3.5, A.4); the first item is the offset table."""
    end, items = path.stat().st_size, 0
    with path.open("rb") as file:
        file.seek(offset)
        while len(head := file.read(8)) == 8:
            group, element, length = struct.unpack(f"{order}HHI", head)
            if (group, element) != _ITEM or file.tell() + length > end:
                break
            items += 1
            file.seek(length, 1)
    return max(0, items - 1)


def _timing(
    dataset: pydicom.Dataset, count: int, fps: float | None
) -> tuple[float | None, tuple[float, ...] | None, list[str]]:
    """Frame rate (None if unknown), times where they are not even, notes.

    The frame time that `FrameIncrementPointer` names comes first, then what describes the
    acquisition, then how the cine is recommended to be shown.
    """
    if fps is not None:
        return fps, None, []
    vector = [value for value in _numbers(dataset, "FrameTimeVector") if math.isfinite(value)]
    if len(vector) >= count > 1 and all(value > 0 for value in vector[1:count]):
        times = from_zero(np.cumsum(vector[:count]).tolist())
        times = tuple(time / 1000.0 for time in times)
        if rate := usual_fps(times):
            return rate, times, []
    candidates: list[tuple[str, float]] = [
        (name, 1000.0 / value)
        for name in ("FrameTime", "ActualFrameDuration")
        for value in _numbers(dataset, name)[:1]
        if value > 0
    ]
    names = ("CineRate", "RecommendedDisplayFrameRate")
    candidates += [(name, value) for name in names for value in _numbers(dataset, name)[:1]]
    usable = [(name, rate) for name, rate in candidates if plausible_fps(rate)]
    if not usable:
        return None, None, [unknown_fps_note("The DICOM file says no usable frame time or rate")]
    name, rate = usable[0]
    notes = [
        f"{name} says {rate:.4g} frames per second, {other} {differs:.4g}: {name} was taken."
        for other, differs in usable[1:]
        if abs(differs / rate - 1) > 0.1  # CineRate is a whole number
    ]
    return rate, None, notes[:1]


def _heart_rate(dataset: pydicom.Dataset) -> float | None:
    value = next(iter(_numbers(dataset, "HeartRate")), 0.0)
    return value if _HEART_RATES_BPM[0] <= value <= _HEART_RATES_BPM[1] else None


def _numbers(dataset: pydicom.Dataset, name: str) -> list[float]:
    """The numbers of an attribute; none where it is missing, empty or no number."""
    try:
        with _quiet():
            value = dataset.get(name)
        if value is None or value == "":
            return []
        values = value if isinstance(value, (list, pydicom.multival.MultiValue)) else [value]
        return [float(number) for number in values if number is not None]
    except (TypeError, ValueError):
        return []


def _check_first(cine: Cine) -> None:
    """Refuse a file of which not one frame can be decoded."""
    frames = iter(cine)
    try:
        next(frames)
    finally:
        cine.close()


def _read(
    path: Path, dataset: pydicom.Dataset, info: CineInfo, step: int
) -> Generator[TimedPixels | InputError, None, None]:
    """Every `step`th frame; where one is damaged or missing, an `InputError` and no more."""
    count = info.frame_count or 1
    times = info.frame_times_s or ()
    indices = range(0, count, step) if step > 1 else None
    given = 0
    try:
        frames = iter_pixels(path, indices=indices, number_of_frames=count)
        while True:
            with _quiet():
                pixels = next(frames, None)
            if pixels is None or given * step >= count:
                break
            yield times[given * step], _visible(pixels, dataset)
            given += 1
            del pixels
        missing = "the file ends"
    except Exception as error:  # the decoders of pydicom's plugins raise all kinds
        missing = str(error).strip().splitlines()[-1].strip()[:200] if str(error) else repr(error)
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
        pixels = (2**stored - 1) - pixels
    if stored == 8 and pixels.dtype.itemsize == 2 and pixels.dtype.kind == "u":
        return pixels.astype(np.uint8)
    return pixels


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
