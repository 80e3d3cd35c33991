"""grand-challenge-forge, the challenge kit's maker, as an independent check of an `exec` image."""

import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medvial.sockets import INPUTS_JSON, Interface, Socket
from medvial_rehearsal.client.environment import client_python, run_script
from medvial_rehearsal.client.processes import run_within
from medvial_rehearsal.client.session import OVERHEAD_S
from medvial_rehearsal.client.verify import verify_outputs
from medvial_rehearsal.container.engine import image_config
from medvial_rehearsal.gates import GateFailure, GateNotRun

_TOOLS = ("docker", "unzip", "bash")


@dataclass(frozen=True)
class ForgeCase:
    """An interface and a case for it, laid out as the platform does."""

    interface: Interface
    folder: Path


def run_forge(
    image: str, cases: Sequence[ForgeCase], *, model: Path, work: Path, time_limit_s: float
) -> str:
    """Run the kit's own do_test_run.sh twice on an image, and its readers on the outputs.

    Args:
        image: An `exec` image.
        cases: One for each interface.
        model: The model folder.
        work: Folder for the kit.
        time_limit_s: Of one case.

    Raises:
        GateNotRun: A tool or the image is missing, or Docker is too old for the script.
        GateFailure: The script fails, takes too long or writes to standard error, or an output is
            not readable.
    """
    missing = [tool for tool in _TOOLS if not shutil.which(tool)]
    if missing:
        raise GateNotRun(f"the kit's script needs {' and '.join(missing)}: install it")
    help_ = subprocess.run(["docker", "run", "--help"], capture_output=True, text=True)
    if "--quiet" not in help_.stdout:
        raise GateNotRun("the kit's script needs Docker 23 or newer, whose `run` knows --quiet")
    if image_config(image) is None:
        raise GateNotRun(f"there is no image {image}: run build.sh")
    slug = f"medvial-{uuid.uuid4().hex[:12]}"
    kit = _make_kit(slug, [case.interface for case in cases], work)
    tag = f"example-algorithm-{slug}"
    try:
        algorithm = _fill_in(kit / "example-algorithm", image, cases, model)
        for turn in ("first", "second"):
            _run_script(algorithm, turn, time_limit_s * len(cases) + OVERHEAD_S)
        read = [
            _read_outputs(kit, algorithm / "test" / "output" / f"interf{index}", case)
            for index, case in enumerate(cases)
        ]
    finally:
        _remove(tag)
    return f"ran twice in silence; its readers read {sum(read)} output(s)"


def _make_kit(slug: str, interfaces: Sequence[Interface], work: Path) -> Path:
    archive = {"slug": "archive", "url": "https://example.org/archive"}
    phase = {
        "slug": slug,
        "archive": archive,
        "algorithm_interfaces": [
            {
                "inputs": [_socket(s) for s in interface.inputs],
                "outputs": [_socket(s) for s in interface.outputs],
            }
            for interface in interfaces
        ],
        "evaluation_additional_inputs": [],
        "evaluation_additional_outputs": [],
    }
    challenge = {
        "slug": "rehearsal",
        "url": "https://example.org",
        "archives": [archive],
        "phases": [phase],
    }
    context = work / "context.json"
    context.parent.mkdir(parents=True, exist_ok=True)
    context.write_text(json.dumps({"challenge": challenge}))
    program = client_python().parent / "grand-challenge-forge"
    command = [str(program), "pack", "--force", "--output", str(work), str(context)]
    # Without its debug mode the kit's script asks for a GPU.
    environment = os.environ | {"GRAND_CHALLENGE_FORGE_DEBUG": "true"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    kit = work / "rehearsal-challenge-pack" / slug
    if result.returncode or not kit.is_dir():
        raise GateFailure(
            f"grand-challenge-forge makes no kit of sockets.json: {result.stderr.strip()[-300:]}",
            "Compare sockets.json with the sockets of the challenge.",
        )
    return kit


def _socket(socket: Socket) -> dict[str, str]:
    return {
        "slug": socket.slug,
        "kind": socket.kind,
        "super_kind": socket.super_kind,
        "relative_path": socket.relative_path,
    }


def _fill_in(algorithm: Path, image: str, cases: Sequence[ForgeCase], model: Path) -> Path:
    """Our image in the place of the kit's build, our cases and model in the place of its stubs."""
    build = (
        'SCRIPT_DIR=$( cd -- "$( dirname -- "${BASH_SOURCE[0]}" )" &> /dev/null && pwd )\n'
        f'DOCKER_IMAGE_TAG="example-algorithm-{algorithm.parent.name}"\n'
        f'docker tag {image} "$DOCKER_IMAGE_TAG"\n'
    )
    (algorithm / "do_build.sh").write_text(f"#!/usr/bin/env bash\n{build}")
    shutil.rmtree(algorithm / "model")
    shutil.copytree(model, algorithm / "model")
    for index, case in enumerate(cases):
        target = algorithm / "test" / "input" / f"interf{index}"
        for socket in case.interface.inputs:
            _replace(case.folder / socket.relative_path, target / socket.relative_path)
        assert (target / INPUTS_JSON).is_file()  # the kit's own stays
    return algorithm


def _replace(source: Path, target: Path) -> None:
    if target.is_dir():
        shutil.rmtree(target)
    target.unlink(missing_ok=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    (shutil.copytree if source.is_dir() else shutil.copyfile)(source, target)


def _run_script(algorithm: Path, turn: str, limit_s: float) -> None:
    command = ["bash", str(algorithm / "do_test_run.sh")]
    result = run_within(limit_s, f"the {turn} run of do_test_run.sh", command)
    if result.returncode or result.stderr:
        last = " | ".join(result.stderr.strip().splitlines()[-3:]) or "nothing on standard error"
        raise GateFailure(
            f"do_test_run.sh ended its {turn} run with {result.returncode}: {last[:300]}",
            "It must succeed in silence, and again when outputs of an earlier run are there.",
        )


def _remove(tag: str) -> None:
    """Remove what the script leaves where it is stopped, and the image's tag."""
    volume = f"{tag}-volume"
    listed = ["docker", "ps", "--all", "--quiet", "--filter", f"volume={volume}"]
    for name in subprocess.run(listed, capture_output=True, text=True).stdout.split():
        subprocess.run(["docker", "rm", "--force", name], capture_output=True)
    subprocess.run(["docker", "volume", "rm", "--force", volume], capture_output=True)
    subprocess.run(["docker", "image", "rm", tag], capture_output=True)


def _read_outputs(kit: Path, output: Path, case: ForgeCase) -> int:
    """Read one interface's outputs with the kit's evaluation; returns how many."""
    stored = [p.relative_to(output).as_posix() for p in output.rglob("*") if p.is_file()]
    verify_outputs(stored, case.interface)
    pk = str(uuid.uuid4())
    evaluation = kit / "example-evaluation-method"
    shutil.copytree(output, evaluation / "test" / "rehearsal" / pk / "output")
    job: Mapping[str, Any] = {
        "evaluation": str(evaluation),
        "input": str(evaluation / "test" / "rehearsal"),
        "pk": pk,
        "outputs": [_socket(s) for s in case.interface.outputs],
    }
    errors: dict[str, str] = run_script("forge_read", json.dumps(job))["errors"]
    if errors:
        slug, reason = next(iter(errors.items()))
        raise GateFailure(f"the kit's evaluation cannot read {slug}: {reason}", "Write it anew.")
    return len(case.interface.outputs)
