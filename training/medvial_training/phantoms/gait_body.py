"""A body: its pose, and the BODY_25 joints of that pose in space.

Axes of a body: forwards, up, to its right, in metres from the floor below the mid-hip. Segment
lengths as shares of the height: Drillis and Contini, in Winter, Biomechanics and Motor Control of
Human Movement, 2009. The face's proportions are design values.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medvial.gait.skeletons import BODY_25

Array = NDArray[np.float64]
JOINT = BODY_25.indices
TRUNK, UPPER_ARM, FOREARM = 0.288, 0.186, 0.146
SHOULDER_HALF, HIP_HALF = 0.105, 0.052  # from the middle to a joint
NECK, HEAD = 0.070, 0.050  # neck joint to the skull's base, from there to between the ears
NOSE, EYE, EAR = (0.068, -0.004, 0.0), (0.050, 0.014, 0.020), (-0.004, 0.004, 0.046)
ARM_OUT_DEG = 6.0
SMALL_TOE = (-0.030, 0.0, 0.022)


@dataclass(frozen=True)
class Pose:
    """How a body is held in each of T frames; angles from the vertical, forwards positive."""

    hip_height_m: Array
    """(T,) of the mid-hip above the floor."""
    legs: tuple[Array, Array]
    """Right and left: knee, ankle, heel, toe from the hip joint, (T, 4, 2) in metres as (forwards,
    up) or (T, 4, 3) as (forwards, up, outwards)."""
    trunk_deg: Array
    """(T,) inclination of the line from mid-hip to neck."""
    kyphosis_deg: Array
    """(T,) angle between its lower and its upper half."""
    neck_deg: Array
    """(T,) inclination of the neck."""
    gaze_deg: Array
    """(T,) how far the face looks down."""
    arms_deg: tuple[Array, Array]
    """(T,) of the upper arms, right and left."""
    elbows_deg: Array
    """(T,) flexion of both."""
    twist_deg: Array
    """(T,) of the shoulders against the hips: right shoulder forwards positive."""
    turn_deg: Array | None = None
    """(T,) of the head to its right."""


@dataclass(frozen=True)
class Body:
    """A posed body in its own axes."""

    height_m: float
    joints: Array
    """(T, 25, 3) BODY_25 joints in metres, (forwards, up, to the right)."""
    bend: Array
    """(T, 3) middle of the spine, which a kyphotic trunk has behind the line from hip to neck."""
    head: Array
    """(T, 3, 3) forwards, up and right of the head, unit vectors."""


def body_of(pose: Pose, height_m: float) -> Body:
    """Bring a pose to a body of that height."""
    h, count = height_m, len(pose.hip_height_m)
    joints = np.zeros((count, len(JOINT), 3))
    hip = np.zeros((count, 3))
    hip[:, 1] = pose.hip_height_m
    bend, neck = (hip + part for part in _spine(pose, height_m))
    joints[:, JOINT["mid_hip"]], joints[:, JOINT["neck"]] = hip, neck
    for side, sign, leg, arm in zip(
        ("right", "left"), (1.0, -1.0), pose.legs, pose.arms_deg, strict=True
    ):
        _put_leg(joints, side, sign, hip, leg, h)
        _put_arm(joints, side, sign, neck, pose, arm, h)
    axes = _head_axes(pose)
    _put_head(joints, neck, pose, axes, h)
    return Body(h, joints, bend, axes)


def _spine(pose: Pose, height_m: float) -> tuple[Array, Array]:
    """Middle of the trunk and neck, each (T, 3) in metres from the mid-hip.

    Two halves of one length, bent by the kyphosis: their sum has the trunk's inclination exactly.
    """
    half = TRUNK * height_m / 2
    low = along(pose.trunk_deg - pose.kyphosis_deg / 2, half)
    high = along(pose.trunk_deg + pose.kyphosis_deg / 2, half)
    return low, low + high


def along(angle_deg: Array, length: float) -> Array:
    """Upward vectors (T, 3) of that length, inclined forwards by the angle."""
    angle = np.deg2rad(angle_deg)
    return length * np.stack([np.sin(angle), np.cos(angle), np.zeros_like(angle)], axis=-1)


def _put_leg(joints: Array, side: str, sign: float, hip: Array, leg: Array, h: float) -> None:
    start = hip + np.array([0, 0, sign * HIP_HALF * h])
    spatial = np.zeros((*leg.shape[:2], 3))
    spatial[..., : leg.shape[-1]] = leg
    spatial[..., 2] *= sign
    points = start[:, None] + spatial
    joints[:, JOINT[f"{side}_hip"]] = start
    for place, name in enumerate(("knee", "ankle", "heel", "big_toe")):
        joints[:, JOINT[f"{side}_{name}"]] = points[:, place]
    small = h * np.array(SMALL_TOE) * (1, 1, sign)
    joints[:, JOINT[f"{side}_small_toe"]] = points[:, 3] + small


def _put_arm(
    joints: Array, side: str, sign: float, neck: Array, pose: Pose, arm_deg: Array, h: float
) -> None:
    twist = sign * np.deg2rad(pose.twist_deg)
    out = np.stack([np.sin(twist), np.zeros_like(twist), sign * np.cos(twist)], axis=-1)
    shoulder = neck + SHOULDER_HALF * h * out
    aside = np.array([0, 0, sign * np.sin(np.deg2rad(ARM_OUT_DEG))])
    upper, lower = along(arm_deg, 1.0) * (1, -1, 1), along(arm_deg + pose.elbows_deg, 1.0)
    elbow = shoulder + UPPER_ARM * h * (upper + aside)
    wrist = elbow + FOREARM * h * (lower * (1, -1, 1) + 0.3 * aside)
    for name, points in (("shoulder", shoulder), ("elbow", elbow), ("wrist", wrist)):
        joints[:, JOINT[f"{side}_{name}"]] = points


def _put_head(joints: Array, neck: Array, pose: Pose, axes: Array, h: float) -> None:
    base = neck + along(pose.neck_deg, NECK * h)
    centre = base + along(pose.gaze_deg * 0.9, HEAD * h)
    places = {"nose": NOSE, "right_eye": EYE, "right_ear": EAR}
    places["left_eye"], places["left_ear"] = ((x, y, -z) for x, y, z in (EYE, EAR))
    for name, place in places.items():
        joints[:, JOINT[name]] = centre + h * np.einsum("k,tkc->tc", place, axes)


def _head_axes(pose: Pose) -> Array:
    """Forwards, up and right of the head, (T, 3 axes, 3) unit vectors."""
    down = np.deg2rad(pose.gaze_deg)
    turn = np.deg2rad(pose.turn_deg) if pose.turn_deg is not None else np.zeros_like(down)
    cos, sin, zero = np.cos(down), np.sin(down), np.zeros_like(down)
    forwards = np.stack([cos * np.cos(turn), -sin, cos * np.sin(turn)], axis=-1)
    right = np.stack([-np.sin(turn), zero, np.cos(turn)], axis=-1)
    return np.stack([forwards, np.cross(right, forwards), right], axis=1)
