"""What the networks of leg agility see of one leg."""

import numpy as np
from numpy.typing import NDArray

from medvial.gait.leg_agility.analysis import LegAgility, LegAnalysis, analyse
from medvial.gait.leg_agility.config import LegConfig
from medvial.gait.leg_agility.criteria import worst_level
from medvial.gait.leg_agility.kinematics import QUANTITIES
from medvial.gait.leg_agility.render import draw_clip, fit_person
from medvial.gait.leg_agility.signals import LEGS, Leg, LegSignal, at_rate
from medvial.gait.skeletons import BODY_25, Keypoints, mirror
from medvial.video_classification.preprocess import to_tensor

Input = NDArray[np.float32]

CRITERIA = ("interruptions", "slowing", "decrement", "ability")
QUANTITY_NAMES = (
    *(quantity.name for quantity in QUANTITIES),
    *(f"{criterion}_level" for criterion in CRITERIA),
    "worst_level",
)
"""What a kinematic model is told, in this order."""
MISSING = -1000.0  # below every value of a quantity: too few taps to tell
SIGNALS = ("height", "speed", "seen", "other_height", "other_speed", "other_seen")
"""Channels of temporal, before the quantities."""
LEAD_S = 0.5  # before the first tap and after the last
SPEED_SCALE = 4.0  # trunk lengths per s: brings speeds to the size of heights
FLOOR = 0.1  # quantile of the heights that counts as 0: the foot on the floor
_DRAWN_HZ = 30.0  # keypoints are brought to this rate before frames are picked


def analyse_both(points: Keypoints, times_s: NDArray[np.floating]) -> LegAgility:
    """The analysis that is rated: the patient was asked to tap with both legs in this clip."""
    return analyse(points, times_s, asked=dict.fromkeys(LEGS, True))


def input_shape(config: LegConfig) -> tuple[int, ...]:
    """Shape of `leg_input`, without the batch."""
    planes = int(not config.one_network_for_both)
    if config.kind == "kinematic":
        return (len(QUANTITY_NAMES) + planes,)
    if config.kind == "temporal":
        quantities = len(QUANTITY_NAMES) * config.with_quantities
        return (len(SIGNALS) + quantities + planes, config.steps)
    return (3 + planes, config.frames, config.size, config.size)


def leg_input(
    points: Keypoints,
    times_s: NDArray[np.floating],
    leg: Leg,
    config: LegConfig,
    agility: LegAgility | None = None,
) -> Input:
    """What a network sees of one leg.

    With one network for both legs the right leg is shown mirrored, as a left one. With one a leg
    nothing is mirrored, and one more plane at the end says which leg it is: 0 left, 1 right.

    Args:
        points: (T, 25, 3) BODY_25 of the patient, pixels.
        times_s: (T,) of the frames, increasing.
        leg: The one to rate.
        config: Says what kind of input.
        agility: The clip's `analyse_both`, where that is there already.

    Returns:
        float32, of `input_shape`: kinematic (Q,); temporal (C, T); rendered and resnet18_lstm
        (C, T, H, W).

    Raises:
        InputError: The shape is another, or the times do not fit.
    """
    agility = agility or analyse_both(points, times_s)
    if config.kind == "kinematic":
        result = quantities(agility.of(leg))
    elif config.kind == "temporal":
        result = _signals(agility, leg, config)
    else:
        result = to_tensor(drawn_clip(points, times_s, leg, config, agility), config.clip)
    return with_leg(result, leg, config)


def with_leg(values: Input, leg: Leg, config: LegConfig) -> Input:
    """The plane that says which leg, at the end, where there is a network a leg."""
    if config.one_network_for_both:
        return values
    plane = np.full((1, *values.shape[1:]), leg == "right", np.float32)
    return np.concatenate([values, plane])


def quantities(analysis: LegAnalysis) -> Input:
    """(Q,) the values of `QUANTITY_NAMES`; MISSING where there are too few taps for one."""
    levels = {reading.criterion: reading.level for reading in analysis.readings}
    values = (
        *(analysis.values[quantity.name] for quantity in QUANTITIES),
        *(levels.get(criterion) for criterion in CRITERIA),
        worst_level(analysis.readings),
    )
    told = np.array([MISSING if value is None else value for value in values], np.float32)
    return np.maximum(told, MISSING)


def drawn_clip(
    points: Keypoints,
    times_s: NDArray[np.floating],
    leg: Leg,
    config: LegConfig,
    agility: LegAgility | None = None,
) -> NDArray[np.uint8]:
    """The patient as coloured limbs during the leg's attempt, (T, H, W, 3) RGB.

    Frames at even times; black after the attempt, and where the clip has not begun or has ended.
    """
    agility = agility or analyse_both(points, times_s)
    if config.one_network_for_both and leg == "right":
        points = mirror(points, BODY_25, width=0)
    even = at_rate(points, times_s, _DRAWN_HZ)
    start_s, end_s = attempt(agility, leg, config)
    at_s = start_s + np.arange(config.frames) * config.seconds / config.frames
    index = np.rint((at_s - float(times_s[0])) * _DRAWN_HZ).astype(np.intp)
    inside = (index >= 0) & (index < len(even)) & (at_s <= end_s)
    view = fit_person(even, config.size, config.size)
    frames = np.zeros((config.frames, config.size, config.size, 3), np.uint8)
    frames[inside] = list(draw_clip(even[index[inside]], config.size, config.size, view=view))
    return frames


def attempt(agility: LegAgility, leg: Leg, config: LegConfig) -> tuple[float, float]:
    """Start and end in s of what is shown: from just before the first tap to after the last.

    No longer than `seconds`. Without taps it is the middle of the clip.
    """
    taps, times = agility.of(leg).movement.taps, agility.signals.of(leg).times_s
    if not taps:
        start = max(float(times[0]), float(times[0] + times[-1] - config.seconds) / 2)
        return start, min(start + config.seconds, float(times[-1]))
    start, end = taps[0].start_s - LEAD_S, taps[-1].end_s + LEAD_S
    return start, min(end, start + config.seconds)


def _signals(agility: LegAgility, leg: Leg, config: LegConfig) -> Input:
    """(C, T) the channels of `SIGNALS`, and each quantity at all times."""
    other: Leg = "right" if leg == "left" else "left"
    start_s, end_s = attempt(agility, leg, config)
    at_s = start_s + np.arange(config.steps) / config.rate_hz
    channels = [
        channel
        for side in (leg, other)
        for channel in _channels(agility.signals.of(side), at_s, end_s)
    ]
    if config.with_quantities:
        channels += [np.full(len(at_s), value) for value in quantities(agility.of(leg))]
    return np.stack(channels).astype(np.float32)


def _channels(
    signal: LegSignal, at_s: NDArray[np.float64], end_s: float
) -> list[NDArray[np.float64]]:
    """Height above the floor, speed, and whether they are known; 0 where they are not."""
    known = np.isfinite(signal.height)
    if not known.any():
        return [np.zeros(len(at_s))] * 3
    nearest = np.rint(np.interp(at_s, signal.times_s, np.arange(len(known)))).astype(np.intp)
    inside = (at_s >= signal.times_s[0]) & (at_s <= min(end_s, signal.times_s[-1]))
    seen = known[nearest] & inside
    height, speed = (
        np.interp(at_s, signal.times_s[known], values[known])
        for values in (signal.height, signal.speed)
    )
    if seen.any():
        height = height - np.quantile(height[seen], FLOOR)
    return [height * seen, speed / SPEED_SCALE * seen, seen.astype(np.float64)]
