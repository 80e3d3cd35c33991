"""Films to network size and back."""

import numpy as np
import pytest

from medvial.cldetection import Config, preprocess
from medvial.cldetection.preprocess import crop_padding, to_8_bit, to_grey, to_tensor
from medvial.errors import InputError

SMALL = {"widths": (4, 4, 4)}
CONFIG = Config(height=96, width=64, **SMALL)


def film(height=200, width=150):
    rng = np.random.default_rng(0)
    return rng.integers(1, 255, (height, width), dtype=np.uint8)


def dot_film(x, y, height=480, width=320, radius=12):
    """A bright disc with a soft edge whose centre of mass is (x, y)."""
    rows, columns = np.mgrid[:height, :width]
    disc = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * radius**2))
    return np.rint(1 + 200 * disc).astype(np.uint8)


def centre_of_mass(grey):
    weights = np.clip(grey.astype(float) - 20, 0, None)
    rows, columns = np.mgrid[: grey.shape[0], : grey.shape[1]]
    return np.array([(weights * columns).sum(), (weights * rows).sum()]) / weights.sum()


@pytest.mark.parametrize("size", [(480, 320), (320, 480), (1203, 967), (60, 45)])
@pytest.mark.parametrize("fit", ["letterbox", "stretch"])
def test_geometry_goes_there_and_back(size, fit):
    config = Config(height=96, width=64, fit=fit, **SMALL)
    grey, geometry = preprocess(film(*size), config)
    assert grey.shape == (96, 64)
    assert grey.dtype == np.uint8
    points = np.array([[0.0, 0.0], [size[1] - 1, size[0] - 1], [12.3, 40.7]])
    np.testing.assert_allclose(geometry.to_image(geometry.to_network(points)), points, atol=1e-9)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("fit", ["letterbox", "stretch"])
def test_a_dot_is_where_the_geometry_says(fit, mirrored):
    config = Config(height=192, width=160, fit=fit, **SMALL)
    grey, geometry = preprocess(dot_film(211.0, 97.0), config, mirrored=mirrored)
    expected = geometry.to_network(np.array([211.0, 97.0]))
    np.testing.assert_allclose(centre_of_mass(grey), expected, atol=0.05)


@pytest.mark.parametrize(("height", "width"), [(140, 640), (640, 140)])
def test_a_stretched_film_may_grow_along_one_axis_and_shrink_along_the_other(height, width):
    config = Config(height=192, width=160, fit="stretch", **SMALL)
    grey, geometry = preprocess(dot_film(101.0, 67.0, height=height, width=width), config)
    expected = geometry.to_network(np.array([101.0, 67.0]))
    np.testing.assert_allclose(centre_of_mass(grey), expected, atol=0.02)


def test_letterbox_keeps_the_aspect_ratio_and_centres_the_film():
    grey, geometry = preprocess(film(192, 64), CONFIG)  # half size: 96 x 32 in 96 x 64
    assert (geometry.scale_x, geometry.scale_y) == (0.5, 0.5)
    assert (geometry.offset_x, geometry.offset_y) == (16, 0)
    assert not grey[:, :16].any()
    assert not grey[:, 48:].any()
    assert grey[:, 16:48].all()


def test_trailing_padding_changes_nothing():
    small = film()
    padded = np.zeros((260, 190), np.uint8)
    padded[:200, :150] = small
    for one, other in zip(preprocess(small, CONFIG), preprocess(padded, CONFIG), strict=True):
        np.testing.assert_equal(one, other)


def test_leading_black_is_kept_because_the_origin_must_stay():
    black_on_top = np.zeros((200, 150), np.uint8)
    black_on_top[90:, 40:] = film(110, 110)
    assert crop_padding(black_on_top).shape == (200, 150)


def test_colour_and_grey_of_the_same_film_agree():
    grey = film()
    for image in (grey[..., None], np.repeat(grey[..., None], 3, axis=2)):
        np.testing.assert_array_equal(to_grey(image), grey)
    rgba = np.dstack([grey, grey, grey, np.full_like(grey, 9)])
    np.testing.assert_array_equal(to_grey(rgba), grey)


def test_16_bit_is_linear_between_its_percentiles():
    ramp = np.linspace(1000, 5000, 200 * 150).reshape(200, 150).astype(np.uint16)
    grey = to_8_bit(ramp)
    assert (grey.min(), grey.max()) == (0, 255)
    np.testing.assert_allclose(grey[100, 75], 127.5, atol=1.5)


def test_tensor_is_normalised_by_the_config():
    config = Config(height=96, width=64, mean=0.2, std=0.4, channels=3, **SMALL)
    tensor = to_tensor(np.full((96, 64), 255, np.uint8), config)
    assert tensor.shape == (3, 96, 64)
    assert tensor.dtype == np.float32
    np.testing.assert_allclose(tensor, (1 - 0.2) / 0.4, rtol=1e-6)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((200, 150), np.uint8), "pixels are all 0"),
        (np.full((200, 150), 7, np.uint8), "pixels are all 7"),
        (np.ones((20, 150), np.uint8), "at least 32 x 32 pixels, got 150 x 20"),
        (np.ones((200, 150), np.float32), "8 or 16 bit unsigned integers, got float32"),
        (np.ones((200, 150, 2), np.uint8), r"\(H, W, 1\|3\|4\), got \(200, 150, 2\)"),
        (np.ones((2, 200, 150, 3), np.uint8), r"got \(2, 200, 150, 3\)"),
    ],
)
def test_what_is_no_film_is_refused(image, message):
    with pytest.raises(InputError, match=message):
        preprocess(image, CONFIG)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"height": 100}, r"height to be a positive multiple of 64, .* got 100"),
        ({"width": 0}, r"width to be a positive multiple of 64, .* got 0"),
        ({"std": 0.0}, "std above 0"),
        ({"std": float("nan")}, "std above 0, got nan"),
        ({"widths": ()}, "widths of at least 1, one or more"),
        ({"widths": (4, 0)}, "widths of at least 1"),
        ({"dropout": 1.0}, "dropout from 0 to below 1"),
        ({"decode_radius_px": -1}, "decode_radius_px of at least 0"),
    ],
)
def test_a_wrong_configuration_is_refused(values, message):
    with pytest.raises(InputError, match=message):
        Config(**values)
