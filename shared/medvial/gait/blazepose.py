"""BlazePose: finding people on a frame, and 33 landmarks of one of them.

The networks are MediaPipe's (Bazarevsky et al., BlazePose, arXiv 2006.10204, 2020; model cards
"BlazePose GHUM 3D"), run by LiteRT on the CPU. Frames are (H, W, 3) uint8 RGB; points are (x, y)
in pixels of the frame, from the centre of its upper left pixel, x to the right and y down.
"""

import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from medvial.errors import InputError
from medvial.gait.weights import find_weights

LANDMARKS = 33
NOSE, LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_HIP, RIGHT_HIP = 0, 11, 12, 23, 24

_DETECTOR_SIDE, _LANDMARK_SIDE = 224, 256  # of the networks' square inputs, pixels
# Strides and anchors a cell of the detector's grids: pose_detection's SSD anchors, MediaPipe's
# pose_detection_cpu.pbtxt (grids of 28, 14 and 7 cells a side, 2254 anchors).
_GRIDS = ((8, 2), (16, 2), (32, 6))
_REGION_BY_CIRCLE = 1.25  # side of the landmark network's region by the circle's diameter
_SAME_PERSON = 0.5  # circles whose centres are nearer than this part of a radius are one person
_TILE_BY_SHORT_SIDE = 2 / 3
_TILES_LONG, _TILES_SHORT = 4, 2  # along the long and the short side of the frame

Image = NDArray[np.uint8]
Points = NDArray[np.float64]


@dataclass(frozen=True)
class Circle:
    """A person's place as BlazePose sees it: the circle around the hips that holds the body."""

    x: float
    y: float
    """Middle of the hips, pixels."""
    radius: float
    """Pixels."""
    up: float
    """Direction from the hips to the head, radians: 0 is up the frame, positive is clockwise."""
    score: float
    """0 to 1: that this is a person."""

    def same_person(self, other: "Circle") -> bool:
        """Whether two circles are so near that they are of one person."""
        distance = math.hypot(self.x - other.x, self.y - other.y)
        return distance < _SAME_PERSON * min(self.radius, other.radius)


@dataclass(frozen=True)
class Pose:
    """One person's landmarks."""

    points: Points
    """(33, 3): x and y in pixels of the frame, visibility 0 to 1; in BlazePose's order."""
    world_m: Points
    """(33, 3): x (right), y (down), z (away from the camera) in metres from the hips' middle."""
    presence: float
    """0 to 1: that there is a person in the region."""
    circle: Circle
    """Where the person is, from the landmarks."""


class BlazePose:
    """Both networks; not to be used by two threads at once.

    Args:
        folder: The networks' files; None looks where `fetch_weights` puts them.
        threads: Of LiteRT.

    Raises:
        InputError: The files are missing or wrong, or LiteRT is not installed.
    """

    def __init__(self, folder: Path | None = None, threads: int = 2) -> None:
        paths = find_weights(folder)
        self._detector = _Network(paths["pose_detection.tflite"], threads)
        self._landmarks = _Network(paths["pose_landmark_full.tflite"], threads)
        self._anchors = _anchors()

    def detect(self, frame: Image, threshold: float = 0.5) -> list[Circle]:
        """People on a frame seen as a whole, best first; small ones are missed.

        A person has to be about half as high as a frame of 16:9 to be found.
        """
        canvas, scale, shift = _letterbox(frame, _DETECTOR_SIDE)
        boxes, logits = self._detector(canvas * np.float32(1 / 127.5) - np.float32(1))
        scores = 1 / (1 + np.exp(-np.clip(logits[0, :, 0].astype(np.float64), -100, 100)))
        kept = np.flatnonzero(scores >= threshold)
        points = boxes[0, kept, 4:8].reshape(-1, 2, 2).astype(np.float64)
        points = (points + self._anchors[kept, None] * _DETECTOR_SIDE - shift) / scale
        circles = [
            _circle(hip, top, score) for (hip, top), score in zip(points, scores[kept], strict=True)
        ]
        return suppress(circles)

    def detect_in(
        self, frame: Image, regions: list[tuple[int, int, int, int]], threshold: float = 0.5
    ) -> list[Circle]:
        """People in parts (x0, y0, x1, y1) of a frame, best first, each once."""
        found = []
        for x0, y0, x1, y1 in regions:
            for circle in self.detect(frame[y0:y1, x0:x1], threshold):
                found.append(
                    Circle(circle.x + x0, circle.y + y0, circle.radius, circle.up, circle.score)
                )
        return suppress(found)

    def pose(self, frame: Image, circle: Circle) -> Pose:
        """Landmarks of the person in a circle; look at `presence` before believing them."""
        to_frame = _region_to_frame(circle)
        region = cv2.warpAffine(
            frame,
            to_frame,
            (_LANDMARK_SIDE, _LANDMARK_SIDE),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        )
        flat, presence, _, _, world = self._landmarks(region.astype(np.float32) / np.float32(255))
        rows = flat.reshape(-1, 5).astype(np.float64)
        points = rows[:, :2] @ to_frame[:, :2].T + to_frame[:, 2]
        visibility = 1 / (1 + np.exp(-np.clip(rows[:LANDMARKS, 3], -100, 100)))
        # Two points beyond the 33 are the middle of the hips and a point on the circle.
        hip, top = points[LANDMARKS], points[LANDMARKS + 1]
        metres = _turned(world.reshape(-1, 3)[:LANDMARKS].astype(np.float64), circle.up)
        score = float(presence.ravel()[0])
        return Pose(
            points=np.column_stack([points[:LANDMARKS], visibility]),
            world_m=metres,
            presence=score,
            circle=_circle(hip, top, score),
        )


def tiles(height: int, width: int) -> list[tuple[int, int, int, int]]:
    """The whole frame, then overlapping squares that cover it, as (x0, y0, x1, y1).

    Squares of two thirds of the short side, four along the long side and two along the short one:
    with them a person of a fifth of the frame's height is found, who on the whole frame is missed.
    Longer frames than 8:3 get more of them, so that there are no gaps.
    """
    side = max(1, round(min(height, width) * _TILE_BY_SHORT_SIDE))
    long_count = max(_TILES_LONG, math.ceil(max(height, width) / side))
    count_x, count_y = (long_count, _TILES_SHORT) if width >= height else (_TILES_SHORT, long_count)
    lefts = np.linspace(0, width - side, count_x).astype(int)
    tops = np.linspace(0, height - side, count_y).astype(int)
    squares = [(int(x), int(y), int(x) + side, int(y) + side) for y in tops for x in lefts]
    return [(0, 0, width, height), *squares]


def suppress(circles: list[Circle]) -> list[Circle]:
    """The best circle of each person, best first."""
    kept: list[Circle] = []
    for circle in sorted(circles, key=lambda each: -each.score):
        if not any(circle.same_person(other) for other in kept):
            kept.append(circle)
    return kept


class _Network:
    """A TFLite file, run by LiteRT: (H, W, 3) float32 to its outputs in their named order."""

    def __init__(self, path: Path, threads: int) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise InputError(
                "Finding people needs LiteRT, which is not installed here: "
                f"`pip install ai-edge-litert` ({error})."
            ) from None
        with _quiet():
            self._interpreter = Interpreter(str(path), num_threads=threads)
            self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        outputs = sorted(self._interpreter.get_output_details(), key=lambda each: each["name"])
        self._outputs = [output["index"] for output in outputs]

    def __call__(self, pixels: NDArray[np.float32]) -> list[NDArray[Any]]:
        self._interpreter.set_tensor(self._input, pixels[None])
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index) for index in self._outputs]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep LiteRT's greeting, written by C++, off standard error, which the platform watches."""
    sys.stderr.flush()
    saved = os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)


def _anchors() -> Points:
    """(2254, 2): centres (x, y) of the detector's anchors, as parts of its input's side."""
    grids = []
    for stride, per_cell in _GRIDS:
        ticks = (np.arange(_DETECTOR_SIDE // stride) + 0.5) * stride / _DETECTOR_SIDE
        y, x = np.meshgrid(ticks, ticks, indexing="ij")
        grids.append(np.repeat(np.stack([x, y], axis=-1).reshape(-1, 2), per_cell, axis=0))
    return np.concatenate(grids)


def _letterbox(frame: Image, side: int) -> tuple[NDArray[np.float32], float, Points]:
    """A frame scaled into the middle of a black square; with the scale and shift (x, y) to it."""
    height, width = frame.shape[:2]
    scale = side / max(height, width)
    new_width, new_height = max(1, round(width * scale)), max(1, round(height * scale))
    left, top = (side - new_width) // 2, (side - new_height) // 2
    skip = max(1, int(0.5 / scale))  # pixels of large frames: half of the time, the same result
    canvas = np.zeros((side, side, 3), np.float32)
    canvas[top : top + new_height, left : left + new_width] = cv2.resize(
        frame[::skip, ::skip], (new_width, new_height), interpolation=cv2.INTER_AREA
    )
    return canvas, scale, np.array([left, top], np.float64)


def _circle(hip: Points, top: Points, score: float) -> Circle:
    across, along = float(top[0] - hip[0]), float(top[1] - hip[1])
    return Circle(
        x=float(hip[0]),
        y=float(hip[1]),
        radius=max(math.hypot(across, along), 1.0),
        up=math.atan2(across, -along),
        score=float(score),
    )


def _region_to_frame(circle: Circle) -> Points:
    """(2, 3): from pixels of the landmark network's input to those of the frame."""
    scale = 2 * circle.radius * _REGION_BY_CIRCLE / _LANDMARK_SIDE
    cos, sin = scale * math.cos(circle.up), scale * math.sin(circle.up)
    half = _LANDMARK_SIDE / 2
    return np.array(
        [
            [cos, -sin, circle.x - cos * half + sin * half],
            [sin, cos, circle.y - sin * half - cos * half],
        ]
    )


def _turned(points: Points, angle: float) -> Points:
    """(N, 3) points turned about the viewing axis, from the region's to the frame's upright."""
    cos, sin = math.cos(angle), math.sin(angle)
    x, y, z = points.T
    return np.stack([cos * x - sin * y, sin * x + cos * y, z], axis=1)
