"""Gait: adult spinal deformity from walking videos, leg agility of both legs, classes of videos."""

import logging
from pathlib import Path

from medvial.algorithm import Algorithm
from medvial.gait.predictor import Predictor, read_frame_rate
from medvial.gait.results import (
    Outputs,
    agility_outputs,
    phantom_note,
    video_outputs,
    walking_outputs,
)

log = logging.getLogger(__name__)


class Gait(Algorithm):
    """Classify a walking video, rate leg agility, or classify a video, as the case asks."""

    def load(self) -> None:
        """Load and verify the model, and the networks that find people."""
        self.predictor = Predictor(self.model_path)

    def predict(self) -> None:
        """Analyse the case's one recording by the system that it is for."""
        if walk := self.input_for("walking-video") or self.image_for("walking"):
            self.outputs = self.walking(walk)
        elif recording := self.input_for("leg-agility-video") or self.keypoints():
            self.outputs = self.leg_agility(recording)
        elif video := self.input_for("video"):
            result = self.predictor.video(video, progress=self.report_progress)
            self.outputs = video_outputs(result, self.predictor.labels)

    def save(self) -> None:
        """Every output that the case's interface has."""
        log.info("%s", self.outputs.line)
        if note := phantom_note(self.predictor.trained_on):
            log.info("Note: %s", note)
        for slug, value in self.outputs.values.items():
            self.write_output(slug, value)

    def walking(self, path: Path) -> Outputs:
        """Adult spinal deformity from a video or an image stack."""
        result = self.predictor.walking(path, progress=self.report_progress)
        return walking_outputs(result, self.predictor.trained_on)

    def leg_agility(self, path: Path) -> Outputs:
        """Item 3.8 of the MDS-UPDRS from a video or OpenPose's keypoints."""
        fps = read_frame_rate(self.input_for("frames-per-second"))
        result = self.predictor.leg_agility(path, fps=fps, progress=self.report_progress)
        return agility_outputs(result, self.predictor.trained_on)

    def keypoints(self) -> Path | None:
        """The archive of OpenPose's files; the input folder, where the platform has unpacked it."""
        path = self.input_for("leg-agility-openpose")
        return self.input_path if path is not None and not path.exists() else path


if __name__ == "__main__":
    raise SystemExit(Gait.main())
