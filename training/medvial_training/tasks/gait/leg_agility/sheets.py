"""Contact sheets of recordings: who is there, and who was taken for the patient."""

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from medvial.gait.leg_agility.render import draw_clip, fit_person
from medvial.gait.openpose import People
from medvial.gait.skeletons import BODY_25, Keypoints, remap

FRAMES, HEIGHT, WIDTH = 8, 240, 160
_MARGIN = 0.15
_TEXT = (190, 190, 190)


def contact_sheet(
    points: Keypoints, times_s: NDArray[np.float64], people: People | None = None
) -> bytes:
    """Eight moments side by side as PNG: the patient in colour, everybody else in grey.

    Args:
        points: (T, 25, 3) of the patient.
        times_s: (T,).
        people: Everybody in the same frames, where known.
    """
    index = np.unique(np.linspace(0, len(points) - 1, FRAMES).round().astype(np.intp))
    view = fit_person(points, HEIGHT, WIDTH, _MARGIN)
    pictures = list(draw_clip(points[index], HEIGHT, WIDTH, view=view, line_px=2))
    if people is not None:
        everybody = remap(people.points[index], people.skeleton, BODY_25)
        behind = draw_clip(everybody, HEIGHT, WIDTH, view=view, line_px=2)
        pictures = list(_over(pictures, behind))
    for picture, time_s in zip(pictures, times_s[index], strict=True):
        at = (4, HEIGHT - 6)
        cv2.putText(picture, f"{time_s:.1f} s", at, cv2.FONT_HERSHEY_SIMPLEX, 0.4, _TEXT)
    sheet = np.concatenate(pictures, axis=1)
    content: NDArray[np.uint8] = cv2.imencode(".png", sheet[..., ::-1])[1]  # OpenCV writes BGR
    return content.tobytes()


def _over(
    pictures: list[NDArray[np.uint8]], behind: Iterator[NDArray[np.uint8]]
) -> Iterator[NDArray[np.uint8]]:
    """The patient over grey drawings of everybody."""
    for front, back in zip(pictures, behind, strict=True):
        grey = np.repeat(back.max(axis=2, keepdims=True) // 2, 3, axis=2)
        yield np.where(front.any(axis=2, keepdims=True), front, grey)
