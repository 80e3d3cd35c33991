"""How dense each structure of the cephalogram phantom is on the film."""

from dataclasses import dataclass
from typing import Literal


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


STROKES: tuple[Stroke, ...] = (
    Stroke("braincase", "fill", 0.46, blur_mm=0.8),
    Stroke("cranial_cavity", "fill", -0.06, blur_mm=2.5),
    Stroke("vault", "line", 0.22, width_mm=5.0, blur_mm=1.2),
    Stroke("vault", "line", 0.22, width_mm=1.2, blur_mm=0.4),
    Stroke("cranial_cavity", "line", 0.12, width_mm=1.6, blur_mm=0.8),
    Stroke("midface", "fill", 0.1, blur_mm=3.0),
    Stroke("ethmoid", "fill", 0.12, blur_mm=2.5),
    Stroke("petrous", "fill", 0.34, blur_mm=2.5),
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
    Stroke("mandible", "fill", 0.2, blur_mm=0.6),
    Stroke("mandible", "line", 0.12, width_mm=3.2, blur_mm=0.8),
    Stroke("mandible", "line", 0.24, width_mm=1.1, blur_mm=0.3),
    Stroke("symphysis", "fill", 0.1, blur_mm=0.4),
    Stroke("symphysis", "line", 0.3, width_mm=1.2),
    Stroke("mandibular_canal", "line", -0.06, width_mm=2.2, blur_mm=0.5),
    Stroke("atlas_front", "fill", 0.3, blur_mm=0.5),
    Stroke("atlas_back", "fill", 0.22, blur_mm=0.6),
    Stroke("dens", "fill", 0.25, blur_mm=0.4),
    Stroke("dens", "line", 0.15, width_mm=0.8, blur_mm=0.3),
    Stroke("hyoid", "fill", 0.12, blur_mm=0.4),
    Stroke("lower_lip_inside", "line", -0.08, width_mm=0.8, blur_mm=0.3),
)
"""Everything drawn from contours, in drawing order (the order does not matter: densities add)."""
