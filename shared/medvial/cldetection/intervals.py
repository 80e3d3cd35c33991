"""How far a landmark, and a measurement made of landmarks, may be off: 90 % intervals.

A heatmap's spread says where its landmark may lie; how far to believe it is learned on validation
films by split conformal prediction (Vovk et al., 2005; Lei et al., JASA 113, 2018).
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medvial.errors import InputError

LEVEL = 0.9
RADIUS_90 = math.sqrt(-2 * math.log(1 - LEVEL))
"""Mahalanobis radius that holds 90 % of a normal distribution in the plane: the root of the
chi-squared quantile with 2 degrees of freedom, 2.146."""
HALF_WIDTH_90 = 1.6448536269514722
"""Standard deviations either side of the mean that hold 90 % of a normal distribution."""


@dataclass(frozen=True)
class Uncertainty:
    """The doubt about the landmarks of one film."""

    covariance_px2: NDArray[np.float64]
    """(L, 2, 2) of the normal distributions whose 90 % ellipses are the calibrated regions; x, y in
    pixels of the film as it was given, squared."""
    measurements: Mapping[str, float] = field(default_factory=dict)
    """What the half-width of a measurement's interval is multiplied by, by its name; else 1."""

    def half_axes_px(self) -> NDArray[np.float64]:
        """(L, 2) half axes of the 90 % ellipses, the longer first, in pixels of the film."""
        variances = np.linalg.eigvalsh(self.covariance_px2)[..., ::-1]
        return RADIUS_90 * np.sqrt(np.clip(variances, 0.0, None))

    def distance(self, offset_px: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mahalanobis distance (L,) of offsets (L, 2); up to `RADIUS_90` is within the region."""
        return mahalanobis(offset_px, self.covariance_px2)


@dataclass(frozen=True)
class Intervals:
    """What intervals learned on validation films; part of `postprocess.json`."""

    factors: tuple[float, ...]
    """One per landmark: what its standard deviations are multiplied by."""
    blur_px2: float
    """Variance that the training target itself has along each axis, in network pixels squared: it
    is no doubt, and is taken off the heatmap's; 0 for losses without such a target."""
    floor_px2: float
    """Variance that is always left, in network pixels squared."""
    measurements: Mapping[str, float] = field(default_factory=dict)
    """As `Uncertainty.measurements`."""
    level: float = LEVEL
    films: int = 0
    """Validation films they were learned from."""

    def __post_init__(self) -> None:
        """Refuse another level, which the rest of the program does not know."""
        if self.level != LEVEL:
            raise InputError(f"Expected intervals of level {LEVEL}, got {self.level}.")

    def covariances(self, spread_px2: NDArray[np.float64]) -> NDArray[np.float64]:
        """Second moments of heatmaps (L, 2, 2) to calibrated covariances, network pixels."""
        raw = uncalibrated(spread_px2, self.blur_px2, self.floor_px2)
        return raw * np.square(self.factors)[:, None, None]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Intervals":
        """Read what `as_dict` wrote."""
        try:
            return cls(**{**values, "factors": tuple(values["factors"])})
        except (KeyError, TypeError) as error:
            raise InputError(f"Expected the fields of intervals: {error}.") from None


def uncalibrated(
    spread_px2: NDArray[np.float64], blur_px2: float, floor_px2: float
) -> NDArray[np.float64]:
    """Covariances (L, 2, 2) that heatmaps of these second moments stand for.

    A network trained towards a Gaussian around the landmark learns the landmark's distribution
    convolved with that Gaussian, whose variance is taken off again.
    """
    values, vectors = np.linalg.eigh(spread_px2)
    values = np.clip(values - blur_px2, 0.0, None) + floor_px2
    return (vectors * values[..., None, :]) @ np.swapaxes(vectors, -1, -2)


def mahalanobis(
    offset: NDArray[np.float64], covariance: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Distance (...) of offsets (..., 2) under covariances (..., 2, 2); NaN stays NaN."""
    solved = np.linalg.solve(covariance, offset[..., None])[..., 0]
    return np.sqrt(np.sum(offset * solved, axis=-1))
