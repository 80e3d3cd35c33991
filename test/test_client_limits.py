"""The limits of a rehearsal in the platform's client, and what takes longer than they allow."""

import json
import os
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from medvial_rehearsal import rehearse
from medvial_rehearsal.client import ClientRehearsal, JobLimits, forge, session
from medvial_rehearsal.client import rehearsal as gates
from medvial_rehearsal.client.session import VARIABLE, CaseFiles, Start, run_session
from medvial_rehearsal.container.context import Rehearsal
from medvial_rehearsal.container.engine import GIB, Limits
from medvial_rehearsal.gates import GateFailure, GateNotRun, Status
from medvial_rehearsal.new import new
from medvial_rehearsal.project import cases

LIMITS = JobLimits(1800.0, 16 * GIB, 90.5)
REPORT = """
    import json, sys
    from pathlib import Path

    report = dict.fromkeys(("stdout", "stderr", "client", "cases"), [])
    Path(sys.argv[1]).write_text(json.dumps(report | {"setup": None, "stdout": [sys.stdin.read()]}))
"""
HANG = "echo $$ > PID; sleep 300 & echo $! >> PID; wait"


@pytest.fixture
def script(tmp_path, monkeypatch):
    """Put a program in the place of the client's session."""

    def put(text):
        path = tmp_path / "session.py"
        path.write_text(textwrap.dedent(text))
        monkeypatch.setattr(session, "client_python", lambda: Path(sys.executable))
        monkeypatch.setattr(session, "script", lambda name: path)

    return put


def run(tmp_path, limits=LIMITS, files=()):
    options = {"model": None, "work": tmp_path / "work", "limits": limits}
    return run_session(Start(["client"]), "exec", files, **options)


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_the_client_is_told_the_limits(script, tmp_path):
    script(REPORT)
    job = json.loads(run(tmp_path).stdout[0])
    assert job["time_limit_s"] == 1800
    assert job["environment"] == {
        f"{VARIABLE}MAX_MEMORY_MB": str(15 * 1024),
        f"{VARIABLE}START_AND_HEALTH_TIMEOUT_SECONDS": "91",
        f"{VARIABLE}HEALTH_CHECK_CALL_TIMEOUT_SECONDS": "1",
    }


def test_a_session_may_take_as_long_as_its_cases():
    assert LIMITS.session_s(3) > 3 * 1800 + 90


def test_a_session_that_hangs_fails_and_leaves_no_process(script, tmp_path, monkeypatch):
    monkeypatch.setattr(session, "OVERHEAD_S", 0)
    pids = tmp_path / "pids"
    script(f"import subprocess; subprocess.run(['sh', '-c', {HANG.replace('PID', str(pids))!r}])")
    case = CaseFiles("one", {})
    with pytest.raises(GateFailure, match=r"session was still running after 2 s.*--time-limit"):
        run(tmp_path, JobLimits(time_limit_s=1, health_limit_s=1), [case])
    assert [is_running(int(pid)) for pid in pids.read_text().split()] == [False, False]


def test_a_session_that_breaks_is_a_failed_gate(script, tmp_path):
    new("score", input=["Integer:age"], output=["Float:score"], into=tmp_path)
    script("raise SystemExit('no room for S3')")
    folder = tmp_path / "score"
    outcome = gates.host_exec(ClientRehearsal(folder, folder / "model", {}, tmp_path / "work"))
    assert outcome.status is Status.FAILED
    assert outcome.found == "the client's session failed: no room for S3"


def test_the_limits_of_the_rehearsal_reach_every_gate(tmp_path, monkeypatch):
    new("score", input=["Integer:age"], output=["Float:score"], into=tmp_path)
    given = {"run_session": [], "run_image_session": [], "run_forge": []}

    def keep(name):
        def stop(*_, **options):
            given[name].append(options)
            raise GateNotRun("seen")

        return stop

    for name in given:
        monkeypatch.setattr(gates, name, keep(name))
    monkeypatch.setattr(gates, "host_start", lambda *_, **__: None)
    folder, work = tmp_path / "score", tmp_path / "work"
    work.mkdir()
    context = Rehearsal(
        *("score", "exec-image", "invoke-image", folder, tuple(cases(folder)), folder / "model"),
        *(work, Limits(LIMITS.memory_bytes), LIMITS.time_limit_s, LIMITS.health_limit_s),
    )
    context.method = "exec"
    rehearse._ask_client(context)
    (kit,) = given["run_forge"]
    assert kit["time_limit_s"] == LIMITS.time_limit_s
    short = replace(LIMITS, time_limit_s=gates.TOO_SHORT_S)
    assert {options["limits"] for options in given["run_session"]} == {LIMITS, short}
    assert [options["limits"] for options in given["run_image_session"]] == [LIMITS, LIMITS]


def test_a_script_of_the_kit_that_hangs_fails_and_leaves_nothing(tmp_path, monkeypatch):
    docker, calls, pids = (tmp_path / name for name in ("docker", "calls", "pids"))
    docker.write_text(f'#!/bin/sh\necho "$@" >> {calls}\n[ "$1" = ps ] && echo 1a2b\n')
    docker.chmod(0o755)
    (tmp_path / "do_test_run.sh").write_text(HANG.replace("PID", str(pids)))
    with pytest.raises(GateFailure, match=r"the first run of do_test_run\.sh was still running"):
        forge._run_script(tmp_path, "first", 1)
    assert [is_running(int(pid)) for pid in pids.read_text().split()] == [False, False]
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    forge._remove("example-kit")
    assert calls.read_text().splitlines() == [
        "ps --all --quiet --filter volume=example-kit-volume",
        "rm --force 1a2b",
        "volume rm --force example-kit-volume",
        "image rm example-kit",
    ]
