# mypy: disable-error-code="no-untyped-call"
"""Gates D: what the platform does with the outputs before anyone sees them."""

from pathlib import Path

import SimpleITK as sitk  # noqa: N813 the library's customary name

from medvial.errors import InputError
from medvial.sockets import Socket
from medvial_rehearsal.container.context import Rehearsal
from medvial_rehearsal.container.outputs import (
    file_problems,
    geometry_differences,
    produced,
    read_image,
    read_json_strictly,
)
from medvial_rehearsal.container.staging import images_in, is_image, is_json
from medvial_rehearsal.gates import GateFailure, GateNotRun, GateWarning, gate


@gate("D1", "strict JSON")
def json_is_strict(context: Rehearsal) -> str:
    """UTF-8, no byte order mark, no NaN, no Infinity."""
    files = [path for socket, path in _outputs(context) if is_json(socket)]
    for path in files:
        try:
            read_json_strictly(path)
        except InputError as error:
            raise GateFailure(
                str(error), "Write null, or leave it out: the platform reads NaN as null."
            ) from None
    return f"{len(files)} files"


@gate("D2", "valid for the kind's schema and the socket's own")
def valid(context: Rehearsal) -> str:
    """As the platform checks them."""
    others = [(s, p) for s, p in _outputs(context) if not is_image(s)]
    found = [problem for socket, path in others for problem in file_problems(socket, path)]
    if found:
        raise GateFailure("; ".join(found[:3]), "Write what the socket's kind asks for.")
    return ", ".join(s.kind for s, _ in others)


@gate("D3", "each image output is one readable image, a segmentation of 8 bit unsigned")
def images_readable(context: Rehearsal) -> str:
    """As SimpleITK, which the platform uses, reads them."""
    images = [(s, p) for s, p in _outputs(context) if is_image(s)]
    found = [problem for socket, path in images for problem in file_problems(socket, path)]
    if found:
        raise GateFailure("; ".join(found[:3]), "Write .mha, with uint8 pixels for a segmentation.")
    return ", ".join(f"{s.slug}: {_describe(p)}" for s, p in images) or "no image outputs"


@gate("D7", "size, spacing, origin and direction of the input that an output is like")
def geometry_kept(context: Rehearsal) -> str:
    """Other outputs may have their own, as a projection has; it is told, for most should not."""
    outputs = [(s, p) for s, p in _outputs(context) if is_image(s)]
    inputs = _input_images(context)
    if not outputs or not inputs:
        return "no image outputs" if not outputs else "no image inputs to compare with"
    alone = []
    for socket, path in outputs:
        image = read_image(path)
        found = {slug: geometry_differences(image, read_image(p)) for slug, p in inputs.items()}
        if wrong := found.get(socket.like or ""):
            raise GateFailure(
                f"{socket.slug} is not like {socket.like}: {'; '.join(wrong)}",
                "Copy the input's geometry: image.CopyInformation(input_image).",
            )
        if socket.like is None and all(found.values()):
            alone.append(f"{socket.slug}: {'; '.join(next(iter(found.values())))}")
    if alone:
        raise GateWarning(
            "; ".join(alone[:3]),
            'If it should lie over an input, copy the geometry, and name the input as its "like" '
            "in sockets.json.",
        )
    return f"{len(outputs)} images"


def _outputs(context: Rehearsal) -> list[tuple[Socket, Path]]:
    run = context.reference
    if run.exit_code:
        raise GateNotRun("the run failed, see C1")
    files = produced(context.interface, run.output).files
    return [(s, files[s.slug]) for s in context.interface.outputs if s.slug in files]


def _input_images(context: Rehearsal) -> dict[str, Path]:
    """The image files of the case by the slug of their input."""
    folder = context.case.input
    sockets = [s for s in context.interface.inputs if is_image(s)]
    return {s.slug: path for s in sockets for path in images_in(folder / s.relative_path)[:1]}


def _describe(path: Path) -> str:
    image: sitk.Image = read_image(path)
    size = " x ".join(map(str, image.GetSize()))
    return f"{size} {image.GetPixelIDTypeAsString()}"
