"""From OpenPose's keypoints or a video to the rating of both legs: the path of the container."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medvial.errors import InputError
from medvial.gait.blazepose import BlazePose
from medvial.gait.keypoint_patient import select_patient
from medvial.gait.leg_agility.config import LegConfig
from medvial.gait.leg_agility.rating import NAME, LegRating, rate
from medvial.gait.leg_agility.signals import LEGS, Leg
from medvial.gait.openpose import read_openpose
from medvial.gait.skeletons import Keypoints
from medvial.gait.video_keypoints import body25_of_cine
from medvial.models import ModelFolder, Network, load_network
from medvial.video import open_cine

UNRATED = -1
"""The score of an unrated leg where a whole number is required, as the platform does."""
UNUSABLE = frozenset({"trunk-not-seen", "short", "knee-not-seen"})
"""Reasons that lie in the recording: where both legs have one, it is none of leg agility."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class AgilityResult:
    """One recording of leg agility."""

    kind: str
    """"openpose", or the format of the video."""
    points: Keypoints
    """(T, 25, 3) BODY_25 of the patient, pixels."""
    times_s: NDArray[np.float64]
    """(T,) of the frames."""
    notes: tuple[str, ...]
    ratings: dict[Leg, LegRating]

    def score(self, leg: Leg) -> int:
        """0 to 4, or `UNRATED`."""
        score = self.ratings[leg].score
        return UNRATED if score is None else score


class LegAgilityPredictor:
    """The leg agility system of a model, ready to rate.

    Args:
        folder: The verified model folder.
        config: Of its network.
        learned: How its outputs are read.
        blazepose: Finds the patient on videos.

    Raises:
        InputError: No backend is installed for the network's files.
    """

    def __init__(
        self,
        folder: ModelFolder,
        config: LegConfig,
        learned: Mapping[str, Any],
        blazepose: BlazePose,
    ) -> None:
        self.config = config
        self.learned = learned
        self.network: Network = load_network(folder, lambda: _build(config), NAME)
        self._blazepose = blazepose

    def from_openpose(self, path: Path, *, fps: float | None = None) -> AgilityResult:
        """Rate OpenPose's keypoints.

        Args:
            path: ZIP archive or folder of one JSON file a frame.
            fps: Of the video that they were made of; None takes 30, and notes it.

        Raises:
            InputError: They cannot be read, or show no leg that could be looked at.
        """
        patient = select_patient(read_openpose(path, fps=fps))
        return self._rate(path, "openpose", patient.points, patient.times_s, patient.notes)

    def from_video(self, path: Path, *, progress: Progress | None = None) -> AgilityResult:
        """Rate a video.

        Args:
            path: Video of any kind that `open_cine` reads.
            progress: Called with steps done and steps in all.

        Raises:
            InputError: It is no usable video, nobody is on it, or no leg that could be looked at.
        """
        with open_cine(path) as cine:
            found = body25_of_cine(cine, self._blazepose, progress)
            return self._rate(path, cine.info.kind, *found)

    def _rate(
        self,
        path: Path,
        kind: str,
        points: Keypoints,
        times_s: NDArray[np.float64],
        notes: tuple[str, ...],
    ) -> AgilityResult:
        ratings = rate(points, times_s, self.network, self.config, self.learned)
        refused = [ratings[leg].analysis.quality.refused for leg in LEGS]
        if all(any(reason.name in UNUSABLE for reason in reasons) for reasons in refused):
            told = dict.fromkeys(reason.message for reasons in refused for reason in reasons)
            raise InputError(
                f"{path}: expected a leg agility test, neither leg can be looked at: "
                f"{'; '.join(told)}."
            )
        return AgilityResult(kind, points, times_s, notes, ratings)


def _build(config: LegConfig) -> Any:
    from medvial.gait.leg_agility.model import build_model  # torch is absent from slim images

    return build_model(config)
