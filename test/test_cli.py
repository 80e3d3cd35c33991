"""The `medvial` command: help, predict and serve as a user runs them."""

import os
import pty
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import cv2
import numpy as np
import pytest
import SimpleITK

from medvial.errors import InputError
from medvial.outputs import read_json, write_json
from medvial.sockets import Interface, Socket
from medvial_rehearsal.case_input import accepts, find_inputs, lay_out
from medvial_rehearsal.cli import COMMANDS, main
from medvial_rehearsal.project import algorithm_class, algorithm_folder, cases, tolerances

ROOT = Path(__file__).parent.parent
MEDVIAL = Path(sys.executable).with_name("medvial")
FILM = {"slug": "a-film", "kind": "Image", "relative_path": "images/films"}
VIDEO = {"slug": "a-video", "kind": "MP4 file", "relative_path": "video.mp4"}
AGE = {"slug": "an-age", "kind": "Integer", "relative_path": "age.json"}
SERIES = {"slug": "a-series", "kind": "DICOM Image Set", "relative_path": "images/series"}
REPORT = {"slug": "a-report", "kind": "Anything", "relative_path": "report.json"}
PROCESS = """
    import logging
    from medvial.algorithm import Algorithm
    from medvial.errors import InputError
    from medvial.outputs import read_json
    from medvial.stacks import open_stack

    log = logging.getLogger("medvial.test")
    own_log = logging.getLogger(__name__)
    loads = []

    class Report(Algorithm):
        def load(self):
            loads.append(self.model_path.name)

        def predict(self):
            log.info("a line of the log")
            own_log.info("a line of the log")
            self.report = {"loads": loads, "sockets": sorted(s.slug for s in self.interface.inputs)}
            if self.input_for("a-film"):
                info = open_stack(self.image_for("a-film")).info
                if info.count == 4:
                    raise InputError(f"Expected another film in {info.path.parent.parent.parent}.")
                if info.count == 5:
                    raise ZeroDivisionError("a bug")
                self.report |= {"size": info.geometry.size_xyz, "channels": info.channels}
            if self.input_for("an-age"):
                self.report["age"] = read_json(self.input_for("an-age"))
            if self.input_for("a-video"):
                self.report["video"] = self.input_for("a-video").read_text()
            if self.input_for("a-series"):
                self.report["series"] = sorted(p.name for p in self.input_for("a-series").iterdir())
            for number in range(1, 4):
                self.report_progress(number, 3)

        def save(self):
            self.write_output("a-report", self.report)
"""


@pytest.fixture
def task(tmp_path, monkeypatch):
    folder = tmp_path / "algorithms" / "reporter"
    (folder / "model").mkdir(parents=True)
    (folder / "process.py").write_text(textwrap.dedent(PROCESS))
    interfaces = [[FILM], [FILM, AGE], [VIDEO], [SERIES]]
    write_json(
        folder / "sockets.json",
        {"interfaces": [{"inputs": i, "outputs": [REPORT]} for i in interfaces]},
    )
    monkeypatch.chdir(tmp_path)
    return folder


def film(path, count=3):
    image = SimpleITK.GetImageFromArray(np.zeros((count, 5, 7), np.uint8))
    SimpleITK.WriteImage(image, str(path))
    return path


def run(*arguments):
    return main(["predict", "reporter", *map(str, arguments)])


def report(name, out="predictions"):
    return read_json(Path(out, name, "report.json"))


def test_help_names_every_command_in_a_line(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert all(any(line.split()[:1] == [c] for line in text.splitlines()) for c in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: medvial {command} ")
    assert "{" not in text.split("options:")[0]
    for line in text.split("options:")[1].splitlines():
        assert not line.rstrip().endswith(("PATH", "TEXT")) or "  --" in line


def test_the_program_is_installed():
    result = subprocess.run([MEDVIAL, "--help"], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
    result = subprocess.run([MEDVIAL], capture_output=True, text=True)
    assert result.returncode == 2
    assert "the following arguments are required: COMMAND" in result.stderr


def test_each_file_is_a_case_and_the_model_is_loaded_once(task, tmp_path, capsys):
    (tmp_path / "clip.mp4").write_text("a video")
    assert run(film(tmp_path / "a.mha"), film(tmp_path / "b.tif", 2), "clip.mp4") == 0
    assert report("a") == {
        "loads": ["model"], "sockets": ["a-film"], "size": [7, 5, 3], "channels": 1
    }  # fmt: skip
    assert report("b")["size"] == [7, 5, 2]
    assert report("clip")["video"] == "a video"
    assert report("clip")["loads"] == ["model"]
    out, err = capsys.readouterr()
    assert err == ""
    assert [line.split(": ")[0].split("/")[-1] for line in out.splitlines()] == [
        "a.mha", "b.tif", "clip.mp4"
    ]  # fmt: skip
    assert all(" s, predictions/" in line for line in out.splitlines())


def test_a_photo_becomes_an_image_of_the_platform(task, tmp_path):
    picture = np.random.default_rng(0).integers(0, 255, (5, 7, 4), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    cv2.imwrite(str(tmp_path / "b.jpg"), picture[..., 0])
    assert run("a.png", "b.jpg") == 0
    assert (report("a")["size"], report("a")["channels"]) == ([7, 5, 1], 3)
    assert report("b")["channels"] == 1


def test_further_inputs_choose_the_interface(task, tmp_path):
    write_json(tmp_path / "70.json", 70)
    assert run(film(tmp_path / "a.mha"), "--input", "an-age=70.json") == 0
    assert report("a")["sockets"] == ["a-film", "an-age"]
    assert report("a")["age"] == 70


def test_a_folder_is_a_series_or_a_case(task, tmp_path):
    for name in ("1.dcm", "2.dcm"):
        (tmp_path / "series").mkdir(exist_ok=True)
        (tmp_path / "series" / name).write_text("")
    write_json(tmp_path / "case" / "age.json", 60)
    (tmp_path / "case" / "images" / "films").mkdir(parents=True)
    film(tmp_path / "case" / "images" / "films" / "x.mha")
    assert run("series", "case") == 0
    assert report("series")["series"] == ["1.dcm", "2.dcm"]
    assert report("case")["age"] == 60


def test_a_file_that_fails_is_told_and_the_others_go_on(task, tmp_path, capsys):
    film(tmp_path / "bad.mha", 4)
    film(tmp_path / "bug.mha", 5)
    (tmp_path / "notes.txt").write_text("")
    assert run("bad.mha", "none.mha", "notes.txt", "bug.mha", film(tmp_path / "a.mha")) == 1
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert lines[0] == "bad.mha: failed: Expected another film in input."
    assert lines[1] == "none.mha: failed: Expected a file or folder, found none at none.mha."
    assert lines[2].startswith("notes.txt: failed: Expected a-film (Image: .mha .tif ")
    assert lines[2].endswith("a-series (DICOM Image Set: .dcm .dicom); got notes.txt.")
    assert lines[3] == "bug.mha: failed: ZeroDivisionError: a bug"
    assert "Traceback" in out
    assert out.splitlines()[-1] == "4 of 5 failed"
    assert sorted(p.name for p in Path("predictions").iterdir()) == ["a"]


def test_names_are_unique_and_results_are_not_overwritten(task, tmp_path, capsys):
    (tmp_path / "other").mkdir()
    files = [film(tmp_path / "a.mha"), film(tmp_path / "other" / "a.mha", 2)]
    assert run(*files) == 0
    assert (report("a")["size"][2], report("a-2")["size"][2]) == (3, 2)
    capsys.readouterr()
    film(tmp_path / "a.mha", 1)
    assert run(*files) == 1
    assert capsys.readouterr().err == (
        "error: Expected no results yet, found predictions/a, predictions/a-2. Choose another "
        "--out, or replace them with --overwrite.\n"
    )
    assert run(*files, "--overwrite") == 0
    assert report("a")["size"][2] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["reporter", "a.mha", "--input", "age"], "Expected --input SLUG=FILE, once for each"),
        (["reporter", "a.mha", "--input", "x=y"], "of a-film, an-age, a-video, a-series, got x=y"),
        (["reporter", "a.mha", "--input", "an-age=y"], "a file for an-age, found none at y"),
        (["reporter", "a.mha", "--input", "an-age=a.mha"], "ends with .json for an-age (Integer)"),
        (["nothing", "a.mha"], "or a folder with process.py, got nothing"),
    ],
)
def test_a_mistake_is_one_line(task, tmp_path, capsys, arguments, message):
    film(tmp_path / "a.mha")
    assert main(["predict", *arguments]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1
    assert not Path("predictions").exists()


def test_any_name_is_printed_and_a_closed_pipe_is_no_bug(task, tmp_path):
    name = os.fsdecode(b"\xe9\xff.mha")
    film(tmp_path / "a.mha").rename(tmp_path / name)
    command = [MEDVIAL, "predict", "reporter", name, "--overwrite"]
    ascii_only = os.environ | {"PYTHONIOENCODING": "ascii"}
    result = subprocess.run(command, capture_output=True, cwd=tmp_path, env=ascii_only)
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout.startswith(rb"\udce9\udcff.mha: ")
    reader, writer = os.pipe()
    os.close(reader)
    closed = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, cwd=tmp_path)
    os.close(writer)
    assert (closed.returncode, closed.stderr) == (1, b"")


@pytest.mark.parametrize("arguments", [["none.tar.gz"], ["a.tar", "none.tar.gz"], ["."]])
def test_check_of_no_file_is_one_line(tmp_path, monkeypatch, capsys, arguments):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.tar").touch()
    assert main(["check", *arguments]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        f"error: Expected an archive, found no file at {arguments[-1]}. export.sh writes it.\n"
    )


def test_a_file_that_several_inputs_take_is_asked_for(tmp_path):
    film_a = Socket("a", "Image", "images/a")
    film_b = Socket("b", "Image", "images/b")
    path = film(tmp_path / "f.mha")
    apart = [Interface((film_a,), ()), Interface((film_b,), ())]
    with pytest.raises(InputError, match=r"a or b\. Name the other .* or say which .* --as-input"):
        find_inputs(apart, path, {})
    assert find_inputs(apart, path, {}, "b").files == ((film_b, path),)
    pair = [Interface((film_a, film_b), ())]
    assert find_inputs(pair, path, {"b": path}).files == ((film_a, path), (film_b, path))


def test_an_input_that_files_cannot_be_is_refused(task, tmp_path, capsys):
    path = film(tmp_path / "f.mha")
    assert run(path, "--as-input", "films") == 1
    assert "Expected --as-input to be one of a-film, " in capsys.readouterr().err
    assert run(path, "--as-input", VIDEO["slug"]) == 1
    assert f"got {path}" in capsys.readouterr().err
    assert run(path, "--as-input", FILM["slug"]) == 0


def test_the_folder_is_laid_out_as_the_platform_does(tmp_path):
    own = Socket("a-film", "Image", "images/films", None)
    age = Socket("an-age", "Integer", "sub/age.json", {"minimum": 0})
    write_json(tmp_path / "70.json", 70)
    (tmp_path / "input").mkdir()
    lay_out([(own, film(tmp_path / "f.mha")), (age, tmp_path / "70.json")], tmp_path / "input")
    found = sorted(
        p.relative_to(tmp_path / "input").as_posix() for p in tmp_path.rglob("input/**/*")
    )
    assert found == ["images", "images/films", "images/films/f.mha", "inputs.json", "sub",
                     "sub/age.json"]  # fmt: skip
    first, second = read_json(tmp_path / "input" / "inputs.json")
    assert first["socket"] == first["interface"]
    assert second["socket"]["relative_path"] == "sub/age.json"
    assert second["socket"]["super_kind"] == "Value"


@pytest.mark.parametrize(
    ("kind", "path", "expected"),
    [
        ("Image", "a.MHA", True),
        ("Image", "a.nii.gz", False),
        ("Image", "a.mp4", False),
        ("MP4 file", "a.avi", True),
        ("Thumbnail jpg", "a.jpg", True),
        ("CSV file", "a.csv", True),
        ("Float", "a.json", True),
        ("Float", "a.txt", False),
        ("DICOM Image Set", "a.dcm", True),
    ],
)
def test_inputs_take_files_by_their_ending(kind, path, expected):
    assert accepts(Socket("a", kind, "a"), Path(path)) == expected


def test_a_dicom_file_needs_no_ending(task, tmp_path):
    (tmp_path / "IM.0001").write_bytes(bytes(128) + b"DICM")
    (tmp_path / "IM.0002").write_bytes(bytes(128) + b"DOCM")
    assert run("IM.0001") == 0
    assert report("IM")["series"] == ["IM.0001"]
    assert run("IM.0002", "--out", "other") == 1


def test_progress_is_shown_on_a_terminal_only(task, tmp_path):
    film(tmp_path / "a.mha")
    command = [MEDVIAL, "predict", "reporter", "a.mha", "--overwrite"]
    piped = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert (piped.returncode, piped.stderr) == (0, "")
    assert "\r" not in piped.stdout
    assert "\x1b" not in piped.stdout
    main_end, program_end = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen(
        command, stdout=program_end, stderr=program_end, cwd=tmp_path, env=environment
    )
    os.close(program_end)
    shown = b""
    while True:
        try:
            piece = os.read(main_end, 4096)
        except OSError:  # the other end is closed
            break
        shown += piece
    assert process.wait() == 0
    assert b"this file" in shown
    assert b"a.mha: " in shown


def test_a_task_is_found_from_anywhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    folder = algorithm_folder("cldetection")
    assert folder == ROOT / "algorithms" / "cldetection"
    assert algorithm_folder(folder) == folder
    assert algorithm_class(folder).__name__ == "CephalometricLandmarks"
    assert cases(folder)[0].name == ""
    assert cases(folder)[0].input.is_dir()


def test_cases_are_the_main_one_and_the_folders_with_an_input(task):
    for name in ("input", "many/input", "empty"):
        (task / "test" / name).mkdir(parents=True)
    write_json(task / "test" / "tolerances.json", {})
    found = cases(task)
    assert [case.name for case in found] == ["", "many"]
    assert tolerances(task, found[1]) == task / "test" / "tolerances.json"
    write_json(task / "test" / "many" / "tolerances.json", {})
    assert tolerances(task, found[1]) == task / "test" / "many" / "tolerances.json"
    shutil.rmtree(task / "test")
    assert cases(task) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("raise KeyError('x')", "Expected to import .*process.py, got KeyError"),
        ("from medvial.algorithm import Algorithm", r"one subclass of Algorithm in .*, got \[\]"),
    ],
)
def test_a_program_that_cannot_be_used_is_told(task, text, message):
    (task / "process.py").write_text(text)
    with pytest.raises(InputError, match=message):
        algorithm_class(task)


def test_serve_says_what_is_wrong(task, capsys):
    assert main(["serve", "nothing"]) == 1
    assert "got nothing" in capsys.readouterr().err
