"""BlazePose on real clips: the walker is followed, and not somebody else."""

import csv
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from cines import write_video

from medvial.gait.blazepose import BlazePose, tiles
from medvial.gait.crop import CropOptions, crops
from medvial.gait.patient import overlap
from medvial.gait.person_quality import assess
from medvial.gait.track import as_box
from medvial.gait.tracker import follow
from medvial.video import open_cine

ROOT = Path(__file__).parent.parent
WALKING = ROOT.parent / "shared" / "data" / "walking"
DEMO = WALKING / "sports2d_demo.mp4"

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def blazepose():
    if not WALKING.is_dir():
        pytest.skip("needs the real clips in ../shared/data/walking")
    return BlazePose()


@pytest.fixture(scope="module")
def walker(blazepose):
    cine = open_cine(DEMO)
    return cine, follow(cine, blazepose)


@pytest.fixture(scope="module")
def cutout(blazepose):
    """The walker alone on the demo's 95th frame: (H, W, 3), about 200 x 440 pixels."""
    frames = enumerate(open_cine(DEMO))
    frame = next(frame for number, frame in frames if number == 95)
    return frame[500:950, 950:1180]


def test_the_walker_is_followed_in_all_marked_frames(walker):
    _, person = walker
    with (WALKING / "sports2d_walker_boxes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 30
    overlaps = {
        int(row["frame"]): overlap(
            as_box(person.boxes[int(row["frame"])]),
            tuple(float(row[key]) for key in ("x0", "y0", "x1", "y1")),
        )
        for row in rows
    }
    assert {frame: value for frame, value in overlaps.items() if value < 0.5} == {}
    assert np.mean(list(overlaps.values())) > 0.75


def test_the_other_people_are_reported_and_the_sheet_of_quality_is_clean(walker):
    cine, person = walker
    quality = assess(person, cine.info.notes)
    assert quality.method == "pose"
    assert quality.direction == "left"
    assert quality.found_part > 0.9
    assert quality.other_people >= 1
    assert quality.warnings == ()


def test_the_man_on_the_roof_can_be_asked_for(blazepose):
    person = follow(open_cine(DEMO), blazepose, patient_box=(590, 80, 720, 460), patient_time_s=0)
    assert overlap(as_box(person.boxes[0]), (590, 80, 720, 460)) > 0.5
    assert person.boxes[90, 3] < 600


def test_crops_hold_the_whole_walker(walker):
    cine, person = walker
    times, pictures = zip(*crops(cine, person, CropOptions(fps=10, size_px=96)), strict=True)
    assert {picture.shape for picture in pictures} == {(96, 96, 3)}
    assert np.diff(times) == pytest.approx(np.full(len(times) - 1, 0.1))


@pytest.mark.parametrize(
    ("name", "people"), [("single_cam01", 1), ("single_cam02", 1), ("multi_cam01", 2)]
)
def test_lab_clips_on_end(blazepose, name, people):
    cine = open_cine(WALKING / f"pose2sim_{name}.mp4")
    person = follow(cine, blazepose)
    assert person.height == 1920
    assert person.width in (1080, 1088)
    assert person.boxes.shape == (100, 4)
    quality = assess(person)
    assert quality.method == "pose"
    assert quality.found_part == 1
    assert 1 + quality.other_people >= people
    if people > 1:
        assert any("could be the patient" in text for text in quality.warnings)
    assert any("seen from the side" in text for text in quality.warnings)  # they balance


def test_a_small_person_is_found_in_tiles_and_not_on_the_whole_frame(blazepose, cutout):
    frame = np.full((1000, 1770, 3), 120, np.uint8)
    frame[700:980, 500:643] = cv2.resize(cutout, (143, 280), interpolation=cv2.INTER_AREA)
    found = blazepose.detect_in(frame, tiles(1000, 1770))
    best = max(found, key=lambda circle: blazepose.pose(frame, circle).presence)
    assert best.x == pytest.approx(571, abs=40)
    assert blazepose.pose(frame, best).presence > 0.9
    assert not any(abs(circle.x - 571) < 40 for circle in blazepose.detect(frame))


def test_a_person_lying_across_the_frame_has_landmarks_along_it(blazepose, cutout):
    frame = np.full((700, 900, 3), 100, np.uint8)
    frame[100:550, 300:530] = cutout
    upright = blazepose.pose(frame, blazepose.detect(frame)[0])
    turned = np.ascontiguousarray(np.rot90(frame, -1))  # head to the right
    lying = blazepose.pose(turned, blazepose.detect(turned)[0])
    assert lying.presence > 0.9
    expected = np.column_stack([699 - upright.points[:, 1], upright.points[:, 0]])
    assert np.median(np.abs(lying.points[:, :2] - expected)) < 15
    assert lying.world_m[0, 0] > 0.4  # the nose is to the right of the hips
    assert upright.world_m[0, 1] < -0.4  # and above them when upright


def moving_people(cutout, starts, speeds, seconds=4.0, fps=15):
    """Copies of the walker on a plain floor; start x in pixels, speed in pixels per second."""
    small = cv2.resize(cutout, (123, 240), interpolation=cv2.INTER_AREA)
    frames = np.full((round(seconds * fps), 360, 640, 3), 120, np.uint8)
    for t in range(len(frames)):
        for start, speed in zip(starts, speeds, strict=True):
            x = round(start + speed * t / fps)
            frames[t, 90:330, x : x + 123] = small
    return frames


def test_of_three_people_the_one_who_walks_is_followed(blazepose, cutout, tmp_path):
    frames = moving_people(cutout, (10, 270, 500), (0, -40, 0))
    path = write_video(tmp_path / "a.mp4", frames, codec="libx264", pix_fmt="yuv444p", rate=15)
    person = follow(open_cine(path), blazepose)
    middles = person.boxes[:, [0, 2]].mean(axis=1)
    assert middles[0] == pytest.approx(270 + 61, abs=25)
    assert middles[-1] == pytest.approx(270 + 61 - 40 * 59 / 15, abs=25)
    assert assess(person).other_people == 2


def test_nobody(blazepose, tmp_path):
    rng = np.random.default_rng(1)
    frames = np.repeat(rng.integers(0, 255, (1, 240, 320, 3), np.uint8), 30, axis=0)
    person = follow(open_cine(write_video(tmp_path / "a.avi", frames)), blazepose)
    assert person.method == "frame"
    assert "No person was found" in assess(person).warnings[0]


def test_a_tiny_video(blazepose, tmp_path):
    frames = np.full((20, 16, 18, 3), 50, np.uint8)
    person = follow(open_cine(write_video(tmp_path / "a.avi", frames)), blazepose)
    assert person.boxes.shape == (20, 4)


def test_a_truncated_video_is_followed_as_far_as_it_goes(blazepose, cutout, tmp_path):
    frames = moving_people(cutout, (20,), (90,), seconds=5)
    whole = write_video(tmp_path / "a.avi", frames, codec="mjpeg", pix_fmt="yuvj444p", rate=15)
    cut_off = tmp_path / "b.avi"
    cut_off.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    person = follow(open_cine(cut_off), blazepose)
    assert person.method == "pose"
    assert 1.0 < person.track.end_s < 4.5


def test_one_frame(blazepose, cutout, tmp_path):
    frames = moving_people(cutout, (300,), (0,))[:1]
    person = follow(open_cine(write_video(tmp_path / "a.avi", frames)), blazepose)
    assert person.method == "pose"
    assert overlap(as_box(person.boxes[0]), (300, 90, 423, 330)) > 0.5
    assert "one frame only" in assess(person).warnings[0]


MEMORY = """
import re, sys
from pathlib import Path
from medvial.gait.blazepose import BlazePose
from medvial.gait.crop import CropOptions, crops
from medvial.gait.tracker import follow
from medvial.video import open_cine

cine = open_cine(Path(sys.argv[1]))
person = follow(cine, BlazePose())
count = sum(1 for _ in crops(cine, person, CropOptions(fps=5, in_sight=False)))
peak_kb = re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]
print(count, person.method, int(peak_kb) / 1024)
"""


class Repeated:
    """One frame, many times."""

    def __init__(self, frame, count):
        self.frame, self.shape = frame, (count, *frame.shape)

    def __iter__(self):
        return iter([self.frame] * self.shape[0])


@pytest.mark.slow
def test_ten_minutes_take_less_than_a_gigabyte(blazepose, cutout, tmp_path):
    frames = Repeated(moving_people(cutout, (300,), (0,))[0], 3000)
    path = tmp_path / "long.mp4"
    write_video(path, frames, codec="libx264", pix_fmt="yuv420p", rate=5, preset="ultrafast")
    command = [sys.executable, "-c", MEMORY, str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    count, method, peak_mb = done.stdout.split()
    assert (int(count), method) == (3000, "pose")
    assert float(peak_mb) < 1000


def test_nothing_reaches_standard_error(blazepose):
    code = "from medvial.gait.blazepose import BlazePose; BlazePose()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
