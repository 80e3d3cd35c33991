"""What post-processing learns from data: the shape prior and the calibration."""

import logging

import numpy as np
from numpy.typing import NDArray
from sklearn.covariance import LedoitWolf
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold

from medvial.cldetection.calibration import Calibration
from medvial.cldetection.postprocess import Film
from medvial.cldetection.shape_prior import ShapePrior, align
from medvial_training.tasks.cldetection.dataset import Sample

log = logging.getLogger(__name__)

MIN_SHAPES = 20  # fewer say little about a population
MIN_LANDMARKS = 3  # a similarity lays any two points upon any others
MIN_MISSES = 10  # fewer landmarks on one side of 2 mm give no usable calibration
LIMIT_MARGIN = 1.25  # on the largest distance seen in training: a guard, not a judge of style


def fit_shape_prior(samples: list[Sample]) -> ShapePrior | None:
    """The population of the experts' landmarks; None with fewer than 20 complete films.

    Nor is there one of fewer than 3 landmarks, which have no shape.

    The limit is the 99.9th percentile of the distances of films that a prior fitted without them
    sees (5 folds), times 1.25.
    """
    shapes = np.stack([s.network_points for s in samples])
    shapes = shapes[np.isfinite(shapes).all(axis=(1, 2))]
    if shapes.shape[1] < MIN_LANDMARKS:
        log.info("No shape prior: %d landmarks form no shape.", shapes.shape[1])
        return None
    if len(shapes) < MIN_SHAPES:
        log.info("No shape prior: %d complete films, at least %d needed.", len(shapes), MIN_SHAPES)
        return None
    held_out = []
    for train, rest in KFold(5, shuffle=True, random_state=0).split(shapes):
        prior = _normal_distribution(shapes[train])
        held_out += [prior.check(shape).distance for shape in shapes[rest]]
    limit = LIMIT_MARGIN * float(np.quantile(np.concatenate(held_out), 0.999))
    prior = _normal_distribution(shapes)
    return ShapePrior(prior.mean, prior.covariance, limit)


def _normal_distribution(shapes: NDArray[np.float64]) -> ShapePrior:
    """Generalised Procrustes analysis, then mean and Ledoit-Wolf covariance; no limit yet."""
    mean = shapes[0]
    for _ in range(5):
        aligned = np.stack([align(shape, mean).apply(shape) for shape in shapes])
        mean = align(aligned.mean(axis=0), shapes.mean(axis=0)).apply(aligned.mean(axis=0))
    aligned = np.stack([align(shape, mean).apply(shape) for shape in shapes])
    covariance = LedoitWolf().fit((aligned - mean).reshape(len(shapes), -1)).covariance_
    return ShapePrior(mean, covariance, np.inf)


def fit_calibration(
    samples: list[Sample], films: list[Film], within_mm: float = 2.0
) -> Calibration | None:
    """Learn P(error < 2 mm) on validation films; None when they hold too few misses or hits.

    The penalty of the regression, one for all, draws what is particular to a landmark to zero: few
    films say little about it.
    """
    features, correct, landmarks = [], [], []
    for sample, film in zip(samples, films, strict=True):
        error = np.linalg.norm(film.points - sample.points, axis=1) * sample.mm_per_px
        known = np.isfinite(error)
        features.append(film.features[known])
        correct.append(error[known] < within_mm)
        landmarks.append(np.eye(len(error))[known])
    x, y, which = np.concatenate(features), np.concatenate(correct), np.concatenate(landmarks)
    if min(y.sum(), (~y).sum()) < MIN_MISSES:
        log.info(
            "No calibrated probability: %d of %d validation landmarks are beyond %g mm, at least "
            "%d needed on either side.",
            (~y).sum(),
            len(y),
            within_mm,
            MIN_MISSES,
        )
        return None
    centre, scale = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-3)
    model = LogisticRegression(C=1.0, max_iter=1000)
    model.fit(np.hstack([(x - centre) / scale, which]), y)
    count = x.shape[1]
    coefficients = model.coef_[0, :count] / scale
    return Calibration(
        coefficients=tuple(float(c) for c in coefficients),
        intercept=float(model.intercept_[0] - coefficients @ centre),
        within_mm=within_mm,
        points=len(y),
        landmarks=tuple(float(c) for c in model.coef_[0, count:]),
    )
