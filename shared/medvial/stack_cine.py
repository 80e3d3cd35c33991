"""Image stacks as cines: one slice a frame."""

from collections.abc import Generator, Mapping
from pathlib import Path

import cv2
import numpy as np

from medvial.cine import (
    DEFAULT_FPS,
    Cine,
    CineInfo,
    TimedPixels,
    check_frame_size,
    plausible_fps,
    unknown_fps_note,
)
from medvial.errors import InputError
from medvial.metaimage import read_meta_header
from medvial.stacks import ImageStack, open_stack

# Header keys of a frame rate or frame time, in lower case without separators; the numbers are
# the DICOM tags as ITK writes them when it converts.
_RATE_KEYS = ("framerate", "fps", "framespersecond", "cinerate", "0018|0040", "0008|2144")
_TIME_KEYS = ("frametime", "frametimems", "0018|1063")  # milliseconds, as in DICOM
_HEART_RATE_KEYS = ("heartrate", "0018|1088")
_SECONDS = (0.005, 0.2)  # a z spacing that can only be the seconds from frame to frame …
_MILLISECONDS = (5.0, 200.0)  # … or only the milliseconds: 5 to 200 frames per second


def open_mha(path: Path, fps: float | None) -> Cine:
    """Open a MetaImage stack of (T, H, W), one or several channels, 8 or 16 bit.

    The frame rate is that of a header key (`FrameRate`, `CineRate`, `FrameTime` in ms, …), else
    the z spacing where it can only be the seconds (0.005 to 0.2) or milliseconds (5 to 200) from
    frame to frame; a z spacing of 1, which writers put where they know nothing, is neither, nor
    is one that equals the pixels' size.

    Raises:
        InputError: The header is wrong, or not one slice is whole.
    """
    stack = open_stack(path, suffix=".mha")
    with path.open("rb") as file:
        fields = {_plain(key): value for key, value in read_meta_header(file, path).fields.items()}
    rate, note = (fps, None) if fps else _rate(fields, stack.info.spacing_mm)
    x_mm, y_mm, _ = stack.info.spacing_mm
    calibrated = (x_mm, y_mm) != (1.0, 1.0)
    heart_rate = _number(fields, _HEART_RATE_KEYS)
    return _open(
        stack,
        "mha",
        rate,
        note,
        spacing_mm=(x_mm, y_mm) if calibrated else None,
        calibration_note=f"Pixels of {x_mm:.4g} x {y_mm:.4g} mm, from the image's header."
        if calibrated
        else "A spacing of 1 x 1 mm is what writers put where it is not known: uncalibrated.",
        heart_rate_bpm=heart_rate if heart_rate and 20 <= heart_rate <= 350 else None,
    )


def open_tiff(path: Path, fps: float | None) -> Cine:
    """Open a TIFF whose pages are the frames; it says neither frame rate nor size of tissue.

    Raises:
        InputError: It is no whole TIFF.
    """
    note = None if fps else unknown_fps_note("A TIFF says no frame rate")
    return _open(
        open_stack(path, suffix=".tif"),
        "tiff",
        fps,
        note,
        spacing_mm=None,
        calibration_note="A TIFF's resolution is that of print, not of tissue: uncalibrated.",
        heart_rate_bpm=None,
    )


def _open(
    stack: ImageStack,
    kind: str,
    rate: float | None,
    note: str | None,
    *,
    spacing_mm: tuple[float, float] | None,
    calibration_note: str,
    heart_rate_bpm: float | None,
) -> Cine:
    stored = stack.info
    check_frame_size(stored.path, stored.height, stored.width)
    fps = rate or DEFAULT_FPS
    info = CineInfo(
        path=stored.path,
        kind=kind,
        height=stored.height,
        width=stored.width,
        frame_count=stored.count,
        stored_count=stored.count,
        fps=fps,
        fps_known=rate is not None,
        frame_times_s=tuple(i / fps for i in range(stored.count)),
        spacing_mm=spacing_mm,
        calibration_note=calibration_note,
        heart_rate_bpm=heart_rate_bpm,
        notes=(note,) if note else (),
        origin_mm=stored.origin_mm,
        direction=stored.direction,
        stack_spacing_mm=stored.spacing_mm,
    )
    suffix = ".mha" if kind == "mha" else ".tif"
    return Cine(info, lambda step: _read(open_stack(stored.path, suffix=suffix), fps, step))


def _read(
    stack: ImageStack, fps: float, step: int
) -> Generator[TimedPixels | InputError, None, None]:
    """Every `step`th slice, without a fourth channel; once one is damaged, none after it."""
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # keep off stderr
    try:
        for index, pixels in enumerate(stack):
            if isinstance(pixels, InputError):
                yield pixels
                return
            if index % step == 0:
                visible = pixels if pixels.ndim == 2 else np.ascontiguousarray(pixels[:, :, :3])
                yield index / fps, visible
    finally:
        cv2.utils.logging.setLogLevel(level)


def _rate(
    fields: Mapping[str, str], spacing: tuple[float, float, float]
) -> tuple[float | None, str | None]:
    """Frames per second, None if unknown, and what to say of it."""
    *in_plane, z_spacing = spacing
    if rate := plausible_fps(_number(fields, _RATE_KEYS)):
        return rate, None
    frame_time_ms = _number(fields, _TIME_KEYS)
    if frame_time_ms and (rate := plausible_fps(1000.0 / frame_time_ms)):
        return rate, None
    for (low, high), unit_s, name in ((_SECONDS, 1.0, "s"), (_MILLISECONDS, 1e-3, "ms")):
        if low <= z_spacing <= high and not np.isclose(z_spacing, in_plane, rtol=1e-4).any():
            rate = 1.0 / (z_spacing * unit_s)
            return rate, (
                f"The z spacing of {z_spacing:g} was taken as the {name} from frame to frame: "
                f"{rate:.4g} frames per second."
            )
    return None, unknown_fps_note(
        f"The header names no frame rate, and its z spacing of {z_spacing:g} is no frame time"
    )


def _number(fields: Mapping[str, str], keys: tuple[str, ...]) -> float | None:
    for key in keys:
        try:
            value = float(fields[key].split("\\")[0])
        except (KeyError, ValueError):
            continue
        if np.isfinite(value) and value > 0:
            return value
    return None


def _plain(key: str) -> str:
    return key.lower().replace("_", "").replace(" ", "").replace("-", "")
