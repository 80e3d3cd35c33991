"""One case in other ways than a plain command: in a server of its own, and by a linked /input."""

import time
from collections.abc import Sequence
from pathlib import Path

from medvial_rehearsal.container.context import Rehearsal, Run
from medvial_rehearsal.container.engine import Container, Limits
from medvial_rehearsal.container.server import CREATED, LINKED, Server
from medvial_rehearsal.container.staging import copy_tree
from medvial_rehearsal.gates import GateFailure


def serve_one(
    context: Rehearsal,
    name: str,
    folder: Path,
    limits: Limits | None,
    model: Path | None,
    output: Sequence[str],
    *,
    linked: bool = False,
) -> Run:
    """One case in a server of its own, told like a run of the `exec` method."""
    image = context.image
    with Server(
        context, image, folder, linked=linked, limits=limits, model=model, output=output
    ) as server:
        try:
            server.wait_until_healthy()
            server.place(folder / "input")
            reply = server.invoke()
            code = 0 if reply.status == CREATED else reply.status or 1
        except GateFailure:
            code = 1
        seconds = time.monotonic() - server.container.started
        state = server.container.state()
        timed_out = seconds > context.time_limit_s
    out_of_memory = bool(state["OOMKilled"])
    memory = server.container.memory
    return Run(name, folder, code, seconds, timed_out, out_of_memory, memory=memory)


def run_linked(context: Rehearsal) -> Run:
    """The main case with /input as a symbolic link; the image's root is writable then."""
    folder = context.new_folder("linked input")
    copy_tree(context.reference.folder / "input", folder / "input")
    if context.method == "invoke":
        run = serve_one(context, "linked input", folder, None, None, (), linked=True)
    else:
        run = _execute_linked(context, folder)
    context.open_up(folder / "output")
    context.runs.append(run)
    return run


def _execute_linked(context: Rehearsal, folder: Path) -> Run:
    arguments = [a for a in context.limits.arguments() if a != "--read-only"]
    arguments += context.mounts(folder, with_input=False)
    arguments += ["--volume", f"{folder / 'input'}:{LINKED}/job-input:ro"]
    with Container(context.image, arguments, logs=folder) as container:
        container.link("input", f"{LINKED}/job-input")
        container.start()
        seconds = container.wait(context.time_limit_s)
        if seconds is None:
            container.kill()
            container.wait(30)
        code = container.state()["ExitCode"]
        return Run("linked input", folder, code, seconds or context.time_limit_s, seconds is None)
