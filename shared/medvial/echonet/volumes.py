"""Volumes of the left ventricle from one apical four-chamber mask, and the ejection fraction.

Two formulas of one plane, both in the guideline (Lang et al., J Am Soc Echocardiogr 2015;28:1-39):
the method of disks (modified Simpson), the default, and area-length. Both see one plane of a body
that is not round: from perfect masks of CAMUS the ejection fraction is off by a mean of 7 points
from the two-plane reference, of which 4 remain after a linear fit. In pixels, volumes have no
meaning by themselves, but the ejection fraction has: it is free of scale.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medvial.echonet.long_axis import (
    LongAxis,
    Outline,
    check_mask,
    find_long_axis,
    outline,
)
from medvial.errors import InputError

DISKS = 20  # of the guideline


@dataclass(frozen=True)
class Disks:
    """A ventricle cut into disks at right angles to its long axis.

    Lengths are in cm, areas in cm2 and volumes in mL if the spacing was given in cm; else in
    pixels, pixels2 and pixels3. Positions are always in pixels of the mask, (x, y), with the first
    pixel's centre at (0, 0).
    """

    volume: float
    """Method of disks: pi/4 * sum(diameter^2) * length / n."""
    area_length: float
    """Area-length: 8 area^2 / (3 pi length)."""
    length: float
    """Apex to the middle of the mitral annulus."""
    area: float
    diameters: NDArray[np.float64]
    """(n,), from the apex to the base."""
    apex: tuple[float, float]
    base: tuple[float, float]
    """Middle of the mitral annulus."""
    chords: NDArray[np.float64]
    """(n, 2, 2): both ends (x, y) of each disk's diameter, from the apex to the base."""
    calibrated: bool
    """Whether the spacing was given: volumes are in mL."""


def disk_volume(
    mask: NDArray[Any],
    n: int = DISKS,
    spacing_cm: float | tuple[float, float] | None = None,
) -> Disks:
    """Volume of one mask by the single-plane method of disks, and by area-length.

    A disk's diameter is its area over its thickness, so that the disks' area is the mask's and a
    ragged edge averages out. On exact half-ellipsoids of 112 px images the volume is right within
    3 %.

    Args:
        mask: Shape (H, W), not 0 = left ventricle.
        n: Number of disks.
        spacing_cm: Side of a pixel in cm, or its width and height (x, y); None = not calibrated.

    Raises:
        InputError: The mask is empty, tiny or in several parts (see `largest_component`), or the
            spacing or the number of disks is not positive.
    """
    spacing = _spacing(spacing_cm)
    if n < 1:
        raise InputError(f"Expected at least one disk, got {n}.")
    part = check_mask(mask)
    shape = outline(part, spacing)
    axis = find_long_axis(shape)
    area = float(np.count_nonzero(part)) * spacing[0] * spacing[1]
    diameters, middles = _cut(shape, axis, n)
    diameters = diameters * (area / (len(shape.points) * shape.cell))  # smoothing moved the edge
    return Disks(
        volume=float(np.pi / 4 * (diameters**2).sum() * axis.length / n),
        area_length=area_length_volume(area, axis.length),
        length=axis.length,
        area=area,
        diameters=diameters,
        apex=_pixel(axis.apex, spacing),
        base=_pixel(axis.base, spacing),
        chords=_chords(axis, diameters, middles) / spacing,
        calibrated=spacing_cm is not None,
    )


def area_length_volume(area_cm2: float, length_cm: float) -> float:
    """Single-plane area-length volume 8 A^2 / (3 pi L) in mL; exact for a half-ellipsoid.

    On a spheroid cut off below its equator it is too large, by 0.5 / 0.9 / 1.4 / 1.9 % where
    0.1 / 0.2 / 0.3 / 0.4 of the long semi-axis lie below it.

    Args:
        area_cm2: Area of the cavity in the four-chamber view, >= 0.
        length_cm: Apex to the middle of the mitral annulus, > 0.
    """
    if not (length_cm > 0 and area_cm2 >= 0):
        raise InputError(
            f"Expected a length above 0 and an area, got a length of {length_cm} and an area of "
            f"{area_cm2}."
        )
    return float(8 * area_cm2**2 / (3 * np.pi * length_cm))


def ejection_fraction(edv: float, esv: float) -> float:
    """Ejection fraction 100 (EDV - ESV) / EDV in percent; NaN where a volume is not measured.

    Args:
        edv: End-diastolic volume, any unit.
        esv: End-systolic volume in the same unit. Larger than `edv` gives a value below 0.
    """
    if not (np.isfinite(edv) and np.isfinite(esv) and edv > 0):
        return float("nan")
    return float(100 * (edv - esv) / edv)


def _spacing(spacing_cm: float | tuple[float, float] | None) -> tuple[float, float]:
    if spacing_cm is None:
        return 1.0, 1.0
    x, y = spacing_cm if isinstance(spacing_cm, tuple) else (spacing_cm, spacing_cm)
    if not (np.isfinite([x, y]).all() and x > 0 and y > 0):
        raise InputError(
            f"Expected the side of a pixel in cm, above 0, or None where it is not known; got "
            f"{spacing_cm}."
        )
    return float(x), float(y)


def _cut(shape: Outline, axis: LongAxis, n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Diameters of the disks, and the middles of their chords off the axis; both (n,).

    What lies beyond the ends of the axis (a base that is not at right angles to it) counts to the
    first and the last disk.
    """
    along = (shape.points - axis.apex) @ axis.direction
    across = (shape.points - axis.apex) @ _normal(axis)
    thickness = axis.length / n
    disk = np.clip(np.floor(along / thickness).astype(np.intp), 0, n - 1)
    count = np.bincount(disk, minlength=n)
    middles = np.bincount(disk, across, n) / np.maximum(count, 1)
    return np.asarray(count * shape.cell / thickness, np.float64), middles


def _chords(
    axis: LongAxis, diameters: NDArray[np.float64], middles: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Both ends of each diameter, (n, 2, 2), (x, y) in the unit of the axis."""
    n = len(diameters)
    on_axis = axis.apex + np.outer((np.arange(n) + 0.5) * axis.length / n, axis.direction)
    ends = middles[:, None] + diameters[:, None] * np.array([-0.5, 0.5])
    return on_axis[:, None, :] + ends[:, :, None] * _normal(axis)


def _normal(axis: LongAxis) -> NDArray[np.float64]:
    return np.array([-axis.direction[1], axis.direction[0]])


def _pixel(point: NDArray[np.float64], spacing: tuple[float, float]) -> tuple[float, float]:
    return float(point[0] / spacing[0]), float(point[1] / spacing[1])
