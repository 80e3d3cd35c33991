"""Whether a leg in a clip can be rated at all, with a reason for each doubt."""

from dataclasses import asdict, dataclass

import numpy as np

from medvial.gait.leg_agility.kinematics import Movement
from medvial.gait.leg_agility.options import Options
from medvial.gait.leg_agility.signals import Leg, LegSignal, LegSignals

_NEAR_S = 1.0


@dataclass(frozen=True)
class Reason:
    """One reason for doubt."""

    name: str
    """Fixed, for programs."""
    message: str
    """For people."""

    def as_dict(self) -> dict[str, str]:
        """JSON-ready."""
        return asdict(self)


@dataclass(frozen=True)
class Quality:
    """Of one leg."""

    refused: tuple[Reason, ...]
    """Why the leg cannot be rated; empty if it can."""
    doubts: tuple[Reason, ...] = ()
    """What to know before believing a rating."""

    @property
    def rateable(self) -> bool:
        """Whether nothing speaks against a rating."""
        return not self.refused


def judge(
    signals: LegSignals, leg: Leg, movement: Movement, *, asked: bool | None = None
) -> Quality:
    """Judge one leg.

    A leg at rest may not have been asked for, or may not be able to: a clip alone does not say.
    A leg with too few taps is refused, unless it is known that it was asked for, or it moves more
    than the other one, so that it can only be the one that was. One or two taps are refused all
    the same if they are high: no one performs the task so, neither well nor barely.

    Args:
        signals: Of both legs.
        leg: Which.
        movement: Its taps.
        asked: Whether the patient was asked to tap this leg in this clip; None if not known.
    """
    options, signal = movement.options, signals.of(leg)
    other = signals.right if leg == "left" else signals.left
    candidates = [_trunk(signals), _short(signal, options), _missing(signal, options)]
    refused = [reason for reason in candidates if reason is not None]
    if refused:
        return Quality(tuple(refused))
    found = (_frame_rate(signal, options), _gaps(signal, movement))
    doubts = [reason for reason in found if reason is not None]
    few = _few_taps(movement, options)
    if few is None:
        return Quality((), tuple(doubts))
    tested = asked if asked is not None else len(movement.taps) > 0 and signal.range > other.range
    if tested and not _too_high(movement):
        return Quality((), (*doubts, few))
    return Quality((few,), tuple(doubts))


def _trunk(signals: LegSignals) -> Reason | None:
    if np.isfinite(signals.trunk_px):
        return None
    return Reason("trunk-not-seen", "shoulders and hips are never seen together: there is no scale")


def _short(signal: LegSignal, options: Options) -> Reason | None:
    if signal.duration_s >= options.min_duration_s:
        return None
    return Reason(
        "short",
        f"the clip is {signal.duration_s:.1f} s long; at least {options.min_duration_s:g} s are "
        "needed",
    )


def _missing(signal: LegSignal, options: Options) -> Reason | None:
    if signal.missing <= options.max_missing:
        return None
    return Reason(
        "knee-not-seen",
        f"the {signal.leg} knee is missing in {signal.missing:.0%} of the frames, more than "
        f"{options.max_missing:.0%}",
    )


def _too_high(movement: Movement) -> bool:
    """Whether there are one or two taps that are higher than those of who can barely tap."""
    options = movement.options
    if not 0 < len(movement.taps) < options.min_full_taps:
        return False
    return float(np.median(movement.amplitudes)) >= options.barely


def _few_taps(movement: Movement, options: Options) -> Reason | None:
    count = len(movement.taps)
    if count >= options.min_taps:
        return None
    if count == 0:
        return Reason(
            "no-taps",
            "no taps: this leg was not asked for in this clip, or it cannot perform the task",
        )
    taps = f"{count} tap{'s' * (count > 1)}"
    if _too_high(movement):
        return Reason(
            "few-taps",
            f"{taps}, too high for a leg that can barely perform the task: the clip is cut, this "
            "leg was not asked for, or it does something else",
        )
    return Reason(
        "few-taps",
        f"{taps}, fewer than {options.min_taps}: the clip is cut, this leg was not asked "
        "for, or it can barely perform the task",
    )


def _frame_rate(signal: LegSignal, options: Options) -> Reason | None:
    if signal.fps >= options.min_fps:
        return None
    return Reason(
        "frame-rate",
        f"the {signal.leg} knee is seen {signal.fps:.1f} times a second; below "
        f"{options.min_fps:g}, taps and speeds are blunted",
    )


def _gaps(signal: LegSignal, movement: Movement) -> Reason | None:
    """Long gaps among the taps, or so near to the first or last that one more may be in them."""
    if not movement.taps:
        return None
    times = signal.times_s
    near = (times >= movement.taps[0].start_s - _NEAR_S) & (
        times <= movement.taps[-1].end_s + _NEAR_S
    )
    hidden_s = float(np.isnan(signal.height[near]).sum() / movement.options.rate_hz)
    if hidden_s == 0:
        return None
    return Reason(
        "gaps",
        f"the {signal.leg} knee is out of sight for {hidden_s:.1f} s during the movement: taps and "
        "interruptions there are not counted",
    )
