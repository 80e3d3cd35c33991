"""A statistical model of how landmarks lie to each other, as a guard against gross outliers.

Landmarks of a population, aligned by similarity transforms (generalised Procrustes analysis,
Gower 1975), are taken as one multivariate normal distribution. Each landmark's distance from what
the others predict (its conditional mean) then tells whether it is where anatomy allows it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medvial.errors import InputError

Array = NDArray[np.floating[Any]]
MAX_OUTLIER_SHARE = 1 / 3  # with more, the rest no longer says where the outliers belong


@dataclass(frozen=True)
class Similarity:
    """`aligned = scale * (points @ rotation.T) + shift`; no reflection."""

    scale: float
    rotation: NDArray[np.float64]
    shift: NDArray[np.float64]

    def apply(self, points: Array) -> NDArray[np.float64]:
        """(..., 2) points to the mean shape's frame."""
        return self.scale * (np.asarray(points, np.float64) @ self.rotation.T) + self.shift

    def invert(self, points: Array) -> NDArray[np.float64]:
        """(..., 2) points of the mean shape's frame back to the film's."""
        return ((np.asarray(points, np.float64) - self.shift) / self.scale) @ self.rotation


@dataclass(frozen=True)
class ShapeCheck:
    """How a set of points agrees with the prior; positions in the frame they came in."""

    distance: NDArray[np.float64]
    """(L,) Mahalanobis distance of every landmark from what the plausible others predict."""
    outlier: NDArray[np.bool_]
    """(L,) landmarks beyond the prior's limit."""
    expected: NDArray[np.float64]
    """(L, 2) where the plausible others expect each landmark."""
    expected_covariance: NDArray[np.float64]
    """(L, 2, 2) of that expectation."""

    @property
    def plausible(self) -> bool:
        """Whether enough landmarks agree with one another to trust the film's shape."""
        return bool(self.outlier.mean() <= MAX_OUTLIER_SHARE)


@dataclass(frozen=True)
class ShapePrior:
    """The population: fitted in training, stored with the model."""

    mean: NDArray[np.float64]
    """(L, 2) mean shape, (x, y) in pixels of the network input."""
    covariance: NDArray[np.float64]
    """(2L, 2L) of the aligned shapes, in the order x1, y1, x2, y2, ..."""
    limit: float
    """Mahalanobis distance beyond which a landmark is an outlier."""

    def check(self, points: Array) -> ShapeCheck:
        """Compare points (L, 2) with the population.

        While a landmark is beyond the limit, the one without which the rest agrees best is set
        aside: a gross outlier also makes its neighbours look wrong, so the largest distance alone
        would blame the innocent.
        """
        inlier = np.ones(len(self.mean), dtype=bool)
        most = int(MAX_OUTLIER_SHARE * len(inlier)) + 1  # one more, to tell an implausible film
        while True:
            check = self._conditional(points, inlier)
            if check.distance[inlier].max() <= self.limit or (~inlier).sum() >= most:
                return check
            candidates = np.flatnonzero(inlier).tolist()
            without = [self._disagreement(points, inlier, index) for index in candidates]
            inlier[candidates[int(np.argmin(without))]] = False

    def _disagreement(self, points: Array, inlier: NDArray[np.bool_], left_out: int) -> float:
        """Squared Mahalanobis distance of the inliers, without one, from the population."""
        kept = inlier.copy()
        kept[left_out] = False
        similarity = align(np.asarray(points)[kept], self.mean[kept])
        residual = (similarity.apply(np.asarray(points)[kept]) - self.mean[kept]).reshape(-1)
        known = np.repeat(kept, 2)
        return float(residual @ np.linalg.solve(self.covariance[np.ix_(known, known)], residual))

    def _conditional(self, points: Array, inlier: NDArray[np.bool_]) -> ShapeCheck:
        similarity = align(np.asarray(points)[inlier], self.mean[inlier])
        residual = (similarity.apply(points) - self.mean).reshape(-1)
        count = len(inlier)
        expected, covariance = np.empty((count, 2)), np.empty((count, 2, 2))
        distance = np.empty(count)
        for index in range(count):
            others = inlier.copy()
            others[index] = False
            shift, covariance[index] = self._given(np.repeat(others, 2), residual, index)
            expected[index] = self.mean[index] + shift
            off = residual[2 * index : 2 * index + 2] - shift
            distance[index] = np.sqrt(off @ np.linalg.solve(covariance[index], off))
        turn = similarity.rotation / similarity.scale
        return ShapeCheck(
            distance=distance,
            outlier=distance > self.limit,
            expected=similarity.invert(expected),
            expected_covariance=turn.T @ covariance @ turn,
        )

    def _given(
        self, known: NDArray[np.bool_], residual: Array, index: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Conditional mean (2,) and covariance (2, 2) of one landmark's residual."""
        own = slice(2 * index, 2 * index + 2)
        across = self.covariance[own][:, known]
        weights = np.linalg.solve(self.covariance[np.ix_(known, known)], across.T).T
        return weights @ residual[known], self.covariance[own, own] - weights @ across.T

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {
            "mean": self.mean.round(4).tolist(),
            "covariance": self.covariance.round(6).tolist(),
            "limit": self.limit,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ShapePrior":
        """Read what `as_dict` wrote.

        Raises:
            InputError: Keys are missing or the sizes do not agree.
        """
        try:
            mean = np.asarray(values["mean"], dtype=np.float64)
            covariance = np.asarray(values["covariance"], dtype=np.float64)
            limit = float(values["limit"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"Expected a shape prior with mean, covariance, limit: {error}."
            ) from None
        if mean.ndim != 2 or mean.shape[1] != 2 or covariance.shape != (mean.size, mean.size):
            raise InputError(
                f"Expected a shape prior of (L, 2) and (2L, 2L), got {mean.shape} and "
                f"{covariance.shape}."
            )
        return cls(mean, covariance, limit)


def align(points: Array, target: Array) -> Similarity:
    """The least-squares similarity that brings points (L, 2) onto target (L, 2).

    Closed form of Umeyama, IEEE PAMI 13(4), 1991, without reflection.
    """
    points, target = np.asarray(points, np.float64), np.asarray(target, np.float64)
    centre, goal = points.mean(axis=0), target.mean(axis=0)
    a, b = points - centre, target - goal
    u, singular, vt = np.linalg.svd(b.T @ a)
    sign = np.array([1.0, np.sign(np.linalg.det(u @ vt)) or 1.0])
    rotation = (u * sign) @ vt
    scale = float((singular * sign).sum() / max((a**2).sum(), 1e-12))
    scale = max(scale, 1e-6)
    return Similarity(scale, rotation, goal - scale * rotation @ centre)
