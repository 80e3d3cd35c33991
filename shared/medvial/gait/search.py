"""Everybody on the sampled frames of a video, as tracks."""

import math
from dataclasses import replace

from medvial.gait.blazepose import BlazePose, Circle, Image, Pose, tiles
from medvial.gait.motion import Region, changed, thumbnail
from medvial.gait.track import Box, Sighting, Track, body_box

LEAST_PRESENCE = 0.6  # of the landmark network, for a sighting to be a person
_CHANGED = 0.01  # of a region, for the detector to look there again: a person is more of it
_FORGET_S = 1.2  # a track that was not seen for so long is over
_NEAR = 1.0  # by the radius: a person is found again within this distance of where they should be
_SIZES = (0.6, 1.7)  # the radius, by that of the last sighting
_LEAST_RADIUS = 0.04  # by the frame's short side; smaller circles are no person to be analysed
_MOST_RADIUS = 0.9  # by the body's longer side; half of it is usual, more is two people in one
_LOCAL = 1.5  # half side of the region that is searched for a lost person, by the radius


class Search:
    """Follows everybody from sampled frame to sampled frame.

    A person who was seen is looked for where they should be now, by the landmark network (a
    detection by itself is no proof: it takes sun flares for people). The detector looks at the
    whole frame and at tiles of it for others: only where something other than those people has
    changed, and while somebody is in sight by turns at the whole frame and the most changed tile.

    Args:
        blazepose: The networks; None only keeps thumbnails.
    """

    def __init__(self, blazepose: BlazePose | None) -> None:
        self.tracks: list[Track] = []
        self.thumbnails: list[Image] = []
        self.times_s: list[float] = []
        self._blazepose = blazepose
        self._searched: dict[Region, Image] = {}
        """What a region looked like when the detector was there last."""
        self._people: list[Region] = []
        """Where people were on the last frame."""

    def look(self, time_s: float, frame: Image) -> None:
        """Take in the next frame, (H, W, 3) RGB."""
        self.thumbnails.append(thumbnail(frame))
        self.times_s.append(time_s)
        if self._blazepose is not None:
            self._find(self._blazepose, time_s, frame)

    def _find(self, blazepose: BlazePose, time_s: float, frame: Image) -> None:
        alive = [track for track in self.tracks if time_s - track.end_s <= _FORGET_S]
        before_s = self.times_s[-2] if len(self.times_s) > 1 else time_s
        again = [
            (track, _again(blazepose, track, time_s, frame, lost=track.end_s < before_s))
            for track in alive
        ]
        poses = self._one_each(time_s, [(track, pose) for track, pose in again if pose])
        circles = self._detect(blazepose, frame, poses)
        self._newcomers(time_s, _others(blazepose, frame, circles, poses), alive)

    def _one_each(self, time_s: float, found: list[tuple[Track, Pose]]) -> list[Pose]:
        """Sightings for the tracks; where two claim the same person, the longer one gets it."""
        kept: list[Pose] = []
        for track, pose in sorted(found, key=lambda pair: -len(pair[0].sightings)):
            if not any(pose.circle.same_person(other.circle) for other in kept):
                kept.append(pose)
                track.sightings.append(_sighting(time_s, pose))
        return kept

    def _newcomers(self, time_s: float, poses: list[Pose], alive: list[Track]) -> None:
        """Sightings for tracks that were lost, and new tracks."""
        for pose in poses:
            lost = [
                track
                for track in alive
                if track.end_s < time_s and _continues(pose.circle, predicted(track, time_s))
            ]
            track = lost[0] if lost else Track()
            track.sightings.append(_sighting(time_s, pose))
            if not lost:
                self.tracks.append(track)

    def _detect(self, blazepose: BlazePose, frame: Image, poses: list[Pose]) -> list[Circle]:
        """Whom the detector finds where something has changed; after most changes first."""
        now, width = self.thumbnails[-1], frame.shape[1]
        regions = tiles(*frame.shape[:2])
        boxes = [_whole(body_box(pose)) for pose in poses]
        people = boxes + self._people
        self._people = boxes
        changes = {
            region: changed(self._searched[region], now, region, width, people)
            if region in self._searched
            else 1.0
            for region in regions
        }
        due = [region for region in regions if changes[region] >= _CHANGED]
        due.sort(key=lambda region: -changes[region])
        if poses and len(self._searched) == len(regions):
            # The large are found on the whole frame, the small in tiles: by turns.
            whole = len(self.times_s) % 2 == 0
            due = [region for region in due if (region == regions[0]) == whole][:1]
        for region in due:
            self._searched[region] = now
        return blazepose.detect_in(frame, due)


def _again(
    blazepose: BlazePose, track: Track, time_s: float, frame: Image, lost: bool
) -> Pose | None:
    """The person of a track, where they should be by now; those lost are to be detected anew."""
    expected = predicted(track, time_s)
    if not lost:
        pose = blazepose.pose(frame, expected)
        if _is_person(pose, expected, frame):
            return pose
    for circle in blazepose.detect_in(frame, _around(expected, frame)):
        if _continues(circle, expected):
            pose = blazepose.pose(frame, circle)
            if _is_person(pose, expected, frame):
                return pose
    return None


def _others(
    blazepose: BlazePose, frame: Image, circles: list[Circle], known: list[Pose]
) -> list[Pose]:
    """Poses of those in the circles who are people and not known yet."""
    found: list[Pose] = []
    least = _LEAST_RADIUS * min(frame.shape[:2])
    for circle in circles:
        if circle.radius < least or _among(circle, known + found):
            continue
        pose = blazepose.pose(frame, circle)
        if _is_person(pose, circle, frame) and not _among(pose.circle, known + found):
            found.append(pose)
    return found


def predicted(track: Track, time_s: float) -> Circle:
    """Where a track's person should be, going on as in the last half second or so."""
    last = track.sightings[-1]
    before = next(
        (each for each in reversed(track.sightings) if last.time_s - each.time_s >= 0.3),
        track.sightings[0],
    )
    elapsed = last.time_s - before.time_s
    if elapsed <= 0:
        return last.circle
    ahead = min(time_s - last.time_s, _FORGET_S) / elapsed
    return replace(
        last.circle,
        x=last.circle.x + ahead * (last.circle.x - before.circle.x),
        y=last.circle.y + ahead * (last.circle.y - before.circle.y),
    )


def _continues(circle: Circle, expected: Circle) -> bool:
    distance = math.hypot(circle.x - expected.x, circle.y - expected.y)
    ratio = circle.radius / expected.radius
    return distance <= _NEAR * expected.radius and _SIZES[0] <= ratio <= _SIZES[1]


def _is_person(pose: Pose, expected: Circle, frame: Image) -> bool:
    height, width = frame.shape[:2]
    inside = 0 <= pose.circle.x < width and 0 <= pose.circle.y < height
    x0, y0, x1, y1 = body_box(pose)
    fits = pose.circle.radius <= _MOST_RADIUS * max(x1 - x0, y1 - y0)
    return inside and fits and pose.presence >= LEAST_PRESENCE and _continues(pose.circle, expected)


def _among(circle: Circle, poses: list[Pose]) -> bool:
    return any(circle.same_person(pose.circle) for pose in poses)


def _around(circle: Circle, frame: Image) -> list[Region]:
    height, width = frame.shape[:2]
    reach = _LOCAL * circle.radius
    x0, y0 = max(0, int(circle.x - reach)), max(0, int(circle.y - reach))
    x1, y1 = min(width, int(circle.x + reach)), min(height, int(circle.y + reach))
    return [(x0, y0, x1, y1)] if x1 - x0 >= 16 and y1 - y0 >= 16 else []


def _whole(box: Box) -> Region:
    x0, y0, x1, y1 = box
    return math.floor(x0), math.floor(y0), math.ceil(x1), math.ceil(y1)


def _sighting(time_s: float, pose: Pose) -> Sighting:
    return Sighting(time_s, body_box(pose), pose.circle, pose.presence)
