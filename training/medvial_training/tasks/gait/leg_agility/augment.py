"""Random changes of a recording's keypoints that leave its scores as they are."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medvial.errors import InputError
from medvial.gait.skeletons import BODY_25, Keypoints

LEG_PARTS = ("knee", "ankle", "heel", "big_toe", "small_toe")
WARP_S = (3.0, 8.0)  # period of a change of tempo
LEAST_GAP_S = 0.1

Times = NDArray[np.float64]


@dataclass(frozen=True)
class LegAugmentation:
    """How much keypoints change in training; 0 turns a change off.

    Score 3.8 goes by tempo, amplitude and their course: the changes stay well below what the item
    would notice.
    """

    variants: int = 4
    """Changed copies of each recording, which an epoch sees beside itself; of temporal and
    kinematic they are worked out once, of drawings anew in every epoch."""

    time_scale: float = 0.03
    """Most that a recording becomes slower or faster, as a part of its length."""

    time_warp: float = 0.05
    """Most that the tempo goes up and down within it."""

    amplitude: float = 0.1
    """Most that each leg's movement becomes smaller or larger."""

    jitter: float = 0.004
    """Standard deviation of noise on the joints, in trunk lengths."""

    gaps: int = 2
    """Most stretches without anybody."""

    gap_s: float = 0.3
    """Longest of these, in seconds."""

    mirror: bool = True
    """With a network a leg: each learns from the other leg as well, mirrored."""

    def __post_init__(self) -> None:
        """Refuse what would tear recordings.

        Raises:
            InputError: Names the field.
        """
        for name in ("time_scale", "time_warp", "amplitude", "jitter"):
            if not 0 <= getattr(self, name) < 0.5:
                raise InputError(f"Expected {name} from 0 to below 0.5, got {getattr(self, name)}.")
        for name in ("variants", "gaps", "gap_s"):
            if getattr(self, name) < 0:
                raise InputError(f"Expected {name} of at least 0, got {getattr(self, name)}.")


def augment(
    points: Keypoints, times_s: Times, changes: LegAugmentation, rng: np.random.Generator
) -> tuple[Keypoints, Times]:
    """A changed copy of a recording.

    Args:
        points: (T, 25, 3) BODY_25 of the patient, pixels.
        times_s: (T,) of the frames, increasing.
        changes: How much.
        rng: Same state, same changes.

    Returns:
        Points and times of the same frames; times still increase.
    """
    points = points.copy()
    _scale_movement(points, changes.amplitude, rng)
    points[..., :2] += rng.normal(0, changes.jitter * _trunk_px(points), points[..., :2].shape)
    _hide(points, times_s, changes, rng)
    return points, _warped(times_s, changes, rng)


def _trunk_px(points: Keypoints) -> float:
    neck, hip = (points[:, BODY_25.indices[joint], :2] for joint in ("neck", "mid_hip"))
    lengths = np.linalg.norm(neck - hip, axis=1)
    lengths = lengths[np.isfinite(lengths)]
    return float(np.median(lengths)) if len(lengths) else 0.0


def _scale_movement(points: Keypoints, amplitude: float, rng: np.random.Generator) -> None:
    """Each leg's joints nearer to or further from where they mostly are, up and down."""
    for side in ("left", "right"):
        factor = 1 + rng.uniform(-amplitude, amplitude)
        for part in LEG_PARTS:
            y = points[:, BODY_25.indices[f"{side}_{part}"], 1]
            seen = y[np.isfinite(y)]
            if len(seen):
                rest = np.median(seen)
                y[:] = rest + factor * (y - rest)


def _hide(
    points: Keypoints, times_s: Times, changes: LegAugmentation, rng: np.random.Generator
) -> None:
    """Stretches in which nobody was found."""
    longest = max(LEAST_GAP_S, changes.gap_s)
    for _ in range(int(rng.integers(changes.gaps + 1)) if changes.gap_s else 0):
        start = rng.uniform(times_s[0], times_s[-1])
        hidden = (times_s >= start) & (times_s < start + rng.uniform(LEAST_GAP_S, longest))
        if hidden.sum() < len(times_s):
            points[hidden] = np.nan, np.nan, 0.0


def _warped(times_s: Times, changes: LegAugmentation, rng: np.random.Generator) -> Times:
    """Slower or faster as a whole, and in waves; rates stay above 0, so that times increase."""
    rate = 1 + rng.uniform(-changes.time_scale, changes.time_scale)
    period_s, phase = rng.uniform(*WARP_S), rng.uniform(0, 2 * np.pi)
    depth = rng.uniform(0, changes.time_warp) * period_s / (2 * np.pi)
    waves = depth * np.sin(2 * np.pi * times_s / period_s + phase)
    return rate * (times_s + waves)
