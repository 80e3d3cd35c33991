"""Which joint is where in the keypoints of a pose estimator, and how its limbs are drawn.

Keypoints are arrays (..., K, 3) float64: x and y in pixels, y downwards, confidence 0 to 1. A joint
that is missing is NaN, NaN, 0. Left and right are the person's own.
"""

import colorsys
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from medvial.errors import InputError

Keypoints = NDArray[np.float64]


@dataclass(frozen=True)
class Limb:
    """A line between two joints."""

    start: str
    end: str
    colour: tuple[int, int, int]
    """RGB, 0 to 255; no two limbs of a skeleton share one."""


@dataclass(frozen=True)
class Skeleton:
    """The joints that a pose estimator finds, in its order."""

    name: str
    joints: tuple[str, ...]
    """`left_` and `right_` begin the names of the joints that are there twice."""
    source: str
    """Where the order comes from."""

    @cached_property
    def indices(self) -> dict[str, int]:
        """Place of each joint by its name."""
        return {joint: place for place, joint in enumerate(self.joints)}

    @cached_property
    def mirror(self) -> tuple[int, ...]:
        """(K,) which joint takes the place of each when the picture is mirrored left to right."""
        return tuple(self.indices[_other_side(joint)] for joint in self.joints)

    @cached_property
    def limbs(self) -> tuple[Limb, ...]:
        """Those of BODY_25 between joints it has: trunk, head, right side, left side."""
        pairs = [pair for pair in _LIMBS if all(joint in self.indices for joint in pair)]
        hues = np.linspace(0, 1, len(pairs), endpoint=False)
        return tuple(
            Limb(*pair, _colour(float(hue))) for pair, hue in zip(pairs, hues, strict=True)
        )


def _colour(hue: float) -> tuple[int, int, int]:
    red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(hue, 1.0, 1.0))
    return red, green, blue


def _other_side(joint: str) -> str:
    if joint.startswith("left_"):
        return "right_" + joint.removeprefix("left_")
    if joint.startswith("right_"):
        return "left_" + joint.removeprefix("right_")
    return joint


def _both(*parts: str) -> tuple[str, ...]:
    """Left before right, part by part."""
    return tuple(f"{side}_{part}" for part in parts for side in ("left", "right"))


def _side(side: str, *parts: str) -> tuple[str, ...]:
    return tuple(f"{side}_{part}" for part in parts)


_ARM, _LEG, _FOOT = (
    ("shoulder", "elbow", "wrist"),
    ("hip", "knee", "ankle"),
    ("big_toe", "small_toe", "heel"),
)
_HEAD_25 = ("right_eye", "left_eye", "right_ear", "left_ear")

BODY_25 = Skeleton(
    "BODY_25",
    (
        "nose",
        "neck",
        *_side("right", *_ARM),
        *_side("left", *_ARM),
        "mid_hip",
        *_side("right", *_LEG),
        *_side("left", *_LEG),
        *_HEAD_25,
        *_side("left", *_FOOT),
        *_side("right", *_FOOT),
    ),
    "OpenPose's default since 1.3; its documentation of the output format",
)
BODY_25B = Skeleton(
    "BODY_25B",
    (
        "nose",
        *_both("eye", "ear", *_ARM, *_LEG),
        "upper_neck",
        "head_top",
        *_side("left", *_FOOT),
        *_side("right", *_FOOT),
    ),
    "OpenPose's experimental, more accurate models; seen in real output",
)
COCO_18 = Skeleton(
    "COCO-18",
    (
        "nose",
        "neck",
        *_side("right", *_ARM),
        *_side("left", *_ARM),
        *_side("right", *_LEG),
        *_side("left", *_LEG),
        *_HEAD_25,
    ),
    "OpenPose's COCO model; its documentation of the output format",
)
BLAZEPOSE_33 = Skeleton(
    "BLAZEPOSE-33",
    (
        "nose",
        *_side("left", "eye_inner", "eye", "eye_outer"),
        *_side("right", "eye_inner", "eye", "eye_outer"),
        *_both("ear", "mouth", *_ARM),
        *_both("pinky", "index", "thumb", *_LEG, "heel", "big_toe"),
    ),
    "MediaPipe's pose landmarks; what it calls foot index is big_toe here",
)
SKELETONS = {skeleton.name: skeleton for skeleton in (BODY_25, BODY_25B, COCO_18, BLAZEPOSE_33)}

_CHAIN = (("hip", "knee"), ("knee", "ankle"), ("ankle", "heel"), ("ankle", "big_toe"))
_LIMBS = (
    ("neck", "mid_hip"),
    ("neck", "nose"),
    *((joint, f"{side}_{part}") for side in ("right", "left") for joint, part in
      (("nose", "eye"), ("neck", "shoulder"), ("mid_hip", "hip"))),
    *((f"{side}_{start}", f"{side}_{end}") for side in ("right", "left") for start, end in
      (("eye", "ear"), ("shoulder", "elbow"), ("elbow", "wrist"), *_CHAIN,
       ("big_toe", "small_toe"))),
)  # fmt: skip
_MIDDLES = {"neck": "shoulder", "mid_hip": "hip"}


def find_skeleton(name: str) -> Skeleton:
    """The skeleton of that name, in any case.

    Raises:
        InputError: There is none.
    """
    for skeleton in SKELETONS.values():
        if skeleton.name.lower() == name.lower():
            return skeleton
    raise InputError(f"Expected one of the skeletons {', '.join(SKELETONS)}, got {name!r}.")


def remap(points: Keypoints, source: Skeleton, target: Skeleton) -> Keypoints:
    """The same people in the order of another skeleton.

    A neck or mid-hip that the source lacks is the middle of the shoulders or hips, as confident as
    the less certain of them. What else it lacks is missing.

    Args:
        points: (..., K of source, 3).
        source: Their skeleton.
        target: The one to bring them to.

    Returns:
        (..., K of target, 3), a copy.
    """
    check_keypoints(points, source)
    result = np.empty((*points.shape[:-2], len(target.joints), 3))
    for place, joint in enumerate(target.joints):
        result[..., place, :] = _joint(points, source, joint)
    return result


def mirror(points: Keypoints, skeleton: Skeleton, width: float) -> Keypoints:
    """The mirror image: x flipped, left and right joints swapped.

    A left leg's movement becomes a right leg's: one model can so serve both legs.

    Args:
        points: (..., K, 3).
        skeleton: Theirs.
        width: Of the picture in pixels: x becomes width - 1 - x.

    Returns:
        (..., K, 3), a copy.
    """
    check_keypoints(points, skeleton)
    mirrored = points[..., list(skeleton.mirror), :]  # a copy: indexed by a list
    mirrored[..., 0] = width - 1 - mirrored[..., 0]
    return mirrored


def clean(points: NDArray[np.floating]) -> Keypoints:
    """Keypoints as OpenPose writes them, with what is missing made plain.

    Args:
        points: (..., K, 3), missing joints 0, 0, 0.

    Returns:
        (..., K, 3): NaN, NaN, 0 where x and y are 0 or the confidence is not above 0; confidences
        cut at 1, which OpenPose's exceed by a little.
    """
    result = np.array(points, np.float64)
    seen = (result[..., :2] != 0).any(axis=-1) & (result[..., 2] > 0)
    result[~seen] = (np.nan, np.nan, 0.0)
    result[..., 2] = np.minimum(result[..., 2], 1.0)
    return result


def check_keypoints(points: Keypoints, skeleton: Skeleton) -> None:
    """Raise unless the shape is (..., K, 3) of this skeleton.

    Raises:
        InputError: It is not.
    """
    if points.ndim < 2 or points.shape[-2:] != (len(skeleton.joints), 3):
        raise InputError(
            f"Expected {skeleton.name} keypoints of shape (..., {len(skeleton.joints)}, 3), got "
            f"{points.shape}. Name their own skeleton, or remap them."
        )


def _joint(points: Keypoints, source: Skeleton, joint: str) -> Keypoints:
    """One joint of everybody, (..., 3)."""
    if joint in source.indices:
        return points[..., source.indices[joint], :]
    if joint in _MIDDLES:
        pair = (source.indices[f"{side}_{_MIDDLES[joint]}"] for side in ("left", "right"))
        left, right = (points[..., place, :] for place in pair)
        middle = (left + right) / 2
        middle[..., 2] = np.minimum(left[..., 2], right[..., 2])
        return middle
    return np.broadcast_to((np.nan, np.nan, 0.0), (*points.shape[:-2], 3))
