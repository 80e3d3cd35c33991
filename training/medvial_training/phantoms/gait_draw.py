"""Tubes to pictures: outlines with rounded shading, hidden parts, boxes."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from medvial_training.phantoms.gait_camera import Camera, place
from medvial_training.phantoms.gait_figure import Tube

Array = NDArray[np.float64]
Image = NDArray[np.uint8]
ARC = 7  # points of each rounded end
SHIFT, ONE = 4, 16  # OpenCV's fixed point: sixteenths of a pixel
# From the rim to the highlight: brightness, radius, how far towards the light in radii.
SHADES = ((0.66, 1.0, 0.0), (0.80, 0.88, 0.08), (0.93, 0.70, 0.17), (1.03, 0.48, 0.26),
          (1.10, 0.24, 0.34))  # fmt: skip
FLAT = ((1.0, 1.0, 0.0),)
SMALL_PX = 170  # people below that height have fewer shades
FARTHER_DARKER = 0.9  # per metre, of a person's parts


@dataclass(frozen=True)
class Outlines:
    """What to fill for one person, in every frame."""

    polygons: list[list[Any]]
    """Per tube and shade: (T, S, 2 * ARC, 2) int32 in sixteenths of a pixel."""
    colours: list[list[Any]]
    """Per tube and frame: RGB of each shade."""
    order: NDArray[np.int64]
    """(T, tubes) from the farthest to the nearest."""
    boxes: Array
    """(T, 4): x0, y0, x1, y1 in pixels, around the person, not cut at the picture's edge."""
    feet_px: Array
    """(T, 2) where the person's origin stands on the floor."""
    depth_m: float
    """Mean z: nearer persons hide farther ones."""


def outline(
    tubes: list[Tube], heading_deg: float, at: Array, camera: Camera, light: tuple[float, float]
) -> Outlines:
    """Project a person.

    Args:
        tubes: The body, in its own axes.
        heading_deg: Where it faces.
        at: (T, 3) where it is, in metres.
        camera: The camera.
        light: Direction to the light in the picture (x, y), unit length.
    """
    polygons, colours, depths, boxes = [], [], [], []
    middle = float(at[:, 2].mean())
    tall = float(camera.scale(middle)) * float(
        np.ptp(np.concatenate([t.points[0] for t in tubes])[:, 1])
    )
    shades = SHADES if tall > SMALL_PX else SHADES[::2]
    for tube in tubes:
        own = shades if tube.contrast else FLAT
        points = place(tube.points, heading_deg, at)
        centres, scale = camera.project(points), camera.scale(points[..., 2])
        radii = scale * _seen_radius(tube, heading_deg)
        boxes.append(_extent(centres, radii))
        depths.append(points[..., 2].mean(axis=1) + tube.nearer_m)
        polygons.append(
            [
                _capsules(centres + (shift * radii)[..., None] * light, size * radii)
                for _, size, shift in own
            ]
        )
        depth = points[..., 2].mean(axis=1) - middle
        darker = 1 - (1 - FARTHER_DARKER) * np.clip(-4 * depth, 0, 2)
        tones = 1 - tube.contrast * (1 - np.array([shade[0] for shade in own]))
        colours.append(darker[:, None, None] * tones[None, :, None] * np.array(tube.colour))
    low, high = (np.stack([box[k] for box in boxes]) for k in (0, 1))
    return Outlines(
        polygons,
        [np.clip(tones, 0, 255).tolist() for tones in colours],
        np.argsort(np.stack(depths, axis=1), axis=1, kind="stable"),
        np.concatenate([low.min(axis=0), high.max(axis=0)], axis=1),
        camera.project(at * (1, 0, 1)),
        middle,
    )


def _seen_radius(tube: Tube, heading_deg: float) -> Array:
    """Half width of an upright elliptical disc seen from the heading, (P,) in metres."""
    angle = np.deg2rad(heading_deg)
    radius: Array = np.hypot(tube.lateral * np.sin(angle), tube.sagittal * np.cos(angle))
    return radius


def _extent(centres: Array, radii: Array) -> tuple[Array, Array]:
    """Lowest and highest (x, y) of discs, each (T, 2)."""
    return (centres - radii[..., None]).min(axis=1), (centres + radii[..., None]).max(axis=1)


def _capsules(centres: Array, radii: Array) -> NDArray[np.int32]:
    """Hulls of neighbouring discs, (T, P - 1, 2 * ARC, 2) in sixteenths of a pixel.

    The straight sides touch both circles: their contact points lie at an angle of
    acos((r1 - r2) / d) from the line between the centres.
    """
    first, second = centres[:, :-1], centres[:, 1:]
    r1, r2 = radii[..., :-1], radii[..., 1:]
    across = second - first
    distance = np.maximum(np.hypot(across[..., 0], across[..., 1]), 1e-6)
    axis = np.arctan2(across[..., 1], across[..., 0])
    lean = np.arccos(np.clip((r1 - r2) / distance, -1, 1))
    part = np.linspace(0, 1, ARC)
    near = axis[..., None] + lean[..., None] + part * (2 * np.pi - 2 * lean[..., None])
    far = axis[..., None] - lean[..., None] + part * (2 * lean[..., None])
    ends = [_arc(first, r1, near), _arc(second, r2, far)]
    return np.rint(np.concatenate(ends, axis=-2) * ONE).astype(np.int32)


def _arc(centre: Array, radius: Array, angle: Array) -> Array:
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    arc: Array = centre[..., None, :] + radius[..., None, None] * circle
    return arc


def paint(image: Image, outlines: Outlines, frame: int) -> None:
    """Draw the person into an RGB picture."""
    for number in outlines.order[frame]:
        for polygons, colour in zip(
            outlines.polygons[number], outlines.colours[number][frame], strict=True
        ):
            for polygon in polygons[frame]:
                cv2.fillConvexPoly(image, polygon, colour, cv2.LINE_AA, SHIFT)


def silhouette(outlines: Outlines, frame: int, shape: tuple[int, int]) -> Image:
    """Where the person is, (H, W) uint8, 255 inside."""
    mask = np.zeros(shape, np.uint8)
    for polygons in outlines.polygons:
        for polygon in polygons[0][frame]:
            cv2.fillConvexPoly(mask, polygon, 255.0, cv2.LINE_AA, SHIFT)
    return mask
