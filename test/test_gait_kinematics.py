"""Numbers of a walk whose joints are drawn by formulas."""

import numpy as np
import pytest

from medvial.errors import InputError
from medvial.gait.walking.kinematics import DEFINITIONS, measure, near_leg
from medvial.gait.walking.landmarks import WalkLandmarks
from medvial.gait.walking.rhythm import find_rhythm

TRUNK, THIGH, SHANK = 80.0, 70.0, 65.0


def walk(*, direction="right", trunk_deg=12.0, stride_s=1.1, seconds=5.0, hz=15.0, knee_peak=60.0):
    """A walker across the picture; hip -15 to 25 degrees forwards, knee 5 to `knee_peak`."""
    times = np.arange(0, seconds, 1 / hz)
    forward = 1.0 if direction == "right" else -1.0
    points = np.zeros((len(times), 33, 3))
    points[..., 2] = 0.95
    hips = np.column_stack([300 + forward * 90 * times, np.full(len(times), 250.0)])
    lean = np.radians(trunk_deg)
    shoulders = hips + TRUNK * np.array([forward * np.sin(lean), -np.cos(lean)])
    for (shoulder, hip, knee, ankle), shift in (((11, 23, 25, 27), 0.0), ((12, 24, 26, 28), 0.5)):
        phase = 2 * np.pi * (times / stride_s + shift)
        thigh = np.radians(5 + 20 * np.cos(phase))
        flexion = np.radians(5 + (knee_peak - 5) * np.clip(np.cos(phase + 1.2), 0, None) ** 2)
        points[:, shoulder, :2], points[:, hip, :2] = shoulders, hips
        points[:, knee, :2] = hips + THIGH * _down(thigh, forward)
        points[:, ankle, :2] = points[:, knee, :2] + SHANK * _down(thigh - flexion, forward)
    return WalkLandmarks(times, points, direction)


def _down(angle, forward):
    """Unit vectors that hang down, turned forwards."""
    return np.column_stack([forward * np.sin(angle), np.cos(angle)])


@pytest.mark.parametrize("direction", ["left", "right"])
def test_known_angles_come_out_whichever_way_the_walk_goes(direction):
    found = measure(walk(direction=direction))
    assert set(found) == set(DEFINITIONS)
    assert found["trunk_inclination"].value == pytest.approx(12, abs=0.01)
    assert found["trunk_inclination"].unit == "deg"
    assert found["knee_flexion_peak"].value == pytest.approx(60, abs=2)
    assert found["knee_range"].value == pytest.approx(55, abs=2)
    assert found["hip_range"].value == pytest.approx(40, abs=1.5)
    assert found["hip_extension_peak"].value == pytest.approx(-15 + 12, abs=1)


@pytest.mark.parametrize("stride_s", [0.9, 1.1, 1.6])
@pytest.mark.parametrize("hz", [12.0, 15.0, 30.0])
def test_rhythm(stride_s, hz):
    found = measure(walk(stride_s=stride_s, hz=hz, seconds=6))
    assert found["step_time"].value == pytest.approx(stride_s / 2, abs=0.02)
    assert found["cadence"].value == pytest.approx(120 / stride_s, rel=0.04)
    assert found["cadence"].count >= 4


def test_rhythm_does_not_mind_swaps_of_left_and_right():
    swapped = walk()
    swapped.points[20:45, [27, 28]] = swapped.points[20:45, [28, 27]]
    assert measure(swapped)["step_time"].value == pytest.approx(0.55, abs=0.01)


def test_frames_without_the_person_are_bridged():
    gaps = walk(seconds=7)
    gaps.points[30:34] = (np.nan, np.nan, 0.0)
    found = measure(gaps)
    assert found["trunk_inclination"].value == pytest.approx(12, abs=0.01)
    assert found["trunk_inclination"].count == len(gaps.times_s) - 4
    assert found["step_time"].value == pytest.approx(0.55, abs=0.02)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"direction": "none"}, "does not walk across"),
        ({"seconds": 0.8}, "in sight for less than 1 s"),
        ({"hz": 5.0}, "fewer than 8 frames a second"),
    ],
)
def test_what_cannot_be_measured_says_why(change, why):
    for name, found in measure(walk(**change)).items():
        assert found.value is None
        assert why in found.unavailable
        assert found.as_json()["value"] is None, name


def test_hidden_joints_make_their_own_angles_unavailable_only():
    hidden = walk(direction="left")
    hidden.points[:50, 25, 2] = 0.1  # the left knee, which is the near one
    found = measure(hidden)
    assert "in sight on 25 of 75 frames" in found["knee_range"].unavailable
    assert found["trunk_inclination"].value == pytest.approx(12, abs=0.01)
    assert found["cadence"].value is not None


def test_one_step_is_too_few():
    found = measure(walk(seconds=1.2, stride_s=2.4))
    assert "Fewer than 2 steps, 0.3 to 1.5 s apart," in found["cadence"].unavailable
    assert found["trunk_inclination"].value is not None


def test_a_single_step_time_has_no_spread():
    found = measure(walk(seconds=1.7, stride_s=1.6))
    assert found["step_time"].value == pytest.approx(0.8, abs=0.04)
    assert (found["step_time"].count, found["cadence"].spread) == (1, None)


def test_a_limp_is_no_rhythm_of_two_steps():
    """Every second step longer and later: the distance repeats best after two."""
    times = np.arange(0, 5, 1 / 15)
    late = 0.06 * np.sin(np.pi * times / 0.6) ** 2
    apart = 50 * np.abs(np.sin(np.pi * (times + late) / 0.6)) + 12 * np.sin(np.pi * times / 0.6)
    found = find_rhythm(times, np.abs(apart))
    assert found.step_s == pytest.approx(0.6, abs=0.05)
    assert found.count >= 6


def test_steps_are_read_through_noise():
    times = np.arange(0, 2.2, 1 / 15)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        apart = 40 * np.abs(np.cos(np.pi * (times / 0.55 + rng.random()))) + rng.normal(0, 4, 33)
        assert find_rhythm(times, np.abs(apart)).step_s == pytest.approx(0.55, rel=0.08)


def test_what_does_not_repeat_has_no_step_time():
    times = np.arange(0, 3, 1 / 15)
    peaks = [(0.3, 20), (0.9, 45), (1.3, 30), (2.45, 25)]
    once = sum(height * np.exp(-(((times - at) / 0.08) ** 2)) for at, height in peaks)
    with pytest.raises(InputError, match="too uneven, or too few"):
        find_rhythm(times, once)
    with pytest.raises(InputError, match="Fewer than 2 steps"):
        find_rhythm(times, np.full(45, 30.0))
    with pytest.raises(InputError, match="on too few frames"):
        find_rhythm(times, np.where(times < 1.5, np.nan, once))


def test_an_empty_walk_is_unavailable():
    empty = WalkLandmarks(np.zeros(0), np.zeros((0, 33, 3)), "left")
    assert all(found.value is None for found in measure(empty).values())


def test_the_side_towards_the_camera():
    assert near_leg("left") == "left"
    assert near_leg("none") is None


def test_a_report_has_units_and_definitions():
    shown = measure(walk())["cadence"].as_json()
    assert shown["unit"] == "steps/min"
    assert shown["definition"].endswith(".")
    assert shown["value"] == pytest.approx(109, abs=3)
