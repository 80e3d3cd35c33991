"""Square pictures of one person, at a fixed rate whatever the video's."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from medvial.cine import Cine
from medvial.gait.ahead import read_ahead
from medvial.gait.blazepose import Image
from medvial.gait.track import Points
from medvial.gait.tracker import Person, colour

_SMOOTH_S = 0.3  # of centre and size: a crop that trembles hides how the person moves


@dataclass(frozen=True)
class CropOptions:
    """How a person is cut out."""

    fps: float = 10.0
    """Frames a second of the crops."""
    size_px: int = 112
    """Side of a crop."""
    margin: float = 0.1
    """Added on each side, by the body's height."""
    scale: Literal["smooth", "fixed"] = "fixed"
    """One size for the whole video, or the body's own, for walks towards the camera or away."""
    in_sight: bool = True
    """Only from the first to the last sighting; False crops the whole video."""


def crops(cine: Cine, person: Person, options: CropOptions) -> Iterator[tuple[float, Image]]:
    """Time in seconds and crop (size, size, 3) RGB, `fps` a second, one in memory at a time.

    For each moment the frame whose time is nearest is taken, by the time stamps: a video of fewer
    frames a second repeats some, one of more leaves some out, a variable rate becomes even.
    Outside the frame a crop is black.

    Raises:
        InputError: Not one frame can be decoded.
    """
    times_s = crop_times(person, options)
    squares = crop_squares(person, times_s, options)
    for index, frame in _nearest(cine, times_s):
        yield float(times_s[index]), cut(frame, squares[index], options.size_px)


def crop_times(person: Person, options: CropOptions) -> Points:
    """(T,) moments of the crops, in seconds of the video."""
    start, end = 0.0, float(person.frame_times_s[-1])
    if end - person.sampled_s[-1] > 1.0:  # the rest of a damaged video
        end = float(person.sampled_s[-1])
    if options.in_sight and person.method != "frame":
        start, end = max(start, person.track.start_s), min(end, person.track.end_s)
    count = int((end - start) * options.fps + 1e-6) + 1
    return start + np.arange(count) / options.fps


def crop_squares(person: Person, times_s: Points, options: CropOptions) -> Points:
    """(T, 3) squares at any times: centre x and y, and side, in pixels of the frame."""
    boxes = person.track.boxes_at(times_s, _SMOOTH_S)
    heights, widths = boxes[:, 3] - boxes[:, 1], boxes[:, 2] - boxes[:, 0]
    sides = np.maximum(heights, widths) * (1 + 2 * options.margin)
    if options.scale == "fixed":
        sides[:] = np.median(sides)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    return np.column_stack([centres, np.maximum(sides, 2.0)])


def cut(frame: Image, square: Points, size_px: int) -> Image:
    """One square (x, y, side in pixels) of a frame, scaled to `size_px`; black beyond the frame."""
    height, width = frame.shape[:2]
    side = max(2, round(square[2]))
    left, top = round(square[0] - side / 2), round(square[1] - side / 2)
    part = np.zeros((side, side, 3), np.uint8)
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + side, width), min(top + side, height)
    if x1 > x0 and y1 > y0:
        part[y0 - top : y1 - top, x0 - left : x1 - left] = frame[y0:y1, x0:x1]
    how = cv2.INTER_AREA if side > size_px else cv2.INTER_LINEAR
    return cv2.resize(part, (size_px, size_px), interpolation=how).astype(np.uint8)


def _nearest(cine: Cine, times_s: Points) -> Iterator[tuple[int, Image]]:
    """For each of increasing times its index and the frame nearest to it."""
    step = _step(cine, times_s)
    index, before_s, before = 0, -math.inf, None
    for time_s, frame in read_ahead(cine.every(step)):
        while before is not None and index < len(times_s):
            if times_s[index] > (before_s + time_s) / 2:
                break
            yield index, before
            index += 1
        if index == len(times_s):
            return
        before_s, before = time_s, colour(frame)
    while before is not None and index < len(times_s):
        yield index, before
        index += 1


def _step(cine: Cine, times_s: Points) -> int:
    """Frames that can be passed over unseen: an even rate that is a multiple of the crops'."""
    known = cine.info.frame_times_s
    if len(times_s) < 2 or not known or len(known) < 3:
        return 1
    ratio = cine.info.fps * float(times_s[1] - times_s[0])
    intervals = np.diff(known)
    even = float(np.ptp(intervals)) < 0.2 * float(intervals.mean())
    first = float(times_s[0]) * cine.info.fps / max(1, round(ratio))
    fits = abs(ratio - round(ratio)) < 0.01 and abs(first - round(first)) < 0.02
    return max(1, round(ratio)) if even and fits else 1
