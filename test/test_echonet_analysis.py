"""The analysis of one cine, on drawn ventricles and networks whose answers are known."""

import numpy as np
import pytest

from medvial.echonet.analysis import analyse
from medvial.echonet.clips import centred_clip_start
from medvial.echonet.config import Config
from medvial.echonet.networks import EchoNetworks
from medvial.echonet.postprocess import Learned
from medvial.echonet.volumes import disk_volume
from medvial.errors import InputError

HEIGHT, WIDTH = 64, 80
BEAT_S = 0.8
CONFIG = Config(height=HEIGHT, width=WIDTH, mean=(0.0,), std=(1.0,))
SURE = 0.6  # probability that the segmentation gives to what it finds


def film(times_s):
    """Upper halves of ellipses, largest at 0 s and smallest half a beat later; and a splinter.

    Returns:
        Frames (T, H, W), whose first pixel is the frame's number, and true masks.
    """
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    share = (1 - np.cos(2 * np.pi * np.asarray(times_s) / BEAT_S)) / 2  # 0 to 1 at end-systole
    half, length = 20 - 4 * share, 44 - 5 * share
    up = (54 - y) / length[:, None, None]
    inside = (((x - 40) / half[:, None, None]) ** 2 + up**2 < 1) & (up >= 0)
    frames = np.where(inside, 250, 20).astype(np.uint8)
    frames[:, 58:61, 70:78] = 250  # not the ventricle
    frames[:, 0, 0] = np.arange(len(frames))
    return frames, inside


def finds(batch):
    return np.where(batch > 245, np.log(SURE / (1 - SURE)), -3).astype(np.float32)


def says_start(batch):
    """EF of a clip: 40 and a tenth of its first frame's number."""
    return (40 + batch[:, 0, 0, 0, 0] / 10)[:, None]


def run(count=150, fps=50.0, learned=None, regression=says_start, times=None, **options):
    times = np.arange(count) / fps if times is None else times
    frames, inside = film(times)
    networks = EchoNetworks(CONFIG, finds, regression)
    return analyse(frames, times, networks, learned or Learned(), **options), inside


def test_masks_are_the_largest_part_above_the_learned_threshold():
    found, inside = run()
    np.testing.assert_array_equal(found.masks, inside)
    np.testing.assert_array_equal(found.area_px, inside.sum(axis=(1, 2)))
    none, _ = run(learned=Learned(threshold=SURE + 0.01))
    assert not none.masks.any()
    assert none.beats == []


def test_ejection_fraction_is_the_mean_over_the_beats_clips():
    found, _ = run()
    assert [r.beat.es for r in found.beats] == pytest.approx([20, 60, 100, 140], abs=1)
    starts = [centred_clip_start(r.beat.es, 50.0, CONFIG, 150) for r in found.beats]
    assert [r.clip_start for r in found.beats] == starts
    assert starts[0] == 0
    assert starts[-1] == 150 - 63  # moved into the video
    assert found.from_beats
    assert found.ejection_fraction == pytest.approx(40 + np.mean(starts) / 10)
    assert set(found.clips) == set(starts)


def test_what_was_learned_is_applied():
    plain, _ = run()
    assert plain.interval is None
    found, _ = run(learned=Learned(slope=0.5, intercept=30.0, half_width=6.0))
    assert found.ejection_fraction == pytest.approx(0.5 * plain.ejection_fraction + 30)
    low, high = found.interval
    assert (low, high) == pytest.approx((found.ejection_fraction - 6, found.ejection_fraction + 6))


@pytest.mark.parametrize(("said", "value", "interval"), [(150, 100, (94, 100)), (-9, 0, (0, 6))])
def test_result_and_interval_stay_within_0_to_100(said, value, interval):
    found, _ = run(learned=Learned(half_width=6.0), regression=lambda b: np.full((len(b), 1), said))
    assert found.ejection_fraction == value
    assert found.interval == interval


def test_a_beat_whose_end_was_not_seen_does_not_count():
    found, _ = run(count=133)  # ends between end-diastole at 120 and end-systole at 140
    assert [r.beat.es_seen for r in found.beats] == [True, True, True, False]
    starts = [r.clip_start for r in found.beats[:3]]
    assert found.ejection_fraction == pytest.approx(40 + np.mean(starts) / 10)
    cut = found.beats[3]
    assert cut.end_diastole is None
    assert cut.ejection_fraction_from_masks is None


def test_without_beats_clips_are_spread_evenly():
    found, _ = run(times=np.arange(90) / 50 * 1e-3)  # 1.8 ms: nothing moves
    assert found.beats == []
    assert not found.from_beats
    found, _ = run(learned=Learned(threshold=0.9))
    assert sorted(found.clips) == [0, 21, 43, 65, 87]
    assert found.ejection_fraction == pytest.approx(40 + np.mean([0, 21, 43, 65, 87]) / 10)


def test_ejection_fraction_of_the_masks():
    found, inside = run(spacing_cm=(0.1, 0.1), regression=None)
    assert found.ejection_fraction is None
    assert found.clips == {}
    whole = found.complete_beats
    assert len(whole) == 3  # the first begins with the film
    for result in whole:
        edv = disk_volume(inside[result.beat.ed], spacing_cm=0.1)
        esv = disk_volume(inside[result.beat.es], spacing_cm=0.1)
        assert result.end_diastole.volume == pytest.approx(edv.volume)
        assert result.end_diastole.calibrated
        expected = 100 * (1 - esv.volume / edv.volume)
        assert result.ejection_fraction_from_masks == pytest.approx(expected)
        assert expected == pytest.approx(100 * (1 - 16**2 * 39 / (20**2 * 44)), abs=2)
    values = [r.ejection_fraction_from_masks for r in whole]
    assert found.ejection_fraction_from_masks == pytest.approx(np.mean(values))


def test_frame_times_count_not_frames():
    """From 1.6 s on, every fourth frame is left: ten a beat, which is .2 s at the usual rate."""
    times = np.concatenate([np.arange(80) / 50, 1.6 + np.arange(40) / 12.5])
    found, _ = run(times=times)
    at = [times[r.beat.es] for r in found.beats if r.beat.es_seen]
    assert at == pytest.approx([0.4, 1.2, 2.0, 2.8, 3.6, 4.4], abs=0.05)
    assert found.rhythm.heart_rate_bpm == pytest.approx(75, abs=1)
    assert found.fps == pytest.approx(50)


def test_progress_reaches_the_end():
    seen = []
    run(count=70, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (70, 70)
    assert seen == sorted(seen)


def test_one_frame_and_none():
    found, _ = run(count=1)
    assert found.beats == []
    assert np.isnan(found.fps)
    assert found.ejection_fraction == 40
    with pytest.raises(InputError, match="at least one frame"):
        run(count=0)
