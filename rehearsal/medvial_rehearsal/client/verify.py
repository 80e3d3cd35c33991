"""What the platform would say of a session: every case in its turn."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medvial.compare import MODEL_KEY, compare_folder, read_tolerances
from medvial.outputs import read_json
from medvial.sockets import Interface, Socket
from medvial_rehearsal.client.session import CaseResult, Session
from medvial_rehearsal.gates import GateFailure, GateWarning

EXPECTED, TOLERANCES = "expected_output.json", "tolerances.json"
IMAGE_SUFFIXES = (".mha", ".tif", ".tiff")


def verify_session(session: Session, interfaces: Sequence[Interface]) -> None:
    """Check that every case of a session succeeded and that the client says so itself.

    Args:
        session: What came of the cases.
        interfaces: The interface of each of them.

    Raises:
        GateFailure: A signature or an output is wrong or missing, or a case failed.
        GateWarning: All succeeded, but something was written to standard error.
    """
    _verify_setup(session)
    for case, interface in zip(session.cases, interfaces, strict=True):
        try:
            verify_case(case, session)
            verify_outputs(case.stored, interface)
        except GateFailure as failure:
            where = f"case {case.name}: " if case.name else ""
            raise GateFailure(where + failure.found, failure.mend) from None
    if session.stderr:
        raise GateWarning(
            f"on standard error: {_short(session.stderr)}",
            "The platform marks such jobs with a warning: log to standard output.",
        )


def verify_case(case: CaseResult, session: Session) -> None:
    """Check the client's own result of a case.

    Raises:
        GateFailure: There is none, its signature is wrong, or it tells of a failure.
    """
    if case.result is None:
        raise _no_result(session)
    if not case.result["signature_valid"]:
        raise GateFailure("the signature of inference_result.json is wrong", _CLIENT_MEND)
    if case.result["return_code"] != 0:
        raise GateFailure(failure_of(case, session), _mend_of(session))
    listed = sorted(str(entry["relative_path"]) for entry in case.result["outputs"])
    if listed != sorted(case.stored):
        raise GateFailure(f"the client lists {listed}, in S3 are {list(case.stored)}", _CLIENT_MEND)


def verify_outputs(stored: Sequence[str], interface: Interface) -> None:
    """Check that there is what the interface declares, once, and nothing else.

    Raises:
        GateFailure: An output is missing, double or was not declared; in the platform's words.
    """
    undeclared = set(stored)
    for socket in interface.outputs:
        found = _files_of(socket, stored)
        undeclared -= set(found)
        if not socket.kind_info.is_image:
            if not found:
                path = socket.relative_path
                raise GateFailure(f"Output file '{path}' was not produced", "Write it in save().")
            continue
        images = [name for name in found if name.lower().endswith(IMAGE_SUFFIXES)]
        if not images:
            raise GateFailure(
                f"Output directory '{socket.relative_path}' holds no image, but {found}",
                "Write one .mha or .tif there.",
            )
        if len(images) > 1:
            raise GateFailure(
                f"Only 1 image should be produced in '{socket.relative_path}', got {images}",
                "Write one image for each socket.",
            )
    if undeclared:
        raise GateFailure(
            f"undeclared: {sorted(undeclared)}",
            "Declare it in sockets.json, or do not write it: the platform ignores such files.",
        )


def compare_case(folder: Path, case: Path, fallback: Path) -> str:
    """Compare a case's outputs with its expected ones; returns the largest difference in words.

    Args:
        folder: The outputs.
        case: The case's folder.
        fallback: The folder whose tolerances are taken where the case has none.

    Raises:
        GateFailure: They differ by more than the tolerance.
        InputError: A file cannot be read.
    """
    expected = read_json(case / EXPECTED)
    expected.pop(MODEL_KEY, None)
    candidates = (case / TOLERANCES, fallback / TOLERANCES)
    tolerances = next((path for path in candidates if path.is_file()), None)
    result = compare_folder(expected, folder, read_tolerances(tolerances, expected))
    bad = [
        f"{name}: {d.where} {d.message}"
        for name, differences in result.items()
        for d in differences
        if not d.tolerated
    ]
    if bad:
        raise GateFailure(
            f"{bad[0]}{f' and {len(bad) - 1} more' if len(bad) > 1 else ''}",
            "Run step 4 again if the model changed; else find out why it differs here.",
        )
    worst = max((d.amount for found in result.values() for d in found), default=0.0)
    return f"largest difference {worst:.3g}"


def failure_of(case: CaseResult, session: Session) -> str:
    """Why a case failed: the line that the platform's user would see."""
    assert case.result is not None
    lines = [line.strip() for line in case.result["user_process_last_stderr_lines"]]
    last = next((line for line in reversed(lines) if line), "")
    reason = case.result["user_safe_error_message"] or last or _short(session.client[-1:])
    return f"return code {case.result['return_code']}: {reason or 'no message'}"


_CLIENT_MEND = "The client itself did this: report it with this table."


def _verify_setup(session: Session) -> None:
    if session.setup is None:
        raise GateFailure(f"the client did not start: {_short(session.client[-3:])}", _CLIENT_MEND)
    if not session.setup["signature_valid"]:
        raise GateFailure("the signature of runtime_setup_result.json is wrong", _CLIENT_MEND)
    if session.setup["return_code"] != 0:
        reason = session.setup["user_safe_error_message"]
        last = _short(session.stderr[-1:] or session.stdout[-1:])
        raise GateFailure(
            f"set-up failed: {reason} {last}".rstrip(),
            "The server must answer GET /health with 200 once the model is loaded; the model "
            "archive must unpack.",
        )


def _no_result(session: Session) -> GateFailure:
    text = "\n".join(session.client)
    if "codec can't decode" in text:
        return GateFailure(
            "the client crashed at a log line that is not UTF-8, and left no result: An "
            "unexpected error occurred",
            "Write UTF-8 only to standard output and error.",
        )
    return GateFailure(f"the client left no result: {_short(session.client[-3:])}", _CLIENT_MEND)


def _mend_of(session: Session) -> str:
    if any("expected 201" in line for line in session.client):
        status = next(line for line in session.client if "expected 201" in line)
        return f"{status}: answer POST /invoke with 201 when all outputs are written."
    return "Run it with `medvial predict` to see its log."


def _files_of(socket: Socket, stored: Sequence[str]) -> list[str]:
    path = socket.relative_path
    if socket.kind_info.is_image:
        return [name for name in stored if name.startswith(path + "/")]
    return [name for name in stored if name == path]


def _short(lines: Sequence[Any]) -> str:
    text = " | ".join(" ".join(str(line).split()) for line in lines)
    return text if len(text) <= 300 else f"{text[:297]}..."
