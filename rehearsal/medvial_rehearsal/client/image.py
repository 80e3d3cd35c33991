"""The client inside an image, layered as the platform does it, in a network of its own."""

import base64
import json
import os
import shutil
import subprocess
import tarfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medvial_rehearsal.client.environment import client_binary, client_python
from medvial_rehearsal.client.session import (
    OVERHEAD_S,
    VARIABLE,
    CaseFiles,
    JobLimits,
    Session,
    Start,
    run_session,
)
from medvial_rehearsal.container.engine import docker, image_config
from medvial_rehearsal.gates import GateNotRun

_PLATFORM = "linux/amd64"
_FOLDERS = {"input": 0o755, "output": 0o777, "tmp": 0o777}
_PROGRAM = "sagemaker-shim"


def run_image_session(
    image: str,
    method: str,
    cases: Sequence[CaseFiles],
    *,
    model: Path | None,
    work: Path,
    limits: JobLimits,
) -> Session:
    """Run cases in an image with the client as its entrypoint; the network is loopback alone.

    Raises:
        GateNotRun: There is no such image, or this needs root and more than Docker Desktop has.
        GateFailure: The session does not come to its end.
    """
    config = _need_image(image)
    if os.geteuid() != 0 or not shutil.which("nsenter"):
        raise GateNotRun("entering a container's network needs root and nsenter: run it with sudo")
    with (
        _layered(image, config, work) as layered,
        _network(layered, limits.session_s(len(cases)) + OVERHEAD_S) as (network, enter),
        _named() as name,
    ):
        command = ["docker", "run", "--rm", "--name", name, "--platform", _PLATFORM]
        command += ["--network", f"container:{network}", "--shm-size", "1g"]
        start = Start(command, image=layered, prefix=enter)
        return run_session(start, method, cases, model=model, work=work, limits=limits)


def _need_image(image: str) -> dict[str, Any]:
    if not shutil.which("docker"):
        raise GateNotRun("there is no docker command")
    found = image_config(image)
    if found is None:
        raise GateNotRun(f"there is no image {image}: run build.sh")
    config: dict[str, Any] = found["Config"]
    return config


@contextmanager
def _layered(image: str, config: dict[str, Any], work: Path) -> Iterator[str]:
    """The image with the client's layer and settings on top, removed afterwards."""
    context = work / "layer"
    context.mkdir(parents=True)
    _write_layer(client_binary(), context / "layer.tar")
    encoded = {
        name: base64.b64encode(json.dumps(config.get(key)).encode()).decode()
        for name, key in (("CMD_B64J", "Cmd"), ("ENTRYPOINT_B64J", "Entrypoint"))
    }
    settings = " ".join(f"{VARIABLE}{name}={value}" for name, value in encoded.items())
    (context / "Dockerfile").write_text(
        f"FROM {image}\nUSER 0\nADD layer.tar /\n"
        f"ENV {settings} {VARIABLE}USER={config.get('User', '')}\n"
        f'ENTRYPOINT ["/{_PROGRAM}"]\nCMD []\n'
    )
    tag = f"medvial-client:{uuid.uuid4().hex[:12]}"
    try:
        docker("build", "--quiet", "--platform", _PLATFORM, "--tag", tag, str(context))
        yield tag
    finally:
        subprocess.run(["docker", "image", "rm", "--force", tag], capture_output=True)
        shutil.rmtree(context, ignore_errors=True)


def _write_layer(binary: Path, target: Path) -> None:
    """A layer with the client, which root alone may run, and the folders of a case."""
    with tarfile.open(target, "w") as archive:
        entry = archive.gettarinfo(str(binary), arcname=_PROGRAM)
        entry.mode, entry.uid, entry.gid, entry.uname, entry.gname = 0o500, 0, 0, "", ""
        with binary.open("rb") as file:
            archive.addfile(entry, file)
        for name, mode in _FOLDERS.items():
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, mode
            archive.addfile(folder)


@contextmanager
def _network(image: str, lifetime_s: float) -> Iterator[tuple[str, list[str]]]:
    """A network with loopback only: a container's name, and the command that enters it."""
    name = f"medvial-client-{uuid.uuid4().hex[:12]}"
    entry = ("--entrypoint", "sleep", "--user", "0")
    lifetime = str(round(lifetime_s))
    try:
        docker("run", "--detach", "--network", "none", "--name", name, *entry, image, lifetime)
        pid = docker("container", "inspect", "--format", "{{.State.Pid}}", name).strip()
        enter = ["nsenter", "--target", pid, "--net"]
        probe = [*enter, str(client_python()), "-c", ""]
        if subprocess.run(probe, capture_output=True).returncode:
            raise GateNotRun("the container's network cannot be entered: is the engine elsewhere?")
        yield name, enter
    finally:
        _remove(name)


@contextmanager
def _named() -> Iterator[str]:
    """A name for a container that is gone afterwards, even if its client was killed."""
    name = f"medvial-client-{uuid.uuid4().hex[:12]}"
    try:
        yield name
    finally:
        _remove(name)


def _remove(name: str) -> None:
    subprocess.run(["docker", "rm", "--force", "--volumes", name], capture_output=True)
