"""Measurements of the teeth and the soft tissue.

A line X-Y runs from X to Y; the axis of an incisor from its root apex to its tip. Sources, as the
constructions name them: those of `sagittal` and `vertical`, and Legan and Burstone, J Oral Surg
1980;38:744-751.
"""

import numpy as np

from medvial.cldetection.measurements.definition import Definition
from medvial.cldetection.measurements.tracing import Tracing, Vector, cross, turn


def _upper_axis(t: Tracing) -> Vector:
    return t.direction("U1apex", "U1")


def _lower_axis(t: Tracing) -> Vector:
    return t.direction("L1apex", "L1")


STEINER = (
    Definition(
        "U1-NA angle",
        "Steiner",
        "deg",
        "U1apex U1 N A",
        lambda t: turn(t.direction("N", "A"), _upper_axis(t)),
        "N-A to the axis of the upper incisor; positive when the crown is ahead (Steiner).",
    ),
    Definition(
        "U1-NA distance",
        "Steiner",
        "mm",
        "U1 N A",
        lambda t: t.offset("U1", "N", "A"),
        "Tip of the upper incisor to N-A; positive in front of it (Steiner measures from the most "
        "prominent part of the crown).",
    ),
    Definition(
        "L1-NB angle",
        "Steiner",
        "deg",
        "L1apex L1 N B",
        lambda t: turn(_lower_axis(t), t.direction("B", "N")),
        "N-B to the axis of the lower incisor; positive when the crown is ahead (Steiner).",
    ),
    Definition(
        "L1-NB distance",
        "Steiner",
        "mm",
        "L1 N B",
        lambda t: t.offset("L1", "N", "B"),
        "Tip of the lower incisor to N-B; positive in front of it (Steiner measures from the most "
        "prominent part of the crown).",
    ),
    Definition(
        "interincisal angle",
        "Steiner",
        "deg",
        "U1apex U1 L1apex L1",
        lambda t: turn(_upper_axis(t), _lower_axis(t)) % 360,
        "Back angle of the axes of the incisors, above 180 when both are retroclined (Downs, "
        "Steiner). With ANB, U1-NA and L1-NB it makes 180 degrees.",
    ),
)

TWEED = (
    Definition(
        "IMPA",
        "Tweed",
        "deg",
        "L1apex L1 Go Me",
        lambda t: turn(_lower_axis(t), -t.mandibular_plane()),
        "Upper back angle of the axis of the lower incisor and MP (Go-Me); grows as the crown "
        "comes forward (Tweed).",
    ),
    Definition(
        "FMIA",
        "Tweed",
        "deg",
        "L1apex L1 Po Or",
        lambda t: turn(t.frankfort(), _lower_axis(t)),
        "Lower back angle of FH and the axis of the lower incisor; 180 minus FMA and IMPA (Tweed).",
    ),
)

RICKETTS = (
    Definition(
        "L1 to A-Pog",
        "Ricketts",
        "mm",
        "L1 A Pog",
        lambda t: t.offset("L1", "A", "Pog"),
        "Tip of the lower incisor to A-Pog; positive in front of it (Ricketts).",
    ),
    Definition(
        "upper lip to E-line",
        "Ricketts",
        "mm",
        "Ls Prn Pog'",
        lambda t: t.offset("Ls", "Prn", "Pog'"),
        "Ls to the aesthetic line Prn-Pog'; positive in front of it (Ricketts).",
    ),
    Definition(
        "lower lip to E-line",
        "Ricketts",
        "mm",
        "Li Prn Pog'",
        lambda t: t.offset("Li", "Prn", "Pog'"),
        "Li to the aesthetic line Prn-Pog'; positive in front of it (Ricketts).",
    ),
)

DENTAL = (
    Definition(
        "overjet",
        "Dental",
        "mm",
        "U1 L1 U6 L6",
        lambda t: float(np.dot(t.vector("L1", "U1"), t.occlusal_plane())),
        "U1 ahead of L1 along the bisected occlusal plane (midpoint of U6 and L6 to midpoint of U1 "
        "and L1); negative in a reverse bite.",
    ),
    Definition(
        "overbite",
        "Dental",
        "mm",
        "U1 L1 U6 L6",
        lambda t: cross(t.occlusal_plane(), t.vector("U1", "L1")),
        "U1 below L1 at a right angle to the bisected occlusal plane; negative in an open bite.",
    ),
)

SOFT = (
    Definition(
        "nasolabial angle",
        "Soft tissue",
        "deg",
        "Cm Sn Ls",
        lambda t: t.angle("Cm", "Sn", "Ls"),
        "Angle Cm-Sn-Ls (Legan and Burstone).",
    ),
    Definition(
        "soft tissue facial convexity",
        "Soft tissue",
        "deg",
        "G' Sn Pog'",
        lambda t: turn(t.direction("Sn", "Pog'"), t.direction("G'", "Sn")),
        "180 degrees minus the angle G'-Sn-Pog'; positive when Sn is ahead of G'-Pog' (Legan and "
        "Burstone).",
    ),
)
