"""The anatomy upright, as a second network sees it, and what both networks say together.

The landmarks that the first network found in the whole film are laid upon their mean shape; the
film is turned, scaled and cut out with them. A matrix here is (2, 3) and leads from (x, y) in
pixels of the first network's input to pixels of the second's; both inputs have the same size.
"""

import math
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from medvial.cldetection.config import Config
from medvial.cldetection.decode import Peaks, mean_of
from medvial.cldetection.postprocess import Found
from medvial.cldetection.shape_prior import ShapePrior, align

Matrix = NDArray[np.float64]
Array = NDArray[np.floating[Any]]
_MOST_FINER = 4  # times finer than the view that it is drawn before it is averaged


def reference(prior: ShapePrior, config: Config) -> NDArray[np.float64]:
    """Where the landmarks of a film are to lie, (L, 2) in pixels of the second network's input.

    The mean shape in the middle, as large as `config.upright_margin` lets it be.
    """
    low, high = prior.mean.min(axis=0), prior.mean.max(axis=0)
    size = np.array([config.width, config.height])
    return (prior.mean - (low + high) / 2) * magnification(prior, config) + (size - 1) / 2


def magnification(prior: ShapePrior, config: Config) -> float:
    """How much larger the second network sees a film of the mean shape than the first."""
    extent = np.maximum(np.ptp(prior.mean, axis=0), 1e-6)
    size = np.array([config.width, config.height])
    return float((size / (extent * (1 + config.upright_margin))).min())


def upright_matrix(points: Array, prior: ShapePrior, config: Config) -> Matrix:
    """How the second network sees a film whose landmarks (L, 2) are these.

    The similarity that brings them as near as it can to where they are to lie (`reference`).
    """
    found = align(points, reference(prior, config))
    return np.hstack([found.scale * found.rotation, found.shift[:, None]])


def see_upright(film: NDArray[np.uint8], matrix: Matrix, config: Config) -> NDArray[np.uint8]:
    """A prepared film (`film_size`) upright, (height, width) uint8; 0 beyond the film.

    Drawn finer than the result where it shrinks the film, and averaged.
    """
    linear, shift = matrix[:, :2] / config.detail, matrix[:, 2]
    # pixel centres: network = (film + 0.5) / detail - 0.5
    shift = shift + matrix[:, :2] @ np.full(2, 0.5 / config.detail - 0.5)
    shrinks = 1 / math.sqrt(max(float(np.linalg.det(linear)), 1e-12))
    finer = min(max(math.ceil(shrinks - 0.1), 1), _MOST_FINER)
    drawn = np.hstack([finer * linear, (finer * (shift + 0.5) - 0.5)[:, None]])
    size = config.width, config.height
    view: Any = cv2.warpAffine(film, drawn, (finer * size[0], finer * size[1]))
    return cv2.resize(view, size, interpolation=cv2.INTER_AREA) if finer > 1 else view


def move(matrix: Matrix, points: Array) -> NDArray[np.float64]:
    """Points (..., 2) of the first network's input in the second's."""
    return np.asarray(points, np.float64) @ matrix[:, :2].T + matrix[:, 2]


def both(whole: Found, upright: Found, matrix: Matrix) -> Found:
    """What the two networks say together, in pixels of the first one's input.

    The mean of their points, see `mean_of`. Where the second finds no plausible shape, the first's
    points stay, and are not plausible either.
    """
    if not upright.plausible:
        return replace(whole, plausible=False)
    back, there = np.linalg.inv(matrix[:, :2]), upright.peaks
    moved = Peaks(
        points=(there.points - matrix[:, 2]) @ back.T,
        mass=there.mass,
        spread_px=there.spread_px * math.sqrt(float(np.linalg.det(back))),
        covariance_px2=back @ there.covariance_px2 @ back.T,
    )
    return Found(
        peaks=mean_of([whole.peaks, moved]),
        distance=np.maximum(whole.distance, upright.distance),
        corrected=whole.corrected | upright.corrected,
        plausible=whole.plausible,
    )
