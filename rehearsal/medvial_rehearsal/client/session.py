"""A session of the platform's client: what it is given, and what came of it."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medvial_rehearsal.client.environment import OWN_MEND, client_python, script
from medvial_rehearsal.client.processes import run_within
from medvial_rehearsal.container.context import HEALTH_LIMIT_S
from medvial_rehearsal.container.engine import GIB
from medvial_rehearsal.gates import GateFailure

VARIABLE = "GRAND_CHALLENGE_COMPONENT_"
OVERHEAD_S = 180
"""Of a session or a script, on top of its cases."""


@dataclass(frozen=True)
class JobLimits:
    """What the platform allows a job."""

    time_limit_s: float = 600
    """Of one case."""
    memory_bytes: int = 8 * GIB
    """Of the instance; 1 GiB less for the algorithm's data."""
    health_limit_s: float = HEALTH_LIMIT_S
    """For a server to become ready."""

    def variables(self) -> dict[str, str]:
        """As the client is told; the time limit comes with each case."""
        values = {
            "MAX_MEMORY_MB": (self.memory_bytes - GIB) >> 20,
            "START_AND_HEALTH_TIMEOUT_SECONDS": math.ceil(self.health_limit_s),
            "HEALTH_CHECK_CALL_TIMEOUT_SECONDS": 1,  # also the wait between two calls: there 10 s
        }
        return {VARIABLE + name: str(value) for name, value in values.items()}

    def session_s(self, cases: int) -> float:
        """Seconds that a session of so many cases may take."""
        return self.time_limit_s * cases + self.health_limit_s + OVERHEAD_S


@dataclass(frozen=True)
class CaseFiles:
    """A case as the platform puts it into S3: files by their path below /input."""

    name: str
    inputs: Mapping[str, Path]


@dataclass(frozen=True)
class CaseResult:
    """What the client left of one case."""

    name: str
    folder: Path
    """The files that it uploaded."""
    stored: tuple[str, ...]
    """Their paths below the folder."""
    result: Mapping[str, Any] | None
    """inference_result.json with `signature_valid`; None where the client wrote none."""


@dataclass(frozen=True)
class Session:
    """What came of a session."""

    setup: Mapping[str, Any] | None
    """runtime_setup_result.json with `signature_valid`; None where the client wrote none."""
    cases: tuple[CaseResult, ...]
    stdout: tuple[str, ...]
    stderr: tuple[str, ...]
    """Of the algorithm."""
    client: tuple[str, ...]
    """Warnings and errors of the client itself."""


@dataclass(frozen=True)
class Start:
    """How a client is started."""

    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    image: str | None = None
    """Where the command is `docker run`: the image; the environment goes in by `--env`."""
    prefix: Sequence[str] = ()
    """In front of the session itself, S3 included: to enter a network."""


def run_session(
    start: Start,
    method: str,
    cases: Sequence[CaseFiles],
    *,
    model: Path | None,
    work: Path,
    limits: JobLimits,
) -> Session:
    """Run cases one after the other in one session; the client stops after the first that fails.

    Args:
        start: How the client is started.
        method: exec or invoke.
        cases: What to run.
        model: model.tar.gz.
        work: An empty or missing folder for what came of it.
        limits: Of each case, and for the server's start.

    Raises:
        GateFailure: The session does not come to its end.
    """
    work.mkdir(parents=True, exist_ok=True)
    job = {
        "method": method,
        "start": list(start.command),
        "environment": limits.variables() | dict(start.environment),
        "forward": start.image is not None,
        "image": start.image,
        "cases": [
            {"name": case.name, "inputs": {k: str(v) for k, v in case.inputs.items()}}
            for case in cases
        ],
        "model": str(model) if model else None,
        "time_limit_s": limits.time_limit_s,
        "output": str(work / "s3"),
    }
    report = work / "session.json"
    command = [*start.prefix, str(client_python()), str(script("session")), str(report)]
    limit_s = limits.session_s(len(cases))
    result = run_within(limit_s, "the client's session", command, stdin=json.dumps(job))
    if result.returncode:
        raise GateFailure(f"the client's session failed: {result.stderr.strip()[-300:]}", OWN_MEND)
    return _parse(json.loads(report.read_text(encoding="utf-8")), cases)


def host_start(command: Sequence[str], arguments: Sequence[str], *, work: Path, port: int) -> Start:
    """The client as a process of this host, with the folders of a container below `work`.

    Args:
        command: Program of the algorithm, an image's ENTRYPOINT.
        arguments: Its arguments, an image's CMD, with {input}, {output}, {model} and {port}.
        work: Folder for input, output and model.
        port: Where an `invoke` server should listen.
    """
    folders = {name: work / name for name in ("input", "output", "model")}
    folders["output"].mkdir(parents=True, exist_ok=True)
    places = {name: str(path) for name, path in folders.items()} | {"port": str(port)}
    settings = {
        "INPUT_PATH": places["input"],
        "OUTPUT_PATH": places["output"],
        "MODEL_DEST": places["model"],
        "LINKED_INPUT_PARENT": str(work / "linked"),
        "WRITABLE_DIRECTORIES": places["model"],
        "POST_CLEAN_DIRECTORIES": places["model"],
        "ENTRYPOINT_B64J": _b64_json(list(command)),
        "CMD_B64J": _b64_json([argument.format(**places) for argument in arguments]),
        "USER": "",
        "SET_EXTRA_GROUPS": "False",
        "USER_WEBSERVER_PORT": str(port),
    }
    environment = {VARIABLE + name: value for name, value in settings.items()}
    # Two algorithms at once on two cores are not to wait for one another's threads.
    environment |= {k: v for k, v in os.environ.items() if k.startswith("OMP_")}
    return Start([str(client_python().parent / "sagemaker-shim")], environment)


def _parse(report: Mapping[str, Any], cases: Sequence[CaseFiles]) -> Session:
    results = tuple(
        CaseResult(case.name, Path(r["folder"]), tuple(r["stored"]), r["result"])
        for case, r in zip(cases, report["cases"], strict=True)
    )
    logs = (tuple(report[name]) for name in ("stdout", "stderr", "client"))
    return Session(report["setup"], results, *logs)


def _b64_json(value: Any) -> str:
    import base64

    return base64.b64encode(json.dumps(value).encode()).decode()
