"""Test-time augmentation: what it changes, and what it must not."""

import dataclasses

import numpy as np
import pytest

from medvial.cldetection import Config
from medvial.cldetection.decode import decode
from medvial.cldetection.preprocess import to_tensor
from medvial.cldetection.views import predict_heatmaps, view_matrices, warp_back, warp_film
from medvial.errors import InputError

CONFIG = Config(landmark_set="isbi-19", height=128, width=96, widths=(4, 4, 4), views=7)


def blob(x, y):
    rows, columns = np.mgrid[:128, :96]
    values = 200 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 4.0**2))
    return np.rint(values).astype(np.uint8)


def bright(batch):
    """A network without weights: its heatmap is the brightness of each 2 x 2 pixels."""
    grey = (batch[:, 0] * CONFIG.std + CONFIG.mean).reshape(-1, 64, 2, 48, 2).mean(axis=(2, 4))
    return (12 * grey[:, None]).astype(np.float32)


def test_views_balance():
    matrices = np.stack(view_matrices(CONFIG))
    assert len(matrices) == 7
    np.testing.assert_array_equal(matrices[0], np.eye(2, 3))
    centre = np.array([47.5, 63.5])
    moved = matrices[:, :, :2] @ centre + matrices[:, :, 2]
    np.testing.assert_allclose(moved.mean(axis=0), centre, atol=1e-9)
    angles = np.arctan2(matrices[:, 0, 1], matrices[:, 0, 0])
    assert angles.mean() == pytest.approx(0, abs=1e-12)
    assert np.abs(angles).max() == pytest.approx(np.deg2rad(2.0))
    scales = np.sqrt(np.linalg.det(matrices[:, :, :2]))
    assert np.log(scales).mean() == pytest.approx(0, abs=1e-12)
    assert (np.linalg.det(matrices[:, :, :2]) > 0).all()  # never mirrored


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("index", range(7))
def test_what_a_view_shows_comes_back_to_its_place(index, stride):
    film, matrix = blob(40.0, 70.0), view_matrices(CONFIG)[index]
    view = warp_film(film, matrix).astype(float)
    maps = view.reshape(128 // stride, stride, 96 // stride, stride).mean(axis=(1, 3))
    (back,) = warp_back(maps[None], matrix, stride)
    rows, columns = np.mgrid[: back.shape[0], : back.shape[1]]
    found = np.array([(back * columns).sum(), (back * rows).sum()]) / back.sum()
    np.testing.assert_allclose((found + 0.5) * stride - 0.5, [40.0, 70.0], atol=0.05)


def test_a_shifted_film_gives_the_shifted_landmark():
    points = [
        decode(predict_heatmaps(bright, blob(x, y), CONFIG), CONFIG).points[0]
        for x, y in ((40.0, 70.0), (46.0, 58.0))
    ]
    np.testing.assert_allclose(points[0], [40.0, 70.0], atol=0.1)
    np.testing.assert_allclose(points[1] - points[0], [6.0, -12.0], atol=0.05)


def test_views_that_do_not_differ_change_nothing():
    still = dataclasses.replace(CONFIG, view_rotation_deg=0, view_log_scale=0, view_shift_px=0)
    film = blob(31.0, 44.0)
    alone = bright(to_tensor(film, CONFIG)[None])[0]
    one = dataclasses.replace(CONFIG, views=1)
    np.testing.assert_array_equal(predict_heatmaps(bright, film, one), alone)
    for heatmap in ("softmax", "sigmoid"):
        config = dataclasses.replace(still, heatmap=heatmap)
        same = decode(predict_heatmaps(bright, film, config), config)
        plain = decode(alone, config)
        np.testing.assert_allclose(same.points, plain.points, atol=1e-3)
        np.testing.assert_allclose(same.covariance_px2, plain.covariance_px2, rtol=1e-2)


@pytest.mark.parametrize("views", [0, 2, 3])
def test_a_number_of_views_that_leans_is_refused(views):
    with pytest.raises(InputError, match=f"views to be 1, or at least 4, got {views}"):
        dataclasses.replace(CONFIG, views=views)
