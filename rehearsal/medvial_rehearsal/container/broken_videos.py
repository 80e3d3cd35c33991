"""Videos that something is wrong with, made from a task's own."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medvial_rehearsal.container.broken_inputs import replace

_SIZE = (96, 64)  # x, y: small, and even as the codecs want
_RATE = 25


def no_frames(file: Path) -> None:
    """A video stream without a frame."""
    _write(file, 0)


def one_frame(file: Path) -> None:
    """A single frame."""
    _write(file, 1)


def black_video(file: Path) -> None:
    """Two seconds of black."""
    _write(file, 2 * _RATE)


def unknown_codec(file: Path) -> None:
    """The name of the codec replaced by one that does not exist."""
    content = bytearray(file.read_bytes())
    # ISO/IEC 14496-12: stsd holds version, count, and the entry's size before its codec's name;
    # AVI: the handler after `vids` and biCompression, 16 bytes into BITMAPINFOHEADER.
    for name, offsets in ((b"stsd", (16,)), (b"vids", (4,)), (b"strf", (24,))):
        position = content.find(name)
        for offset in offsets if position >= 0 else ():
            content[position + offset : position + offset + 4] = b"zzzz"
    for name in (b"esds", b"avcC", b"hvcC"):  # boxes that tell the codec too
        content = content.replace(name, b"zzzz")
    replace(file, bytes(content))


def mirrored_video(file: Path) -> None:
    """Another valid case: the same video, mirrored."""
    import av

    part = file.with_name(f"mirrored{file.suffix}")
    with av.open(str(file)) as source, av.open(str(part), "w") as target:
        video = source.streams.video[0]
        stream = target.add_stream("mpeg4", rate=video.average_rate)
        stream.width, stream.height = video.width, video.height
        stream.pix_fmt, stream.bit_rate = "yuv420p", 4_000_000
        for frame in source.decode(video):
            pixels: NDArray[np.uint8] = np.flip(frame.to_ndarray(format="rgb24"), axis=1)
            mirrored = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            target.mux(stream.encode(mirrored))
        target.mux(stream.encode())
    part.replace(file)


def _write(file: Path, frames: int) -> None:
    """Replace a video by black frames in its container format."""
    import av

    part = file.with_name(f"new{file.suffix}")
    with av.open(str(part), "w") as target:
        stream = target.add_stream("mpeg4", rate=_RATE)
        stream.width, stream.height = _SIZE
        stream.pix_fmt = "yuv420p"
        target.start_encoding()
        pixels = np.zeros((_SIZE[1], _SIZE[0], 3), np.uint8)
        for _ in range(frames):
            target.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        if frames:
            target.mux(stream.encode())
    part.replace(file)
