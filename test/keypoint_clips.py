"""Keypoints of a seated person whose knees move as a formula says, and OpenPose's files of them."""

import json
import zipfile

import numpy as np

from medvial.gait.skeletons import BODY_25

TRUNK_PX = 160.0
FPS = 30.0
X0, HIP_Y, KNEE_Y = 270.0, 500.0, 520.0  # of a picture 540 wide and 960 high
OFFSETS = {  # of one side, in pixels from the middle of the hips, x away from the middle
    "shoulder": (45, -TRUNK_PX),
    "elbow": (60, -90),
    "wrist": (45, -20),
    "hip": (30, 0),
    "knee": (45, KNEE_Y - HIP_Y),
    "ankle": (47, 160),
    "big_toe": (55, 175),
    "small_toe": (62, 175),
    "heel": (45, 170),
    "eye": (8, -235),
    "ear": (18, -230),
}


def pose():
    """(25, 3) at rest, facing the camera: the right side is on the left of the picture."""
    points = np.ones((25, 3))
    middle = {"nose": (0, -225), "neck": (0, -TRUNK_PX), "mid_hip": (0, 0)}
    for name, place in BODY_25.indices.items():
        side, _, part = name.partition("_")
        sign = {"left": 1, "right": -1}.get(side, 0)
        x, y = OFFSETS[part] if sign else middle[name]
        points[place] = X0 + sign * x, HIP_Y + y, 0.9
    return points


def clip(left, right=None):
    """(T, 25, 3) with each knee, ankle and foot raised by that many trunk lengths, (T,)."""
    left = np.asarray(left, float)
    right = np.zeros_like(left) if right is None else np.asarray(right, float)
    points = np.tile(pose(), (len(left), 1, 1))
    for side, height in (("left", left), ("right", right)):
        for part in ("knee", "ankle", "big_toe", "small_toe", "heel"):
            points[:, BODY_25.indices[f"{side}_{part}"], 1] -= height * TRUNK_PX
    return points


def times(seconds, fps=FPS):
    return np.arange(round(seconds * fps) + 1) / fps


def taps(amplitudes, cycle_s=0.5, pauses=None, lead_s=0.5, fps=FPS):
    """Heights (T,) of taps (1 - cos) / 2, one after the other.

    `pauses`: seconds at rest after tap k, by k from 0.
    """
    pauses = pauses or {}
    starts, now = [], lead_s
    for k in range(len(amplitudes)):
        starts.append(now)
        now += cycle_s + pauses.get(k, 0.0)
    t = times(now + lead_s, fps)
    height = np.zeros_like(t)
    for start, amplitude in zip(starts, amplitudes, strict=True):
        inside = (t >= start) & (t < start + cycle_s)
        height[inside] = amplitude * (1 - np.cos(2 * np.pi * (t[inside] - start) / cycle_s)) / 2
    return height


def frame_json(people, key="pose_keypoints_2d"):
    """One frame of OpenPose's output; `people` is (P, K, 3) with NaN for missing joints."""
    listed = [np.nan_to_num(np.asarray(person)).reshape(-1).round(3).tolist() for person in people]
    return json.dumps({"version": 1.3, "people": [{"person_id": [-1], key: p} for p in listed]})


def frame_name(number, clip_name="clip"):
    return f"{clip_name}_{number:012d}_keypoints.json"


def write_folder(folder, people, numbers=None, **options):
    """`people`: (T, P, K, 3) or a list of (P, K, 3)."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in zip(numbers or range(len(people)), people, strict=True):
        (folder / frame_name(number)).write_text(frame_json(frame, **options))
    return folder


def write_zip(path, people, folder=""):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, frame in enumerate(people):
            archive.writestr(folder + frame_name(number), frame_json(frame))
    return path
