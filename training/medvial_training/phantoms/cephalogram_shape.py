"""Heads that differ as people do: a mean head, modes of variation with a meaning, and contours.

A subject is `mean + sum(z_k * mode_k) + smooth noise`, z_k standard normal, followed by a size. The
modes' standard deviations are chosen so that angles spread as in textbook norms (ANB about 2.3
degrees); they are not fitted to anybody's films.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline, RBFInterpolator

from medvial_training.phantoms.cephalogram_atlas import (
    FIXED_MM,
    LANDMARKS,
    MEAN_LANDMARKS_MM,
    STRUCTURES,
    VERTEBRAE_MM,
    Structure,
)

Points = NDArray[np.float64]
Weights = Mapping[str, float]

MAX_Z = 2.5  # rarer heads are not drawn: their teeth would cross
NECK_PIVOT_MM = (-26.0, 46.0)
SMOOTH_SD_MM, SMOOTH_LENGTH_MM, LOCAL_SD_MM = 0.6, 15.0, 0.25
SPLINE_SMOOTHING = 0.5  # of the warp between landmarks; contours still pass through them exactly
CONTOUR_STEPS = 8  # line pieces between two control points


@dataclass(frozen=True)
class Head:
    """One subject in millimetres; axes as in the atlas."""

    landmarks: Points
    """(38, 2)"""
    contours: dict[str, Points]
    """(n, 2) polylines by structure."""
    vertebrae: tuple[Points, ...]
    """Outline of each cervical vertebral body, (n, 2)."""


def mean_landmarks() -> Points:
    """The mean head's landmarks, (38, 2) in mm."""
    return np.array([MEAN_LANDMARKS_MM[name] for name in LANDMARKS], dtype=np.float64)


def sample_landmarks(rng: np.random.Generator) -> Points:
    """Landmarks of a random subject, (38, 2) in mm, before size and pose."""
    z = np.clip(rng.standard_normal(len(MODES_MM)), -MAX_Z, MAX_Z)
    varied = mean_landmarks() + np.tensordot(z, MODES_MM, axes=1)  # (K) x (K, L, 2) => (L, 2)
    return varied + _noise(rng)


def sample_head(rng: np.random.Generator) -> Head:
    """A random subject with its contours, before size and pose."""
    landmarks = sample_landmarks(rng)
    neck = np.deg2rad(np.clip(rng.normal(0, 4), -8, 8))
    stretch = 1 + np.clip(rng.normal(0, 0.02, 2), -0.04, 0.04)
    return build_head(landmarks, neck, stretch)


def build_head(
    landmarks: Points, neck_rad: float = 0.0, vault_stretch: Points | None = None
) -> Head:
    """Contours that follow given landmarks.

    Args:
        landmarks: (38, 2) in mm, near the mean head's.
        neck_rad: Turn of the cervical spine about the skull base, positive towards the face.
        vault_stretch: (2,) factors along x and y of the cranial vault.
    """
    mean, fixed = mean_landmarks(), np.array(FIXED_MM)
    moved = fixed * (np.ones(2) if vault_stretch is None else vault_stretch)
    moved[fixed[:, 1] > 50] = fixed[fixed[:, 1] > 50]
    warp = RBFInterpolator(
        np.vstack([mean, fixed]),
        np.vstack([landmarks - mean, moved - fixed]),
        smoothing=SPLINE_SMOOTHING,
    )
    named = dict(zip(LANDMARKS, landmarks, strict=True))
    contours = {name: _contour(item, named, warp) for name, item in STRUCTURES.items()}
    neck = [_turn(_vertebra(*body), np.array(NECK_PIVOT_MM), neck_rad) for body in VERTEBRAE_MM]
    return Head(landmarks, contours, tuple(neck))


def tooth(tip: Points, apex: Points, crown_mm: float) -> Points:
    """Outline of a single-rooted tooth from incisal tip to root apex, (n, 2) in mm.

    Args:
        tip: (2,) incisal edge.
        apex: (2,) end of the root.
        crown_mm: Greatest depth of the crown.
    """
    along = np.array([0.0, 0.04, 0.14, 0.3, 0.42, 0.6, 0.8, 0.95, 1.0])
    half = np.array([0.0, 0.13, 0.27, 0.48, 0.46, 0.38, 0.25, 0.12, 0.0]) * crown_mm
    fine = np.linspace(0, 1, 40)
    half = np.interp(fine, along, half)
    axis = apex - tip
    normal = np.array([axis[1], -axis[0]]) / np.hypot(*axis)
    spine = tip + fine[:, None] * axis
    return np.vstack([spine + half[:, None] * normal, (spine - half[:, None] * normal)[::-1]])


def molar(cusp: Points, along: Points, to_root: Points) -> Points:
    """Outline of a molar with its mesial cusp tip at `cusp`, (n, 2) in mm.

    Args:
        cusp: (2,) tip of the mesial cusp.
        along: (2,) unit vector along the occlusal plane, to the back.
        to_root: (2,) unit vector across it, to the roots.
    """
    local = np.array(
        [
            *((-1.6, 4.0), (-1.3, 1.6), (0, 0), (2.2, 1.6), (3.6, 0.7), (5.2, 1.6), (7.0, 0.4)),
            *((8.4, 2.0), (8.5, 5.0), (8.0, 8.0), (8.3, 14.0), (7.4, 19.0), (5.8, 14.0)),
            *((4.0, 9.6), (2.8, 14.0), (1.2, 19.5), (-0.6, 14.0), (-0.9, 8.0)),
        ]
    )
    return cusp + local[:, :1] * along + local[:, 1:] * to_root


def _contour(structure: Structure, named: Mapping[str, Points], warp: RBFInterpolator) -> Points:
    free = [item for item in structure.controls if not isinstance(item, str)]
    moved = iter(np.array(free) + warp(np.array(free, dtype=np.float64))) if free else iter(())
    points = [named[item] if isinstance(item, str) else next(moved) for item in structure.controls]
    return _smooth(points, structure.closed)


def _smooth(points: Sequence[Points], closed: bool) -> Points:
    """Cubic splines through the points, split where a point stands twice."""
    pieces: list[list[Points]] = [[points[0]]]
    for before, point in pairwise(points):
        if np.array_equal(before, point):
            pieces.append([point])
        else:
            pieces[-1].append(point)
    if closed and not np.array_equal(points[0], points[-1]):
        if len(pieces) == 1:
            return _spline(np.array([*points, points[0]]), periodic=True)
        pieces[-1].append(points[0])
    return np.vstack([_spline(np.array(piece)) for piece in pieces if len(piece) > 1])


def _spline(points: Points, *, periodic: bool = False) -> Points:
    """Centripetal parameters (Lee 1989) keep unevenly spaced points from overshooting."""
    if len(points) == 2:
        return points
    knots = np.concatenate([[0], np.cumsum(np.sqrt(np.hypot(*np.diff(points, axis=0).T)))])
    curve = CubicSpline(knots, points, bc_type="periodic" if periodic else "natural")
    steps = np.arange((len(knots) - 1) * CONTOUR_STEPS + 1) / CONTOUR_STEPS
    sampled: Points = curve(np.interp(steps, np.arange(len(knots)), knots))
    return sampled


def _vertebra(x: float, y: float, depth: float, height: float) -> Points:
    """A body with waisted sides, its plates tilted down to the front."""
    half_x, half_y = depth / 2, height / 2
    corners = [
        (-1, -1),
        (0, -0.86),
        (1, -0.9),
        (0.86, 0),
        (1.05, 1),
        (0, 0.8),
        (-1, 0.94),
        (-0.9, 0),
    ]
    outline = np.array(corners) * (half_x, half_y)
    centred = _smooth([*outline], closed=True)
    return _turn(centred + np.array([x, y]), np.array([x, y]), np.deg2rad(8))


def _turn(points: Points, centre: Points, angle_rad: float) -> Points:
    cos, sin = np.cos(angle_rad), np.sin(angle_rad)
    turned: Points = (points - centre) @ np.array([[cos, sin], [-sin, cos]]) + centre
    return turned


def _noise(rng: np.random.Generator) -> Points:
    """Displacements that neighbours share, with a small part of each landmark's own."""
    return _NOISE_ROOT @ rng.standard_normal((len(LANDMARKS), 2)) + rng.normal(
        0, LOCAL_SD_MM, (len(LANDMARKS), 2)
    )


def _noise_root() -> Points:
    mean = mean_landmarks()
    distance = np.hypot(*(mean[:, None] - mean[None]).transpose(2, 0, 1))
    covariance = SMOOTH_SD_MM**2 * np.exp(-0.5 * (distance / SMOOTH_LENGTH_MM) ** 2)
    root: Points = np.linalg.cholesky(covariance + 1e-6 * np.eye(len(mean)))
    return root


def _shift(dx_mm: float, dy_mm: float, weights: Weights) -> Points:
    """A mode: landmarks move together by one standard deviation, each by its weight."""
    column = np.array([weights.get(name, 0.0) for name in LANDMARKS])
    displacement: Points = column[:, None] * np.array([dx_mm, dy_mm])
    return displacement


def _rotation(degrees: float, centre: tuple[float, float], weights: Weights) -> Points:
    """A mode: landmarks turn about a point (to first order), clockwise on a face-right film."""
    arm = mean_landmarks() - np.array(centre)
    column = np.array([weights.get(name, 0.0) for name in LANDMARKS])
    turned = np.stack([-arm[:, 1], arm[:, 0]], axis=1)
    displacement: Points = np.deg2rad(degrees) * column[:, None] * turned
    return displacement


def _weights(text: str) -> dict[str, float]:
    """`"A ANS PNS:0.7"` to weights; 1 where none is given."""
    pairs = (item.partition(":") for item in text.split())
    return {name: float(weight or 1) for name, _, weight in pairs}


_MAXILLA = "A ANS U1 U1apex U6 PNS:0.7 Ptm:0.3 Or:0.25"
_UPPER_SOFT = "Sn:0.9 Ls:0.9 Ls2:0.9 Cm:0.8 Prn:0.6"
_MANDIBLE = "B Pog Me Gn D L1 L1apex L6"
_LOWER_SOFT = "Li:0.95 Li2 Pog' Gn' Me'"

MODES_MM: NDArray[np.float64] = np.stack(
    [
        # cranial base: its length, its flexion
        _shift(2.2, 0, _weights("N N' G' Or:0.6 A:0.6 ANS:0.6 U1:0.5 U1apex:0.5 Prn:0.7 Sn:0.6")),
        _rotation(2.5, (0, 0), _weights("Ba Bo Po:0.7 Ar:0.7 Co:0.7 Go:0.3")),
        # jaws: forwards (the lower follows the upper in part), downwards, tilted
        _shift(
            2.6,
            0,
            _weights(
                f"{_MAXILLA} {_UPPER_SOFT} B:0.7 Pog:0.7 Me:0.7 Gn:0.7 D:0.7 L1:0.8 "
                "L1apex:0.7 L6:0.8 Li:0.7 Li2:0.7 Pog':0.7 Gn':0.7 Me':0.7 C:0.3"
            ),
        ),
        _shift(
            0, 2.0, _weights(f"{_MAXILLA} {_UPPER_SOFT} {_MANDIBLE} {_LOWER_SOFT} Go:0.5 C:0.7")
        ),
        _rotation(1.6, (45, 45), _weights("A ANS PNS Ptm:0.4")),
        _shift(2.3, 0, _weights(f"{_MANDIBLE} {_LOWER_SOFT} Go:0.5 C:0.5 U1:0.35")),
        _rotation(
            2.2,
            (-11, 25),
            _weights(
                "B Pog Me Gn D Go L1:0.6 L1apex:0.8 L6:0.45 U1:0.35 "
                "U1apex:0.15 U6:0.3 Li:0.8 Li2:0.9 Pog' Gn' Me' C:0.7"
            ),
        ),
        _shift(0, 2.6, _weights("Go Me:0.2 C:0.3")),
        # chin
        _shift(1.5, 0, _weights("Pog Gn:0.8 Me:0.4 D:0.4 Pog' Gn':0.8 Me':0.4")),
        _shift(0, 1.8, _weights("Pog Gn Me D:0.6 B:0.3 Pog' Gn' Me' C:0.4")),
        # teeth: inclination about a point in the root, overjet, overbite, molars
        _rotation(-5.0, (67.3, 61.4), _weights("U1 U1apex Ls:0.3 Ls2:0.1")),
        _rotation(5.0, (63.4, 82.8), _weights("L1 L1apex Li:0.25")),
        _shift(1.0, 0, _weights("U1 U1apex:0.6 Ls:0.7 Ls2:0.6")),
        _shift(0, 0.8, _weights("U1 U1apex")),
        _shift(1.4, 0, _weights("U6 L6")),
        # soft tissue: nose, lips, chin, throat, forehead
        _shift(2.4, 0.4, _weights("Prn Cm:0.7 Sn:0.15")),
        _shift(0.4, 2.0, _weights("Prn Cm:0.7")),
        _shift(1.2, 0, _weights("Ls Ls2:0.9 Sn:0.5")),
        _shift(1.3, 0, _weights("Li Li2:0.8")),
        _shift(0, 1.0, _weights("Ls Ls2 Li:0.3")),
        _shift(1.2, 0.5, _weights("Pog' Gn' Me':0.6")),
        _shift(4.0, 0, _weights("C")),
        _shift(0, 3.0, _weights("C Me':0.3")),
        _shift(1.6, 0, _weights("G' N':0.5")),
        # orbit, ear, fissure
        _shift(1.3, 0.5, _weights("Or")),
        _shift(-0.4, 1.3, _weights("Or")),
        _shift(1.3, 0.3, _weights("Po Co:0.4 Ar:0.4")),
        _shift(0, 1.4, _weights("Po Co:0.5 Ar:0.4")),
        _shift(1.3, 0, _weights("Pt Ptm PNS:0.7")),
    ]
)
"""(K, 38, 2) displacements of one standard deviation, in mm."""

_NOISE_ROOT = _noise_root()
