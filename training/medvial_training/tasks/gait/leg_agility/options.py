"""How raw leg agility recordings and their scores are read, in step 1."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from medvial.errors import InputError
from medvial.gait.skeletons import find_skeleton

FLAG = "--leg_agility_options"


@dataclass(frozen=True)
class LegOptions:
    """How raw recordings and their scores are read."""

    labels: Path | None = None
    """Sheet of scores: .xls, .xlsx or .csv; the only one in the source folder if not given."""

    sheet: str | None = None
    """Name of a workbook's sheet; the first if not given."""

    video_column: str = "VideoId"
    """Column that names the recording."""

    left_column: str = "mds_updrs_left"
    """Column with the score of the patient's left leg."""

    right_column: str = "mds_updrs_right"
    """Column with the score of the right leg."""

    unrated: tuple[str, ...] = ("X",)
    """What stands where a leg was not rated, besides nothing at all; in either case."""

    patient_column: str | None = None
    """Column that names the patient; Patient, Subject ID, PID, MRN or their like if there. Name
    the recordings' own column where each is of another patient."""

    patient_pattern: str | None = None
    """Instead: regular expression that finds the patient in a recording's name, as its first group
    or as a whole, for example CG1_([0-9]+)_."""

    site_column: str | None = None
    """Column that names the hospital, for folds by site."""

    input: Literal["auto", "openpose", "video"] = "auto"
    """What is read where a recording has both: auto takes OpenPose's files."""

    order: str | None = None
    """OpenPose's order of joints: body_25, body_25b or coco; found by itself if not given."""

    fps: float | None = None
    """Frames per second of the filmed videos, which OpenPose's files do not say; 30 if not given.
    Videos have their own."""

    repeats: int = 1
    """How often the cross-validation is done over, each time with other folds."""

    def __post_init__(self) -> None:
        """Refuse what cannot be read, before anything is."""
        object.__setattr__(self, "unrated", tuple(self.unrated))  # a list, read from YAML
        if self.patient_column is not None and self.patient_pattern is not None:
            raise InputError("Expected patient_column or patient_pattern, got both.")
        if self.repeats < 1:
            raise InputError(f"Expected repeats of at least 1, got {self.repeats}.")
        if self.fps is not None and not 0 < self.fps <= 1000:
            raise InputError(f"Expected fps above 0 and up to 1000, got {self.fps:g}.")
        if self.order is not None:
            find_skeleton(self.order)
        try:
            re.compile(self.patient_pattern or "")
        except re.error as error:
            raise InputError(
                f"Expected a regular expression for patient_pattern, got "
                f"{self.patient_pattern!r}: {error}."
            ) from None
