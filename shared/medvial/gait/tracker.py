"""From a video to one patient: where they are at any time, and how well that is known."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from medvial.cine import Cine
from medvial.gait.ahead import read_ahead
from medvial.gait.blazepose import BlazePose, Circle, Image
from medvial.gait.linking import join
from medvial.gait.motion import moving_boxes
from medvial.gait.patient import LEAST_SIGHTINGS, at_box, people, rivals
from medvial.gait.search import Search
from medvial.gait.track import Box, Points, Sighting, Track

SAMPLED_HZ = 5.0
"""Frames a second that are looked at; a walker goes about a third of their height meanwhile."""

Method = Literal["pose", "motion", "frame"]


@dataclass(frozen=True)
class Person:
    """The patient on a video."""

    track: Track
    method: Method
    """Seen by BlazePose; something that moved; nobody was found and the box is the whole frame."""
    others: tuple[Track, ...]
    """Other people, the likeliest patient among them first."""
    rivals: tuple[Track, ...]
    """Those of them who might as well be the patient."""
    chosen_by_user: bool
    sampled_s: Points
    """(S,) times of the frames that were looked at."""
    frame_times_s: Points
    """(T,) times of all frames."""
    height: int
    width: int
    """Of a frame, pixels."""

    @property
    def boxes(self) -> Points:
        """(T, 4) a smoothed box for every frame: x0, y0, x1, y1, pixels, within the frame."""
        return clipped(self.track.boxes_at(self.frame_times_s), self.height, self.width)


def follow(
    cine: Cine,
    blazepose: BlazePose | None = None,
    *,
    patient_box: Box | None = None,
    patient_time_s: float | None = None,
    sampled_hz: float = SAMPLED_HZ,
    progress: Callable[[int, int], None] | None = None,
) -> Person:
    """Find the patient on a video and follow them from its first to its last frame.

    Args:
        cine: The video; read once, one frame in memory at a time.
        blazepose: The networks; None looks at motion alone.
        patient_box: Roughly around the patient, x0, y0, x1, y1 in pixels; None chooses whoever
            walks the longest way across the picture (`patient.people`).
        patient_time_s: When the patient is in that box; None is at any time.
        sampled_hz: Frames a second that are looked at.
        progress: Called with frames looked at and frames in all.

    Raises:
        InputError: Not one frame can be decoded, or nobody is at `patient_box`.
    """
    search = Search(blazepose)
    total = max(1, round(len(frame_times(cine)) * sampled_hz / cine.info.fps))
    for time_s, frame in read_ahead(sampled(cine, sampled_hz)):
        search.look(time_s, frame)
        if progress:
            progress(min(len(search.times_s), total), total)
    ranked = people(join(search.tracks))
    if patient_box is not None:
        ranked = at_box(ranked, patient_box, patient_time_s)
    track, method = _track(ranked, search, cine)
    return Person(
        track=track,
        method=method,
        others=tuple(ranked[1:]),
        rivals=tuple(rivals(ranked)) if patient_box is None else (),
        chosen_by_user=patient_box is not None,
        sampled_s=np.array(search.times_s),
        frame_times_s=np.array(frame_times(cine)),
        height=cine.info.height,
        width=cine.info.width,
    )


def sampled(cine: Cine, hz: float) -> Iterator[tuple[float, Image]]:
    """Times and frames (H, W, 3) RGB, `hz` a second by their time stamps.

    A video of fewer frames a second, or a stretch of it, gives all it has.
    """
    step = _step(frame_times(cine), hz)
    due, tolerance = 0.0, 0.5 * step / cine.info.fps
    for time_s, frame in cine.every(step):
        if time_s >= due - tolerance:
            due = max(due + 1 / hz, time_s + 0.5 / hz)
            yield time_s, colour(frame)


def _step(times_s: tuple[float, ...], hz: float) -> int:
    """Every how manieth frame has to be seen for `hz` a second, in its slow stretches too."""
    if len(times_s) < 2:
        return 1
    intervals = np.diff(times_s)
    mean_s = float(intervals.mean())
    frames = 1 / (hz * mean_s)
    if np.ptp(intervals) < 0.2 * mean_s and abs(frames - round(frames)) < 0.01:
        return max(1, round(frames))  # an even rate that is a multiple: no other frame is needed
    slow_s = float(np.percentile(intervals, 99))
    return max(1, int(0.5 / (hz * slow_s) + 1e-6))


def colour(frame: Image) -> Image:
    """A grey frame (H, W) as RGB (H, W, 3); others as they are."""
    return frame if frame.ndim == 3 else cv2.cvtColor(frame, cv2.COLOR_GRAY2RGB).astype(np.uint8)


def frame_times(cine: Cine) -> tuple[float, ...]:
    """Times of all frames in seconds, from the first; even ones where the file says no more."""
    count = cine.info.frame_count or 1
    return cine.info.frame_times_s or tuple(i / cine.info.fps for i in range(count))


def clipped(boxes: Points, height: int, width: int) -> Points:
    """(T, 4) boxes, cut to a frame."""
    limits = np.array([width, height, width, height], np.float64)
    return np.clip(boxes, 0.0, limits)


def _track(ranked: list[Track], search: Search, cine: Cine) -> tuple[Track, Method]:
    """The likeliest patient, or the next best thing to follow."""
    short = len(search.times_s) < 2 * LEAST_SIGHTINGS
    if ranked and (short or len(ranked[0].sightings) >= LEAST_SIGHTINGS):
        return ranked[0], "pose"
    moving = moving_boxes(search.thumbnails, cine.info.width)
    if len(moving) >= LEAST_SIGHTINGS:
        return Track([_unseen(search.times_s[i], box) for i, box in moving]), "motion"
    if ranked:
        return ranked[0], "pose"
    whole = (0.0, 0.0, float(cine.info.width), float(cine.info.height))
    return Track([_unseen(search.times_s[0], whole)]), "frame"


def _unseen(time_s: float, box: Box) -> Sighting:
    """A box that BlazePose does not stand for."""
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return Sighting(time_s, box, Circle(x, y, max(1.0, 0.55 * (box[3] - box[1])), 0.0, 0.0), 0.0)
