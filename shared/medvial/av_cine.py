"""Video files by PyAV (FFmpeg's libraries): true time stamps, rotation, square pixels."""

import contextlib
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import av.logging
import cv2
import numpy as np
from numpy.typing import NDArray

from medvial.cine import (
    DEFAULT_FPS,
    MAX_FRAME_PIXELS,
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

# Containers that hold one file's own frames: playlists and scripts, which name other files or
# addresses, are not among them.
_FORMATS = (
    "avi,mov,matroska,webm,mpeg,mpegts,mpegvideo,m4v,asf,flv,ogg,gif,apng,ivf,h264,hevc,mjpeg"
)
_FORMATS += ",mxf,dv,rm"
_THREADS = 2  # of one frame's slices: a thread a frame would keep as many frames
_INTRA = ("mjpeg", "rawvideo", "huffyuv", "png", "ljpeg", "jpeg2000", "prores", "dvvideo")
_ASPECT_TOLERANCE, _MAX_ASPECT = 0.01, 4.0  # of a pixel's width by its height
_TURNS = {90: cv2.ROTATE_90_COUNTERCLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_CLOCKWISE}


@dataclass(frozen=True)
class _Timing:
    """How the frames of a stream get their times."""

    count: int
    fps: float
    times_s: tuple[float, ...] | None
    """In the order of showing; None where the stamps are missing or no good: even times then."""
    start_s: float = 0.0


def open_video(path: Path, fps: float | None) -> Cine:
    """Open a video file: reads its packets without decoding them, and its first frame.

    Raises:
        InputError: It is no video, has no picture, or not one frame can be decoded.
    """
    av.logging.set_level(None)  # nothing of FFmpeg's reaches stderr, which the platform watches
    try:
        with _open(path) as container:
            stream = _picture_stream(container, path)
            kind = container.format.name.split(",")[0].replace("mov", "mp4")
            timing, missing, notes = _read_timing(container, stream, fps)
    except av.FFmpegError as error:
        raise _no_video(path, error) from error
    if timing.count == 0:
        raise InputError(f"{path}: expected a video with frames, found none. Is it cut off?")
    first = _first_frame(path, timing)
    height, width = first.shape[:2]
    check_frame_size(path, height, width)
    info = CineInfo(
        path=path,
        kind=kind,
        height=height,
        width=width,
        frame_count=timing.count,
        stored_count=timing.count + missing if missing else None,
        fps=timing.fps,
        fps_known=not any("were assumed" in note for note in notes),
        frame_times_s=timing.times_s or tuple(i / timing.fps for i in range(timing.count)),
        calibration_note="A video file carries no size of its pixels.",
        notes=tuple(notes),
    )
    return Cine(info, lambda step: _read(path, timing, step))


def _open(path: Path) -> Any:
    return av.open(
        f"file:{path}",
        options={"format_whitelist": _FORMATS, "protocol_whitelist": "file"},
        metadata_errors="replace",
    )


def _no_video(path: Path, error: Exception) -> InputError:
    return InputError(
        f"{path}: expected a video (AVI, MP4, MOV, MKV, WebM), an image stack (.mha, .tif) or "
        f"DICOM, its content is none that can be read ({_reason(error)}). Is it damaged, cut off, "
        "encrypted, or another kind of file?"
    )


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


def _picture_stream(container: Any, path: Path) -> Any:
    """The first stream of moving pictures; covers and thumbnails are none."""
    streams = [
        stream
        for stream in container.streams.video
        if not stream.disposition & av.stream.Disposition.attached_pic
    ]
    if not streams:
        others = sorted({stream.type for stream in container.streams}) or ["nothing"]
        raise InputError(
            f"{path}: expected a video with pictures, got one with {', '.join(others)} only."
        )
    stream = streams[0]
    codec = stream.codec_context
    if codec is None:
        raise InputError(
            f"{path}: expected a video in a known coding (H.264, VP9, MJPEG, …), got an unknown "
            "one. Convert it to MP4 (H.264)."
        )
    if codec.codec_tag == "encv":
        raise InputError(f"{path}: expected a plain video, got an encrypted one. Decrypt it first.")
    if codec.width and codec.height:
        check_frame_size(path, codec.height, codec.width)
    return stream


def _read_timing(container: Any, stream: Any, fps: float | None) -> tuple[_Timing, int, list[str]]:
    """Times of the frames, from the packets; how many more the header says; notes."""
    stamps: list[int | None] = []
    packets = 0
    with contextlib.suppress(av.FFmpegError):  # the tail is damaged: what can be read will be
        for packet in container.demux(stream):
            packets += packet.size > 0 or packet.dts is not None  # else the end of the file
            if packet.size and not packet.is_discard:
                stamps.append(packet.pts)
    missing = max(0, stream.frames - packets) if packets else 0
    damage = [f"Damaged. The header says {stream.frames} frames, the file holds {packets}."]
    timing, notes = _timing(stamps, stream, fps)
    return timing, missing, [*damage, *notes] if missing else notes


def _timing(stamps: list[int | None], stream: Any, fps: float | None) -> tuple[_Timing, list[str]]:
    """Number and times of the frames by their stamps, which may be missing, and notes."""
    if fps is not None:
        return _Timing(len(stamps), fps, None), []
    nominal = plausible_fps(float(stream.average_rate or 0) or float(stream.guessed_rate or 0))
    base = float(stream.time_base or 0)
    known = sorted(stamp for stamp in stamps if stamp is not None)
    times = [stamp * base for stamp in known]
    usual = usual_fps(times)
    if len(known) == len(stamps) and usual and all(np.diff(known) > 0):
        return _Timing(len(stamps), usual, from_zero(times), times[0]), []
    if len(stamps) == 1 and nominal:
        return _Timing(1, nominal, None), []
    why = "The time stamps of the frames are missing or repeat"
    if nominal:
        return _Timing(len(stamps), nominal, None), [
            f"{why}: the file's frame rate of {nominal:g} per second was taken for all."
        ]
    return _Timing(len(stamps), DEFAULT_FPS, None), [unknown_fps_note(why)]


def _first_frame(path: Path, timing: _Timing) -> NDArray[Any]:
    reason = ""
    frames = _read(path, timing, 1)
    try:
        for item in frames:
            if not isinstance(item, InputError):
                return item[1]
            reason = reason or str(item)
    finally:
        frames.close()
    raise InputError(
        f"{path}: expected a video, not one frame of it can be decoded. Is it damaged or "
        f"encrypted? {reason}".strip()
    )


def _read(
    path: Path, timing: _Timing, step: int
) -> Generator[TimedPixels | InputError, None, None]:
    """Every `step`th frame; one that is damaged comes as an `InputError` in its place."""
    try:
        with _open(path) as container:
            stream = _picture_stream(container, path)
            stream.thread_type = "SLICE"
            stream.codec_context.thread_count = _THREADS
            stream.codec_context.options = {"max_pixels": str(MAX_FRAME_PIXELS)}
            yield from _decode(container, stream, timing, step)
    except av.FFmpegError as error:
        yield InputError(f"The file is damaged from here on ({_reason(error)})")


def _decode(
    container: Any, stream: Any, timing: _Timing, step: int
) -> Generator[TimedPixels | InputError, None, None]:
    skips = (
        step > 1 and stream.codec_context.name in _INTRA
    )  # a packet is a frame: no need to decode
    packets = number = 0
    for packet in container.demux(stream):
        if packet.size:
            packets += 1
            if skips and (packets - 1) % step:
                number += 1
                continue
        try:
            decoded = packet.decode()
        except av.FFmpegError as error:
            number += 1
            yield InputError(f"Frame {number} is damaged ({_reason(error)})")
            continue
        for frame in decoded:
            number += 1
            if (number - 1) % step:
                continue
            if frame.is_corrupt:
                yield InputError(f"Frame {number} is damaged")
                continue
            yield _time_s(frame, number - 1, timing), _upright(frame, stream.sample_aspect_ratio)


def _time_s(frame: Any, index: int, timing: _Timing) -> float:
    if timing.times_s is None or frame.time is None:
        return index / timing.fps
    return float(frame.time) - timing.start_s


def _upright(frame: Any, aspect: Any) -> NDArray[Any]:
    """A frame's pixels as they are to be seen: grey or RGB, with square pixels, turned.

    Args:
        frame: PyAV's frame.
        aspect: Width of a pixel by its height, or None.
    """
    if frame.format.name.startswith("gray"):
        deep = frame.format.components[0].bits > 8
        pixels = frame.to_ndarray(format="gray16le" if deep else "gray")
    else:
        pixels = frame.to_ndarray(format="rgb24")
    ratio = float(aspect or 1)
    if abs(ratio - 1) > _ASPECT_TOLERANCE and 1 / _MAX_ASPECT <= ratio <= _MAX_ASPECT:
        size = (max(1, round(pixels.shape[1] * ratio)), pixels.shape[0])
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR)
    # The angle is counterclockwise: av_display_rotation_get, libavutil/display.h.
    turn = _TURNS.get(round(frame.rotation / 90) * 90 % 360)
    return pixels if turn is None else cv2.rotate(pixels, turn)
