"""A body's flesh and clothes: tubes along its joints, in colours that ignore the label."""

import colorsys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medvial_training.phantoms.gait_body import JOINT, Body

Array = NDArray[np.float64]
Colour = tuple[float, float, float]
SKINS = ((236, 204, 180), (222, 180, 150), (198, 150, 118), (150, 104, 76), (98, 66, 48))
HAIRS = ((28, 24, 22), (62, 44, 32), (110, 82, 54), (158, 154, 150), (212, 210, 206))
SHOES = ((34, 32, 34), (70, 56, 46), (196, 194, 190), (52, 60, 84))
WHITE_COAT = (226, 230, 232)


@dataclass(frozen=True)
class Look:
    """What a person looks like. Colours are RGB, 0 to 255."""

    skin: Colour
    hair: Colour
    shirt: Colour
    trousers: Colour
    shoes: Colour
    build: float
    """Width of the body against the mean, 0.88 to 1.25."""
    long_sleeves: bool
    shorts: bool
    hem: float
    """How far the shirt hangs below the hips, in heights."""
    hair_volume: float
    """0 (bald) to 1."""


@dataclass(frozen=True)
class Tube:
    """A rounded part of the body: discs along a line, and what spans them."""

    points: Array
    """(T, P, 3) centres in metres, (forwards, up, to the right)."""
    lateral: Array
    """(P,) half widths from side to side, in metres."""
    sagittal: Array
    """(P,) half widths from front to back."""
    colour: Colour
    nearer_m: float = 0.0
    """Counts as that much nearer when parts hide each other."""
    contrast: float = 1.0
    """Of its shading: 0 is flat."""


def sample_look(rng: np.random.Generator) -> Look:
    """Clothes and complexion of anyone."""
    hue, tint, value = rng.random(), rng.uniform(0.05, 0.75), rng.uniform(0.3, 0.92)
    low_hue, low_tint, low_value = rng.random(), rng.uniform(0.05, 0.4), rng.uniform(0.15, 0.6)
    return Look(
        _pick(rng, SKINS),
        _pick(rng, HAIRS),
        from_hsv(hue, tint, value),
        from_hsv(low_hue, low_tint, low_value),
        _pick(rng, SHOES),
        build=float(np.clip(rng.normal(1.03, 0.09), 0.88, 1.25)),
        long_sleeves=bool(rng.random() < 0.5),
        shorts=bool(rng.random() < 0.2),
        hem=float(rng.uniform(-0.01, 0.05)),
        hair_volume=float(rng.choice([0.0, 0.6, 0.8, 1.0])),
    )


def from_hsv(hue: float, saturation: float, value: float) -> Colour:
    """RGB, 0 to 255, of hue, saturation and value, 0 to 1."""
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
    return 255 * red, 255 * green, 255 * blue


def darker(colour: Colour, share: float) -> Colour:
    """The colour in less light, `share` 0 to 1."""
    red, green, blue = colour
    return share * red, share * green, share * blue


def _pick(rng: np.random.Generator, colours: tuple[tuple[int, int, int], ...]) -> Colour:
    base = np.array(colours[int(rng.integers(len(colours)))], float)
    red, green, blue = np.clip(base * rng.uniform(0.9, 1.06, 3), 0, 255)
    return float(red), float(green), float(blue)


def figure(body: Body, look: Look) -> list[Tube]:
    """The tubes of a body."""
    tubes = _trunk(body, look) + _head(body, look)
    for side in ("right", "left"):
        tubes += _leg(body, side, look) + _arm(body, side, look)
    return tubes


def _at(joints: Array, name: str) -> Array:
    return joints[:, JOINT[name]]


def _tube(
    points: list[Array],
    lateral: list[float],
    sagittal: list[float] | None,
    h: float,
    colour: Colour,
    nearer_m: float = 0.0,
    *,
    contrast: float = 1.0,
) -> Tube:
    wide = h * np.array(lateral)
    deep = h * np.array(sagittal) if sagittal else wide
    return Tube(np.stack(points, axis=1), wide, deep, colour, nearer_m, contrast)


def _between(a: Array, b: Array, share: float) -> Array:
    return (1 - share) * a + share * b


def _trunk(body: Body, look: Look) -> list[Tube]:
    """Pelvis in trousers, then the shirt over it along the bent spine, then the neck."""
    joints, bend, h = body.joints, body.bend, body.height_m
    hip, neck = _at(joints, "mid_hip"), _at(joints, "neck")
    low = hip - (0, look.hem * h, 0)
    b = look.build
    pelvis = _tube(
        [hip - (0, 0.012 * h, 0), _between(hip, neck, 0.12)],
        [0.088 * b, 0.090 * b], [0.068 * b, 0.066 * b], h, look.trousers, 0.0,
    )  # fmt: skip
    nodes = [low, _curve(hip, bend, neck, 0.3), _curve(hip, bend, neck, 0.65),
             _curve(hip, bend, neck, 0.84)]  # fmt: skip
    shirt = _tube(
        nodes,
        [0.088 * b, 0.086 * b, 0.098 * b, 0.082],
        [0.071 * b, 0.068 * b**1.6, 0.070 * b, 0.056], h, look.shirt, 0.08 * h, contrast=0.55,
    )  # fmt: skip
    shoulders = _tube(
        [_at(joints, "left_shoulder"), _at(joints, "right_shoulder")],
        [0.037, 0.037], None, h, look.shirt, 0.02 * h, contrast=0.7,
    )  # fmt: skip
    skull = (_at(joints, "right_ear") + _at(joints, "left_ear")) / 2
    throat = _tube(
        [_between(neck, skull, 0.05), _between(neck, skull, 0.7)], [0.036, 0.033], None, h,
        look.skin, 0.02 * h,
    )  # fmt: skip
    return [pelvis, shirt, shoulders, throat]


def _curve(hip: Array, bend: Array, neck: Array, share: float) -> Array:
    """A parabola through the three."""
    a, b, c = (1 - share) * (1 - 2 * share), 4 * share * (1 - share), share * (2 * share - 1)
    return a * hip + b * bend + c * neck


def _leg(body: Body, side: str, look: Look) -> list[Tube]:
    joints, h = body.joints, body.height_m
    hip, knee, ankle, heel, toe = (
        _at(joints, f"{side}_{name}") for name in ("hip", "knee", "ankle", "heel", "big_toe")
    )
    b = look.build
    calf, lift = _between(knee, ankle, 0.28), np.array([0, 0.012 * h, 0])
    thigh = [hip, _between(hip, knee, 0.45), knee]
    wide, deep = [0.050 * b, 0.048 * b, 0.038 * b], [0.062 * b, 0.053 * b, 0.039 * b]
    below = [0.037 * b, 0.027]
    if look.shorts:
        bare = [0.9 * r for r in (deep[2], *below)]
        parts = [_tube([knee, calf, ankle], bare, None, h, look.skin),
                 _tube(thigh, wide, deep, h, look.trousers, 0.012 * h)]  # fmt: skip
    else:
        whole = [*thigh, calf, ankle]
        parts = [_tube(whole, [*wide, *below], [*deep, *below], h, look.trousers, 0.005 * h)]
    ball = _between(heel, toe, 0.72)
    shoe = _tube(
        [ankle - (0, 0.012 * h, 0), heel + 1.25 * lift, ball + lift, toe + 0.8 * lift],
        [0.022, 0.018, 0.018, 0.013], None, h, look.shoes, 0.004 * h,
    )  # fmt: skip
    sole = _tube([heel + 0.35 * lift, toe + 0.3 * lift], [0.007, 0.006], None, h,
                 darker(look.shoes, 0.45), -0.02 * h, contrast=0.0)  # fmt: skip
    return [*parts, shoe, sole]


def _arm(body: Body, side: str, look: Look) -> list[Tube]:
    joints, h = body.joints, body.height_m
    shoulder, elbow, wrist = (
        _at(joints, f"{side}_{name}") for name in ("shoulder", "elbow", "wrist")
    )
    b = 0.5 + 0.5 * look.build
    reach = wrist + 0.42 * (wrist - elbow)
    hand = _tube([wrist, _between(wrist, reach, 0.55), reach], [0.016, 0.021, 0.011], None, h,
                 look.skin)  # fmt: skip
    joined = [shoulder, elbow, _between(elbow, wrist, 0.3), wrist]
    radii = [0.034 * b, 0.027 * b, 0.027 * b, 0.017]
    if look.long_sleeves:
        return [hand, _tube(joined, [1.1 * r for r in radii], None, h, look.shirt, 0.008 * h)]
    sleeve = [shoulder, _between(shoulder, elbow, 0.6)]
    return [
        hand,
        _tube(joined, radii, None, h, look.skin, 0.004 * h),
        _tube(sleeve, [0.039 * b, 0.034 * b], None, h, look.shirt, 0.03 * h),
    ]


def _head(body: Body, look: Look) -> list[Tube]:
    joints, h = body.joints, body.height_m
    centre = (_at(joints, "right_ear") + _at(joints, "left_ear")) / 2

    def spot(forwards: float, up: float, right: float = 0.0) -> Array:
        moved: Array = centre + h * np.einsum("k,tkc->tc", (forwards, up, right), body.head)
        return moved

    shade = darker(look.skin, 0.82)
    dark = (44.0, 34.0, 32.0)
    face = _tube([spot(0.004, 0.018), spot(0.022, -0.004), spot(0.026, -0.040)],
                 [0.046, 0.045, 0.027], [0.058, 0.047, 0.028], h, look.skin, 0.02 * h)  # fmt: skip
    nose = _tube([spot(0.058, 0.004), spot(0.072, -0.014)], [0.007, 0.010], None, h, look.skin,
                 0.03 * h)  # fmt: skip
    parts = [face, nose]
    for sign in (1.0, -1.0):
        ear = [spot(-0.006, 0.004, 0.045 * sign), spot(-0.006, -0.010, 0.045 * sign)]
        parts.append(_tube(ear, [0.006, 0.005], [0.011, 0.009], h, shade, contrast=0.0))
        eye = [spot(0.052, 0.014, 0.020 * sign), spot(0.053, 0.014, 0.024 * sign)]
        parts.append(_tube(eye, [0.0045, 0.0045], None, h, dark, contrast=0.0))
    mouth = [spot(0.050, -0.040, -0.012), spot(0.050, -0.040, 0.012)]
    parts.append(_tube(mouth, [0.004, 0.004], None, h, (150, 84, 80), 0.012 * h, contrast=0.0))
    if look.hair_volume:
        v = look.hair_volume
        crown = _tube([spot(-0.020, -0.020), spot(-0.014, 0.024), spot(0.022, 0.045)],
                      [0.046, 0.050, 0.038], [0.046 + 0.004 * v, 0.058 + 0.006 * v, 0.036],
                      h, look.hair, 0.005 * h)  # fmt: skip
        fringe = _tube([spot(-0.012, 0.046), spot(0.030, 0.058)], [0.045, 0.026], [0.034, 0.017], h,
                       look.hair, 0.024 * h)  # fmt: skip
        parts += [crown, fringe]
    return parts
