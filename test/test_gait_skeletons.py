"""Orders of joints: names, remaps, mirror images."""

import numpy as np
import pytest
from keypoint_clips import pose

from medvial.errors import InputError
from medvial.gait.skeletons import (
    BLAZEPOSE_33,
    BODY_25,
    BODY_25B,
    COCO_18,
    SKELETONS,
    clean,
    find_skeleton,
    mirror,
    remap,
)


@pytest.mark.parametrize(
    ("skeleton", "places"),
    [  # as the documentation of each numbers them
        (BODY_25, {"neck": 1, "left_wrist": 7, "mid_hip": 8, "right_knee": 10, "left_knee": 13}),
        (BODY_25, {"left_ear": 18, "left_big_toe": 19, "right_heel": 24}),
        (BODY_25B, {"left_eye": 1, "right_shoulder": 6, "left_knee": 13, "right_knee": 14}),
        (BODY_25B, {"upper_neck": 17, "head_top": 18, "left_big_toe": 19, "right_heel": 24}),
        (COCO_18, {"neck": 1, "right_hip": 8, "right_knee": 9, "left_knee": 12, "left_ear": 17}),
        (BLAZEPOSE_33, {"left_eye": 2, "left_shoulder": 11, "left_hip": 23, "right_knee": 26}),
        (BLAZEPOSE_33, {"left_heel": 29, "right_heel": 30, "left_big_toe": 31}),
    ],
)
def test_places_of_joints(skeleton, places):
    assert {name: skeleton.indices[name] for name in places} == places


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=str)
def test_a_skeleton_is_consistent(skeleton):
    count = {"BODY_25": 25, "BODY_25B": 25, "COCO-18": 18, "BLAZEPOSE-33": 33}[skeleton.name]
    assert len(skeleton.joints) == len(set(skeleton.joints)) == count
    assert [skeleton.mirror[i] for i in skeleton.mirror] == list(range(count))
    assert len({limb.colour for limb in skeleton.limbs}) == len(skeleton.limbs)
    assert find_skeleton(skeleton.name.lower()) is skeleton


def test_body_25_has_its_24_limbs():
    assert len(BODY_25.limbs) == 24
    assert {joint for limb in BODY_25.limbs for joint in (limb.start, limb.end)} == set(
        BODY_25.joints
    )


def test_unknown_skeleton():
    with pytest.raises(InputError, match=r"one of the skeletons BODY_25, .*got 'HALPE'"):
        find_skeleton("HALPE")


@pytest.mark.parametrize("other", [BODY_25B, COCO_18, BLAZEPOSE_33], ids=lambda s: s.name)
def test_there_and_back(other):
    points = np.tile(pose(), (3, 2, 1, 1))
    back = remap(remap(points, BODY_25, other), other, BODY_25)
    kept = [i for i, joint in enumerate(BODY_25.joints) if joint in other.joints]
    made = [BODY_25.indices["neck"], BODY_25.indices["mid_hip"]]
    np.testing.assert_allclose(back[..., kept, :], points[..., kept, :])
    np.testing.assert_allclose(back[..., made, :], points[..., made, :])
    lost = sorted(set(range(25)) - set(kept) - set(made))
    assert np.isnan(back[..., lost, :2]).all()
    assert (back[..., lost, 2] == 0).all()


def test_a_middle_is_as_sure_as_its_less_sure_side_and_missing_without_one():
    points = remap(pose(), BODY_25, BODY_25B)
    points[BODY_25B.indices["left_shoulder"], 2] = 0.3
    points[BODY_25B.indices["right_hip"]] = np.nan, np.nan, 0
    body = remap(points, BODY_25B, BODY_25)
    assert body[BODY_25.indices["neck"], 2] == pytest.approx(0.3)
    assert np.isnan(body[BODY_25.indices["mid_hip"], :2]).all()
    assert body[BODY_25.indices["mid_hip"], 2] == 0


def test_mirror_swaps_sides_and_is_its_own_inverse():
    points = pose()
    points[BODY_25.indices["left_knee"], :2] = 400, 410
    image = mirror(points, BODY_25, width=540)
    assert image[BODY_25.indices["right_knee"], :2] == pytest.approx([139, 410])
    np.testing.assert_allclose(mirror(image, BODY_25, 540), points)
    assert points[BODY_25.indices["left_knee"], 0] == 400  # the original is untouched


def test_missing_joints_are_made_plain():
    raw = np.array([[0, 0, 0], [5, 0, 0.4], [7, 8, 0], [0, 0, 0.9], [-3, 9, 1.04]])
    result = clean(raw)
    assert np.isnan(result[[0, 2, 3], :2]).all()
    assert result[:, 2].tolist() == [0, 0.4, 0, 0, 1]
    assert result[4, :2].tolist() == [-3, 9]


def test_wrong_shape():
    with pytest.raises(InputError, match=r"BODY_25 keypoints of shape .*got \(18, 3\)"):
        mirror(np.zeros((18, 3)), BODY_25, 10)
