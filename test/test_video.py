"""Cines out of video files and image stacks: pixels, times, and every way a file can be bad."""

import subprocess
import sys

import av
import cv2
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 the library's customary name
from cines import HEIGHT, WIDTH, moving, write_video

from medvial.errors import InputError
from medvial.video import open_cine

FORMS = [
    ("a.avi", "mjpeg", "yuvj444p", 4),
    ("a.avi", "rawvideo", "bgr24", 0),
    ("a.mkv", "ffv1", "bgr0", 0),
    ("a.mp4", "libx264", "yuv444p", 6),
    ("a.mov", "libx264", "yuv444p", 6),
    ("a.webm", "libvpx-vp9", "yuv444p", 8),
]


@pytest.mark.parametrize(("name", "codec", "pix_fmt", "tolerance"), FORMS)
def test_video_of_any_form(tmp_path, name, codec, pix_fmt, tolerance):
    frames = moving()
    path = write_video(tmp_path / name, frames, codec=codec, pix_fmt=pix_fmt)
    with open_cine(path) as cine:
        assert (cine.info.height, cine.info.width) == (HEIGHT, WIDTH)
        assert cine.info.frame_count == 6
        assert cine.info.fps == pytest.approx(25)
        assert cine.info.spacing_mm is None
        for _ in range(2):  # iterable more than once
            got = np.stack(list(cine))
            assert got.dtype == np.uint8
            inside = np.abs(got.astype(int) - frames)[:, 2:12, 2:12]
            assert inside.max() <= tolerance
        assert cine.info.frame_times_s == pytest.approx(np.arange(6) / 25)
        assert cine.info.slice_count == 6
        assert cine.info.notes == ()


@pytest.mark.parametrize(("name", "codec", "pix_fmt", "tolerance"), FORMS)
@pytest.mark.parametrize("step", [1, 2, 5])
def test_every_nth_frame(tmp_path, name, codec, pix_fmt, tolerance, step):
    frames = moving(12)
    path = write_video(tmp_path / name, frames, codec=codec, pix_fmt=pix_fmt)
    times, got = zip(*open_cine(path).every(step), strict=True)
    assert times == pytest.approx(np.arange(12)[::step] / 25)
    inside = np.abs(np.stack(got).astype(int) - frames[::step])[:, 2:12, 2:12]
    assert inside.max() <= tolerance


def test_grey_video_is_grey(tmp_path):
    frames = moving(channels=1)
    path = write_video(tmp_path / "a.mkv", frames, pix_fmt="gray")
    with open_cine(path) as cine:
        np.testing.assert_array_equal(np.stack(list(cine)), frames)


def test_16_bit_video_is_scaled_over_the_cine(tmp_path):
    frames = np.zeros((4, HEIGHT, WIDTH), np.uint16)
    for t in range(4):
        frames[t] = np.linspace(1000, 5000, WIDTH) if t % 2 else 1000
    path = write_video(tmp_path / "a.mkv", frames, pix_fmt="gray16le")
    with open_cine(path) as cine:
        got = np.stack(list(cine))
        assert any("1000 to 5000" in note for note in cine.info.notes)
    np.testing.assert_allclose(got, (frames - 1000.0) * 255 / 4000, atol=0.51)


def test_variable_frame_rate(tmp_path):
    pts = [0, 40, 80, 120, 200, 240]
    path = write_video(tmp_path / "a.mkv", moving(), pts=pts)
    with open_cine(path) as cine:
        assert cine.info.frame_times_s == pytest.approx(np.array(pts) / 1000)
        assert cine.info.fps == pytest.approx(25)
        list(cine)
        assert cine.info.frame_times_s == pytest.approx(np.array(pts) / 1000)
    with open_cine(path, fps=50) as cine:
        list(cine)
        assert cine.info.fps == 50
        assert cine.info.frame_times_s == pytest.approx(np.arange(6) / 50)


def test_times_that_repeat_are_replaced(tmp_path):
    path = write_video(tmp_path / "a.nut", moving(3), pts=[0, 40, 80])
    path.rename(tmp_path / "a.mkv")
    with pytest.raises(InputError, match="its content is none that can be read"):
        open_cine(tmp_path / "a.mkv")  # a container that is not among those read


@pytest.mark.parametrize(("rotation", "corner"), [(90, (-1, 0)), (-90, (0, -1)), (180, (-1, -1))])
def test_rotation(tmp_path, rotation, corner):
    path = write_video(
        tmp_path / "a.mp4", moving(), codec="libx264", pix_fmt="yuv444p", rotation=rotation
    )
    with open_cine(path) as cine:
        frame = next(iter(cine))
        turned = abs(rotation) == 90
        assert frame.shape[:2] == ((WIDTH, HEIGHT) if turned else (HEIGHT, WIDTH))
        assert (cine.info.height, cine.info.width) == frame.shape[:2]
    assert frame[corner].min() > 80
    good, independent = cv2.VideoCapture(str(path)).read()
    assert good
    assert independent.shape == frame.shape
    assert np.abs(independent[..., ::-1].astype(int) - frame).mean() < 3


def test_pixels_become_square(tmp_path):
    path = write_video(
        tmp_path / "a.mp4", moving(), codec="libx264", pix_fmt="yuv444p", aspect="3/2"
    )
    with open_cine(path) as cine:
        assert (cine.info.height, cine.info.width) == (HEIGHT, WIDTH * 3 // 2)
        assert next(iter(cine)).shape == (HEIGHT, WIDTH * 3 // 2, 3)


def test_content_counts_not_extension(tmp_path):
    path = write_video(tmp_path / "a.avi", moving(), codec="rawvideo", pix_fmt="bgr24")
    with open_cine(path.rename(tmp_path / "b.mp4")) as cine:
        assert cine.info.kind == "avi"
        assert len(list(cine)) == 6
    stack = sitk.GetImageFromArray(moving(channels=1))
    sitk.WriteImage(stack, str(tmp_path / "a.mha"))
    with open_cine((tmp_path / "a.mha").rename(tmp_path / "c.avi")) as cine:
        assert cine.info.kind == "mha"
        np.testing.assert_array_equal(np.stack(list(cine)), moving(channels=1))


def test_sample_is_spread_over_the_cine(tmp_path):
    path = write_video(tmp_path / "a.avi", moving(12), codec="rawvideo", pix_fmt="bgr24")
    with open_cine(path) as cine:
        got = [int(frame[-1, -1, 0]) for frame in cine.sample(4)]
    assert got == [10, 25, 40, 55]


def test_damaged_tail(tmp_path):
    path = write_video(tmp_path / "a.avi", moving(20), codec="mjpeg", pix_fmt="yuvj420p")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    with open_cine(path) as cine:
        got = list(cine)
        assert 8 <= len(got) <= 14
        assert cine.info.frame_count == len(got)
        assert len(cine.info.frame_times_s) == len(got)
        assert cine.info.slice_count == cine.info.stored_count == 20
        assert cine.info.notes[0].startswith("Damaged. The header says 20 frames, the file holds ")


def test_damage_in_the_middle_is_left_out_and_said(tmp_path):
    path = write_video(tmp_path / "a.avi", moving(20), codec="png", pix_fmt="rgb24")
    data = bytearray(path.read_bytes())
    seventh = [i for i in range(len(data)) if data[i : i + 4] == b"\x89PNG"][6]
    data[seventh : seventh + 60] = bytes(60)
    path.write_bytes(data)
    with open_cine(path) as cine:
        # The parser of PNG takes the damaged frame and the next for one.
        assert len(list(cine)) == 18
        assert cine.info.frame_count == 18
        assert "18 frames could be read, not all. Frame 7 is damaged" in cine.info.notes[-1]
        times = np.round(np.array(cine.info.frame_times_s) * 25)
        assert times.tolist() == [*range(6), *range(8, 20)]


def write_audio(path):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


def write_empty(path):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuvj420p"
        container.start_encoding()


def write_playlist(path):
    write_video(path.with_name("other.mkv"), moving())
    path.write_text("ffconcat version 1.0\nfile other.mkv\n")


def write_cut_mp4(path):
    write_video(path, moving(20), codec="libx264", pix_fmt="yuv420p")
    path.write_bytes(path.read_bytes()[:900])


def write_cut_avi(path):
    write_video(path, moving(2), codec="mjpeg", pix_fmt="yuvj420p")
    path.write_bytes(path.read_bytes()[:400])


BAD = {
    "missing.mp4": (lambda p: None, "found nothing"),
    "folder.mp4": (lambda p: p.mkdir(), "found a folder"),
    "empty.mp4": (lambda p: p.touch(), "got an empty file"),
    "text.mp4": (lambda p: p.write_text("placeholder, no video\n"), "its content is none"),
    "page.avi": (lambda p: p.write_text("<html><body>404</body></html>"), "its content is none"),
    "random.mp4": (
        lambda p: p.write_bytes(np.random.default_rng(1).bytes(5000)),
        "its content is none",
    ),
    "list.mp4": (write_playlist, "its content is none"),
    "packed.mp4": (lambda p: p.write_bytes(b"PK\x03\x04" + bytes(50)), "got a ZIP archive"),
    "picture.avi": (
        lambda p: p.write_bytes(cv2.imencode(".png", moving()[0])[1].tobytes()),
        "got a single PNG picture",
    ),
    "audio.mp4": (write_audio, "got one with audio only"),
    "none.avi": (write_empty, "frames, found none|its content is none"),
    "cut.mp4": (write_cut_mp4, "its content is none"),
    "cut.avi": (write_cut_avi, "expected a video|frames, found none|its content is none"),
    "tiny.avi": (
        lambda p: write_video(p, moving(height=2, width=2), codec="rawvideo", pix_fmt="bgr24"),
        "at least 16 x 16 pixels, got 2 x 2",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(tmp_path, name):
    write, message = BAD[name]
    write(tmp_path / name)
    with pytest.raises(InputError, match=message) as caught:
        open_cine(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


def test_fps_out_of_range(tmp_path):
    with pytest.raises(InputError, match="Expected fps from 1 to 1000, got 0"):
        open_cine(tmp_path / "a.avi", fps=0)


@pytest.mark.parametrize(
    ("z", "fps", "known", "note"),
    [
        (1.0, 30, False, "names no frame rate"),
        (0.02, 50, True, "as the s from frame to frame: 50 frames"),
        (20.0, 50, True, "as the ms from frame to frame: 50 frames"),
        (2.0, 30, False, "its z spacing of 2 is no frame time"),
    ],
)
def test_mha_frame_rate_from_spacing(tmp_path, z, fps, known, note):
    image = sitk.GetImageFromArray(moving(channels=1))
    image.SetSpacing((0.3, 0.4, z))
    image.SetOrigin((1, 2, 3))
    sitk.WriteImage(image, str(tmp_path / "a.mha"))
    with open_cine(tmp_path / "a.mha") as cine:
        info = cine.info
    assert info.fps == pytest.approx(fps)
    assert info.fps_known is known
    assert note in info.notes[0]
    assert info.spacing_mm == (0.3, 0.4)
    geometry = info.geometry
    assert geometry.size_xyz == (WIDTH, HEIGHT, 6)
    assert geometry.spacing_mm == pytest.approx((0.3, 0.4, z))
    assert geometry.origin_mm == (1, 2, 3)


@pytest.mark.parametrize("spacing", [(0.05, 0.05, 0.05), (0.03, 0.05, 0.05), (5.0, 5.0, 5.0)])
def test_a_spacing_of_cubes_is_no_frame_time(tmp_path, spacing):
    image = sitk.GetImageFromArray(moving(channels=1))
    image.SetSpacing(spacing)
    sitk.WriteImage(image, str(tmp_path / "a.mha"))
    with open_cine(tmp_path / "a.mha") as cine:
        assert not cine.info.fps_known


@pytest.mark.parametrize(
    ("key", "value", "fps"),
    [("FrameRate", "47.5", 47.5), ("0018|1063", "20", 50), ("frame_time_ms", "12.5", 80)],
)
def test_mha_frame_rate_from_a_key(tmp_path, key, value, fps):
    image = sitk.GetImageFromArray(moving(channels=1))
    image.SetMetaData(key, value)
    image.SetMetaData("0018|1088", "71")
    sitk.WriteImage(image, str(tmp_path / "a.mha"))
    with open_cine(tmp_path / "a.mha") as cine:
        assert cine.info.fps == pytest.approx(fps)
        assert cine.info.heart_rate_bpm == 71
        assert cine.info.notes == ()
        assert cine.info.spacing_mm is None
        assert "uncalibrated" in cine.info.calibration_note


@pytest.mark.parametrize("channels", [3, 4])
def test_mha_in_colour(tmp_path, channels):
    frames = moving(channels=channels)
    sitk.WriteImage(sitk.GetImageFromArray(frames, isVector=True), str(tmp_path / "a.mha"))
    with open_cine(tmp_path / "a.mha", fps=50) as cine:
        np.testing.assert_array_equal(np.stack(list(cine)), frames[..., :3])


def test_mha_of_16_bit(tmp_path):
    frames = moving(channels=1).astype(np.uint16) * 100
    sitk.WriteImage(sitk.GetImageFromArray(frames), str(tmp_path / "a.mha"))
    with open_cine(tmp_path / "a.mha", fps=50) as cine:
        got = np.stack(list(cine))
    low, high = frames.min(), frames.max()
    np.testing.assert_allclose(got, (frames - float(low)) * 255 / (high - low), atol=0.51)


def test_mha_that_is_cut_off(tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(moving(channels=1)), str(tmp_path / "a.mha"))
    data = (tmp_path / "a.mha").read_bytes()
    (tmp_path / "a.mha").write_bytes(data[: -WIDTH * HEIGHT * 2 - 5])
    with open_cine(tmp_path / "a.mha", fps=50) as cine:
        assert len(list(cine)) == 3
        assert cine.info.frame_count == 3
        assert "3 frames could be read" in cine.info.notes[0]
        assert "slice 4 of 6" in cine.info.notes[0]


def test_tiff(tmp_path):
    frames = moving(channels=1)
    assert cv2.imwritemulti(str(tmp_path / "a.tif"), list(frames))
    with open_cine(tmp_path / "a.tif") as cine:
        np.testing.assert_array_equal(np.stack(list(cine)), frames)
        assert not cine.info.fps_known
        assert cine.info.spacing_mm is None


READ_ALL = """
import sys
from medvial.errors import InputError
from medvial.video import open_cine
if len(sys.argv) > 2:
    sys.modules["av"] = None
    import importlib.util as util
    find = util.find_spec
    util.find_spec = lambda name, *more: None if name == "av" else find(name, *more)
try:
    with open_cine(sys.argv[1]) as cine:
        frames = list(cine)
    print(len(frames), frames[0].shape, round(cine.info.fps, 3), cine.info.frame_times_s[-1])
except InputError as error:
    print("InputError", error)
"""


def read_in_another_process(path, *more):
    command = [sys.executable, "-c", READ_ALL, str(path), *more]
    return subprocess.run(command, capture_output=True, text=True, check=True)


@pytest.mark.parametrize("cut", [1.0, 0.6, 0.02])
@pytest.mark.parametrize("more", [(), ("opencv",)])
def test_libraries_keep_off_stderr(tmp_path, cut, more):
    path = write_video(tmp_path / "a.avi", moving(20), codec="mjpeg", pix_fmt="yuvj420p")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * cut)])
    result = read_in_another_process(path, *more)
    assert result.stderr == ""
    if cut == 1.0:
        assert result.stdout.startswith("20 (48, 64, 3) 25.0 0.76")
    elif cut < 0.1:
        assert result.stdout.startswith("InputError")
