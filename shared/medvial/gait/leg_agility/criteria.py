"""How each criterion of MDS-UPDRS item 3.8 would read, in our own words.

The item asks a seated patient to raise a foot and stamp it ten times, as high and as fast as they
can, each leg by itself (Goetz et al., Mov Disord 2008;23:2129-70). Its level is that of the worst
criterion. The counts below are the item's; where it only says slight, mild or moderate, the limits
are of our own making (`Options`) and no norms of a population. A reading of a camera's numbers is
no rating: it is shown beside a score so that a clinician can see what speaks for it.
"""

from dataclasses import asdict, dataclass

from medvial.gait.leg_agility.kinematics import Movement, measure
from medvial.gait.leg_agility.options import Options

_DEGREES = ("no", "slight", "mild", "moderate")
_FEW = 2
_SEVERAL = 5


@dataclass(frozen=True)
class Reading:
    """One criterion."""

    criterion: str
    """interruptions, slowing, decrement or ability."""
    level: int | None
    """0 to 4 that this criterion alone would give; None where it cannot be told."""
    found: str
    """What it was read from."""

    def as_dict(self) -> dict[str, str | int | None]:
        """JSON-ready."""
        return asdict(self)


def read_criteria(movement: Movement) -> tuple[Reading, ...]:
    """All criteria for the taps of one leg."""
    values = measure(movement)
    options = movement.options
    return (
        _interruptions(values, options),
        _slowing(values, options),
        _decrement(values, len(movement.taps), options),
        _ability(values, options),
    )


def worst_level(readings: tuple[Reading, ...]) -> int | None:
    """The level of the worst criterion that can be told: the item's own rule."""
    return max((r.level for r in readings if r.level is not None), default=None)


def interruption_level(interruptions: int, arrests: int) -> int:
    """0 without any, 1 up to two, 2 up to five, 3 from six or with an arrest."""
    if arrests or interruptions > _SEVERAL:
        return 3
    return 2 if interruptions > _FEW else int(interruptions > 0)


def slowing_level(tempo_hz: float, options: Options) -> int:
    """How many of the limits the tempo is below, 0 to 3."""
    return sum(tempo_hz < limit for limit in options.tempo_hz)


def decrement_level(decrement: float, after: int, taps: int, options: Options) -> int:
    """0 without loss, else by when it begins: near the end 1, midway 2, after the first tap 3.

    Args:
        decrement: Part of the amplitude that is lost, 0 to 1.
        after: Taps before the loss begins.
        taps: All of them.
        options: Where near the end and midway begin.
    """
    if decrement < options.min_decrement or taps < 2:
        return 0
    part = (after - 1) / (taps - 1)
    late, early = options.decrement_onset
    return 1 if part >= late else 2 if part >= early else 3


def _interruptions(values: dict[str, float | None], options: Options) -> Reading:
    count, arrests, longest = (values[n] for n in ("interruptions", "arrests", "longest_pause"))
    if count is None or arrests is None or longest is None:
        return Reading("interruptions", None, "fewer than two taps")
    found = f"{_counted(count, 'interruption')} of at least {options.pause_s:g} s"
    if count:
        found += f", the longest {longest:.1f} s" if count > 1 else f", {longest:.1f} s long"
    if arrests:
        found += f"; {_counted(arrests, 'arrest')} of at least {options.arrest_s:g} s"
    return Reading("interruptions", interruption_level(int(count), int(arrests)), found)


def _counted(number: float, name: str) -> str:
    """As text: no arrest, 1 arrest, 2 arrests."""
    return f"{number:.0f} {name}s" if number > 1 else f"{'1' if number else 'no'} {name}"


def _slowing(values: dict[str, float | None], options: Options) -> Reading:
    tempo = values["tempo"]
    if tempo is None:
        return Reading("slowing", None, "fewer than two taps")
    level = slowing_level(tempo, options)
    return Reading(
        "slowing",
        level,
        f"{tempo:.2f} taps per second between interruptions: {_DEGREES[level]} slowing "
        f"(limits {', '.join(f'{limit:g}' for limit in options.tempo_hz)})",
    )


def _decrement(values: dict[str, float | None], taps: int, options: Options) -> Reading:
    loss, after = values["decrement"], values["decrement_after"]
    if loss is None or after is None:
        return Reading("decrement", None, "too few taps for a trend")
    level = decrement_level(loss / 100, int(after), taps, options)
    if level == 0:
        return Reading("decrement", 0, f"no loss of amplitude above {options.min_decrement:.0%}")
    return Reading("decrement", level, f"{loss:.0f} % loss of amplitude from tap {after:.0f} on")


def _ability(values: dict[str, float | None], options: Options) -> Reading:
    amplitude = values["amplitude"]
    if amplitude is None:
        return Reading("ability", None, "no taps: cannot be performed, or was not asked for")
    found = f"median amplitude {amplitude:.2f} trunk lengths (barely below {options.barely:g})"
    return Reading("ability", 4 if amplitude < options.barely else 0, found)
