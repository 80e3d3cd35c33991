"""Heatmaps to positions."""

import json

import numpy as np
import pytest
from synthetic import gaussian_logits

from medvial.cldetection import Config, find, postprocess
from medvial.cldetection.calibration import Calibration
from medvial.cldetection.decode import decode
from medvial.cldetection.postprocess import Learned
from medvial.cldetection.preprocess import Geometry
from medvial.errors import InputError

CONFIG = Config(widths=(4, 4, 4), height=96, width=64)  # heatmaps of 48 x 32
IDENTITY = Geometry(1.0, 1.0, 0, 0, 64, 96)


def found(points):
    return find(gaussian_logits(points), CONFIG, None)


def test_a_gaussian_is_decoded_to_a_hundredth_of_a_pixel():
    points = np.array([[20.0, 40.0], [31.3, 55.8], [40.25, 60.5]])
    config = Config(widths=(4, 4, 4), height=96, width=64, decode_radius_px=9)
    peaks = decode(gaussian_logits(points), config)
    np.testing.assert_allclose(peaks.points, points, atol=0.01)
    np.testing.assert_allclose(peaks.spread_px, 2 * 2.0 * np.sqrt(2), rtol=0.01)  # stride * sigma


def test_the_window_bounds_what_a_far_second_peak_can_do():
    two = np.logaddexp(gaussian_logits([[12, 20]]), gaussian_logits([[50, 80]]) - 1.0)
    peaks = decode(two, CONFIG)
    np.testing.assert_allclose(peaks.points, [[12, 20]], atol=0.2)
    assert peaks.mass[0] == pytest.approx(np.e / (1 + np.e), abs=0.03)
    assert peaks.spread_px[0] > 30


def test_a_peak_in_the_corner_stays_inside():
    peaks = decode(gaussian_logits([[0.5, 0.5], [62.5, 94.5]], sigma=0.5), CONFIG)
    np.testing.assert_allclose(peaks.points, [[0.5, 0.5], [62.5, 94.5]], atol=0.6)


def test_sigmoid_heatmaps_are_decoded_by_their_values():
    config = Config(widths=(4, 4, 4), height=96, width=64, architecture="unet", heatmap="sigmoid")
    value = np.clip(np.exp(gaussian_logits([[13.0, 27.0]], 96, 64, 3.0, 1)), 1e-6, 1 - 1e-6)
    heatmap = np.log(value / (1 - value)).astype(np.float32)
    np.testing.assert_allclose(decode(heatmap, config).points, [[13.0, 27.0]], atol=0.02)


def test_points_come_back_in_the_films_pixels():
    geometry = Geometry(0.25, 0.25, 4, 0, 200, 384)
    film = postprocess(found([[20.0, 40.0]]), geometry, CONFIG, Learned())
    np.testing.assert_allclose(
        film.points, [[(20 - 4 + 0.5) / 0.25 - 0.5, 40.5 * 4 - 0.5]], atol=0.4
    )
    assert film.probability is None
    assert not film.corrected.any()


def test_a_mirrored_input_is_mirrored_back():
    film = postprocess(found([[20.0, 40.0]]), IDENTITY, CONFIG, Learned(), mirrored=True)
    np.testing.assert_allclose(film.points, [[63 - 20.0, 40.0]], atol=0.1)
    assert film.mirrored


def test_the_baselines_coordinates_are_multiplied_only():
    config = Config(widths=(4, 4, 4), height=96, width=64, half_pixel_centres=False)
    geometry = Geometry(0.25, 0.2, 0, 0, 256, 480)
    film = postprocess(found([[20.0, 40.0]]), geometry, config, Learned())
    np.testing.assert_allclose(film.points, [[80.0, 200.0]], atol=0.4)


def test_probability_is_the_logistic_of_the_features():
    calibration = Calibration((0.0, -1.0, 0.0, 0.0), intercept=2.0)
    film = postprocess(found([[20.0, 40.0]]), IDENTITY, CONFIG, Learned(None, calibration))
    expected = 1 / (1 + np.exp(np.log(4 * np.sqrt(2)) - 2.0))  # spread: stride 2 * sigma 2 * sqrt 2
    assert film.probability == pytest.approx([expected], abs=0.02)


def test_a_landmark_has_its_own_part_of_the_probability():
    calibration = Calibration((0.0, 0.0, 0.0, 0.0), intercept=1.0, landmarks=(0.5, -2.0))
    peaks = gaussian_logits([[20.0, 40.0], [30.0, 30.0]])
    film = postprocess(find(peaks, CONFIG, None), IDENTITY, CONFIG, Learned(None, calibration))
    assert film.probability == pytest.approx([1 / (1 + np.exp(-1.5)), 1 / (1 + np.exp(1.0))])
    assert Calibration.from_dict(json.loads(json.dumps(calibration.as_dict()))) == calibration
    before = calibration.as_dict()
    del before["landmarks"]  # as models from before have it
    assert Calibration.from_dict(before).landmarks == ()


def test_a_calibration_of_other_features_is_refused():
    values = Calibration((0.0, 0.0, 0.0, 0.0), 0.0).as_dict() | {"features": ["a", "b", "c", "d"]}
    with pytest.raises(InputError, match="Run step 2 again"):
        Calibration.from_dict(values)
