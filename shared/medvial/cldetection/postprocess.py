"""Heatmaps of one film to landmarks in the film's own pixels."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medvial.cldetection.calibration import Calibration, calibration_features
from medvial.cldetection.config import Config
from medvial.cldetection.decode import decode, decode_within, heatmap_grid
from medvial.cldetection.intervals import Intervals, Uncertainty
from medvial.cldetection.preprocess import Geometry
from medvial.cldetection.shape_prior import ShapeCheck, ShapePrior
from medvial.errors import InputError


@dataclass(frozen=True)
class Learned:
    """What post-processing learned in training; `postprocess.json` of the model folder."""

    shape_prior: ShapePrior | None = None
    calibration: Calibration | None = None
    intervals: Intervals | None = None

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {
            "shape_prior": self.shape_prior and self.shape_prior.as_dict(),
            "calibration": self.calibration and self.calibration.as_dict(),
            "intervals": self.intervals and self.intervals.as_dict(),
        }

    @classmethod
    def from_dict(cls, values: Any) -> "Learned":
        """Read what `as_dict` wrote."""
        if not isinstance(values, dict):
            raise InputError(
                f"Expected an object in postprocess.json, got {type(values).__name__}."
            )
        prior, calibration = values.get("shape_prior"), values.get("calibration")
        intervals = values.get("intervals")  # absent from models of before there were any
        return cls(
            ShapePrior.from_dict(prior) if prior else None,
            Calibration.from_dict(calibration) if calibration else None,
            Intervals.from_dict(intervals) if intervals else None,
        )


@dataclass(frozen=True)
class Film:
    """The landmarks of one film."""

    points: NDArray[np.float64]
    """(L, 2) as (x, y), in pixels of the film as it was given (padding included)."""
    probability: NDArray[np.float64] | None
    """(L,) calibrated P(error < 2 mm), or None where the model has no calibration."""
    corrected: NDArray[np.bool_]
    """(L,) landmarks that the shape prior moved."""
    mirrored: bool
    """Whether the film was recognised as facing left."""
    plausible: bool
    """Whether the landmarks form the shape of a cephalogram; False: do not trust any of them."""
    features: NDArray[np.float64]
    """(L, 4) what `probability` is computed from."""
    spread_px2: NDArray[np.float64] | None = None
    """(L, 2, 2) second moments of the heatmaps, what `uncertainty` is computed from; pixels of the
    network input, squared, x in the direction of the film as it was given."""
    uncertainty: Uncertainty | None = None
    """Where the landmarks lie with 90 %; None where the model has no intervals."""

    def reordered(self, order: list[int]) -> "Film":
        """The film with these of its landmarks, in this order."""
        known = self.uncertainty
        return replace(
            self,
            points=self.points[order],
            probability=None if self.probability is None else self.probability[order],
            corrected=self.corrected[order],
            features=self.features[order],
            spread_px2=None if self.spread_px2 is None else self.spread_px2[order],
            uncertainty=known and replace(known, covariance_px2=known.covariance_px2[order]),
        )


def postprocess(
    heatmaps: NDArray[np.float32],
    geometry: Geometry,
    config: Config,
    learned: Learned,
    *,
    mirrored: bool = False,
) -> Film:
    """Decode, guard with the shape prior, calibrate, and go back to the film's pixels.

    Args:
        heatmaps: Network output of one film, (L, h, w) float32.
        geometry: From `preprocess`.
        config: The model's configuration.
        learned: The model's shape prior, calibration and intervals.
        mirrored: The network saw its input mirrored left to right.
    """
    peaks = decode(heatmaps, config)
    points, corrected = peaks.points.copy(), np.zeros(len(heatmaps), dtype=bool)
    spread = peaks.covariance_px2.copy()
    distance, plausible = np.ones(len(heatmaps)), True
    if learned.shape_prior is not None:
        check = learned.shape_prior.check(points)
        distance, plausible = check.distance, check.plausible
        if plausible:
            corrected = check.outlier
            for index in np.flatnonzero(corrected):
                prior = _prior_map(check, int(index), heatmaps.shape[1:], config, learned)
                found = decode_within(heatmaps[index], prior, config)
                points[index], spread[index] = found.points[0], found.covariance_px2[0]
    features = calibration_features(peaks, distance, corrected)
    calibration = learned.calibration
    return Film(
        points=_to_image(points, geometry, config, mirrored),
        probability=calibration.probability(features) if calibration else None,
        corrected=corrected,
        mirrored=mirrored != geometry.mirrored,
        plausible=plausible,
        features=features,
        spread_px2=_flip(spread, mirrored != geometry.mirrored),
        uncertainty=_uncertainty(spread, geometry, learned, mirrored=mirrored),
    )


def _uncertainty(
    spread: NDArray[np.float64], geometry: Geometry, learned: Learned, *, mirrored: bool
) -> Uncertainty | None:
    if learned.intervals is None:
        return None
    scale = np.array([geometry.scale_x, geometry.scale_y])
    covariance = learned.intervals.covariances(spread) / np.outer(scale, scale)
    covariance = _flip(covariance, mirrored != geometry.mirrored)
    return Uncertainty(covariance, learned.intervals.measurements)


def _flip(covariance: NDArray[np.float64], mirrored: bool) -> NDArray[np.float64]:
    """Covariances (L, 2, 2) seen in a mirror where asked for."""
    return covariance * np.array([[1.0, -1.0], [-1.0, 1.0]]) if mirrored else covariance


def _prior_map(
    check: ShapeCheck, index: int, shape: tuple[int, ...], config: Config, learned: Learned
) -> NDArray[np.float64]:
    """Where the other landmarks allow this one: (h, w), 1 at the expected point.

    Heavier than normal tails (Student t, 2 degrees of freedom) let a clear heatmap peak win over
    the population's mean.
    """
    columns, rows = heatmap_grid(shape[0], shape[1], config.heatmap_stride)
    grid = np.stack(np.meshgrid(columns, rows), axis=-1) - check.expected[index]  # (h, w, 2)
    precision = np.linalg.inv(check.expected_covariance[index])
    squared = np.einsum("hwi,ij,hwj->hw", grid, precision, grid)
    assert learned.shape_prior is not None
    density = (1.0 + squared / 2.0) ** -2.0
    return np.where(squared <= learned.shape_prior.limit**2, density, 1e-12 * density)


def _to_image(
    points: NDArray[np.float64], geometry: Geometry, config: Config, mirrored: bool
) -> NDArray[np.float64]:
    points = points.copy()
    if not config.half_pixel_centres:  # so that to_image divides by the scale alone
        points += 0.5 * np.array([geometry.scale_x, geometry.scale_y]) - 0.5
    if mirrored:
        points[:, 0] = config.width - 1 - points[:, 0]
    return geometry.to_image(points)
