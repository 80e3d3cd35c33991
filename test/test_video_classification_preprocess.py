"""Frames to the network's input, and what is learned after training."""

import numpy as np
import pytest

from medvial.errors import InputError
from medvial.video_classification.classify import classify, softmax
from medvial.video_classification.config import ClipConfig
from medvial.video_classification.learned import Learned
from medvial.video_classification.preprocess import resize_frame, spatial_crops, to_tensor

CONFIG = ClipConfig(
    labels=("ASD", "other"),
    positive="ASD",
    clip_s=0.8,
    clip_frames=4,
    clips=3,
    resize=12,
    crop=10,
    mean=(0.0, 0.2, 0.4),
    std=(1.0, 0.5, 0.25),
)


@pytest.mark.parametrize(
    ("shape", "expected"), [((48, 64), (12, 16)), ((90, 30), (36, 12)), ((6, 7), (12, 14))]
)
def test_the_shorter_side_is_resized_and_proportions_are_kept(shape, expected):
    frame = np.full((*shape, 3), (10, 20, 30), np.uint8)
    resized = resize_frame(frame, 12)
    assert resized.shape == (*expected, 3)
    assert (resized == (10, 20, 30)).all()


def test_frames_of_the_size_are_taken_as_they_are():
    frame = np.random.default_rng(0).integers(0, 256, (12, 20, 3), np.uint8)
    np.testing.assert_array_equal(resize_frame(frame, 12), frame)


def test_grey_frames_become_colour():
    grey = np.arange(12 * 15, dtype=np.uint8).reshape(12, 15)
    np.testing.assert_array_equal(resize_frame(grey, 12), np.stack([grey] * 3, axis=-1))


def test_very_long_frames_keep_their_shorter_side():
    assert resize_frame(np.zeros((7, 1000, 3), np.uint8), 5).shape == (5, 714, 3)


def numbered(height, width):
    """One frame: red is the row, green the column."""
    rows, columns = np.mgrid[:height, :width].astype(np.uint8)
    return np.stack([rows, columns, np.zeros_like(rows)], axis=-1)[None]


def test_the_middle_square():
    crops = spatial_crops(numbered(12, 17), CONFIG)
    assert crops.shape == (1, 1, 10, 10, 3)
    assert crops[0, 0, 0, 0].tolist() == [1, 3, 0]


@pytest.mark.parametrize(
    ("shape", "corners"),
    [
        ((12, 17), [[1, 0, 0], [1, 3, 0], [1, 7, 0]]),
        ((31, 12), [[0, 1, 0], [10, 1, 0], [21, 1, 0]]),
        ((12, 12), [[1, 0, 0], [1, 1, 0], [1, 2, 0]]),
        ((10, 10), [[0, 0, 0]] * 3),
    ],
)
def test_three_squares_along_the_longer_side(shape, corners):
    crops = spatial_crops(numbered(*shape), CONFIG, crops=3)
    assert crops.shape == (3, 1, 10, 10, 3)
    assert crops[:, 0, 0, 0].tolist() == corners


def test_frames_smaller_than_the_square_are_refused():
    with pytest.raises(InputError, match=r"at least 10 x 10 pixels, got 17 x 9 \(width x height\)"):
        spatial_crops(numbered(9, 17), CONFIG)


def test_input_is_normalised_by_colour_with_channels_before_time():
    clip = np.zeros((2, 5, 6, 7, 3), np.uint8)
    clip[1, 4, 3, 2] = (255, 102, 51)
    tensor = to_tensor(clip, CONFIG)
    assert tensor.shape == (2, 3, 5, 6, 7)
    assert tensor.dtype == np.float32
    assert tensor.flags.c_contiguous
    np.testing.assert_allclose(tensor[1, :, 4, 3, 2], [1.0, 0.4, -0.8], atol=1e-6)
    np.testing.assert_allclose(tensor[0, :, 0, 0, 0], [0.0, -0.4, -1.6], atol=1e-6)


def frames_at(indices):
    """Every pixel of a frame its number."""
    return np.broadcast_to(
        np.asarray(indices, np.uint8)[:, None, None, None], (len(indices), 12, 14, 3)
    )


def mean_red(batch):
    """Logits: the mean of red, 0 to 1, times 255, and 0."""
    values = batch[:, 0].mean(axis=(1, 2, 3)) * 255
    return np.stack([values, np.zeros_like(values)], axis=1)


def test_probabilities_are_the_mean_over_clips():
    seen = []
    found = classify(
        frames_at, np.arange(16) / 10, mean_red, CONFIG, 2.0, lambda *p: seen.append(p)
    )
    np.testing.assert_allclose(found.starts_s, [0, 0.4, 0.8])
    logits = np.array([4.0, 8.0, 12.0])  # frames 1 3 5 7, and 4 and 8 more
    expected = 1 / (1 + np.exp(-logits / 2))
    np.testing.assert_allclose(found.clip_probabilities[:, 0], expected, rtol=1e-5)
    np.testing.assert_allclose(found.probabilities, [expected.mean(), 1 - expected.mean()])
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_probabilities_of_a_clip_are_the_mean_over_its_squares():
    config = ClipConfig(
        **vars(CONFIG) | {"crops": 3, "clips": 1, "mean": (0, 0, 0), "std": (1, 1, 1)}
    )

    def columns(indices):
        return np.repeat(numbered(12, 30), len(indices), axis=0)

    def corner(batch):
        values = batch[:, 1, 0, 0, 0] * 255
        return np.stack([values, np.full_like(values, 10)], axis=1)

    found = classify(columns, np.arange(8) / 10, corner, config)
    expected = np.mean([1 / (1 + np.exp(10 - x)) for x in (0, 10, 20)])
    assert found.clip_probabilities[0, 0] == pytest.approx(expected, rel=1e-5)


def test_one_frame_is_classified():
    found = classify(frames_at, np.array([0.0]), mean_red, CONFIG)
    np.testing.assert_allclose(found.probabilities, [0.5, 0.5])


def test_extreme_logits_are_no_overflow():
    with np.errstate(over="raise"):
        np.testing.assert_allclose(softmax(np.array([[1e5, -1e5, 0.0]])), [[1, 0, 0]])


def test_learned_round_trip_and_bad_values():
    learned = Learned(temperature=1.7, threshold=0.4, videos=12)
    assert Learned.from_dict(learned.as_dict()) == learned
    with pytest.raises(InputError, match="temperature, threshold and videos of a classifier"):
        Learned.from_dict({"slope": 1})
    with pytest.raises(InputError, match="temperature above 0"):
        Learned(temperature=0)


def test_the_threshold_is_that_of_the_positive_class():
    learned = Learned(threshold=0.3)
    assert learned.label(np.array([0.3, 0.7]), CONFIG) == "ASD"
    assert learned.label(np.array([0.29, 0.71]), CONFIG) == "other"
    turned = ClipConfig(labels=("other", "ASD"), positive="ASD")
    assert learned.label(np.array([0.65, 0.35]), turned) == "ASD"


def test_of_several_classes_the_most_probable_one():
    config = ClipConfig(labels=("a", "b", "c"), positive="c")
    assert Learned(threshold=0.1).label(np.array([0.3, 0.5, 0.2]), config) == "b"
