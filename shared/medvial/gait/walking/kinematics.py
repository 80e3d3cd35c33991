"""A walk seen from the side in numbers: trunk, rhythm, knee and hip, from landmarks.

Angles are those of lines between joints as they appear in the picture, with the picture's vertical
as the vertical: a tilted camera tilts them, and a walk that is not across the picture shortens
them. Segments and signs follow Winter, Biomechanics and Motor Control of Human Movement, 2009,
section 3.3: an angle of a segment to the vertical is positive forwards, flexion is positive. They
are no measurement by a gait laboratory.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from medvial.errors import InputError
from medvial.gait.blazepose import LEFT_HIP, LEFT_SHOULDER, RIGHT_HIP, RIGHT_SHOULDER
from medvial.gait.track import Points
from medvial.gait.walking.landmarks import WalkLandmarks
from medvial.gait.walking.rhythm import find_rhythm

_LEGS = {"left": (23, 25, 27), "right": (24, 26, 28)}  # hip, knee, ankle: BlazePose's order
_LEAST_VISIBILITY = 0.5
_LEAST_PART = 0.6  # of the frames, with the landmarks that a measurement needs
_LEAST_SECONDS = 1.0
_LEAST_HZ = 8.0  # a swing phase lasts .4 s


@dataclass(frozen=True)
class Measurement:
    """One number of a walk, or why there is none."""

    unit: str
    definition: str
    value: float | None = None
    spread: float | None = None
    """Standard deviation over frames or steps; None for a single one."""
    count: int = 0
    """Frames or steps that it comes from."""
    unavailable: str | None = None

    def as_json(self) -> dict[str, Any]:
        """For a report; an unavailable value is null and says why."""
        shown = {"value": _rounded(self.value), "unit": self.unit, "definition": self.definition}
        if self.unavailable:
            return {**shown, "unavailable": self.unavailable}
        return {**shown, "spread": _rounded(self.spread), "count": self.count}


DEFINITIONS = {
    "trunk_inclination": (
        "deg",
        "Mean angle between the line from the middle of the hips to the middle of the shoulders "
        "and the vertical; forwards is positive.",
    ),
    "cadence": ("steps/min", "60 divided by the step time."),
    "step_time": (
        "s",
        "Time after which the distance of the ankles along the walk repeats (its autocorrelation), "
        "at about the median time between its greatest values, one a step at about heel strike.",
    ),
    "knee_flexion_peak": (
        "deg",
        "98th percentile of the angle between thigh and shank of the near leg; straight is 0.",
    ),
    "knee_range": (
        "deg",
        "2nd to 98th percentile of the angle between thigh and shank of the near leg.",
    ),
    "hip_range": (
        "deg",
        "2nd to 98th percentile of the angle between thigh and trunk of the near leg.",
    ),
    "hip_extension_peak": (
        "deg",
        "2nd percentile of the angle between thigh and trunk of the near leg; flexion is positive.",
    ),
}
"""Unit and definition of each measurement, by its name in reports."""


def measure(walk: WalkLandmarks) -> dict[str, Measurement]:
    """All of `DEFINITIONS`, by name; each is unavailable, and says why, where it must be."""
    reason = _unusable(walk)
    if reason:
        return {name: _missing(name, reason) for name in DEFINITIONS}
    forward = -1.0 if walk.direction == "left" else 1.0
    # Forwards, and up; where a landmark is hidden there is NaN.
    hidden = walk.points[..., 2] < _LEAST_VISIBILITY
    points = walk.points[..., :2] * np.array([forward, -1.0])
    points[hidden] = np.nan
    trunk = _trunk(points)
    return {
        "trunk_inclination": _mean("trunk_inclination", trunk),
        **_rhythm(walk.times_s, walk.points[..., :2]),
        **_near_leg(points, _LEGS[walk.direction], trunk),
    }


def near_leg(direction: str) -> str | None:
    """The leg towards the camera, "left" or "right"; None for no walk across the picture.

    Who goes to the left in a picture shows the left side.
    """
    return direction if direction in _LEGS else None


def _unusable(walk: WalkLandmarks) -> str | None:
    if near_leg(walk.direction) is None:
        return "The person does not walk across the picture."
    if len(walk.times_s) < 2 or walk.times_s[-1] - walk.times_s[0] < _LEAST_SECONDS:
        return f"The walk is in sight for less than {_LEAST_SECONDS:g} s."
    if 1 / float(np.median(np.diff(walk.times_s))) < _LEAST_HZ:
        return f"The video has fewer than {_LEAST_HZ:g} frames a second."
    return None


def _trunk(points: Points) -> Points:
    """(T,) angle of the trunk to the vertical in degrees, forwards positive."""
    hips = points[:, [LEFT_HIP, RIGHT_HIP]].mean(axis=1)
    shoulders = points[:, [LEFT_SHOULDER, RIGHT_SHOULDER]].mean(axis=1)
    return _to_vertical(shoulders - hips)


def _near_leg(points: Points, leg: tuple[int, int, int], trunk: Points) -> dict[str, Measurement]:
    hip, knee, ankle = (points[:, joint] for joint in leg)
    thigh, shank = _to_vertical(hip - knee), _to_vertical(knee - ankle)
    # A thigh that points forwards leans back from the knee up.
    knee_deg, hip_deg = shank - thigh, trunk - thigh
    return {
        "knee_flexion_peak": _percentile("knee_flexion_peak", knee_deg, 98),
        "knee_range": _percentile("knee_range", knee_deg, 98, 2),
        "hip_range": _percentile("hip_range", hip_deg, 98, 2),
        "hip_extension_peak": _percentile("hip_extension_peak", hip_deg, 2),
    }


def _rhythm(times_s: Points, points: Points) -> dict[str, Measurement]:
    """Step time and cadence."""
    apart = np.abs(points[:, _LEGS["left"][2], 0] - points[:, _LEGS["right"][2], 0])
    try:
        rhythm = find_rhythm(times_s, apart)
    except InputError as error:
        return {name: _missing(name, str(error)) for name in ("step_time", "cadence")}
    step, spread, count = rhythm.step_s, rhythm.spread_s, rhythm.count
    scaled = None if spread is None else 60 * spread / step**2
    return {
        "step_time": _found("step_time", step, spread, count),
        "cadence": _found("cadence", 60 / step, scaled, count),
    }


def _to_vertical(upwards: Points) -> Points:
    """(T,) angle in degrees of (T, 2) lines (forwards, up) to the vertical."""
    return np.degrees(np.arctan2(upwards[:, 0], upwards[:, 1]))


def _mean(name: str, values: Points) -> Measurement:
    known = values[np.isfinite(values)]
    if len(known) < _LEAST_PART * len(values):
        return _missing(name, _hidden(known, values))
    return _found(name, float(known.mean()), float(known.std()), len(known))


def _percentile(name: str, values: Points, high: float, low: float | None = None) -> Measurement:
    known = values[np.isfinite(values)]
    if len(known) < _LEAST_PART * len(values):
        return _missing(name, _hidden(known, values))
    value = float(np.percentile(known, high))
    if low is not None:
        value -= float(np.percentile(known, low))
    return _found(name, value, None, len(known))


def _hidden(known: Points, values: Points) -> str:
    return f"Its joints are in sight on {len(known)} of {len(values)} frames only."


def _found(name: str, value: float, spread: float | None, count: int) -> Measurement:
    unit, definition = DEFINITIONS[name]
    return Measurement(unit, definition, value, spread, count)


def _missing(name: str, why: str) -> Measurement:
    unit, definition = DEFINITIONS[name]
    return Measurement(unit, definition, unavailable=why)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
