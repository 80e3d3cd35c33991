"""A seated person who raises and stomps one foot after the other, and the chair."""

import cv2
import numpy as np
from numpy.typing import NDArray

from medvial_training.phantoms.gait_body import Body, Pose, body_of
from medvial_training.phantoms.gait_camera import Camera, place
from medvial_training.phantoms.gait_draw import Image
from medvial_training.phantoms.gait_figure import Colour, darker
from medvial_training.phantoms.gait_walk import ANKLE_HEIGHT, FOOT, HEEL_SHARE, SHANK, THIGH

Array = NDArray[np.float64]
SPLAY_DEG = 8.0  # of the thighs, outwards
MIRROR_SHARE = (0.0, 0.05)  # of the moving leg's elevation that the other one shows
SEAT_BELOW_HIP_M, SEAT_HALF_M, SEAT_DEEP_M, BACK_M = 0.09, 0.22, 0.42, 0.42


def sit(left_deg: Array, right_deg: Array, height_m: float, rng: np.random.Generator) -> Body:
    """A seated body whose thighs are raised by these angles, (T,) each, in degrees."""
    count = len(left_deg)
    time = np.linspace(0, count / 30, count)
    mirror, sway = rng.uniform(*MIRROR_SHARE), rng.uniform(0.2, 1.2)
    slow = sway * np.sin(2 * np.pi * rng.uniform(0.1, 0.35) * time + rng.uniform(0, 6))
    effort = 0.05 * (left_deg + right_deg)
    seat = (SHANK + ANKLE_HEIGHT) * height_m * float(rng.uniform(0.98, 1.04))
    pose = Pose(
        hip_height_m=np.full(count, seat),
        legs=(
            _leg(right_deg + mirror * left_deg, height_m, seat),
            _leg(left_deg + mirror * right_deg, height_m, seat),
        ),
        trunk_deg=rng.uniform(-6, 10) + slow - effort,
        kyphosis_deg=np.full(count, rng.uniform(5, 30)),
        neck_deg=np.full(count, rng.uniform(10, 30)),
        gaze_deg=rng.uniform(0, 14) + slow,
        arms_deg=(np.full(count, rng.uniform(-5, 12)), np.full(count, rng.uniform(-5, 12))),
        elbows_deg=np.full(count, rng.uniform(52, 74)),
        twist_deg=slow,
        turn_deg=np.full(count, rng.uniform(-12, 12)),
    )
    return body_of(pose, height_m)


def _leg(raised_deg: Array, height_m: float, seat_m: float) -> Array:
    """Knee, ankle, heel, toe from the hip, (T, 4, 3) in metres, (forwards, up, outwards).

    At rest the foot stands on the floor, which a seat above the knee's height inclines the thigh
    for; the shank hangs down from the knee.
    """
    rest = (SHANK + ANKLE_HEIGHT) * height_m - seat_m
    lift = np.arcsin(rest / (THIGH * height_m)) + np.deg2rad(raised_deg)
    reach = np.cos(lift)
    splay = np.deg2rad(SPLAY_DEG)
    knee = (
        THIGH
        * height_m
        * np.stack([reach * np.cos(splay), np.sin(lift), reach * np.sin(splay)], axis=-1)
    )
    hang = np.deg2rad(0.15 * raised_deg)
    ankle = knee + SHANK * height_m * np.stack(
        [-np.sin(hang), -np.cos(hang), np.zeros_like(hang)], axis=-1
    )
    tip = np.deg2rad(-0.35 * raised_deg)
    along = np.stack([np.cos(tip), np.sin(tip), 0.15 + 0 * tip], axis=-1) * FOOT * height_m
    sole = ankle - (0, ANKLE_HEIGHT * height_m, 0)
    return np.stack([knee, ankle, sole - HEEL_SHARE * along, sole + (1 - HEEL_SHARE) * along], 1)


def draw_chair(
    image: Image, camera: Camera, heading_deg: float, at: Array, seat_m: float, colour: Colour
) -> None:
    """Draw the chair of a person whose hips are at that height, in metres, into an RGB picture."""
    top = seat_m - SEAT_BELOW_HIP_M
    back = -0.14
    front = back + SEAT_DEEP_M
    for x in (back, front):
        for z in (-SEAT_HALF_M, SEAT_HALF_M):
            leg = [(x, 0, z - 0.02), (x, 0, z + 0.02), (x, top, z + 0.02), (x, top, z - 0.02)]
            _fill(image, camera, heading_deg, at, leg, 0.55, colour)
    rest = [
        *((back, top, -SEAT_HALF_M), (back, top, SEAT_HALF_M)),
        *((back - 0.06, top + BACK_M, SEAT_HALF_M), (back - 0.06, top + BACK_M, -SEAT_HALF_M)),
    ]
    _fill(image, camera, heading_deg, at, rest, 0.8, colour)
    seat = [(x, top, z) for x, z in ((back, -SEAT_HALF_M), (back, SEAT_HALF_M),
                                     (front, SEAT_HALF_M), (front, -SEAT_HALF_M))]  # fmt: skip
    _fill(image, camera, heading_deg, at, seat, 1.0, colour)
    rim = [(x, y, z) for x, y, z in ((front, top, -SEAT_HALF_M), (front, top, SEAT_HALF_M),
                                     (front, top - 0.05, SEAT_HALF_M),
                                     (front, top - 0.05, -SEAT_HALF_M))]  # fmt: skip
    _fill(image, camera, heading_deg, at, rim, 0.7, colour)


def _fill(
    image: Image, camera: Camera, heading_deg: float, at: Array,
    corners: list[tuple[float, float, float]], shade: float, colour: Colour,
) -> None:  # fmt: skip
    points = camera.project(place(np.array(corners)[None], heading_deg, at))[0]
    polygon = np.rint(points * 16).astype(np.int32)
    cv2.fillConvexPoly(image, polygon, darker(colour, shade), cv2.LINE_AA, 4)
