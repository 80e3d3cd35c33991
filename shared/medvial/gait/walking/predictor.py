"""From a walking video to the probability of adult spinal deformity: the path of the container."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medvial.cine import Cine, CineInfo
from medvial.errors import InputError
from medvial.gait.blazepose import BlazePose
from medvial.gait.crop import crop_times, crops
from medvial.gait.person_quality import PersonQuality, assess
from medvial.gait.tracker import Person, follow
from medvial.gait.walking.clips import facing_right, walking_crop
from medvial.gait.walking.kinematics import Measurement, measure
from medvial.gait.walking.landmarks import walk_landmarks
from medvial.models import ModelFolder, Network, load_network
from medvial.video import open_cine
from medvial.video_classification.classify import Classified, classify
from medvial.video_classification.config import ClipConfig
from medvial.video_classification.learned import Learned
from medvial.video_classification.sampling import view_indices

NAME = "walking"
"""Of the network's files in a model folder."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class WalkResult:
    """One walking video: who was seen on it, and what the network says of them."""

    info: CineInfo
    person: Person
    quality: PersonQuality
    classified: Classified
    label: str
    """What the video is called."""
    config: ClipConfig
    learned: Learned
    kinematics: dict[str, Measurement]
    """By name; see `kinematics.DEFINITIONS`."""

    @property
    def positive(self) -> str:
        """The class that `probability` is of: the model's positive one, else the first."""
        return self.config.positive or self.config.labels[0]

    @property
    def clip_probabilities(self) -> NDArray[np.float64]:
        """(K,) of the positive class in each clip."""
        return self.classified.clip_probabilities[:, self.config.labels.index(self.positive)]

    @property
    def probability(self) -> float:
        """Of the positive class, 0 to 1."""
        return float(self.classified.probabilities[self.config.labels.index(self.positive)])


class WalkingPredictor:
    """The walking system of a model, ready to predict.

    Args:
        folder: The verified model folder.
        config: Of its network.
        learned: How its outputs are read.
        blazepose: Finds the patient.

    Raises:
        InputError: No backend is installed for the network's files.
    """

    def __init__(
        self, folder: ModelFolder, config: ClipConfig, learned: Learned, blazepose: BlazePose
    ) -> None:
        self.config = config
        self.learned = learned
        self.network: Network = load_network(folder, lambda: _build(config), NAME)
        self._blazepose = blazepose

    def __call__(
        self, path: Path, *, fps: float | None = None, progress: Progress | None = None
    ) -> WalkResult:
        """Follow the patient, classify clips of them, and measure the walk.

        The file is read three times, one frame in memory at a time; of the crops only those that
        the clips need are kept.

        Args:
            path: Video or image stack.
            fps: Frames per second, where the file does not say or is wrong.
            progress: Called with steps done and steps in all.

        Raises:
            InputError: The file is no usable video, has one frame, or nobody is on it.
        """
        with open_cine(path, fps=fps) as cine:
            person = follow(cine, self._blazepose, progress=progress)
            _check(person, path)
            quality = assess(person, cine.info.notes)
            classified = self._classify(cine, person, quality.direction)
            walk = walk_landmarks(cine, person, self._blazepose, quality.direction)
            return WalkResult(
                info=cine.info,
                person=person,
                quality=quality,
                classified=classified,
                label=self.learned.label(classified.probabilities, self.config),
                config=self.config,
                learned=self.learned,
                kinematics=measure(walk),
            )

    def _classify(self, cine: Cine, person: Person, direction: str) -> Classified:
        options = walking_crop(self.config)
        times_s = crop_times(person, options)
        _, indices = view_indices(times_s, self.config)
        wanted = set(indices.ravel().tolist())
        pictures: dict[int, NDArray[np.uint8]] = {}
        for index, (_, picture) in enumerate(crops(cine, person, options)):
            if index in wanted:
                pictures[index] = facing_right(picture, direction)
            if len(pictures) == len(wanted):
                break
        last = max(pictures)  # a file that is cut off has fewer frames than it says

        def frames_at(clip: NDArray[np.intp]) -> NDArray[np.uint8]:
            return np.stack([pictures[min(index, last)] for index in clip.tolist()])

        return classify(frames_at, times_s, self.network, self.config, self.learned.temperature)


def _check(person: Person, path: Path) -> None:
    """Refuse what shows no walk at all; what can be doubted is for the quality report.

    Raises:
        InputError: There is one frame, or nobody, and nothing that moves either.
    """
    if len(person.frame_times_s) < 2:
        raise InputError(f"{path}: expected a walking video, got a single frame.")
    if person.method == "frame":
        raise InputError(
            f"{path}: expected a person who walks, found nobody and nothing that moves. Is this a "
            "walking video, and is the person at least a fifth of the picture's height?"
        )


def _build(config: ClipConfig) -> Any:
    from medvial.video_classification.model import build_model  # torch is absent from slim images

    return build_model(config)
