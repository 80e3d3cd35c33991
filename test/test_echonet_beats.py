"""Beats found in the volumes of phantoms, whose end-systoles are known to the frame."""

import numpy as np
import pytest

from medvial.echonet.beats import (
    Beat,
    BeatOptions,
    find_beats,
    source_systoles,
    summarise_rhythm,
)
from medvial.echonet.config import Config
from medvial.errors import InputError
from medvial_training.phantoms.echo_heart import Heart, beat

TOLERANCE_S = 0.08


def examinations(fps, rates, *, rhythm="sinus", ef=(20, 65), count=40, noise=0.012):
    """Areas of `count` clips of 2 to 5 s with the noise of a segmentation, and their truth.

    Yields:
        Areas (T,), times (T,), times of the end-systoles, volumes (T,).
    """
    rng = np.random.default_rng(8)
    variation = 0.2 if rhythm == "atrial fibrillation" else 0.03
    for _ in range(count):
        heart = Heart(100, rng.uniform(*ef), rng.uniform(*rates), rhythm, variation)
        times = np.arange(int(rng.uniform(2, 5) * fps)) / fps
        course = beat(heart, times, rng)
        area = course.volumes_ml ** (2 / 3) * 70 * (1 + rng.normal(0, noise, len(times)))
        yield area, times, course.es_s, course.volumes_ml


def count_matches(found_s, true_s, times, fps):
    """Found and missed end-systoles 3 frames inside of the clip, and those that are none."""
    tolerance = max(2 / fps, TOLERANCE_S)
    low, high = times[0] + 3 / fps, times[-1] - 3 / fps
    hits = sum(any(abs(f - t) <= tolerance for f in found_s) for t in true_s if low <= t <= high)
    missed = sum(low <= t <= high for t in true_s) - hits
    wrong = sum(all(abs(f - t) > tolerance for t in true_s) for f in found_s)
    return np.array([hits, missed, wrong])


def scores(fps, rates, find, **options):
    """Recall, and share of the found that are wrong."""
    hits, missed, wrong = sum(
        count_matches(times[find(area, fps)], es, times, fps)
        for area, times, es, _ in examinations(fps, rates, **options)
    )
    return hits / (hits + missed), wrong / max(1, hits + wrong)


def ours(area, fps):
    return np.array([found.es for found in find_beats(area, fps)], int)


def sources(area, fps):
    return source_systoles(area)


@pytest.mark.parametrize("fps", [25, 30, 50, 80])
@pytest.mark.parametrize("rates", [(45, 60), (60, 100), (100, 140), (140, 170)])
def test_beats_are_found_at_any_heart_and_frame_rate(fps, rates):
    recall, wrong = scores(fps, rates, ours)
    assert recall >= 0.97
    assert wrong <= 0.03


@pytest.mark.parametrize("rhythm", ["atrial fibrillation", "ectopic"])
def test_beats_of_irregular_rhythms(rhythm):
    recall, wrong = scores(50, (60, 110), ours, rhythm=rhythm, ef=(35, 65))
    assert recall >= (0.95 if rhythm == "atrial fibrillation" else 0.9)
    assert wrong <= 0.03


@pytest.mark.parametrize(
    ("fps", "rates", "least", "most"),
    [(50, (55, 90), 0.9, 1.0), (50, (120, 170), 0.6, 0.9), (30, (100, 140), 0.3, 0.6)],
)
def test_counting_frames_misses_half_of_the_beats_at_30_fps(fps, rates, least, most):
    recall, _ = scores(fps, rates, sources)
    assert least <= recall <= most
    assert scores(fps, rates, ours)[0] >= 0.97


@pytest.mark.parametrize("fps", [25, 50, 80])
def test_ejection_fraction_of_clean_volumes(fps):
    for _, times, _, volumes in examinations(fps, (45, 170), noise=0):
        beats = find_beats(volumes, times)
        values, exact = [], []
        for found in (b for b in beats if b.complete):
            values.append(100 * (1 - volumes[found.es] / volumes[found.ed]))
            edv, esv = (volumes[np.abs(times - times[k]) <= 0.1] for k in (found.ed, found.es))
            exact.append(100 * (1 - esv.min() / edv.max()))
        assert values == pytest.approx(exact, abs=2)
        assert not values or np.mean(values) == pytest.approx(np.mean(exact), abs=1.5)


def wave(seconds=4.0, fps=50.0, rate=75.0, start=0.0):
    """Largest at 0 s, smallest half a beat later."""
    times = np.arange(round(seconds * fps)) / fps
    return 100 + 20 * np.cos(2 * np.pi * (times + start) * rate / 60), times


def test_frames_of_a_cosine():
    area, times = wave()
    found = find_beats(area, times)
    assert [b.es for b in found] == [20, 60, 100, 140, 180]
    assert [b.ed for b in found][1:] == [40, 80, 120, 160]
    assert [b.complete for b in found] == [False, True, True, True, True]
    assert find_beats(area, 50.0) == found
    assert area[[b.es for b in found]] == pytest.approx(80)
    assert area[[b.ed for b in found]] == pytest.approx(120)


def test_cut_systoles_are_flagged():
    area, times = wave(seconds=2.5, start=0.1)  # begins and ends in the middle of a systole
    found = find_beats(area, times)
    assert [(b.ed_seen, b.es_seen) for b in found] == [
        *((False, True), (True, True), (True, True), (True, False))
    ]
    assert found[-1].es == len(area) - 1


def test_a_clip_that_begins_at_end_systole_has_no_beat_there():
    area, times = wave(start=0.4)
    found = find_beats(area, times)
    assert found[0] == Beat(20, 40)
    assert all(b.complete for b in found[:-1])


def test_irregular_and_coarse_times_give_the_same_beats():
    rng = np.random.default_rng(2)
    _, times = wave()
    shaken = times + rng.uniform(-0.3, 0.3, len(times)) / 50
    area = 100 + 20 * np.cos(2 * np.pi * shaken * 75 / 60)
    kept = np.delete(np.arange(len(times)), [33, 34, 90, 91, 92])
    for subset in (np.arange(len(times)), kept, np.arange(0, len(times), 2)):
        found = find_beats(area[subset], shaken[subset])
        np.testing.assert_allclose(
            [shaken[subset][b.es] for b in found], [0.4, 1.2, 2.0, 2.8, 3.6], atol=0.041
        )


@pytest.mark.parametrize("gap_s", [60.0, 1e8])
def test_nothing_reaches_across_a_gap_in_the_times(gap_s):
    area, times = wave()
    parts = find_beats(area[:110], times[:110]), find_beats(area[110:], times[110:])
    late = [Beat(b.ed + 110, b.es + 110, b.ed_seen, b.es_seen) for b in parts[1]]
    times[110:] += gap_s
    found = find_beats(area, times)
    assert found == [*parts[0], *late]
    assert [b.es for b in found if b.es_seen] == [20, 60, 100, 140, 180]
    rhythm = summarise_rhythm(found, times)
    assert rhythm.intervals == 3
    assert rhythm.heart_rate_bpm == pytest.approx(75)


def test_frames_in_bursts_take_no_more_memory_than_others():
    times = np.cumsum(np.where(np.arange(9000) % 3, 1e-6, 0.9))
    assert find_beats(np.full(9000, 700.0), times) == []


def test_wrong_frames_do_not_make_beats():
    area, times = wave()
    area[[10, 45, 130]] = [np.nan, 0, np.inf]
    area[75] = 40  # found too small, once
    assert [b.es for b in find_beats(area, times)] == pytest.approx([20, 60, 100, 140, 180], abs=1)


@pytest.mark.parametrize(
    "area",
    [
        [],
        [5.0],
        [5.0, 4.0],
        np.full(60, 700.0),
        np.zeros(60),
        np.full(60, np.nan),
        np.where(np.arange(60) % 2, np.nan, 700.0 + np.arange(60)),
    ],
    ids=["empty", "one", "two", "constant", "zero", "nan", "half missing"],
)
def test_what_does_not_beat_has_no_beats(area):
    area = np.asarray(area, float)
    assert find_beats(area, 50.0) == []
    assert summarise_rhythm([], 50.0).heart_rate_bpm is None


def test_noise_alone_has_no_beats():
    area = 1000 * (1 + np.random.default_rng(0).normal(0, 0.008, 176))
    assert find_beats(area, 50.0) == []


def test_a_clip_shorter_than_a_beat():
    area, times = wave(seconds=0.3)
    (found,) = find_beats(area, times)
    assert not found.complete


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (np.arange(7) / 50, "times of 8 frames, got 7"),
        (np.zeros(8), "do not increase"),
        (0.0, "frame rate above 0"),
        (float("nan"), "frame rate above 0"),
    ],
)
def test_unusable_times_are_refused(times, message):
    with pytest.raises(InputError, match=message):
        find_beats(np.arange(8) + 1.0, times)


@pytest.mark.parametrize("bad", [{"smoothing_s": -1}, {"min_distance_s": 0}, {"prominence": 1}])
def test_unusable_options_are_refused(bad):
    with pytest.raises(InputError, match="Expected smoothing_s of 0 or more"):
        BeatOptions(**bad)


def test_options_are_the_configurations():
    assert BeatOptions.of(Config()) == BeatOptions()
    assert BeatOptions.of(Config(beat_smoothing_s=0.2, beat_prominence=0.3)) == BeatOptions(
        smoothing_s=0.2, prominence=0.3
    )
    with pytest.raises(InputError, match=r"beat_prominence between 0 and 1, got .* 1\.5"):
        Config(beat_prominence=1.5)


def test_rhythm_of_hand_made_beats():
    regular = [Beat(es - 10, es) for es in (20, 60, 100, 140)]
    rhythm = summarise_rhythm(regular, 50.0)
    assert rhythm.heart_rate_bpm == pytest.approx(75)
    assert rhythm.rr_sd_s == pytest.approx(0, abs=1e-12)
    assert rhythm.irregular is False
    irregular = [Beat(es - 10, es) for es in (20, 60, 85, 140)]
    rhythm = summarise_rhythm(irregular, np.arange(150) / 50)
    assert rhythm.rr_sd_s == pytest.approx(np.std([0.8, 0.5, 1.1], ddof=1))
    assert rhythm.irregular is True
    few = summarise_rhythm(irregular[:3], 50.0)
    assert (few.rr_sd_s, few.irregular, few.intervals) == (None, None, 2)
    cut = [*regular, Beat(150, 158, es_seen=False)]
    assert summarise_rhythm(cut, 50.0).intervals == 3


def test_irregular_rhythm_is_told_from_sinus():
    told = {}
    for rhythm in ("sinus", "atrial fibrillation"):
        found = [
            summarise_rhythm(find_beats(area, 50.0), 50.0).irregular
            for area, *_ in examinations(50, (70, 110), rhythm=rhythm, ef=(35, 65))
        ]
        told[rhythm] = np.mean([value for value in found if value is not None])
    assert told["sinus"] <= 0.05
    assert told["atrial fibrillation"] >= 0.65


def test_source_rule_by_hand():
    area = np.full(100, 100.0)
    area[[20, 30, 60, 90]] = [50, 60, 90, 40]  # 30 is too near to 20; 60 is too shallow
    assert source_systoles(area).tolist() == [20, 90]
    assert source_systoles(area, distance=5).tolist() == [20, 30, 90]


def test_source_rule_trims_by_powers_unless_told_otherwise():
    area = np.full(99, 100.0)
    area[[10, 50, 80]] = [0, 0, 90]
    # Sorted: 0, 0, 90, 96 x 100. 99**0.05 = 1.3: value 1 is 0; 0.05 * 99 = 5: value 5 is 100.
    assert source_systoles(area).tolist() == [10, 50]
    assert source_systoles(area, power_bug=False).tolist() == [10, 50, 80]


@pytest.mark.parametrize("area", [[], [1.0, 2.0], np.full(60, 5.0), np.zeros(60)])
def test_source_rule_does_not_crash(area):
    assert len(source_systoles(np.asarray(area))) == 0
