"""The mean head of the cephalogram phantom: 38 landmarks and the structures that carry them.

Coordinates are (x, y) in millimetres in the midsagittal plane, face right: origin at sella, x to
the front, y down, Frankfort horizontal level. The layout was put together by hand from textbook adult
norms (S-N 70 mm, SN-FH 7 degrees, SNA 82, SNB 80, FMA 25, saddle/articular/gonial 123/143/126
degrees, interincisal 131 degrees), not measured on anybody's films.
"""

from dataclasses import dataclass
from typing import Literal

MEAN_LANDMARKS_MM: dict[str, tuple[float, float]] = {
    "S": (0.0, 0.0),
    "N": (69.5, -8.5),
    "Or": (57.0, 21.0),
    "Po": (-24.0, 21.0),
    "A": (68.5, 48.5),
    "B": (64.4, 88.4),
    "Pog": (64.6, 101.5),
    "Me": (57.0, 108.3),
    "Gn": (62.3, 106.6),
    "Go": (-7.2, 76.6),
    "L1": (69.3, 71.8),
    "U1": (72.3, 74.5),
    "Ls": (86.3, 62.5),
    "Li": (83.0, 78.5),
    "Sn": (83.0, 46.5),
    "Pog'": (77.0, 101.5),
    "PNS": (21.5, 44.0),
    "ANS": (73.5, 44.3),
    "Ar": (-15.8, 32.4),
    "D": (58.4, 97.0),
    "U1apex": (63.9, 52.6),
    "L1apex": (59.4, 90.3),
    "Cm": (92.6, 41.6),
    "Ptm": (19.0, 39.5),
    "Co": (-15.3, 23.8),
    "Prn": (98.0, 33.5),
    "Ba": (-24.5, 37.7),
    "Pt": (14.6, 23.5),
    "Bo": (-43.0, 40.0),
    "Ls2": (84.6, 57.8),
    "Li2": (81.2, 83.0),
    "Gn'": (73.6, 111.0),
    "Me'": (65.0, 116.0),
    "G'": (81.8, -23.0),
    "N'": (76.5, -6.5),
    "C": (31.0, 113.0),
    "U6": (41.5, 69.4),
    "L6": (44.0, 68.2),
}
"""The landmarks of CL-Detection 2023 in the challenge's order, by symbol."""

LANDMARKS = tuple(MEAN_LANDMARKS_MM)

Control = str | tuple[float, float]


@dataclass(frozen=True)
class Structure:
    """A contour through control points: landmarks by symbol, or (x, y) in mm of the mean head.

    A control point that stands twice in a row is a corner; the contour is smooth elsewhere.
    """

    controls: tuple[Control, ...]
    closed: bool = False


@dataclass(frozen=True)
class Stroke:
    """How a structure shows on the film."""

    structure: str
    kind: Literal["fill", "line"]
    density: float
    """Attenuation added, without unit; negative for air."""
    width_mm: float = 0.6
    """Width of a line."""
    blur_mm: float = 0.2
    """Standard deviation of the edge's blur."""


STRUCTURES: dict[str, Structure] = {
    "skin": Structure(
        (
            *((10, -106), (45, -95), (68, -72), (80, -47), (83, -33), "G'", (78.8, -13), "N'"),
            *((79, 2), (85, 14), (91.5, 24), (96, 29.2), "Prn", (96.6, 38.6), "Cm"),
            *((87.5, 44), "Sn", (83.0, 51), "Ls2", "Ls", (85.4, 66.8), (81.8, 70.6)),
            *((78.5, 72.2), (78.5, 72.2), (81.2, 74.4), "Li", "Li2", (77.6, 87), (76, 91)),
            *((76.2, 96), "Pog'", (76.2, 107), "Gn'", (70, 114.4), "Me'", (52, 116), (40, 114.6)),
            *("C", (25, 118), (19, 133), (15, 155), (12, 185), (8, 230)),
            *((8, 230), (-150, 230), (-150, 230), (-128, 150), (-108, 110), (-97, 75)),
            *((-101, 45), (-109, 15), (-112, -15), (-107, -45), (-92, -72), (-66, -94)),
            *((-30, -106),),
        ),
        closed=True,
    ),
    "vault": Structure(
        (
            *("N", (72.6, -14), (75.2, -22), (75.6, -31), (73.5, -43), (68, -57), (58, -71)),
            *((44, -83), (27, -92), (8, -97), (-14, -98), (-38, -94), (-60, -86), (-80, -72)),
            *((-94, -54), (-102, -33), (-104, -12), (-100, 7), (-91, 23), (-78, 34), (-63, 40)),
            *((-52, 42), "Bo"),
        ),
    ),
    "cranial_cavity": Structure(
        (
            *((62, -14), (68, -23), (68.6, -33), (65.5, -46), (60, -57), (50, -69), (38, -78)),
            *((23, -86), (6, -91), (-14, -92), (-36, -88), (-57, -80), (-75, -68), (-88, -51)),
            *((-96, -32), (-98, -13), (-94, 4), (-85, 17), (-72, 27), (-58, 33), (-45, 34)),
            *((-32, 30), (-20, 18), (-10, 0), (-10, 0), (0, -7), (20, -7.5), (42, -9)),
        ),
        closed=True,
    ),
    "occipital_condyle": Structure(
        ("Bo", (-39.5, 43.2), (-33, 45.2), (-28, 43), "Ba"),
    ),
    "clivus": Structure(("Ba", "Ba", (-17.5, 23), (-12, 9), (-8.6, -2), (-7.4, -5.6))),
    "clivus_back": Structure(("Ba", (-23, 27), (-16, 12), (-11.5, -1), (-9.4, -6.2), (-7.4, -5.6))),
    "sella": Structure(
        (
            *((-7.4, -5.6), (-5.4, -4.6), (-6.2, -0.5), (-4.6, 4.2), (0, 6.2), (4.6, 4.2)),
            *((6.0, -0.2), (4.8, -4.6), (7.5, -6.6)),
        )
    ),
    "sella_cup": Structure(
        (
            (-5.6, -3.6),
            (-6.2, 0),
            (-4.4, 4.4),
            (0, 6.2),
            (4.4, 4.4),
            (6.2, 0),
            (5.2, -4),
            (0, -4.4),
        ),
        closed=True,
    ),
    "anterior_base": Structure(
        ((7.5, -6.6), (16, -7.2), (28, -7.6), (40, -8.2), (50, -10.5), (58, -13.5), (64, -17))
    ),
    "orbit_roof": Structure(((20, -7), (32, -13), (46, -16.5), (58, -15.5), (66, -12))),
    "sphenoid_wing": Structure(((28, -9), (24, 0), (19, 9), (16, 18), (18, 26))),
    "sphenoid_sinus": Structure(
        ((7, -2), (16, -3), (25, -1), (26, 8), (18, 14), (6, 15), (-3, 10), (0, 8)), closed=True
    ),
    "petrous": Structure(
        (
            (-46, 22),
            (-36, 10),
            (-22, 8),
            (-10, 14),
            (-2, 22),
            (-12, 21),
            (-20, 31),
            (-30, 38),
            (-42, 38),
        ),
        closed=True,
    ),
    "mastoid": Structure(((-48, 28), (-34, 27), (-27, 36), (-32, 50), (-42, 48)), closed=True),
    "zygomatic_arch": Structure(((-12, 18), (2, 17), (18, 20), (34, 22), (46, 20))),
    "frontal_sinus": Structure(
        ((66, -15), (70, -17), (72.6, -25), (71.4, -34), (68.8, -27)), closed=True
    ),
    "nasal_bone": Structure(
        ("N", "N", (74.2, 1), (77.6, 8), (80.4, 14), (80.4, 14), (76, 9), (72, 2), "N"), closed=True
    ),
    "orbit": Structure(
        (
            *((64, -4), (65.2, 4), (64, 12), (61.5, 18.4), "Or", (52, 18.4), (45.5, 12), (42, 3)),
            *((46, -5), (56, -7.5)),
        ),
        closed=True,
    ),
    "orbit_rim": Structure(((64.2, 11), (61.5, 18.4), "Or", (52, 18.4), (47.5, 14.4))),
    "fissure": Structure(
        (
            *("Ptm", "Ptm", (16.6, 32), "Pt", (16.4, 20), (19.6, 19), (22.6, 22), (22.6, 29)),
            *((20.8, 35), "Ptm"),
        ),
        closed=True,
    ),
    "maxillary_sinus": Structure(
        ((25, 22), (40, 22), (53, 26), (58, 35), (52, 40.5), (36, 41), (25, 38)), closed=True
    ),
    "key_ridge": Structure(((49, 20), (45, 28), (42.5, 37), (42, 45), (46, 49))),
    "nasal_cavity": Structure(
        ((28, 26), (50, 20), (66, 16), (74, 30), (72, 41), (50, 42), (26, 42)), closed=True
    ),
    "maxilla": Structure(
        (
            *("ANS", "ANS", (70.4, 46.2), "A", (68.6, 53), (70, 58), (72.3, 63), (72.3, 63)),
            *((66, 60.5), (61, 55.5), (54, 51.4), (42, 49.2), (30, 47), "PNS", "PNS"),
            *((34, 43.2), (50, 42.6), (62, 42.8), (68.5, 43)),
        ),
        closed=True,
    ),
    "upper_alveolus": Structure(
        ((30, 47), (42, 49), (54, 51), (62, 55), (71.5, 62.6), (60, 63.5), (46, 61), (29, 58)),
        closed=True,
    ),
    "soft_palate": Structure(
        ("PNS", (14, 50), (8, 60), (6, 67), (9, 67), (13, 60), (19, 50), (25, 46)), closed=True
    ),
    "pharynx": Structure(
        (
            *((-4, 36), (6, 38), (14, 44), (9, 52), (4, 62), (6, 74), (9, 88), (12, 102), (4, 118)),
            *((2, 140), (-8, 140), (-9, 118), (-10, 98), (-10, 78), (-11, 58), (-11, 44)),
        ),
        closed=True,
    ),
    "mandible": Structure(
        (
            *("Co", (-12.4, 21.0), (-8, 20.6), (-5.4, 23.6), (-5.8, 28.5), (-2, 34.5), (5, 36)),
            *((11, 31), (15.5, 26.5), (18.4, 31), (17.2, 42), (17.8, 53), (22, 63), (30, 71.5)),
            *((30, 71.5), (42, 75), (56, 77), (68.4, 79.6), (68.4, 79.6), (66.2, 83.6), "B"),
            *((63.9, 94), "Pog", "Gn", "Me", (51, 107.0), (42, 102.6), (28, 95.2), (14, 89.6)),
            *(
                (2, 85.6),
                (-4.2, 81.6),
                "Go",
                (-9.2, 70),
                (-10.4, 58),
                (-12.4, 45),
                "Ar",
                (-16.6, 28),
            ),
        ),
        closed=True,
    ),
    "symphysis": Structure(
        (
            *((68.4, 79.6), (68.4, 79.6), (66.2, 83.6), "B", (63.9, 94), "Pog", "Gn", "Me"),
            *((54.4, 106.4), (52.4, 102), (53.2, 96), (56.2, 88.5), (61.6, 80)),
        ),
        closed=True,
    ),
    "mandibular_canal": Structure(((6, 52), (9, 68), (18, 80), (32, 89), (46, 94))),
    "hyoid": Structure(
        ((8, 100), (16, 101.5), (22, 106), (20, 110), (14, 106), (7, 104)), closed=True
    ),
    "tongue": Structure(
        ((14, 72), (28, 60), (45, 57), (60, 64), (62, 80), (50, 95), (30, 96), (16, 90)),
        closed=True,
    ),
    "lower_lip_inside": Structure(((78.5, 72.2), (75, 73), (74, 78), (72, 84))),
}
"""Contours by name; where two end at the same control point, they meet there."""

VERTEBRAE_MM: tuple[tuple[float, float, float, float], ...] = (
    (-29.5, 66.0, 15.0, 17.0),
    (-32.5, 83.5, 16.0, 12.5),
    (-35.5, 99.0, 16.5, 12.5),
    (-39.0, 114.5, 17.0, 12.5),
    (-43.0, 130.0, 17.5, 13.0),
    (-47.5, 145.5, 18.0, 13.5),
)
"""Bodies of C2 to C7: centre x, y, depth and height in mm."""

FIXED_MM: tuple[tuple[float, float], ...] = (
    *((76.0, -31.0), (44.0, -83.0), (-14.0, -98.0), (-80.0, -72.0), (-104.0, -12.0), (-78.0, 34.0)),
    *((-112.0, -15.0), (10.0, -106.0), (-97.0, 75.0), (15.0, 155.0), (8.0, 230.0), (-150.0, 230.0)),
)
"""Points of head and neck, far from the landmarks, that hold the outline still."""

STROKES: tuple[Stroke, ...] = (
    Stroke("cranial_cavity", "fill", 0.42, blur_mm=1.5),
    Stroke("vault", "line", 0.45, width_mm=5.5, blur_mm=0.8),
    Stroke("vault", "line", 0.3, width_mm=1.4, blur_mm=0.3),
    Stroke("cranial_cavity", "line", 0.25, width_mm=1.2, blur_mm=0.4),
    Stroke("petrous", "fill", 0.4, blur_mm=2.5),
    Stroke("mastoid", "fill", 0.2, blur_mm=2.0),
    Stroke("occipital_condyle", "line", 0.4, width_mm=1.4),
    Stroke("clivus", "line", 0.4, width_mm=1.3),
    Stroke("clivus_back", "line", 0.25, width_mm=0.9),
    Stroke("sella_cup", "fill", -0.12, blur_mm=0.8),
    Stroke("sella", "line", 0.6, width_mm=1.1),
    Stroke("sphenoid_sinus", "fill", -0.12, blur_mm=1.0),
    Stroke("anterior_base", "line", 0.4, width_mm=1.2, blur_mm=0.3),
    Stroke("orbit_roof", "line", 0.25, width_mm=1.1, blur_mm=0.3),
    Stroke("sphenoid_wing", "line", 0.22, width_mm=1.0, blur_mm=0.4),
    Stroke("zygomatic_arch", "line", 0.14, width_mm=3.0, blur_mm=0.8),
    Stroke("frontal_sinus", "fill", -0.2, blur_mm=0.5),
    Stroke("nasal_bone", "fill", 0.3, blur_mm=0.3),
    Stroke("nasal_bone", "line", 0.25, width_mm=0.7),
    Stroke("orbit", "fill", -0.06, blur_mm=1.0),
    Stroke("orbit", "line", 0.16, width_mm=1.0, blur_mm=0.4),
    Stroke("orbit_rim", "line", 0.4, width_mm=1.3, blur_mm=0.2),
    Stroke("nasal_cavity", "fill", 0.08, blur_mm=2.0),
    Stroke("maxillary_sinus", "line", 0.14, width_mm=0.8, blur_mm=0.4),
    Stroke("key_ridge", "line", 0.3, width_mm=1.6, blur_mm=0.4),
    Stroke("fissure", "fill", -0.12, blur_mm=0.4),
    Stroke("fissure", "line", 0.4, width_mm=0.9),
    Stroke("maxilla", "fill", 0.2, blur_mm=0.3),
    Stroke("maxilla", "line", 0.35, width_mm=0.9),
    Stroke("upper_alveolus", "fill", 0.12, blur_mm=1.2),
    Stroke("soft_palate", "fill", 0.06, blur_mm=0.6),
    Stroke("pharynx", "fill", -0.09, blur_mm=1.0),
    Stroke("tongue", "fill", 0.05, blur_mm=2.0),
    Stroke("mandible", "fill", 0.22, blur_mm=0.4),
    Stroke("mandible", "line", 0.38, width_mm=1.2),
    Stroke("symphysis", "fill", 0.1, blur_mm=0.4),
    Stroke("symphysis", "line", 0.3, width_mm=1.2),
    Stroke("mandibular_canal", "line", -0.06, width_mm=2.2, blur_mm=0.5),
    Stroke("hyoid", "fill", 0.12, blur_mm=0.4),
    Stroke("lower_lip_inside", "line", -0.08, width_mm=0.8, blur_mm=0.3),
)
"""Everything drawn from contours, in drawing order (the order does not matter: densities add)."""
