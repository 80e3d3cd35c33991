"""`medvial rehearse`: what the platform will do with a container, before it does."""

import dataclasses
import logging
import re
import signal
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console

from medvial.errors import InputError
from medvial.image_manifest import MEMORY_GB
from medvial.outputs import read_json, write_json
from medvial_rehearsal import gates
from medvial_rehearsal.container.context import HEALTH_LIMIT_S, Rehearsal, api_label
from medvial_rehearsal.container.engine import (
    GIB,
    Limits,
    has_gpu,
    image_config,
    need_engine,
)
from medvial_rehearsal.container.plan import Check, choose
from medvial_rehearsal.container.serving import Serving
from medvial_rehearsal.gates import Outcome, Status
from medvial_rehearsal.project import Case, algorithm_folder, cases_in

log = logging.getLogger(__name__)

_SMALLEST_GIB = 1.5  # less leaves nothing of the limit on data, 1 GiB below


def rehearse(
    task: str,
    *,
    quick: bool = False,
    gpu: bool = False,
    invoke: bool = False,
    client: bool = False,
    only: tuple[str, ...] = (),
    test_dir: Path | None = None,
    model: Path | None = None,
    image: str | None = None,
    memory: float | None = None,
    time_limit: int = 600,
    health_limit: float = HEALTH_LIMIT_S,
    json: Path | None = None,
) -> int:
    """Run a task's image as the platform would, a little more strictly, and tell what happened.

    Single cases run in medvial-TASK:latest (gates C, D, E), a server in medvial-TASK:invoke (F).

    Args:
        task: Name of a task, or the path of an algorithm folder.
        quick: Only what one case tells that is run twice.
        gpu: Take the images medvial-TASK:gpu and gpu-invoke, on the GPU where the engine has one.
        invoke: Run the single cases in a server too.
        client: Also run the platform's own client (gates G).
        only: Names of gates, as in C3,F5: ask only those.
        test_dir: The case: input/, expected_output.json, tolerances.json (optional), and further
            ones in folders of it; default the algorithm's test folder.
        model: The model folder; default the algorithm's.
        image: Another image; its label says whether it is a server.
        memory: GiB that the algorithm asks for on the platform; default what sockets.json says.
        time_limit: Seconds for one case; the container is killed then.
        health_limit: Seconds for a server to become ready.
        json: Write the outcomes there.

    Returns:
        0 if nothing failed and no required gate was left out, else 1.

    Raises:
        InputError: There is no engine, image, case or model, or a number is out of range.
    """
    names = [name for item in only for name in re.split(r"[,\s]+", item) if name]
    checks = choose(quick=quick, server=invoke, only=names)
    algorithm = algorithm_folder(task)
    if memory is None:
        memory = _declared_memory(algorithm)
    if memory < _SMALLEST_GIB or time_limit < 1:
        raise InputError(
            f"Expected --memory of at least {_SMALLEST_GIB} and --time-limit of at least 1, got "
            f"{memory:g} and {time_limit}."
        )
    need_engine()
    images = _images(algorithm.name, image, gpu=gpu, invoke=invoke)
    with _stopping_cleanly():
        context = Rehearsal(
            algorithm.name,
            *images,
            algorithm=algorithm,
            cases=_cases(algorithm, test_dir),
            model=_model(algorithm, model),
            work=_work_folder(algorithm),
            limits=Limits(int(memory * GIB), gpu=gpu and has_gpu()),
            time_limit_s=time_limit,
            health_limit_s=health_limit,
        )
        try:
            return _rehearse(context, *checks, client=client, json=json)
        except (KeyboardInterrupt, SystemExit):
            context.remove_work()
            raise


def _rehearse(
    context: Rehearsal,
    case_checks: Sequence[Check],
    server_checks: Sequence[Check],
    *,
    client: bool,
    json: Path | None,
) -> int:
    outcomes = _ask(case_checks, context)
    serving = Serving(context)
    try:
        outcomes += _ask(server_checks, serving)
    finally:
        serving.close()
    if client:
        outcomes += _ask_client(context)
    outcomes.sort(key=_place)
    gates.show(outcomes)
    if json is not None:
        write_json(json, [dataclasses.asdict(outcome) for outcome in outcomes])
    return _close(context, outcomes)


def _ask(checks: Sequence[Check], context: Any) -> list[Outcome]:
    """Ask gates one after the other; on a terminal, say which."""
    outcomes = []
    with Console().status("rehearsing") as status:
        for check in checks:
            status.update(check.__name__.replace("_", " "))
            outcomes.append(check(context))
    return outcomes


def _ask_client(context: Rehearsal) -> list[Outcome]:
    from medvial_rehearsal.client import ClientRehearsal, JobLimits, run_gates

    images = {"exec": context.image} if context.method == "exec" else {}
    if context.server_image:
        images["invoke"] = context.server_image
    work = context.new_folder("client")
    limits = JobLimits(context.time_limit_s, context.limits.memory_bytes, context.health_limit_s)
    return run_gates(
        ClientRehearsal(
            context.algorithm,
            context.model,
            images,
            work,
            limits=limits,
            test_cases=context.cases,
        )
    )


def _close(context: Rehearsal, outcomes: Sequence[Outcome]) -> int:
    """Say how it went; what a failed rehearsal wrote is kept."""
    code = gates.exit_code(outcomes)
    failed = [o.gate for o in outcomes if o.status is Status.FAILED]
    left_out = [o.gate for o in outcomes if o.status is Status.NOT_RUN and o.required]
    seconds = f"{context.runs[0].seconds:.1f} s" if context.runs else "no run"
    if code == 0:
        context.remove_work()
        log.info("%s: passed; %s from docker run to the result", context.task, seconds)
        return code
    words = [f"{w}: {', '.join(g)}" for w, g in (("failed", failed), ("not run", left_out)) if g]
    log.info("%s: FAILED after %s", context.task, seconds)
    log.info("%s; what the runs wrote is in %s", "; ".join(words), context.work)
    return code


def _place(outcome: Outcome) -> tuple[str, int]:
    """B before C, and C9 before C10."""
    match = re.match(r"([A-Z]+)(\d*)", outcome.gate)
    return (match[1], int(match[2] or 0)) if match else (outcome.gate, 0)


def _images(task: str, image: str | None, *, gpu: bool, invoke: bool) -> tuple[str, str | None]:
    """The image of the single cases, and that of the server, if there is one.

    Raises:
        InputError: The first does not exist.
    """
    if image is not None:
        return image, image if api_label(image) == "invoke" else None
    server = f"medvial-{task}:{'gpu-' if gpu else ''}invoke"
    single = server if invoke else f"medvial-{task}:{'gpu' if gpu else 'latest'}"
    if image_config(single) is None:
        options = " --gpu" * gpu + " --invoke" * invoke
        raise InputError(
            f"Expected the image {single}, found none: run build.sh first "
            f"(./build.sh {task}{options})."
        )
    return single, server if image_config(server) else None


def _declared_memory(algorithm: Path) -> float:
    """GiB that the algorithm's sockets.json asks for."""
    resources = read_json(algorithm / "sockets.json").get("resources", {})
    return float(resources.get("memory_gb", MEMORY_GB))


def _cases(algorithm: Path, test_dir: Path | None) -> tuple[Case, ...]:
    """All cases, the main one first.

    Raises:
        InputError: There is none.
    """
    test = test_dir or algorithm / "test"
    found = tuple(cases_in(test))
    if not found or found[0].name:
        raise InputError(f"Expected a case in {test / 'input'}, found no such folder.")
    for case in found:
        if not case.expected_output.is_file():
            raise InputError(f"Expected {case.expected_output}, found none: run step 4.")
    return found


def _model(algorithm: Path, model: Path | None) -> Path:
    folder = model or algorithm / "model"
    if not folder.is_dir():
        raise InputError(f"Expected a model folder at {folder}, found none: run step 4.")
    return folder


def _work_folder(algorithm: Path) -> Path:
    """A new folder in build/ of the project, or beside an algorithm that is in none."""
    in_project = algorithm.parent.name == "algorithms"
    build = (algorithm.parents[1] if in_project else algorithm.parent) / "build"
    build.mkdir(exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f"rehearse-{algorithm.name}.", dir=build))
    work.chmod(0o755)  # the image's user is not the one who runs this
    return work


@contextmanager
def _stopping_cleanly() -> Iterator[None]:
    """Let a signal to stop end this as an exception does, so that containers are removed."""

    def stop(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    signals = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, stop) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
