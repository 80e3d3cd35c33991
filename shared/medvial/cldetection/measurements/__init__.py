"""Cephalometric measurements from landmarks: Steiner, Tweed, Downs, Wits and others."""

from medvial.cldetection.measurements.definition import Definition
from medvial.cldetection.measurements.evaluate import DEFINITIONS, Measurement, measure
from medvial.cldetection.measurements.norms import Norm, NormProfile, load_norms
from medvial.cldetection.measurements.uncertainty import with_intervals

__all__ = [
    "DEFINITIONS",
    "Definition",
    "Measurement",
    "Norm",
    "NormProfile",
    "load_norms",
    "measure",
    "with_intervals",
]
