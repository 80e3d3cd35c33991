"""`medvial new`: an algorithm folder that builds and passes its rehearsal with a stub model."""

import keyword
import logging
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from medvial.errors import InputError
from medvial.expected_output import write_expected_output
from medvial.models import ModelFolder
from medvial.outputs import write_json
from medvial.socket_kinds import DICOM_IMAGE_SET, SEGMENTATION, all_kinds
from medvial.sockets import load_interfaces
from medvial_rehearsal.examples import example_value, write_example
from medvial_rehearsal.project import project_root
from medvial_rehearsal.python_literal import python_literal
from medvial_rehearsal.requirements_subset import add_pins
from medvial_rehearsal.socket_plan import SocketPlan, plan_sockets

log = logging.getLogger(__name__)

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_CLASSES = {"Algorithm", "ModelFolder", "Path"}  # that process.py imports
_MP4 = "MP4 file"
_BASE = "cldetection"  # whose image holds what every image needs
_PARAMETERS = "parameters.json"
_SHIMS = ("build.sh", "test.sh", "export.sh")
_COLUMNS = len("        self. = ")


def new(task: str, *, input: list[str], output: list[str], into: Path | None = None) -> None:
    """Start an algorithm folder from its inputs and outputs.

    The folder builds and passes its rehearsal as it is: its model is a stub, its results are
    examples. Kinds are the platform's, such as Image, Segmentation, Float, "Multiple points" or
    "MP4 file"; an unknown one lists all.

    Args:
        task: Name of the task: lower-case letters, digits and single underscores.
        input: KIND:SLUG: An input; KIND:SLUG:PATH gives the path too, where it does not follow from
            the slug.
        output: KIND:SLUG: An output, in the same way.
        into: Folder in which the task's is made; default algorithms/ of this project.

    Raises:
        InputError: A name, kind, slug or path is not possible, or the folder is there.
    """
    home = project_root() / "algorithms"
    target = (into or home) / task
    _check_name(task, target)
    inputs, outputs = plan_sockets(input), plan_sockets(output)
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / task
        folder.mkdir()
        _write_sockets(folder / "sockets.json", inputs, outputs)
        _write_model(folder / "model", task, outputs)
        _write_sources(folder, task, inputs, outputs)
        for socket in inputs:
            write_example(all_kinds()[socket.kind], folder / "test/input" / socket.relative_path)
        write_expected_output(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(folder, target)
    log.info("%s is ready: its README says what to do next.", target)
    if target.parent.resolve() != home.resolve():
        log.info("Move it to %s to build it: its scripts call those of the project.", home)


def _check_name(task: str, target: Path) -> None:
    if not _NAME.fullmatch(task) or keyword.iskeyword(task):
        raise InputError(
            f"Expected a name of lower-case letters, digits and single underscores that begins "
            f"with a letter, got {task!r}."
        )
    if target.exists():
        raise InputError(f"Expected a new folder, {target} is there: choose another name.")


def _write_sockets(path: Path, inputs: Sequence[SocketPlan], outputs: Sequence[SocketPlan]) -> None:
    reference = _reference(inputs)
    one_file = reference if reference and reference.kind != DICOM_IMAGE_SET else None
    like = {"like": one_file.slug} if one_file else {}
    interface = {
        "inputs": [_entry(socket) for socket in inputs],
        "outputs": [
            _entry(socket)
            | ({"segments": [1]} if socket.kind == SEGMENTATION else {})
            | (like if socket.is_image else {})
            for socket in outputs
        ],
    }
    write_json(path, {"interfaces": [interface]}, indent=2)
    try:
        load_interfaces(path)
    except InputError as error:
        raise InputError(str(error).removeprefix(f"{path}: ")) from None


def _entry(socket: SocketPlan) -> dict[str, Any]:
    return {"slug": socket.slug, "kind": socket.kind, "relative_path": socket.relative_path}


def _write_model(folder: Path, task: str, outputs: Sequence[SocketPlan]) -> None:
    folder.mkdir()
    write_json(folder / _PARAMETERS, {"threshold": 100})
    for socket in outputs:
        if not (socket.is_image or socket.is_json):
            write_example(all_kinds()[socket.kind], folder / _example_name(socket))
    training = {"data": {"phantom": True, "description": "None: a stub that was never trained."}}
    ModelFolder.seal(folder, task=task, config={}, training=training)


def _example_name(socket: SocketPlan) -> str:
    return f"example-{socket.variable}{all_kinds()[socket.kind].extension}"


def _write_sources(
    folder: Path, task: str, inputs: Sequence[SocketPlan], outputs: Sequence[SocketPlan]
) -> None:
    """process.py, requirements, README and the scripts."""
    templates = Environment(
        loader=PackageLoader("medvial_rehearsal", "templates/algorithm"),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )

    def write(name: str, template: str, /, **values: Any) -> None:
        text = templates.get_template(f"{template}.jinja").render(values)
        (folder / name).write_text(text, encoding="utf-8")

    reference = _reference(inputs)
    variable = reference.variable if reference else None
    described = [_with_example(socket, variable) for socket in outputs]
    write(
        "process.py",
        "process.py",
        task=task,
        title=task.replace("_", " ").capitalize(),
        class_name=_class_name(task),
        inputs=inputs,
        outputs=described,
        simpleitk=any(socket.is_image for socket in (*inputs, *outputs)),
        **_imports(inputs, outputs),
    )
    write("README.md", "README.md", task=task, inputs=inputs, outputs=outputs)
    _write_requirements(folder, write, _packages([*inputs, *outputs], inputs))
    for script in _SHIMS:
        write(script, "shim.sh", script=script, task=task)
        (folder / script).chmod(0o755)


def _class_name(task: str) -> str:
    name = "".join(word.capitalize() for word in task.split("_"))
    return f"{name}Program" if name in _CLASSES else name


def _imports(inputs: Sequence[SocketPlan], outputs: Sequence[SocketPlan]) -> dict[str, list[str]]:
    """The import lines of process.py, sorted as the project's linter has them."""
    plain = [s for s in inputs if not s.is_image]
    files = [s for s in outputs if not (s.is_image or s.is_json)]
    standard = ["import logging"] if inputs else []
    standard += ["import shutil"] if files else []
    standard += ["from pathlib import Path"] if plain else []
    others = [s for s in plain if not (s.is_json or s.kind == _MP4)]
    own = ["from medvial.algorithm import Algorithm"]
    own += ["from medvial.errors import InputError"] if others else []
    own += ["from medvial.models import ModelFolder"]
    own += ["from medvial.outputs import read_json"] if any(s.is_json for s in plain) else []
    own += ["from medvial.video import open_cine"] if any(s.kind == _MP4 for s in plain) else []
    return {"standard_imports": standard, "medvial_imports": own}


def _reference(inputs: Sequence[SocketPlan]) -> SocketPlan | None:
    """The input image, of one value a pixel, that image outputs are made of."""
    scalar = ("Image", SEGMENTATION, "Heat Map", DICOM_IMAGE_SET)
    return next((s for s in inputs if s.kind in scalar), None)


def _with_example(socket: SocketPlan, reference: str | None) -> SocketPlan:
    values = vars(socket) | {"example": "", "example_lines": ()}
    if socket.is_image:
        values["example_lines"] = _image_lines(socket, reference)
    elif socket.is_json:
        used = _COLUMNS + len(socket.variable)
        value = example_value(all_kinds()[socket.kind])
        values["example"] = python_literal(value, indent=8, used=used)
    else:
        values["example"] = _example_name(socket)
    return SocketPlan(**values)


def _image_lines(socket: SocketPlan, reference: str | None) -> tuple[str, ...]:
    """Statements that make an example of an image output."""
    name = f"self.{socket.variable}"
    if socket.kind == "Displacement field":
        size = f"{reference}.GetSize()" if reference else "(32, 24, 5)"
        made = f"{name} = SimpleITK.Image(size, SimpleITK.sitkVectorFloat32, 3)"
        copied = (f"{name}.CopyInformation({reference})",) if reference else ()
        return (f"size = {size}", made, *copied)
    pixel = "Float32" if socket.kind == "Heat Map" else "UInt8"
    if reference is None:
        return (f"{name} = SimpleITK.Image((32, 24, 5), SimpleITK.sitk{pixel})",)
    if socket.kind == "Image":
        return (f"{name} = {reference}",)
    bright = f'bright = {reference} > self.parameters["threshold"]'
    return (bright, f"{name} = SimpleITK.Cast(bright, SimpleITK.sitk{pixel})")


def _packages(sockets: Sequence[SocketPlan], inputs: Sequence[SocketPlan]) -> list[str]:
    more = ["simpleitk"] if any(socket.is_image for socket in sockets) else []
    return more + (["av"] if any(socket.kind == _MP4 for socket in inputs) else [])


def _write_requirements(folder: Path, write: Any, more: Sequence[str]) -> None:
    """Those of the base task and what the kinds need, in the versions of the project's lock."""
    root = project_root()
    base = root / "algorithms" / _BASE
    for name, what in (("requirements", "slim image"), ("requirements-gpu", "--gpu image")):
        lines = (base / f"{name}.in").read_text(encoding="utf-8").splitlines()
        packages = [line for line in lines if line and not line.startswith("#")]
        write(f"{name}.in", "requirements.in", name=name, what=what, packages=[*packages, *more])
        lock = (base / f"{name}.txt").read_text(encoding="utf-8")
        (folder / f"{name}.txt").write_text(add_pins(lock, root / "requirements.txt", more))
