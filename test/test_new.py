"""`medvial new`: folders for any kinds, in the project's style, that run and can be rehearsed."""

import json
import locale
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import SimpleITK
from synthetic import engine_answers

from medvial.errors import InputError
from medvial.models import ModelFolder
from medvial.socket_kinds import DICOM_IMAGE_SET, all_kinds
from medvial.sockets import Socket, load_interfaces, validate
from medvial.video import open_cine
from medvial_rehearsal.cli import main
from medvial_rehearsal.examples import FRAMES, example_image, example_value, write_example
from medvial_rehearsal.new import new
from medvial_rehearsal.python_literal import python_literal
from medvial_rehearsal.requirements_subset import add_pins

ROOT = Path(__file__).parent.parent
KINDS = list(all_kinds().values())
JSON_KINDS = [kind for kind in KINDS if kind.is_json]


def slug(kind):
    return "-".join(re.findall(r"[a-z0-9]+", kind.name.lower()))


def run_program(folder, case="test/input"):
    command = [sys.executable, folder / "process.py", f"--input={folder / case}"]
    command += [f"--output={folder / 'output'}", f"--model={folder / 'model'}"]
    return subprocess.run(command, capture_output=True, text=True)


def lint(folder):
    ruff = [sys.executable, "-m", "ruff"]
    settings = ["--no-cache", "--config", ROOT / "pyproject.toml", folder]
    for command in ([*ruff, "check", *settings], [*ruff, "format", "--check", *settings]):
        result = subprocess.run(command, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout
    mypy = [sys.executable, "-m", "mypy", "--config-file", ROOT / "pyproject.toml"]
    result = subprocess.run(
        [*mypy, folder / "process.py"], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout


def test_every_kind_at_once_runs_in_silence_and_is_in_the_style_of_the_project(tmp_path):
    inputs = [f"{kind.name}:{slug(kind)}" for kind in KINDS]
    outputs = [f"{k.name}:{slug(k)}-out" for k in KINDS if k.name != DICOM_IMAGE_SET]
    new("all_kinds", input=inputs, output=outputs, into=tmp_path)
    folder = tmp_path / "all_kinds"
    result = run_program(folder)
    assert (result.returncode, result.stderr) == (0, ""), result.stdout
    assert f"mp4_file: {FRAMES} frames" in result.stdout
    (interface,) = load_interfaces(folder / "sockets.json")
    expected = json.loads((folder / "test" / "expected_output.json").read_text())
    assert len(expected) == len(interface.outputs) + 1 == len(outputs) + 1
    assert expected["images/segmentation-out/output.mha"]["image"]["labels"]["1"] == 3 * 12 * 16
    lint(folder)


def test_examples_leave_the_locale_alone(tmp_path):
    before = locale.setlocale(locale.LC_ALL)
    new("series", input=[f"{DICOM_IMAGE_SET}:series"], output=["Float:score"], into=tmp_path)
    assert locale.setlocale(locale.LC_ALL) == before


@pytest.mark.parametrize("output", ["Segmentation", "Heat Map", "Displacement field", "Image"])
def test_an_image_output_needs_no_image_input(tmp_path, output):
    new("drawn", input=["Integer:age"], output=[f"{output}:picture"], into=tmp_path)
    assert run_program(tmp_path / "drawn").returncode == 0
    picture = tmp_path / "drawn" / "output" / "images" / "picture" / "output.mha"
    assert SimpleITK.ReadImage(str(picture)).GetSize() == (32, 24, 5)


def test_the_readme_seals_weights_in_subfolders(tmp_path):
    new("folds", input=["Image:ct"], output=["Float:score"], into=tmp_path)
    folder = tmp_path / "folds"
    (folder / "model" / "fold_0").mkdir()
    (folder / "model" / "fold_0" / "w.bin").write_bytes(b"weights")
    (command,) = re.findall(r'python -c "(.*?)"', (folder / "README.md").read_text(), re.DOTALL)
    subprocess.run(
        [sys.executable, "-c", command.replace("\\\n", "")], cwd=folder, check=True, timeout=60
    )
    assert "fold_0/w.bin" in ModelFolder.open(folder / "model", task="folds").manifest.files
    assert run_program(folder).returncode == 0


def test_a_folder_has_all_that_a_task_has(tmp_path):
    kinds = {"input": ["image:ct", "Float:age:numbers/a.json"], "output": ["multiple-points:spots"]}
    new("spots", **kinds, into=tmp_path)
    folder = tmp_path / "spots"
    found = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert found == {
        *("README.md", "process.py", "sockets.json", "build.sh", "test.sh", "export.sh"),
        *("requirements.in", "requirements.txt", "requirements-gpu.in", "requirements-gpu.txt"),
        *("model/manifest.json", "model/parameters.json", "test/expected_output.json"),
        *("test/input/images/ct/example.mha", "test/input/numbers/a.json"),
    }
    (interface,) = load_interfaces(folder / "sockets.json")
    assert [(s.slug, s.kind, s.relative_path) for s in (*interface.inputs, *interface.outputs)] == [
        ("ct", "Image", "images/ct"),
        ("age", "Float", "numbers/a.json"),
        ("spots", "Multiple points", "spots.json"),
    ]
    assert ModelFolder.open(folder / "model", task="spots")
    for name in ("build.sh", "test.sh", "export.sh"):
        shim = (ROOT / "algorithms" / "cldetection" / name).read_text()
        assert (folder / name).read_text() == shim.replace("cldetection", "spots")
        assert (folder / name).stat().st_mode & 0o111
    base = (ROOT / "algorithms" / "cldetection" / "requirements.txt").read_text()
    pins = set(re.findall(r"^\S+==\S+", (folder / "requirements.txt").read_text(), re.MULTILINE))
    assert {p.split("==")[0] for p in pins - set(re.findall(r"^\S+==\S+", base, re.MULTILINE))} == {
        "simpleitk"
    }
    assert "simpleitk" in (folder / "requirements.in").read_text()


def test_a_slug_that_is_a_word_of_python_or_of_the_base_is_no_trouble(tmp_path):
    inputs = ["Float:class", "Float:model-path", "Float:2d-size", "Float:log"]
    inputs += ["Float:read-json", "MP4 file:open-cine", "Float:str"]
    outputs = ["Float:run", "String:folder", "Bool:json"]
    new("model_folder", input=inputs, output=outputs, into=tmp_path)
    result = run_program(tmp_path / "model_folder")
    assert (result.returncode, result.stderr) == (0, ""), result.stdout
    lint(tmp_path / "model_folder")


def test_a_folder_elsewhere_says_where_it_can_be_built(tmp_path, caplog):
    caplog.set_level("INFO")
    new("spots", input=["Float:age"], output=["Float:risk"], into=tmp_path)
    assert f"Move it to {ROOT / 'algorithms'} to build it" in caplog.text


def command(tmp_path, *words):
    return main(["new", *words, "--into", str(tmp_path)])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["Spots"], "Expected a name of lower-case letters"),
        (["../spots"], "Expected a name of lower-case letters"),
        (["spots", "--input", "Picture:ct"], "Expected a kind of String, Integer, "),
        (["spots", "--input", "Image"], 'Expected KIND:SLUG, as in "Multiple points:lesions"'),
        (["spots", "--input", "Image:CT"], "Expected a slug of lower-case letters"),
        (["spots", "--input", "Image:ct:ct"], "to be a folder below images/"),
        (["spots", "--input", "Float:age:../age.json"], "to be a plain one below"),
        (["spots", "--output", "DICOM Image Set:ct"], "the platform takes no DICOM Image Set"),
        (["spots", "--input", "Float:number"], "the slug number once among the sockets"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(tmp_path, capsys, words, message):
    words = [*words, "--input", "Float:number", "--output", "Float:score"]
    assert command(tmp_path, *words) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_there_stays_as_it_is(tmp_path, capsys):
    (tmp_path / "spots").mkdir()
    assert command(tmp_path, "spots", "--input", "Float:a", "--output", "Float:b") == 1
    assert "is there: choose another name" in capsys.readouterr().err
    assert not list((tmp_path / "spots").iterdir())


@pytest.mark.parametrize("kind", JSON_KINDS, ids=lambda k: k.name)
def test_an_example_of_a_kind_is_valid(kind):
    validate(Socket("value", kind.name, "value.json"), example_value(kind))


def test_examples_are_read_by_others(tmp_path):
    kinds = all_kinds()
    write_example(kinds["MP4 file"], tmp_path / "a.mp4")
    with open_cine(tmp_path / "a.mp4") as cine:
        assert sum(1 for _ in cine) == FRAMES
        assert cine.info.fps == 25
    write_example(kinds[DICOM_IMAGE_SET], tmp_path / "series")
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path / "series")))
    series, image = reader.Execute(), example_image(kinds["Image"])
    for of in ("GetSize", "GetSpacing", "GetOrigin"):
        assert getattr(series, of)() == pytest.approx(getattr(image, of)())


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": [1, 2.5, None, True]}, '{"a": [1, 2.5, None, True]}'),
        ("it's", '"it\'s"'),
        ([], "[]"),
        (["x" * 60, {"y": "z" * 30}], f'[\n    "{"x" * 60}",\n    {{"y": "{"z" * 30}"}},\n]'),
    ],
)
def test_values_are_written_as_the_formatter_does(value, text):
    assert python_literal(value, indent=0, used=0) == text


def test_pins_come_from_the_larger_lock_in_order(tmp_path):
    (tmp_path / "large.txt").write_text("b==2 \\\n    --hash=sha256:b\nd==4 \\\n    --hash=d\n")
    lock = "# made by hand\na==1 \\\n    --hash=sha256:a\nc==3 \\\n    --hash=sha256:c\n"
    added = add_pins(lock, tmp_path / "large.txt", ["b"])
    assert re.findall(r"^\w==\d", added, re.MULTILINE) == ["a==1", "b==2", "c==3"]
    assert "--hash=sha256:b" in added
    with pytest.raises(InputError, match="Expected z in"):
        add_pins(lock, tmp_path / "large.txt", ["z"])


@pytest.fixture
def project(tmp_path):
    """A copy of what an image is built of."""
    if not engine_answers():
        pytest.skip("no Docker engine answers")
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "shared", tmp_path / "shared", ignore=ignore)
    for name in ("build.sh", ".dockerignore"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "algorithms").mkdir()
    for path in (ROOT / "algorithms").iterdir():
        if path.is_file():
            shutil.copy(path, tmp_path / "algorithms" / path.name)
    yield tmp_path
    for tag in ("latest", "invoke"):
        subprocess.run(["docker", "image", "rm", "--force", f"medvial-fresh_task:{tag}"])


@pytest.mark.docker
def test_a_new_task_builds_and_passes_its_rehearsal_with_the_platforms_client(project):
    new(
        "fresh_task",
        input=["Image:scan", "MP4 file:video", "Integer:age"],
        output=["Segmentation:mask:images/organ", "Multiple points:spots", "CSV file:table"],
        into=project / "algorithms",
    )
    folder = project / "algorithms" / "fresh_task"
    for option in ([], ["--invoke"]):
        built = subprocess.run([folder / "build.sh", *option], capture_output=True, text=True)
        assert built.returncode == 0, built.stdout + built.stderr
    rehearse = [Path(sys.executable).parent / "medvial", "rehearse", folder, "--quick", "--client"]
    result = subprocess.run(rehearse, capture_output=True, text=True)
    print(result.stdout)
    assert result.returncode == 0, result.stdout + result.stderr
    for gate in ("C1", "C3", "D2", "G1 exec", "G1 invoke", "G3", "G5", "D5", "D6"):
        assert re.search(rf"^{gate} +passed", result.stdout, re.MULTILINE), gate
    assert not re.search(r"^\S+( exec| invoke)? +failed", result.stdout, re.MULTILINE)
