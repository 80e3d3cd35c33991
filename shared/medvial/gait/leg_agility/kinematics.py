"""What the taps of one leg say in numbers, each with its unit, definition and source."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from medvial.gait.leg_agility.options import Options
from medvial.gait.leg_agility.signals import LegSignal, Values
from medvial.gait.leg_agility.taps import Tap, find_taps

_FIRST = 3  # taps whose median is the initial amplitude of a slope
_POWERS = (0.5, 1.0)  # of the number of taps since its beginning, that a fall goes with
_MIN_TREND = 4  # taps that a trend needs


@dataclass(frozen=True)
class Movement:
    """The taps of one leg, and what is between them."""

    taps: tuple[Tap, ...]
    options: Options

    @cached_property
    def amplitudes(self) -> Values:
        """(N,) in trunk lengths."""
        return np.array([tap.amplitude for tap in self.taps])

    @cached_property
    def known(self) -> NDArray[np.bool_]:
        """(N - 1,) whether the time between a tap and the next was seen without a gap."""
        return np.array([a.run == b.run for a, b in itertools.pairwise(self.taps)], bool)

    @cached_property
    def cycles_s(self) -> Values:
        """(N - 1,) from peak to peak."""
        return np.array([b.peak_s - a.peak_s for a, b in itertools.pairwise(self.taps)])

    @cached_property
    def rests_s(self) -> Values:
        """(N - 1,) between the end of a tap and the start of the next."""
        return np.array([b.start_s - a.end_s for a, b in itertools.pairwise(self.taps)])

    @cached_property
    def pauses_s(self) -> Values:
        """(N - 1,) by how much the foot stays longer on the floor than at its shortest.

        0 below the length of an interruption, and where a gap hides what happened.
        """
        rests = self.rests_s[self.known]
        if len(rests) == 0:
            return np.zeros(len(self.rests_s))
        shortest = float(rests.min())
        least = max(self.options.pause_s, self.options.relative_pause * shortest)
        excess = self.rests_s - shortest
        return np.where(self.known & (excess >= least), excess, 0.0)

    @cached_property
    def decrement(self) -> tuple[float, int]:
        """Part of the amplitude that is lost at the end, and the last tap before the loss, from 1.

        Least squares of an amplitude that is constant up to that tap and then falls, evenly or
        faster at first; at least two taps come after it. (0, N) where it does not fall by enough.
        """
        count = len(self.taps)
        if count < _MIN_TREND:
            return 0.0, count
        fits = [
            _fall(self.amplitudes, onset, power)
            for onset in range(1, count - 1)
            for power in _POWERS
        ]
        _, lost, onset = min(fits)
        return (lost, onset) if lost >= self.options.min_decrement else (0.0, count)


def _fall(amplitudes: Values, onset: int, power: float) -> tuple[float, float, int]:
    """Error, part lost and onset of a plateau of `onset` taps with a fall after it."""
    since = np.clip(np.arange(1, len(amplitudes) + 1) - onset, 0, None)
    basis = np.stack([np.ones(len(amplitudes)), -((since / since.max()) ** power)], axis=1)
    (level, loss), *_ = np.linalg.lstsq(basis, amplitudes, rcond=None)
    error = float(((basis @ (level, loss) - amplitudes) ** 2).sum())
    return error, float(loss / level) if level > 0 else 0.0, onset


@dataclass(frozen=True)
class Quantity:
    """One number of the report."""

    name: str
    unit: str
    definition: str
    source: str
    value: Callable[[Movement], float]
    """Of at least two taps; may be NaN."""
    least_taps: int = 2


def _percent_a_tap(values: Values) -> float:
    """Slope by least squares, in percent of the median of the first three, a tap."""
    slope = float(np.polyfit(np.arange(len(values)), values, 1)[0])
    first = float(np.median(values[:_FIRST]))
    return 100 * slope / first if first > 0 else float("nan")


def _variation(values: Values) -> float:
    return 100 * float(values.std(ddof=1) / values.mean()) if values.mean() > 0 else float("nan")


def _rise_speeds(movement: Movement) -> Values:
    return np.array([tap.rise_speed for tap in movement.taps])


def _frequency(movement: Movement) -> float:
    cycles = movement.cycles_s[movement.known]
    return len(cycles) / float(cycles.sum()) if len(cycles) else float("nan")


def _tempo(movement: Movement) -> float:
    moving = (movement.cycles_s - movement.pauses_s)[movement.known]
    return 1 / float(np.median(moving)) if len(moving) else float("nan")


_ITEM = "MDS-UPDRS item 3.8 (Goetz et al., Mov Disord 2008;23:2129-70) rates it; measured here as"
_OWN = f"{_ITEM} defined"
_VIDEO = "as video tools for movement disorders, VisionMD among them, report it"

QUANTITIES: tuple[Quantity, ...] = (
    Quantity("taps", "", "rises and falls of the knee in the largest attempt", _VIDEO,
             lambda m: len(m.taps), 0),
    Quantity("duration", "s", "from the start of the first tap to the end of the last", _VIDEO,
             lambda m: m.taps[-1].end_s - m.taps[0].start_s, 1),
    Quantity("frequency", "Hz", "taps per second from peak to peak, interruptions included",
             _VIDEO, _frequency),
    Quantity("tempo", "Hz", "1 / median time from peak to peak, less the interruption in it", _OWN,
             _tempo),
    Quantity("cycle_variation", "%", "standard deviation of the times from peak to peak over "
             "their mean", _VIDEO, lambda m: _variation(m.cycles_s[m.known])
             if m.known.sum() > 1 else float("nan"), 3),
    Quantity("amplitude", "trunk lengths", "median height of the peaks above the mean of the "
             "valleys before and after", _VIDEO, lambda m: float(np.median(m.amplitudes)), 1),
    Quantity("amplitude_variation", "%", "standard deviation of the amplitudes over their mean",
             _VIDEO, lambda m: _variation(m.amplitudes)),
    Quantity("rise_speed", "trunk lengths/s", "mean over the taps of the mean speed from a "
             "fifth to four fifths of the rise", _OWN, lambda m: float(_rise_speeds(m).mean()), 1),
    Quantity("fall_speed", "trunk lengths/s", "the same of the fall", _OWN,
             lambda m: float(np.mean([tap.fall_speed for tap in m.taps])), 1),
    Quantity("amplitude_slope", "%/tap", "slope of the amplitudes by least squares, over the "
             "median of the first three", _VIDEO, lambda m: _percent_a_tap(m.amplitudes),
             _MIN_TREND),
    Quantity("speed_slope", "%/tap", "the same of the rise speeds", _VIDEO,
             lambda m: _percent_a_tap(_rise_speeds(m)), _MIN_TREND),
    Quantity("decrement", "%", "loss of amplitude at the last tap against the first, by a plateau "
             "and a fall fitted by least squares; 0 if it is below the threshold", _OWN,
             lambda m: 100 * m.decrement[0], _MIN_TREND),
    Quantity("decrement_after", "taps", "taps before the loss begins; all of them if there is "
             "none", _OWN, lambda m: m.decrement[1], _MIN_TREND),
    Quantity("interruptions", "", "times that the foot stays clearly longer on the floor between "
             "two taps than at its shortest, arrests included", _OWN,
             lambda m: int((m.pauses_s > 0).sum())),
    Quantity("arrests", "", "interruptions of at least the length of an arrest", _OWN,
             lambda m: int((m.pauses_s >= m.options.arrest_s).sum())),
    Quantity("longest_pause", "s", "longest interruption: time on the floor beyond the shortest",
             _OWN, lambda m: float(m.pauses_s.max(initial=0.0))),
)  # fmt: skip


def find_movement(signal: LegSignal, other: LegSignal, options: Options | None = None) -> Movement:
    """The taps of one leg, ready to be measured.

    Args:
        signal: Of the leg.
        other: Of the other leg, to know mirror movements by.
        options: How; None takes the defaults.
    """
    options = options or Options()
    return Movement(tuple(find_taps(signal, other, options)), options)


def measure(movement: Movement) -> dict[str, float | None]:
    """All quantities by name; None where there are too few taps for one."""
    result: dict[str, float | None] = {}
    for quantity in QUANTITIES:
        enough = len(movement.taps) >= quantity.least_taps
        value = quantity.value(movement) if enough else float("nan")
        result[quantity.name] = value if np.isfinite(value) else None
    return result
