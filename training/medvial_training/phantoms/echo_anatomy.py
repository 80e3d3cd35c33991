"""The heart of the echo phantom in an apical four-chamber plane, and its true outline.

The left ventricle is half an ellipsoid of revolution: long semi-axis L from the middle of the
mitral annulus to the apex, basal radius b; V = (2 pi / 3) b^2 L, so that area-length is exact. L
shortens by 26 % of the share of the end-diastolic volume that has left, which is the 14.5 %
measured on the true masks of CAMUS; the base moves by three quarters of that, the apex by one. The
wall keeps its volume. Everything else (atria, right ventricle, valves) is there to look at.

Heart coordinates are in cm: x across the axis, septum on the negative side; q along it, from the
annulus (0) to the apex (L). Image coordinates are in cm too: x to the right of the probe, z deep.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medvial_training.phantoms.echo_heart import Course, Heart

Field = NDArray[np.float32]
SHORTENING = 0.26
APEX_SHARE = 0.25
TRACED_DISKS = 20  # chords of a tracing, as in EchoNet-Dynamic


@dataclass(frozen=True)
class Build:
    """Size and place of one subject's heart."""

    length_cm: float
    """L at end-diastole."""
    radius_cm: float
    """b at end-diastole."""
    wall_cm: float
    tilt: float
    """Angle of the axis to the vertical, radians; positive leans the base to the right."""
    apex_cm: tuple[float, float]
    """(x, z) of the apex at end-diastole, from the probe."""
    atrium_cm: tuple[float, float]
    """Half width and height of the left atrium."""
    right_cm: tuple[float, float]
    """Half width of right ventricle and right atrium."""
    depth_cm: float
    """Depth of the image."""


@dataclass(frozen=True)
class Motion:
    """The heart in each frame; all (T,), in cm."""

    length: NDArray[np.float64]
    radius: NDArray[np.float64]
    wall: NDArray[np.float64]
    descent: NDArray[np.float64]
    """How far the apex is below its place at end-diastole."""
    sway: NDArray[np.float64]
    """How far the heart is to the right of its place: breathing."""
    opening: NDArray[np.float64]
    """Mitral valve, 0 closed to 1 open."""


def sample_build(heart: Heart, rng: np.random.Generator) -> Build:
    """A body for a heart; one that pumps badly is rounder."""
    ratio = float(
        np.clip(rng.normal(0.27, 0.02) + 0.06 * (0.56 - heart.ef_percent / 100), 0.2, 0.4)
    )
    length = float(np.cbrt(heart.edv_ml / (2 * np.pi / 3 * ratio**2)))
    depth = length * float(rng.uniform(1.6, 1.85))
    return Build(
        length_cm=length,
        radius_cm=ratio * length,
        wall_cm=float(np.clip(rng.normal(0.11, 0.014), 0.08, 0.16)) * length,
        tilt=float(np.deg2rad(np.clip(rng.normal(3, 7), -12, 16))),
        apex_cm=(
            float(np.clip(rng.normal(0.3, 0.4), -0.6, 1.2)),
            depth * float(rng.uniform(0.1, 0.15)),
        ),
        atrium_cm=(ratio * length * float(rng.uniform(0.9, 1.15)), float(rng.uniform(3.4, 5.0))),
        right_cm=(float(rng.uniform(1.1, 1.6)), float(rng.uniform(1.5, 2.1))),
        depth_cm=depth,
    )


def move(
    build: Build, heart: Heart, course: Course, times_s: NDArray[np.float64], breath_cm: float
) -> Motion:
    """The heart's size and place in each frame, exact in volume."""
    volumes = course.volumes_ml
    left = (heart.edv_ml - volumes) / heart.edv_ml
    length = build.length_cm * (1 - SHORTENING * left)
    radius = np.sqrt(3 * volumes / (2 * np.pi * length))
    muscle = _shell(build.radius_cm, build.length_cm, np.array([build.wall_cm]))[0]
    low, high = np.full(len(volumes), 0.05), np.full(len(volumes), 6.0)
    for _ in range(24):  # bisection: the wall that has the muscle's volume
        middle = (low + high) / 2
        thin = _shell(radius, length, middle) < muscle
        low, high = np.where(thin, middle, low), np.where(thin, high, middle)
    return Motion(
        length,
        radius,
        low,
        APEX_SHARE * (build.length_cm - length),
        breath_cm * np.sin(2 * np.pi * times_s / 4.2),
        np.clip(course.filling_ml_s / (1.2 * heart.edv_ml), 0, 1),
    )


def _shell(
    radius: NDArray[np.float64] | float,
    length: NDArray[np.float64] | float,
    wall: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Volume of the muscle around a half-ellipsoid."""
    return 2 * np.pi / 3 * ((radius + wall) ** 2 * (length + wall) - np.square(radius) * length)


def to_heart(build: Build, motion: Motion, k: int, x: Field, z: Field) -> tuple[Field, Field]:
    """Image position in cm to heart coordinates (x, q) in frame `k`."""
    dx = x - np.float32(build.apex_cm[0] + motion.sway[k])
    dz = z - np.float32(build.apex_cm[1])
    cos, sin = np.float32(np.cos(build.tilt)), np.float32(np.sin(build.tilt))
    along = dx * sin + dz * cos
    return dx * cos - dz * sin, np.float32(motion.length[k] + motion.descent[k]) - along


def to_image(
    build: Build, motion: Motion, k: int, points: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Heart coordinates (..., 2) as (x, q) in frame `k` to image positions (x, z), cm."""
    along = motion.length[k] + motion.descent[k] - points[..., 1]
    cos, sin = np.cos(build.tilt), np.sin(build.tilt)
    x = points[..., 0] * cos + along * sin + build.apex_cm[0] + motion.sway[k]
    return np.stack([x, along * cos - points[..., 0] * sin + build.apex_cm[1]], axis=-1)


def inside(motion: Motion, k: int, x: Field, q: Field) -> NDArray[np.bool_]:
    """Which heart coordinates lie in the left ventricle's cavity: the true mask."""
    return (q >= 0) & ((q / motion.length[k]) ** 2 + (x / motion.radius[k]) ** 2 < 1)


def tracing(build: Build, motion: Motion, k: int) -> NDArray[np.float64]:
    """Axis and chords as EchoNet-Dynamic traces them, from the true outline.

    Returns:
        (21, 2, 2): first the long axis (apex, base), then 20 chords from apex to base, each by both
        ends as image positions (x, z) in cm. The chords lie in the middle of their disks but for
        the first and the last, which lie at a tenth of a disk from apex and base.
    """
    length, radius = motion.length[k], motion.radius[k]
    q = length * (1 - (np.arange(TRACED_DISKS) + 0.5) / TRACED_DISKS)
    q[0], q[-1] = length * (1 - 0.1 / TRACED_DISKS), length * 0.1 / TRACED_DISKS
    half = radius * np.sqrt(1 - (q / length) ** 2)
    chords = np.stack([np.stack([-half, q], -1), np.stack([half, q], -1)], axis=1)
    axis = np.array([[[0, length], [0, 0]]])
    return to_image(build, motion, k, np.concatenate([axis, chords]))
