"""A tracing: the landmarks of one film, and the geometry that measurements are made of."""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

MIN_LENGTH_PX = 1.0
"""Two points closer than this give no direction: their marks are not that exact on any film."""


class DegenerateError(ValueError):
    """The landmarks are there, but lie so that the measurement has no value; says which."""


class Tracing:
    """Landmarks of one film in the clinical frame: x to the front, y up, lengths in pixels.

    The frame is that of an orthodontist's tracing, face to the right. Angles are in degrees and
    do not change when the film is moved, turned or scaled. Vectors are (2,).
    """

    def __init__(self, points: Mapping[str, Vector]) -> None:
        """Take points by symbol, (2,) each, already in the clinical frame."""
        self._points = points

    def vector(self, start: str, end: str) -> Vector:
        """From one landmark to another, in pixels."""
        return self._points[end] - self._points[start]

    def direction(self, start: str, end: str) -> Vector:
        """The unit vector from one landmark to another.

        Raises:
            DegenerateError: The landmarks coincide.
        """
        return self.vector(start, end) / self.distance(start, end)

    def distance(self, start: str, end: str) -> float:
        """The length between two landmarks, in pixels.

        Raises:
            DegenerateError: The landmarks coincide.
        """
        length = float(np.hypot(*self.vector(start, end)))
        if length < MIN_LENGTH_PX:
            raise DegenerateError(f"landmarks {start} and {end} coincide")
        return length

    def frankfort(self) -> Vector:
        """The unit vector along the Frankfort horizontal, from Po to Or."""
        return self.direction("Po", "Or")

    def mandibular_plane(self) -> Vector:
        """The unit vector along the mandibular plane, from Go to Me."""
        return self.direction("Go", "Me")

    def palatal_plane(self) -> Vector:
        """The unit vector along the palatal plane, from PNS to ANS."""
        return self.direction("PNS", "ANS")

    def palatal_tilt(self) -> float:
        """FH to the palatal plane in degrees; positive when its front is lower (Kim)."""
        return descent(self.frankfort(), self.palatal_plane())

    def occlusal_plane(self) -> Vector:
        """The unit vector along the bisected occlusal plane, from the molars to the incisors.

        The plane runs from the midpoint of U6 and L6 to the midpoint of U1 and L1 (Downs, Am J
        Orthod 1948;34:812-840). It is not the functional occlusal plane of the premolars.

        Raises:
            DegenerateError: The two midpoints coincide.
        """
        p = self._points
        plane = (p["U1"] + p["L1"] - p["U6"] - p["L6"]) / 2
        length = float(np.hypot(*plane))
        if length < MIN_LENGTH_PX:
            raise DegenerateError("the ends of the occlusal plane coincide")
        return plane / length

    def angle(self, first: str, vertex: str, last: str) -> float:
        """The angle at `vertex` between the other two landmarks, 0 to 180 degrees."""
        return abs(turn(self.direction(vertex, first), self.direction(vertex, last)))

    def offset(self, symbol: str, start: str, end: str) -> float:
        """Distance of a landmark from the line through `start` and `end`, in pixels.

        Positive on the left of someone who walks from `start` to `end`: in front of a line that
        runs down, above a line that runs to the front.
        """
        return cross(self.direction(start, end), self.vector(start, symbol))


def turn(start: Vector, end: Vector) -> float:
    """The angle from one direction to another in degrees, -180 to 180.

    Positive is anticlockwise on a face that looks right: from the front up, from down to the
    front, from the back down.
    """
    return math.degrees(math.atan2(cross(start, end), float(np.dot(start, end))))


def descent(upper: Vector, lower: Vector) -> float:
    """By how much `lower` falls to the front against `upper`, in degrees.

    Both run from the back to the front. Positive when the planes open to the front, as the
    mandibular plane opens against the Frankfort horizontal.
    """
    return turn(lower, upper)


def cross(first: Vector, second: Vector) -> float:
    """The z component of the cross product of two vectors (2,)."""
    return float(first[0] * second[1] - first[1] * second[0])
