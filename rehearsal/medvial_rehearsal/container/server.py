"""The `invoke` method from outside: start, health, a case, and what comes back."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from medvial.errors import InputError
from medvial_rehearsal.container.context import HEALTH_LIMIT_S, Rehearsal
from medvial_rehearsal.container.engine import Container, Limits
from medvial_rehearsal.container.memory import memory_in_use
from medvial_rehearsal.container.staging import copy_tree
from medvial_rehearsal.gates import GateFailure, GateNotRun

PORT = 4743
CREATED = 201
HEALTH_CALL_LIMIT_S = 10.0
"""The platform's for one call of /health."""
_PROBE = Path(__file__).with_name("probe.py")
LINKED = "/opt/ml/input/data"  # where the platform puts a job's inputs
_INTERVAL_S = 0.1


@dataclass(frozen=True)
class Reply:
    """What a request came back with."""

    status: int
    """0 if there was no answer."""
    location: str | None = None
    body: str = ""
    error: str = ""

    def __str__(self) -> str:
        return str(self.status) if self.status else f"no answer ({self.error})"


@dataclass(frozen=True)
class Health:
    """How a server became ready."""

    seconds: float
    before: tuple[str, ...]
    """What /health answered before 200, each answer once."""


class Server:
    """A running server. Its /input is empty until a case is placed.

    With `linked` /input is a symbolic link to a new folder for every case, as on the platform; that
    needs a writable root. Without, the root is read-only and a case's files come and go in place.
    """

    def __init__(
        self,
        context: Rehearsal,
        image: str,
        folder: Path,
        *,
        linked: bool,
        limits: Limits | None = None,
        model: Path | None = None,
        output: Sequence[str] = (),
    ) -> None:
        self.context, self.image, self.folder = context, image, folder
        self.output = folder / "output"
        self._linked, self._jobs = linked, 0
        self._data = folder / "data"
        (self._data / "none").mkdir(parents=True)
        target = LINKED if linked else "/input"
        source = self._data if linked else self._data / "none"
        limits = limits or context.limits
        arguments = [a for a in limits.arguments() if not (linked and a == "--read-only")]
        arguments += context.mounts(folder, model, with_input=False, output=output)
        arguments += ["--volume", f"{source}:{target}:ro"]
        self.container = Container(image, arguments, logs=folder)

    def __enter__(self) -> Self:
        try:
            if self._linked:
                self.container.link("input", f"{LINKED}/none")
            self.container.start()
            self.container.wait_started()
        except BaseException:
            self.container.remove()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.container.remove()

    def request(self, method: str, path: str, timeout_s: float) -> Reply:
        """One request on the container's own loopback, where no network is needed."""
        return _reply(self._start_request(method, path, timeout_s), timeout_s)

    def _start_request(self, method: str, path: str, timeout_s: float) -> subprocess.Popen[bytes]:
        arguments = [*self._python, "-c", _PROBE.read_text(), method, path, f"{timeout_s:g}"]
        return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    @cached_property
    def _python(self) -> list[str]:
        """A Python in the container's network: the image's own, or ours by nsenter for root."""
        for name in ("python3", "python"):
            command = ["docker", "exec", self.container.name, name]
            if subprocess.run([*command, "-c", ""], capture_output=True).returncode == 0:
                return command
        self.check_running()
        state = self.container.state()
        if os.geteuid() == 0 and shutil.which("nsenter"):
            return ["nsenter", "--target", str(state["Pid"]), "--net", sys.executable]
        raise GateNotRun("the image has no Python to ask the server with, and we are not root")

    def listeners(self) -> dict[int, str]:
        """The address that something in the container listens at, by port."""
        program = "for p in ('/proc/net/tcp', '/proc/net/tcp6'): print(open(p).read())"
        result = subprocess.run([*self._python, "-c", program], capture_output=True, text=True)
        return _listening(result.stdout)

    def _last_error_line(self) -> str:
        lines = self.container.stderr.read_text(errors="replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "no line on standard error")

    def wait_until_healthy(self, limit_s: float = HEALTH_LIMIT_S) -> Health:
        """Ask /health until it answers 200.

        Raises:
            GateFailure: It redirects, ends, or takes longer than the platform waits.
        """
        before: dict[str, None] = {}
        while time.monotonic() - self.container.started < limit_s:
            reply = self.request("GET", "/health", HEALTH_CALL_LIMIT_S)
            if reply.status == 200:
                return Health(time.monotonic() - self.container.started, tuple(before))
            if 300 <= reply.status < 400:
                raise GateFailure(
                    f"/health redirects to {reply.location} with status {reply.status}",
                    "Answer on /health itself, without a slash at the end.",
                )
            before[str(reply.status or "no connection")] = None
            self.check_running()
            time.sleep(_INTERVAL_S)
        raise GateFailure(
            f"/health did not answer 200 within {limit_s:g} s, but: {', '.join(before)}",
            f"Listen on 0.0.0.0:{PORT}, and answer 200 once the model is loaded.",
        )

    def check_running(self) -> None:
        """Make sure that the server has not ended.

        Raises:
            GateFailure: It has.
        """
        state = self.container.state()
        if not state["Running"]:
            raise GateFailure(
                f"the server ended with exit code {state['ExitCode']}: {self._last_error_line()}",
                f"See {self.folder}/stdout.txt and stderr.txt.",
            )

    def place(self, case: Path) -> None:
        """Put a staged case into /input, in place of the one before, and empty /output."""
        self.empty_output()
        self._jobs += 1
        if self._linked:
            copy_tree(case, self._data / f"job-{self._jobs}-input")
            self.container.link("input", f"{LINKED}/job-{self._jobs}-input")
            return
        target = self._data / "none"
        _empty(target)
        for entry in case.iterdir():
            if entry.is_dir():
                copy_tree(entry, target / entry.name)
            else:
                shutil.copy(entry, target / entry.name)

    def invoke(self) -> Reply:
        """Run the case in /input."""
        limit = self.context.time_limit_s
        return self.request("POST", "/invoke", limit)

    def invoke_twice(self) -> tuple[Reply, Reply]:
        """Ask for the case in /input twice at the same time."""
        limit = self.context.time_limit_s
        started = [self._start_request("POST", "/invoke", limit) for _ in range(2)]
        first, second = (_reply(process, limit * 2) for process in started)
        return first, second

    def take_output(self, target: Path) -> Path:
        """Move what is in /output to a folder of our own."""
        self.context.open_up(self.output)
        target.mkdir(parents=True)
        for entry in self.output.iterdir():
            if entry.is_dir():
                shutil.copytree(entry, target / entry.name)
            else:
                shutil.copy(entry, target / entry.name)
        self.empty_output()
        return target

    def empty_output(self) -> None:
        """Remove what is in /output and keep the folder, as the platform does."""
        self.context.open_up(self.output)
        _empty(self.output)

    def memory(self) -> int | None:
        """Bytes that the server holds now; None where they cannot be seen."""
        return memory_in_use(self.container.id)


def _reply(process: subprocess.Popen[bytes], timeout_s: float) -> Reply:
    try:
        out, err = process.communicate(timeout=timeout_s + 10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return Reply(0, error=f"none within {timeout_s:g} s")
    try:
        answer: dict[str, Any] = json.loads(out)
    except ValueError:
        reason = " ".join(err.decode(errors="replace").split())[-200:]
        return Reply(0, error=reason or "the request could not be made")
    if "error" in answer:
        return Reply(0, error=answer["error"])
    return Reply(answer["status"], answer["location"], answer["body"])


def _listening(table: str) -> dict[int, str]:
    """Listening addresses by port, of /proc/net/tcp and tcp6 (proc(5)): state 0A is LISTEN."""
    found: dict[int, str] = {}
    for line in table.splitlines():
        fields = line.split()
        if len(fields) < 4 or fields[3] != "0A":
            continue
        address, port = fields[1].rsplit(":", 1)
        # Each group of 4 bytes is in the host's byte order.
        groups = [bytes.fromhex(address[i : i + 8])[::-1] for i in range(0, len(address), 8)]
        found.setdefault(int(port, 16), str(ip_address(b"".join(groups))))
    return found


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            try:
                entry.unlink()
            except OSError as error:
                raise InputError(f"Cannot remove {entry}: {error.strerror}.") from None
