"""Landmark heatmaps to sub-pixel positions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medvial.cldetection.config import Config

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Peaks:
    """What the heatmaps of L landmarks say, each by itself."""

    points: NDArray[np.float64]
    """(L, 2) as (x, y), in pixels of the network input."""
    mass: NDArray[np.float64]
    """(L,) share of the heatmap inside the decoding window, 0 to 1."""
    spread_px: NDArray[np.float64]
    """(L,) root mean square distance from the point over the whole heatmap, in pixels of the
    network input."""
    covariance_px2: NDArray[np.float64]
    """(L, 2, 2) second moment about the point, of the heatmap around it (`moment_radius`), in
    pixels of the network input, squared; axes x, y."""


def decode(heatmaps: NDArray[np.float32], config: Config) -> Peaks:
    """Centre of mass around the highest value of every heatmap.

    Args:
        heatmaps: The network's output for one film, (L, h, w).
        config: Gives `heatmap`, `decode_radius_px` and `heatmap_stride`.
    """
    return _peaks(distributions(heatmaps, config), config)


def mean_of(said: Sequence[Peaks]) -> Peaks:
    """What several networks say together, each with the same weight.

    Points are the mean of theirs, second moments those of the mixture of what each says: where the
    networks disagree, they are wide.
    """
    points = np.mean([peaks.points for peaks in said], axis=0)
    apart = np.stack([peaks.points - points for peaks in said])  # (networks, L, 2)
    squared = np.mean([peaks.spread_px**2 for peaks in said], axis=0)
    covariance = np.mean([peaks.covariance_px2 for peaks in said], axis=0)
    return Peaks(
        points=points,
        mass=np.mean([peaks.mass for peaks in said], axis=0),
        spread_px=np.sqrt(squared + (apart**2).sum(axis=2).mean(axis=0)),
        covariance_px2=covariance + np.einsum("nli,nlj->lij", apart, apart) / len(said),
    )


def decode_within(
    heatmaps: NDArray[np.float32], prior: NDArray[np.float64], config: Config
) -> Peaks:
    """Decode the mean of the networks' heatmaps (n, h, w) of one landmark times a prior (h, w)."""
    weighted = distributions(heatmaps, config).mean(axis=0, keepdims=True) * prior
    return _peaks(weighted / max(weighted.sum(), 1e-30), config)


def moment_radius(config: Config) -> int:
    """Half-width of the window of the second moment, in heatmap pixels.

    Four standard deviations of the training target: all of a clear peak, and doubt around it, but
    not the faint background of the whole film, which would outweigh both.
    """
    return max(config.decode_radius_px, math.ceil(4 * config.sigma_px))


def distributions(heatmaps: NDArray[np.float32], config: Config) -> NDArray[np.float32]:
    """Network output (L, h, w) as spatial probabilities that sum to 1 per landmark."""
    values = np.empty(heatmaps.shape, dtype=np.float32)
    for value, heatmap in zip(values, heatmaps, strict=True):  # in place: new memory takes longer
        if config.heatmap == "sigmoid":
            value[:] = 1.0 / (1.0 + np.exp(-heatmap.astype(np.float64)))
        else:
            np.exp(np.subtract(heatmap, heatmap.max(), out=value), out=value)
        value /= value.sum(dtype=np.float64)
    return values


def heatmap_grid(height: int, width: int, stride: int) -> tuple[Array, Array]:
    """Network pixel coordinates of the heatmap's columns (w,) and rows (h,)."""
    return (np.arange(width) + 0.5) * stride - 0.5, (np.arange(height) + 0.5) * stride - 0.5


def _peaks(probability: Array, config: Config) -> Peaks:
    count, height, width = probability.shape
    columns, rows = heatmap_grid(height, width, config.heatmap_stride)
    radius = config.decode_radius_px
    points, mass = np.empty((count, 2)), np.empty(count)
    best = probability.reshape(count, -1).argmax(axis=1)
    for index, (row, column) in enumerate(zip(*np.divmod(best, width), strict=True)):
        top, left = max(0, row - radius), max(0, column - radius)
        window = probability[index, top : row + radius + 1, left : column + radius + 1]
        mass[index] = window.sum()
        points[index] = (
            window.sum(axis=0) @ columns[left : column + radius + 1],
            window.sum(axis=1) @ rows[top : row + radius + 1],
        )
        points[index] /= mass[index]
    spread = _spread(probability, points, columns, rows)
    return Peaks(points, mass, spread, _covariances(probability, points, config))


def _covariances(
    probability: Array, points: NDArray[np.float64], config: Config
) -> NDArray[np.float64]:
    """(L, 2, 2) second moments about the points within `moment_radius` of them."""
    _, height, width = probability.shape
    columns, rows = heatmap_grid(height, width, config.heatmap_stride)
    radius = moment_radius(config)
    result = np.empty((len(points), 2, 2))
    cells = np.rint((points + 0.5) / config.heatmap_stride - 0.5).astype(int)
    for index, ((x, y), (column, row)) in enumerate(zip(points, cells, strict=True)):
        left, top = max(0, column - radius), max(0, row - radius)
        window = probability[index, top : row + radius + 1, left : column + radius + 1]
        dx = columns[left : column + radius + 1] - x
        dy = rows[top : row + radius + 1] - y
        across = dy @ window @ dx
        moments = [[window.sum(axis=0) @ dx**2, across], [across, window.sum(axis=1) @ dy**2]]
        result[index] = np.array(moments) / max(float(window.sum()), 1e-30)
    return result


def _spread(probability: Array, points: Array, columns: Array, rows: Array) -> NDArray[np.float64]:
    x_squared = (columns[None] - points[:, :1]) ** 2  # (L, w)
    y_squared = (rows[None] - points[:, 1:]) ** 2  # (L, h)
    variance = (probability.sum(axis=1) * x_squared).sum(axis=1)
    variance += (probability.sum(axis=2) * y_squared).sum(axis=1)
    return np.sqrt(variance)
