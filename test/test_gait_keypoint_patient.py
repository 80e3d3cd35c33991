"""The patient among several people, from frame to frame."""

from pathlib import Path

import numpy as np
import pytest
from keypoint_clips import FPS, clip, taps, write_folder

from medvial.gait.keypoint_patient import patient_score, pose_distances, select_patient
from medvial.gait.openpose import People, read_openpose
from medvial.gait.skeletons import BODY_25, BODY_25B, remap

REAL = Path(__file__).parent.parent.parent / "shared" / "data" / "openpose"
HIP, KNEE = BODY_25.indices["mid_hip"], BODY_25.indices["left_knee"]


def people_of(*persons, frames=None, skeleton=BODY_25):
    """Everybody (T, 25, 3), in another order in every frame."""
    rng = np.random.default_rng(1)
    points = np.stack(persons, axis=1)
    points = np.stack([frame[rng.permutation(len(persons))] for frame in points])
    numbers = np.arange(len(points)) if frames is None else np.asarray(frames)
    return People(remap(points, BODY_25, skeleton), numbers, FPS, skeleton)


def moved(points, x=0.0, y=0.0, scale=1.0):
    result = points.copy()
    result[..., :2] = (
        result[..., :2] * scale + np.stack(np.broadcast_arrays(x, y), -1)[..., None, :]
    )
    return result


def jitter(points, sd, seed=0):
    result = points.copy()
    result[..., :2] += np.random.default_rng(seed).normal(0, sd, result[..., :2].shape)
    return result


def hidden(points, frames):
    result = points.copy()
    result[frames] = np.nan, np.nan, 0
    return result


TAPPING = jitter(clip(taps([0.4] * 10)), 1.5)
STILL = jitter(clip(np.zeros(len(TAPPING))), 1.5, 1)


def test_one_person():
    patient = select_patient(people_of(TAPPING))
    np.testing.assert_array_equal(patient.points, TAPPING)
    assert patient.notes == ()
    assert patient.times_s == pytest.approx(np.arange(len(TAPPING)) / FPS)


def test_any_skeleton_comes_out_as_body_25():
    patient = select_patient(people_of(TAPPING, skeleton=BODY_25B))
    np.testing.assert_allclose(patient.points[:, KNEE], TAPPING[:, KNEE])
    assert patient.points.shape == (len(TAPPING), 25, 3)


@pytest.mark.parametrize("scale", [0.7, 1.0, 1.3])
def test_who_taps_and_not_who_stands_by(scale):
    patient = select_patient(people_of(moved(STILL, 250, scale=scale), TAPPING))
    np.testing.assert_array_equal(patient.points, TAPPING)
    assert patient.notes == ("2 people were followed; the patient is in 100% of the frames",)


def test_of_two_who_do_not_move_the_nearer():
    patient = select_patient(people_of(moved(STILL, 400, scale=0.6), STILL))
    np.testing.assert_array_equal(patient.points, STILL)


def test_two_who_do_the_same_are_told_of():
    patient = select_patient(people_of(TAPPING, moved(TAPPING, 250)))
    assert patient.notes[-1].startswith("another person could as well be the patient")


@pytest.mark.parametrize("step_px", [1, 2, 3, 5, 8, 15])
def test_who_walks_through_in_front_is_not_the_patient(step_px):
    count = len(TAPPING)
    x = (np.arange(count) - count / 2 + 7) * step_px
    across = moved(STILL, x)
    across[:, KNEE, 1] += 5 * np.sin(np.arange(count) / 3)
    patient = select_patient(people_of(across, TAPPING))
    np.testing.assert_array_equal(patient.points, TAPPING)


def test_out_of_sight_for_seconds_and_seen_again():
    lost = hidden(TAPPING, slice(30, 100))
    patient = select_patient(people_of(lost, moved(STILL, 250)))
    np.testing.assert_array_equal(patient.points, lost)
    assert patient.seen.sum() == len(TAPPING) - 70


def test_gaps_between_frames():
    kept = [*range(20), *range(60, len(TAPPING))]
    people = people_of(TAPPING[kept], moved(STILL, 250)[kept], frames=kept)
    patient = select_patient(people)
    np.testing.assert_array_equal(patient.points, TAPPING[kept])
    assert patient.times_s[20] == pytest.approx(60 / FPS)


def test_a_body_in_two_parts_is_joined():
    legs = [i for i, name in enumerate(BODY_25.joints) if name.endswith(("hip", "knee", "ankle"))]
    rest = [i for i in range(25) if i not in legs]
    upper, lower = TAPPING.copy(), hidden(TAPPING, slice(None))
    lower[40:45][:, legs] = TAPPING[40:45][:, legs]
    upper[40:45][:, legs] = np.nan, np.nan, 0
    upper[42, legs[1]] = 300, 700, 0.05  # a joint in both: the surer one is kept
    patient = select_patient(people_of(upper, lower))
    np.testing.assert_array_equal(patient.points, TAPPING)
    assert len(rest) + len(legs) == 25


def test_distance_and_score_by_hand():
    one = np.zeros((25, 3))
    one[:4] = [[0, 0, 1], [30, 0, 1], [0, 40, 1], [30, 40, 1]]  # diagonal 50
    other = one.copy()
    other[:4, 0] += 10
    two_joints = np.where(np.arange(25)[:, None] < 2, other, 0)
    far = other.copy()
    far[0, 1] = 1000  # one of four joints strays: the median is of the others
    distances = pose_distances(np.stack([one, other]), np.stack([other, two_joints, one]))
    np.testing.assert_allclose(distances, [[0.2, np.inf, 0], [0, np.inf, 0.2]])
    assert pose_distances(one[None], far[None])[0, 0] == pytest.approx(
        10 / np.hypot(30, 1000), rel=0.1
    )
    still = clip(np.zeros(10))
    assert patient_score(still) == pytest.approx(0.9 * 160)  # confidence x trunk
    rising = clip(np.linspace(0, 1, 11))
    assert patient_score(rising) == pytest.approx(0.9 * (160 + 4 * 0.8 * 160))


def test_a_crowd_of_noise_is_no_burden():
    rng = np.random.default_rng(0)
    crowd = np.ones((150, 8, 25, 3))
    crowd[..., :2] = rng.uniform(0, 2000, (150, 8, 1, 2)) + rng.uniform(0, 90, (150, 8, 25, 2))
    points = np.concatenate([TAPPING[:150, None], crowd], axis=1)
    patient = select_patient(People(points, np.arange(150), FPS, BODY_25))
    np.testing.assert_array_equal(patient.points, TAPPING[:150])


def test_from_files_to_the_patient(tmp_path):
    people = np.stack([moved(STILL, 250), TAPPING], axis=1)
    folder = write_folder(tmp_path / "a", people)
    patient = select_patient(read_openpose(folder, fps=FPS))
    np.testing.assert_allclose(patient.points, TAPPING, atol=6e-4)  # three digits are written


@pytest.mark.data
def test_real_people():
    if not REAL.is_dir():
        pytest.skip("needs the keypoints in ../shared/data/openpose")
    for camera, followed in (("cam1", 2), ("cam3", 1)):
        patient = select_patient(read_openpose(REAL / f"{camera}_json", fps=60))
        hip = patient.points[:, HIP, :2]
        assert patient.seen.all()  # in frame 37 of cam1, legs and trunk are two people
        assert np.isfinite(hip).all()
        assert hip[:, 0].min() > 300  # the other one stands at 60
        assert np.abs(np.diff(hip, axis=0)).max() < 25
        assert (f"{followed} people" in str(patient.notes)) == (followed > 1)
        left, right = (BODY_25.indices[f"{side}_hip"] for side in ("left", "right"))
        side = patient.points[:, left, 0] - patient.points[:, right, 0]
        facing = camera == "cam1"  # its camera sees the front, the other one the back
        assert ((side > 0) == facing).mean() > 0.95
