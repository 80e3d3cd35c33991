"""The client's own environment: `.venv-client` beside `.venv`, on the Python 3.12 it needs."""

import fcntl
import hashlib
import json
import logging
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medvial_rehearsal.gates import GateFailure, GateNotRun

log = logging.getLogger(__name__)

PYTHON_VARIABLE = "PYTHON312"
OWN_MEND = "The rehearsal itself did this: report it with this table."

_REHEARSAL = Path(__file__).resolve().parents[2]
_REQUIREMENTS = _REHEARSAL / "requirements-client.txt"
_VENV = _REHEARSAL.parent / ".venv-client"
_STAMP = ".requirements.sha256"
_BINARY = "sagemaker-shim.onefile"
_SCRIPTS = Path(__file__).parent / "scripts"


def client_python() -> Path:
    """The environment's interpreter; the environment is made on first use (about 1 minute).

    Raises:
        GateNotRun: There is no Python 3.12 on this machine, or the packages cannot be installed.
    """
    python = _VENV / "bin" / "python"
    wanted = hashlib.sha256(_REQUIREMENTS.read_bytes()).hexdigest()
    with _one_at_a_time():
        stamp = _VENV / _STAMP
        if not (stamp.is_file() and stamp.read_text() == wanted and python.exists()):
            _make_environment(find_python312())
            stamp.write_text(wanted)
    return python


def client_binary() -> Path:
    """The client as one program file that needs no Python, made on first use (40 s) and kept.

    The platform's is made in the same way, from the same source.

    Raises:
        GateNotRun: It cannot be made here.
    """
    python = client_python()
    binary = _VENV / _BINARY
    with _one_at_a_time():
        if not binary.is_file():
            log.info("Making one program file of the platform's client (40 s, once)")
            _freeze(python, binary)
    return binary


def find_python312() -> Path:
    """A Python 3.12: $PYTHON312, else python3.12 on the PATH, else the newest one of pyenv.

    Raises:
        GateNotRun: There is none.
    """
    wish = os.environ.get(PYTHON_VARIABLE)
    for candidate in [wish] if wish else _candidates():
        if _is_python312(candidate):
            return Path(candidate)
    raise GateNotRun(
        f"the platform's client needs Python 3.12: expected it "
        f"{f'at {PYTHON_VARIABLE}={wish}' if wish else 'on the PATH or in pyenv'}, found none. "
        f"Install it, or set {PYTHON_VARIABLE} to its path."
    )


def run_script(name: str, *arguments: str) -> Any:
    """The JSON that one of the scripts of this package writes to standard output.

    Raises:
        GateFailure: It fails.
    """
    command = [str(client_python()), str(script(name)), *arguments]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        raise GateFailure(f"{name} failed: {result.stderr.strip()[-300:]}", OWN_MEND)
    return json.loads(result.stdout)


def script(name: str) -> Path:
    """Path of a script that runs in the client's environment."""
    return _SCRIPTS / f"{name}.py"


def _candidates() -> Iterator[str]:
    if found := shutil.which("python3.12"):
        yield found
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    for path in sorted(pyenv.glob("versions/3.12.*/bin/python3.12"), reverse=True):
        yield str(path)


def _is_python312(candidate: str) -> bool:
    """Whether it runs and is 3.12; a shim of pyenv exists without a version behind it."""
    code = "import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 12))"
    try:
        return subprocess.run([candidate, "-c", code], capture_output=True).returncode == 0
    except OSError:
        return False


def _make_environment(python: Path) -> None:
    log.info("Making .venv-client for the platform's client (about 1 minute, once)")
    _run_or_leave([str(python), "-m", "venv", "--clear", str(_VENV)])
    pip = [str(_VENV / "bin" / "pip"), "install", "-qq", "--disable-pip-version-check"]
    _run_or_leave([*pip, "--require-hashes", "--requirement", str(_REQUIREMENTS)])


def _freeze(python: Path, binary: Path) -> None:
    package = subprocess.check_output(
        [str(python), "-c", "import sagemaker_shim as s; print(s.__path__[0])"], text=True
    ).strip()
    work = binary.with_suffix(".work")
    command = [str(_VENV / "bin" / "pyinstaller"), "--onefile", "--name", binary.name]
    for module in ("aioboto3.s3", "aioboto3.s3.inject"):  # imported by name at run time
        command.append(f"--hidden-import={module}")
    command += ["--copy-metadata", "sagemaker-shim", "--log-level", "ERROR"]
    command += [f"--{kind}path={work / kind}" for kind in ("dist", "work", "spec")]
    try:
        _run_or_leave([*command, str(Path(package) / "cli.py")])
        (work / "dist" / binary.name).replace(binary)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _run_or_leave(command: list[str]) -> None:
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        last = (result.stderr.strip().splitlines() or ["no message"])[-1]
        raise GateNotRun(f"{Path(command[0]).name} could not make the client's environment: {last}")


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Two rehearsals at once make one environment."""
    with _REQUIREMENTS.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
