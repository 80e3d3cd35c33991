"""Docker by its command line: containers under the platform's limits, and none left behind."""

import contextlib
import io
import itertools
import json
import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from medvial.errors import InputError
from medvial_rehearsal.container.memory import Memory, MemoryWatch

GIB = 1 << 30
_START_POLL_S = 0.05
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Limits:
    """What a container may have and do. The defaults are the platform's, a little more strict."""

    memory_bytes: int = 8 * GIB
    network: str = "none"
    read_only: bool = True
    shm_bytes: int = 64 << 20
    """Docker's own default; the platform gives half of the memory."""
    limit_data: bool = True
    """RLIMIT_DATA at the memory less 1 GiB, the platform's way to limit memory."""
    gpu: bool = False

    def arguments(self) -> list[str]:
        """As arguments of `docker create`."""
        memory = str(self.memory_bytes)
        result = ["--platform", "linux/amd64", "--network", self.network, "--tmpfs", "/tmp:exec"]
        result += ["--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
        result += ["--pids-limit", "256", "--memory", memory, "--memory-swap", memory]
        result += ["--shm-size", str(self.shm_bytes)]
        if self.limit_data:
            result += ["--ulimit", f"data={max(self.memory_bytes - GIB, GIB // 2)}"]
        if self.read_only:
            result += ["--read-only"]
        if self.gpu:
            result += ["--gpus", "all"]
        return result


def docker(*arguments: str, stdin: bytes | None = None) -> str:
    """Run a docker command that has to succeed; returns its standard output.

    Raises:
        InputError: It failed; says why in Docker's words.
    """
    command = ["docker", *arguments]
    result = subprocess.run(command, input=stdin, capture_output=True)
    if result.returncode:
        reason = " ".join(result.stderr.decode(errors="replace").split())
        raise InputError(f"Expected `docker {arguments[0]}` to succeed, got: {reason[-500:]}")
    return result.stdout.decode(errors="replace")


def need_engine() -> None:
    """Make sure that a Docker engine answers.

    Raises:
        InputError: There is none.
    """
    if not shutil.which("docker"):
        raise InputError(
            "Expected Docker, found no docker command: install Docker Engine or Docker Desktop."
        )
    if subprocess.run(["docker", "info"], capture_output=True).returncode:
        raise InputError(
            "Expected a running Docker engine, none answers: start it, or check your permissions "
            "with 'docker info'."
        )


def image_config(image: str) -> dict[str, Any] | None:
    """An image's configuration, as `docker image inspect` shows it; None where there is none."""
    command = ["docker", "image", "inspect", image]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        return None
    config: dict[str, Any] = json.loads(result.stdout)[0]
    return config


def has_gpu() -> bool:
    """Whether engine and host both have an NVIDIA GPU: the engine may know one that is gone."""
    runtimes = docker("info", "--format", "{{json .Runtimes}}")
    if "nvidia" not in runtimes or not shutil.which("nvidia-smi"):
        return False
    return subprocess.run(["nvidia-smi", "-L"], capture_output=True).returncode == 0


def in_image(image: str, folder: Path, *command: str) -> None:
    """Run one of the image's tools as root on a folder, which is /work there."""
    volume = f"{folder}:/work"
    program, *arguments = command
    docker(
        *("run", "--rm", "--user", "0", "--network", "none", "--read-only", "--volume", volume),
        *("--entrypoint", program, image, *arguments),
    )


class Container:
    """A container from its creation to its removal; standard output and error go to two files."""

    def __init__(
        self, image: str, arguments: Sequence[str], *, logs: Path, command: Sequence[str] = ()
    ) -> None:
        self.name = f"medvial-rehearse-{os.getpid()}-{next(_numbers)}"
        self.stdout, self.stderr = logs / "stdout.txt", logs / "stderr.txt"
        self.memory = Memory(0)
        self._watch: MemoryWatch | None = None
        self._attached: subprocess.Popen[bytes] | None = None
        self.started = time.monotonic()
        names = ["--name", self.name, "--log-driver", "none"]
        try:
            self.id = docker("create", *names, *arguments, image, *command).split()[-1]
        except BaseException:
            self.remove()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.remove()

    def start(self) -> None:
        """Start it and follow what it writes."""
        with self.stdout.open("wb") as out, self.stderr.open("wb") as err:
            command = ["docker", "start", "--attach", self.name]
            # A session of its own: Ctrl-C is for us, who remove it.
            self._attached = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
            )
        self._watch = MemoryWatch(self.id)

    def wait_started(self) -> None:
        """Wait until it runs, or has run."""
        assert self._attached is not None
        while self.state()["Status"] == "created" and self._attached.poll() is None:
            time.sleep(_START_POLL_S)

    def wait(self, timeout_s: float) -> float | None:
        """Wait for its end; seconds since its creation, or None if it still runs."""
        assert self._attached is not None
        try:
            self._attached.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None
        seconds = time.monotonic() - self.started
        if self._watch:
            self.memory = self._watch.stop()
        return seconds

    def state(self) -> dict[str, Any]:
        """Docker's state: ExitCode, OOMKilled, Running, Error, Pid."""
        state: dict[str, Any] = json.loads(
            docker("container", "inspect", "--format", "{{json .State}}", self.name)
        )
        return state

    def kill(self, signal: str = "KILL") -> None:
        """Send a signal to its first process, if it still runs."""
        command = ["docker", "kill", "--signal", signal, self.name]
        subprocess.run(command, capture_output=True)

    def link(self, name: str, target: str) -> None:
        """Make /`name` in it a symbolic link, in place of an older one; needs a writable root."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            archive.addfile(entry)
        docker("cp", "-", f"{self.name}:/", stdin=buffer.getvalue())

    def remove(self) -> None:
        """Stop and remove it, whatever it does."""
        command = ["docker", "rm", "--force", "--volumes", self.name]
        subprocess.run(command, capture_output=True)
        if self._attached:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._attached.wait(10)
        if self._watch:
            self.memory = self._watch.stop()
