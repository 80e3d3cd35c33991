"""From a video of a leg agility test to the patient's keypoints, as OpenPose would give them.

OpenPose is licensed for non-commercial use only; BlazePose's landmarks take its place.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medvial.cine import Cine
from medvial.errors import InputError
from medvial.gait.ahead import read_ahead
from medvial.gait.blazepose import LANDMARKS, BlazePose, Image, Pose
from medvial.gait.keypoint_patient import CLOSE_CALL, patient_score
from medvial.gait.patient import LEAST_SIGHTINGS
from medvial.gait.search import LEAST_PRESENCE
from medvial.gait.skeletons import BLAZEPOSE_33, BODY_25, Keypoints, clean, remap
from medvial.gait.track import Track
from medvial.gait.tracker import Person, follow, frame_times, sampled
from medvial.video import open_cine

MOST_HZ = 60.0
"""Frames a second that are looked at; a faster video gives no more."""
_LEAST_VISIBILITY = 0.3  # a joint below it is a guess of where it would be
_MOST_PEOPLE = 4  # whose legs are looked at
_LEAST_BY_LARGEST = 0.2  # of a person, in sightings times height, to be among them

Progress = Callable[[int, int], None]


class VideoKeypoints(NamedTuple):
    """The patient of one video."""

    points: Keypoints
    """(T, 25, 3) BODY_25: x and y in pixels, confidence 0 to 1; NaN, NaN, 0 where missing."""
    times_s: NDArray[np.float64]
    """(T,) of the frames, increasing, from the video's first."""
    notes: tuple[str, ...]
    """What a reader should know of the video and of who was chosen."""


def body25_of_video(path: Path, blazepose: BlazePose) -> VideoKeypoints:
    """The patient's keypoints through a video file.

    Args:
        path: Video of any kind that `open_cine` reads.
        blazepose: The networks.

    Raises:
        InputError: The file is no usable video, or nobody is on it.
    """
    with open_cine(path) as cine:
        return body25_of_cine(cine, blazepose)


def body25_of_cine(
    cine: Cine, blazepose: BlazePose, progress: Progress | None = None
) -> VideoKeypoints:
    """The patient's keypoints through an open video; it is read twice, a frame at a time.

    Of several people the patient is who moves the legs, is large and long in sight, by the score of
    `keypoint_patient.select_patient`. The visibility of a landmark is its confidence; joints that
    are out of the picture or hidden are missing.

    Args:
        cine: The video.
        blazepose: The networks.
        progress: Called with steps done and steps in all.

    Raises:
        InputError: Not one frame can be decoded, or nobody is on the video.
    """
    person = follow(cine, blazepose)
    if person.method != "pose":
        raise InputError(f"{cine.info.path}: expected a patient, found nobody on the video.")
    tracks = _candidates(person)
    times_s, landmarks = _landmarks(cine, tracks, blazepose, progress)
    points = clean(remap(landmarks, BLAZEPOSE_33, BODY_25))
    scores = [_score(each) for each in points]
    best = int(np.argmax(scores))
    notes = (*cine.info.notes, *_notes(scores, points[best]))
    return VideoKeypoints(points[best], times_s, notes)


def _candidates(person: Person) -> list[Track]:
    """Those whose legs are looked at, the largest in picture and time first."""
    everyone = [person.track, *person.others]
    found = [each for each in everyone if len(each.sightings) >= LEAST_SIGHTINGS] or everyone[:1]
    sizes = {id(each): len(each.sightings) * each.height_px for each in found}
    found.sort(key=lambda each: -sizes[id(each)])
    least = _LEAST_BY_LARGEST * sizes[id(found[0])]
    return [each for each in found if sizes[id(each)] >= least][:_MOST_PEOPLE]


def _landmarks(
    cine: Cine, tracks: list[Track], blazepose: BlazePose, progress: Progress | None
) -> tuple[NDArray[np.float64], Keypoints]:
    """(T,) times, and (P, T, 33, 3) landmarks of each track, missing while it is out of sight."""
    times: list[float] = []
    rows: list[list[Keypoints]] = []
    total = max(1, round(len(frame_times(cine)) * min(1.0, MOST_HZ / cine.info.fps)))
    for time_s, frame in read_ahead(sampled(cine, MOST_HZ)):
        rows.append([_row(track, time_s, frame, blazepose) for track in tracks])
        times.append(time_s)
        if progress:
            progress(min(len(times), total), total)
    return np.array(times), np.stack(rows, axis=1)


def _row(track: Track, time_s: float, frame: Image, blazepose: BlazePose) -> Keypoints:
    """(33, 3) of one person on one frame."""
    around_s = 0.3  # persons are sought at 5 Hz: they are there before and after a sighting
    if track.start_s - around_s <= time_s <= track.end_s + around_s:
        pose = blazepose.pose(frame, track.circles_at(np.array([time_s]))[0])
        if pose.presence >= LEAST_PRESENCE:
            return _seen(pose, frame)
    return np.full((LANDMARKS, 3), (np.nan, np.nan, 0.0))


def _seen(pose: Pose, frame: Image) -> Keypoints:
    """Landmarks that are visible and in the picture; the others are missing."""
    points = pose.points.copy()
    height, width = frame.shape[:2]
    x, y, visibility = points.T
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    points[~inside | (visibility < _LEAST_VISIBILITY)] = (np.nan, np.nan, 0.0)
    return points


def _score(points: Keypoints) -> float:
    """That of `select_patient` for one person, (T, 25, 3)."""
    seen = (points[..., 2] > 0).any(axis=1)
    return float(seen.mean() * patient_score(points[seen])) if seen.any() else 0.0


def _notes(scores: list[float], points: Keypoints) -> list[str]:
    share = float((points[..., 2] > 0).any(axis=1).mean())
    if len(scores) == 1:
        return [f"the patient is in {share:.0%} of the frames"] * (share < 1)
    notes = [f"{len(scores)} people were followed; the patient is in {share:.0%} of the frames"]
    if sorted(scores)[-2] > CLOSE_CALL * max(scores):
        notes.append("another person could as well be the patient: look at the video")
    return notes
