"""Which frames make a clip, against the source's rule and by hand."""

import numpy as np
import pytest

from medvial.echonet.clips import (
    BEYOND,
    all_clip_starts,
    centred_clip_start,
    clip_indices,
    clip_offsets,
    last_clip_start,
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
