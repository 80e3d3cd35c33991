"""The shell scripts: help, mistakes, any folder, and shellcheck."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CONTAINER = ["build.sh", "test.sh", "export.sh"]
SCRIPTS = [*CONTAINER, "check.sh", "demo.sh"]
TASKS = sorted(p.parent.name for p in ROOT.glob("algorithms/*/process.py"))


def run(script, *arguments, cwd=ROOT, env=None):
    return subprocess.run(
        [str(script), *arguments], cwd=cwd, env=env, capture_output=True, text=True, timeout=60
    )


@pytest.fixture
def without_engine(tmp_path):
    """An environment without a docker command."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("bash", "sed", "dirname", "basename", "tr", "env"):
        (programs / name).symlink_to(shutil.which(name))
    return {"PATH": str(programs)}


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_shows_the_usage_and_ends(name, tmp_path):
    result = run(ROOT / name, "--help", cwd=tmp_path)
    assert result.returncode == 0
    assert f"./{name}" in result.stdout
    assert "shellcheck" not in result.stdout
    assert not result.stderr


@pytest.mark.parametrize("name", CONTAINER)
def test_an_unknown_option_or_task_is_one_clear_line(name):
    for argument, message in (
        ("--nonsense", "unknown option --nonsense"),
        ("no", "unknown task no"),
    ):
        result = run(ROOT / name, argument)
        assert result.returncode == 2
        assert not result.stdout
        (line,) = result.stderr.splitlines()
        assert line.startswith(f"{name}: {message}; expected one of: ")
        assert ("--gpu" if "option" in message else TASKS[0]) in line


def test_an_option_without_its_value_is_told():
    result = run(ROOT / "test.sh", "--test-dir")
    assert result.returncode == 2
    assert "expected a value after --test-dir" in result.stderr


@pytest.mark.parametrize("option", ["--out", "--model"])
def test_export_takes_one_task_with_a_folder(option, tmp_path):
    result = run(ROOT / "export.sh", TASKS[0], TASKS[0], option, str(tmp_path))
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("export.sh: expected one task with --model or --out, got 2: ")


@pytest.mark.parametrize("seconds", ["0", "-1", "ten", ""])
def test_a_time_limit_is_whole_seconds(seconds):
    result = run(ROOT / "test.sh", f"--time-limit={seconds}")
    assert result.returncode == 2
    assert f"--time-limit to be whole seconds above 0, got {seconds}" in result.stderr


def test_check_refuses_arguments():
    result = run(ROOT / "check.sh", "--nonsense")
    assert result.returncode == 2
    assert "unknown option --nonsense" in result.stderr


@pytest.mark.parametrize("name", CONTAINER)
def test_no_docker_command_is_told(name, without_engine):
    result = run(ROOT / name, env=without_engine)
    assert result.returncode == 2
    assert "found no docker command: install Docker" in result.stderr


@pytest.mark.parametrize("name", CONTAINER)
def test_an_engine_that_does_not_answer_is_told(name, without_engine, tmp_path):
    docker = tmp_path / "bin" / "docker"
    docker.write_text("#!/usr/bin/env bash\nexit 1\n")
    docker.chmod(0o755)
    result = run(ROOT / name, env=without_engine)
    assert result.returncode == 2
    assert "expected a running Docker engine, none answers" in result.stderr


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", CONTAINER)
def test_shims_run_the_root_script_from_any_folder(task, name, tmp_path):
    shim = ROOT / "algorithms" / task / name
    assert len(shim.read_text().splitlines()) == 2
    result = run(shim, "--help", cwd=tmp_path)
    assert result.returncode == 0
    assert f"./{name} [TASK ...]" in result.stdout
    assert f"{task}" in shim.read_text()


def test_every_task_has_what_the_scripts_need():
    for task in TASKS:
        folder = ROOT / "algorithms" / task
        for name in ("sockets.json", "requirements.txt", "requirements-gpu.txt", *CONTAINER):
            assert (folder / name).is_file(), f"{task} lacks {name}"
            assert not name.endswith(".sh") or os.access(folder / name, os.X_OK), name


def test_shellcheck_finds_nothing():
    program = Path(sys.executable).with_name("shellcheck")
    if not program.exists():
        pytest.skip("no shellcheck beside this Python")
    scripts = [*ROOT.glob("*.sh"), *ROOT.glob("algorithms/**/*.sh"), ROOT / ".ci" / "run"]
    result = run(program, "--external-sources", *map(str, scripts))
    assert result.returncode == 0, result.stdout
    for script in scripts:
        assert script.name == "common.sh" or os.access(script, os.X_OK), script
        assert (
            "set -euo pipefail" in script.read_text()
            or "common.sh" in script.read_text()
            or (script.parent.parent == ROOT / "algorithms")
        )
