"""Everything that is measured of leg agility in one clip: the kinematic report."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medvial.gait.leg_agility.criteria import Reading, read_criteria, worst_level
from medvial.gait.leg_agility.kinematics import QUANTITIES, Movement, find_movement, measure
from medvial.gait.leg_agility.options import Options
from medvial.gait.leg_agility.quality import Quality, judge
from medvial.gait.leg_agility.signals import LEGS, Leg, LegSignals, leg_signals
from medvial.gait.skeletons import Keypoints

_DIGITS = 4  # significant, in JSON


@dataclass(frozen=True)
class LegAnalysis:
    """One leg."""

    leg: Leg
    """The patient's own left or right."""
    quality: Quality
    movement: Movement
    values: dict[str, float | None]
    """By the names of `QUANTITIES`; None where there are too few taps."""
    readings: tuple[Reading, ...]
    """Empty where the leg cannot be rated."""

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready: units beside numbers; no number is NaN."""
        rateable = self.quality.rateable
        return {
            "rateable": rateable,
            "reasons": [reason.as_dict() for reason in self.quality.refused],
            "doubts": [reason.as_dict() for reason in self.quality.doubts],
            "kinematics": {
                quantity.name: {
                    "value": _rounded(self.values[quantity.name]),
                    "unit": quantity.unit,
                }
                for quantity in QUANTITIES
            },
            "taps": [
                {name: _rounded(value) for name, value in asdict(tap).items() if name != "run"}
                for tap in self.movement.taps
            ],
            "criteria": [reading.as_dict() for reading in self.readings],
            "worst_criterion_level": worst_level(self.readings),
        }


@dataclass(frozen=True)
class LegAgility:
    """Both legs of a clip."""

    left: LegAnalysis
    right: LegAnalysis
    signals: LegSignals
    """What a plot shows."""

    def of(self, leg: Leg) -> LegAnalysis:
        """That of one leg."""
        return self.left if leg == "left" else self.right

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {leg: self.of(leg).as_dict() for leg in LEGS}


def analyse(
    points: Keypoints,
    times_s: NDArray[np.floating],
    *,
    asked: Mapping[Leg, bool] | None = None,
    options: Options | None = None,
) -> LegAgility:
    """Signals, taps, kinematics, quality and criteria of both legs.

    Args:
        points: (T, 25, 3) BODY_25 of the patient, pixels.
        times_s: (T,) of the frames, increasing.
        asked: Which legs the patient was asked to tap in this clip, where that is known.
        options: How; None takes the defaults.

    Raises:
        InputError: The shape is another, or the times do not fit.
    """
    options = options or Options()
    signals = leg_signals(points, times_s, options)
    left, right = (_analyse_leg(signals, leg, (asked or {}).get(leg), options) for leg in LEGS)
    return LegAgility(left, right, signals)


def definitions() -> list[dict[str, str]]:
    """Name, unit, definition and source of each quantity, for the report."""
    names = ("name", "unit", "definition", "source")
    return [{name: getattr(quantity, name) for name in names} for quantity in QUANTITIES]


def _analyse_leg(
    signals: LegSignals, leg: Leg, asked: bool | None, options: Options
) -> LegAnalysis:
    other: Leg = "right" if leg == "left" else "left"
    movement = find_movement(signals.of(leg), signals.of(other), options)
    quality = judge(signals, leg, movement, asked=asked)
    readings = read_criteria(movement) if quality.rateable else ()
    return LegAnalysis(leg, quality, movement, measure(movement), readings)


def _rounded(value: float | None) -> float | int | None:
    if value is None or isinstance(value, int):
        return value
    return float(f"{value:.{_DIGITS}g}")
