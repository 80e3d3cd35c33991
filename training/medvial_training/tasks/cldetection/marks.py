"""What an expert and a model marked on the same films, and the distances between them."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from medvial.cldetection.intervals import Uncertainty
from medvial.cldetection.landmarks import LandmarkSet
from medvial.errors import InputError

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Marks:
    """What an expert and a model marked on N films with L landmarks."""

    landmark_set: LandmarkSet
    image_ids: list[str]
    patient_ids: NDArray[np.str_]
    """(N,); the image id where the patient is not known."""
    mm_per_px: FloatArray
    """(N,) millimetres per pixel of the full-resolution film; NaN = unknown."""
    expert: FloatArray
    """(N, L, 2) as (x, y) in pixels of the full-resolution film; NaN = not marked."""
    predicted: FloatArray
    """(N, L, 2), as `expert`; NaN = not found, which counts as not detected."""
    probability: FloatArray | None = None
    """(N, L) predicted P(error < 2 mm), 0 to 1."""
    corrected: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=bool))
    """(N, L) landmarks that the shape prior moved; none if not given."""
    faces_left: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=bool))
    """(N,) films that face left; none if not given."""
    uncertainty: list[Uncertainty] | None = None
    """Of the predictions, per film; None where the model gives none."""
    clusters: NDArray[np.str_] = field(default_factory=lambda: np.zeros(0, dtype=np.str_))
    """(N,) what is independent: films of one patient, or repeats of one picture, share a name.

    The patients if not given."""

    def __post_init__(self) -> None:
        """Fill what was not given, and refuse arrays that don't fit together.

        Raises:
            InputError: A shape differs from what the films and the landmark set give.
        """
        films, landmarks = len(self.image_ids), len(self.landmark_set)
        if not self.corrected.size:
            object.__setattr__(self, "corrected", np.zeros((films, landmarks), dtype=bool))
        if not self.faces_left.size:
            object.__setattr__(self, "faces_left", np.zeros(films, dtype=bool))
        if not self.clusters.size:
            object.__setattr__(self, "clusters", self.patient_ids)
        expected = {
            "patient_ids": (films,),
            "clusters": (films,),
            "mm_per_px": (films,),
            "expert": (films, landmarks, 2),
            "predicted": (films, landmarks, 2),
            "corrected": (films, landmarks),
            "faces_left": (films,),
        }
        if self.probability is not None:
            expected["probability"] = (films, landmarks)
        for name, shape in expected.items():
            got = getattr(self, name).shape
            if got != shape:
                raise InputError(f"Expected {name} of shape {shape}, got {got}.")

    @property
    def patients_known(self) -> bool:
        """Whether patients were named, or only films."""
        return self.patient_ids.tolist() != self.image_ids

    @property
    def marked(self) -> NDArray[np.bool_]:
        """(N, L) landmarks that the expert marked."""
        return np.isfinite(self.expert[..., 0]) & np.isfinite(self.expert[..., 1])

    @property
    def scaled(self) -> NDArray[np.bool_]:
        """(N,) films whose millimetres per pixel are known."""
        return np.isfinite(self.mm_per_px)

    @property
    def error_px(self) -> FloatArray:
        """(N, L) distance between prediction and expert; NaN where either is missing."""
        offset = self.predicted - self.expert
        return np.hypot(offset[..., 0], offset[..., 1])

    @property
    def error_mm(self) -> FloatArray:
        """(N, L) distance in mm; NaN too where the film has no scale."""
        return self.error_px * self.mm_per_px[:, None]

    @property
    def offset_mm(self) -> FloatArray:
        """(N, L, 2) prediction minus expert, mm; +x towards the face's front, +y down."""
        offset: FloatArray = (self.predicted - self.expert) * self.mm_per_px[:, None, None]
        front = np.where(self.faces_left, -1.0, 1.0)
        offset[..., 0] *= front[:, None]
        return offset

    def detected(self, threshold_mm: float) -> FloatArray:
        """(N, L) 1 where the error is below (strictly) the threshold, else 0.

        NaN where the expert marked nothing or the film has no scale; a missing prediction is 0.
        """
        counted = self.marked & self.scaled[:, None]
        return np.where(counted, self.error_mm < threshold_mm, np.nan)
