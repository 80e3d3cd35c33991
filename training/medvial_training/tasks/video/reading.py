"""Reading a video, or a folder of frames, at the size and rate that training uses."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from medvial.cine import DEFAULT_FPS, Cine
from medvial.errors import InputError
from medvial.video import open_cine
from medvial.video_classification import ClipConfig
from medvial.video_classification.preprocess import resize_frame
from medvial.video_classification.sampling import thinned_indices
from medvial_training.clips.spool import spooled
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
        return self._of_pictures() if self.video.path.is_dir() else self._of_file()

    def _of_pictures(self) -> Frames:
        files = frame_files(self.video.path)
        kept, times_s, segment = self._kept(np.arange(len(files)) / (self.fps or DEFAULT_FPS))
        pictures = (_picture(files[index], self.resize) for index in kept)
        try:
            return Frames(spooled(pictures), times_s, {"segment": segment})
        except InputError as error:
            raise InputError(f"{self.video.path}: {error}") from None

    def _of_file(self) -> Frames:
        """Read once; twice where only that tells how many frames can be decoded, and when."""
        with open_cine(self.video.path) as cine:
            stated = cine.info.frame_times_s or _times_when_read(cine)
            frames, times_s, segment = self._of_cine(cine, stated)
            found = cine.info.frame_times_s or ()
            if found != stated:  # damaged
                frames, times_s, segment = self._of_cine(cine, found)
            notes = {"fps": cine.info.fps, "notes": list(cine.info.notes), "segment": segment}
        return Frames(frames, times_s, notes)

    def _of_cine(
        self, cine: Cine, all_times_s: tuple[float, ...]
    ) -> tuple[NDArray[np.uint8], NDArray[np.float64], list[int]]:
        kept, times_s, segment = self._kept(np.asarray(all_times_s, dtype=np.float64))
        wanted = set(kept.tolist())
        frames = (resize_frame(f, self.resize) for i, f in enumerate(cine) if i in wanted)
        return spooled(frames), times_s, segment

    def _kept(
        self, times_s: NDArray[np.float64]
    ) -> tuple[NDArray[np.intp], NDArray[np.float64], list[int]]:
        """The frames that are kept, their times from the segment's beginning, and the segment."""
        first, end = self._range(len(times_s))
        times_s = times_s[first:end] - times_s[first]
        kept = thinned_indices(times_s, self.fps)
        return first + kept, times_s[kept], [first, end - 1]

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


def _times_when_read(cine: Cine) -> tuple[float, ...]:
    """Of a file that does not list them."""
    for _ in cine:
        pass
    return cine.info.frame_times_s or ()


def _picture(path: Path, resize: int) -> NDArray[np.uint8]:
    encoded = np.fromfile(path, dtype=np.uint8)  # OpenCV cannot open every path itself
    picture = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if encoded.size else None
    if picture is None:
        raise InputError(f"{path}: expected a picture, got something else or half a file.")
    return resize_frame(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), resize)


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
