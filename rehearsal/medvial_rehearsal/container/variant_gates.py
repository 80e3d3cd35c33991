# mypy: disable-error-code="no-untyped-call"
"""Gates C10 to C15: the same case in every form that the platform may give it."""

from pathlib import Path

import SimpleITK as sitk  # noqa: N813 the library's customary name

from medvial.compare import MODEL_KEY, compare_folder, read_tolerances
from medvial.compare import report as comparison_lines
from medvial.models import MANIFEST, sha256
from medvial_rehearsal.container.context import Rehearsal, Run
from medvial_rehearsal.container.outputs import differences, problems
from medvial_rehearsal.container.run_gates import ending, finished
from medvial_rehearsal.container.single import run_linked
from medvial_rehearsal.container.staging import Generation, images_in, is_image, write_inputs
from medvial_rehearsal.gates import GateFailure, gate
from medvial_rehearsal.project import Case, tolerances


@gate("C10", "random file names, .mha and .tif")
def any_name_and_format(context: Rehearsal) -> str:
    """Every run has random names already; here each image comes in the other format too."""
    finished(context)
    sockets = [s for s in context.interface.inputs if is_image(s)]
    folders = [context.case.input / s.relative_path for s in sockets]
    files = [images_in(folder)[0] for folder in folders if len(images_in(folder)) == 1]
    if not files:
        return "no single image among the inputs; random names in every run"
    reasons = [reason for file in files if (reason := _not_convertible(file))]
    if reasons:
        return f"random names in every run; .tif not tried: {reasons[0]}"
    run = context.run_case("other format", change=lambda target: _convert(context, target))
    _same_outputs(context, run, "read the image by its content, whatever its extension")
    return f"{', '.join(sorted({f.suffix for f in files}))} and {_other(files[0])}"


@gate("C11", "/input is a symbolic link")
def linked_input(context: Rehearsal) -> str:
    """As on the platform, where it leads to a folder of the job's."""
    finished(context)
    run = run_linked(context)
    _same_outputs(context, run, "do not resolve or compare the path of /input")
    return "to /opt/ml/input/data/"


@gate("C14", "inputs.json of all three generations, and none")
def all_generations(context: Rehearsal) -> str:
    """The key that names a socket changed twice."""
    finished(context)
    for generation in (Generation.INTERFACE, Generation.SOCKET, Generation.NONE):
        run = context.run_case(f"inputs {generation.name.lower()}", generation=generation)
        if run.exit_code:
            raise GateFailure(
                f"fails with {generation}: {run.last_error_line[:200]}",
                'Read entry.get("socket") or entry["interface"], and nothing but the slug.',
            )
        _same_outputs(context, run, f"with {generation}")
    return "interface, socket and interface, socket, none"


@gate("C15", "the expected outputs, within the tolerances")
def expected_outputs(context: Rehearsal) -> str:
    """Every case against its expected_output.json."""
    stories = []
    for case in context.cases:
        expected = context.expected(case)
        run = finished(context) if case is context.case else context.run_case(case.name, case)
        made_with = expected.pop(MODEL_KEY, None)
        manifest = context.model / MANIFEST
        if made_with and manifest.is_file() and made_with != sha256(manifest):
            raise GateFailure(
                "expected_output.json was made with other weights", "Run step 4 again."
            )
        if run.exit_code:
            raise GateFailure(f"{case.name}: {ending(run)}: {run.last_error_line[:200]}", "")
        stories.append(_compare(context, case, run, expected))
    return "; ".join(stories)


def _compare(context: Rehearsal, case: Case, run: Run, expected: dict[str, object]) -> str:
    path = tolerances(context.algorithm, case)
    allowed = read_tolerances(path, expected)
    result = compare_folder(expected, run.output, allowed)
    lines = [line for name, found in result.items() for line in comparison_lines(name, found)]
    wrong = [line for line in lines if line.split()[0] != "same"]
    if wrong:
        raise GateFailure(
            "; ".join(" ".join(line.split()[1:]) for line in wrong[:3]),
            f"Run step 4 again if the change is meant; the outputs are in {run.output}.",
        )
    return "; ".join(" ".join(line.split()[1:]) for line in lines)


def _same_outputs(context: Rehearsal, run: Run, mend: str) -> None:
    if run.exit_code:
        raise GateFailure(f"{ending(run)}: {run.last_error_line[:200]}", mend.capitalize() + ".")
    wrong = problems(context.interface, run.output)
    wrong = wrong or differences(
        context.interface, context.reference.output, run.output, context.tolerances
    )
    if wrong:
        raise GateFailure("; ".join(wrong[:3]), mend.capitalize() + ".")


def _other(path: Path) -> str:
    return ".tif" if path.suffix.lower() == ".mha" else ".mha"


def _not_convertible(path: Path) -> str | None:
    """Why an image would lose something as .tif; None if it would not."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    if path.suffix.lower() != ".mha":
        return None
    if reader.GetDimension() > 3:
        return f"it has {reader.GetDimension()} dimensions"
    if any(reader.GetOrigin()) or reader.GetSpacing()[2:] not in ((), (1.0,)):
        return "it has an origin or slice spacing, which a .tif does not carry"
    return None


def _convert(context: Rehearsal, case: Path) -> None:
    for socket in context.interface.inputs:
        for file in images_in(case / socket.relative_path) if is_image(socket) else []:
            sitk.WriteImage(sitk.ReadImage(str(file)), str(file.with_suffix(_other(file))))
            file.unlink()
    write_inputs(case, context.interface, Generation.BOTH)
