"""A phantom as a scanner's whole screen: text, depth marks and ECG around the image."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from medvial.errors import InputError
from medvial_training.phantoms.echo_cine import Phantom

MARGINS = (56, 40, 96, 64)  # left, top, right, bottom of the image on the screen, in pixels
TEXT, TRACE, MARKS = (208, 208, 208), (64, 220, 96), (160, 160, 160)  # RGB
BEAT_S = np.array([-0.2, -0.16, -0.12, -0.03, -0.015, 0, 0.015, 0.03, 0.2, 0.27, 0.34])
BEAT_MV = np.array([0, 0.12, 0, 0, -0.1, 1, -0.2, 0, 0, 0.25, 0])  # P, QRS and T wave


@dataclass(frozen=True)
class Screen:
    """Frames of a whole screen."""

    frames: NDArray[np.uint8]
    """(T, H, W, 3) RGB."""
    region: tuple[int, int, int, int]
    """First and last column and row of the ultrasound image: (x0, y0, x1, y1), inclusive."""
    ecg: tuple[int, int, int, int]
    """The same of the ECG."""


def on_screen(cine: Phantom) -> Screen:
    """Put a cine on a scanner's screen.

    The marks on the right are 1 cm apart; the ECG runs through the clip, R waves at end-diastole.
    """
    count, height, width = cine.frames.shape
    left, top, right, bottom = MARGINS
    if width < 96:
        raise InputError(f"Expected an image of at least 96 columns for a screen, got {width}.")
    still = np.zeros((top + height + bottom, left + width + right, 3), np.uint8)
    _text(still, "PHANTOM", (8, 18))
    _text(still, f"{cine.fps:.0f} FPS", (8, top + 12))
    _text(still, f"HR {cine.heart_rate_bpm:.0f}", (left + width + 20, top + height - 4))
    _text(still, f"{height * cine.spacing_cm:.1f} cm", (left + width + 20, top + 12))
    for centimetre in range(int(height * cine.spacing_cm) + 1):
        y = top + round(centimetre / cine.spacing_cm)
        cv2.line(still, (left + width + 4, y), (left + width + 10, y), MARKS)
    trace = _ecg(cine, count, left, top + height + 8, width, bottom - 16)
    cv2.polylines(still, [trace], False, TRACE, 1, cv2.LINE_AA)
    frames = np.repeat(still[None], count, axis=0)
    frames[:, top : top + height, left : left + width] = cine.frames[..., None]
    for k in range(count):  # the bar that runs along the ECG
        x = left + round(k / max(1, count - 1) * (width - 1))
        cv2.line(frames[k], (x, top + height + 8), (x, top + height + bottom - 8), TEXT)
    return Screen(
        frames,
        (left, top, left + width - 1, top + height - 1),
        (left, top + height + 8, left + width - 1, top + height + bottom - 8),
    )


def _text(image: NDArray[np.uint8], text: str, at: tuple[int, int]) -> None:
    cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.4, TEXT, 1, cv2.LINE_AA)


def _ecg(
    cine: Phantom, count: int, left: int, top: int, width: int, height: int
) -> NDArray[np.int32]:
    """A line with a P, QRS and T wave around each end-diastole, (width, 2) in pixels."""
    x = np.arange(width)
    times = x / max(1, width - 1) * (count - 1) / cine.fps
    level = np.zeros(width)
    for frame in cine.ed_frames:
        wave = np.interp(times - frame / cine.fps, BEAT_S, BEAT_MV, 0, 0)
        level = np.where(np.abs(wave) > np.abs(level), wave, level)
    y = top + height * (0.75 - 0.65 * level)
    return np.stack([left + x, np.rint(y)], axis=1).astype(np.int32)
