"""Everybody on the sampled frames of a video, as tracks."""

import math
from dataclasses import replace

from medvial.gait.blazepose import BlazePose, Circle, Image, Pose, tiles
from medvial.gait.clothes import clothes
from medvial.gait.motion import Region, changed, thumbnail, without
from medvial.gait.patient import overlap
from medvial.gait.track import Box, Sighting, Track, body_box

LEAST_PRESENCE = 0.6  # of the landmark network, for a sighting to be a person
_CHANGED = 0.01  # of a region, for the detector to look there again: a person is more of it
_MUCH_CHANGED = 0.03  # on every second pair of frames, while there are people in sight
_FORGET_S = 1.2  # a track that was not seen for so long is over
_NEAR = 1.0  # by the radius: a person is found again within this distance of where they should be
_SIZES = (0.6, 1.7)  # the radius, by that of the last sighting
_LEAST_RADIUS = 0.04  # by the frame's short side; smaller circles are no person to be analysed
_MOST_RADIUS = 0.9  # by the body's longer side; half of it is usual, more is two people in one
_LOCAL = 1.5  # half side of the region that is searched for a lost person, by the radius
_LATELY_S = 1.0
_STANDS = 0.15  # most that the hips of somebody who stands moved lately, by the radius
_LEAST_TO_SEARCH = 3  # sightings of somebody who is lost, to be searched for
_MIXED = 0.1  # of two boxes: landmarks of one may be the other's while both are in sight
_ONCE_S = 1.0  # what was no person is not looked at again so soon


class Search:
    """Follows everybody from sampled frame to sampled frame.

    A person who was seen is looked for where they should be now, by the landmark network (a
    detection by itself is no proof: it takes sun flares for people). The detector looks at the
    whole frame and at tiles of it for others, with those who are known painted over, for of two who
    are near each other it shows one: only where something other than those people has changed, and
    while somebody is in sight by turns at the whole frame and the most changed tile, less often
    where little has changed. Who stands is looked at on every second frame.

    Args:
        blazepose: The networks; None only keeps thumbnails.
    """

    def __init__(self, blazepose: BlazePose | None) -> None:
        self.tracks: list[Track] = []
        self.thumbnails: list[Image] = []
        self.times_s: list[float] = []
        self._blazepose = blazepose
        self._searched: dict[Region, tuple[Image, list[Region]]] = {}
        """What the frame looked like when the detector was in a region last, and who was there."""
        self._rejected: list[tuple[float, Circle]] = []
        """When and where the detector was wrong lately."""

    def look(self, time_s: float, frame: Image) -> None:
        """Take in the next frame, (H, W, 3) RGB."""
        self.thumbnails.append(thumbnail(frame))
        self.times_s.append(time_s)
        if self._blazepose is not None:
            self._find(self._blazepose, time_s, frame)

    def _find(self, blazepose: BlazePose, time_s: float, frame: Image) -> None:
        alive = [track for track in self.tracks if time_s - track.end_s <= _FORGET_S]
        before_s = self.times_s[-2] if len(self.times_s) > 1 else time_s
        seen = [track for track in alive if track.end_s == before_s]
        found = [_again(blazepose, track, time_s, frame, alive) for track in seen]
        lost = [
            track
            for track in alive
            if track.end_s < before_s and len(track.sightings) >= _LEAST_TO_SEARCH
        ]
        known = _share_out([sighting for sighting in found if sighting], seen + lost)
        for track in (each for each in lost if each.end_s < before_s):
            if sighting := _found_again(blazepose, track, time_s, frame, known):
                track.sightings.append(sighting)
                known.append(sighting)
        circles = self._detect(blazepose, frame, known)
        while others := self._others(blazepose, time_s, frame, circles, known):
            self._newcomers(others, alive)
            known += others
            circles = blazepose.detect_in(_without(frame, known), tiles(*frame.shape[:2])[:1])

    def _others(
        self,
        blazepose: BlazePose,
        time_s: float,
        frame: Image,
        circles: list[Circle],
        known: list[Sighting],
    ) -> list[Sighting]:
        """Those in the circles who are people and not known, each once."""
        self._rejected = [each for each in self._rejected if time_s - each[0] < _ONCE_S]
        wrong = [circle for _, circle in self._rejected]
        found: list[Sighting] = []
        for circle in circles:
            if not _may_be_a_person(circle, frame) or _among(circle, wrong):
                continue
            if _among(circle, [each.circle for each in known + found]):
                continue
            pose = blazepose.pose(frame, circle)
            if not _is_person(pose, circle, frame):
                self._rejected.append((time_s, circle))
                continue
            sighting = _sighting(time_s, pose, frame)
            if _among(pose.circle, [each.circle for each in known + found]):
                continue
            if not any(overlap(sighting.box, each.box) > _MIXED for each in found):
                found.append(sighting)  # who is close to one of those is for the next look
        return found

    def _newcomers(self, found: list[Sighting], alive: list[Track]) -> None:
        """Sightings for tracks that were lost, and new tracks."""
        for sighting in found:
            lost = [track for track in alive if _may_be(track, sighting)]
            track = lost[0] if lost else Track()
            track.sightings.append(sighting)
            if not lost:
                self.tracks.append(track)

    def _detect(self, blazepose: BlazePose, frame: Image, known: list[Sighting]) -> list[Circle]:
        """Whom the detector finds where something has changed; after most changes first."""
        now, width = self.thumbnails[-1], frame.shape[1]
        regions = tiles(*frame.shape[:2])
        people = [_whole(sighting.box) for sighting in known]
        changes = {
            region: changed(before, now, region, width, people + then)
            for region, (before, then) in self._searched.items()
        }
        turn, tile = divmod(len(self.times_s), 2)
        busy = bool(known) and len(self._searched) == len(regions)
        least = _MUCH_CHANGED if busy and turn % 2 else _CHANGED
        due = [region for region in regions if changes.get(region, 1.0) >= least]
        due.sort(key=lambda region: -changes.get(region, 1.0))
        if busy:  # the large are found on the whole frame, the small in tiles: by turns
            due = [region for region in due if (region != regions[0]) == bool(tile)][:1]
        for region in due:
            self._searched[region] = now, people
        return blazepose.detect_in(_without(frame, known), due) if due else []


def _again(
    blazepose: BlazePose, track: Track, time_s: float, frame: Image, alive: list[Track]
) -> Sighting | None:
    """The person of a track, where they should be by now."""
    expected = predicted(track, time_s)
    if _stands(track) and not any(
        _near(predicted(other, time_s), expected) for other in alive if other is not track
    ):
        return replace(track.sightings[-1], time_s=time_s, assumed=True)
    pose = blazepose.pose(frame, expected)
    if _is_person(pose, expected, frame):
        return _sighting(time_s, pose, frame)
    if len(track.sightings) < _LEAST_TO_SEARCH:
        return None
    return _found_again(blazepose, track, time_s, frame, [])


def _found_again(
    blazepose: BlazePose, track: Track, time_s: float, frame: Image, known: list[Sighting]
) -> Sighting | None:
    """The lost person of a track, by the detector: the nearest to where they should be."""
    expected = predicted(track, time_s)
    taken = [each.circle for each in known]
    circles = blazepose.detect_in(frame, _around(expected, frame))
    for circle in sorted(circles, key=lambda each: _distance(each, expected)):
        if not _continues(circle, expected) or _among(circle, taken):
            continue
        pose = blazepose.pose(frame, circle)
        if _is_person(pose, expected, frame) and not _among(pose.circle, taken):
            return _sighting(time_s, pose, frame)
    return None


def _share_out(found: list[Sighting], tracks: list[Track]) -> list[Sighting]:
    """Give each sighting to whoever was expected nearest to it, and each person once.

    Two who cross are one person for the networks: the one behind is lost for that moment, and the
    sighting is not always of whom it was looked for.
    """
    claims = [
        (_distance(sighting.circle, expected) / expected.radius, place, number)
        for place, track in enumerate(tracks)
        for number, sighting in enumerate(found)
        if _continues(sighting.circle, expected := predicted(track, sighting.time_s))
    ]
    given: dict[int, Sighting] = {}
    for _, place, number in sorted(claims):
        sighting = found[number]
        if place not in given and not _among(sighting.circle, [s.circle for s in given.values()]):
            given[place] = sighting
    for place, sighting in given.items():
        tracks[place].sightings.append(sighting)
    return list(given.values())


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


def _distance(circle: Circle, other: Circle) -> float:
    return math.hypot(circle.x - other.x, circle.y - other.y)


def _near(circle: Circle, other: Circle) -> bool:
    return _distance(circle, other) <= circle.radius + other.radius


def _continues(circle: Circle, expected: Circle) -> bool:
    ratio = circle.radius / expected.radius
    near = _distance(circle, expected) <= _NEAR * expected.radius
    return near and _SIZES[0] <= ratio <= _SIZES[1]


def _is_person(pose: Pose, expected: Circle, frame: Image) -> bool:
    height, width = frame.shape[:2]
    inside = 0 <= pose.circle.x < width and 0 <= pose.circle.y < height
    x0, y0, x1, y1 = body_box(pose)
    fits = pose.circle.radius <= _MOST_RADIUS * max(x1 - x0, y1 - y0)
    return inside and fits and pose.presence >= LEAST_PRESENCE and _continues(pose.circle, expected)


def _may_be_a_person(circle: Circle, frame: Image) -> bool:
    height, width = frame.shape[:2]
    inside = 0 <= circle.x < width and 0 <= circle.y < height
    return inside and circle.radius >= _LEAST_RADIUS * min(height, width)


def _among(circle: Circle, others: list[Circle]) -> bool:
    return any(circle.same_person(other) for other in others)


def _may_be(track: Track, sighting: Sighting) -> bool:
    """Whether somebody who is found may be the lost one of a track."""
    time_s = sighting.time_s
    return track.end_s < time_s and _continues(sighting.circle, predicted(track, time_s))


def _stands(track: Track) -> bool:
    """Whether somebody stood for a while, and was looked at on the last frame."""
    last = track.sightings[-1]
    if last.assumed or last.time_s - track.start_s < _LATELY_S:
        return False
    lately = [each for each in track.sightings if last.time_s - each.time_s <= _LATELY_S]
    x = [each.circle.x for each in lately]
    return max(x) - min(x) <= _STANDS * last.circle.radius


def _around(circle: Circle, frame: Image) -> list[Region]:
    height, width = frame.shape[:2]
    if not (0 <= circle.x < width and 0 <= circle.y < height):
        return []  # gone
    reach = _LOCAL * circle.radius
    x0, y0 = max(0, int(circle.x - reach)), max(0, int(circle.y - reach))
    x1, y1 = min(width, int(circle.x + reach)), min(height, int(circle.y + reach))
    return [(x0, y0, x1, y1)] if x1 - x0 >= 16 and y1 - y0 >= 16 else []


def _without(frame: Image, known: list[Sighting]) -> Image:
    """The frame without those who are known, who would hide others from the detector."""
    return without(frame, [_whole(sighting.box) for sighting in known])


def _whole(box: Box) -> Region:
    x0, y0, x1, y1 = box
    return math.floor(x0), math.floor(y0), math.ceil(x1), math.ceil(y1)


def _sighting(time_s: float, pose: Pose, frame: Image) -> Sighting:
    worn = clothes(frame, pose.points)
    return Sighting(time_s, body_box(pose), pose.circle, pose.presence, worn)
