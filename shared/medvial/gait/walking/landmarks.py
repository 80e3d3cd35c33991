"""A walker's landmarks, frame by frame."""

from dataclasses import dataclass

import numpy as np

from medvial.cine import Cine
from medvial.gait.ahead import read_ahead
from medvial.gait.blazepose import LANDMARKS, BlazePose
from medvial.gait.search import LEAST_PRESENCE
from medvial.gait.track import Points
from medvial.gait.tracker import Person, sampled

LANDMARK_HZ = 15.0
LONGEST_S = 30.0  # of a walk; longer ones are measured on their middle


@dataclass(frozen=True)
class WalkLandmarks:
    """Landmarks over the time in which the walker is in sight."""

    times_s: Points
    """(T,) seconds of the video."""
    points: Points
    """(T, 33, 3): x and y in pixels of the frame (y down), visibility 0 to 1; NaN, NaN, 0 on frames
    without the person."""
    direction: str
    """Where the person goes in the picture: "left", "right" or "none"."""


def walk_landmarks(
    cine: Cine, person: Person, blazepose: BlazePose, direction: str, hz: float = LANDMARK_HZ
) -> WalkLandmarks:
    """Landmarks of a person who was followed, `hz` times a second.

    Args:
        cine: The video; read once more.
        person: Of `tracker.follow`.
        blazepose: The networks.
        direction: Of `person_quality.assess`.
        hz: Frames a second that are looked at; a video of fewer gives all.

    Raises:
        InputError: Not one frame can be decoded.
    """
    start, end = person.track.start_s, person.track.end_s
    spare = max(0.0, end - start - LONGEST_S) / 2
    times, rows = [], []
    for time_s, frame in read_ahead(sampled(cine, hz)):
        if time_s > end - spare + 1e-6:
            break
        if time_s < start + spare - 1e-6:
            continue
        pose = blazepose.pose(frame, person.track.circles_at(np.array([time_s]))[0])
        row = pose.points.copy()
        if person.method != "pose" or pose.presence < LEAST_PRESENCE:
            row[:] = (np.nan, np.nan, 0.0)
        times.append(time_s)
        rows.append(row)
    points = np.stack(rows) if rows else np.zeros((0, LANDMARKS, 3))
    return WalkLandmarks(np.array(times), points, direction)
