"""How well one person could be followed through a video, and what to say about it."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from medvial.gait.patient import LEAST_SIGHTINGS, WALKING, overlap, walks
from medvial.gait.track import Points, Track, as_box
from medvial.gait.tracker import Method, Person

_LEAST_FOUND = 0.8  # of the frames between first and last sighting
_LONGEST_GAP_S = 0.7
_MOST_JITTER = 0.03  # by the body's height
_LEAST_HEIGHT_PX = 100  # below it BlazePose's landmarks and 112-pixel crops are guesses
_MOST_CUT_OFF = 0.2  # of the frames between first and last sighting
_LEAST_SECONDS = 2.0  # two strides take about that long
_EDGE = 0.01  # by the frame's side: a box that comes so near is cut off
_MOST_UNREAD_S = 0.6  # at the end; frames that were not looked at take up to half a second
_CLOSE = 0.1  # intersection over union with another person's box


@dataclass(frozen=True)
class PersonQuality:
    """What is known of how one person was followed; parts are 0 to 1."""

    method: Method
    frames: int
    """Of the video."""
    sampled: int
    """Frames that were looked at."""
    found: int
    """Of those, frames with the person."""
    in_sight_s: tuple[float, float]
    """First and last sighting, in seconds of the video."""
    found_part: float
    """Of the frames looked at between first and last sighting, those with the person."""
    longest_gap_s: float
    """The longest time between two sightings, beyond the sampling's own."""
    height_px: float
    """Median height of the person."""
    path_heights: float
    """How far the person went sideways, in own heights."""
    direction: str
    """Where the person goes in the picture: "left", "right" or "none"."""
    jitter: float
    """Root mean square of the boxes' height about its smooth course, by the body's height."""
    cut_off_part: float
    """Of the sightings, those with the body partly outside the frame."""
    other_people: int
    crossed_part: float
    """Of the sightings, those with another person close by."""
    warnings: tuple[str, ...]

    @property
    def good(self) -> bool:
        """Whether there is nothing to warn of."""
        return not self.warnings

    def as_json(self) -> dict[str, Any]:
        """For a report: numbers rounded to 4 digits after the point."""
        return {key: _rounded(value) for key, value in asdict(self).items()}


def assess(person: Person, notes: tuple[str, ...] = ()) -> PersonQuality:
    """Quality of how a person was followed.

    Args:
        person: Of `tracker.follow`.
        notes: On the video itself (`cine.info.notes`), taken over into the warnings.
    """
    track, seen = person.track, person.sampled_s
    between = seen[(seen >= track.start_s - 1e-6) & (seen <= track.end_s + 1e-6)]
    found = 0 if person.method == "frame" else len(track.sightings)
    measured = PersonQuality(
        method=person.method,
        frames=len(person.frame_times_s),
        sampled=len(seen),
        found=found,
        in_sight_s=(track.start_s, track.end_s),
        found_part=min(1.0, found / max(1, len(between))),
        longest_gap_s=_longest_gap(track, seen),
        height_px=track.height_px,
        path_heights=track.path_px / max(track.height_px, 1.0),
        direction=_direction(track),
        jitter=_jitter(track),
        cut_off_part=float(_cut_off(person).mean()),
        other_people=sum(len(other.sightings) >= LEAST_SIGHTINGS for other in person.others),
        crossed_part=_crossed(person),
        warnings=(),
    )
    return PersonQuality(
        **{**measured.__dict__, "warnings": (*notes, *_warnings(person, measured))}
    )


def _warnings(person: Person, measured: PersonQuality) -> list[str]:
    told = _of_video(person)
    if person.method == "frame":
        return [
            *told,
            "No person was found: the whole frame was taken. Check that this is a walk.",
        ]
    if person.method == "motion":
        told.append("No person was recognised: the box follows the largest thing that moves.")
    if person.rivals:
        told.append(
            f"{len(person.rivals)} more could be the patient: check the picture, and give the "
            "patient's box if it is the wrong one."
        )
    if measured.path_heights < WALKING:
        told.append(
            f"The person goes {measured.path_heights:.1f} of their height sideways: is this a walk "
            "seen from the side?"
        )
    start, end = measured.in_sight_s
    limits = (
        (end - start < _LEAST_SECONDS, f"The person is in sight for {end - start:.1f} s only."),
        (
            measured.found_part < _LEAST_FOUND,
            f"The person was found in {100 * measured.found_part:.0f} % of the frames looked at.",
        ),
        (
            measured.longest_gap_s > _LONGEST_GAP_S,
            f"The person was out of sight for {measured.longest_gap_s:.1f} s.",
        ),
        (
            measured.height_px < _LEAST_HEIGHT_PX,
            f"The person is {measured.height_px:.0f} pixels high: details are lost.",
        ),
        (
            measured.jitter > _MOST_JITTER,
            f"The box's height trembles by {100 * measured.jitter:.0f} % of itself.",
        ),
        (
            measured.cut_off_part > _MOST_CUT_OFF,
            f"The body is cut off by the frame in {100 * measured.cut_off_part:.0f} % of the "
            "sightings.",
        ),
        (
            measured.crossed_part > 0,
            "Another person comes close: landmarks may be of the wrong one for a moment.",
        ),
    )
    return told + [text for bad, text in limits if bad]


def _of_video(person: Person) -> list[str]:
    """What is wrong with the video itself."""
    if len(person.frame_times_s) < 2:
        return ["The video has one frame only: nothing of a walk can be told from it."]
    read, stated = float(person.sampled_s[-1]), float(person.frame_times_s[-1])
    if stated - read > _MOST_UNREAD_S:
        return [f"Only {read:.1f} s of {stated:.1f} s could be read: is the file damaged?"]
    return []


def _longest_gap(track: Track, sampled_s: Points) -> float:
    if len(track.sightings) < 2:
        return 0.0
    usual = float(np.median(np.diff(sampled_s)))
    return max(0.0, float(np.diff(track.times_s).max()) - usual)


def _direction(track: Track) -> str:
    if not walks(track):
        return "none"
    times, centres = track.times_s, track.boxes[:, [0, 2]].mean(axis=1)
    slope = np.polyfit(times - times[0], centres, 1)[0]
    return "right" if slope > 0 else "left"


def _jitter(track: Track) -> float:
    if len(track.sightings) < LEAST_SIGHTINGS:
        return 0.0
    heights = track.boxes[:, 3] - track.boxes[:, 1]
    smooth = track.boxes_at(track.times_s, smooth_s=0.4)
    residual = heights - (smooth[:, 3] - smooth[:, 1])
    return float(np.sqrt(np.mean(residual**2)) / track.height_px)


def _cut_off(person: Person) -> Points:
    x0, y0, x1, y1 = person.track.boxes.T
    if person.method == "frame":
        return np.zeros(len(x0))
    across, down = _EDGE * person.width, _EDGE * person.height
    # A sole at the lower edge is inside: boxes have a margin that is no body.
    inside = (x0 >= -across) & (x1 <= person.width + across)
    inside &= (y0 >= -down) & (y1 <= person.height + down)
    return (~inside).astype(np.float64)


def _crossed(person: Person) -> float:
    close = [
        any(_near(other, time_s, box) for other in person.others)
        for time_s, box in zip(person.track.times_s, person.track.boxes, strict=True)
    ]
    return float(np.mean(close))


def _near(other: Track, time_s: float, box: Points) -> bool:
    if len(other.sightings) < LEAST_SIGHTINGS or not other.start_s <= time_s <= other.end_s:
        return False
    theirs = other.boxes_at(np.array([time_s]))[0]
    return overlap(as_box(theirs), as_box(box)) > _CLOSE


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, tuple):
        return [_rounded(each) for each in value]
    return value
