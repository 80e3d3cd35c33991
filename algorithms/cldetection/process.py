"""Cephalometric landmarks: a case's films to landmarks and measurements."""

from pathlib import Path

from medvial.algorithm import Algorithm
from medvial.cldetection.predictor import Predictor
from medvial.cldetection.results import (
    ImageResult,
    count_images,
    landmark_points,
    measurement_report,
    predict_files,
    read_calibration,
    require_any,
)
from medvial.stacks import find_image_files


class CephalometricLandmarks(Algorithm):
    """Find the landmarks of lateral cephalograms."""

    def load(self) -> None:
        """Load and verify the model."""
        self.predictor = Predictor(self.model_path)

    def predict(self) -> None:
        """Predict every image of every file, one image in memory at a time."""
        folder = self.input_for("lateral-dental-x-rays") or Path()
        calibration = read_calibration(self.input_for("millimetres-per-pixel"))
        paths = find_image_files(folder)
        total = count_images(paths)
        self.results: list[ImageResult] = []
        for result in predict_files(self.predictor, paths, calibration):
            self.results.append(result)
            self.report_progress(len(self.results), total)
        require_any(self.results)

    def save(self) -> None:
        """Landmarks in the challenge's form, and the measurements derived from them."""
        landmark_set, config = self.predictor.landmark_set, self.predictor.config
        points = landmark_points(self.results, landmark_set, config)
        self.write_output("orthodontic-landmarks", points)
        report = measurement_report(self.results, landmark_set)
        self.write_output("cephalometric-measurements", report)


if __name__ == "__main__":
    raise SystemExit(CephalometricLandmarks.main())
