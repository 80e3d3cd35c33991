"""The 2-D tissue region of an ultrasound image and the size of its pixels, from DICOM attributes.

Attributes and their codes: DICOM PS3.3, C.8.5.5 (US Region Calibration Module).
"""

import math
from dataclasses import dataclass
from typing import Any

_TWO_D, _TISSUE, _COLOUR_FLOW, _CM = 1, 1, 2, 3
_PLAUSIBLE_MM = (0.01, 5.0)  # of a pixel: from an intravascular probe to a thumbnail
_MAX_ANISOTROPY = 4.0
_OVERHANG = 0.01  # of the frame: exclusive ends and rounding, not another geometry
_ASPECT_TOLERANCE = 0.02
# Sizes of the screens that scanners capture; a frame may be a smaller copy of one.
_SCREENS = (
    *((640, 480), (800, 600), (1024, 768), (1280, 960), (1600, 1200), (720, 480), (720, 576)),
    *((1280, 720), (1920, 1080), (1280, 1024), (1280, 800), (1440, 900), (1680, 1050)),
    (1920, 1200),
)
_MAX_MULTIPLE = 4

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Region:
    """The region to look at; all None where the file says nothing usable."""

    box: Box | None
    """(x0, y0, x1, y1) in pixels of the frame, x1 and y1 not in it."""
    spacing_mm: tuple[float, float] | None
    """(x, y) size of a pixel."""
    note: str
    """How the calibration was found, or why there is none."""
    colour: bool
    """Whether there is a region of colour flow."""


@dataclass(frozen=True)
class _Stored:
    x0: int
    y0: int
    x1: int
    y1: int  # the last pixels, in the region
    spacing_mm: tuple[float, float] | None

    @property
    def area(self) -> int:
        return (self.x1 - self.x0 + 1) * (self.y1 - self.y0 + 1)


def find_region(dataset: Any, height: int, width: int) -> Region:
    """Choose the largest 2-D tissue region; a colour one where there is no other.

    A region that lies outside the frame was written for the screen that the frame is a smaller
    copy of; its box and pixel size are brought to the frame where that screen can be told.

    Args:
        dataset: pydicom's Dataset.
        height: Rows of a frame.
        width: Columns of a frame.

    Returns:
        The region; `note` says what was found in words.
    """
    items = list(dataset.get("SequenceOfUltrasoundRegions") or ())
    tissue = _regions(items, _TISSUE)
    flow = _regions(items, _COLOUR_FLOW)
    regions = tissue or flow
    if not regions:
        return Region(None, None, "The file names no 2-D ultrasound region.", bool(flow))
    chosen = max(regions, key=lambda region: (region.spacing_mm is not None, region.area))
    box, spacing, note = _fit(chosen, height, width)
    if len(regions) > 1:
        note = f"The file names {len(regions)} 2-D regions, the largest was taken. {note}"
    return Region(box, spacing, note, bool(flow))


def _regions(items: list[Any], kind: int) -> list[_Stored]:
    found = []
    for item in items:
        if item.get("RegionSpatialFormat") != _TWO_D or item.get("RegionDataType") != kind:
            continue
        try:
            x0, y0, x1, y1 = (
                int(item.get(f"RegionLocation{name}"))
                for name in ("MinX0", "MinY0", "MaxX1", "MaxY1")
            )
        except (TypeError, ValueError):
            continue
        if x1 > x0 >= 0 and y1 > y0 >= 0:
            found.append(_Stored(x0, y0, x1, y1, _spacing(item)))
    return found


def _spacing(item: Any) -> tuple[float, float] | None:
    """Pixel size in mm; a delta is negative where the physical axis runs the other way."""
    axes = []
    for axis in "XY":
        delta = item.get(f"PhysicalDelta{axis}")
        if item.get(f"PhysicalUnits{axis}Direction") != _CM or delta is None:
            return None
        axes.append(abs(float(delta)) * 10.0)
    x_mm, y_mm = axes
    if not all(math.isfinite(mm) and mm > 0 for mm in axes):
        return None
    if max(axes) / min(axes) > _MAX_ANISOTROPY:
        return None
    return x_mm, y_mm


def _fit(region: _Stored, height: int, width: int) -> tuple[Box | None, Any, str]:
    factor = _screen_factor(region, height, width)
    if factor is None:
        return (
            None,
            None,
            (
                f"The ultrasound region ends at ({region.x1}, {region.y1}), outside the frame of "
                f"{width} x {height} pixels, and the screen it was made for is not known: "
                "uncalibrated."
            ),
        )
    box = (
        math.floor(region.x0 / factor),
        math.floor(region.y0 / factor),
        min(width, math.ceil((region.x1 + 1) / factor)),
        min(height, math.ceil((region.y1 + 1) / factor)),
    )
    if region.spacing_mm is None:
        return box, None, "The ultrasound region has no usable pixel size in cm: uncalibrated."
    x_mm, y_mm = (mm * factor for mm in region.spacing_mm)
    if not all(_PLAUSIBLE_MM[0] <= mm <= _PLAUSIBLE_MM[1] for mm in (x_mm, y_mm)):
        return (
            box,
            None,
            (
                f"The pixel size of {x_mm:.3g} x {y_mm:.3g} mm that the file says is none of an "
                "ultrasound image: uncalibrated."
            ),
        )
    note = f"Pixels of {x_mm:.4g} x {y_mm:.4g} mm, from the file's ultrasound region."
    if factor != 1:
        note = (
            f"The ultrasound region was made for a screen {factor:.4g} times the frame of {width} "
            f"x {height} pixels and was brought to it. {note}"
        )
    return box, (x_mm, y_mm), note


def _screen_factor(region: _Stored, height: int, width: int) -> float | None:
    """How many pixels of the region's screen one of the frame is; None where it cannot be told."""
    if region.x1 < width * (1 + _OVERHANG) + 1 and region.y1 < height * (1 + _OVERHANG) + 1:
        return 1.0
    screens = [
        (w, h)
        for w, h in _SCREENS
        if abs((w / h) / (width / height) - 1) < _ASPECT_TOLERANCE and w > width
    ]
    screens += [(width * k, height * k) for k in range(2, _MAX_MULTIPLE + 1)]
    fitting = sorted((w / width) for w, h in screens if region.x1 < w and region.y1 < h)
    return fitting[0] if fitting else None
