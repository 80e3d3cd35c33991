# mypy: disable-error-code="no-untyped-call"
"""What a run left in /output: all that was declared, nothing else, and all of it valid."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 the library's customary name

from medvial.compare import Tolerances, compare
from medvial.errors import InputError
from medvial.output_checks import check_output
from medvial.sockets import Interface, Socket
from medvial_rehearsal.container.staging import images_in, is_image, is_json

_GEOMETRY_TOLERANCE = 1e-5  # mm; of numbers that were written as decimal text


@dataclass(frozen=True)
class Produced:
    """The files of an output folder."""

    files: dict[str, Path]
    """By slug; of an image output its one image."""
    missing: list[str]
    """What is wrong with outputs that are not there as they should be, in the platform's terms."""
    extra: list[str]
    """Paths that no output declares."""


def produced(interface: Interface, folder: Path) -> Produced:
    """Find the declared outputs in an output folder."""
    files: dict[str, Path] = {}
    missing = []
    for socket in interface.outputs:
        path = folder / socket.relative_path
        if not is_image(socket):
            if path.is_file():
                files[socket.slug] = path
            else:
                missing.append(f"{socket.relative_path} was not produced")
            continue
        images = images_in(path)
        if len(images) == 1:
            files[socket.slug] = images[0]
        else:
            missing.append(f"{socket.relative_path} holds {len(images)} images instead of one")
    known = set(files.values())
    left = [p for p in sorted(folder.rglob("*")) if (p.is_file() or p.is_symlink())]
    return Produced(files, missing, [str(p.relative_to(folder)) for p in left if p not in known])


def problems(interface: Interface, folder: Path) -> list[str]:
    """Everything that would make the platform refuse the outputs of a run."""
    found = produced(interface, folder)
    result = [*found.missing, *(f"{name} is not a declared output" for name in found.extra)]
    for socket in interface.outputs:
        if socket.slug in found.files:
            result += file_problems(socket, found.files[socket.slug])
    return result


def file_problems(socket: Socket, path: Path) -> list[str]:
    """What the platform would refuse of one output."""
    try:
        check_output(socket, path.parent if is_image(socket) else path)
        if is_image(socket):
            read_image(path)
    except InputError as error:
        return [str(error)]
    return []


def read_json_strictly(path: Path) -> Any:
    """Read JSON without byte order mark, NaN and Infinity, which the platform turns into null.

    Raises:
        InputError: It is not so.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
    except ValueError as error:
        raise InputError(f"Expected strict JSON in {path.name}, got: {error}.") from None


def read_image(path: Path) -> sitk.Image:
    """Read an image with SimpleITK.

    Raises:
        InputError: It cannot be read.
    """
    try:
        return sitk.ReadImage(str(path))
    except RuntimeError as error:
        reason = " ".join(str(error).split())[-200:]
        raise InputError(f"SimpleITK cannot read {path.name}: {reason}") from None


def geometry_differences(image: sitk.Image, reference: sitk.Image) -> list[str]:
    """In which of size, spacing, origin and direction two images differ."""
    found = []
    for name in ("Size", "Spacing", "Origin", "Direction"):
        got, expected = (np.array(getattr(i, f"Get{name}")()) for i in (image, reference))
        if got.shape != expected.shape or not np.allclose(got, expected, atol=_GEOMETRY_TOLERANCE):
            found.append(f"{name.lower()} {got.tolist()} instead of {expected.tolist()}")
    return found


def differences(
    interface: Interface, expected: Path, actual: Path, tolerances: dict[str, Tolerances]
) -> list[str]:
    """Where the outputs of two runs differ by more than the tolerances; empty if nowhere."""
    left, right = produced(interface, expected), produced(interface, actual)
    result = []
    for socket in interface.outputs:
        files = left.files.get(socket.slug), right.files.get(socket.slug)
        if files[0] is None or files[1] is None:
            if files[0] is not files[1]:
                result.append(f"{socket.relative_path} is there only once")
        elif files[0].read_bytes() != files[1].read_bytes():
            tolerance = tolerances.get(socket.relative_path, Tolerances())
            result += _file_differences(socket, files[0], files[1], tolerance)
    return result


def _file_differences(
    socket: Socket, expected: Path, actual: Path, tolerance: Tolerances
) -> list[str]:
    where = socket.relative_path
    if is_image(socket):
        images = read_image(expected), read_image(actual)
        if wrong := geometry_differences(images[1], images[0]):
            return [f"{where}: {', '.join(wrong)}"]
        pixels = [sitk.GetArrayViewFromImage(image) for image in images]
        count = int(np.count_nonzero(pixels[0] != pixels[1]))
        return [f"{where}: {count} pixels differ"] if count else []
    if not is_json(socket):
        return [f"{where}: the bytes differ"]
    found = compare(read_json_strictly(expected), read_json_strictly(actual), tolerance)
    return [f"{where}: {d.where} {d.message}" for d in found if not d.tolerated]


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant}, which JSON does not have")
