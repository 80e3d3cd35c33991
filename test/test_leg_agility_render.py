"""Drawn clips: which limb is where, in which colour, how bright, and in how many frames."""

from pathlib import Path

import numpy as np
import pytest
from keypoint_clips import clip, pose

from medvial.errors import InputError
from medvial.gait.keypoint_patient import select_patient
from medvial.gait.leg_agility.render import View, draw_clip, fit_person, fit_picture
from medvial.gait.openpose import read_openpose
from medvial.gait.skeletons import BODY_25, mirror

REAL = Path(__file__).parent.parent.parent / "shared" / "data" / "openpose"
PICTURE = View(0, 0, 1)
THIGH = next(limb for limb in BODY_25.limbs if limb.end == "left_knee")


def drawn(points, height=960, width=540, **options):
    options = {"view": PICTURE, "line_px": 5} | options
    return np.stack(list(draw_clip(points, height, width, **options)))


def middle_of(person, limb):
    """Row and column of the middle of a limb."""
    x, y = person[[BODY_25.indices[limb.start], BODY_25.indices[limb.end]], :2].mean(axis=0)
    return round(y), round(x)


def only(*joints):
    person = pose()
    person[[i for i, name in enumerate(BODY_25.joints) if name not in joints]] = np.nan, np.nan, 0
    return person


@pytest.mark.parametrize("limb", BODY_25.limbs, ids=lambda limb: f"{limb.start}-{limb.end}")
def test_each_limb_alone_is_where_it_is_in_its_own_colour(limb):
    person = only(limb.start, limb.end)
    person[:, 2] = np.where(person[:, 2] > 0, 1, 0)
    picture = drawn(person[None])[0]
    assert picture.shape == (960, 540, 3)
    assert picture.dtype == np.uint8
    assert tuple(picture[middle_of(person, limb)]) == limb.colour
    rows, columns = np.nonzero(picture.any(axis=2))
    ends = person[person[:, 2] > 0, :2]
    assert columns.min() == pytest.approx(ends[:, 0].min(), abs=4)
    assert columns.max() == pytest.approx(ends[:, 0].max(), abs=4)
    assert rows.min() == pytest.approx(ends[:, 1].min(), abs=4)
    assert rows.max() == pytest.approx(ends[:, 1].max(), abs=4)


def test_a_limb_with_a_missing_joint_is_not_drawn():
    person = only("left_hip", "left_knee")
    assert drawn(person[None]).any()
    assert not drawn(only("left_hip")[None]).any()  # and no line to the corner
    raw = only("left_hip")
    raw[np.isnan(raw)] = 0  # missing is told by the confidence, whatever the place
    assert not drawn(raw[None]).any()


def test_brightness_is_that_of_the_less_sure_joint():
    levels = []
    for confidence in (1.0, 0.5, 0.01):
        person = only("left_hip", "left_knee")
        person[BODY_25.indices["left_hip"], 2] = 1
        person[BODY_25.indices["left_knee"], 2] = confidence
        levels.append(drawn(person[None])[0][middle_of(person, THIGH)].max())
    full = max(THIGH.colour)
    assert levels == pytest.approx([full, 0.625 * full, 0.2575 * full], abs=1)


def test_everybody_is_drawn():
    other = pose()
    other[:, 0] += 180
    nobody = np.full((25, 3), (np.nan, np.nan, 0.0))
    picture = drawn(np.stack([pose(), other, nobody])[None])[0]
    assert picture[middle_of(pose(), THIGH)].any()
    assert picture[middle_of(other, THIGH)].any()


def test_all_frames_are_kept_and_those_without_anyone_are_black():
    points = clip(np.zeros(7))
    points[[0, 3]] = np.nan, np.nan, 0
    pictures = drawn(points)
    assert len(pictures) == 7
    assert np.flatnonzero(~pictures.any(axis=(1, 2, 3))).tolist() == [0, 3]
    nobody = np.full((4, 25, 3), (np.nan, np.nan, 0.0))
    assert not drawn(nobody, view=None).any()


@pytest.mark.parametrize(("height", "width"), [(112, 112), (96, 200), (300, 64)])
def test_a_person_fits_whatever_the_camera(height, width):
    points = clip(np.linspace(0, 0.4, 9))
    far = points.copy()
    far[..., :2] = far[..., :2] * 0.3 + [700, 90]
    pictures = drawn(points, height, width, view=None, line_px=1)
    np.testing.assert_array_equal(pictures, drawn(far, height, width, view=None, line_px=1))
    rows, columns = np.nonzero(pictures.any(axis=(0, 3)))
    margins = (rows.min(), height - 1 - rows.max()), (columns.min(), width - 1 - columns.max())
    for low, high in margins:
        assert low > 0
        assert abs(int(low) - int(high)) <= 4  # centred
    assert min(margins[0][0] / height, margins[1][0] / width) == pytest.approx(0.08, abs=0.03)


def test_a_mirrored_clip_is_the_mirrored_drawing_with_sides_swapped():
    points = clip([0.4, 0.2])
    sides = {"left": "right", "right": "left"}
    pictures, mirrored = drawn(points), drawn(mirror(points, BODY_25, 540))
    same = ((pictures[:, :, ::-1] > 0).any(axis=3)) == (mirrored > 0).any(axis=3)
    assert same.mean() > 0.999
    shin = next(limb for limb in BODY_25.limbs if limb.end == "left_ankle")
    other = next(limb for limb in BODY_25.limbs if limb.end == f"{sides['left']}_ankle")
    row, column = middle_of(points[0], shin)
    assert mirrored[0, row, 539 - column] == pytest.approx(0.925 * np.array(other.colour), abs=1)


def test_whole_picture():
    assert fit_picture(960, 540, 480, 270) == View(0.5, 0.5, 0.5)  # two pixels become one
    view = fit_picture(1920, 1080, 400, 300)  # centred: the middle stays the middle
    assert view.scale == pytest.approx(400 / 1920)
    assert (1079 / 2 - view.x0) * view.scale == pytest.approx(299 / 2)
    assert (1919 / 2 - view.y0) * view.scale == pytest.approx(399 / 2)


def test_joints_far_outside_do_no_harm():
    points = clip(np.zeros(3))
    points[1, BODY_25.indices["left_knee"], :2] = 1e5, -1e5
    assert len(drawn(points)) == 3
    rest = np.delete(np.arange(25), BODY_25.indices["left_knee"])
    scale = fit_person(points[:, rest], 112, 112).scale
    assert fit_person(points, 112, 112).scale < scale
    many = np.concatenate([points, clip(np.zeros(60))])  # one of many does not shrink the rest
    assert fit_person(many, 112, 112).scale == pytest.approx(scale, rel=0.1)


@pytest.mark.parametrize(
    ("points", "size"), [(np.zeros((3, 18, 3)), (9, 9)), (pose(), (9, 9)), (pose()[None], (0, 9))]
)
def test_what_cannot_be_drawn(points, size):
    with pytest.raises(InputError, match="Expected"):
        next(draw_clip(points, *size))


def test_view_that_shows_nothing():
    with pytest.raises(InputError, match="scale above 0"):
        View(0, 0, 0)


@pytest.mark.data
def test_real_people_are_drawn_upright_and_whole():
    if not REAL.is_dir():
        pytest.skip("needs the keypoints in ../shared/data/openpose")
    patient = select_patient(read_openpose(REAL / "cam1_json", fps=60))
    pictures = list(draw_clip(patient.points, 200, 150))
    assert len(pictures) == 100
    drawn_share = np.array([(p > 0).any(axis=2).mean() for p in pictures])
    assert drawn_share.min() > 0.01
    head, feet = pictures[0][:60].any(), pictures[0][-100:].any()
    assert head
    assert feet
