"""Which frames make a clip: known answers at even and uneven times."""

import numpy as np
import pytest

from medvial.errors import InputError
from medvial.video_classification.config import ClipConfig
from medvial.video_classification.sampling import (
    clip_length_s,
    duration_s,
    random_indices,
    thinned_indices,
    view_indices,
)


def config(**values):
    return ClipConfig(**{"clip_s": 1.0, "clip_frames": 10, "clips": 3} | values)


def even(count, fps):
    return np.arange(count) / fps


def test_a_clip_lasts_from_its_first_frames_beginning_to_its_last_frames_end():
    assert duration_s(even(60, 30)) == pytest.approx(2.0)
    assert clip_length_s(even(60, 30), config(clip_s=0)) == pytest.approx(2.0)
    assert clip_length_s(even(60, 30), config(clip_s=1.5)) == 1.5
    assert duration_s(np.array([0.4])) == pytest.approx(1 / 30)


def test_clips_are_spread_from_the_beginning_to_the_end():
    starts, indices = view_indices(even(60, 20), config())  # 3 s
    np.testing.assert_allclose(starts, [0, 1, 2])
    np.testing.assert_array_equal(indices[0], np.arange(1, 20, 2))
    np.testing.assert_array_equal(indices[2], np.arange(41, 60, 2))


def test_as_many_frames_as_the_clip_has_are_all_its_frames():
    _, indices = view_indices(even(30, 10), config(clips=2))
    np.testing.assert_array_equal(indices, [np.arange(10), np.arange(20, 30)])


def test_a_single_clip_is_the_middle():
    starts, indices = view_indices(even(30, 10), config(clips=1))
    np.testing.assert_allclose(starts, [1.0])
    np.testing.assert_array_equal(indices, [np.arange(10, 20)])


def test_the_whole_video_is_one_clip():
    starts, indices = view_indices(even(40, 25), config(clip_s=0, clips=5))
    assert starts.shape == (1,)
    np.testing.assert_array_equal(indices[0], np.arange(2, 40, 4))


@pytest.mark.parametrize("fps", [12.0, 23.976, 29.97, 30.0, 50.0, 59.94, 120.0])
def test_the_same_moments_at_any_frame_rate(fps):
    times = even(round(4 * fps), fps) + 7.5  # need not begin at 0
    starts, indices = view_indices(times, config(clips=4))
    np.testing.assert_allclose(starts, 7.5 + np.arange(4), atol=1.5 / fps)
    middles = starts[:, None] + np.arange(0.05, 1, 0.1)
    assert (np.abs(times[indices] - middles) <= 1.05 / fps).all()


def test_uneven_times_are_sampled_by_time():
    slow = np.arange(10) * 0.1  # 1 s at 10 a second, then 1 s at 40 a second
    fast = 1.0 + np.arange(40) * 0.025
    _, indices = view_indices(np.concatenate([slow, fast]), config(clips=2))
    np.testing.assert_array_equal(indices[0], np.arange(10))
    np.testing.assert_array_equal(indices[1], 10 + np.arange(2, 40, 4))


def test_times_rounded_to_milliseconds_choose_the_same_frames():
    times = even(300, 30)
    exact, rounded = (view_indices(t, config(clips=7))[1] for t in (times, times.round(3)))
    np.testing.assert_array_equal(exact, rounded)


def test_a_video_shorter_than_a_clip_repeats_its_last_frame_at_the_same_speed():
    starts, indices = view_indices(even(4, 10), config())
    assert starts.tolist() == [0.0]
    np.testing.assert_array_equal(indices, [[0, 1, 2, 3, 3, 3, 3, 3, 3, 3]])


@pytest.mark.parametrize("count", [1, 2, 3])
def test_one_to_three_frames_are_enough(count):
    starts, indices = view_indices(even(count, 30) + 2.0, config())
    assert starts.tolist() == [2.0]
    assert indices.shape == (1, 10)
    assert indices.max() == count - 1


def test_clips_of_the_same_frames_are_one():
    starts, indices = view_indices(even(11, 10), config(clips=10))
    assert len(starts) == len(indices) == 2
    np.testing.assert_array_equal(indices, [np.arange(10), np.arange(1, 11)])


def test_always_the_same():
    times = np.cumsum(np.random.default_rng(3).uniform(0.01, 0.1, 5000))
    first, second = (view_indices(times, config(clips=10)) for _ in range(2))
    np.testing.assert_array_equal(first[1], second[1])
    assert len(first[0]) == 10
    assert (np.diff(first[1], axis=1) >= 0).all()
    assert first[1][-1, -1] >= 4997


def test_random_clips_reach_from_the_beginning_to_the_end():
    times, rng = even(50, 10), np.random.default_rng(0)
    drawn = np.stack([random_indices(times, config(), rng) for _ in range(500)])
    assert (np.diff(drawn, axis=1) == 1).all()
    assert (drawn.min(), drawn.max()) == (0, 49)
    again = random_indices(times, config(), np.random.default_rng(0))
    np.testing.assert_array_equal(again, drawn[0])


def test_random_clips_of_a_short_video_are_that_video():
    drawn = random_indices(even(3, 10), config(clip_frames=5, clip_s=0.5), np.random.default_rng(0))
    np.testing.assert_array_equal(drawn, [0, 1, 2, 2, 2])


@pytest.mark.parametrize(
    ("fps", "kept"),
    [
        (60, np.arange(0, 240, 2)),
        (59.94, np.arange(0, 240, 2)),
        (120, np.arange(0, 240, 4)),
        (30, np.arange(240)),
        (29.97, np.arange(240)),
        (24, np.arange(240)),
    ],
)
def test_frames_that_step_1_keeps(fps, kept):
    for times in (even(240, fps) + 3.0, even(240, fps).round(3)):
        np.testing.assert_array_equal(thinned_indices(times, 30), kept)


def test_step_1_keeps_all_frames_of_a_rate_of_0_and_a_single_one():
    np.testing.assert_array_equal(thinned_indices(even(7, 24), 0), np.arange(7))
    np.testing.assert_array_equal(thinned_indices(np.array([3.0]), 30), [0])


def test_no_frame_is_refused():
    with pytest.raises(InputError, match="at least one frame, got none"):
        view_indices(np.empty(0), config())
