"""A heart's volumes over time: population, rhythm, filling and emptying.

The population's figures are those of EchoNet-Dynamic's list of 10,030 videos (Ouyang et al., Nature
2020;580:252-6): quantiles of the ejection fraction, a lognormal end-diastolic volume, a correlation
of -.53 between the two. The course within a beat is a model, not a measurement: systole lasts
.33 sqrt(RR) s (Bazett's form) and empties by a half cosine; the early wave returns 75 % of the
stroke volume in the first 40 % of diastole, the atrial wave the rest in the last 25 %.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from medvial.errors import InputError

Rhythm = Literal["sinus", "atrial fibrillation", "ectopic"]
RHYTHMS: tuple[Rhythm, ...] = ("sinus", "atrial fibrillation", "ectopic")
RHYTHM_SHARES = (0.82, 0.09, 0.09)
EF_QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
EF_PERCENT = (10.0, 27.9, 51.6, 59.2, 64.0, 69.1, 78.0)  # the list's ends, 6.9 and 97, drawn in
LOG_EDV = (4.413, 0.443)  # mean and SD of ln(mL)
EF_EDV_CORRELATION = -0.60  # of the normal scores; gives about -.53 between the values
EDV_LIMITS_ML = (30.0, 330.0)
EARLY_SHARE, EARLY_END, ATRIAL_START = 0.75, 0.4, 0.75
USUAL_FPS, USUAL_FPS_SHARE, FPS_LIMITS = 50.0, 0.8, (25.0, 80.0)


@dataclass(frozen=True)
class Heart:
    """What is true of one subject."""

    edv_ml: float
    """End-diastolic volume of a regular beat."""
    ef_percent: float
    """Ejection fraction of a regular beat, 0 to 100."""
    heart_rate_bpm: float
    rhythm: Rhythm
    rr_variation: float
    """SD of ln(RR)."""

    def __post_init__(self) -> None:
        """Refuse hearts that the model cannot draw."""
        if not (
            10 <= self.edv_ml <= 700
            and 0 <= self.ef_percent <= 90
            and 20 <= self.heart_rate_bpm <= 220
            and self.rhythm in RHYTHMS
            and 0 <= self.rr_variation <= 0.5
        ):
            raise InputError(
                "Expected an end-diastolic volume of 10 to 700 mL, an ejection fraction of 0 to "
                "90 %, a heart rate of 20 to 220 per minute, a variation of RR of 0 to 0.5 and one "
                f"of the rhythms {', '.join(RHYTHMS)}; got {self}."
            )


@dataclass(frozen=True)
class Course:
    """Volume over time."""

    volumes_ml: NDArray[np.float64]
    """(T,)."""
    ed_s: NDArray[np.float64]
    """(B,) times of end-diastole, of every beat that touches the clip; may lie outside of it."""
    es_s: NDArray[np.float64]
    """(B,) times of end-systole."""
    filling_ml_s: NDArray[np.float64]
    """(T,) rate of change of the volume; what opens the mitral valve."""


def sample_heart(rng: np.random.Generator, **given: Any) -> Heart:
    """A heart of the population; `given` fields of `Heart` replace the sampled ones."""
    first, second = rng.standard_normal(2)
    r = EF_EDV_CORRELATION
    ef = float(np.interp(norm.cdf(first), EF_QUANTILES, EF_PERCENT))
    edv = np.exp(LOG_EDV[0] + LOG_EDV[1] * (r * first + np.sqrt(1 - r * r) * second))
    rhythm = given.get("rhythm") or RHYTHMS[int(rng.choice(len(RHYTHMS), p=RHYTHM_SHARES))]
    rate = float(np.clip(rng.normal(73, 14), 45, 110))
    variation = float(rng.uniform(0.15, 0.25)) if rhythm == "atrial fibrillation" else 0.03
    heart = Heart(float(np.clip(edv, *EDV_LIMITS_ML)), ef, rate, rhythm, variation)
    return replace(heart, **{name: value for name, value in given.items() if value is not None})


def sample_fps(rng: np.random.Generator) -> float:
    """Frames per second: 50 in four of five videos, 25 to 80 in the others.

    Whole, for OpenCV's writer of AVI stores no other, and file and list shall agree.
    """
    other = float(round(rng.uniform(*FPS_LIMITS)))
    return USUAL_FPS if rng.random() < USUAL_FPS_SHARE else other


def beat(heart: Heart, times_s: NDArray[np.float64], rng: np.random.Generator) -> Course:
    """Volume at each time.

    Args:
        heart: The subject.
        times_s: (T,) increasing, from 0.
        rng: For the phase and the variation of the beats.
    """
    starts = _starts(heart, float(times_s[-1]), rng)
    rr = np.diff(starts)
    edv, esv = _ends(heart, rr, rng)
    systole = np.minimum(0.33 * np.sqrt(rr), 0.6 * rr)
    index = np.clip(np.searchsorted(starts, times_s, "right") - 1, 0, len(rr) - 1)
    phase = times_s - starts[index]
    emptied = 0.5 * (1 - np.cos(np.pi * np.clip(phase / systole[index], 0, 1)))
    u = np.clip((phase - systole[index]) / (rr - systole)[index], 0, 1)
    filled = _filled(u, atrial=heart.rhythm != "atrial fibrillation")
    volumes = edv[index] - (edv[index] - esv[index]) * emptied
    volumes += (edv[index + 1] - esv[index]) * filled
    rate = np.gradient(volumes, times_s) if len(times_s) > 1 else np.zeros(1)
    return Course(volumes, starts[:-1], starts[:-1] + systole, rate)


def _starts(heart: Heart, end_s: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Times of the R waves, from before the first frame to after the last."""
    mean = 60 / heart.heart_rate_bpm
    starts, pause = [-float(rng.uniform(0, 1)) * mean], 1.0
    while starts[-1] <= end_s or len(starts) < 3:
        rr = mean * float(np.exp(rng.normal(0, heart.rr_variation))) * pause
        early = heart.rhythm == "ectopic" and pause == 1.0 and rng.random() < 0.25
        pause = 1.4 if early else 1.0  # the pause after an early beat makes up for it
        starts.append(starts[-1] + max(rr * (0.6 if early else 1.0), 0.3))
    return np.array(starts)


def _ends(
    heart: Heart, rr: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """End-diastolic volumes (B + 1,) and end-systolic ones (B,) of B beats.

    A beat after a short interval fills less. An ectopic beat, which is one that began early, ejects
    40 to 60 % of the stroke volume.
    """
    stroke = heart.edv_ml * heart.ef_percent / 100
    before = np.concatenate([rr[:1], rr]) * heart.heart_rate_bpm / 60
    sinus = heart.rhythm == "sinus"
    fill = np.ones(len(before)) if sinus else np.clip(before, 0.35, 1.0) ** 0.6
    edv = heart.edv_ml - stroke * (1 - fill)
    esv = np.full(len(rr), heart.edv_ml - stroke)
    if heart.rhythm == "ectopic":
        early = before[:-1] < 0.75
        early[0] = False
        esv[early] = edv[:-1][early] - stroke * rng.uniform(0.4, 0.6, int(early.sum()))
    elif heart.rhythm == "atrial fibrillation":
        esv += stroke * rng.uniform(0, 0.1, len(rr))
    return edv, esv


def _filled(u: NDArray[np.float64], *, atrial: bool) -> NDArray[np.float64]:
    """Share of the stroke volume that is back at the share `u` of diastole."""
    early = 0.5 * (1 - np.cos(np.pi * np.clip(u / EARLY_END, 0, 1)))
    if not atrial:
        return early
    late = 0.5 * (1 - np.cos(np.pi * np.clip((u - ATRIAL_START) / (1 - ATRIAL_START), 0, 1)))
    return EARLY_SHARE * early + (1 - EARLY_SHARE) * late
