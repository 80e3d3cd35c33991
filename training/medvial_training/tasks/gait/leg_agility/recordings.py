"""The prepared recordings of leg agility: keypoints of the patient, scores, what may be used."""

import hashlib
import io
import json
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medvial.errors import InputError
from medvial.gait.leg_agility.signals import LEGS, Leg
from medvial.gait.skeletons import Keypoints
from medvial.outputs import write_bytes

KEYPOINTS, VIDEOS, LEG_TABLE = "keypoints", "videos.csv", "legs.csv"


@dataclass(frozen=True)
class Stored:
    """One recording's keypoints, in a file of its own: keypoints/VIDEO.npz."""

    points: Keypoints
    """(T, 25, 3) BODY_25 of the patient, all frames: x and y in pixels, confidence 0 to 1; NaN,
    NaN, 0 where missing."""
    times_s: NDArray[np.float64]
    """(T,) from the first frame, increasing."""
    key: str
    """Changes with the raw files and with the settings that they are read with."""
    people: int
    """Most people in a frame."""
    notes: tuple[str, ...] = ()

    @property
    def sha256(self) -> str:
        """Of the content: equal for a recording that was copied under another name."""
        points = np.round(self.points, 2).astype(np.float32)
        return hashlib.sha256(points.tobytes() + self.times_s.tobytes()).hexdigest()

    def write(self, path: Path) -> None:
        """Write it, whole or not at all."""
        file = io.BytesIO()
        about = {"key": self.key, "people": self.people, "notes": self.notes}
        arrays: dict[str, Any] = {"points": self.points.astype(np.float32), "times_s": self.times_s}
        np.savez_compressed(file, **arrays, about=json.dumps(about))
        write_bytes(path, file.getvalue())

    @classmethod
    def read(cls, path: Path) -> "Stored":
        """Read it.

        Raises:
            InputError: The file is missing or damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                points, times_s = file["points"].astype(np.float64), file["times_s"]
                about = json.loads(str(file["about"]))
        except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error) as error:
            raise InputError(
                f"Expected keypoints in {path}, got: {error}. Run step 1 again."
            ) from None
        return cls(points, times_s, about["key"], about["people"], tuple(about["notes"]))


@dataclass(frozen=True)
class LegSample:
    """One leg of one recording, with its score."""

    video: str
    patient: str
    leg: Leg
    score: int
    """0 to 4, by the clinician."""


@dataclass(frozen=True)
class Recordings:
    """What step 1 left."""

    data: Path
    table: pd.DataFrame = field(repr=False)
    """videos.csv, a row a recording, all text."""
    legs: pd.DataFrame = field(repr=False)
    """legs.csv, a row a leg, all text."""

    @classmethod
    def open(cls, data: Path) -> "Recordings":
        """Read the tables of a prepared folder.

        Raises:
            InputError: One is missing.
        """
        return cls(data, _table(data / VIDEOS), _table(data / LEG_TABLE))

    def samples(self, videos: pd.Series, *, used: bool = True) -> list[LegSample]:
        """The scored legs of some recordings, left before right.

        Args:
            videos: Their names.
            used: Those that can be rated; False for the others, whose keypoints are too poor.
        """
        rows = self.legs[(self.legs["used"] == str(int(used))) & (self.legs["score"] != "")]
        found = {
            (video, leg): LegSample(video, patient, leg, int(score))
            for video, patient, leg, score in zip(
                rows["video"], rows["patient"], rows["leg"], rows["score"], strict=True
            )
        }
        keys = [(video, leg) for video in videos for leg in LEGS]
        return [found[key] for key in keys if key in found]

    def content(self) -> dict[str, str]:
        """By recording, a text that changes with keypoints, scores, and which legs are used."""
        legs = self.legs[["video", "leg", "score", "used"]]
        found = {video: part.to_csv(index=False) for video, part in legs.groupby("video")}
        rows = zip(self.table["video"], self.table["sha256"], strict=True)
        return {video: digest + found.get(video, "") for video, digest in rows}

    def clip(self, video: str) -> tuple[Keypoints, NDArray[np.float64]]:
        """One recording's keypoints (T, 25, 3) and times (T,)."""
        stored = self.stored(video)
        return stored.points, stored.times_s

    def criteria(self, sample: LegSample) -> int | None:
        """Level of the item's worst criterion, as the taps of this leg read; None without."""
        row = self.legs[(self.legs["video"] == sample.video) & (self.legs["leg"] == sample.leg)]
        level = row["criteria_level"].iloc[0]
        return int(level) if level else None

    def stored(self, video: str) -> Stored:
        """One recording's keypoints."""
        return Stored.read(self.data / KEYPOINTS / f"{video}.npz")


def _table(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise InputError(f"Expected the table {path}, found none. Run step 1 first.")
    return pd.read_csv(path, dtype=str, keep_default_na=False)
