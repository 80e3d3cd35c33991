"""The algorithm base, sockets and outputs: a real process on real folders."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from medvial.errors import InputError
from medvial.metaimage_writer import ImageGeometry, MetaImageWriter
from medvial.outputs import read_json, write_json
from medvial.sockets import Socket, load_interfaces, select_interface, validate

NUMBER = {"slug": "a-number", "kind": "Float", "relative_path": "numbers/a.json"}
OFFSET = {"slug": "an-offset", "kind": "Float", "relative_path": "offset.json"}
DOUBLE = {"slug": "twice", "kind": "Float", "relative_path": "twice.json"}
NOTE = {
    "slug": "a-note",
    "kind": "String",
    "relative_path": "note.json",
    "schema": {"maxLength": 20},
}
SOCKETS = {
    "interfaces": [
        {"inputs": [NUMBER], "outputs": [DOUBLE, NOTE]},
        {"inputs": [NUMBER, OFFSET], "outputs": [DOUBLE, NOTE]},
    ]
}
PROCESS = """
    import json, logging, os, time
    from medvial.algorithm import Algorithm
    from medvial.errors import InputError

    class Twice(Algorithm):
        def load(self):
            self.factor = 2

        def predict(self):
            self.value = self.factor * json.loads(self.input_for("a-number").read_text())
            offset = self.input_for("an-offset")
            self.value += json.loads(offset.read_text()) if offset else 0
            logging.getLogger().info("file %s", os.fsdecode(b"\\xff.mha"))
            self.report_progress(1, 1)
            if self.value == 10_000:
                raise InputError("x" * 100_000)
            if self.value == 26:
                raise RuntimeError("unlucky\\nnumber")
            if self.value == 30:
                self.input_for("a-nunber")
            if self.value == 28:
                raise SystemExit(0)
            if self.value < 0:
                time.sleep(60)

        def save(self):
            self.write_output("twice", self.value)
            self.write_output("a-note", "x" * int(self.value))

    if __name__ == "__main__":
        raise SystemExit(Twice.main())
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "process.py").write_text(textwrap.dedent(PROCESS))
    write_json(tmp_path / "sockets.json", SOCKETS)
    (tmp_path / "output").mkdir()
    return tmp_path


def give(folder, value, **others):
    write_json(folder / "input" / "numbers" / "a.json", value)
    for name, content in others.items():
        write_json(folder / "input" / f"{name}.json", content)


def command(folder):
    paths = [f"--{name}={folder / name}" for name in ("input", "output", "model")]
    return [sys.executable, str(folder / "process.py"), *paths]


def run(folder):
    return subprocess.run(command(folder), capture_output=True, text=True, timeout=60)


def outputs(folder):
    return sorted(p.name for p in (folder / "output").iterdir())


def test_a_case_gives_all_outputs_and_a_silent_stderr(folder):
    give(folder, 5)
    result = run(folder)
    assert (result.returncode, result.stderr) == (0, "")
    assert outputs(folder) == ["note.json", "twice.json"]
    assert read_json(folder / "output" / "twice.json") == 10


def test_the_interface_follows_the_inputs(folder):
    give(folder, 5, offset=0.5)
    assert run(folder).returncode == 0
    assert read_json(folder / "output" / "twice.json") == 10.5


@pytest.mark.parametrize("keys", [("interface",), ("interface", "socket"), ("socket",)])
def test_inputs_json_of_every_generation_selects_the_interface(folder, keys):
    give(folder, 5, offset=0.5)
    entries = [{key: {"slug": "a-number"} for key in keys}]
    write_json(folder / "input" / "inputs.json", entries)
    assert run(folder).returncode == 0
    assert read_json(folder / "output" / "twice.json") == 10  # the offset is not declared


def test_an_unknown_set_of_inputs_is_named(folder):
    give(folder, 5)
    write_json(folder / "input" / "inputs.json", [{"socket": {"slug": "a-picture"}}])
    result = run(folder)
    assert result.returncode == 1
    assert result.stderr.startswith("InputError: Expected the inputs ['a-number'] or")
    assert "got ['a-picture']" in result.stderr


def test_an_empty_case_says_what_is_expected(folder):
    (folder / "input").mkdir()
    result = run(folder)
    assert result.returncode == 1
    assert "Expected ['numbers/a.json'] or" in result.stderr
    assert "got an empty folder" in result.stderr


def test_an_invalid_output_leaves_none_not_even_an_earlier_one(folder):
    give(folder, 5)
    assert run(folder).returncode == 0
    give(folder, 21)
    result = run(folder)
    assert result.returncode == 1
    assert "Expected note.json to be valid String" in result.stderr
    assert outputs(folder) == []


def test_an_unexpected_failure_is_one_line_on_stderr(folder):
    give(folder, 13)
    result = run(folder)
    assert result.returncode == 1
    assert result.stderr == "RuntimeError: unlucky number\n"
    assert "Traceback" in result.stdout
    assert outputs(folder) == []


def test_an_exit_in_the_middle_is_no_success(folder):
    give(folder, 14)
    result = run(folder)
    assert (result.returncode, result.stderr) == (1, "SystemExit: 0\n")
    assert outputs(folder) == []


def test_a_slug_that_no_interface_has_is_a_mistake(folder):
    give(folder, 15)
    message = "ValueError: Expected one of the inputs ['a-number', 'an-offset'], got 'a-nunber'\n"
    assert run(folder).stderr == message


def test_ending_a_worker_process_does_not_end_the_program():
    program = """
        import multiprocessing, sys, time
        from medvial import program

        program.GRACE_S = 0.1

        def job():
            worker = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
            worker.start()
            worker.terminate()
            worker.join()
            time.sleep(1)

        sys.exit(program.run_program(job))
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stderr) == (0, "")


def test_sigterm_ends_it_at_once(folder):
    give(folder, -1)
    process = subprocess.Popen(command(folder), stdout=subprocess.PIPE)
    assert process.stdout.readline().startswith(b"file ")  # it is at work
    start = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 143
    assert time.monotonic() - start < 5


def test_logs_are_utf_8_whatever_a_file_is_called(folder):
    give(folder, 5)
    for environment in ({"LC_ALL": "C"}, {"PYTHONIOENCODING": "latin-1"}):
        result = subprocess.run(
            command(folder), capture_output=True, env=os.environ | environment, timeout=60
        )
        assert result.returncode == 0
        assert r"file \udcff.mha" in result.stdout.decode("utf-8")


def test_a_reason_is_a_line_that_the_platform_shows(folder):
    give(folder, 5000)
    result = run(folder)
    assert result.returncode == 1
    assert result.stderr.startswith("InputError: xxx")
    assert len(result.stderr) == 2001


def test_the_method_is_exec_unless_the_image_says_otherwise(folder):
    give(folder, 5)
    for environment in ({}, {"MEDVIAL_API_METHOD": ""}, {"MEDVIAL_API_METHOD": "exec"}):
        assert subprocess.run(command(folder), env=os.environ | environment).returncode == 0
    invoke = os.environ | {"MEDVIAL_API_METHOD": "invoke"}
    assert subprocess.run([*command(folder), "--method=exec"], env=invoke).returncode == 0


def test_an_unwritable_output_is_found_before_the_work_is_done(folder):
    give(folder, 13)
    (folder / "output").rmdir()
    (folder / "output").write_text("a file, not a folder")
    result = run(folder)
    assert result.returncode == 1
    assert "InputError: Expected to write" in result.stderr


POINTS = Socket("p", "Multiple points", "p.json")


def points(**changes):
    point = {"name": "1", "point": [1.5, 2.0, 1], "probability": 0.5} | changes
    return {"type": "Multiple points", "points": [point], "version": {"major": 1, "minor": 0}}


def test_valid_points_pass():
    validate(POINTS, points())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": 1}, "1 is not of type 'string'"),
        ({"point": [1, 2]}, r"\[1, 2\] is too short"),
        ({"probability": 1.2}, "1.2 is greater than the maximum"),
        ({"scale": "0.1"}, "Additional properties are not allowed"),
    ],
)
def test_what_the_platform_would_refuse_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        validate(POINTS, points(**change))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, np.float32("nan")])
def test_json_is_strict(tmp_path, value):
    with pytest.raises(InputError, match=r"Cannot write a\.json as JSON"):
        write_json(tmp_path / "a.json", {"value": value})
    assert list(tmp_path.iterdir()) == []


def test_numpy_numbers_become_plain_ones(tmp_path):
    write_json(tmp_path / "a.json", {"a": np.float32(0.5), "b": np.arange(3), "c": np.int64(7)})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": 0.5, "b": [0, 1, 2], "c": 7}


def test_broken_sockets_are_named(tmp_path):
    write_json(tmp_path / "sockets.json", {"interfaces": [{"inputs": [{"slug": "a"}]}]})
    with pytest.raises(InputError, match=r"slug, kind, relative_path in .*sockets\.json"):
        load_interfaces(tmp_path / "sockets.json")


def test_broken_inputs_json_is_named(folder):
    give(folder, 1)
    (folder / "input" / "inputs.json").write_text('["a-number"]')
    with pytest.raises(InputError, match=r"entries with socket\.slug or interface\.slug"):
        select_interface(load_interfaces(folder / "sockets.json"), folder / "input")


MASKS = """
    import json
    from dataclasses import replace
    import numpy as np
    from medvial.algorithm import Algorithm
    from medvial.stacks import open_stack

    class Masks(Algorithm):
        def load(self):
            pass

        def predict(self):
            self.geometry = open_stack(self.image_for("a-film")).info.geometry
            if self.input_path.name == "shifted":
                self.geometry = replace(self.geometry, origin_mm=(1, 0, 0))

        def save(self):
            with self.image_output("a-mask", self.geometry) as image:
                for _ in range(self.geometry.size_xyz[2]):
                    image.write(np.zeros((5, 7), np.uint8))

    if __name__ == "__main__":
        raise SystemExit(Masks.main())
"""


def test_an_image_output_like_an_input_has_its_geometry(tmp_path):
    (tmp_path / "process.py").write_text(textwrap.dedent(MASKS))
    film = {"slug": "a-film", "kind": "Image", "relative_path": "images/films"}
    mask = {"slug": "a-mask", "kind": "Segmentation", "relative_path": "images/mask"}
    interface = {"inputs": [film], "outputs": [mask | {"like": "a-film"}]}
    write_json(tmp_path / "sockets.json", {"interfaces": [interface]})
    results = {}
    for name in ("input", "shifted"):
        path = tmp_path / name / "images" / "films" / "a.mha"
        with MetaImageWriter(path, ImageGeometry((7, 5, 2), (0.5, 0.25, 3.0))) as writer:
            for _ in range(2):
                writer.write(np.ones((5, 7), np.uint8))
        paths = [f"--input={tmp_path / name}", f"--output={tmp_path / 'output' / name}"]
        command = [sys.executable, str(tmp_path / "process.py"), *paths]
        results[name] = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (results["input"].returncode, results["input"].stderr) == (0, "")
    assert results["shifted"].returncode == 1
    assert results["shifted"].stderr == (
        "InputError: Expected images/mask to have the origin of the input a-film, "
        "[0.0, 0.0, 0.0], got [1.0, 0.0, 0.0]. Write it with the input's geometry.\n"
    )
    assert not [p for p in (tmp_path / "output" / "shifted").rglob("*") if p.is_file()]
