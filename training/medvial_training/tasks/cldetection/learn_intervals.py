"""90 % intervals of landmarks and measurements, learned on validation films."""

import logging
import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medvial.cldetection.config import Config
from medvial.cldetection.intervals import (
    LEVEL,
    RADIUS_90,
    Intervals,
    Uncertainty,
)
from medvial.cldetection.landmarks import LandmarkSet, load_landmark_set
from medvial.cldetection.measurements import measure, with_intervals
from medvial.cldetection.postprocess import Film
from medvial_training.tasks.cldetection.dataset import Sample

log = logging.getLogger(__name__)

FloatArray = NDArray[np.float64]
MIN_SCORES = 100  # fewer leave the 90 % quantile itself uncertain by more than 6 points
PSEUDO_FILMS = 10.0  # what a landmark's own films weigh against all landmarks
CONFIDENCE = 0.9  # that regions hold the share that they are to hold
RESAMPLES = 400
FLOOR_SIGMAS = 0.25  # of the target's width: what no heatmap can be trusted to resolve


def fit_intervals(
    samples: list[Sample], films: list[Film], config: Config, blur_px2: float
) -> Intervals | None:
    """Learn how much wider or narrower than its heatmap a landmark's region has to be.

    Args:
        samples: Validation films, whose experts' marks are the truth.
        films: What the model says about them, without intervals.
        config: Of the model.
        blur_px2: Variance that the training target has, in network pixels squared.

    Returns:
        None with fewer than 100 marked landmarks.
    """
    floor = (FLOOR_SIGMAS * config.sigma_px * config.heatmap_stride) ** 2
    raw = Intervals((1.0,) * len(samples[0].points), blur_px2, floor)
    scores = np.stack([_scores(s, f, raw) for s, f in zip(samples, films, strict=True)])
    known = int(np.isfinite(scores).sum())
    if known < MIN_SCORES:
        log.info("No intervals: %d validation landmarks, %d needed.", known, MIN_SCORES)
        return None
    factors = conformal_factors(scores)
    learned = Intervals(tuple(factors.tolist()), blur_px2, floor, films=len(samples))
    return Intervals(
        learned.factors,
        blur_px2,
        floor,
        measurements=_fit_measurements(samples, films, config, learned),
        films=len(samples),
    )


def conformal_factors(scores: FloatArray, level: float = LEVEL) -> FloatArray:
    """Factors by which regions have to grow to hold a share of the films, per column.

    Every column has its own mean score, shrunk towards that of all columns by `PSEUDO_FILMS`
    films; what is left, each film's score by the mean without it, is pooled over the columns, and
    its conformal quantile, the ceil((n + 1) level)-th smallest, sets the size of all. Few films
    know it badly, and what errs in a film errs together: the upper `CONFIDENCE` limit of the
    quantile counts, by bootstrap over films.

    Args:
        scores: (N, L) how far off, where 1 is the edge of the uncalibrated region; NaN unknown.
        level: Share of the films to be held.

    Returns:
        (L,) factors of the regions' size.
    """
    known = np.isfinite(scores)
    values = np.where(known, scores, 0.0)
    count, total = known.sum(axis=0), values.sum(axis=0)
    pooled = values.sum() / known.sum()
    scale = (total + PSEUDO_FILMS * pooled) / (count + PSEUDO_FILMS)
    without = (total - values + PSEUDO_FILMS * pooled) / (np.maximum(count - 1, 0) + PSEUDO_FILMS)
    ratios = np.where(known, values / np.maximum(without, 1e-12), np.nan)
    rng = np.random.default_rng(0)
    drawn = (ratios[rng.integers(0, len(ratios), len(ratios))] for _ in range(RESAMPLES))
    return scale * float(np.quantile([_quantile(each, level) for each in drawn], CONFIDENCE))


def _quantile(ratios: FloatArray, level: float) -> float:
    known = np.sort(ratios[np.isfinite(ratios)])
    if not known.size:
        return 0.0  # a resample without a known score says nothing
    return float(known[min(len(known), math.ceil((len(known) + 1) * level)) - 1])


def _scores(sample: Sample, film: Film, intervals: Intervals) -> FloatArray:
    """(L,) Mahalanobis distance of the expert's marks by the radius of the 90 % region."""
    offset = film.points - sample.points
    return _uncertainty(sample, film, intervals).distance(offset) / RADIUS_90


def _uncertainty(sample: Sample, film: Film, intervals: Intervals) -> Uncertainty:
    assert film.spread_px2 is not None  # every film of a predictor has it
    scale = np.array([sample.geometry.scale_x, sample.geometry.scale_y])
    return Uncertainty(intervals.covariances(film.spread_px2) / np.outer(scale, scale))


def _fit_measurements(
    samples: list[Sample], films: list[Film], config: Config, intervals: Intervals
) -> dict[str, float]:
    """What propagation misses, per measurement: correlated errors, and what is not linear."""
    landmark_set = load_landmark_set(config.landmark_set)
    rows = [
        _measured_scores(sample, film, intervals, landmark_set)
        for sample, film in zip(samples, films, strict=True)
    ]
    names = sorted({name for row in rows for name in row})
    scores = np.array([[row.get(name, np.nan) for name in names] for row in rows])
    if np.isfinite(scores).sum() < MIN_SCORES:
        return {}
    return dict(zip(names, conformal_factors(scores).tolist(), strict=True))


def _measured_scores(
    sample: Sample, film: Film, intervals: Intervals, landmark_set: LandmarkSet
) -> dict[str, float]:
    """|model minus expert| by the half-width of the interval, of the measurements that both have.

    Where the experts left a landmark out, what needs it is not compared.
    """
    facing: Literal["left", "right"] = "left" if sample.geometry.mirrored else "right"
    scale = sample.mm_per_px
    expert = measure(sample.points, landmark_set, scale, facing=facing)
    measured = with_intervals(
        measure(film.points, landmark_set, scale, facing=facing),
        film.points,
        _uncertainty(sample, film, intervals),
        landmark_set,
        scale,
        facing=facing,
    )
    scores = {}
    for one, other in zip(expert, measured, strict=True):
        if one.value is not None and other.value is not None and other.half_width:
            difference = other.value - one.value
            if one.unit == "deg":
                difference = (difference + 180) % 360 - 180
            scores[one.name] = abs(difference) / other.half_width
    return scores
