"""The container's program of echonet: every form of cine, its outputs, its flags, bad files."""

import re
import subprocess
import sys
from pathlib import Path

import av
import cv2
import numpy as np
import pydicom.examples
import pytest
import SimpleITK
from cines import region, write_dicom, write_video
from echo_films import BRIGHT, EF_PERCENT, HEIGHT, WIDTH, in_colour, make_film

from medvial.echonet.networks import EchoNetworks
from medvial.errors import InputError
from medvial.outputs import read_json
from medvial_rehearsal.project import algorithm_class

ALGORITHM = Path(__file__).parent.parent / "algorithms" / "echonet"
STACK = Path("images/echocardiogram/cine.mha")
VIDEO = Path("echocardiogram-video.mp4")
DICOM = Path("images/echocardiogram-dicom/cine.dcm")
MASKS = Path("images/left-ventricle-segmentation/output.mha")
FPS, SPACING_MM = 40.0, 0.8


class Container:
    """The program in this process; its networks may be replaced by functions."""

    def __init__(self, folder):
        self.input, self.output = folder / "input", folder / "output"
        self.algorithm = algorithm_class(ALGORITHM)(
            input_path=self.input, output_path=self.output, model_path=ALGORITHM / "model"
        )
        self.algorithm.load()

    def place(self, name):
        path = self.input / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def write_stack(self, frames, fps=FPS, spacing=SPACING_MM, **changes):
        """By the independent writer."""
        image = SimpleITK.GetImageFromArray(frames, isVector=frames.ndim == 4)
        image.SetSpacing((spacing, spacing, 1000 / fps if fps else 1.0))
        image.SetOrigin(changes.get("origin", (0, 0, 0)))
        image.SetDirection(changes.get("direction", np.eye(3).ravel()))
        SimpleITK.WriteImage(image, str(self.place(STACK)), useCompression=True)
        return self.input / STACK

    def run(self):
        """Ejection fraction, masks as an image of SimpleITK, report."""
        self.algorithm.run()
        value = read_json(self.output / "ejection-fraction.json")
        masks = SimpleITK.ReadImage(str(self.output / MASKS))
        return value, masks, read_json(self.output / "echocardiogram-report.json")

    def failure(self):
        """Why the case fails; nothing is written then."""
        with pytest.raises(InputError) as caught:
            self.algorithm.run()
        assert not any(p.is_file() for p in self.output.rglob("*"))
        return str(caught.value)


@pytest.fixture
def container(tmp_path):
    """With the demo model."""
    return Container(tmp_path)


@pytest.fixture
def stubbed(tmp_path):
    """With a segmentation that takes what is bright, and clips that say the film's EF."""
    made = Container(tmp_path)
    made.clip_value = EF_PERCENT
    config = made.algorithm.predictor.config
    mean, std = config.mean[0], config.std[0]

    def segment(batch):
        return (batch[:, :1] * std + mean - 0.6 * BRIGHT) / 10

    def regress(batch):
        return np.full((len(batch), 1), made.clip_value, np.float32)

    made.algorithm.predictor.networks = EchoNetworks(config, segment, regress)
    return made


def dice(found, truth):
    return 2 * (found & truth).sum() / (found.sum() + truth.sum())


def flags(report):
    return {flag["flag"] for flag in report["quality"]["flags"]}


# --- what comes out ---


def test_the_mask_lies_where_the_ventricle_is_in_the_geometry_of_the_stack(stubbed):
    film = make_film()
    tilted = (0.0, 1.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0)
    path = stubbed.write_stack(film.frames, origin=(11.0, -7.5, 3.0), direction=tilted)
    value, masks, report = stubbed.run()
    given, pixels = SimpleITK.ReadImage(str(path)), SimpleITK.GetArrayFromImage(masks)
    for what in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(masks, what)() == pytest.approx(getattr(given, what)())
    assert pixels.dtype == np.uint8
    assert set(np.unique(pixels)) == {0, 1}
    assert min(map(dice, pixels > 0, film.masks)) > 0.95
    assert value == pytest.approx(EF_PERCENT, abs=0.01)
    assert flags(report) == set()


def test_the_report_says_what_was_in_the_film(stubbed):
    stubbed.write_stack(make_film().frames)
    _, _, report = stubbed.run()
    assert report["quality"] == {"usable": True, "flags": []}
    assert report["rhythm"]["heart_rate_bpm"] == pytest.approx(80, abs=1)
    assert report["rhythm"]["irregular"] is False or report["rhythm"]["intervals"] < 3
    found = report["ejection_fraction"]
    assert found["from_masks_percent"] == pytest.approx(EF_PERCENT, abs=2)
    assert found["method"] == "mean over beats"
    complete = [beat for beat in report["beats"] if beat["complete"]]
    assert [beat["end_systole_frame"] for beat in complete] == pytest.approx(
        [13 + 30 * n for n in range(len(complete))], abs=1 + 30 * (len(complete) < 3)
    )
    # a spheroid of half axes 30, 19 and 19 pixels of 0.8 mm
    volume = 4 / 3 * np.pi * 3.0 * 0.8**3 * 1.9**2
    disks = report["volumes"]["method_of_disks"]
    assert disks["end_diastolic_ml"] == pytest.approx(volume, rel=0.05)
    assert report["left_ventricle"]["found_share"] == 1.0


def test_without_calibration_there_is_no_volume_and_the_report_says_why(stubbed):
    stubbed.write_stack(make_film().frames, spacing=1.0)
    _, _, report = stubbed.run()
    assert report["volumes"] is None
    assert all(beat["end_diastole"] is None for beat in report["beats"])
    (why,) = [m["why"] for m in report["not_possible"] if m["what"] == "volumes in mL"]
    assert "uncalibrated" in why
    assert report["ejection_fraction"]["from_masks_percent"] is not None


@pytest.mark.parametrize(("clips", "value"), [(130.0, 100.0), (-4.0, 0.0)])
def test_the_ejection_fraction_stays_in_its_range(stubbed, clips, value):
    stubbed.clip_value = clips
    stubbed.write_stack(make_film().frames)
    assert stubbed.run()[0] == value


def test_the_network_is_read_where_no_beat_is_found(stubbed):
    stubbed.clip_value = 40.0
    stubbed.write_stack(np.repeat(make_film(1).frames, 60, axis=0))  # static
    value, _, report = stubbed.run()
    assert value == 40.0
    assert report["ejection_fraction"]["method"] == "mean over evenly spaced clips"
    assert report["beats"] == []
    assert flags(report) == {"few-beats", "nothing-moves"}
    assert not report["quality"]["usable"]
    assert report["ejection_fraction"]["interval_percent"] is None
    assert {"heart rate", "end-diastolic and end-systolic volumes"} <= {
        missing["what"] for missing in report["not_possible"]
    }


# --- every flag by a film that deserves it, and no other flag ---


FLAGS = {
    "left-ventricle-not-found few-beats": {"ventricle": False},
    "few-beats": {"beats_s": (1.6,), "count": 60},
    "touches-sector-edge": {"centre": (105, 118)},
    "frame-rate": {"fps": 15.0, "beats_s": (0.9,), "count": 70},
    "short few-beats": {"count": 20},
    "long": {"fps": 20.0, "count": 1220, "beats_s": (1.0,)},
    "irregular-rhythm": {"beats_s": (0.65, 1.1, 0.75, 1.2), "count": 300},
}


@pytest.mark.parametrize("expected", FLAGS)
def test_each_flag_has_its_film(stubbed, expected):
    options = FLAGS[expected]
    stubbed.write_stack(make_film(**options).frames, fps=options.get("fps", FPS))
    _, _, report = stubbed.run()
    assert flags(report) == set(expected.split())
    assert report["quality"]["usable"] is ("left-ventricle-not-found" not in expected)


def test_an_unknown_frame_rate_is_flagged(stubbed):
    stubbed.write_stack(make_film(fps=30.0).frames, fps=None)
    _, _, report = stubbed.run()
    assert flags(report) == {"frame-rate-unknown"}


def test_video_and_masks_that_disagree_are_flagged(stubbed):
    stubbed.clip_value = EF_PERCENT - 13
    stubbed.write_stack(make_film().frames)
    assert flags(stubbed.run()[2]) == {"video-and-masks-disagree"}


def test_a_screen_without_ultrasound_is_flagged(stubbed):
    frames = np.zeros((60, HEIGHT, WIDTH), np.uint8)
    frames[:, 20:23, 30:90] = 120
    stubbed.write_stack(frames)
    _, masks, report = stubbed.run()
    assert "sector-not-found" in flags(report)
    assert not SimpleITK.GetArrayFromImage(masks).any()
    assert report["quality"]["usable"] is False


def test_colour_doppler_is_flagged(stubbed):
    film = make_film()
    stubbed.write_stack(in_colour(film))
    _, masks, report = stubbed.run()
    assert flags(report) == {"colour"}
    assert min(map(dice, SimpleITK.GetArrayFromImage(masks) > 0, film.masks)) > 0.9


def test_a_model_that_has_seen_phantoms_only_says_so(container):
    container.write_stack(make_film(40).frames)
    _, _, report = container.run()
    assert report["model"]["trained_on_phantoms"] is True
    assert "mean nothing for patients" in report["model"]["warning"]
    container.algorithm.predictor.trained_on = {"phantom": False, "description": "CAMUS"}
    _, _, report = container.run()
    assert report["model"] == {
        "trained_on": "CAMUS",
        "trained_on_phantoms": False,
        "warning": None,
    }


# --- what forms a cine may have ---


def test_an_undecodable_slice_has_an_empty_mask(stubbed):
    film = make_film()
    path = stubbed.write_stack(film.frames)
    content = bytearray(path.read_bytes())
    content[int(0.7 * len(content))] ^= 0xFF
    path.write_bytes(content)
    _, masks, report = stubbed.run()
    pixels = SimpleITK.GetArrayFromImage(masks)
    assert flags(report) == {"damaged"}
    assert report["video"]["frames"] == len(pixels) == len(film.frames)
    decoded = report["video"]["frames_decoded"]
    assert 50 < decoded < 100
    assert min(map(dice, pixels[: decoded - 2] > 0, film.masks)) > 0.95
    assert not pixels[decoded:].any()


def test_16_bit_is_scaled(stubbed):
    film = make_film()
    stubbed.write_stack(film.frames.astype(np.uint16) * 40)
    _, masks, report = stubbed.run()
    assert flags(report) == set()
    assert any("More than 8 bit" in note for note in report["video"]["notes"])
    assert min(map(dice, SimpleITK.GetArrayFromImage(masks) > 0, film.masks)) > 0.93


def test_a_portrait_is_not_stretched(stubbed):
    film = make_film()
    frames = np.pad(film.frames, ((0, 0), (60, 200), (0, 0)))
    truth = np.pad(film.masks, ((0, 0), (60, 200), (0, 0)))
    stubbed.write_stack(frames)
    _, masks, report = stubbed.run()
    assert (report["video"]["height"], report["video"]["width"]) == (410, 210)
    assert min(map(dice, SimpleITK.GetArrayFromImage(masks) > 0, truth)) > 0.95


def test_the_pages_of_a_tiff_are_frames(stubbed):
    film = make_film(60, fps=30.0)
    assert cv2.imwritemulti(str(stubbed.place(STACK.with_suffix(".tif"))), list(film.frames))
    _, masks, report = stubbed.run()
    assert flags(report) == {"frame-rate-unknown"}
    assert masks.GetSize() == (WIDTH, HEIGHT, 60)
    assert report["volumes"] is None


@pytest.mark.parametrize("count", [1, 2])
def test_a_picture_is_refused(stubbed, count):
    stubbed.write_stack(make_film(count).frames)
    assert f"expected a cine of at least 3 frames, got {count}" in stubbed.failure()


@pytest.mark.parametrize("count", [3, 4])
def test_a_handful_of_frames_gives_masks_and_says_that_it_is_short(stubbed, count):
    film = make_film(count)
    stubbed.write_stack(film.frames)
    _, masks, report = stubbed.run()
    assert masks.GetSize() == (WIDTH, HEIGHT, count)
    assert {"short", "few-beats"} <= flags(report)
    assert report["rhythm"]["heart_rate_bpm"] is None


def test_an_mp4_is_read_and_its_masks_have_its_size(stubbed):
    film = make_film()
    rgb = np.repeat(film.frames[..., None], 3, axis=-1)
    write_video(stubbed.place(VIDEO), rgb, codec="libx264", pix_fmt="yuv420p", rate=40, crf="12")
    value, masks, report = stubbed.run()
    assert value == pytest.approx(EF_PERCENT, abs=0.01)
    assert masks.GetSize() == (WIDTH, HEIGHT, len(film.frames))
    assert masks.GetSpacing() == pytest.approx((1, 1, 25))
    assert min(map(dice, SimpleITK.GetArrayFromImage(masks) > 0, film.masks)) > 0.93
    assert flags(report) == set()
    assert report["volumes"] is None


def test_a_dicom_has_volumes_by_its_region(stubbed):
    film = make_film()
    box = {"RegionLocationMinX0": 10, "RegionLocationMinY0": 2}
    box |= {"RegionLocationMaxX1": 200, "RegionLocationMaxY1": 147}
    cm = {"PhysicalDeltaX": 0.08, "PhysicalDeltaY": 0.08}
    path = stubbed.place(DICOM)
    write_dicom(path, film.frames, regions=[region(**box, **cm)], FrameTime="25")
    _, masks, report = stubbed.run()
    assert masks.GetSpacing() == pytest.approx((0.8, 0.8, 25))
    volume = 4 / 3 * np.pi * 3.0 * 0.8**3 * 1.9**2
    disks = report["volumes"]["method_of_disks"]
    assert disks["end_diastolic_ml"] == pytest.approx(volume, rel=0.05)
    assert min(map(dice, SimpleITK.GetArrayFromImage(masks) > 0, film.masks)) > 0.95


def test_a_gap_in_the_times_is_flagged_and_nothing_is_measured_across_it(stubbed):
    times_ms = ["0"] + ["25"] * 199
    times_ms[60] = "1e8"
    film = make_film(200)
    write_dicom(stubbed.place(DICOM), film.frames, FrameTime=None, FrameTimeVector=times_ms)
    _, _, report = stubbed.run()
    assert flags(report) == {"time-gap"}
    (flag,) = report["quality"]["flags"]
    assert "jump by 1e+05 s after frame 60" in flag["message"]
    assert report["rhythm"]["heart_rate_bpm"] == pytest.approx(80, abs=1)


def test_a_jpeg_dicom_in_ybr_is_read(stubbed):
    film = make_film()
    rgb = np.repeat(film.frames[..., None], 3, axis=-1)
    quality = [cv2.IMWRITE_JPEG_QUALITY, 95]
    encoded = [cv2.imencode(".jpg", frame, quality)[1].tobytes() for frame in rgb]
    write_dicom(
        stubbed.place(DICOM),
        rgb,
        encoded=[e + b"\0" * (len(e) % 2) for e in encoded],
        syntax=pydicom.uid.JPEGBaseline8Bit,
        PhotometricInterpretation="YBR_FULL_422",
        FrameTime="25",
    )
    _, masks, report = stubbed.run()
    assert flags(report) == set()
    assert min(map(dice, SimpleITK.GetArrayFromImage(masks) > 0, film.masks)) > 0.93


def test_a_real_cine_runs_to_its_end(container):
    source = pydicom.examples.get_path("ybr_color")
    container.place(DICOM).symlink_to(source)
    value, masks, report = container.run()
    assert 0 <= value <= 100
    assert masks.GetSize() == (320, 240, 30)
    assert masks.GetSpacing() == pytest.approx((1.021, 1.021, 33.333), abs=0.01)
    assert report["video"]["sector_found"]
    assert report["video"]["frames_per_second"] == pytest.approx(30, abs=0.01)


# --- bad files ---


def test_black_frames_are_refused(stubbed):
    stubbed.write_stack(np.zeros((30, HEIGHT, WIDTH), np.uint8))
    assert "expected an echocardiogram, got black frames only" in stubbed.failure()


def audio_only(path):
    with av.open(str(path), "w") as file:
        stream = file.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 8000
        file.mux(stream.encode(frame))
        file.mux(stream.encode())


def truncated(path):
    rgb = np.repeat(make_film(40).frames[..., None], 3, axis=-1)
    write_video(path, rgb, codec="libx264", pix_fmt="yuv420p", rate=40)
    path.write_bytes(path.read_bytes()[:3000])  # its index is at the end


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (audio_only, "expected a video with pictures, got one with audio only"),
        (truncated, "damaged, cut off"),
        (lambda path: path.write_bytes(b""), "got an empty file"),
        (lambda path: path.write_text("no video\n" * 99), "its content is none that can be read"),
        (lambda path: path.write_bytes(b"%PDF-1.7\n" + bytes(600)), "got a PDF document"),
    ],
)
def test_what_is_no_video_is_refused_with_the_reason(stubbed, write, message):
    write(stubbed.place(VIDEO))
    assert message in stubbed.failure()


def test_two_files_in_a_case_are_refused_by_name(stubbed):
    stubbed.write_stack(make_film(10).frames)
    (stubbed.input / STACK).with_name("b.mha").write_bytes((stubbed.input / STACK).read_bytes())
    assert re.search(r"Expected one cine in .*'b.mha', 'cine.mha'", stubbed.failure())


def test_an_empty_folder_is_named(stubbed):
    stubbed.place(STACK)
    assert "echocardiogram" in stubbed.failure()


@pytest.mark.parametrize("name", [".DS_Store", ".hidden.mha", "readme.txt"])
def test_a_stray_file_beside_the_cine_does_no_harm(stubbed, name):
    stubbed.write_stack(make_film(40).frames)
    stubbed.place(STACK.with_name(name)).write_bytes(b"\0")
    assert stubbed.run()[1].GetSize() == (WIDTH, HEIGHT, 40)


# --- the program as a process ---


def test_the_test_case_runs_without_a_word_on_stderr(tmp_path):
    command = [sys.executable, ALGORITHM / "process.py", f"--model={ALGORITHM / 'model'}"]
    command += [f"--input={ALGORITHM / 'test' / 'input'}", f"--output={tmp_path}"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (result.returncode, result.stderr) == (0, "")
    assert "Ejection fraction" in result.stdout
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "echocardiogram-report.json",
        "ejection-fraction.json",
        "images",
    ]


def test_predict_takes_an_avi(tmp_path):
    rgb = np.repeat(make_film(40).frames[..., None], 3, axis=-1)
    path = write_video(tmp_path / "film.avi", rgb, codec="mjpeg", pix_fmt="yuvj420p", rate=40)
    command = [sys.executable, "-m", "medvial_rehearsal.cli", "predict", "echonet", path]
    command += ["--out", tmp_path / "out"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    report = read_json(tmp_path / "out" / "film" / "echocardiogram-report.json")
    assert report["video"]["kind"] == "avi"
    assert (tmp_path / "out" / "film" / MASKS).is_file()


def test_a_missing_model_says_what_to_do(tmp_path):
    command = [sys.executable, ALGORITHM / "process.py", f"--model={tmp_path / 'none'}"]
    command += [f"--input={ALGORITHM / 'test' / 'input'}", f"--output={tmp_path / 'out'}"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 1
    assert "Upload or mount the model tarball" in result.stderr
