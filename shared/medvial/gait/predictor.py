"""A model folder of gait, or of video classification, ready for whatever it can do."""

from pathlib import Path
from typing import Any

from medvial.errors import InputError
from medvial.gait.blazepose import BlazePose
from medvial.gait.config import LEG_AGILITY, TASK, WALKING, Config
from medvial.gait.leg_agility.predictor import AgilityResult, LegAgilityPredictor
from medvial.gait.walking.predictor import Progress, WalkingPredictor, WalkResult
from medvial.models import ModelFolder
from medvial.outputs import read_json
from medvial.video_classification.learned import Learned
from medvial.video_classification.predictor import TASK as VIDEO_TASK
from medvial.video_classification.predictor import VideoPredictor, VideoResult

POSTPROCESS = "postprocess.json"
"""What was learned on validation patients after training, by system."""


class Predictor:
    """Everything that one model folder can do; a case that asks for more is refused by name.

    The task `gait` has two systems, of which one alone is allowed; the task `video` has its own.
    """

    def __init__(self, model_folder: Path) -> None:
        """Load and verify the model.

        Raises:
            InputError: The folder is incomplete, altered, or of another task, or the networks that
                find people are missing.
        """
        self.folder = ModelFolder.open(model_folder, task=(TASK, VIDEO_TASK))
        self.trained_on: dict[str, Any] = self.folder.manifest.training.get("data") or {}
        self._walking: WalkingPredictor | None = None
        self._leg_agility: LegAgilityPredictor | None = None
        self._video: VideoPredictor | None = None
        if self.folder.manifest.task == VIDEO_TASK:
            self._video = VideoPredictor(self.folder)
        else:
            self._load_systems()

    def walking(self, path: Path, *, progress: Progress | None = None) -> WalkResult:
        """Classify a walking video; see `WalkingPredictor`."""
        if self._walking is None:
            raise self._lacks(TASK, WALKING)
        return self._walking(path, progress=progress)

    def leg_agility(
        self, path: Path, *, fps: float | None = None, progress: Progress | None = None
    ) -> AgilityResult:
        """Rate both legs.

        Args:
            path: A ZIP archive or a folder of OpenPose's JSON, or a video.
            fps: Of the video that OpenPose has seen, where that is known.
            progress: Called with steps done and steps in all.
        """
        if self._leg_agility is None:
            raise self._lacks(TASK, LEG_AGILITY)
        if path.is_dir() or path.suffix.lower() == ".zip":
            return self._leg_agility.from_openpose(path, fps=fps)
        return self._leg_agility.from_video(path, progress=progress)

    def video(self, path: Path, *, progress: Progress | None = None) -> VideoResult:
        """Classify a video as a whole; see `VideoPredictor`."""
        if self._video is None:
            raise self._lacks(VIDEO_TASK, "")
        return self._video(path, progress=progress)

    @property
    def labels(self) -> tuple[str, ...]:
        """Classes of a model of the task video."""
        return () if self._video is None else self._video.config.labels

    def _load_systems(self) -> None:
        config = Config.of(self.folder)
        learned = self.folder.read_json(POSTPROCESS)
        blazepose = BlazePose()
        if config.walking is not None:
            self._walking = WalkingPredictor(
                self.folder, config.walking, Learned.from_dict(learned[WALKING]), blazepose
            )
        if config.leg_agility is not None:
            self._leg_agility = LegAgilityPredictor(
                self.folder, config.leg_agility, learned[LEG_AGILITY] or {}, blazepose
            )

    def _lacks(self, task: str, system: str) -> InputError:
        there = {WALKING: self._walking, LEG_AGILITY: self._leg_agility, VIDEO_TASK: self._video}
        can = " and ".join(name.replace("_", " ") for name, value in there.items() if value)
        needed = f"the system {system.replace('_', ' ')} of {task}" if system else f"task {task}"
        return InputError(
            f"Expected a model with {needed} in {self.folder.path}, got one of {can}. Mount the "
            "model that this input is for."
        )


def read_frame_rate(path: Path | None) -> float | None:
    """Frames per second of the video that OpenPose has seen; None where the case has none.

    Raises:
        InputError: It is no number.
    """
    if path is None:
        return None
    value = read_json(path)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"Expected the frames per second as a number in {path}, got {value!r}.")
    try:
        return float(value)
    except OverflowError:
        raise InputError(
            f"Expected the frames per second in {path}, got a number of {len(str(value))} digits."
        ) from None
