"""Made-up echocardiograms whose ventricle is simply what is bright, with its true masks."""

from dataclasses import dataclass

import cv2
import numpy as np

HEIGHT, WIDTH = 150, 210
LONG_AXIS_PX = 30  # half of it
WIDE_PX, NARROW_PX = 19.0, 12.5  # half of the short axis at end-diastole and end-systole
EF_PERCENT = 100 * (1 - (NARROW_PX / WIDE_PX) ** 2)  # of spheroids of one length
BRIGHT = 230


@dataclass
class Film:
    frames: np.ndarray  # (T, H, W) or (T, H, W, 3) uint8
    masks: np.ndarray  # (T, H, W) bool
    fan: np.ndarray  # (H, W) bool


def make_film(
    count=100, *, fps=40.0, beats_s=(0.75,), centre=(105, 80), ventricle=True, seed=0
):  # 80 beats a minute; `beats_s` is repeated
    """Speckle in a fan, and a bright ellipse at (x, y) that beats, on a screen with text."""
    rng = np.random.default_rng(seed)
    corners = np.array([[105, 4], [190, 120], [150, 138], [105, 145], [60, 138], [20, 120]])
    fan = cv2.fillConvexPoly(np.zeros((HEIGHT, WIDTH), np.uint8), corners, (1,)) > 0
    frames = np.zeros((count, HEIGHT, WIDTH), np.uint8)
    masks = np.zeros((count, HEIGHT, WIDTH), bool)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    for t, wide in enumerate(_half_widths(count, fps, beats_s)):
        frames[t][fan] = rng.integers(15, 75, int(fan.sum()))
        if ventricle:
            x, y = (columns - centre[0]) / wide, (rows - centre[1]) / LONG_AXIS_PX
            masks[t] = (x**2 + y**2 <= 1) & fan
            frames[t][masks[t]] = BRIGHT
        cv2.putText(frames[t], "MI 1.2", (2, 14), cv2.FONT_HERSHEY_PLAIN, 0.8, (250,))
    return Film(frames, masks, fan)


def in_colour(film):
    """The film as RGB with red and blue patches over the tissue."""
    rgb = np.repeat(film.frames[..., None], 3, axis=-1)
    rgb[:, 100:125, 60:80] = (250, 10, 10)
    rgb[:, 100:125, 130:150] = (10, 10, 250)
    return rgb


def _half_widths(count, fps, beats_s):
    """(T,) half of the short axis in pixels; every beat begins at end-diastole."""
    widths, start, beat = [], 0.0, 0
    for t in range(count):
        if t / fps >= start + beats_s[beat % len(beats_s)]:
            start += beats_s[beat % len(beats_s)]
            beat += 1
        phase = (t / fps - start) / 0.6  # a systole and filling of 0.6 s, then rest
        filling = np.cos(np.pi * phase) ** 2 if phase < 1 else 1.0
        widths.append(NARROW_PX + (WIDE_PX - NARROW_PX) * filling)
    return widths
