"""Reading one recording for step 1, in a process of its own."""

import dataclasses
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from medvial.errors import InputError
from medvial.gait.leg_agility.criteria import worst_level
from medvial.gait.leg_agility.inputs import analyse_both
from medvial.gait.leg_agility.rating import unrated
from medvial.gait.leg_agility.signals import LEGS, Leg
from medvial.outputs import write_bytes
from medvial_training.tasks.gait.leg_agility.copies import Trace, trace_of
from medvial_training.tasks.gait.leg_agility.labels import Rated
from medvial_training.tasks.gait.leg_agility.options import LegOptions
from medvial_training.tasks.gait.leg_agility.recordings import KEYPOINTS, Stored
from medvial_training.tasks.gait.leg_agility.sheets import contact_sheet
from medvial_training.tasks.gait.leg_agility.sources import Recording, read_recording

SHEETS = "sheets"


@dataclass(frozen=True)
class Job:
    """One recording to read."""

    rated: Rated
    recording: Recording
    options: LegOptions
    out: Path


@dataclass(frozen=True)
class LegQuality:
    """What can be said of a leg without a network."""

    unused: str = ""
    """Why it cannot be rated."""
    doubts: str = ""
    taps: int = 0
    criteria: int | None = None
    """Level of the item's worst criterion, as the taps read."""


@dataclass(frozen=True)
class Clip:
    """What became of a recording."""

    rated: Rated
    file: str
    kind: str
    reason: str = ""
    """Why it cannot be used."""
    sha256: str = ""
    frames: int = 0
    duration_s: float = 0.0
    seen: float = 0.0
    """Share of the frames that have the patient."""
    people: int = 0
    notes: tuple[str, ...] = ()
    legs: dict[Leg, LegQuality] = field(default_factory=dict)
    trace: Trace = field(default_factory=lambda: np.empty((2, 0)))
    """That tells copies; see `copies.trace_of`."""

    @property
    def video(self) -> str:
        """Its name: that of the sheet, as a file may be called."""
        return safe_name(self.rated.video)

    @property
    def worse(self) -> int | str:
        """Score of the worse leg of those that can be used; empty without any."""
        scores = [score for leg in LEGS if (score := self.usable(leg)) is not None]
        return max(scores, default="")

    def usable(self, leg: Leg) -> int | None:
        """The leg's score; None where it was not rated or cannot be."""
        return None if self.legs[leg].unused else self.rated.scores[leg]

    def without(self, leg: Leg, why: str) -> "Clip":
        """The same with one leg that is not used."""
        told = dataclasses.replace(self.legs[leg], unused=why)
        return dataclasses.replace(self, legs=self.legs | {leg: told})


def safe_name(video: str) -> str:
    """A name that a file can have anywhere."""
    return re.sub(r'[\\/:*?"<>|\s]+', "_", video).strip(".")


def file_name(video: str) -> str:
    """Of its keypoints."""
    return f"{video}.npz"


def read_clip(job: Job) -> Clip:
    """Read one recording, write its keypoints and contact sheet, look at both legs.

    Keypoints that are there of the same files and settings are kept.
    """
    clip = Clip(job.rated, job.recording.path.name, job.recording.kind)
    try:
        stored = _stored(job, clip.video)
    except InputError as error:
        return dataclasses.replace(clip, reason=str(error))
    agility = analyse_both(stored.points, stored.times_s)
    legs = {}
    for leg in LEGS:
        analysis = agility.of(leg)
        legs[leg] = LegQuality(
            "; ".join(reason.message for reason in unrated(analysis)),
            "; ".join(reason.message for reason in analysis.quality.doubts),
            len(analysis.movement.taps),
            worst_level(analysis.readings),
        )
    seen = (stored.points[..., 2] > 0).any(axis=1)
    return dataclasses.replace(
        clip,
        sha256=stored.sha256,
        frames=len(stored.points),
        duration_s=round(float(stored.times_s[-1]), 3),
        seen=round(float(np.mean(seen)), 4),
        people=stored.people,
        notes=stored.notes,
        legs=legs,
        trace=trace_of(agility.signals),
    )


def _stored(job: Job, video: str) -> Stored:
    """The keypoints, read anew unless they are there."""
    path = job.out / KEYPOINTS / file_name(video)
    sheet = job.out / SHEETS / f"{video}.png"
    if path.is_file() and sheet.is_file():
        try:
            stored = Stored.read(path)
        except InputError:  # damaged
            stored = None
        if stored is not None and stored.key == job.recording.version(job.options):
            return stored
    stored, people = read_recording(job.recording, job.options)
    write_bytes(sheet, contact_sheet(stored.points, stored.times_s, people))
    stored.write(path)
    return Stored.read(path)  # rounded as it will be read from now on
