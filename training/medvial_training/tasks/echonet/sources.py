"""Videos and what is known of them, whatever layout they come in."""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from medvial.video import CINE_SUFFIXES

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Clip:
    """A video brought to the networks' size."""

    frames: NDArray[np.uint8]
    """(T, H, W) grey."""
    masks: dict[int, NDArray[np.uint8]] = field(default_factory=dict)
    """Masks that came with the frames, by frame: (H, W) uint8 {0, 1}."""
    to_network: NDArray[np.float64] | None = None
    """(2, 3) from (x, y) in pixels of the file to pixels of the networks; None changes nothing."""
    fps: float = math.nan
    """As the container takes it: of the file, or its default where the file says nothing."""
    spacing_mm: float = math.nan
    """Size of a network pixel, in millimetres."""
    times_s: NDArray[np.float64] | None = None
    """(T,) seconds from the first frame, where the frames do not come evenly."""
    notes: tuple[str, ...] = ()
    """What is damaged or odd about the file; one sentence each."""


@dataclass
class RawVideo:
    """One video as its source lists it; NaN and empty text where something is not known."""

    name: str
    path: Path
    read: Callable[[], Clip]
    """Reads the file; runs in another process."""
    patient: str
    split: str = ""
    ef: float = math.nan
    """Ejection fraction, percent."""
    esv: float = math.nan
    """End-systolic volume, mL."""
    edv: float = math.nan
    """End-diastolic volume, mL."""
    fps: float = math.nan
    frame_count: float = math.nan
    """As listed; the file may hold another number."""
    tracings: dict[int, NDArray[np.float64]] = field(default_factory=dict)
    """By frame: (R, 4) rows X1, Y1, X2, Y2 in pixels of the file, the long axis first."""

    @property
    def version(self) -> list[int]:
        """Changes with the file."""
        status = self.path.stat()
        return [status.st_size, status.st_mtime_ns]


@dataclass
class RawData:
    """What a source holds."""

    videos: list[RawVideo]
    rejected: list[tuple[str, str]] = field(default_factory=list)
    """(video, reason) of everything that is listed but not used, or not used whole."""


def video_name(listed: str) -> str:
    """A video's name without folder and extension, as tables list it with or without these."""
    path = PurePosixPath(listed.strip().replace("\\", "/"))
    return path.stem if path.suffix.lower() in CINE_SUFFIXES else path.name
