"""Measurements of the jaws from back to front.

A line X-Y runs from X to Y. FH is Po-Or, the Frankfort horizontal; MP is Go-Me, the mandibular
plane; PP is PNS-ANS, the palatal plane. Sources, as the constructions name them:
Steiner, Am J Orthod 1953;39:729-755. Downs, Am J Orthod 1948;34:812-840. Jacobson, Am J Orthod
1975;67:125-138. McNamara, Am J Orthod 1984;86:449-469. Ricketts, Angle Orthod 1981;51:115-150.
Kim and Vietas, Am J Orthod 1978;73:619-633.
The formulas follow the definitions as these are quoted in later publications.
"""

import numpy as np

from medvial.cldetection.measurements.definition import Definition
from medvial.cldetection.measurements.tracing import Tracing, turn


def _facial_angle(t: Tracing) -> float:
    return turn(-t.frankfort(), t.direction("N", "Pog"))


def _ab_plane(t: Tracing) -> float:
    return turn(t.direction("N", "Pog"), t.direction("A", "B"))


STEINER = (
    Definition(
        "SNA",
        "Steiner",
        "deg",
        "S N A",
        lambda t: t.angle("S", "N", "A"),
        "Angle S-N-A (Steiner).",
    ),
    Definition(
        "SNB",
        "Steiner",
        "deg",
        "S N B",
        lambda t: t.angle("S", "N", "B"),
        "Angle S-N-B (Steiner).",
    ),
    Definition(
        "ANB",
        "Steiner",
        "deg",
        "S N A B",
        lambda t: t.angle("S", "N", "A") - t.angle("S", "N", "B"),
        "SNA minus SNB; positive when A is ahead of B as seen from N (Steiner).",
    ),
    Definition(
        "SND",
        "Steiner",
        "deg",
        "S N D",
        lambda t: t.angle("S", "N", "D"),
        "Angle S-N-D, D the centre of the symphysis (Steiner).",
    ),
)

DOWNS = (
    Definition(
        "facial angle",
        "Downs",
        "deg",
        "Po Or N Pog",
        _facial_angle,
        "Lower inner angle of FH and N-Pog; grows as the chin comes forward (Downs).",
    ),
    Definition(
        "angle of convexity",
        "Downs",
        "deg",
        "N A Pog",
        lambda t: turn(t.direction("A", "Pog"), t.direction("N", "A")),
        "180 degrees minus the angle N-A-Pog; positive when A is ahead of N-Pog (Downs).",
    ),
    Definition(
        "A-B plane angle",
        "Downs",
        "deg",
        "A B N Pog",
        _ab_plane,
        "A-B to N-Pog; negative when B lies behind A against the facial plane, as it usually "
        "does (Downs).",
    ),
)

WITS = (
    Definition(
        "Wits",
        "Wits",
        "mm",
        "A B U6 L6 U1 L1",
        lambda t: float(np.dot(t.vector("B", "A"), t.occlusal_plane())),
        "AO to BO, the feet of A and B on the bisected occlusal plane (midpoint of U6 and L6 to "
        "midpoint of U1 and L1), which is not the functional occlusal plane of the source; "
        "positive when AO is ahead of BO (Jacobson).",
    ),
)

MCNAMARA = (
    Definition(
        "Co-A",
        "McNamara",
        "mm",
        "Co A",
        lambda t: t.distance("Co", "A"),
        "Effective midfacial length Co-A (McNamara).",
    ),
    Definition(
        "Co-Gn",
        "McNamara",
        "mm",
        "Co Gn",
        lambda t: t.distance("Co", "Gn"),
        "Effective mandibular length Co-Gn, Gn as marked, not constructed (McNamara).",
    ),
    Definition(
        "maxillomandibular difference",
        "McNamara",
        "mm",
        "Co A Gn",
        lambda t: t.distance("Co", "Gn") - t.distance("Co", "A"),
        "Co-Gn minus Co-A (McNamara).",
    ),
    Definition(
        "A to N-perpendicular",
        "McNamara",
        "mm",
        "Po Or N A",
        lambda t: float(np.dot(t.vector("N", "A"), t.frankfort())),
        "A to the perpendicular on FH through N; positive in front of it (McNamara).",
    ),
    Definition(
        "Pog to N-perpendicular",
        "McNamara",
        "mm",
        "Po Or N Pog",
        lambda t: float(np.dot(t.vector("N", "Pog"), t.frankfort())),
        "Pog to the perpendicular on FH through N; positive in front of it (McNamara).",
    ),
)

RICKETTS = (
    Definition(
        "convexity",
        "Ricketts",
        "mm",
        "N A Pog",
        lambda t: t.offset("A", "N", "Pog"),
        "A to N-Pog; positive in front of it (Ricketts).",
    ),
)

KIM = (
    Definition(
        "APDI",
        "Kim",
        "deg",
        "Po Or N Pog A B PNS ANS",
        lambda t: _facial_angle(t) + _ab_plane(t) + t.palatal_tilt(),
        "Anteroposterior dysplasia indicator: facial angle plus A-B plane angle plus FH to PP, the "
        "last positive when the front of PP is lower (Kim and Vietas).",
    ),
)
