"""Files of this machine as the input folder of a container."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medvial.errors import InputError
from medvial.metaimage_writer import MetaImageWriter
from medvial.outputs import write_json
from medvial.socket_kinds import DICOM_IMAGE_SET
from medvial.sockets import INPUTS_JSON, Interface, Socket, select_interface
from medvial.stacks import IMAGE_SUFFIXES, STACK_SUFFIXES, open_stack

_DICOM_SUFFIXES = (".dcm", ".dicom")
# Read by their content, so that a film of any container can stand for the platform's MP4.
_VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".m4v", ".mkv", ".webm", ".mpg", ".wmv")
_OTHER_SUFFIXES = {".jpeg": (".jpeg", ".jpg"), ".mp4": _VIDEO_SUFFIXES}


@dataclass(frozen=True)
class CaseInput:
    """The inputs of one case."""

    folder: Path | None
    """A folder that is laid out as /input already."""
    files: tuple[tuple[Socket, Path], ...] = ()
    """Else every input with its file, or with the folder of a DICOM image set."""


def accepts(socket: Socket, path: Path) -> bool:
    """Whether a file or folder can be that input."""
    if socket.kind == DICOM_IMAGE_SET:
        return path.is_dir() or path.suffix.lower() in _DICOM_SUFFIXES or _is_dicom(path)
    if path.is_dir():
        return False
    return path.suffix.lower() in _suffixes(socket)


def check_named(interfaces: Sequence[Interface], files: Mapping[str, Path]) -> None:
    """Check the files that are named for inputs.

    Raises:
        InputError: The algorithm has no such input, or the file does not fit it.
    """
    known = {s.slug: s for interface in interfaces for s in interface.inputs}
    for slug, file in files.items():
        if slug not in known:
            raise InputError(f"Expected an input of {', '.join(known)}, got {slug}={file}.")
        if not file.exists():
            raise InputError(f"Expected a file for {slug}, found none at {file}.")
        if not accepts(known[slug], file):
            raise InputError(
                f"Expected a file that ends with {', '.join(_suffixes(known[slug]))} for {slug} "
                f"({known[slug].kind}), got {file}."
            )


def check_slug(interfaces: Sequence[Interface], slug: str | None) -> None:
    """Check the input that files are said to be.

    Raises:
        InputError: The algorithm has no such input.
    """
    known = list(dict.fromkeys(s.slug for interface in interfaces for s in interface.inputs))
    if slug is not None and slug not in known:
        raise InputError(f"Expected --as-input to be one of {', '.join(known)}, got {slug}.")


def find_inputs(
    interfaces: Sequence[Interface],
    path: Path,
    others: Mapping[str, Path],
    slug: str | None = None,
) -> CaseInput:
    """What a file, and the files named for other inputs, are to an algorithm.

    Args:
        interfaces: The algorithm's.
        path: The file of the case: the input for which `others` names none.
        others: Files by the slug of their input, which `check_named` has checked.
        slug: Which input the file of the case is; None goes by its ending.

    Raises:
        InputError: The file is missing, or fits none or several of the inputs.
    """
    if not path.exists():
        raise InputError(f"Expected a file or folder, found none at {path}.")
    if path.is_dir() and not others:
        with suppress(InputError):
            select_interface(tuple(interfaces), path)
            return CaseInput(path)
    found: dict[str, list[tuple[Socket, Path]]] = {}
    for interface in interfaces:
        sockets = {s.slug: s for s in interface.inputs}
        rest = [s for slug, s in sockets.items() if slug not in others]
        if len(rest) != 1 or slug not in (None, rest[0].slug):
            continue
        if set(others) <= set(sockets) and accepts(rest[0], path):
            named = [(sockets[slug], file) for slug, file in others.items()]
            found[rest[0].slug] = [(rest[0], path), *named]
    if len(found) != 1:
        raise _no_single(interfaces, path, others, sorted(found))
    (files,) = found.values()
    return CaseInput(None, tuple(files))


def lay_out(files: Iterable[tuple[Socket, Path]], folder: Path) -> None:
    """Fill a folder as the platform fills /input: links to the files, and inputs.json.

    Photos become `.mha`, as the platform would make of them.

    Raises:
        InputError: A photo cannot be read.
    """
    entries = []
    for socket, file in files:
        place = folder / socket.relative_path
        place.parent.mkdir(parents=True, exist_ok=True)
        if not socket.kind_info.is_image:
            place.symlink_to(file.resolve())
        elif file.is_dir():
            place.symlink_to(file.resolve(), target_is_directory=True)
        elif file.suffix.lower() in IMAGE_SUFFIXES:
            _convert(file, place / f"{file.stem}.mha")
        else:
            place.mkdir()
            (place / file.name).symlink_to(file.resolve())
        described = {
            "slug": socket.slug,
            "kind": socket.kind,
            "super_kind": socket.super_kind,
            "relative_path": socket.relative_path,
        }
        entries.append({"socket": described, "interface": described})
    write_json(folder / INPUTS_JSON, entries)


def _is_dicom(path: Path) -> bool:
    """By content, as scanners write files without an ending: DICOM PS3.10, 7.1."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def _suffixes(socket: Socket) -> tuple[str, ...]:
    if socket.kind == DICOM_IMAGE_SET:
        return _DICOM_SUFFIXES
    if socket.kind_info.is_image:
        return (*STACK_SUFFIXES, *IMAGE_SUFFIXES)
    extension = socket.kind_info.extension
    return _OTHER_SUFFIXES.get(extension, (extension,))


def _no_single(
    interfaces: Sequence[Interface], path: Path, others: Mapping[str, Path], found: list[str]
) -> InputError:
    if found:
        return InputError(
            f"Expected {path} to be one input, it can be {' or '.join(found)}. Name the other "
            "with --input SLUG=FILE, or say which it is with --as-input SLUG."
        )
    fits = ", or ".join(
        " with ".join(f"{s.slug} ({s.kind}: {' '.join(_suffixes(s))})" for s in interface.inputs)
        for interface in interfaces
    )
    named = f" with --input for {', '.join(others)}" if others else ""
    return InputError(f"Expected {fits}; got {path}{named}.")


def _convert(photo: Path, target: Path) -> None:
    with open_stack(photo) as stack:
        (image,) = stack
        if isinstance(image, InputError):
            raise image
        colours = image[..., :3] if image.ndim == 3 else image  # the platform has no opacity
        channels = colours.shape[2] if colours.ndim == 3 else 1
        with MetaImageWriter(
            target, stack.info.geometry, dtype=image.dtype, channels=channels, level=1
        ) as writer:
            writer.write(np.ascontiguousarray(colours))
