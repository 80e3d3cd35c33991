"""Rooms, shadows and the camera's sensor."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from medvial_training.phantoms.gait_camera import Camera
from medvial_training.phantoms.gait_draw import Image, Outlines, paint, silhouette
from medvial_training.phantoms.gait_figure import Colour, darker, from_hsv

Array = NDArray[np.float64]
Floats = NDArray[np.float32]
SKIRTING_M, RAIL_M, DOOR_M, ROOM_M = 0.12, 0.95, 2.05, 2.9


@dataclass(frozen=True)
class Sensor:
    """What camera and light do to the picture."""

    gain: float
    noise: float
    """Standard deviation, in grey values."""
    blur_px: float
    light: tuple[float, float]
    """Direction to the light in the picture (x, y), unit length."""


def sample_sensor(rng: np.random.Generator) -> Sensor:
    """Any camera, any light."""
    angle = rng.uniform(-2.4, -0.75)
    return Sensor(
        float(rng.uniform(0.78, 1.15)),
        float(rng.uniform(1.5, 5.0)),
        float(rng.uniform(0.3, 0.75)),
        (float(np.cos(angle)), float(np.sin(angle))),
    )


def room(camera: Camera, rng: np.random.Generator, *, hue: float | None = None) -> Image:
    """An empty room, (H, W, 3) RGB.

    Args:
        camera: The camera.
        rng: For everything in the room.
        hue: Of the wall, 0 to 1; any if None.
    """
    depth = -float(rng.uniform(1.4, 4.0))
    wall = from_hsv(
        float(rng.random()) if hue is None else hue,
        float(rng.beta(1.2, 11.0)) if hue is None else 0.3,
        float(rng.uniform(0.55, 0.95)),
    )
    image = np.empty((camera.height, camera.width, 3), np.float32)
    image[:] = wall
    image *= _unevenness(image.shape[:2], rng, 0.10)[..., None]
    _furnish(image, camera, depth, wall, rng)
    edge = round(float(camera.project(np.array([0, 0, depth]))[1]))
    _floor(image, camera, max(0, min(edge, camera.height - 1)), rng)
    image += rng.normal(0, 2.5, image.shape[:2])[..., None].astype(np.float32)
    blurred = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.5, 1.3)) * camera.height / 360)
    return np.clip(blurred, 0, 255).astype(np.uint8)


def _unevenness(shape: tuple[int, ...], rng: np.random.Generator, size: float) -> Floats:
    """Slow changes of brightness, (H, W) around 1."""
    small = 1 + size * rng.standard_normal((4, 6)).astype(np.float32)
    large = cv2.resize(small, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    return np.asarray(large, np.float32)


def _furnish(
    image: Floats, camera: Camera, depth: float, wall: Colour, rng: np.random.Generator
) -> None:
    """Skirting, handrail, doors, windows, pictures, cupboards on or before the wall."""
    left, right = (x * 1.6 for x in camera.seen_m())
    x = left + float(rng.uniform(0, 0.8))
    while x < right:
        width = _thing(image, camera, x, depth, wall, rng)
        x += width + float(rng.uniform(0.2, 1.6))
    dark = darker(wall, 0.6)
    _panel(image, camera, (left, right, 0.0, SKIRTING_M), depth, dark)
    if rng.random() < 0.4:
        _panel(image, camera, (left, right, RAIL_M - 0.06, RAIL_M + 0.06), depth, _any(rng))


def _thing(
    image: Floats, camera: Camera, x: float, depth: float, wall: Colour, rng: np.random.Generator
) -> float:
    """Draw one thing whose left side is at x; its width in metres."""
    kind = rng.choice(["door", "window", "picture", "cupboard", "curtain", "panel"])
    if kind == "door":
        colour = _any(rng)
        _panel(image, camera, (x, x + 1.04, 0, DOOR_M + 0.06), depth, darker(wall, 0.5))
        _panel(image, camera, (x + 0.06, x + 0.98, 0, DOOR_M), depth, colour)
        _panel(image, camera, (x + 0.84, x + 0.92, 1.0, 1.04), depth, (60, 60, 60))
        return 1.04
    if kind == "window":
        width = float(rng.uniform(0.8, 1.6))
        _panel(image, camera, (x, x + width, 0.9, 2.2), depth, (225, 225, 225))
        for part in (0, 1):
            at = x + 0.05 + part * width / 2
            _panel(image, camera, (at, at + width / 2 - 0.1, 0.96, 2.14), depth, (196, 216, 232))
        return width
    if kind == "picture":
        width, height = rng.uniform(0.3, 0.9, 2)
        _panel(image, camera, (x, x + width, 1.35, 1.35 + height), depth, (40, 40, 40))
        inner = (x + 0.04, x + width - 0.04, 1.39, 1.31 + height)
        _panel(image, camera, inner, depth, _any(rng))
        for y in np.arange(1.45, 1.28 + height, 0.08):
            _panel(image, camera, (x + 0.08, x + width * 0.8, y, y + 0.02), depth, (90, 90, 90))
        return float(width)
    if kind == "cupboard":
        width, height = float(rng.uniform(0.5, 1.2)), float(rng.uniform(0.6, 1.7))
        colour = _any(rng)
        _panel(image, camera, (x, x + width, 0, height), depth + 0.4, colour)
        middle = (x + width / 2 - 0.01, x + width / 2 + 0.01, 0.05, height - 0.05)
        _panel(image, camera, middle, depth + 0.4, darker(colour, 0.5))
        return width
    stripes, colour = int(rng.integers(4, 12)), _any(rng)
    for stripe in range(stripes):
        at, shade = x + 0.1 * stripe, (0.8 if stripe % 2 else 1.0)
        low = 0.1 if kind == "curtain" else 0.9
        _panel(image, camera, (at, at + 0.1, low, 2.4), depth, darker(colour, shade))
    return 0.1 * stripes


def _any(rng: np.random.Generator) -> Colour:
    return from_hsv(float(rng.random()), float(rng.beta(1.2, 6.0)), float(rng.uniform(0.3, 0.95)))


def _panel(
    image: Floats,
    camera: Camera,
    box: tuple[float, float, float, float],
    depth: float,
    colour: Colour,
) -> None:
    """Fill an upright rectangle x0, x1, y0, y1 in metres; it keeps the wall's unevenness."""
    x0, x1, y0, y1 = box
    corners = camera.project(np.array([[x0, y1, depth], [x1, y0, depth]]))
    (left, top), (right, low) = np.rint(np.clip(corners, 0, (camera.width, camera.height)))
    image[int(top) : int(low), int(left) : int(right)] = colour


def _floor(image: Floats, camera: Camera, edge: int, rng: np.random.Generator) -> None:
    """Tiles or boards in perspective, below the row where the wall ends."""
    rows = np.arange(edge, camera.height)[:, None]
    columns = np.arange(camera.width)[None]
    below = np.maximum(rows - camera.centre_px[1], 1)
    away = camera.focal_px * camera.height_m / below  # metres from the camera
    x = (columns - camera.centre_px[0]) * away / camera.focal_px
    size = float(rng.uniform(0.3, 0.9))
    gap = np.minimum(np.abs((x / size) % 1 - 0.5), np.abs((away / size) % 1 - 0.5))
    line = np.clip(1 - gap * size / 0.014 * 60 / np.maximum(below, 20), 0, 1)
    tone = np.array(_any(rng)) * 0.8 + 20
    shade = 0.78 + 0.3 * (rows - edge) / max(1, camera.height - edge)
    uneven = _unevenness((len(rows), camera.width), rng, 0.05)
    strength = float(rng.choice([0.0, 0.12, 0.25]))
    image[edge:] = (shade * uneven * (1 - strength * line))[..., None] * tone


def film(
    background: Image,
    people: list[Outlines],
    count: int,
    sensor: Sensor,
    rng: np.random.Generator,
) -> Iterator[Image]:
    """Pictures of people in a room, (H, W, 3) RGB one after another."""
    height, width = background.shape[:2]
    grain = rng.normal(128, sensor.noise, (height + 64, width + 64, 3))
    grain = np.clip(np.rint(grain), 0, 255).astype(np.uint8)
    fold = rng.normal(128, 9, (max(4, height // 6), max(4, width // 6))).astype(np.float32)
    large = cv2.resize(fold, (2 * width, height), interpolation=cv2.INTER_CUBIC)
    cloth = cv2.merge([np.clip(large, 0, 255).astype(np.uint8)] * 3)
    people = sorted(people, key=lambda person: person.depth_m)
    empty = cv2.GaussianBlur(background, (0, 0), sensor.blur_px)
    for frame in range(count):
        image = np.array(empty, np.uint8)
        for person in people:
            _shadow_and_person(image, person, frame, sensor, np.asarray(cloth, np.uint8))
        dy, dx = (int(v) for v in rng.integers(0, 64, 2))
        part = grain[dy : dy + height, dx : dx + width]
        yield np.asarray(cv2.addWeighted(image, sensor.gain, part, 1.0, -128.0), np.uint8)


def _shadow_and_person(
    image: Image, person: Outlines, frame: int, sensor: Sensor, cloth: Image
) -> None:
    """Draw one person; `cloth` are folds, 128 the mean, as wide as two pictures."""
    x0, y0, x1, y1 = person.boxes[frame]
    height, width = image.shape[:2]
    left, top = max(0, int(x0) - 3), max(0, int(y0) - 3)
    right, low = min(width, int(x1) + 4), min(height, int(y1) + 4)
    if right <= left or low <= top:
        return
    mask = silhouette(person, frame, (height, width))
    _shadow(image, mask, person.feet_px[frame], float(y1 - y0), sensor)
    paint(image, person, frame)
    region = image[top:low, left:right]
    shift = (left - int(x0)) % 7
    folded = cv2.multiply(region, cloth[top:low, shift : shift + right - left], scale=1 / 128)
    cv2.copyTo(folded, mask[top:low, left:right], region)
    cv2.GaussianBlur(region, (0, 0), sensor.blur_px, region)


def _shadow(image: Image, mask: Image, feet: Array, tall: float, sensor: Sensor) -> None:
    """Darken the floor by the silhouette, laid down away from the light, and below the feet."""
    height, width = mask.shape
    x, y = float(feet[0]), float(feet[1])
    lean = -0.8 * sensor.light[0]
    low = max(0, int(y - 0.03 * tall))
    if low >= height:
        return
    flat = np.array([[1.0, lean, -lean * y], [0.0, -0.10, 1.10 * y - low]])
    laid = cv2.warpAffine(mask, flat, (width, height - low))
    contact = np.zeros((height - low, width), np.uint8)
    axes = (max(1, int(0.16 * tall)), max(1, int(0.018 * tall)))
    cv2.ellipse(contact, (int(x), int(y) - low), axes, 0, 0, 360, 150.0, -1)
    dark = cv2.max(contact, laid)
    dark = cv2.GaussianBlur(dark, (0, 0), max(0.8, 0.012 * tall))
    factor = 255 - (0.42 * dark).astype(np.uint8)
    image[low:] = cv2.multiply(image[low:], cv2.merge([factor] * 3), scale=1 / 255)
