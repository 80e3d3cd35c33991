"""Video files by OpenCV, where PyAV is not installed: times as OpenCV gives them."""

import os
from collections.abc import Generator
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

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # nothing on stderr


def open_video(path: Path, fps: float | None) -> Cine:
    """Open a video file; its frame count is not known before it is read.

    Raises:
        InputError: It is no video, or not one frame can be decoded.
    """
    capture = _capture(path)
    try:
        stored = plausible_fps(capture.get(cv2.CAP_PROP_FPS))
        good, first = capture.read()
    finally:
        capture.release()
    if not good or first is None:
        raise InputError(
            f"{path}: expected a video, not one frame of it can be decoded. Is it damaged, cut "
            "off, encrypted, or another kind of file?"
        )
    height, width = first.shape[:2]
    check_frame_size(path, height, width)
    rate = fps or stored or DEFAULT_FPS
    known = bool(fps or stored)
    note = () if known else (unknown_fps_note("The file says no usable frame rate"),)
    info = CineInfo(
        path=path,
        kind=path.suffix.lower().lstrip(".") or "video",
        height=height,
        width=width,
        frame_count=None,
        fps=rate,
        fps_known=known,
        calibration_note="A video file carries no size of its pixels.",
        notes=note,
    )
    return Cine(info, lambda step: _read(path, rate, step, stamped=fps is None and known))


def _capture(path: Path) -> cv2.VideoCapture:
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        return cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    finally:
        cv2.utils.logging.setLogLevel(level)


def _read(
    path: Path, fps: float, step: int, *, stamped: bool
) -> Generator[TimedPixels | InputError, None, None]:
    """Every `step`th frame; a stamp that does not follow the one before is replaced."""
    capture = _capture(path)
    try:
        index, last_s = 0, -1.0
        while capture.grab():
            time_s = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000.0 if stamped else index / fps
            if not np.isfinite(time_s) or time_s <= last_s:
                time_s = last_s + 1.0 / fps if index else 0.0
            last_s = time_s
            if index % step == 0:
                good, frame = capture.retrieve()
                if good:
                    yield time_s, cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
                else:
                    yield InputError(f"Frame {index + 1} is damaged")
            index += 1
    finally:
        capture.release()
