"""Draws people of keypoints as coloured limbs on black: what video networks look at."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from medvial.errors import InputError
from medvial.gait.skeletons import BODY_25, Keypoints, Limb, check_keypoints

_MIN_LENGTH_PX = 1.0
_SHIFT = 4  # binary digits of a pixel's parts that OpenCV draws with
_DIMMEST = 0.25  # brightness of a limb whose joints are hardly sure


@dataclass(frozen=True)
class View:
    """What part of the picture is drawn, and how large: x' = (x - x0) * scale, the same for y."""

    x0: float
    y0: float
    scale: float

    def __post_init__(self) -> None:
        """Refuse what draws nothing."""
        if not (np.isfinite([self.x0, self.y0, self.scale]).all() and self.scale > 0):
            raise InputError(f"Expected a finite view with a scale above 0, got {self}.")


def fit_person(points: Keypoints, height: int, width: int, margin: float = 0.08) -> View:
    """The view that shows a person throughout a clip, the same for all frames.

    A person is so equally large whatever the distance of the camera. The 1st to 99th percentile
    of the joints, so that one that strays does not shrink the rest.

    Args:
        points: (..., K, 3).
        height: Of the drawing.
        width: Of the drawing.
        margin: Around the person, as a part of the drawing's size.
    """
    xy = points[points[..., 2] > 0][:, :2]
    if len(xy) == 0:
        return View(0.0, 0.0, 1.0)
    low, high = np.quantile(xy, [0.01, 0.99], axis=0)
    size = np.maximum(high - low, _MIN_LENGTH_PX)
    inside = (1 - 2 * margin) * np.array([width - 1, height - 1])
    scale = float((inside / size).min())
    x0, y0 = (low + high) / 2 - np.array([width - 1, height - 1]) / 2 / scale
    return View(float(x0), float(y0), scale)


def fit_picture(source_height: int, source_width: int, height: int, width: int) -> View:
    """The view that shows the whole picture, centred: what OpenPose's own drawings show."""
    scale = min(height / source_height, width / source_width)
    x0 = (source_width - 1) / 2 - (width - 1) / 2 / scale
    y0 = (source_height - 1) / 2 - (height - 1) / 2 / scale
    return View(x0, y0, scale)


def draw_clip(
    points: Keypoints, height: int, width: int, *, view: View | None = None, line_px: int = 0
) -> Iterator[NDArray[np.uint8]]:
    """Draw each frame, also those in which nobody was seen: they are black.

    Each limb has a colour of its own, dimmed by the confidence of its less sure joint. A limb with
    a missing joint is not drawn.

    Args:
        points: (T, 25, 3) of one person or (T, P, 25, 3) of several, BODY_25. Frames at even
            times: see `signals.at_rate`.
        height: Of the drawing.
        width: Of the drawing.
        view: What is drawn; None fits the people.
        line_px: Thickness of the limbs; 0 takes a hundredth of the longer side, at least 1.

    Yields:
        (height, width, 3) uint8 RGB, a frame each.

    Raises:
        InputError: The shape is another.
    """
    check_keypoints(points, BODY_25)
    if points.ndim not in (3, 4) or min(height, width) < 1:
        raise InputError(
            f"Expected keypoints (T, 25, 3) or (T, P, 25, 3) and a size above 0, got "
            f"{points.shape} and {height} x {width}."
        )
    view = view or fit_person(points, height, width)
    thickness = line_px or max(1, round(max(height, width) / 100))
    for frame in points:
        canvas = np.zeros((height, width, 3), np.uint8)
        for person in frame.reshape(-1, *frame.shape[-2:]):
            _draw_person(canvas, person, view, thickness)
        yield canvas


def _draw_person(canvas: NDArray[np.uint8], person: Keypoints, view: View, thickness: int) -> None:
    for limb in BODY_25.limbs:
        ends = person[[BODY_25.indices[limb.start], BODY_25.indices[limb.end]]]
        if np.isfinite(ends).all() and (ends[:, 2] > 0).all():
            _draw_limb(canvas, limb, ends, view, thickness)


def _draw_limb(
    canvas: NDArray[np.uint8], limb: Limb, ends: Keypoints, view: View, thickness: int
) -> None:
    x = (ends[:, 0] - view.x0) * view.scale
    y = (ends[:, 1] - view.y0) * view.scale
    beyond = 4 * max(canvas.shape)  # OpenCV's integers overflow far outside
    if max(np.abs(x).max(), np.abs(y).max()) > beyond:
        return
    start, end = (tuple(round(v * 2**_SHIFT) for v in xy) for xy in zip(x, y, strict=True))
    brightness = _DIMMEST + (1 - _DIMMEST) * float(ends[:, 2].min())
    colour = tuple(part * brightness for part in limb.colour)
    cv2.line(canvas, start, end, colour, thickness, cv2.LINE_AA, _SHIFT)
