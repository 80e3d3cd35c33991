"""The container's program of gait: every form of input, its outputs, its reports, bad files."""

import json
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import av
import numpy as np
import pytest
import SimpleITK
from cines import moving, write_video
from gait_cases import (
    VIDEO,
    Container,
    brightness_network,
    say_inputs,
    write_gait_model,
    write_video_model,
)
from keypoint_clips import clip, frame_json, frame_name, pose, taps, write_zip

from medvial.errors import InputError
from medvial.gait.predictor import Predictor
from medvial.gait.skeletons import BODY_25
from medvial.gait.walking.kinematics import DEFINITIONS
from medvial_training.phantoms.gait_openpose import make_leg_agility
from medvial_training.phantoms.gait_video import make_walker

ROOT = Path(__file__).parent.parent
ALGORITHM = ROOT / "algorithms" / "gait"
WALK, STACK = "walking-video.mp4", "images/walking/walk.mha"
AGILITY, ZIP = "leg-agility-video.mp4", "leg-agility-openpose.zip"
H264 = {"codec": "libx264", "pix_fmt": "yuv420p", "rate": 30}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_gait_model(tmp_path_factory.mktemp("model") / "gait")


@pytest.fixture(scope="module")
def loaded(model, tmp_path_factory):
    return Container(ALGORITHM, model, tmp_path_factory.mktemp("case"))


@pytest.fixture
def container(loaded, tmp_path):
    return loaded.use(tmp_path)


@pytest.fixture(scope="module")
def walk():
    return make_walker(11, asd=True, clip_s=2.6, bystander=False)


@pytest.fixture(scope="module")
def room(walk):
    """(T, H, W, 3): the phantom's room without anybody, noise and all."""
    empty = np.median(walk.frames, axis=0)
    noise = np.random.default_rng(0).normal(0, 1, (30, *empty.shape))
    return np.clip(empty + noise, 0, 255).astype(np.uint8)


def tapping(taps_left=(0.5,) * 10, pause_s=1.0):
    """(T, 1, 25, 3) left taps, then right ones."""
    left, right = taps(taps_left), taps((0.5,) * 10)
    gap = np.zeros(round(pause_s * 30))
    left, right = np.r_[left, gap, 0 * right], np.r_[0 * left, gap, right]
    return clip(left, right)[:, None]


# --- walking ---


def test_a_walk_becomes_a_probability_and_a_report(container, walk):
    write_video(container.place(WALK), walk.frames, **H264)
    outputs = container.run()
    report = outputs["walking-report"]
    said = report["classification"]
    assert outputs["adult-spinal-deformity-probability"] == said["probability"]
    assert sum(said["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert said["probabilities"]["ASD"] == said["probability"]
    assert said["class"] == ("ASD" if said["probability"] >= 0.5 else "non-ASD")
    clips = said["clips"]
    assert clips["count"] == len(clips["starts_s"]) == len(clips["probabilities"]) == 4
    assert np.mean(clips["probabilities"]) == pytest.approx(said["probability"], abs=1e-5)
    low, high = clips["interval"]
    assert min(clips["probabilities"]) <= low <= high <= max(clips["probabilities"])
    quality = report["quality"]
    assert quality["usable"] is True
    assert quality["direction"] == walk.facing
    assert quality["sampled"] == 13
    assert quality["found"] >= 10
    assert report["video"] | {"kind": None} == {
        "kind": None, "frames": 78, "frames_per_second": 30.0, "frame_rate_known": True,
        "height": 180, "width": 320, "notes": [],
    }  # fmt: skip
    assert "mean nothing for patients" in report["model"]["warning"]


def test_kinematics_have_names_units_and_values_near_the_truth(container, walk):
    write_video(container.place(WALK), walk.frames, **H264)
    found = container.run()["walking-report"]["kinematics"]
    assert set(found) == set(DEFINITIONS)
    assert all(each["unit"] and each["definition"] for each in found.values())
    assert found["cadence"]["value"] == pytest.approx(walk.cadence, rel=0.1)
    assert found["step_time"]["value"] == pytest.approx(60 / walk.cadence, rel=0.1)


def test_what_cannot_be_measured_says_why(container, walk):
    write_video(container.place(WALK), walk.frames[:24], **H264)  # .8 s
    report = container.run()["walking-report"]
    for each in report["kinematics"].values():
        assert each["value"] is None
        assert "less than 1 s" in each["unavailable"]
    assert any("in sight for" in warning for warning in report["quality"]["warnings"])


def test_a_stack_gives_what_the_video_gives(container, walk):
    frames = walk.frames[:60:2]
    write_video(container.place(WALK), frames, codec="ffv1", pix_fmt="bgr0", rate=15)
    by_video = container.run()
    container.place(WALK).unlink()
    image = SimpleITK.GetImageFromArray(frames, isVector=True)
    image.SetSpacing((1.0, 1.0, 1000 / 15))
    SimpleITK.WriteImage(image, str(container.place(STACK)), useCompression=True)
    by_stack = container.run()
    for name in ("classification", "kinematics"):
        assert by_stack["walking-report"][name] == by_video["walking-report"][name]
    assert by_stack["walking-report"]["video"]["kind"] == "mha"


def test_an_avi_of_another_rate_is_read(container, walk):
    write_video(container.input / "walk.avi", walk.frames[::3], codec="mjpeg",
                pix_fmt="yuvj420p", rate=10)  # fmt: skip
    (container.input / "walk.avi").rename(container.place(WALK))
    report = container.run()["walking-report"]
    assert report["video"]["kind"] == "avi"
    assert report["quality"]["usable"]


def test_three_people_are_told_and_not_to_be_trusted(container, walk):
    frames = np.concatenate([walk.frames, walk.frames[:, :, ::-1], walk.frames], axis=2)
    write_video(container.place(WALK), frames[:60], **H264)
    quality = container.run()["walking-report"]["quality"]
    assert quality["other_people"] == 2
    assert quality["usable"] is False
    assert any(warning.startswith("2 more could be the patient") for warning in quality["warnings"])


def test_something_that_moves_is_followed_and_said_to_be_nobody(container, room):
    frames = room.copy()
    for t, frame in enumerate(frames):
        frame[60:150, 20 + 9 * t : 50 + 9 * t] = (250, 240, 60)
    write_video(container.place(WALK), frames, codec="ffv1", pix_fmt="bgr0", rate=15)
    report = container.run()["walking-report"]
    assert report["quality"]["method"] == "motion"
    assert report["quality"]["usable"] is False
    assert "No person was recognised" in report["quality"]["warnings"][0]
    assert all(each["value"] is None for each in report["kinematics"].values())


def test_nobody_is_refused(container, room):
    write_video(container.place(WALK), room, **H264)
    assert "expected a person who walks, found nobody" in container.failure()


def test_one_frame_is_refused(container, walk):
    write_video(container.place(WALK), walk.frames[30:31], **H264)
    assert "expected a walking video, got a single frame" in container.failure()


def test_two_pixels_are_refused(container):
    write_video(container.place(WALK), moving(6, 2, 2), codec="ffv1")
    assert "at least 16 x 16 pixels, got 2 x 2" in container.failure()


def audio_only(path):
    with av.open(str(path), "w") as file:
        stream = file.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 8000
        file.mux(stream.encode(frame))
        file.mux(stream.encode())


def truncated(path):
    frames = np.random.default_rng(0).integers(0, 255, (20, 96, 128, 3), np.uint8)
    write_video(path, frames, **H264)
    path.write_bytes(path.read_bytes()[:3000])  # its index is at the end


@pytest.mark.parametrize("name", [WALK, AGILITY])
@pytest.mark.parametrize(
    ("write", "message"),
    [
        (audio_only, "expected a video with pictures, got one with audio only"),
        (truncated, "damaged, cut off"),
        (lambda path: path.write_bytes(b""), "got an empty file"),
        (lambda path: path.write_bytes(b"PK\3\4" + bytes(600)), "got a ZIP archive"),
    ],
)
def test_what_is_no_video_is_refused_with_the_reason(container, name, write, message):
    write(container.place(name))
    assert message in container.failure()


def test_the_end_of_a_walk_that_is_cut_off_is_missing(container, walk):
    path = container.input / "walk.avi"
    write_video(path, walk.frames, codec="mjpeg", pix_fmt="yuvj420p", rate=30)
    path.write_bytes(path.read_bytes()[: int(0.7 * path.stat().st_size)])
    path.rename(container.place(WALK))
    report = container.run()["walking-report"]
    assert report["quality"]["in_sight_s"][1] < 2.0
    assert report["classification"]["clips"]["count"] >= 1


@pytest.mark.slow
def test_ten_minutes_take_less_than_a_gigabyte(model, walk, tmp_path):
    (tmp_path / "input").mkdir()
    there_and_back = np.concatenate([walk.frames, walk.frames[::-1]])
    with av.open(str(tmp_path / "input" / WALK), "w") as file:
        stream = file.add_stream("libx264", rate=30, options={"preset": "ultrafast"})
        stream.height, stream.width, stream.pix_fmt = *walk.frames.shape[1:3], "yuv420p"
        for number in range(18_000):
            pixels = there_and_back[number % len(there_and_back)]
            file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        file.mux(stream.encode())
    code = (
        "import re, runpy, sys; program = sys.argv[1]; sys.argv = sys.argv[1:]\n"
        "try: runpy.run_path(program, run_name='__main__')\n"
        "except SystemExit as end: assert end.code == 0\n"
        # Not ru_maxrss, which counts the process that started this one, too.
        "print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])"
    )
    command = [sys.executable, "-c", code, ALGORITHM / "process.py", f"--model={model}"]
    command += [f"--input={tmp_path / 'input'}", f"--output={tmp_path / 'output'}"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=1200)
    assert (result.returncode, result.stderr) == (0, "")
    assert int(result.stdout.split()[-1]) < 1_000_000  # kB


# --- leg agility ---


def test_both_legs_are_rated_from_keypoints(container):
    write_zip(container.place(ZIP), tapping())
    outputs = container.run()
    report = outputs["leg-agility-report"]
    assert (outputs["leg-agility-left"], outputs["leg-agility-right"]) == (1, 1)
    for leg in ("left", "right"):
        said = report[leg]
        assert (said["score"], said["unrated"]) == (1, [])
        assert sum(said["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert set(said["probabilities"]) == {"0", "1", "3"}
        assert said["kinematics"]["taps"] == {"value": 10, "unit": ""}
        assert said["kinematics"]["frequency"]["value"] == pytest.approx(2, rel=0.02)
        assert len(said["taps"]) == 10
        assert {each["criterion"] for each in said["criteria"]} >= {"slowing", "decrement"}
        assert len(report["signals"][leg]) == pytest.approx(
            30 * report["recording"]["duration_s"] + 1, abs=1
        )
    assert {each["name"] for each in report["definitions"]} >= {"taps", "amplitude", "decrement"}
    assert any("30 per second was taken" in note for note in report["recording"]["notes"])


def test_an_unrated_leg_is_null_in_the_report_and_a_code_for_the_platform(container):
    write_zip(container.place(ZIP), clip(taps((0.5,) * 10))[:, None])
    outputs = container.run()
    assert (outputs["leg-agility-left"], outputs["leg-agility-right"]) == (1, -1)
    said = outputs["leg-agility-report"]["right"]
    assert said["score"] is None
    assert said["probabilities"] is None
    assert [reason["name"] for reason in said["unrated"]] == ["no-taps"]
    assert outputs["leg-agility-report"]["unrated_value"] == -1


def test_two_legs_at_rest_are_unrated_and_no_failure(container):
    write_zip(container.place(ZIP), clip(np.zeros(150))[:, None])
    outputs = container.run()
    assert (outputs["leg-agility-left"], outputs["leg-agility-right"]) == (-1, -1)


def test_the_frame_rate_changes_the_tempo(container):
    write_zip(container.place(ZIP), tapping())
    container.place("frames-per-second.json").write_text("60.0")
    report = container.run()["leg-agility-report"]
    assert report["left"]["kinematics"]["frequency"]["value"] == pytest.approx(4, rel=0.05)
    assert not any("per second was taken" in note for note in report["recording"]["notes"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('"30"', "as a number"),
        ("0", "above 0"),
        ("1" + 400 * "0", "got a number of 401 digits"),
    ],
)
def test_a_frame_rate_that_is_none_is_refused(container, text, message):
    write_zip(container.place(ZIP), tapping())
    container.place("frames-per-second.json").write_text(text)
    assert message in container.failure()


def test_an_archive_that_the_platform_has_unpacked_is_read(container):
    for number, frame in enumerate(tapping()):
        container.place(frame_name(number)).write_text(frame_json(frame))
    say_inputs(container.input, "leg-agility-openpose")
    outputs = container.run()
    assert (outputs["leg-agility-left"], outputs["leg-agility-right"]) == (1, 1)


def test_a_video_is_rated_as_its_keypoints(container):
    phantom = make_leg_agility(
        5, 0, None, height=320, width=180, fps=15.0, second_person=False, yaw_deg=20.0
    )
    frames = np.stack(list(phantom.film()))
    write_video(container.place(AGILITY), frames, **H264 | {"rate": 15})
    outputs = container.run()
    report = outputs["leg-agility-report"]
    assert report["recording"]["kind"] == "mp4"
    assert (outputs["leg-agility-left"], outputs["leg-agility-right"]) == (1, -1)
    found = [tap["peak_s"] for tap in report["left"]["taps"]]
    assert found == pytest.approx(phantom.trials["left"].peaks_s, abs=0.1)


def test_a_video_without_anybody_is_refused(container, room):
    write_video(container.place(AGILITY), room, **H264)
    assert "expected a patient, found nobody" in container.failure()


def archive(path, entries):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in entries:
            file.writestr(name, data)


FRAME = (frame_name(0), frame_json(pose()[None]))


def bomb(path):
    archive(path, [FRAME, (frame_name(1), b" " * 900_000)])


def a_million(path):
    archive(path, [FRAME])
    data = bytearray(path.read_bytes())
    struct.pack_into("<HH", data, len(data) - 14, 65535, 65535)
    path.write_bytes(data)


def without_legs(path):
    points = clip(taps((0.5,) * 10))
    for name, place in BODY_25.indices.items():
        if any(part in name for part in ("knee", "ankle", "toe", "heel")):
            points[:, place] = (np.nan, np.nan, 0)
    write_zip(path, points[:, None])


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (bomb, "more than 250 times its size"),
        (a_million, "at most 20000 files, got 65535"),
        (lambda p: archive(p, [("../" + FRAME[0], FRAME[1])]), "names inside of the archive"),
        (lambda p: archive(p, [("/" + FRAME[0], FRAME[1])]), "names inside of the archive"),
        (lambda p: archive(p, [(FRAME[0], "people")]), "not JSON, or cut off"),
        (lambda p: archive(p, [(FRAME[0], '{"people": 3}')]), "no list of 'people'"),
        (lambda p: archive(p, [(FRAME[0], FRAME[1].replace("0.9", "NaN"))]), "NaN where a number"),
        (lambda p: write_zip(p, pose()[None, None]), "the clip is 0.0 s long"),
        (without_legs, "the left knee is missing in 100%"),
        (lambda p: write_zip(p, clip(np.zeros(90))[:, None, :15]), "18 or 25 or 33 joints"),
        (lambda p: p.write_bytes(b"no archive"), "a file that is neither"),
        (lambda p: archive(p, []), "none among 0 files"),
    ],
)
def test_bad_keypoints_are_refused_with_the_reason(container, write, message):
    write(container.place(ZIP))
    assert message in container.failure()


# --- models ---


def test_a_model_of_video_classification_gives_the_probability_of_each_class(tmp_path):
    container = Container(ALGORITHM, write_video_model(tmp_path / "model"), tmp_path)
    frames = np.full((20, 60, 90, 3), 200, np.uint8)
    write_video(container.place("video.mp4"), frames, codec="ffv1", pix_fmt="bgr0", rate=20)
    found = container.run()["class-probabilities"]
    logits = np.arange(3) * 8 * (200 / 255 - 0.5)
    expected = np.exp(logits) / np.exp(logits).sum()
    assert list(found) == list(VIDEO.labels)
    assert list(found.values()) == pytest.approx(expected, abs=1e-4)


def test_a_case_that_the_model_is_not_for_is_refused_by_name(container, tmp_path):
    write_video(container.place("video.mp4"), moving(), codec="ffv1")
    assert "a model with task video" in container.failure()
    assert "got one of walking and leg agility" in container.failure()
    (tmp_path / "b").mkdir()
    other = Container(ALGORITHM, write_video_model(tmp_path / "model"), tmp_path / "b")
    write_video(other.place(WALK), moving(), codec="ffv1")
    assert "the system walking of gait" in other.failure()


def test_one_system_alone_is_a_model(tmp_path):
    model = write_gait_model(tmp_path / "model", walking=None)
    container = Container(ALGORITHM, model, tmp_path)
    write_zip(container.place(ZIP), tapping())
    assert container.run()["leg-agility-left"] == 1
    container.place(ZIP).unlink()
    write_video(container.place(WALK), moving(), codec="ffv1")
    assert "the system walking of gait" in container.failure()


def test_a_model_of_patients_does_not_warn_of_phantoms(tmp_path):
    model = write_gait_model(tmp_path / "model", walking=None, phantom=False)
    container = Container(ALGORITHM, model, tmp_path)
    write_zip(container.place(ZIP), tapping())
    assert container.run()["leg-agility-report"]["model"]["warning"] is None


def test_a_model_of_another_task_is_refused(tmp_path):
    with pytest.raises(InputError, match="Expected a model of gait or video"):
        Predictor(ROOT / "algorithms" / "echonet" / "model")


def test_the_formula_of_the_test_network_is_right(tmp_path):
    import onnxruntime

    brightness_network(tmp_path / "net.onnx", 2, mean=0.4, std=0.2)
    session = onnxruntime.InferenceSession((tmp_path / "net.onnx").read_bytes())
    clips = np.full((3, 3, 2, 4, 5), (0.9 - 0.4) / 0.2, np.float32)
    (found,) = session.run(None, {"input": clips})
    assert found == pytest.approx(np.tile([0, 8 * 0.4], (3, 1)), abs=1e-5)


# --- the program as a process, and its image ---


def run_program(*arguments):
    command = [sys.executable, ALGORITHM / "process.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_a_case_runs_without_a_word_on_stderr(model, walk, tmp_path):
    (tmp_path / "input").mkdir()
    write_video(tmp_path / "input" / WALK, walk.frames, **H264)
    result = run_program(
        f"--model={model}", f"--input={tmp_path / 'input'}", f"--output={tmp_path / 'output'}"
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("Probability of ASD ")
    assert json.loads((tmp_path / "output" / "walking-report.json").read_text())


def test_a_failure_is_one_line_on_stderr(model, tmp_path):
    (tmp_path / "input").mkdir()
    archive(tmp_path / "input" / ZIP, [("../" + FRAME[0], FRAME[1])])
    result = run_program(
        f"--model={model}", f"--input={tmp_path / 'input'}", f"--output={tmp_path / 'output'}"
    )
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("InputError: ")


def test_predict_asks_which_input_a_video_is(model, walk, tmp_path):
    path = write_video(tmp_path / "walk.avi", walk.frames[::2], codec="mjpeg",
                       pix_fmt="yuvj420p", rate=15)  # fmt: skip
    command = [sys.executable, "-m", "medvial_rehearsal.cli", "predict", "gait", path]
    command += ["--model", model, "--out", tmp_path / "out"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 1
    assert "say which it is with --as-input" in result.stderr
    command += ["--as-input", "walking-video"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "out" / "walk" / "walking-report.json").is_file()


def test_the_image_is_that_of_every_task_and_the_networks_that_find_people():
    common = (ALGORITHM.parent / "Dockerfile").read_text().splitlines()
    own = (ALGORITHM / "Dockerfile").read_text().splitlines()
    rest = iter(own)
    missing = [line for line in common[2:] if line not in rest]  # in this order
    assert missing == []
    sockets = json.loads((ALGORITHM / "sockets.json").read_text())
    place = "/opt/venv/share/medvial/blazepose"
    assert f"COPY --from=blazepose /opt/blazepose {place}" in own
    assert all(path.startswith(place + "/") for path in sockets["weights"])
