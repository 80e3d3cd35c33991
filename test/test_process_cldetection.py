"""The container's program of cldetection with its demo model, on real files in a real process."""

import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import SimpleITK

from medvial.cldetection.landmarks import load_landmark_set
from medvial.cldetection.measurements import measure
from medvial.outputs import read_json, write_json
from medvial_training.phantoms.cldetection import make_phantom

ALGORITHM = Path(__file__).parent.parent / "algorithms" / "cldetection"
CL38 = load_landmark_set("cl-38")
FOLDER = Path("images") / "lateral-dental-x-rays"
CLOSE_PX = 8.0  # of 600: the demo model is small


@pytest.fixture(scope="module")
def heads():
    """Three phantoms: films (600, 480) uint8, their points, and mm per pixel."""
    return [make_phantom(900 + i, height=600, width=480) for i in range(3)]


def write(path, image, spacing=None, compress=False):
    """(H, W), (N, H, W) or (N, H, W, 3) by the independent writer."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = SimpleITK.GetImageFromArray(image, isVector=image.ndim == 4)
    if spacing:
        picture.SetSpacing(spacing)
    SimpleITK.WriteImage(picture, str(path), useCompression=compress)


def rgb(films):
    return np.repeat(np.stack(films)[..., None], 3, axis=-1)


class Case:
    def __init__(self, folder):
        self.folder, self.input = folder, folder / "input"
        self.images = self.input / FOLDER
        (folder / "output").mkdir(parents=True)

    def run(self, model=ALGORITHM / "model"):
        command = [sys.executable, str(ALGORITHM / "process.py"), f"--model={model}"]
        command += [f"--input={self.input}", f"--output={self.folder / 'output'}"]
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    def results(self):
        result = self.run()
        assert (result.returncode, result.stderr) == (0, ""), result.stderr + result.stdout
        points = read_json(self.folder / "output" / "orthodontic-landmarks.json")["points"]
        report = read_json(self.folder / "output" / "cephalometric-measurements.json")
        return points, report["images"]

    def failure(self):
        result = self.run()
        assert result.returncode == 1
        assert list((self.folder / "output").iterdir()) == []
        assert result.stderr.count("\n") == 1
        return result.stderr


@pytest.fixture
def case(tmp_path):
    return Case(tmp_path)


def of_image(points, number):
    return np.array([p["point"][:2] for p in points if p["point"][2] == number])


def assert_close(points, truth):
    error = np.linalg.norm(points - truth, axis=1)
    assert np.median(error) < CLOSE_PX / 2
    assert (error < 3 * CLOSE_PX).all(), error.round(1)


def test_every_image_of_every_file_is_numbered_on(case, heads):
    films = [head[0] for head in heads]
    write(case.images / "b.mha", rgb(films[2:]))
    write(case.images / "a.mha", rgb(films[:2]), compress=True)
    (case.images / "expected_output.json").write_text("{}")  # a stray file is no image
    points, images = case.results()
    assert [p["point"][2] for p in points] == [1] * 38 + [2] * 38 + [3] * 38
    assert [p["name"] for p in points[:38]] == [str(n) for n in range(1, 39)]
    for number, head in enumerate(heads, 1):
        assert_close(of_image(points, number), head[1])
    assert [(i["image"], i["file_slice"], i["status"]) for i in images] == [
        (1, 1, "ok"),
        (2, 2, "ok"),
        (3, 1, "ok"),
    ]


def variants(film):
    yield "grey.mha", film[None]
    yield "single.mha", film
    yield "rgb.mha", rgb([film])
    yield "deep.mha", film[None].astype(np.uint16) * 257
    yield "page.tif", film
    yield "padded.mha", np.pad(film, ((0, 120), (0, 300)))[None]


@pytest.mark.parametrize("index", range(6))
def test_the_form_of_the_film_does_not_matter(case, heads, index):
    name, image = list(variants(heads[0][0]))[index]
    write(case.images / name, image)
    points, _ = case.results()
    assert_close(of_image(points, 1), heads[0][1])


def test_tiff_pages_are_images(case, heads):
    case.images.mkdir(parents=True)
    assert cv2.imwritemulti(str(case.images / "s.tif"), [head[0] for head in heads[:2]])
    points, _ = case.results()
    for number, head in enumerate(heads[:2], 1):
        assert_close(of_image(points, number), head[1])


def test_a_black_slice_says_so_and_loses_no_other(case, heads):
    films = [heads[0][0], np.zeros((600, 480), np.uint8), heads[1][0]]
    write(case.images / "s.mha", rgb(films))
    points, images = case.results()
    assert_close(of_image(points, 1), heads[0][1])
    assert_close(of_image(points, 3), heads[1][1])
    assert len(of_image(points, 2)) == 0
    assert images[1]["status"] == "failed"
    assert images[1]["reason"] == "Expected a film, got an image whose pixels are all 0."


def test_a_truncated_stack_gives_the_slices_that_are_whole(case, heads):
    write(case.images / "s.mha", rgb([head[0] for head in heads]))
    path = case.images / "s.mha"
    path.write_bytes(path.read_bytes()[: -600 * 480])
    points, images = case.results()
    assert_close(of_image(points, 2), heads[1][1])
    assert len(of_image(points, 3)) == 0
    assert "slice 3" in images[2]["reason"]


def test_a_broken_file_says_so_and_loses_no_other(case, heads):
    write(case.images / "a.mha", heads[0][0])
    write(case.images / "c.mha", heads[1][0])
    (case.images / "b.mha").write_bytes((case.images / "a.mha").read_bytes()[:90_000])
    points, images = case.results()
    assert_close(of_image(points, 1), heads[0][1])
    assert_close(of_image(points, 3), heads[1][1])
    assert images[1]["status"] == "failed"
    assert "b.mha" in images[1]["reason"]


def test_a_case_without_any_film_fails_with_the_reasons(case):
    write(case.images / "s.mha", np.zeros((2, 90, 80), np.uint8))
    message = case.failure()
    assert message.startswith("InputError: Expected at least one readable film, got 2. image 1: ")
    assert "pixels are all 0" in message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"ObjectType = Image\nNDims = 3\n", "s.mha"),
        (b"\x89PNG\r\n" * 40, "s.mha"),
    ],
)
def test_a_file_that_is_no_image_is_named(case, content, message):
    case.images.mkdir(parents=True)
    (case.images / "s.mha").write_bytes(content)
    assert message in case.failure()


def test_an_empty_folder_is_named(case):
    case.images.mkdir(parents=True)
    assert "lateral-dental-x-rays" in case.failure()


def test_a_missing_model_says_what_to_do(case, heads, tmp_path):
    write(case.images / "s.mha", heads[0][0])
    result = case.run(model=tmp_path / "none")
    assert result.returncode == 1
    assert "Upload or mount the model tarball" in result.stderr


def test_a_film_that_faces_left_is_recognised(case, heads):
    film, truth, _ = heads[0]
    mirrored = make_phantom(900, height=600, width=480, facing="left")
    write(case.images / "s.mha", rgb([film, mirrored[0]]))
    points, images = case.results()
    assert [image["facing"] for image in images] == ["right", "left"]
    assert_close(of_image(points, 1), truth)
    assert_close(of_image(points, 2), mirrored[1])
    right, left = ({m["name"]: m["value"] for m in image["measurements"]} for image in images)
    assert left["SNA"] == pytest.approx(right["SNA"], abs=0.5)
    assert left["ANB"] == pytest.approx(right["ANB"], abs=0.5)


def test_what_is_no_cephalogram_is_called_implausible(case):
    noise = np.random.default_rng(0).integers(1, 255, (1, 300, 240), dtype=np.uint8)
    write(case.images / "s.mha", noise)
    _, (image,) = case.results()
    assert image["status"] == "implausible"
    assert "do not use them" in image["reason"]


def units(image):
    return {m["unit"] for m in image["measurements"] if m["value"] is not None}


def test_millimetres_need_a_calibration(case, heads):
    write(case.images / "s.mha", heads[0][0][None])  # the header says 1 mm per pixel: no X-ray
    _, (image,) = case.results()
    assert image["mm_per_px"] is None
    assert "mm" not in units(image)
    assert "deg" in units(image)
    (reason,) = {m["unavailable"] for m in image["measurements"] if m["unit"] == "mm"}
    assert reason == "no millimetre calibration"


@pytest.mark.parametrize("how", ["header", "input"])
def test_with_a_calibration_millimetres_are_right(case, heads, how):
    film, truth, mm_per_px = heads[0]
    write(case.images / "s.mha", film[None], spacing=(mm_per_px, mm_per_px, 1.0))
    if how == "input":
        write(case.images / "s.mha", film[None])
        write_json(case.input / "millimetres-per-pixel.json", mm_per_px)
    _, (image,) = case.results()
    assert image["mm_per_px"] == pytest.approx(mm_per_px, rel=1e-3)
    got = {m["name"]: m["value"] for m in image["measurements"]}
    expected = {m.name: m.value for m in measure(truth, CL38, mm_per_px)}
    assert got["SNA"] == pytest.approx(expected["SNA"], abs=3)
    assert got["Co-Gn"] == pytest.approx(expected["Co-Gn"], abs=4)


def test_a_picture_s_default_resolution_is_no_calibration(case, heads):
    film, _, mm_per_px = heads[0]
    large = cv2.resize(film, None, fx=3, fy=3)
    at_72_per_inch = 25.4 / 72
    write(case.images / "s.mha", large[None], spacing=(at_72_per_inch, at_72_per_inch, 1.0))
    points, (image,) = case.results()
    assert image["mm_per_px"] is None
    assert "mm" not in units(image)
    length = np.linalg.norm(of_image(points, 1)[0] - of_image(points, 1)[1]) * at_72_per_inch
    note = image["calibration_note"]
    assert f"0.3528 mm per pixel would make sella-nasion {length:.0f} mm long" in note
    write_json(case.input / "millimetres-per-pixel.json", mm_per_px / 3)
    _, (image,) = case.results()
    assert "calibration_note" not in image
    assert "mm" in units(image)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("0.1", "from 0.001 to 10 in .*, got '0.1'"),
        ([0.1, -1], "got -1"),
        ([], "an empty list"),
        ([0.1, 0.1, 0.1], "for each of 1 images, got 3"),
    ],
)
def test_a_calibration_that_cannot_be_is_refused(case, heads, value, message):
    write(case.images / "s.mha", heads[0][0][None])
    write_json(case.input / "millimetres-per-pixel.json", value)
    assert re.search(message, case.failure())
