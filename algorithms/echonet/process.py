"""Apical four-chamber echocardiogram: ejection fraction, left ventricle, and a report."""

import logging
from pathlib import Path

from medvial.algorithm import Algorithm
from medvial.echonet.predictor import Predictor
from medvial.echonet.results import flag_line, study_report
from medvial.errors import InputError
from medvial.video import CINE_SUFFIXES

INPUTS = ("echocardiogram", "echocardiogram-video", "echocardiogram-dicom")

log = logging.getLogger(__name__)


class EjectionFraction(Algorithm):
    """Measure the ejection fraction of an apical four-chamber cine."""

    def load(self) -> None:
        """Load and verify the model."""
        self.predictor = Predictor(self.model_path)

    def predict(self) -> None:
        """Analyse the case's one cine, whichever form it comes in."""
        (path,) = [path for slug in INPUTS if (path := self.input_for(slug))]
        self.study = self.predictor(only_file(path), progress=self.report_progress)

    def save(self) -> None:
        """The number, the masks in the geometry of the input, and the report."""
        study = self.study
        report = study_report(study, self.predictor.learned, self.predictor.trained_on)
        value = report["ejection_fraction"]["value_percent"]
        log.info("Ejection fraction %.1f %%; %s", value, flag_line(study.flags))
        if warning := report["model"]["warning"]:
            log.info("Note: %s", warning)
        self.write_output("ejection-fraction", value)
        self.write_output("echocardiogram-report", report)
        with self.image_output("left-ventricle-segmentation", study.info.geometry) as image:
            for mask in study.masks():
                image.write(mask)


def only_file(path: Path) -> Path:
    """The file of an input: the path itself, or the one file in its folder.

    Raises:
        InputError: The folder holds none, or several.
    """
    if not path.is_dir():
        return path
    there = sorted(p for p in path.iterdir() if p.is_file() and p.name[0] != ".")
    files = [p for p in there if p.suffix.lower() in CINE_SUFFIXES] or there
    if len(files) != 1:
        raise InputError(
            f"Expected one cine in {path}, got {[p.name for p in files[:5]] or 'nothing'}. "
            "A case is one recording."
        )
    return files[0]


if __name__ == "__main__":
    raise SystemExit(EjectionFraction.main())
