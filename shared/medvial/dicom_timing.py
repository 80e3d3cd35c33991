"""When the frames of a DICOM cine were taken, and the heart rate it names.

Attributes: DICOM PS3.3, C.7.6.5 (cine).
"""

import math

import numpy as np
import pydicom

from medvial.cine import from_zero, plausible_fps, unknown_fps_note, usual_fps

_HEART_RATES_BPM = (20.0, 350.0)


def read_timing(
    dataset: pydicom.Dataset, count: int, fps: float | None
) -> tuple[float | None, tuple[float, ...] | None, list[str]]:
    """Frame rate (None if unknown), times where they are not even, notes.

    `FrameTimeVector` and `FrameTime` come first, then what else describes the acquisition, then
    how the cine is recommended to be shown.
    """
    if fps is not None:
        return fps, None, []
    vector = [value for value in _numbers(dataset, "FrameTimeVector") if math.isfinite(value)]
    if len(vector) >= count > 1 and all(value > 0 for value in vector[1:count]):
        times = from_zero(np.cumsum(vector[:count]).tolist())
        times = tuple(time / 1000.0 for time in times)
        if rate := usual_fps(times):
            return rate, times, []
    candidates: list[tuple[str, float]] = [
        (name, 1000.0 / value)
        for name in ("FrameTime", "ActualFrameDuration")
        for value in _numbers(dataset, name)[:1]
        if value > 0
    ]
    names = ("CineRate", "RecommendedDisplayFrameRate")
    candidates += [(name, value) for name in names for value in _numbers(dataset, name)[:1]]
    usable = [(name, rate) for name, rate in candidates if plausible_fps(rate)]
    if not usable:
        return None, None, [unknown_fps_note("The DICOM file says no usable frame time or rate")]
    name, rate = usable[0]
    notes = [
        f"{name} says {rate:.4g} frames per second, {other} {differs:.4g}: {name} was taken."
        for other, differs in usable[1:]
        if abs(differs / rate - 1) > 0.1  # CineRate is a whole number
    ]
    return rate, None, notes[:1]


def read_heart_rate(dataset: pydicom.Dataset) -> float | None:
    """Beats per minute; None where the file says nothing, 0 or what no heart does."""
    value = next(iter(_numbers(dataset, "HeartRate")), 0.0)
    return value if _HEART_RATES_BPM[0] <= value <= _HEART_RATES_BPM[1] else None


def _numbers(dataset: pydicom.Dataset, name: str) -> list[float]:
    """The numbers of an attribute; none where it is missing, empty or no number."""
    try:
        value = dataset.get(name)
        if value is None or value == "":
            return []
        values = value if isinstance(value, (list, pydicom.multival.MultiValue)) else [value]
        return [float(number) for number in values if number is not None]
    except (TypeError, ValueError):
        return []
