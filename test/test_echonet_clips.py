"""Which frames make a clip, against the source's rule and by hand."""

import numpy as np
import pytest

from medvial.echonet.clips import (
    BEYOND,
    all_clip_starts,
    centred_clip_start,
    clip_indices,
    clip_offsets,
    frame_rate,
    last_clip_start,
    sampling_rate,
    time_gaps,
)
from medvial.echonet.config import Config

SOURCE = Config(frame_interval_s=0)
TIMED = Config()


@pytest.mark.parametrize("frames", [28, 63, 64, 65, 176, 1002])
def test_starts_are_the_sources(frames):
    """The source pads to length * period and takes arange(F - (length - 1) * period)."""
    padded = max(frames, 32 * 2)
    expected = np.arange(padded - 31 * 2)
    np.testing.assert_array_equal(all_clip_starts(frames, 30.0, SOURCE), expected)
    np.testing.assert_array_equal(all_clip_starts(frames, 50.0, TIMED), expected)


def test_clip_is_every_second_frame_at_50_per_second():
    np.testing.assert_array_equal(clip_indices(7, 50.0, TIMED, 176), 7 + 2 * np.arange(32))


@pytest.mark.parametrize(
    ("fps", "first"), [(25, [0, 1, 2, 3, 4]), (37.5, [0, 2, 3, 5, 6]), (100, [0, 4, 8, 12, 16])]
)
def test_clip_is_the_same_time_at_any_rate(fps, first):
    offsets = clip_offsets(fps, TIMED)
    np.testing.assert_array_equal(offsets[:5], first)
    np.testing.assert_allclose(offsets / fps, 0.04 * np.arange(32), atol=0.5 / fps + 1e-9)


def test_rounding_of_the_rate_changes_nothing():
    for fps in (25.0, 37.5, 62.5, 1000 / 30):
        again = 1 / np.median(np.diff(np.arange(99) / fps))
        np.testing.assert_array_equal(clip_offsets(again, TIMED), clip_offsets(fps, TIMED))
        assert last_clip_start(99, again, TIMED) == last_clip_start(99, fps, TIMED)


@pytest.mark.parametrize("fps", [0.0, np.nan])
def test_unknown_rate_counts_frames(fps):
    config = Config(frame_period=3)
    np.testing.assert_array_equal(clip_offsets(fps, config), 3 * np.arange(32))


def test_beyond_the_end_is_no_frame():
    indices = clip_indices(0, 50.0, TIMED, 40)
    np.testing.assert_array_equal(indices[:20], 2 * np.arange(20))
    assert (indices[20:] == BEYOND).all()


def test_no_clip_reaches_beyond_a_long_video():
    for fps in (18.0, 33.3, 50.0, 61.0, 138.0):
        last = last_clip_start(300, fps, TIMED)
        assert clip_indices(last, fps, TIMED, 300)[-1] == 299


def test_clip_centred_on_a_frame():
    assert centred_clip_start(80, 50.0, TIMED, 176) == 48
    assert centred_clip_start(10, 50.0, TIMED, 176) == 0
    assert centred_clip_start(170, 50.0, TIMED, 176) == 113  # the last whole clip


def test_times_rounded_to_milliseconds_are_even():
    times_s = np.round(np.arange(300) / 30, 3)
    assert sampling_rate(times_s) == pytest.approx(30, rel=1e-4)


def test_clips_follow_uneven_times():
    config = Config(clip_frames=4, frame_interval_s=0.1)
    # 50 per second for 0.4 s, then 10 per second
    times_s = np.concatenate([np.arange(20) * 0.02, 0.4 + np.arange(10) * 0.1])
    rate = sampling_rate(times_s)
    assert rate is times_s
    assert frame_rate(times_s) == pytest.approx(50)
    np.testing.assert_array_equal(clip_indices(0, rate, config, 30), [0, 5, 10, 15])
    np.testing.assert_array_equal(clip_indices(10, rate, config, 30), [10, 15, 20, 21])
    np.testing.assert_array_equal(clip_indices(28, rate, config, 30), [28, 29, BEYOND, BEYOND])
    assert last_clip_start(30, rate, config) == 26
    assert centred_clip_start(20, rate, config, 30) == 10  # 0.2 s earlier
    assert centred_clip_start(29, rate, config, 30) == 26
    assert centred_clip_start(3, rate, config, 30) == 0


def test_a_gap_in_the_times_is_no_frame_rate():
    config = Config(clip_frames=4, frame_interval_s=0.04)
    times_s = np.delete(np.arange(80) * 0.02, np.arange(10, 20))
    # wanted at 0.16, 0.20, 0.24 and 0.28 s; frame 9 is at 0.18 s, frame 10 at 0.40 s
    rate = sampling_rate(times_s)
    np.testing.assert_array_equal(clip_indices(8, rate, config, 70), [8, 9, 9, 9])
    counted = Config(clip_frames=4, frame_interval_s=0)
    np.testing.assert_array_equal(clip_indices(8, times_s, counted, 70), [8, 10, 12, 14])
    assert last_clip_start(70, times_s, counted) == 63


def test_a_video_shorter_than_a_clip_of_uneven_times():
    config = Config(clip_frames=4, frame_interval_s=1.0)
    times_s = np.array([0.0, 0.1, 0.5, 0.6])
    assert last_clip_start(4, times_s, config) == 0
    assert (clip_indices(0, times_s, config, 4) == [0, BEYOND, BEYOND, BEYOND]).all()


def test_gaps_are_jumps_of_more_than_a_second_and_ten_frames():
    assert time_gaps(np.arange(90) / 50).tolist() == []
    assert time_gaps(np.array([0.0])).tolist() == []
    assert time_gaps(np.array([0, 0.02, 0.04, 0.9, 0.92, 2.0, 2.02])).tolist() == [5]
    assert time_gaps(np.array([0, 0.5, 1.0, 3.0, 3.5, 9.0])).tolist() == [5]
