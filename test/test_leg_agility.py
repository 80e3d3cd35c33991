"""Leg agility of knees that move as a formula says: signals, taps, numbers, criteria, quality."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from keypoint_clips import FPS, TRUNK_PX, clip, taps, times

from medvial.errors import InputError
from medvial.gait.keypoint_patient import select_patient
from medvial.gait.leg_agility import LEGS, Options, analyse, definitions
from medvial.gait.leg_agility.criteria import decrement_level, interruption_level, slowing_level
from medvial.gait.leg_agility.rating import unrated
from medvial.gait.leg_agility.signals import at_rate, leg_signals
from medvial.gait.leg_agility.taps import turning_points
from medvial.gait.openpose import read_openpose
from medvial.gait.skeletons import BODY_25, mirror

REAL = Path(__file__).parent.parent.parent / "shared" / "data" / "openpose"
KNEES = {leg: BODY_25.indices[f"{leg}_knee"] for leg in LEGS}
LEG_JOINTS = [i for i, n in enumerate(BODY_25.joints) if n.endswith(("knee", "ankle", "toe"))]


def at(points, fps=FPS):
    return analyse(points, np.arange(len(points)) / fps)


def left(heights, fps=FPS, **options):
    times_s = np.arange(len(heights)) / fps
    return analyse(clip(heights), times_s, options=Options(**options)).left


def noisy(points, sd=1.5, seed=0):
    result = points.copy()
    result[..., :2] += np.random.default_rng(seed).normal(0, sd, result[..., :2].shape)
    return result


def in_turn(one, other):
    """Heights of both legs: first the left one moves, then the right one."""
    return np.concatenate([one, 0 * other]), np.concatenate([0 * one, other])


def without(points, rows, joints):
    result = points.copy()
    result[np.ix_(np.arange(len(points))[rows], np.atleast_1d(joints))] = np.nan, np.nan, 0
    return result


def test_height_is_in_trunk_lengths_above_the_hips():
    signals = leg_signals(clip(np.full(60, 0.5), np.full(60, 0.25)), np.arange(60) / FPS)
    rest = -20 / TRUNK_PX  # the knee is 20 pixels below the hips
    assert signals.trunk_px == pytest.approx(TRUNK_PX)
    assert signals.left.height == pytest.approx(np.full(119, rest + 0.5), abs=1e-6)
    assert signals.right.height == pytest.approx(np.full(119, rest + 0.25), abs=1e-6)
    assert signals.left.speed == pytest.approx(np.zeros(119), abs=1e-6)
    assert signals.left.times_s == pytest.approx(np.arange(119) / 60)


@pytest.mark.parametrize("fps", [12.5, 25, 30, 60])
def test_height_and_speed_of_a_parabola(fps):
    """A local quadratic regression is exact on a parabola, at any frame rate and at the ends."""
    t = times(3, fps)
    signal = leg_signals(clip(0.3 * t - 0.05 * t**2), t).left
    grid = signal.times_s
    assert signal.height == pytest.approx(-0.125 + 0.3 * grid - 0.05 * grid**2, abs=1e-3)
    assert signal.speed == pytest.approx(0.3 - 0.1 * grid, abs=5e-3)
    assert signal.noise == pytest.approx(0, abs=1e-4)
    assert (signal.missing, signal.spikes, signal.fps) == (0, 0, pytest.approx(fps, rel=0.05))


def test_irregular_frame_times():
    rng = np.random.default_rng(4)
    t = np.sort(rng.uniform(0, 6, 200))
    heights = 0.2 * (1 - np.cos(2 * np.pi * t / 0.6))
    result = analyse(clip(heights), t).left.values
    assert result["tempo"] == pytest.approx(1 / 0.6, rel=0.02)
    assert result["amplitude"] == pytest.approx(0.4, rel=0.05)


@pytest.mark.parametrize("fps", [25, 30, 60, 120])
@pytest.mark.parametrize("cycle_s", [0.35, 0.5, 0.9])
def test_taps_at_any_frame_rate(fps, cycle_s):
    values = left(taps([0.4] * 10, cycle_s, fps=fps), fps).values
    assert values["taps"] == 10
    assert values["frequency"] == pytest.approx(1 / cycle_s, rel=0.01)
    assert values["tempo"] == pytest.approx(1 / cycle_s, rel=0.01)
    assert values["amplitude"] == pytest.approx(0.4, rel=0.02)
    # of (1 - cos) / 2: a fifth at 53.13 degrees, four fifths at 126.87
    speed = 0.6 * 0.4 / (cycle_s * (126.87 - 53.13) / 360)
    assert values["rise_speed"] == pytest.approx(speed, rel=0.03)
    assert values["fall_speed"] == pytest.approx(speed, rel=0.03)
    assert values["duration"] == pytest.approx((10 - 2 * 53.13 / 360) * cycle_s, rel=0.01)
    assert values["cycle_variation"] == pytest.approx(0, abs=5)
    assert values["amplitude_variation"] == pytest.approx(0, abs=2)
    assert values["amplitude_slope"] == pytest.approx(0, abs=0.3)
    assert (values["interruptions"], values["arrests"], values["decrement"]) == (0, 0, 0)
    assert (values["longest_pause"], values["decrement_after"]) == (0, 10)


def test_taps_are_where_they_are():
    found = left(taps([0.4] * 6, 0.6, {2: 0.5})).movement.taps
    starts = 0.5 + 0.6 * np.arange(6) + np.where(np.arange(6) > 2, 0.5, 0)
    assert [tap.peak_s for tap in found] == pytest.approx(starts + 0.3, abs=0.02)
    assert [tap.start_s for tap in found] == pytest.approx(starts + 0.6 * 53.13 / 360, abs=0.02)
    assert [tap.end_s for tap in found] == pytest.approx(starts + 0.6 * 306.87 / 360, abs=0.02)


@pytest.mark.parametrize(
    ("pauses", "interruptions", "arrests", "level"),
    [
        ({}, 0, 0, 0),
        ({1: 0.1, 5: 0.12}, 0, 0, 0),
        ({4: 0.35}, 1, 0, 1),
        ({0: 0.3, 8: 0.6}, 2, 0, 1),
        ({1: 0.3, 3: 0.4, 6: 0.5}, 3, 0, 2),
        (dict.fromkeys(range(5), 0.4), 5, 0, 2),
        (dict.fromkeys(range(8), 0.4), 8, 0, 3),
        ({4: 1.5}, 1, 1, 3),
    ],
)
def test_interruptions_and_arrests(pauses, interruptions, arrests, level):
    leg = at(noisy(clip(taps([0.4] * 10, 0.5, pauses)))).left
    values = leg.values
    assert (values["taps"], values["interruptions"], values["arrests"]) == (
        10, interruptions, arrests,
    )  # fmt: skip
    assert leg.readings[0].level == level
    if interruptions:
        assert values["longest_pause"] == pytest.approx(max(pauses.values()), abs=0.06)
    assert values["tempo"] == pytest.approx(2, rel=0.05)  # a pause does not slow the movement
    duration = 9 * 0.5 + sum(pauses.values())
    assert values["frequency"] == pytest.approx(9 / duration, rel=0.02)


@pytest.mark.parametrize(
    ("pauses", "words"),
    [
        ({}, "no interruption of at least 0.2 s"),
        ({4: 1.5}, "1 interruption of at least 0.2 s, 1.5 s long; 1 arrest of at least 1 s"),
        (
            {2: 1.5, 4: 0.5, 6: 1.2},
            "3 interruptions of at least 0.2 s, the longest 1.5 s; 2 arrests of at least 1 s",
        ),
    ],
)
def test_what_is_found_reads_well(pauses, words):
    interruptions, slowing, *_ = left(taps([0.4] * 10, 0.5, pauses)).readings
    assert interruptions.found == words
    assert "taps per second between interruptions: no slowing (limits" in slowing.found


@pytest.mark.parametrize(
    ("onset", "loss", "level"),
    [(10, 0, 0), (8, 0.4, 1), (7, 0.4, 1), (4, 0.5, 2), (3, 0.5, 2), (1, 0.6, 3), (2, 0.7, 3)],
)
def test_decrement(onset, loss, level):
    """Constant up to tap `onset`, then falling evenly to 1 - loss."""
    k = np.arange(1, 11)
    amplitudes = 0.4 * (1 - loss * np.clip((k - onset) / max(10 - onset, 1), 0, 1))
    leg = at(noisy(clip(taps(amplitudes)), 0.5)).left
    assert leg.values["decrement"] == pytest.approx(100 * loss, abs=4)
    assert leg.values["decrement_after"] == pytest.approx(onset, abs=1)
    assert [r.level for r in leg.readings if r.criterion == "decrement"] == [level]
    slope = 100 * np.polyfit(k, amplitudes, 1)[0] / np.median(amplitudes[:3])
    assert leg.values["amplitude_slope"] == pytest.approx(slope, abs=0.7)


@pytest.mark.parametrize(("tempo", "level"), [(2.2, 0), (1.64, 1), (1.24, 2), (0.8, 3)])
def test_slowing(tempo, level):
    leg = left(taps([0.4] * 10, 1 / tempo))
    assert [r.level for r in leg.readings] == [0, level, 0, 0]
    assert leg.as_dict()["worst_criterion_level"] == level


def test_barely_performed():
    leg = left(taps([0.06, 0.05, 0.07, 0.06], 0.8))
    assert leg.quality.rateable
    assert leg.readings[-1].level == 4
    assert leg.as_dict()["worst_criterion_level"] == 4


def test_levels_of_criteria():
    assert [interruption_level(n, 0) for n in range(8)] == [0, 1, 1, 2, 2, 2, 3, 3]
    assert interruption_level(1, 1) == 3
    assert [slowing_level(hz, Options()) for hz in (1.83, 1.81, 1.43, 1.01)] == [0, 1, 2, 3]
    levels = [decrement_level(0.5, after, 10, Options()) for after in range(1, 10)]
    assert levels == [3, 3, 2, 2, 2, 1, 1, 1, 1]
    assert decrement_level(0.19, 1, 10, Options()) == 0


def test_turning_points_by_hand():
    assert turning_points(np.array([0, 1, 0, 3, 2.5, 4, 0, 0.5]), 2) == [0, 5, 6]
    assert turning_points(np.array([5, 1, 5.0]), 2) == [0, 1, 2]
    assert turning_points(np.array([0, 0.5, 0.1]), 2) == []
    assert turning_points(np.array([]), 2) == []


def test_turning_points_turn_by_enough_and_in_turn():
    values = np.random.default_rng(0).normal(size=2000).cumsum()
    points = turning_points(values, 3)
    steps = np.diff(values[points])
    assert (np.abs(steps[:-1]) >= 3).all()
    assert (steps[1:] * steps[:-1] < 0).all()
    for a, b in pairwise(points):
        assert {values[a : b + 1].min(), values[a : b + 1].max()} == {values[a], values[b]}


def test_noise_on_rising_limbs_makes_no_taps():
    counts = {
        at(noisy(clip(taps([0.4, 0.3, 0.2, 0.1] * 3, 1.0)), 2, seed)).left.values["taps"]
        for seed in range(5)
    }
    assert counts == {12}


def test_neither_size_place_nor_a_moving_camera_matter():
    points = clip(taps([0.4, 0.35, 0.3, 0.38, 0.36]))
    moved = points.copy()
    pan = np.linspace(0, 80, len(points))[:, None, None]
    moved[..., :2] = moved[..., :2] * 0.5 + [300, -20] + pan
    one, other = at(points).left.values, at(moved).left.values
    assert other == {k: v if v is None else pytest.approx(v, rel=0.02, abs=0.5)
                     for k, v in one.items()}  # fmt: skip
    assert other["amplitude"] == pytest.approx(one["amplitude"], rel=0.02)


def test_a_mirrored_left_leg_is_a_right_leg():
    points = noisy(clip(taps([0.4] * 8), 0.03 * taps([1] * 8)))
    one, other = at(points), at(mirror(points, BODY_25, 540))
    for leg, opposite in (LEGS, LEGS[::-1]):
        assert one.of(leg).as_dict()["kinematics"] == other.of(opposite).as_dict()["kinematics"]
        assert one.of(leg).quality.rateable == other.of(opposite).quality.rateable
    assert one.left.values["taps"] == 8


def test_mirror_movements_of_the_other_leg_are_no_taps():
    heights = taps([0.4] * 10)
    result = at(clip(heights, 0.3 * np.roll(heights, 3)))
    assert (result.left.values["taps"], result.right.values["taps"]) == (10, 0)


def test_both_legs_one_after_the_other():
    one, two = in_turn(taps([0.4] * 10), taps([0.2] * 7, 0.8))
    result = at(clip(one + 0.1 * two, two + 0.1 * one))
    assert (result.left.values["taps"], result.right.values["taps"]) == (10, 7)
    assert result.right.values["tempo"] == pytest.approx(1 / 0.8, rel=0.01)
    assert result.left.quality.rateable
    assert result.right.quality.rateable


def test_only_the_largest_attempt_is_measured():
    heights = np.concatenate([taps([0.3] * 2), np.zeros(180), taps([0.4] * 10)])
    assert left(heights).values["taps"] == 10


def test_cut_taps_at_the_ends_are_left_out():
    t = times(4)
    assert left(0.2 * (1 + np.cos(2 * np.pi * t / 0.5))).values["taps"] == 7  # begins and ends up


def test_short_gaps_are_bridged():
    points = clip(taps([0.4] * 10))
    rng = np.random.default_rng(2)
    lost = np.flatnonzero(rng.random(len(points)) < 0.15)
    for gappy in (without(points, lost, KNEES["left"]), without(points, lost, range(25))):
        result = at(gappy).left
        assert result.values["taps"] == 10
        assert result.values["amplitude"] == pytest.approx(0.4, rel=0.05)
        signal = at(gappy).signals.left
        assert np.isfinite(signal.height).all()
        assert signal.missing == pytest.approx(len(lost) / len(points))


def test_frames_that_are_not_there_are_gaps_in_time():
    heights = taps([0.4] * 10, 0.6)
    kept = np.setdiff1d(np.arange(len(heights)), np.arange(5, len(heights), 4))
    result = analyse(clip(heights)[kept], kept / FPS)
    assert result.left.values["tempo"] == pytest.approx(1 / 0.6, rel=0.02)
    assert result.signals.left.missing == pytest.approx(0, abs=0.27)


def test_a_long_gap_is_no_interruption():
    """From the third tap to the fourth, half a second is not seen: what happened is not known."""
    points = clip(taps([0.4] * 10, 0.5, {3: 0.6}))
    gap = slice(round(2.45 * FPS), round(3.05 * FPS))
    seen, hidden = at(points).left, at(without(points, gap, KNEES["left"])).left
    assert (seen.values["interruptions"], hidden.values["interruptions"]) == (1, 0)
    assert [reason.name for reason in hidden.quality.doubts] == ["gaps"]
    assert seen.quality.doubts == ()
    signal = at(without(points, gap, KNEES["left"])).signals.left
    assert np.isnan(signal.height[(signal.times_s > 2.5) & (signal.times_s < 2.95)]).all()


def test_a_tap_in_a_long_gap_is_left_out_and_the_rest_measured():
    points = clip(taps([0.4] * 10, 0.6))
    cut = without(points, slice(round(2.3 * FPS), round(2.9 * FPS)), KNEES["left"])
    values = at(cut).left.values
    assert values["taps"] in (8, 9)
    assert values["tempo"] == pytest.approx(1 / 0.6, rel=0.02)
    assert values["interruptions"] == 0


def test_a_knee_that_jumps_is_left_out():
    points = clip(taps([0.4] * 10))
    points[[40, 90], KNEES["left"], 1] -= 0.9 * TRUNK_PX
    result = at(points)
    assert result.signals.left.spikes == 2
    assert result.left.values["taps"] == 10
    assert result.left.values["amplitude"] == pytest.approx(0.4, rel=0.02)


def test_a_knee_that_is_not_sure_counts_less():
    heights = np.zeros(91)
    wrong = np.arange(3, 91, 3)
    errors = []
    for confidence in (0.9, 0.05):
        points = clip(heights)
        points[wrong, KNEES["left"], 1] -= 0.2 * TRUNK_PX
        points[wrong, KNEES["left"], 2] = confidence
        errors.append(np.abs(leg_signals(points, times(3)).left.height + 0.125).mean())
    assert errors[1] < errors[0] / 8


def test_hips_that_jitter_hardly_shake_the_signal():
    points = clip(np.zeros(120))
    hip = BODY_25.indices["mid_hip"]
    points[:, hip, 1] += np.random.default_rng(0).normal(0, 4, 120)
    assert leg_signals(points, np.arange(120) / FPS).left.height.std() < 1.5 / TRUNK_PX


def test_without_hips_the_neck_is_the_reference():
    points = clip(taps([0.4] * 6))
    points = without(points, slice(10, None), BODY_25.indices["mid_hip"])
    assert at(points).left.values["amplitude"] == pytest.approx(0.4, rel=0.02)


@pytest.mark.parametrize(
    ("points", "name", "message"),
    [
        (clip(taps([0.4] * 3, 0.3, lead_s=0.2)), "short", "1.3 s long; at least 2 s"),
        (clip(np.zeros(1)), "short", "0.0 s long"),
        (without(clip(taps([0.4] * 10)), slice(None), LEG_JOINTS), "knee-not-seen",
         "left knee is missing in 100%"),
        (without(clip(taps([0.4] * 10)), slice(0, 90), KNEES["left"]), "knee-not-seen",
         "missing in 50% of the frames, more than 30%"),
        (without(clip(taps([0.4] * 10)), slice(None), [1]), "trunk-not-seen", "no scale"),
        (without(clip(taps([0.4] * 10)), slice(None), range(25)), "trunk-not-seen", "no scale"),
        (clip(np.zeros(120), np.zeros(120)), "no-taps", "not asked for in this clip, or it cannot"),
        (clip(taps([0.1, 0.1] + [0] * 8), taps([0.4] * 10)[::-1]), "no-taps", "no taps"),
        (clip(*in_turn(taps([0.1] * 2), taps([0.4] * 10))),
         "few-taps", "2 taps, fewer than 4"),
    ],
)  # fmt: skip
def test_clips_that_are_too_poor(points, name, message):
    leg = at(points).left
    assert not leg.quality.rateable
    assert name in [reason.name for reason in leg.quality.refused]
    assert message in " ".join(reason.message for reason in leg.quality.refused)
    assert leg.readings == ()
    assert leg.as_dict()["worst_criterion_level"] is None


def test_few_taps_of_the_leg_that_must_be_the_one_are_rated_with_a_doubt():
    result = at(clip(taps([0.07, 0.08], 0.8)))
    assert result.left.quality.rateable
    assert [reason.name for reason in result.left.quality.doubts] == ["few-taps"]
    assert result.left.readings[-1].level == 4
    assert not result.right.quality.rateable


@pytest.mark.parametrize("asked", [True, None])
@pytest.mark.parametrize("heights", [[0.19], [0.07, 0.25]])
def test_one_or_two_high_taps_are_no_test(heights, asked):
    points = clip(np.concatenate([np.zeros(40), taps(heights, 0.8)]))
    result = analyse(points, np.arange(len(points)) / FPS, asked={"left": asked})
    assert [reason.name for reason in result.left.quality.refused] == ["few-taps"]
    assert "does something else" in result.left.quality.refused[0].message
    three = at(clip(taps([0.4] * 3, 0.8))).left
    assert [reason.name for reason in three.quality.doubts] == ["few-taps"]


@pytest.mark.data
@pytest.mark.parametrize("fps", [30, 60])
@pytest.mark.parametrize("camera", ["cam1_json", "cam3_json"])
def test_who_balances_is_not_rated(camera, fps):
    folder = REAL / camera
    if not folder.is_dir():
        pytest.skip("needs the keypoints in ../shared/data/openpose")
    patient = select_patient(read_openpose(folder, fps=fps))
    result = analyse(patient.points, patient.times_s, asked=dict.fromkeys(LEGS, True))
    assert all(unrated(result.of(leg)) for leg in LEGS)


def test_a_leg_that_was_asked_for_and_does_not_move_is_not_refused():
    points = clip(np.zeros(120))
    result = analyse(points, np.arange(120) / FPS, asked={"right": True})
    assert result.right.quality.rateable
    assert [reason.name for reason in result.right.quality.doubts] == ["no-taps"]
    assert result.right.readings[-1].level is None
    assert not result.left.quality.rateable
    tapping = analyse(clip(taps([0.4] * 2)), times(2), asked={"left": False})
    assert not tapping.left.quality.rateable


def test_a_low_frame_rate_is_a_doubt():
    heights = taps([0.4] * 10, 1.0, fps=8)
    leg = left(heights, 8)
    assert leg.quality.rateable
    assert [reason.name for reason in leg.quality.doubts] == ["frame-rate"]
    assert "8.1 times a second" in leg.quality.doubts[0].message


@pytest.mark.parametrize(
    "points", [clip(taps([0.4] * 10)), clip(np.zeros(100)), clip(np.zeros(1)), clip([0.1, 0.2]),
               without(clip(np.zeros(80)), slice(None), range(25))]
)  # fmt: skip
@pytest.mark.filterwarnings("error")
def test_the_report_is_strict_json_with_units(points):
    report = json.loads(json.dumps(at(points).as_dict(), allow_nan=False))
    assert list(report) == ["left", "right"]
    for leg in report.values():
        assert leg["kinematics"].keys() == {row["name"] for row in definitions()}
        assert leg["rateable"] == (not leg["reasons"])
        assert len(leg["taps"]) == leg["kinematics"]["taps"]["value"]


def test_every_quantity_is_defined():
    for row in definitions():
        assert row["definition"]
        assert row["source"]


def test_times_that_do_not_fit():
    points = clip(np.zeros(10))
    for wrong in (np.arange(9), np.zeros(10), np.full(10, np.nan)):
        with pytest.raises(InputError, match="increasing times of 10 frames"):
            analyse(points, wrong)
    with pytest.raises(InputError, match=r"BODY_25 keypoints .*got \(10, 18, 3\)"):
        analyse(points[:, :18], np.arange(10))
    with pytest.raises(InputError, match="a clip of leg agility, got one of 90000 s"):
        analyse(points, np.arange(10) * 10_000)


@pytest.mark.parametrize(
    "wrong", [{"rate_hz": 0}, {"tempo_hz": (1, 2, 3)}, {"decrement_onset": (0.1, 0.5)}]
)
def test_options_that_find_nothing(wrong):
    with pytest.raises(InputError, match="above 0 and falling"):
        Options(**wrong)


def test_at_rate_keeps_the_time_and_bridges_short_gaps_only():
    t = np.array([0, 0.1, 0.2, 0.3, 1.0, 1.1])
    points = clip(t)
    even = at_rate(points, t, 20)
    knee = even[:, KNEES["left"]]
    assert len(even) == 23
    seen = np.isfinite(knee[:, 1])
    assert np.flatnonzero(~seen).tolist() == list(range(7, 20))
    expected = 520 - np.arange(23) / 20 * TRUNK_PX
    assert knee[seen, 1] == pytest.approx(expected[seen])
    assert (knee[~seen, 2] == 0).all()
    assert knee[seen, 2] == pytest.approx(0.9)
