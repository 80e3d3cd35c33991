"""Which of the people on a video is the patient."""

import numpy as np

from medvial.errors import InputError
from medvial.gait.track import Box, Track, as_box

LEAST_SIGHTINGS = 3  # of a track, to be a person at all: two can be the same mistake twice
WALKING = 0.7  # a path sideways of so many own heights makes a walker
_WALKING_SLOWLY, _LEAST_SPEED = 0.15, 0.2  # a shorter path too, at so many heights a second
_FULL_SCORE = 5  # sightings; who was seen less often counts less
RIVAL = 0.6  # a second person who scores this part of the patient's might be the patient
_COMPANION = (
    0.4  # so much of the patient's score has who walks alongside, if in sight for less long
)
_NEARER = 0.03  # feet so much lower in the picture, by the body's height, are nearer
_LEAST_OVERLAP = 0.2  # of a box given by the user with a person's


def people(tracks: list[Track]) -> list[Track]:
    """Tracks that are people, the likeliest patient first.

    Whoever walks sideways (`walks`) comes before whoever does not.
    Among walkers the longest path in the picture counts, which is that of the near and large ones
    for the same way in metres; among those who stand, size and time in the picture. Of walkers
    who walk alongside, the one nearest to the camera comes first: the patient is filmed so that a
    companion does not hide them.
    """
    found = [track for track in tracks if len(track.sightings) >= LEAST_SIGHTINGS] or tracks
    ranked = sorted(found, key=lambda track: (not walks(track), -score(track)))
    if not ranked or not walks(ranked[0]):
        return ranked
    least = _COMPANION * score(ranked[0])
    companions = [
        track
        for track in ranked[1:]
        if walks(track) and score(track) >= least and _alongside(ranked[0], track)
    ]
    together = [ranked[0], *companions]
    nearest = max(together, key=_feet_px)
    if _feet_px(nearest) - _feet_px(ranked[0]) < _NEARER * ranked[0].height_px:
        return ranked
    return [nearest, *(track for track in ranked if track is not nearest)]


def _alongside(one: Track, other: Track) -> bool:
    """Whether two walk the same way at about the same speed while both are in sight."""
    start, end = max(one.start_s, other.start_s), min(one.end_s, other.end_s)
    ways = []
    for track in (one, other):
        places = [each.circle.x for each in track.sightings if start <= each.time_s <= end]
        if len(places) < LEAST_SIGHTINGS:
            return False
        ways.append(places[-1] - places[0])
    shorter, longer = sorted(ways, key=abs)
    return shorter * longer > 0 and abs(shorter) >= RIVAL * abs(longer)


def _feet_px(track: Track) -> float:
    """How far down the picture the feet are."""
    return float(np.median(track.boxes[:, 3]))


def walks(track: Track) -> bool:
    """Whether the person walks sideways through the picture, if only for a moment at its edge."""
    path = track.path_px / track.height_px
    speed = path / max(track.end_s - track.start_s, 0.5)
    return path >= WALKING or (path >= _WALKING_SLOWLY and speed >= _LEAST_SPEED)


def score(track: Track) -> float:
    """How much a person looks like the patient, in pixels; comparable within walkers or others.

    Who was seen seldom counts less: of two who walk side by side that is the one behind, who is
    hidden by the other.
    """
    size = track.path_px if walks(track) else track.height_px
    return size * min(1.0, len(track.sightings) / _FULL_SCORE) * _seen_part(track)


def _seen_part(track: Track) -> float:
    """Of the moments looked at from the first to the last sighting, those with the person."""
    if len(track.sightings) < 2:
        return 1.0
    looks = 1 + (track.end_s - track.start_s) / float(np.median(np.diff(track.times_s)))
    return min(1.0, len(track.sightings) / looks)


def rivals(ranked: list[Track]) -> list[Track]:
    """People other than the first who might as well be the patient.

    Those are who scores nearly as much, and, where the first has hardly moved, who stands as large.
    """
    return [track for track in ranked[1:] if _rivals(ranked[0], track)]


def _rivals(first: Track, other: Track) -> bool:
    if walks(other) == walks(first):
        return score(other) >= RIVAL * score(first)
    hardly_moved = first.path_px < WALKING * first.height_px
    seen = len(other.sightings) >= LEAST_SIGHTINGS
    return hardly_moved and seen and other.height_px >= RIVAL * first.height_px


def at_box(ranked: list[Track], box: Box, time_s: float | None = None) -> list[Track]:
    """The same people, first the one whom the user points at.

    Args:
        ranked: The people on the video.
        box: x0, y0, x1, y1 in pixels, roughly around the patient.
        time_s: When they are there; None matches the box at any time.

    Raises:
        InputError: The box is none, or nobody is there.
    """
    if not (np.isfinite(box).all() and box[2] > box[0] and box[3] > box[1]):
        raise InputError(f"Expected the patient's box as x0 y0 x1 y1 in pixels, got {_shown(box)}.")
    overlaps = [_best_overlap(track, box, time_s) for track in ranked]
    if not overlaps or max(overlaps) < _LEAST_OVERLAP:
        when = "" if time_s is None else f" at {time_s:g} s"
        others = "; ".join(_shown(track.sightings[0].box) for track in ranked) or "nobody"
        raise InputError(
            f"Expected a person at the patient's box {_shown(box)}{when}, found none there. "
            f"Boxes where people were first seen: {others}."
        )
    best = int(np.argmax(overlaps))
    return [ranked[best], *ranked[:best], *ranked[best + 1 :]]


def overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes, 0 to 1."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return width * height / (sum(areas) - width * height)


def _best_overlap(track: Track, box: Box, time_s: float | None) -> float:
    if time_s is None:
        return max(overlap(sighting.box, box) for sighting in track.sightings)
    if not track.start_s - 0.5 <= time_s <= track.end_s + 0.5:
        return 0.0
    found = track.boxes_at(np.array([time_s]))[0]
    return overlap(as_box(found), box)


def _shown(box: Box) -> str:
    return " ".join(f"{value:.0f}" for value in box)
