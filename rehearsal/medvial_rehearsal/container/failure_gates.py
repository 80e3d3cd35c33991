"""Gates E and B6: what goes wrong has to be told, and must not look like a result.

Some broken inputs no algorithm can use; others one may well handle (a black image, 16 bit, a single
frame): there, a clean failure and complete valid outputs are both right.
"""

import re
import time
from collections.abc import Mapping, Sequence

from medvial.sockets import Socket
from medvial_rehearsal.container import broken_inputs as broken
from medvial_rehearsal.container import broken_videos as videos
from medvial_rehearsal.container.broken_inputs import Change, Pick
from medvial_rehearsal.container.context import Rehearsal, Run
from medvial_rehearsal.container.engine import Container
from medvial_rehearsal.container.outputs import problems
from medvial_rehearsal.container.staging import Generation, copy_tree, is_image, is_json
from medvial_rehearsal.gates import GateFailure, GateNotRun, gate

STOP_LIMIT_S = 5.0
"""From SIGTERM to the end; the platform kills then."""
MODEL_LIMIT_S = 60.0
_SIGTERM_AT = (0.5, 0.3, 0.15)  # shares of a whole run, tried until one falls into it
_MEND = "End with an exit code other than 0 and one line on standard error that says why."
_TRACE = re.compile(r'^\s|^File "|^Traceback|^\^+$')


@gate("E1", "no inputs at all")
def no_inputs(context: Rehearsal) -> str:
    """An empty /input, without inputs.json."""
    run = context.run_case("nothing", change=broken.nothing, generation=Generation.NONE)
    return clean_failure(run)


@gate("E2", "unknown inputs")
def unknown_inputs(context: Rehearsal) -> str:
    """An inputs.json with sockets that the algorithm does not have."""
    return clean_failure(context.run_case("unknown sockets", change=broken.unknown_sockets))


@gate("E3", "an input missing, two of them, a stray file beside it")
def wrong_number(context: Rehearsal) -> str:
    """Image folders with none or two; the platform gives exactly one."""
    may = {
        "two images": [(broken.is_one_image, broken.double)],
        "stray file": [(is_image, broken.stray)],
    }
    must = {"missing input": [(broken.is_any, broken.remove)]}
    return f"{_try(context, must, must=True)}, {_try(context, may)}"


@gate("E4", "cut off and empty files")
def cut_off(context: Rehearsal) -> str:
    """Cut in the header: no algorithm can read it. In the middle: some of it may be usable."""
    must = {
        "cut in the header": [(broken.has_header, broken.cut_header)],
        "empty file": [(broken.is_any, broken.empty)],
    }
    may = {"cut in half": [(_not_json, broken.cut_half)]}
    return f"{_try(context, must, must=True)}, {_try(context, may)}"


@gate("E5", "videos of no and of one frame", required=False)
def few_frames(context: Rehearsal) -> str:
    """Too short to be used."""
    _need(context, broken.is_video, "no video input")
    must = {"no frames": [(broken.is_video, videos.no_frames)]}
    may = {"one frame": [(broken.is_video, videos.one_frame)]}
    return f"{_try(context, must, must=True)}, {_try(context, may)}"


@gate("E6", "a video of an unknown codec", required=False)
def unknown_codec(context: Rehearsal) -> str:
    """Not to be decoded."""
    _need(context, broken.is_video, "no video input")
    return _try(context, {"unknown codec": [(broken.is_video, videos.unknown_codec)]}, must=True)


@gate("E7", "all black", required=False)
def all_black(context: Rehearsal) -> str:
    """Nothing to be found."""
    black = [(is_image, broken.black), (broken.is_video, videos.black_video)]
    _need(context, lambda s: is_image(s) or broken.is_video(s), "no image or video input")
    return _try(context, {"all black": black})


@gate("E8", "images of 16 bit, RGBA, four dimensions", required=False)
def other_pixels(context: Rehearsal) -> str:
    """What an importer lets through."""
    _need(context, broken.is_one_image, "no image input of one file")
    changes = {"16 bit": broken.sixteen_bit, "RGBA": broken.rgba, "4-D": broken.four_dimensions}
    return _try(context, {name: [(broken.is_one_image, c)] for name, c in changes.items()})


@gate("E9", "/output not writable, and full")
def no_room(context: Rehearsal) -> str:
    """Results that cannot be written."""
    folder = context.work / "unwritable"
    folder.mkdir(exist_ok=True)
    mounts = {
        "unwritable /output": ("--volume", f"{folder}:/output:ro"),
        "full /output": ("--tmpfs", "/output:mode=1777,size=4k,nr_inodes=1"),
    }
    lines = [
        clean_failure(context.run_case(name, output=mount), name) for name, mount in mounts.items()
    ]
    return lines[-1]


@gate("E10", f"stops within {STOP_LIMIT_S:g} s of SIGTERM")
def stops(context: Rehearsal) -> str:
    """The platform's time limit, or a job that is cancelled."""
    whole = context.reference.seconds
    for share in _SIGTERM_AT:
        seconds = _stop_after(context, whole * share)
        if seconds is None:
            continue
        if seconds > STOP_LIMIT_S:
            raise GateFailure(
                f"still running {STOP_LIMIT_S:g} s after SIGTERM",
                "Handle SIGTERM; take the exec form of ENTRYPOINT, so that no shell is between.",
            )
        return f"{seconds:.1f} s"
    return "it ends too soon to be stopped"


@gate("B6", "a missing and a damaged model")
def bad_model(context: Rehearsal) -> str:
    """Not uploaded, not activated, or cut off on the way."""
    if not any(context.model.rglob("[!.]*")):
        return "the algorithm has no model"
    missing, damaged = context.work / "model-missing", context.work / "model-damaged"
    missing.mkdir(exist_ok=True)
    missing.chmod(0o755)
    if not damaged.exists():
        copy_tree(context.staged_model, damaged)
        broken.truncate_largest(damaged)
    line = ""
    for name, folder in (("damaged model", damaged), ("missing model", missing)):
        run = context.run_case(name, model=folder)
        line = clean_failure(run, name)
        if run.seconds > MODEL_LIMIT_S:
            raise GateFailure(f"{name}: told after {run.seconds:.0f} s only", "Look at it first.")
    return line


def clean_failure(run: Run, name: str = "") -> str:
    """Make sure that a run failed as it should; returns its last line on standard error.

    Raises:
        GateFailure: It passed, took too long, did not say why, or left something behind.
    """
    name = f"{name}: " if name else ""
    left = sorted(p.name for p in run.output.rglob("*") if p.is_file())
    if run.timed_out:
        raise GateFailure(f"{name}still running at the time limit, and was killed", _MEND)
    if run.exit_code == 0:
        what = f"with {', '.join(left[:3])}" if left else "and no output: a failure was swallowed"
        raise GateFailure(f"{name}exit code 0 {what}", _MEND)
    line = run.last_error_line
    if not line:
        raise GateFailure(f"{name}exit code {run.exit_code} without a word", _MEND)
    if _TRACE.search(line):
        raise GateFailure(f"{name}the last line says no reason: {line[:100]!r}", _MEND)
    if left:
        raise GateFailure(
            f"{name}left {', '.join(left[:3])} in /output",
            "Write all outputs beside their places and rename them when all are there.",
        )
    return line[:160]


def _try(
    context: Rehearsal, cases: Mapping[str, Sequence[tuple[Pick, Change]]], *, must: bool = False
) -> str:
    """Run the case with the changes of each name; returns what came of them.

    A run has to fail, or, unless it `must`, to give complete valid outputs.
    """
    stories = []
    for name, changes in cases.items():
        try:
            run = context.run_case(name, change=broken.each(context.interface, *changes))
        except broken.UnchangeableError as error:
            stories.append(f"{name} not tried ({error})")
            continue
        if must or run.exit_code or run.timed_out:
            clean_failure(run, name)
            stories.append(f"{name} refused")
            continue
        found = problems(context.interface, run.output)
        if found:
            raise GateFailure(f"{name}: exit code 0, but {'; '.join(found[:3])}", _MEND)
        stories.append(f"{name} handled")
    return ", ".join(stories)


def _not_json(socket: Socket) -> bool:
    return not is_json(socket)


def _need(context: Rehearsal, pick: Pick, why: str) -> None:
    if not any(pick(socket) for socket in context.interface.inputs):
        raise GateNotRun(why)


def _stop_after(context: Rehearsal, delay_s: float) -> float | None:
    """Seconds from SIGTERM to the end; None if it had ended before."""
    folder = context.new_folder("stop")
    copy_tree(context.reference.folder / "input", folder / "input")
    # As on the platform the program is not the first process, which would ignore the signal.
    arguments = [*context.limits.arguments(), *context.mounts(folder), "--init"]
    with Container(context.image, arguments, logs=folder) as container:
        container.start()
        if container.wait(delay_s) is not None:
            return None
        start = time.monotonic()
        container.kill("TERM")
        ended = container.wait(STOP_LIMIT_S)
        seconds = time.monotonic() - start
        if ended is None:
            return STOP_LIMIT_S + seconds
        code = container.state()["ExitCode"]
    context.open_up(folder / "output")
    left = [p.name for p in (folder / "output").rglob("*") if p.is_file()]
    if code != 0 and left and problems(context.interface, folder / "output"):
        raise GateFailure(
            f"left {', '.join(left[:3])} in /output", "Rename outputs when all are there."
        )
    return seconds
