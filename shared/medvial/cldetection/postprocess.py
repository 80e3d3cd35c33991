"""Heatmaps of one film to landmarks in the film's own pixels."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medvial.cldetection.calibration import Calibration, calibration_features
from medvial.cldetection.config import Config
from medvial.cldetection.decode import Peaks, decode, decode_within, heatmap_grid, mean_of
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
    """(L, 2, 2) second moments of what the networks say, what `uncertainty` is computed from;
    pixels of the network input, squared, x in the direction of the film as it was given."""
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


@dataclass(frozen=True)
class Found:
    """What a network or several say of a film, guarded; in pixels of the first one's input."""

    peaks: Peaks
    """Of the heatmaps; points and second moments as the guard leaves them."""
    distance: NDArray[np.float64]
    """(L,) from what the other landmarks predict, see `ShapeCheck`; 1 without a shape prior."""
    corrected: NDArray[np.bool_]
    """(L,) landmarks that the shape prior moved."""
    plausible: bool
    """Whether the landmarks form the shape of a cephalogram."""


def find(heatmaps: NDArray[np.float32], config: Config, prior: ShapePrior | None) -> Found:
    """Decode the heatmaps of one film and guard the points with the shape prior.

    Args:
        heatmaps: Output of the network, (L, h, w); of an ensemble (members L, h, w).
        config: The model's configuration.
        prior: The model's shape prior.
    """
    maps = heatmaps.reshape(config.members, -1, *heatmaps.shape[1:])
    peaks = mean_of([decode(each, config) for each in maps])
    count = len(peaks.points)
    corrected = np.zeros(count, dtype=bool)
    if prior is None:
        return Found(peaks, np.ones(count), corrected, plausible=True)
    check = prior.check(peaks.points)
    if not check.plausible:
        return Found(peaks, check.distance, corrected, plausible=False)
    points, spread = peaks.points.copy(), peaks.covariance_px2.copy()
    for index in np.flatnonzero(check.outlier):
        allowed = _prior_map(check, int(index), heatmaps.shape[1:], config, prior)
        found = decode_within(maps[:, index], allowed, config)
        points[index], spread[index] = found.points[0], found.covariance_px2[0]
    guarded = replace(peaks, points=points, covariance_px2=spread)
    return Found(guarded, check.distance, check.outlier, plausible=True)


def postprocess(
    found: Found,
    geometry: Geometry,
    config: Config,
    learned: Learned,
    *,
    mirrored: bool = False,
) -> Film:
    """Calibrate, and go back to the film's pixels.

    Args:
        found: What the network that sees the whole film says; with a second network, both.
        geometry: From `preprocess`.
        config: The model's configuration.
        learned: The model's calibration and intervals.
        mirrored: The network saw its input mirrored left to right.
    """
    peaks = found.peaks
    features = calibration_features(peaks, found.distance, found.corrected)
    calibration = learned.calibration
    return Film(
        points=_to_image(peaks.points, geometry, config, mirrored),
        probability=calibration.probability(features) if calibration else None,
        corrected=found.corrected,
        mirrored=mirrored != geometry.mirrored,
        plausible=found.plausible,
        features=features,
        spread_px2=_flip(peaks.covariance_px2, mirrored != geometry.mirrored),
        uncertainty=_uncertainty(peaks.covariance_px2, geometry, learned, mirrored=mirrored),
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
    check: ShapeCheck, index: int, shape: tuple[int, ...], config: Config, prior: ShapePrior
) -> NDArray[np.float64]:
    """Where the other landmarks allow this one: (h, w), 1 at the expected point.

    Heavier than normal tails (Student t, 2 degrees of freedom) let a clear heatmap peak win over
    the population's mean.
    """
    columns, rows = heatmap_grid(shape[0], shape[1], config.heatmap_stride)
    grid = np.stack(np.meshgrid(columns, rows), axis=-1) - check.expected[index]  # (h, w, 2)
    precision = np.linalg.inv(check.expected_covariance[index])
    squared = np.einsum("hwi,ij,hwj->hw", grid, precision, grid)
    density = (1.0 + squared / 2.0) ** -2.0
    return np.where(squared <= prior.limit**2, density, 1e-12 * density)


def _to_image(
    points: NDArray[np.float64], geometry: Geometry, config: Config, mirrored: bool
) -> NDArray[np.float64]:
    points = points.copy()
    if not config.half_pixel_centres:  # so that to_image divides by the scale alone
        points += 0.5 * np.array([geometry.scale_x, geometry.scale_y]) - 0.5
    if mirrored:
        points[:, 0] = config.width - 1 - points[:, 0]
    return geometry.to_image(points)
