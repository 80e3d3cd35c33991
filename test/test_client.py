"""The platform's own client on algorithms of this host: good ones, and those it shows as failed."""

import subprocess
import textwrap
from pathlib import Path

import pytest

from medvial_rehearsal.client import ClientRehearsal, panimg_check
from medvial_rehearsal.client import rehearsal as gates
from medvial_rehearsal.client.environment import (
    PYTHON_VARIABLE,
    client_python,
    find_python312,
    script,
)
from medvial_rehearsal.client.forge import run_forge
from medvial_rehearsal.client.session import CaseResult, Session
from medvial_rehearsal.client.verify import verify_outputs, verify_session
from medvial_rehearsal.gates import GateFailure, GateNotRun, GateWarning, Status
from medvial_rehearsal.new import new

slow = pytest.mark.slow
SIGNED = {"signature_valid": True, "return_code": 0}

# A server that does what it is told, in the place of the algorithm's.
SERVER = """
    import http.server, sys
    from pathlib import Path

    options = dict(word[2:].split("=", 1) for word in sys.argv[1:])

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.answer(200)

        def do_POST(self):
            Path(options["output"], "score.json").write_text("0.75")
            self.answer(ANSWER)

        def answer(self, status):
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            pass

    http.server.HTTPServer(("0.0.0.0", int(options["port"])), Handler).serve_forever()
"""
# A command that writes the expected outputs, then misbehaves.
COMMAND = """
    import os, sys
    from pathlib import Path

    options = dict(word[2:].split("=", 1) for word in sys.argv[1:])
    output = Path(options["output"])
    (output / "score.json").write_text("0.75")
    MISBEHAVE
"""


@pytest.fixture(scope="module")
def python312():
    try:
        return client_python()
    except GateNotRun as why:
        pytest.skip(str(why))


@pytest.fixture
def algorithm(tmp_path):
    """An algorithm of a mask and a score, with two cases."""
    outputs = ["Segmentation:mask", "Float:score"]
    new("twins", input=["Image:scan", "Integer:age"], output=outputs, into=tmp_path)
    folder = tmp_path / "twins"
    second = folder / "test" / "second"
    second.mkdir()
    for name in ("input", "expected_output.json"):
        subprocess.run(["cp", "-r", folder / "test" / name, second / name], check=True)
    return folder


@pytest.fixture
def score_only(tmp_path):
    """An algorithm of one number, whose program each test replaces."""
    new("score_only", input=["Integer:age"], output=["Float:score"], into=tmp_path)
    return tmp_path / "score_only"


def rehearsal(folder, tmp_path, **others):
    return ClientRehearsal(folder, folder / "model", {}, tmp_path / "work", **others)


def replace_program(folder, text, **parts):
    for name, value in parts.items():
        text = text.replace(name, str(value))
    (folder / "process.py").write_text(textwrap.dedent(text))


@slow
def test_the_client_runs_every_case_by_either_method(python312, algorithm, tmp_path):
    context = rehearsal(algorithm, tmp_path)
    for outcome in (gates.host_exec(context), gates.host_invoke(context)):
        assert outcome.status is Status.PASSED, outcome
        assert "2 cases signed and as expected" in outcome.found
    assert gates.one_image(context).found == "2 imported"
    assert gates.segments(context).found == "mask [0, 1]; mask [0, 1]"
    for outcome in (gates.time_limit(context), gates.generations(context)):
        assert outcome.status is Status.PASSED, outcome
    for session in context._sessions.values():
        assert [case.stored for case in session.cases] == [
            ("images/mask/output.mha", "score.json")
        ] * 2
    assert "no image for exec" in gates.image_exec(context).found


@slow
def test_another_result_than_the_expected_one_fails(python312, score_only, tmp_path):
    path = score_only / "process.py"
    path.write_text(path.read_text().replace("self.score = 0.75", "self.score = 3.75"))
    outcome = gates.host_exec(rehearsal(score_only, tmp_path))
    assert outcome.status is Status.FAILED
    assert "expected 0.75, got 3.75: off by 3" in outcome.found


@slow
@pytest.mark.parametrize(("answer", "status"), [(200, "failed"), (500, "failed"), (201, "passed")])
def test_a_server_must_answer_201(python312, score_only, tmp_path, answer, status):
    replace_program(score_only, SERVER, ANSWER=answer)
    outcome = gates.host_invoke(rehearsal(score_only, tmp_path))
    assert outcome.status == status, outcome
    if status == "failed":
        assert "return code 1" in outcome.found
        assert f"status {answer}, expected 201" in outcome.mend


@slow
@pytest.mark.parametrize(
    ("code", "status", "found"),
    [
        ("pass", "passed", "1 case signed"),
        (r"os.write(1, b'temp\xe9rature\n')", "failed", "a log line that is not UTF-8"),
        ("sys.exit('ValueError: no lung')", "failed", "return code 1: ValueError: no lung"),
        ("(output / 'more.txt').write_text('')", "failed", "undeclared: ['more.txt']"),
        ("(output / 'score.json').unlink()", "failed", "'score.json' was not produced"),
        ("print('careful', file=sys.stderr)", "warning", "on standard error: careful"),
    ],
)
def test_what_the_client_shows_of_a_command(python312, score_only, tmp_path, code, status, found):
    replace_program(score_only, COMMAND, MISBEHAVE=code)
    outcome = gates.host_exec(rehearsal(score_only, tmp_path))
    assert outcome.status == status, outcome
    assert found in outcome.found


@slow
def test_outputs_written_too_early_are_not_taken_for_a_result(python312, score_only, tmp_path):
    replace_program(score_only, COMMAND, MISBEHAVE="import time; time.sleep(60)")
    outcome = gates.time_limit(rehearsal(score_only, tmp_path))
    assert outcome.found == "'Time limit exceeded', no outputs"


@slow
@pytest.mark.parametrize(
    ("images", "message"),
    [
        ({"a.mha": "uint8", "b.mha": "uint8"}, "Only 1 image should be produced in 'mask', got 2"),
        ({"a.nii.gz": "uint8"}, "No output images could be imported from 'mask': a.nii.gz"),
        ({}, "No output images could be imported from 'mask': no files"),
    ],
)
def test_panimg_wants_one_image(python312, tmp_path, images, message):
    write_images(tmp_path / "mask", images)
    with pytest.raises(GateFailure, match=message):
        panimg_check(tmp_path / "mask")


@slow
@pytest.mark.parametrize(("dtype", "segments"), [("uint8", (0, 1)), ("float32", None)])
def test_panimg_lists_the_segments_of_8_bit_masks_only(python312, tmp_path, dtype, segments):
    write_images(tmp_path / "mask", {"a.mha": dtype})
    image = panimg_check(tmp_path / "mask")
    assert (image.size, image.segments) == ((5, 4, 3), segments)


@slow
def test_the_signature_is_that_of_the_standard(python312):
    """RFC 4231, test case 2."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import session; "
        "print(session.sign(b'what do ya want for nothing?', b'Jefe'.hex()))"
    )
    command = [python312, "-c", code, script("session").parent]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert result.stdout.strip() == expected


def write_images(folder, images):
    import numpy as np
    import SimpleITK

    folder.mkdir()
    array = np.zeros((3, 4, 5))
    array[1] = 1
    for name, dtype in images.items():
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array.astype(dtype)), str(folder / name))


def session(result, stored=("mask.json",), *, setup=SIGNED, stderr=(), client=()):
    listed = {"outputs": [{"relative_path": name} for name in stored]}
    texts = {"user_safe_error_message": "", "user_process_last_stderr_lines": []}
    whole = None if result is None else texts | listed | result
    return Session(setup, (CaseResult("", Path(), stored, whole),), (), stderr, client)


def interface(*kinds):
    from medvial.sockets import Interface, Socket

    paths = {"Segmentation": "images/mask", "Float": "score.json"}
    return Interface((), tuple(Socket(kind.lower(), kind, paths[kind]) for kind in kinds))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (({"signature_valid": False},), "the signature of inference_result.json is wrong"),
        ((None,), "the client left no result"),
        ((SIGNED | {"outputs": []}, ("score.json",)), r"the client lists \[\], in S3 are"),
    ],
)
def test_a_session_that_is_not_right_is_refused(arguments, message):
    with pytest.raises(GateFailure, match=message):
        verify_session(session(*arguments), [interface("Float")])


def test_a_client_that_did_not_start_or_set_up_is_refused():
    with pytest.raises(GateFailure, match="did not start: Traceback"):
        verify_session(session(SIGNED, setup=None, client=("Traceback",)), [interface("Float")])
    failed = SIGNED | {"return_code": 1, "user_safe_error_message": "Could not set up model"}
    with pytest.raises(GateFailure, match="set-up failed: Could not set up model"):
        verify_session(session(SIGNED, setup=failed), [interface("Float")])


def test_standard_error_is_a_warning():
    with pytest.raises(GateWarning, match="careful"):
        verify_session(session(SIGNED, ("score.json",), stderr=["careful"]), [interface("Float")])


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (["images/mask/a.mha"], "'score.json' was not produced"),
        (["score.json"], "'images/mask' holds no image, but"),
        (["score.json", "images/mask/a.png"], r"holds no image, but \['images/mask/a.png'\]"),
        (["score.json", "images/mask/a.mha", "images/mask/b.tif"], "Only 1 image should be"),
        (["score.json", "images/mask/a.mha", "log.txt"], r"undeclared: \['log.txt'\]"),
    ],
)
def test_outputs_are_those_declared(stored, message):
    with pytest.raises(GateFailure, match=message):
        verify_outputs(stored, interface("Segmentation", "Float"))


def test_the_right_outputs_pass():
    verify_outputs(["score.json", "images/mask/a.mha"], interface("Segmentation", "Float"))


def test_a_missing_python_312_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.delenv(PYTHON_VARIABLE, raising=False)
    with pytest.raises(GateNotRun, match="on the PATH or in pyenv, found none"):
        find_python312()
    monkeypatch.setenv(PYTHON_VARIABLE, "/no/python")
    with pytest.raises(GateNotRun, match="PYTHON312=/no/python, found none"):
        find_python312()


def test_a_docker_too_old_for_the_kit_is_no_failure_of_the_image(tmp_path, monkeypatch):
    old = tmp_path / "docker"
    old.write_text("#!/bin/sh\necho '      --pull string   Pull image before running'\n")
    old.chmod(0o755)
    for tool in ("unzip", "bash"):
        (tmp_path / tool).symlink_to("/bin/sh")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GateNotRun, match="needs Docker 23 or newer"):
        run_forge("any", [], model=tmp_path, work=tmp_path / "work", time_limit_s=1)
    assert not (tmp_path / "work").exists()
