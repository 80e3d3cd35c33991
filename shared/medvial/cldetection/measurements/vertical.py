"""Measurements of the height of the face and of the base of the skull.

A line X-Y runs from X to Y. FH is Po-Or, the Frankfort horizontal; MP is Go-Me, the mandibular
plane; PP is PNS-ANS, the palatal plane. Sources, as the constructions name them:
Steiner, Am J Orthod 1953;39:729-755. Tweed, Angle Orthod 1954;24:121-169. Downs, Am J Orthod
1948;34:812-840. Jarabak and Fizzell, Technique and treatment with light-wire edgewise appliances,
Mosby 1972. Ricketts, Angle Orthod 1981;51:115-150. Kim, Am J Orthod 1974;65:586-611.
The formulas follow the definitions as these are quoted in later publications.
"""

from medvial.cldetection.measurements.definition import Definition
from medvial.cldetection.measurements.tracing import DegenerateError, Tracing, descent, turn


def _lower_height(t: Tracing) -> float:
    return -t.offset("Me", "PNS", "ANS")


def _upper_height(t: Tracing) -> float:
    return t.offset("N", "PNS", "ANS")


def _lower_height_share(t: Tracing) -> float:
    lower, upper = _lower_height(t), _upper_height(t)
    if lower <= 0 or upper <= 0:
        raise DegenerateError("the palatal plane does not pass between N and Me")
    return 100 * lower / (lower + upper)


def _bjork_sum(t: Tracing) -> float:
    return t.angle("N", "S", "Ar") + t.angle("S", "Ar", "Go") + t.angle("Ar", "Go", "Me")


STEINER = (
    Definition(
        "SN-GoGn",
        "Steiner",
        "deg",
        "S N Go Gn",
        lambda t: descent(t.direction("S", "N"), t.direction("Go", "Gn")),
        "S-N to Go-Gn; positive when the planes open to the front (Steiner).",
    ),
)

TWEED = (
    Definition(
        "FMA",
        "Tweed",
        "deg",
        "Po Or Go Me",
        lambda t: descent(t.frankfort(), t.mandibular_plane()),
        "FH to MP; positive when the planes open to the front (Tweed).",
    ),
)

DOWNS = (
    Definition(
        "Y axis",
        "Downs",
        "deg",
        "Po Or S Gn",
        lambda t: descent(t.frankfort(), t.direction("S", "Gn")),
        "FH to S-Gn, the lower front angle (Downs).",
    ),
    Definition(
        "occlusal plane cant",
        "Downs",
        "deg",
        "Po Or U6 L6 U1 L1",
        lambda t: descent(t.frankfort(), t.occlusal_plane()),
        "FH to the bisected occlusal plane (midpoint of U6 and L6 to midpoint of U1 and L1); "
        "positive when its front end is lower (Downs).",
    ),
)

VERTICAL = (
    Definition(
        "SN-MP",
        "Vertical",
        "deg",
        "S N Go Me",
        lambda t: descent(t.direction("S", "N"), t.mandibular_plane()),
        "S-N to MP (Go-Me); positive when the planes open to the front.",
    ),
    Definition(
        "PP-MP",
        "Vertical",
        "deg",
        "PNS ANS Go Me",
        lambda t: descent(t.palatal_plane(), t.mandibular_plane()),
        "PP to MP, the maxillo-mandibular planes angle; positive when they open to the front.",
    ),
    Definition(
        "SN-PP",
        "Vertical",
        "deg",
        "S N PNS ANS",
        lambda t: descent(t.direction("S", "N"), t.palatal_plane()),
        "S-N to PP; positive when the planes open to the front.",
    ),
    Definition(
        "LAFH",
        "Vertical",
        "mm",
        "Me PNS ANS",
        _lower_height,
        "Lower anterior face height: Me to PP at a right angle, positive below PP.",
    ),
    Definition(
        "UAFH",
        "Vertical",
        "mm",
        "N PNS ANS",
        _upper_height,
        "Upper anterior face height: N to PP at a right angle, positive above PP.",
    ),
    Definition(
        "LAFH ratio",
        "Vertical",
        "percent",
        "N Me PNS ANS",
        _lower_height_share,
        "100 LAFH / (LAFH + UAFH), both at right angles to PP.",
    ),
)

JARABAK = (
    Definition(
        "saddle angle",
        "Jarabak",
        "deg",
        "N S Ar",
        lambda t: t.angle("N", "S", "Ar"),
        "Angle N-S-Ar (Jarabak and Fizzell, after Bjork).",
    ),
    Definition(
        "articular angle",
        "Jarabak",
        "deg",
        "S Ar Go",
        lambda t: t.angle("S", "Ar", "Go"),
        "Angle S-Ar-Go (Jarabak and Fizzell, after Bjork).",
    ),
    Definition(
        "gonial angle",
        "Jarabak",
        "deg",
        "Ar Go Me",
        lambda t: t.angle("Ar", "Go", "Me"),
        "Angle Ar-Go-Me (Jarabak and Fizzell, after Bjork).",
    ),
    Definition(
        "Bjork sum",
        "Jarabak",
        "deg",
        "N S Ar Go Me",
        _bjork_sum,
        "Sum of the saddle, articular and gonial angles; 360 degrees plus SN-MP where all three "
        "open to the front (Jarabak and Fizzell, after Bjork).",
    ),
    Definition(
        "FHI",
        "Jarabak",
        "ratio",
        "S Go N Me",
        lambda t: t.distance("S", "Go") / t.distance("N", "Me"),
        "Facial height index: posterior (S-Go) by anterior (N-Me) face height (Jarabak and "
        "Fizzell).",
    ),
)

RICKETTS = (
    Definition(
        "facial axis",
        "Ricketts",
        "deg",
        "Ba N Pt Gn",
        lambda t: turn(t.direction("N", "Ba"), t.direction("Pt", "Gn")),
        "Lower back angle of Ba-N and Pt-Gn, Gn as marked, not constructed; grows as the chin "
        "comes forward (Ricketts).",
    ),
)

KIM = (
    Definition(
        "ODI",
        "Kim",
        "deg",
        "A B Go Me Po Or PNS ANS",
        lambda t: turn(t.direction("B", "A"), -t.mandibular_plane()) + t.palatal_tilt(),
        "Overbite depth indicator: upper back angle of A-B and MP (Go-Me) plus FH to PP, the last "
        "positive when the front of PP is lower (Kim).",
    ),
)

BASE = (
    Definition(
        "N-S-Ba",
        "Cranial base",
        "deg",
        "N S Ba",
        lambda t: t.angle("N", "S", "Ba"),
        "Angle N-S-Ba, the flexure of the cranial base.",
    ),
)
