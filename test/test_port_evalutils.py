"""The programs of docs/port-an-evalutils-algorithm.md: the originals under evalutils 0.4.2."""

import fcntl
import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from medvial.image_algorithm import candidate_points
from medvial_rehearsal.new import new

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "port-an-evalutils-algorithm.md"
VENV = ROOT / ".venv-evalutils"
REQUIREMENTS = Path(__file__).parent / "requirements-evalutils.txt"
OUTPUTS = {
    "Bright": "Segmentation:mask",
    "Spots": "Multiple points:candidates",
    "Brightness": "Anything:result",
}
RUN_ORIGINAL = """
import sys
from pathlib import Path
import process
algorithm = getattr(process, sys.argv[1])()
algorithm._input_path, algorithm._output_path = Path(sys.argv[2]), Path(sys.argv[3], "images")
algorithm._output_file = Path(sys.argv[3], "results.json")
algorithm.process()
"""


@pytest.fixture(scope="session")
def evalutils_python():
    """Python of an environment with evalutils 0.4.2, made once."""
    stamp, wanted = VENV / ".requirements.sha256", hashlib.sha256(REQUIREMENTS.read_bytes())
    python = VENV / "bin" / "python"
    with VENV.with_name(f"{VENV.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another test process may be making it
        if not (stamp.is_file() and stamp.read_text() == wanted.hexdigest()):
            subprocess.run([sys.executable, "-m", "venv", "--clear", VENV], check=True)
            pip = [python, "-m", "pip", "install", "-qq", "--require-hashes", "-r", REQUIREMENTS]
            subprocess.run(pip, check=True)
            stamp.write_text(wanted.hexdigest())
    return python


def programs():
    """(before, after) by the name of their class."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    names = [re.search(r"class (\w+)", block)[1] for block in blocks]
    assert names[::2] == names[1::2] == list(OUTPUTS)
    return dict(zip(names[::2], zip(blocks[::2], blocks[1::2], strict=True), strict=True))


@pytest.fixture
def scan(tmp_path):
    """A folder with one image of unequal sides, off the origin, turned, of distinct grey levels."""
    array = np.random.default_rng(0).permutation(4 * 5 * 7).reshape(4, 5, 7).astype(np.uint8)
    image = SimpleITK.GetImageFromArray(array)
    image.SetSpacing((0.5, 0.75, 2.0))
    image.SetOrigin((-8.0, 4.0, 10.0))
    image.SetDirection((0, 1, 0, -1, 0, 0, 0, 0, 1))
    folder = tmp_path / "scan"
    folder.mkdir()
    SimpleITK.WriteImage(image, str(folder / "case_1.mha"))
    return folder


def run_original(python, name, code, scan, work):
    work.mkdir()
    (work / "process.py").write_text(code)
    subprocess.run(
        [python, "-c", RUN_ORIGINAL, name, scan, work], cwd=work, check=True, capture_output=True
    )
    (result,) = json.loads((work / "results.json").read_text())
    return result["outputs"][0]


def run_port(name, code, scan, work, output=None):
    task = name.lower()
    new(task, input=["Image:scan"], output=[output or OUTPUTS[name]], into=work)
    folder = work / task
    (folder / "process.py").write_text(code)
    shutil.copy(scan / "case_1.mha", folder / "test/input/images/scan/example.mha")
    command = [sys.executable, folder / "process.py", f"--input={folder / 'test/input'}"]
    command += [f"--output={folder / 'output'}", f"--model={folder / 'model'}"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, ""), result.stdout + result.stderr
    return folder / "output"


@pytest.mark.slow
def test_a_segmentation_is_the_same(evalutils_python, scan, tmp_path):
    before, after = programs()["Bright"]
    run_original(evalutils_python, "Bright", before, scan, tmp_path / "old")
    old = SimpleITK.ReadImage(str(tmp_path / "old" / "images" / "case_1.mha"))
    output = run_port("Bright", after, scan, tmp_path / "new")
    got = SimpleITK.ReadImage(str(output / "images" / "mask" / "output.mha"))
    np.testing.assert_array_equal(
        SimpleITK.GetArrayFromImage(got), SimpleITK.GetArrayFromImage(old)
    )
    assert 0 < SimpleITK.GetArrayFromImage(got).sum() < 4 * 5 * 7
    for of in ("GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(got, of)() == getattr(old, of)()


@pytest.mark.slow
def test_a_detection_is_the_same(evalutils_python, scan, tmp_path):
    before, after = programs()["Spots"]
    old = run_original(evalutils_python, "Spots", before, scan, tmp_path / "old")["data"]
    output = run_port("Spots", after, scan, tmp_path / "new")
    points = json.loads((output / "candidates.json").read_text())["points"]
    assert len(points) == 3
    for index, point in enumerate(points):
        assert point["point"] == [old[f"coord{axis}"][str(index)] for axis in "XYZ"]
        assert point["probability"] == old["score"][str(index)]
    rows_output = run_port("Spots", after, scan, tmp_path / "rows", "Anything:candidates")
    rows = json.loads((rows_output / "candidates.json").read_text())
    assert {k: {str(i): row[k] for i, row in enumerate(rows)} for k in rows[0]} == old


@pytest.mark.slow
def test_a_classification_is_the_same(evalutils_python, scan, tmp_path):
    before, after = programs()["Brightness"]
    old = run_original(evalutils_python, "Brightness", before, scan, tmp_path / "old")
    output = run_port("Brightness", after, scan, tmp_path / "new")
    assert json.loads((output / "result.json").read_text()) == old
    assert old["largest"] == 4 * 5 * 7 - 1


def test_a_port_changes_about_ten_lines():
    for before, after in programs().values():
        added = [line for line in after.splitlines() if line and line not in before.splitlines()]
        assert len(added) <= 10, added


def test_points_take_only_scores_that_are_probabilities():
    rows = [{"coordX": 1.0, "coordY": 2.0, "coordZ": 3.0, "score": 0.25}]
    rows.append({"coordX": 4.0, "coordY": 5.0, "score": 7.0})
    assert candidate_points(rows)["points"] == [
        {"name": "1", "point": [1.0, 2.0, 3.0], "probability": 0.25},
        {"name": "2", "point": [4.0, 5.0, 0.5]},
    ]


RESULT = """
import SimpleITK
from medvial.image_algorithm import SegmentationAlgorithm

class Bright(SegmentationAlgorithm):
    def predict(self, *, input_image):
        array = SimpleITK.GetArrayFromImage(input_image).astype("{dtype}") * {factor}
        result = SimpleITK.GetImageFromArray(array)
        result.CopyInformation(input_image)
        return result

if __name__ == "__main__":
    raise SystemExit(Bright.main())
"""


@pytest.mark.parametrize(("dtype", "factor"), [("float32", 0.25), ("uint16", 3), ("int16", -1)])
def test_a_mask_of_other_values_is_refused_and_a_heat_map_kept(scan, tmp_path, dtype, factor):
    code = RESULT.format(dtype=dtype, factor=factor)
    output = run_port("Bright", code, scan, tmp_path / "map", "Image:map")
    got = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(output / "images/map/output.mha")))
    source = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(scan / "case_1.mha")))
    np.testing.assert_array_equal(got, source.astype(dtype) * factor)
    with pytest.raises(AssertionError, match="Expected whole numbers from 0 to 255"):
        run_port("Bright", code, scan, tmp_path / "mask")


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (["Segmentation:mask", "Segmentation:other"], "got ['mask', 'other']. Write save() with"),
        (["Float:score"], "Expected one image output in sockets.json, got []"),
    ],
)
def test_more_outputs_than_the_class_knows_need_a_save(tmp_path, outputs, message):
    new("bright", input=["Image:scan"], output=outputs, into=tmp_path)
    folder = tmp_path / "bright"
    (folder / "process.py").write_text(programs()["Bright"][1])
    command = [sys.executable, folder / "process.py", f"--input={folder / 'test/input'}"]
    command += [f"--output={folder / 'output'}", f"--model={folder / 'model'}"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 1
    assert message in result.stderr.splitlines()[-1]
