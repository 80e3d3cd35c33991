"""Walking in the sagittal plane: subjects with and without adult spinal deformity, their joints.

Thigh, knee and ankle follow adult mean curves; their size is found such that a foot that stands
does not slide and the step has the subject's length. Segments: Drillis and Contini, in Winter,
Biomechanics and Motor Control of Human Movement, 2009. Effects of the deformity: gait analysis of
52 patients and 63 controls ("Gait kinematic alterations in subjects with adult spinal deformity and
their radiological determinants", Gait & Posture). Kyphosis, and what dropped head, stenosis and
arthritis of the hip change, are design values.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from medvial.errors import InputError
from medvial_training.phantoms.gait_body import Body, Pose, body_of

Array = NDArray[np.float64]
Disease = Literal["ASD", "control", "DHS", "LCS", "HipOA"]
DISEASES: tuple[Disease, ...] = ("ASD", "control", "DHS", "LCS", "HipOA")
NOT_ASD_SHARES = (0.48, 0.24, 0.16, 0.12)  # of control, dropped head, stenosis, arthritis
# Degrees at 0, 4, … 96 % of the cycle, from contact to contact of the same foot: adult means as
# published with myogait (MIT licence); the shapes are those of Perry and Burnfield, Gait Analysis.
THIGH_DEG = (
    *(21.6, 20.1, 18.9, 17.6, 13.6, 8.8, 3.7, -0.9, -5.1, -9.1, -12.7, -15.7, -17.8),
    *(-19.3, -18.5, -13.6, -6.2, 1.9, 9.2, 14.9, 19.0, 21.5, 22.2, 21.3, 20.2),
)
KNEE_DEG = (
    *(5.2, 8.3, 14.3, 19.7, 19.0, 16.4, 13.0, 9.6, 7.0, 5.4, 5.0, 5.8, 8.5),
    *(14.1, 23.6, 37.6, 51.4, 60.7, 63.9, 60.9, 52.8, 40.6, 25.2, 9.3, 4.0),
)
ANKLE_DEG = (
    *(6.9, -1.0, -4.2, -0.7, 1.9, 3.8, 5.0, 5.9, 7.0, 8.2, 9.9, 11.7, 12.8),
    *(11.6, 4.9, -8.9, -19.2, -14.7, -8.0, -2.8, 0.7, 2.7, 3.4, 3.7, 4.7),
)
HARMONICS = 6
THIGH, SHANK, FOOT, ANKLE_HEIGHT, HEEL_SHARE = 0.245, 0.246, 0.152, 0.039, 0.25  # of the height
CLEARANCE = 0.007  # of a swinging foot above the floor, in heights; a design value
GRID = 200  # phases of a cycle at which the travel is summed up
CARRIED = 0.7  # of a kyphosis, that inclines the neck too
SIZES = (0.2, 2.6)  # of the thigh's curve, between which a step is looked for
SPEED_STEP_CORRELATION = 0.7
CADENCE_LIMITS = (55.0, 145.0)  # steps a minute


@dataclass(frozen=True)
class Walker:
    """What is true of one subject."""

    disease: Disease
    height_m: float
    speed_m_s: float
    step_m: float
    """Mean length of a step, from contact to contact of the other foot."""
    trunk_deg: float
    """Mean inclination of the line from mid-hip to neck, forwards positive."""
    kyphosis_deg: float
    """Angle between the lower and the upper half of the trunk."""
    neck_deg: float
    """Inclination of the neck; the kyphosis adds to it."""
    gaze_deg: float
    """How far the face looks down."""
    thigh_shift_deg: float
    """Added to the thigh's curve: hips that do not extend."""
    knee_shift_deg: float
    """Added to the knee's curve: crouched legs."""
    limp: float
    """Share by which the painful side's thigh moves less; 0 to 0.5."""
    arm_swing_deg: float

    def __post_init__(self) -> None:
        """Refuse walkers that cannot be drawn."""
        if not (
            self.disease in DISEASES
            and 1.2 <= self.height_m <= 2.1
            and 0.1 <= self.speed_m_s <= 2.2
            and 0.15 <= self.step_m <= 0.55 * self.height_m
            and -20 <= self.trunk_deg <= 60
            and 0 <= self.limp <= 0.5
        ):
            raise InputError(
                f"Expected one of {', '.join(DISEASES)}, a height of 1.2 to 2.1 m, a speed of 0.1 "
                "to 2.2 m/s, steps of 0.15 m to 0.55 heights, a trunk of -20 to 60 degrees and a "
                f"limp of 0 to 0.5; got {self}."
            )

    @property
    def cadence(self) -> float:
        """Steps a minute."""
        return 60 * self.speed_m_s / self.step_m


def sample_walker(rng: np.random.Generator, asd: bool, **given: Any) -> Walker:
    """A subject of the population; `given` fields of `Walker` replace the sampled ones."""
    disease: Disease = "ASD"
    if not asd:
        disease = DISEASES[1 + int(rng.choice(4, p=NOT_ASD_SHARES))]
    disease = given.get("disease", disease)
    g = rng.normal
    height = float(np.clip(g(1.62, 0.09), 1.42, 1.88))
    speed, step = _speed_and_step(rng, disease, height)
    trunk = {"ASD": (12, 12), "LCS": (13, 8), "DHS": (3, 9)}.get(disease, (6, 11))
    kyphosis = {"ASD": (30, 9), "LCS": (14, 7), "DHS": (18, 7)}.get(disease, (12, 7))
    flexed = {"ASD": (5, 7), "LCS": (3, 6)}.get(disease, (0, 6))
    thigh = {"ASD": (3, 4), "HipOA": (2, 4), "LCS": (1, 4)}.get(disease, (0, 4))
    walker = Walker(
        *(disease, height, speed, step),
        trunk_deg=float(np.clip(g(*trunk), -10, 45)),
        kyphosis_deg=float(np.clip(g(*kyphosis), 0, 55)),
        neck_deg=float(np.clip(g(*(60, 9) if disease == "DHS" else (16, 7)), 0, 90)),
        gaze_deg=float(np.clip(g(*(46, 10) if disease == "DHS" else (6, 7)), -10, 70)),
        thigh_shift_deg=float(np.clip(g(*thigh), -6, 12)),
        knee_shift_deg=float(np.clip(g(*flexed), -4, 25)),
        limp=float(rng.uniform(0.12, 0.35)) if disease == "HipOA" else float(rng.uniform(0, 0.05)),
        arm_swing_deg=float(np.clip(g(17, 6), 3, 32)),
    )
    return replace(walker, **given)


def _speed_and_step(
    rng: np.random.Generator, disease: Disease, height: float
) -> tuple[float, float]:
    """Speed in m/s and step in m, correlated, with a cadence that people have."""
    means = {"ASD": (0.9, 0.3, 0.58, 0.11), "LCS": (1.0, 0.2, 0.58, 0.09)}
    usual = (1.05, 0.2, 0.58, 0.08) if disease == "HipOA" else (1.2, 0.2, 0.64, 0.07)
    speed_mean, speed_sd, step_mean, step_sd = means.get(disease, usual)
    first, second = rng.standard_normal(2)
    r = SPEED_STEP_CORRELATION
    step = step_mean + step_sd * (r * first + np.sqrt(1 - r * r) * second)
    step = float(np.clip(step, 0.3, 0.47 * height))
    speed = float(np.clip(speed_mean + speed_sd * first, 0.35, 1.7))
    low, high = (cadence * step / 60 for cadence in CADENCE_LIMITS)
    return float(np.clip(speed, low, high)), step


def walk(walker: Walker, phase: Array, *, swing_phase: float = 0.6) -> tuple[Body, Array]:
    """The body of a walking subject.

    Args:
        walker: The subject.
        phase: (T,) cycles since a contact of the right foot; increasing.
        swing_phase: By how many radians the arms are behind the legs.

    Returns:
        The body, with its mid-hip above the origin; the way made (T,) in metres.
    """
    size, grid_travel, grid_height = _cycle(walker)
    share = phase % 1.0
    position = np.linspace(0, 1, GRID + 1)
    sway = np.interp(share, position, np.append(grid_travel, grid_travel[0]))
    up = np.interp(share, position, np.append(grid_height, grid_height[0]))
    legs = [
        _lifted(walker, _leg(walker, phase + at, size * own), up, phase + at)
        for at, own in _sides(walker)
    ]
    # The deviation from even travel goes into the way, so that a standing foot stands.
    way = 2 * walker.step_m * phase + sway
    beat = 2 * np.pi * phase
    pose = Pose(
        hip_height_m=up,
        legs=(legs[0], legs[1]),
        trunk_deg=walker.trunk_deg + 1.5 * np.sin(2 * beat),
        kyphosis_deg=np.full(len(phase), walker.kyphosis_deg),
        neck_deg=walker.neck_deg + CARRIED * walker.kyphosis_deg + 1.0 * np.sin(2 * beat + 1),
        gaze_deg=np.full(len(phase), walker.gaze_deg),
        arms_deg=(
            walker.arm_swing_deg * np.sin(beat + np.pi + swing_phase) + 0.3 * walker.trunk_deg,
            walker.arm_swing_deg * np.sin(beat + swing_phase) + 0.3 * walker.trunk_deg,
        ),
        elbows_deg=np.full(len(phase), 18.0) + 6 * np.sin(beat),
        twist_deg=5 * np.sin(beat + np.pi + swing_phase),
    )
    return body_of(pose, walker.height_m), way


def _sides(walker: Walker) -> tuple[tuple[float, float], tuple[float, float]]:
    """Phase and size of the right and of the left leg; the right one limps."""
    return (0.0, 1 - walker.limp), (0.5, 1.0)


def _series(values: tuple[float, ...]) -> NDArray[np.complex128]:
    """Fourier coefficients of a curve over the cycle."""
    return np.fft.rfft(values)[: HARMONICS + 1] / len(values)


_THIGH, _KNEE, _ANKLE = (_series(curve) for curve in (THIGH_DEG, KNEE_DEG, ANKLE_DEG))


def _curve(series: NDArray[np.complex128], phase: Array) -> Array:
    turns = np.exp(2j * np.pi * np.arange(1, len(series)) * np.asarray(phase)[..., None])
    return series[0].real + 2 * (turns @ series[1:]).real


def _angles(walker: Walker, phase: Array, size: Array) -> tuple[Array, Array, Array]:
    """Thigh, knee and ankle in degrees; small steps bend the knee less."""
    thigh = size * _curve(_THIGH, phase) + walker.thigh_shift_deg
    knee = (0.55 + 0.45 * size) * _curve(_KNEE, phase) + walker.knee_shift_deg
    return thigh, np.clip(knee, 0, 95), np.broadcast_to(_curve(_ANKLE, phase), knee.shape)


def _leg(walker: Walker, phase: Array, size: Array | float) -> Array:
    """Knee, ankle, heel, toe from the hip, (…, 4, 2) in metres, (forwards, up)."""
    h = walker.height_m
    thigh, knee, ankle = (np.deg2rad(a) for a in _angles(walker, phase, np.asarray(size)))
    shank = thigh - knee
    foot = shank + ankle
    along = np.stack([np.cos(foot), np.sin(foot)], axis=-1)
    sole = np.stack([np.sin(foot), -np.cos(foot)], axis=-1) * ANKLE_HEIGHT * h
    at_knee = THIGH * h * np.stack([np.sin(thigh), -np.cos(thigh)], axis=-1)
    at_ankle = at_knee + SHANK * h * np.stack([np.sin(shank), -np.cos(shank)], axis=-1)
    heel = at_ankle + sole - HEEL_SHARE * FOOT * h * along
    toe = at_ankle + sole + (1 - HEEL_SHARE) * FOOT * h * along
    return np.stack([at_knee, at_ankle, heel, toe], axis=-2)


def _cycle(walker: Walker) -> tuple[float, Array, Array]:
    """Size of the curves for the subject's step; deviation from even travel; height of the hip."""
    phase = np.arange(GRID) / GRID

    def step_m(size: float) -> float:
        return float(_travel(walker, phase, size)[0][-1]) / 2

    least, most = (step_m(size) for size in SIZES)
    if not least < walker.step_m < most:
        raise InputError(
            f"Expected steps of {max(0.0, least):.2f} to {most:.2f} m for this walker, got "
            f"{walker.step_m:.2f} m."
        )
    size = float(brentq(lambda size: step_m(size) - walker.step_m, *SIZES, xtol=1e-4))
    travel, height = _travel(walker, phase, size)
    even = travel[-1] * (phase + 1 / GRID)
    return size, _smooth(travel - even), _smooth(height)


def _travel(walker: Walker, phase: Array, size: float) -> tuple[Array, Array]:
    """Way made (GRID,) if the feet that carry do not slide, and height of the hip (GRID,)."""
    moved, height = np.zeros(len(phase)), np.zeros(len(phase))
    rows = np.arange(len(phase))
    for at, own in _sides(walker):
        foot = _leg(walker, phase + at, size * own)[:, 2:]  # heel and toe
        lower = foot[..., 1].argmin(axis=1)
        following = np.roll(foot, -1, axis=0)
        load = _load(phase + at)
        moved += load * (foot[rows, lower, 0] - following[rows, lower, 0])
        height -= load * foot[rows, lower, 1]
    return np.cumsum(moved), height


def _load(phase: Array) -> Array:
    """Share of the weight on a leg: all from a tenth to half of its cycle, none from 60 %."""
    load: Array = np.interp(phase % 1.0, (0, 0.1, 0.5, 0.6, 1), (0, 1, 1, 0, 0))
    return load


def _lifted(walker: Walker, leg: Array, hip_m: Array, phase: Array) -> Array:
    """The leg with its foot above the floor: where the curves bring it lower the knee bends more.

    Two segments that reach the raised ankle, the knee in front (law of cosines).
    """
    swing = np.clip((phase % 1.0 - 0.6) / 0.4, 0, 1)
    clear = CLEARANCE * walker.height_m * np.sin(np.pi * swing)
    low = leg[:, 2:, 1].min(axis=1) + hip_m
    lift = np.maximum(clear - low, 0)
    raised = leg.copy()
    raised[:, 1:, 1] += lift[:, None]
    thigh, shank = THIGH * walker.height_m, SHANK * walker.height_m
    ankle = raised[:, 1]
    reach = np.clip(np.hypot(ankle[:, 0], ankle[:, 1]), 0.2 * thigh, thigh + shank)
    bend = np.arccos(np.clip((thigh**2 + reach**2 - shank**2) / (2 * thigh * reach), -1, 1))
    angle = np.arctan2(ankle[:, 0], -ankle[:, 1]) + bend
    raised[:, 0] = thigh * np.stack([np.sin(angle), -np.cos(angle)], axis=-1)
    return raised


def _smooth(values: Array, harmonics: int = 8) -> Array:
    series = np.fft.rfft(values)
    series[harmonics + 1 :] = 0
    return np.fft.irfft(series, len(values))
