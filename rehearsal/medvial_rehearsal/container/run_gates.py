# mypy: disable-error-code="no-untyped-call"
"""Gates C: one case in one container, under all of the platform's limits at once."""

from collections.abc import Callable
from dataclasses import replace

from medvial_rehearsal.container.context import Rehearsal, Run
from medvial_rehearsal.container.engine import GIB, Limits
from medvial_rehearsal.container.outputs import differences, produced
from medvial_rehearsal.gates import GateFailure, GateNotRun, GateWarning, Outcome, gate

LINE_LIMIT = 64 << 10  # bytes; sagemaker-shim drops longer lines
SLOW_FACTOR = 2  # the platform's instances to a current workstation: our guess, not measured
MEMORY_SHARE = 0.9  # of the limit; above it a slightly larger case fails
_EXIT_KILLED = 137  # 128 + SIGKILL


@gate("C1", "exit code 0 under all limits at once")
def exit_code(context: Rehearsal) -> str:
    """The program ends well."""
    run = context.reference
    if run.exit_code == 0:
        return f"{run.seconds:.1f} s"
    reason = run.last_error_line or "nothing on standard error"
    raise GateFailure(
        f"{ending(run)}: {reason[:300]}",
        f"See {run.folder}/stdout.txt and stderr.txt.",
    )


@gate("C2", "all declared outputs, and nothing else")
def only_declared(context: Rehearsal) -> str:
    """The output folder holds what sockets.json says."""
    found = produced(context.interface, finished(context).output)
    if found.missing:
        raise GateFailure(
            "; ".join(found.missing),
            "Write every output of sockets.json; end with another exit code than 0 if you cannot.",
        )
    if found.extra:
        raise GateFailure(
            f"not declared: {', '.join(found.extra[:5])}",
            "Declare it in sockets.json, or write it to /tmp: the platform ignores it.",
        )
    return ", ".join(s.relative_path for s in context.interface.outputs)


@gate("C3", "nothing on standard error")
def silent(context: Rehearsal) -> None:
    """A line there marks the platform's job with a warning."""
    run = context.reference
    if run.exit_code == 0 and run.stderr.strip():
        line = run.stderr.decode("utf-8", "replace").strip().splitlines()[0]
        raise GateFailure(
            f"wrote to standard error: {line[:200]}",
            "The platform shows the job with a warning: log to standard output, and switch "
            "progress bars off.",
        )


@gate("C4", "logs are UTF-8, in lines below 64 KiB, without carriage returns")
def readable_logs(context: Rehearsal) -> str:
    """What the platform's client can take."""
    run = context.reference
    for name, content in (("standard output", run.stdout), ("standard error", run.stderr)):
        try:
            content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise GateFailure(
                f"{name} is not UTF-8 at byte {error.start}",
                "The platform's client ends without a result then: print text, not bytes.",
            ) from None
        if b"\r" in content:
            raise GateFailure(
                f"{name} holds carriage returns, as progress bars write them",
                "Switch progress bars off: tqdm(disable=None) does where there is no terminal.",
            )
        longest = max((len(line) for line in content.split(b"\n")), default=0)
        if longest >= LINE_LIMIT:
            raise GateFailure(
                f"{name} has a line of {longest} bytes; 65535 are kept", "Print shorter lines."
            )
    return f"{len(run.stdout.splitlines())} lines"


@gate("C5", "within the time limit")
def in_time(context: Rehearsal) -> str:
    """From `docker create` to the result, model loading included."""
    run, limit = context.reference, context.time_limit_s
    if run.timed_out:
        raise GateFailure(
            f"still running after {limit:g} s, and was killed",
            "Make it faster, or ask for a larger time limit and give it as --time-limit.",
        )
    if run.seconds * SLOW_FACTOR > limit:
        raise GateWarning(
            f"{run.seconds:.1f} s of {limit:g} s",
            f"The platform's machines may take {SLOW_FACTOR} times as long.",
        )
    return f"{run.seconds:.1f} s of {limit:g} s"


@gate("C6", "within the memory")
def in_memory(context: Rehearsal) -> str:
    """Neither killed nor refused memory."""
    run, limit = context.reference, context.limits.memory_bytes
    if run.out_of_memory or _refused_memory(context, run):
        raise GateFailure(
            f"ran out of {limit / GIB:g} GiB: {ending(run)}; peak {run.memory}",
            "Work slice by slice, or choose an instance with more memory and give it as --memory.",
        )
    if run.memory.peak > MEMORY_SHARE * limit:
        raise GateWarning(f"peak {run.memory} of {limit / GIB:g} GiB", "A larger case will fail.")
    return f"peak {run.memory} of {limit / GIB:g} GiB"


@gate("C7", "a second run gives the same")
def same_twice(context: Rehearsal) -> str:
    """Nothing random, nothing kept from the run before."""
    first, second = finished(context), context.again
    if second.exit_code:
        raise GateFailure(
            f"{ending(second)} in the second run: {second.last_error_line[:200]}", "Fix the seed."
        )
    found = differences(context.interface, first.output, second.output, context.tolerances)
    if found:
        raise GateFailure("; ".join(found[:3]), "Fix the seeds; set the order of files.")
    return f"{second.seconds:.1f} s"


@gate("C8", "inputs unchanged")
def inputs_unchanged(context: Rehearsal) -> None:
    """/input is read-only; nothing got through."""
    context.reference  # noqa: B018  # there has to be a run
    changed = sorted({name for run in context.runs for name in run.inputs_changed})
    if changed:
        raise GateFailure(f"changed: {', '.join(changed[:5])}", "Write to /tmp and /output only.")


def _limit_gate(
    name: str, title: str, relaxed: Callable[[Limits], Limits], found: str, mend: str
) -> Callable[[Rehearsal], Outcome]:
    """A gate that fails if the case runs without one limit, and does not with it."""

    @gate(name, title)
    def check(context: Rehearsal) -> str | None:
        if context.reference.exit_code == 0:
            return None
        if context.reference.timed_out:
            raise GateNotRun("the run took too long, see C5")
        run = context.run_case(f"{name} relaxed", limits=relaxed(context.limits))
        if run.exit_code == 0:
            raise GateFailure(f"{found}: {context.reference.last_error_line[:200]}", mend)
        raise GateNotRun("the run fails without this limit too, see C1")

    return check


small_shared_memory = _limit_gate(
    "C9",
    "64 MB of shared memory are enough",
    lambda limits: replace(limits, shm_bytes=limits.memory_bytes // 2),
    "fails with 64 MB of /dev/shm, and runs with half of the memory",
    "Load data in the main process (num_workers=0).",
)
unwritable_root = _limit_gate(
    "C12",
    "WORKDIR, HOME and the rest of the image need not be writable",
    lambda limits: replace(limits, read_only=False),
    "writes outside of /output and /tmp",
    "Write to /tmp and /output only; set the cache folders of libraries (HF_HOME, TORCH_HOME, "
    "MPLCONFIGDIR) below /tmp.",
)
no_network = _limit_gate(
    "C13",
    "no network",
    lambda limits: replace(limits, network=_some_network()),
    "runs with a network only",
    "Put what it downloads into the model tarball or the image.",
)


def finished(context: Rehearsal) -> Run:
    """The reference run, if it ended well.

    Raises:
        GateNotRun: It did not.
    """
    if context.reference.exit_code:
        raise GateNotRun("the run failed, see C1")
    return context.reference


def ending(run: Run) -> str:
    """How a run ended, in the platform's terms."""
    if run.timed_out:
        return "killed at the time limit"
    if run.out_of_memory or run.exit_code == _EXIT_KILLED:
        return f"exit code {run.exit_code}, killed as it exceeded its memory limit"
    return f"exit code {run.exit_code}"


def _refused_memory(context: Rehearsal, run: Run) -> bool:
    """Whether the program's own last words are about memory."""
    words = ("memoryerror", "bad_alloc", "cannot allocate memory", "unable to allocate")
    return run.exit_code != 0 and any(word in run.last_error_line.lower() for word in words)


def _some_network() -> str:
    """A network of the engine's: an engine without a bridge has only the host's."""
    from medvial_rehearsal.container.engine import docker

    return "bridge" if "bridge" in docker("network", "ls", "--format", "{{.Name}}") else "host"
