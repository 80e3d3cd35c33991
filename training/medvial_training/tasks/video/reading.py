"""Reading a video, or a folder of frames, at the size and rate that training uses."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from medvial.cine import DEFAULT_FPS
from medvial.errors import InputError
from medvial.video import open_cine
from medvial.video_classification import ClipConfig
from medvial.video_classification.preprocess import resize_frame
from medvial.video_classification.sampling import thinned_indices
from medvial_training.clips.store import Frames, Source
from medvial_training.tasks.video.listing import RawVideo, frame_files


@dataclass(frozen=True)
class ReadVideo:
    """Reads one video when it is called, in whichever process that is."""

    video: RawVideo
    resize: int
    fps: float

    def __call__(self) -> Frames:
        """The frames that are meant, their shorter side resized, thinned to `fps`.

        Raises:
            InputError: Nothing can be read, frames differ in size, or the segment lies behind the
                last one.
        """
        frames, times_s, notes = self._read()
        first, end = self._range(len(frames))
        frames, times_s = frames[first:end], times_s[first:end] - times_s[first]
        if len({frame.shape for frame in frames}) > 1:
            raise InputError(f"{self.video.path}: expected frames of one size, got several.")
        kept = thinned_indices(times_s, self.fps)
        notes["segment"] = [first, end - 1]
        return Frames(np.stack([frames[i] for i in kept]), times_s[kept], notes)

    def _range(self, count: int) -> tuple[int, int]:
        """The frames that are meant: the first, and one past the last."""
        first, last = self.video.segment or (0, count - 1)
        end = min(last + 1, count)
        if first >= end:
            raise InputError(
                f"{self.video.path}: expected frames {first} to {last}, got {count} in all."
            )
        low, high = (first + round(share * (end - first)) for share in self.video.share)
        if low >= high:
            raise InputError(f"{self.video.path}: {end - first} frames are too few to split them.")
        return low, high

    def _read(self) -> tuple[list[NDArray[np.uint8]], NDArray[np.float64], dict[str, Any]]:
        if self.video.path.is_dir():
            frames = list(_pictures(self.video.path, self.resize))
            return frames, np.arange(len(frames)) / (self.fps or DEFAULT_FPS), {}
        with open_cine(self.video.path) as cine:
            frames = [resize_frame(frame, self.resize) for frame in cine]
            times_s = np.asarray(cine.info.frame_times_s, dtype=np.float64)
            notes = {"fps": cine.info.fps, "notes": list(cine.info.notes)}
        return frames, times_s, notes


def _pictures(folder: Path, resize: int) -> Iterator[NDArray[np.uint8]]:
    for path in frame_files(folder):
        encoded = np.fromfile(path, dtype=np.uint8)  # OpenCV cannot open every path itself
        picture = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if encoded.size else None
        if picture is None:
            raise InputError(f"{path}: expected a picture, got something else or half a file.")
        yield resize_frame(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), resize)


def store_source(video: RawVideo, model: ClipConfig) -> Source:
    """The video as the store reads it."""
    return Source(video.name, _version(video), ReadVideo(video, model.resize, model.fps))


def _version(video: RawVideo) -> str:
    """Changes with the file, or with the frames of the folder."""
    files = frame_files(video.path) if video.path.is_dir() else [video.path]
    states = [(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files]
    return str([video.segment, video.share, states])


def store_settings(model: ClipConfig) -> str:
    """What the stored frames of every video depend on."""
    return f"shorter side {model.resize}, {model.fps:g} frames per second"
