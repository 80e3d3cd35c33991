"""The anatomy upright: where a second network sees what, and what both networks say together."""

import dataclasses

import cv2
import numpy as np
import pytest

from medvial.cldetection import Config, preprocess
from medvial.cldetection.decode import Peaks
from medvial.cldetection.postprocess import Found
from medvial.cldetection.preprocess import at_network_size
from medvial.cldetection.shape_prior import ShapePrior
from medvial.cldetection.upright import (
    both,
    magnification,
    move,
    reference,
    see_upright,
    upright_matrix,
)
from medvial.errors import InputError

CONFIG = Config(
    landmark_set="isbi-19", height=256, width=192, widths=(4, 4, 4), detail=2, upright=True
)
MEAN = np.array([[50.0, 60], [70, 62], [90, 80], [60, 90], [65, 130], [55, 150], [95, 110]])
PRIOR = ShapePrior(MEAN, np.eye(14), 99.0)


def turned(points, degrees, scale, shift):
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return scale * points @ turn.T + np.array(shift)


def dots(points, sigma=3.0):
    """A prepared film (512, 384), bright at points of the network input."""
    rows, columns = np.mgrid[:512, :384]
    film = np.zeros((512, 384))
    for x, y in 2 * (points + 0.5) - 0.5:
        film += 200 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))
    return np.rint(film).clip(0, 255).astype(np.uint8)


def test_the_mean_shape_fills_the_view_up_to_its_margin():
    for margin in (0.0, 0.45, 1.5):
        config = dataclasses.replace(CONFIG, upright_margin=margin)
        shape = reference(PRIOR, config)
        low, high = shape.min(axis=0), shape.max(axis=0)
        np.testing.assert_allclose((low + high) / 2, [95.5, 127.5])
        share = (high - low) * (1 + margin) / (192, 256)
        assert share.max() == pytest.approx(1.0)
        ratio = np.ptp(shape, axis=0) / np.ptp(MEAN, axis=0)
        np.testing.assert_allclose(ratio, magnification(PRIOR, config))


def test_landmarks_of_a_turned_film_lie_on_the_mean_shape():
    points = turned(MEAN, 17, 0.8, (30, -5))
    matrix = upright_matrix(points, PRIOR, CONFIG)
    np.testing.assert_allclose(move(matrix, points), reference(PRIOR, CONFIG), atol=1e-9)


@pytest.mark.parametrize("scale", [0.4, 0.8, 1.3])
def test_the_view_shows_the_film_where_the_matrix_says(scale):
    points = turned(MEAN, -12, scale, (60, 40) if scale < 1 else (-30, -20))
    matrix = upright_matrix(points, PRIOR, CONFIG)
    view = see_upright(dots(points[:1], sigma=4.0), matrix, CONFIG)
    assert view.shape == (256, 192)
    assert view.dtype == np.uint8
    rows, columns = np.mgrid[:256, :192]
    found = np.array([(view * columns).sum(), (view * rows).sum()]) / view.sum()
    np.testing.assert_allclose(found, reference(PRIOR, CONFIG)[0], atol=0.1)


def test_a_view_that_shrinks_does_not_alias():
    """Stripes finer than its pixels become grey, not stripes of another width."""
    film = np.tile(np.array([0, 255], dtype=np.uint8), (512, 192))
    matrix = np.array([[0.4, 0, 50.0], [0, 0.4, 60.0]])
    inside = see_upright(film, matrix, CONFIG)[80:140, 70:110].astype(float)
    assert inside.std() < 15
    assert inside.mean() == pytest.approx(127.5, abs=3)


def test_detail_keeps_the_geometry_and_adds_pixels():
    grey = cv2.GaussianBlur(
        np.random.default_rng(0).integers(0, 255, (700, 500)).astype(np.uint8), (0, 0), 3
    )
    coarse, geometry = preprocess(grey, dataclasses.replace(CONFIG, detail=1))
    fine, again = preprocess(grey, CONFIG)
    assert geometry == again
    assert coarse.shape == (256, 192)
    assert fine.shape == (512, 384)
    np.testing.assert_allclose(at_network_size(fine, CONFIG), coarse, atol=2)
    assert at_network_size(coarse, dataclasses.replace(CONFIG, detail=1)) is coarse


def found(points, covariance, *, plausible=True, mass=0.8):
    count = len(points)
    peaks = Peaks(
        points,
        np.full(count, mass),
        np.sqrt(np.trace(covariance) * np.ones(count)),
        np.tile(covariance, (count, 1, 1)),
    )
    return Found(peaks, np.ones(count), np.zeros(count, dtype=bool), plausible)


def test_both_is_the_mixture_of_two_networks():
    rng = np.random.default_rng(3)
    matrix = np.hstack([turned(np.eye(2), 20, 1.5, (0, 0)).T, [[7.0], [-3.0]]])
    points = turned(MEAN, 3, 1, (1, 2))
    off = np.array([3.0, -2.0])
    one, other = np.diag([4.0, 1.0]), np.array([[2.0, 0.5], [0.5, 3.0]])
    joined = both(
        found(points, one), found(move(matrix, points + off), other, mass=0.4), matrix
    ).peaks
    np.testing.assert_allclose(joined.points, points + off / 2)
    np.testing.assert_allclose(joined.mass, 0.6)
    # the second network's distribution in the first one's pixels, sampled
    back = np.linalg.inv(matrix[:, :2])
    samples = np.concatenate(
        [
            rng.multivariate_normal(points[0], one, 200_000),
            rng.multivariate_normal(points[0] + off, back @ other @ back.T, 200_000),
        ]
    )
    np.testing.assert_allclose(joined.covariance_px2[0], np.cov(samples.T), atol=0.05)
    spread = np.sqrt(((samples - joined.points[0]) ** 2).sum(axis=1).mean())
    assert joined.spread_px[0] == pytest.approx(spread, rel=0.01)


def test_both_are_plausible_only_if_each_is():
    eye = np.eye(2, 3)
    for one in (True, False):
        for other in (True, False):
            joined = both(
                found(MEAN, np.eye(2), plausible=one), found(MEAN, np.eye(2), plausible=other), eye
            )
            assert joined.plausible is (one and other)


def test_points_of_no_plausible_shape_do_not_count():
    nonsense = found(MEAN[::-1] * 2, np.eye(2), plausible=False)
    joined = both(found(MEAN, np.eye(2)), nonsense, np.eye(2, 3))
    np.testing.assert_array_equal(joined.peaks.points, MEAN)


def test_ranges_are_checked():
    with pytest.raises(InputError, match="detail from 1 to 4, got 0"):
        dataclasses.replace(CONFIG, detail=0)
    for margin in (-0.1, 9.0, float("nan")):
        with pytest.raises(InputError, match="upright_margin from 0 to 4"):
            dataclasses.replace(CONFIG, upright_margin=margin)
