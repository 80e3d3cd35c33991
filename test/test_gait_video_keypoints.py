"""Keypoints of leg agility from a video: whose they are, which are missing; without networks."""

import numpy as np
import pytest
from cines import write_video
from keypoint_clips import pose, taps

from medvial.errors import InputError
from medvial.gait.blazepose import Circle, Pose, suppress
from medvial.gait.skeletons import BLAZEPOSE_33, BODY_25
from medvial.gait.video_keypoints import body25_of_video

HEIGHT, WIDTH = 200, 300


def seated(x, scale, left=0.0, y=HEIGHT / 2):
    """(33, 3) of somebody whose hips are at x and y, with the left knee raised, in trunks."""
    body = pose()
    body[:, :2] = (body[:, :2] - (270, 500)) * scale + (x, y)
    trunk = 160 * scale
    points = np.tile(body[BODY_25.indices["nose"]], (33, 1))
    for name, place in BLAZEPOSE_33.indices.items():
        if name in BODY_25.indices:
            points[place] = body[BODY_25.indices[name]]
    points[BLAZEPOSE_33.indices["left_knee"], 1] -= left * trunk
    points[:, 2] = 0.9
    return points


class FakePose:
    """Finds people who are where `where(frame number)` says; the number is a pixel's value."""

    def __init__(self, where):
        self.where = where

    def detect_in(self, frame, regions, threshold=0.5):
        inside = [
            self._circle(person)
            for x0, y0, x1, y1 in regions
            for person in self._people(frame)
            if x0 <= person[24, 0] < x1 and y0 <= person[24, 1] < y1
        ]
        return suppress(inside)

    def pose(self, frame, circle):
        people = sorted(self._people(frame), key=lambda p: abs(p[24, 0] - circle.x))
        if not people or abs(people[0][24, 0] - circle.x) > circle.radius:
            return Pose(seated(circle.x, 0.1), np.zeros((33, 3)), 0.0, circle)
        return Pose(people[0], np.zeros((33, 3)), 0.98, self._circle(people[0]))

    def _people(self, frame):
        return self.where(round(int(frame[0, 0, 0]) / 2))

    def _circle(self, person):
        x, y = person[[23, 24], :2].mean(axis=0)
        return Circle(float(x), float(y), float(np.ptp(person[:, 1])) * 0.6, 0.0, 0.9)


def numbered(path, count, **options):
    frames = np.full((count, HEIGHT, WIDTH, 3), 30, np.uint8)
    frames[:, :2, :2] = (2 * np.arange(count))[:, None, None, None]
    return write_video(path, frames, rate=30, **options)


def test_the_patient_is_who_moves_the_legs_not_who_is_larger(tmp_path):
    heights = taps((0.5,) * 5)

    def where(number):
        return [seated(80, 0.35), seated(220, 0.28, left=heights[number])]

    found = body25_of_video(numbered(tmp_path / "a.mkv", len(heights)), FakePose(where))
    assert found.points.shape == (len(heights), 25, 3)
    assert found.points[:, BODY_25.indices["mid_hip"], 0] == pytest.approx(220, abs=1)
    knee = found.points[:, BODY_25.indices["left_knee"], 1]
    assert knee.max() - knee == pytest.approx(heights * 160 * 0.28, abs=0.01)
    assert found.times_s == pytest.approx(np.arange(len(heights)) / 30, abs=1e-3)
    assert found.notes == ("2 people were followed; the patient is in 100% of the frames",)


def test_two_who_move_alike_are_told(tmp_path):
    heights = taps((0.5,) * 4)

    def where(number):
        return [seated(x, 0.3, left=heights[number]) for x in (80, 220)]

    found = body25_of_video(numbered(tmp_path / "a.mkv", len(heights)), FakePose(where))
    assert "another person could as well be the patient" in found.notes[-1]


def test_hidden_joints_and_those_beyond_the_picture_are_missing(tmp_path):
    def where(number):
        person = seated(140, 0.4, y=140)  # the feet are below the picture
        person[BLAZEPOSE_33.indices["left_knee"], 2] = 0.2
        return [person]

    found = body25_of_video(numbered(tmp_path / "a.mkv", 30), FakePose(where))
    missing = found.points[..., 2] == 0
    names = {name for name, place in BODY_25.indices.items() if missing[:, place].all()}
    assert names == {
        "left_knee", "left_small_toe", "right_small_toe",
        *(f"{side}_{part}" for side in ("left", "right") for part in ("ankle", "big_toe", "heel")),
    }  # fmt: skip
    assert np.isnan(found.points[missing][:, :2]).all()


def test_frames_without_the_patient_are_empty_and_counted(tmp_path):
    def where(number):
        return [] if 30 <= number < 45 else [seated(140, 0.3)]

    found = body25_of_video(numbered(tmp_path / "a.mkv", 75), FakePose(where))
    seen = (found.points[..., 2] > 0).any(axis=1)
    assert seen.tolist() == [not 30 <= number < 45 for number in range(75)]
    assert found.notes == ("the patient is in 80% of the frames",)


def test_times_are_those_of_the_file(tmp_path):
    pts = [*range(0, 1000, 40), *range(1000, 2000, 20)]
    path = numbered(tmp_path / "a.mkv", len(pts), pts=pts)
    found = body25_of_video(path, FakePose(lambda number: [seated(140, 0.3)]))
    assert found.times_s == pytest.approx(np.array(pts) / 1000, abs=1e-3)


def test_nobody_is_an_error(tmp_path):
    with pytest.raises(InputError, match="expected a patient, found nobody"):
        body25_of_video(numbered(tmp_path / "a.mkv", 20), FakePose(lambda number: []))
