"""Gates F: one server for many cases, asked as the platform asks it."""

from medvial_rehearsal.container import broken_inputs as broken
from medvial_rehearsal.container.context import LABEL, api_label
from medvial_rehearsal.container.outputs import differences, problems
from medvial_rehearsal.container.server import CREATED, PORT, Reply
from medvial_rehearsal.container.serving import Answer, Serving, StagedCase
from medvial_rehearsal.container.staging import stage_case
from medvial_rehearsal.gates import GateFailure, GateNotRun, GateWarning, gate

MEMORY_GROWTH = 1.05
"""Most that the server may hold after a second round of cases, as a share of the first's."""
_MEMORY_NOISE = 4 << 20  # bytes, whatever the share: an interpreter's own coming and going
_EVERYWHERE = ("0.0.0.0", "::")
_INVOKE = "Answer POST /invoke with 201 if all outputs were written, and 500 if not."


@gate("F1", "the label says invoke")
def label(serving: Serving) -> str:
    """Without it the platform runs the image once a case."""
    value = api_label(serving.image)
    if value != "invoke":
        raise GateFailure(
            f"{LABEL} is {value!r}" if value else f"there is no label {LABEL}",
            f'LABEL {LABEL}="invoke" in the Dockerfile (./build.sh --invoke).',
        )
    return f"{LABEL}={value}"


@gate("F2", f"listens on 0.0.0.0:{PORT}")
def listens(serving: Serving) -> str:
    """The platform's port, on every address."""
    if serving.server.request("GET", "/health", 10).status:
        found = serving.server.listeners()
    else:
        found = serving.wait_for_listener()
    address = found.get(PORT)
    if address not in _EVERYWHERE:
        others = ", ".join(f"{a}:{p}" for p, a in sorted(found.items())) or "nowhere"
        raise GateFailure(f"listens on {others}", f"Listen on 0.0.0.0:{PORT}.")
    return f"{address}:{PORT}"


@gate("F3", "/health answers 200 in time, without a redirect")
def health(serving: Serving) -> str:
    """Once the model is loaded."""
    found = serving.health
    before = f", before that {' and '.join(found.before)}" if found.before else ""
    return f"200 after {found.seconds:.1f} s{before}"


@gate("F4", "starts while /input is empty")
def empty_at_start(serving: Serving) -> str:
    """Cases come later, and each in a new folder."""
    serving.need_health()
    return "looked at inside /invoke only"


@gate("F5", "POST /invoke without a body answers 201")
def created(serving: Serving) -> str:
    """Any other status is a failure on the platform, 200 too."""
    reply = serving.first.reply
    if reply.status != CREATED:
        raise GateFailure(f"answered {_told(reply)}", _INVOKE)
    return f"{reply}"


@gate("F6", "different cases in one process give what each gives alone")
def no_state(serving: Serving) -> str:
    """Nothing of a case is left for the next."""
    for answers in serving.rounds:
        for answer in answers:
            _same_as_alone(serving, answer)
    if len(serving.cases) == 1:
        raise GateWarning(
            "there is one case only, and no image or video in it to make another of",
            "Put a second case into test/NAME/: what is left of one shows in the next.",
        )
    return ", ".join([*(case.name for case in serving.cases), *serving.not_tried])


@gate("F7", "after a failed case the next good one passes")
def recovers(serving: Serving) -> str:
    """The server outlives a case that it cannot use."""
    server = serving.need_health()
    main = serving.cases[0]
    folder = serving.context.new_folder("case nothing") / "case"
    stage_case(serving.context.case.input, folder, main.interface)
    broken.nothing(folder)
    bad = serving.answer(StagedCase("nothing", folder, main.interface))
    if bad.reply.status == CREATED:
        raise GateFailure("answered 201 to an empty /input", _INVOKE)
    left = [p.name for p in bad.output.rglob("*") if p.is_file()]
    if left:
        raise GateFailure(f"a failed case left {', '.join(left[:3])} in /output", _INVOKE)
    good = serving.answer(main)
    if good.reply.status != CREATED:
        server.check_running()
        raise GateFailure(
            f"after a failed case a good one is answered {_told(good.reply)}",
            "Catch what goes wrong in a case, answer 500, and start the next one afresh.",
        )
    _same_as_alone(serving, good)
    return f"{bad.reply}, then {good.reply}"


@gate("F8", "logs on standard output only")
def silent(serving: Serving) -> None:
    """Over cases that passed; a failed one may say why on standard error."""
    _need_created(serving)
    text = serving.server.container.stderr.read_text(errors="replace").strip()
    if text:
        raise GateFailure(
            f"wrote to standard error: {text.splitlines()[0][:200]}",
            "Send the server's own log to standard output (uvicorn's goes to standard error).",
        )


@gate("F9", "a second POST at the same time is refused or waits")
def not_mixed(serving: Serving) -> str:
    """Two answers, one result."""
    _need_created(serving)
    server, case = serving.server, serving.cases[0]
    server.place(case.folder)
    replies = server.invoke_twice()
    output = server.take_output(serving.context.new_folder("served twice") / "taken")
    statuses = " and ".join(map(str, replies))
    if CREATED not in {reply.status for reply in replies}:
        raise GateFailure(f"both failed: {statuses}", "Run one case after the other.")
    best = next(reply for reply in replies if reply.status == CREATED)
    _same_as_alone(serving, Answer(case, best, output, None))
    return statuses


@gate("F10", "the model is loaded once, before /health answers 200")
def loaded_once(serving: Serving) -> str:
    """The first case passes although the model folder was emptied after that answer."""
    if not any(serving.context.model.rglob("*")):
        return "the algorithm has no model"
    first = serving.first
    if first.reply.status != CREATED:
        raise GateNotRun("the first case failed, see F5")
    if first.without_model.status != CREATED:
        raise GateFailure(
            f"reads /opt/ml/model in /invoke: {_told(first.without_model)}",
            "Load the model when the server starts, and answer 503 on /health until it is there.",
        )
    return "a case passed with the model folder emptied"


@gate("F11", "memory does not grow from case to case")
def memory(serving: Serving) -> str:
    """The second round of the same cases holds no more than the first."""
    _need_created(serving)
    held = [[a.memory for a in answers if a.memory is not None] for answers in serving.rounds]
    if not all(held):
        raise GateNotRun("the container's cgroup cannot be seen from here")
    first, last = (max(values) for values in (held[0], held[-1]))
    found = f"{first / 1e6:.0f} MB in the first round, {last / 1e6:.0f} MB in the second"
    if last > first * MEMORY_GROWTH and last > first + _MEMORY_NOISE:
        raise GateFailure(found, "Keep nothing of a case after its answer.")
    return found


def _need_created(serving: Serving) -> None:
    if serving.first.reply.status != CREATED:
        raise GateNotRun("the first case failed, see F5")


def _same_as_alone(serving: Serving, answer: Answer) -> None:
    passed, output = serving.alone(answer.case)
    name = answer.case.name
    if passed != (answer.reply.status == CREATED):
        alone = "passes" if passed else "fails"
        raise GateFailure(
            f"{name}: {alone} alone, but the server answered {_told(answer.reply)}",
            "Read /input anew for every case, and keep nothing of the one before.",
        )
    if not passed:
        return
    wrong = problems(answer.case.interface, answer.output) or differences(
        answer.case.interface, output, answer.output, serving.context.tolerances
    )
    if wrong:
        raise GateFailure(
            f"{name}: {'; '.join(wrong[:2])}",
            "Read /input anew for every case, and keep nothing of the one before.",
        )


def _told(reply: Reply) -> str:
    body = " ".join(reply.body.split())[:160]
    return f"{reply}: {body}" if body else str(reply)
