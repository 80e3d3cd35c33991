"""A head in millimetres to a film: attenuation of each structure, then exposure, scatter, grain.

Attenuations have no unit; they add up along the beam, and a film's grey value is
`fog + (250 - fog) * (1 - exp(-1.55 * gain * attenuation)) ** gamma` (law of Beer and Lambert, and
the contrast of a film). The gain falls off slightly across the film.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from medvial_training.phantoms.cephalogram_atlas import LANDMARKS
from medvial_training.phantoms.cephalogram_shape import Head, Points, molar, tooth
from medvial_training.phantoms.cephalogram_sheet import SHIFT, Sheet
from medvial_training.phantoms.cephalogram_strokes import STROKES, Stroke

SOFT_PX_MM = 1.0  # soft tissue thickness varies slowly: worked out on a grid this coarse
FAR_SIDE = 1.035  # magnification of the far side of the jaw against the near one
TEXTURE_MM = ((1.2, 0.05), (4.0, 0.04), (14.0, 0.03))  # of bone: grain size, relative SD
MIN_GREY = 6  # a film is never 0, so that zero padding can be told from it


@dataclass(frozen=True)
class Exposure:
    """What differs between films of one device."""

    gain: float
    gamma: float
    fog: float
    """Grey value of air, 0 to 255."""
    tilt: tuple[float, float]
    """Relative change of the exposure from one side to the other, along x and y."""
    grain: float
    """Standard deviation of the film grain, in grey values."""
    label_right: bool
    """Corner of the burnt-in word PHANTOM."""

    @staticmethod
    def sample(rng: np.random.Generator, grain: float) -> "Exposure":
        """Exposure of a random film."""
        return Exposure(
            gain=float(rng.uniform(0.85, 1.2)),
            gamma=float(rng.uniform(0.9, 1.25)),
            fog=float(rng.uniform(8, 22)),
            tilt=(float(rng.uniform(-0.15, 0.15)), float(rng.uniform(-0.15, 0.15))),
            grain=grain * float(rng.uniform(0.7, 1.3)),
            label_right=bool(rng.integers(2)),
        )


def draw_film(
    head: Head,
    height: int,
    width: int,
    mm_per_px: float,
    exposure: Exposure,
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """A film of a head whose coordinates are already film pixels.

    Args:
        head: Landmarks, contours and vertebrae in pixels (x, y) of the film, face right.
        height: Rows of the film.
        width: Columns of the film.
        mm_per_px: Side of a pixel in mm.
        exposure: Gain, contrast, fog, grain.
        rng: For the grain.

    Returns:
        (height, width) uint8.
    """
    sheet = Sheet(height, width, mm_per_px)
    _soft_tissue(sheet, head.contours["skin"])
    for stroke in STROKES:
        _stroke(sheet, head.contours[stroke.structure], stroke)
    _far_mandible(sheet, head)
    for body in head.vertebrae:
        sheet.fill(body, 0.26, 0.5)
        sheet.line(body, 0.16, 0.9, 0.3, closed=True)
    _spines(sheet, head.vertebrae)
    named = dict(zip(LANDMARKS, head.landmarks, strict=True))
    _teeth(sheet, named)
    _head_holder(sheet, named)
    _texture(sheet, rng)
    return _expose(sheet.attenuation, exposure, mm_per_px, rng)


def _stroke(sheet: Sheet, contour: Points, stroke: Stroke) -> None:
    if stroke.kind == "fill":
        sheet.fill(contour, stroke.density, stroke.blur_mm)
    else:
        closed = bool(np.allclose(contour[0], contour[-1]))
        sheet.line(contour, stroke.density, stroke.width_mm, stroke.blur_mm, closed=closed)


def _soft_tissue(sheet: Sheet, skin: Points) -> None:
    """Thickness along the beam, from the distance to the skin, with a sharp skin line."""
    height, width = sheet.attenuation.shape
    factor = max(1.0, SOFT_PX_MM / sheet.mm_per_px)
    small = (max(2, round(width / factor)), max(2, round(height / factor)))
    mask = np.zeros(small[::-1], np.uint8)
    scale = np.array([small[0] / width, small[1] / height])
    fixed = np.rint(((skin + 0.5) * scale - 0.5) * (1 << SHIFT)).astype(np.int32)
    cv2.fillPoly(mask, [fixed], 255, cv2.LINE_8, SHIFT)
    padded = cv2.copyMakeBorder(mask, 40, 40, 40, 40, cv2.BORDER_REPLICATE)  # the head goes on
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, 3)[40:-40, 40:-40]
    depth_mm = depth * (sheet.mm_per_px / float(scale[0]))
    thickness = 0.10 * (1 - np.exp(-depth_mm / 5)) + 0.14 * (1 - np.exp(-depth_mm / 30))
    cv2.resize(
        cv2.GaussianBlur(thickness.astype(np.float32), (0, 0), 1.0),
        (width, height),
        dst=sheet.attenuation,
        interpolation=cv2.INTER_LINEAR,
    )
    sheet.fill(skin, 0.05, 0.15)


def _far_mandible(sheet: Sheet, head: Head) -> None:
    """The side away from the film: fainter, larger, at one with the near side at the symphysis."""
    chin = head.landmarks[LANDMARKS.index("D")]
    far = chin + FAR_SIDE * (head.contours["mandible"] - chin)
    sheet.line(far, 0.1, 1.2, 0.6, closed=True)


def _spines(sheet: Sheet, vertebrae: Sequence[Points]) -> None:
    """Arches and spinous processes behind the bodies."""
    for body in vertebrae:
        centre, depth = body.mean(axis=0), float(np.ptp(body[:, 0]))
        arch = centre + depth * np.array(
            [
                (-0.4, -0.25),
                (-0.9, -0.2),
                (-1.5, 0.15),
                (-2.2, 0.5),
                (-2.3, 0.75),
                (-1.5, 0.6),
                (-0.7, 0.3),
            ]
        )
        sheet.fill(arch, 0.14, 0.5)
        sheet.line(arch, 0.1, 0.7, closed=True)


def _teeth(sheet: Sheet, named: dict[str, Points]) -> None:
    """Incisors through tip and apex, molars at their mesial cusp, those between fainter."""
    px = 1 / sheet.mm_per_px
    back = _unit(0.5 * (named["U6"] + named["L6"]) - 0.5 * (named["U1"] + named["L1"]))
    up = np.array([-back[1], back[0]])
    up = up if up[1] < 0 else -up
    for first, apex, cusp, root, crown in (
        ("U1", "U1apex", "U6", up, 7.2),
        ("L1", "L1apex", "L6", -up, 5.6),
    ):
        tip, end = named[first], named[apex]
        for share in (0.3, 0.52, 0.76):  # canine and premolars
            place = (1 - share) * tip + share * (named[cusp] - 1.5 * px * back)
            axis = _unit((1 - share) * _unit(end - tip) + share * root)
            sheet.fill(tooth(place, place + 21 * px * axis, 6.4 * px), 0.15, 0.5)
        for place in (named[cusp], named[cusp] + 10.6 * px * back):
            outline = _scaled_molar(place, back, root, px)
            sheet.fill(outline, 0.42, 0.15)
            sheet.line(outline, 0.16, 0.5, closed=True)
        outline = tooth(tip, end, crown * px)
        sheet.fill(outline, 0.64, 0.1)
        sheet.line(outline, 0.2, 0.4, 0.1, closed=True)
        pulp = np.array([tip + 0.38 * (end - tip), tip + 0.96 * (end - tip)])
        sheet.line(pulp, -0.22, 0.9, 0.3, closed=False)


def _scaled_molar(cusp: Points, along: Points, to_root: Points, px_per_mm: float) -> Points:
    return cusp + px_per_mm * molar(np.zeros(2), along, to_root)


def _unit(vector: Points) -> Points:
    unit: Points = vector / np.hypot(*vector)
    return unit


def _head_holder(sheet: Sheet, named: dict[str, Points]) -> None:
    """Ear rod, whose ring has porion on top, and the nasion rest in front."""
    px = 1 / sheet.mm_per_px
    turn = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    circle = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    centre = named["Po"] + np.array([0, 4.5 * px])
    sheet.fill(centre + 3.4 * px * circle, -0.15, 0.4)
    sheet.line(centre + 4.5 * px * circle, 0.55, 0.9, 0.1, closed=True)
    sheet.line(centre + 2.6 * px * circle, 0.2, 0.5, 0.1, closed=True)
    rest = named["N'"] + px * np.array(
        [(1.5, -1.5), (13, -1.5), (13, -60), (15.5, -60), (15.5, 4.5), (1.5, 4.5)]
    )
    sheet.fill(rest, 0.22, 0.2)


def _texture(sheet: Sheet, rng: np.random.Generator) -> None:
    """Mottle as of trabecular bone and overlaid structures: noise of a few sizes, multiplied."""
    height, width = sheet.attenuation.shape
    mottle = np.ones((height, width), np.float32)
    for size_mm, sd in TEXTURE_MM:
        step = max(1.0, size_mm / sheet.mm_per_px)
        rows, columns = round(height / step) + 3, round(width / step) + 3
        coarse = rng.standard_normal((rows, columns), dtype=np.float32) * np.float32(sd)
        fine = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        cv2.add(mottle, fine, dst=mottle)
    cv2.multiply(sheet.attenuation, mottle, dst=sheet.attenuation)


def _expose(
    attenuation: NDArray[np.float32], exposure: Exposure, mm_per_px: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    height, width = attenuation.shape
    x = np.linspace(-0.5, 0.5, width, dtype=np.float32) * np.float32(exposure.tilt[0])
    y = np.linspace(-0.5, 0.5, height, dtype=np.float32) * np.float32(exposure.tilt[1])
    beam = (x[None] + y[:, None] + 1) * np.float32(-1.55 * exposure.gain)
    np.maximum(attenuation, 0, out=attenuation)
    cv2.multiply(attenuation, beam, dst=attenuation)
    cv2.exp(attenuation, dst=attenuation)
    film = 1 - attenuation
    cv2.pow(film, exposure.gamma, dst=film)
    film *= 250 - exposure.fog
    film += exposure.fog
    if exposure.grain:
        film += _grain(height, width, exposure.grain, rng)
    _label(film, exposure.label_right)
    out: NDArray[np.uint8] = np.clip(np.rint(film), MIN_GREY, 255).astype(np.uint8)
    return out


def _grain(height: int, width: int, sd: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Grain two pixels wide: it looks like film, and a compressed stack stays small."""
    small = rng.standard_normal(((height + 1) // 2, (width + 1) // 2), dtype=np.float32) * sd
    return np.repeat(np.repeat(small, 2, axis=0), 2, axis=1)[:height, :width]


def _label(film: NDArray[np.float32], right: bool) -> None:
    """Burn the word PHANTOM into a corner, as wide as a sixth of the film."""
    height, width = film.shape
    scale = width / 6 / 125  # 125 px: the word's width at scale 1
    start = round(width * 0.8) if right else round(width * 0.02)
    patch = np.zeros(film.shape, np.uint8)
    cv2.putText(
        patch,
        "PHANTOM",
        (start, round(height * 0.03) + 4),
        cv2.FONT_HERSHEY_SIMPLEX,
        scale,
        255,
        max(1, round(2 * scale)),
        cv2.LINE_AA,
    )
    np.copyto(film, np.float32(235), where=patch > 127)
