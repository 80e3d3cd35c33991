"""What an apical four-chamber plane echoes: the amplitude of each tissue, in heart coordinates.

Levels are in dB against the brightest muscle; they were set by eye on echocardiograms.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medvial_training.phantoms.echo_anatomy import Build, Field, Motion

VALVE_CM = 0.1  # half thickness of a leaflet
ATRIAL_SEPTUM_CM = 0.2  # half thickness of the wall between the atria
VALVE_REACH = 0.92  # length of a mitral leaflet over the annulus' half width
CLOSED, OPENED = np.deg2rad(14), np.deg2rad(62)  # leaflet against the plane of the annulus


@dataclass(frozen=True)
class Levels:
    """How bright the tissues of one examination are, in dB."""

    septum: float
    free_wall: float
    dropout: float
    """Loss of the free wall at the edge of the sector: the beam runs along it."""
    around: float
    """Tissue outside of the heart."""
    lung: float
    """Beyond the free wall."""
    behind: float
    """Behind the atria."""
    valves: float
    blood: float
    papillary: float
    """A papillary muscle in the cavity; it belongs to the cavity, as in a reader's tracing."""

    @staticmethod
    def sample(rng: np.random.Generator) -> "Levels":
        """Levels of a random examination."""
        return Levels(
            septum=float(rng.uniform(-3, 2)),
            free_wall=float(rng.uniform(-8, -2)),
            dropout=float(rng.uniform(2, 14)),
            around=float(rng.uniform(-27, -16)),
            lung=float(rng.uniform(-34, -14)),
            behind=float(rng.uniform(-7, 2)),
            valves=float(rng.uniform(-5, 2)),
            blood=float(rng.uniform(-46, -32)),
            papillary=float(rng.uniform(-24, -6)),
        )


def amplitude(
    build: Build, motion: Motion, levels: Levels, k: int, x: Field, q: Field, angle: Field
) -> tuple[Field, NDArray[np.bool_]]:
    """Echo amplitude of the tissue, and where there is blood instead.

    Args:
        build: The body.
        motion: Its course.
        levels: Of the examination.
        k: Frame.
        x: Heart coordinate across, (R, A), cm.
        q: Heart coordinate along, (R, A), cm.
        angle: Of the beam, (R, A) or (1, A), radians.

    Returns:
        Amplitude (R, A), 1 = 0 dB; blood (R, A).
    """
    length, radius, wall = (np.float32(v[k]) for v in (motion.length, motion.radius, motion.wall))
    cavity = np.square(q / length) + np.square(x / radius)
    muscle = np.square(q / (length + wall)) + np.square(x / (radius + wall))
    ventricle = (q >= 0) & (cavity < 1)
    myocardium = (q >= -0.25) & (muscle < 1) & (cavity >= 1)
    right = _right_heart(build, radius, wall, length, x, q)
    left_atrium, atrium_wall = _left_atrium(build, motion, k, x, q)
    level = _surroundings(build, levels, radius + wall, length, x, q)
    level[right[1] | atrium_wall] = levels.septum - 6
    between = (np.abs(x + radius + 0.15) < ATRIAL_SEPTUM_CM) & (q < 0) & (q > -build.atrium_cm[1])
    level[between] = levels.septum - 4
    blood = (right[0] | left_atrium) & ~between
    level = np.where(myocardium, _wall_level(levels, radius, x, angle), level)
    blood = (blood & ~myocardium) | ventricle
    result = _from_db(level)
    result[blood] = 0
    _papillary(result, levels, radius, length, x, q)
    _valves(result, blood, levels, build, motion, k, x, q)
    return result, blood


def _wall_level(levels: Levels, radius: np.float32, x: Field, angle: Field) -> Field:
    """Bright septum, weaker free wall that fades towards the sector's edge."""
    side = np.clip(x / (2 * radius) + 0.5, 0, 1)
    fade = np.float32(levels.dropout) * np.clip(np.sin(angle) * 2, 0, 1)
    return levels.septum + (levels.free_wall - levels.septum) * side - fade * side


def _surroundings(
    build: Build, levels: Levels, outer: np.float32, length: np.float32, x: Field, q: Field
) -> Field:
    """Fat and lung; a bright band behind the atria; the pericardium along the free wall."""
    level = np.where(x > outer, np.float32(levels.lung), np.float32(levels.around))
    back = -np.float32(build.atrium_cm[1])
    level = level + (levels.behind - level) * np.clip((back + 0.5 - q) / 0.8, 0, 1)
    edge = np.square(q / (length + outer * 0.35)) + np.square(x / (outer + 0.2))
    rim = np.clip(1 - np.abs(edge - 1) / 0.16, 0, 1) * (x > 0) * (q < 0.8 * length) * (q > -1.5)
    return np.asarray(level + (levels.free_wall + 4 - level) * rim, np.float32)


def _right_heart(
    build: Build, radius: np.float32, wall: np.float32, length: np.float32, x: Field, q: Field
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Right ventricle and right atrium: blood, and their thin walls."""
    septum = radius + wall
    width, atrium = (np.float32(v) for v in build.right_cm)
    ventricle = np.square((x + septum + width * 0.75 - 0.1 * q) / width) + np.square(
        (q - 0.26 * length) / (0.42 * length)
    )
    high = np.float32(build.atrium_cm[1] * 0.46)
    chamber = np.square((x + septum * 0.55 + atrium + 0.25) / atrium) + np.square((q + high) / high)
    blood = (ventricle < 1) | (chamber < 1)
    shell = ((ventricle < 1.5) | (chamber < 1.25)) & ~blood
    return blood, shell


def _left_atrium(
    build: Build, motion: Motion, k: int, x: Field, q: Field
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Left atrium, larger as the ventricle gets smaller: blood, and its wall."""
    grown = 1 + 0.5 * (1 - motion.length[k] / build.length_cm)
    half = np.float32(build.atrium_cm[0] * grown)
    high = np.float32(build.atrium_cm[1] / 2)
    chamber = np.square((x - 0.1) / half) + np.square((q + high) / high)
    blood = (chamber < 1) | ((q < 0) & (q > -1) & (np.abs(x) < motion.radius[k] * 0.85))
    return blood, (chamber < 1.3) & ~blood & (q < -0.2)


def _papillary(
    result: Field, levels: Levels, radius: np.float32, length: np.float32, x: Field, q: Field
) -> None:
    blob = np.square((x - 0.8 * radius) / 0.45) + np.square((q - 0.5 * length) / 1.0)
    result[blob < 1] = np.maximum(result[blob < 1], np.float32(10 ** (levels.papillary / 20)))


def _valves(
    result: Field,
    blood: NDArray[np.bool_],
    levels: Levels,
    build: Build,
    motion: Motion,
    k: int,
    x: Field,
    q: Field,
) -> None:
    """Mitral and tricuspid leaflets, and the bright fibrous ring they hang on."""
    radius = float(motion.radius[k])
    angle = CLOSED + (OPENED - CLOSED) * float(motion.opening[k])
    bright = np.float32(10 ** (levels.valves / 20))
    septum = radius + float(motion.wall[k])
    width = build.right_cm[0]
    hinges = (
        (-radius, 1, radius * VALVE_REACH),
        (radius, -1, radius * VALVE_REACH),
        (-septum, -1, width * 0.75),
        (-septum - 1.6 * width, 1, width * 0.75),
    )
    near = np.abs(q - 0.6) < 2.6
    xs, qs = x[near], q[near]
    values = result[near]
    for hinge, side, reach in hinges:
        dx = xs - np.float32(hinge)
        along = dx * np.float32(side * np.cos(angle)) + qs * np.float32(np.sin(angle))
        off = qs * np.float32(side * np.cos(angle)) - dx * np.float32(np.sin(angle))
        leaflet = (along > 0) & (along < reach) & (np.abs(off) < VALVE_CM)
        values[leaflet | (dx * dx + qs * qs < 0.06)] = bright
    result[near] = values


def _from_db(level: Field) -> Field:
    return np.exp(level * np.float32(np.log(10) / 20), dtype=np.float32)
