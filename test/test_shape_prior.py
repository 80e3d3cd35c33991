"""The shape prior as a guard against gross outliers."""

import numpy as np
import pytest
from synthetic import gaussian_logits

from medvial.cldetection import Config, find, postprocess
from medvial.cldetection.postprocess import Learned
from medvial.cldetection.preprocess import Geometry
from medvial.cldetection.shape_prior import ShapePrior, align
from medvial.errors import InputError

MEAN = np.array([[10, 12], [50, 15], [55, 60], [30, 85], [12, 70], [33, 40], [22, 55.0]])


def prior(limit=5.0):
    """Landmarks that vary independently by one pixel."""
    return ShapePrior(MEAN, np.eye(14), limit)


def turned(points, degrees, scale, shift):
    angle = np.deg2rad(degrees)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return scale * points @ rotation.T + shift


def test_alignment_finds_the_similarity():
    moved = turned(MEAN, 17, 1.3, (4, -9))
    similarity = align(moved, MEAN)
    np.testing.assert_allclose(similarity.apply(moved), MEAN, atol=1e-9)
    np.testing.assert_allclose(similarity.invert(MEAN), moved, atol=1e-9)
    assert similarity.scale == pytest.approx(1 / 1.3)


def test_alignment_never_mirrors():
    mirrored = MEAN * (-1, 1)
    similarity = align(mirrored, MEAN)
    assert np.linalg.det(similarity.rotation) == pytest.approx(1)
    assert np.abs(similarity.apply(mirrored) - MEAN).max() > 5


def test_a_turned_film_is_plausible():
    check = prior().check(turned(MEAN, -12, 0.8, (3, 20)))
    assert check.plausible
    assert not check.outlier.any()
    assert check.distance.max() < 1e-6


def test_one_gross_outlier_is_found_and_its_place_known():
    points = turned(MEAN, 5, 1.1, (2, 1))
    wrong = points.copy()
    wrong[3] += (25, -30)
    check = prior().check(wrong)
    np.testing.assert_array_equal(np.flatnonzero(check.outlier), [3])
    np.testing.assert_allclose(check.expected[3], points[3], atol=1e-6)
    assert check.plausible


def test_a_mirrored_film_is_not_plausible():
    assert not prior().check(MEAN * (-1, 1)).plausible


def test_correlation_sharpens_the_expectation():
    covariance = np.eye(14)
    covariance[0, 2] = covariance[2, 0] = 0.9  # x of the first two landmarks move together
    check = ShapePrior(MEAN, covariance, 99.0).check(MEAN)
    np.testing.assert_allclose(
        check.expected_covariance[0], [[1 - 0.9**2, 0], [0, 1]], atol=1e-9
    )  # the conditional variance of a bivariate normal
    np.testing.assert_allclose(check.expected_covariance[4], np.eye(2), atol=1e-9)


def test_the_guard_takes_the_second_peak_where_anatomy_allows_it():
    config = Config(widths=(4, 4, 4), height=96, width=64)
    geometry = Geometry(1.0, 1.0, 0, 0, 64, 96)
    maps = gaussian_logits(MEAN)
    far = gaussian_logits([[58.0, 5.0]])[0]
    maps[6] = np.logaddexp(maps[6] - 1.5, far)  # the wrong peak is the higher one
    unguarded = postprocess(find(maps, config, None), geometry, config, Learned())
    guarded = postprocess(find(maps, config, prior(6.0)), geometry, config, Learned())
    assert np.linalg.norm(unguarded.points[6] - (58, 5)) < 1
    assert np.linalg.norm(guarded.points[6] - MEAN[6]) < 1
    np.testing.assert_array_equal(np.flatnonzero(guarded.corrected), [6])


def test_the_guard_of_an_ensemble_goes_by_the_mean_heatmap():
    """Two of three members err: the third's peak, and the anatomy, decide where the point is."""
    config = Config(widths=(4, 4, 4), height=96, width=64, members=3)
    right = gaussian_logits(MEAN)
    wrong = right.copy()
    wrong[6] = gaussian_logits([[58.0, 5.0]])[0]
    said = find(np.concatenate([wrong, right, wrong]), config, None)
    assert np.linalg.norm(said.peaks.points[6] - (MEAN[6] + 2 * np.array([58, 5])) / 3) < 1
    guarded = find(np.concatenate([wrong, right, wrong]), config, prior(6.0))
    assert np.linalg.norm(guarded.peaks.points[6] - MEAN[6]) < 1
    np.testing.assert_allclose(guarded.peaks.points[:6], said.peaks.points[:6])
    np.testing.assert_array_equal(np.flatnonzero(guarded.corrected), [6])


def test_it_survives_json_and_refuses_other_sizes():
    again = ShapePrior.from_dict(prior().as_dict())
    np.testing.assert_allclose(again.mean, MEAN)
    with pytest.raises(InputError, match=r"\(7, 2\) and \(12, 12\)"):
        ShapePrior.from_dict(prior().as_dict() | {"covariance": np.eye(12).tolist()})
    with pytest.raises(InputError, match="mean, covariance, limit"):
        ShapePrior.from_dict({"mean": []})
