"""From a file with a video to its class: the path of the container."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medvial.cine import Cine, CineInfo
from medvial.models import ModelFolder, Network, load_network
from medvial.video import open_cine
from medvial.video_classification.classify import Classified, Progress, classify
from medvial.video_classification.config import ClipConfig
from medvial.video_classification.learned import Learned
from medvial.video_classification.preprocess import resize_frame
from medvial.video_classification.sampling import duration_s, thinned_indices, view_indices

TASK = "video"
POSTPROCESS = "postprocess.json"

_SHORT = 0.9  # of a clip: a frame or two less changes nothing


@dataclass(frozen=True)
class VideoResult:
    """One video: what it is, and what the network says of it."""

    info: CineInfo
    classified: Classified
    label: str
    """What the video is called."""
    notes: tuple[str, ...]
    """What was odd about the file, or is to be known of the result; one sentence each."""


class VideoPredictor:
    """A model folder of video classification, ready to predict.

    Args:
        folder: The verified model folder.

    Raises:
        InputError: It is incomplete, or no backend is installed for the network's files.
    """

    def __init__(self, folder: ModelFolder) -> None:
        self.config: ClipConfig = folder.config(ClipConfig)
        self.learned = Learned.from_dict(folder.read_json(POSTPROCESS))
        self.trained_on: dict[str, Any] = folder.manifest.training.get("data") or {}
        self.network: Network = load_network(folder, lambda: _build(self.config))

    def __call__(
        self, path: Path, *, fps: float | None = None, progress: Progress | None = None
    ) -> VideoResult:
        """Classify a video.

        The file is read one frame at a time, and only the frames that the clips need are kept:
        memory does not grow with the length of the video.

        Args:
            path: Video, image stack or DICOM file.
            fps: Frames per second, where the file does not say or is wrong.
            progress: Called with clips done and clips in all.

        Raises:
            InputError: The file is no usable video.
        """
        with open_cine(path, fps=fps) as cine:
            times_s, frames = read_clip_frames(cine, self.config)
            info = cine.info
        classified = classify(
            lambda indices: np.stack([frames[i] for i in indices.tolist()]),
            times_s,
            self.network,
            self.config,
            self.learned.temperature,
            progress,
        )
        return VideoResult(
            info=info,
            classified=classified,
            label=self.learned.label(classified.probabilities, self.config),
            notes=info.notes + _notes(info, times_s, self.config),
        )


def read_clip_frames(
    cine: Cine, config: ClipConfig
) -> tuple[NDArray[np.float64], dict[int, NDArray[np.uint8]]]:
    """The frames of a video's clips, their shorter side resized.

    The clips follow from the times of all frames, which are known for sure once the file has been
    read to its end: where other frames turn out to be needed than those that it stated, as of a
    damaged file, it is read once more.

    Args:
        cine: The video; its `info` is complete afterwards.
        config: What a clip is, and `fps` and `resize`.

    Returns:
        times_s: (T,) time of each frame at `fps`, in seconds from the first, as step 1 stores them.
        frames: (h, w, 3) uint8 RGB by their number among those T, for the clips only.

    Raises:
        InputError: Not one frame can be decoded.
    """
    _, wanted = _wanted(cine, config)
    while True:
        frames = {
            wanted[place]: resize_frame(frame, config.resize)
            for place, frame in enumerate(cine)
            if place in wanted
        }
        times_s, exact = _wanted(cine, config)
        if exact == wanted:
            return times_s, frames
        wanted = exact


def _wanted(cine: Cine, config: ClipConfig) -> tuple[NDArray[np.float64], dict[int, int]]:
    """Times (T,) of the frames at `fps`; of those in clips, the place in the file to the number."""
    all_times_s = np.asarray(cine.info.frame_times_s or (), dtype=np.float64)
    kept = thinned_indices(all_times_s, config.fps)
    times_s = all_times_s[kept]
    if len(times_s) == 0:
        return times_s, {}
    numbers = np.unique(view_indices(times_s, config)[1])
    return times_s, {int(kept[number]): int(number) for number in numbers}


def _notes(info: CineInfo, times_s: NDArray[np.float64], config: ClipConfig) -> tuple[str, ...]:
    if info.frame_count == 1:
        return ("A single frame: nothing moves, and its class is a guess.",)
    length_s = duration_s(times_s)
    if length_s < _SHORT * config.clip_s:
        return (
            f"The video lasts {length_s:.2f} s, the clips that the network was trained on "
            f"{config.clip_s:g} s: its last frame was repeated.",
        )
    return ()


def _build(config: ClipConfig) -> Any:
    from medvial.video_classification.model import build_model  # torch is absent from slim images

    return build_model(config)
