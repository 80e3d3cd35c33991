"""Cases as the platform lays them out: random file names, inputs.json, nothing to be written."""

import hashlib
import os
import shutil
import uuid
from enum import StrEnum
from pathlib import Path
from typing import Any

from medvial.outputs import write_json
from medvial.sockets import INPUTS_JSON, Interface, Socket

IMAGE_SUFFIXES = (".mha", ".tif", ".tiff")


class Generation(StrEnum):
    """How inputs.json names its sockets."""

    INTERFACE = "interface"
    """Until 2025, and what grand-challenge-forge 0.7.5 writes."""
    BOTH = "interface and socket"
    """The platform since December 2025."""
    SOCKET = "socket"
    """The starter kit of 2026: few fields, no kind."""
    NONE = "no inputs.json"


def is_image(socket: Socket) -> bool:
    """Whether a socket's value is a folder with one image."""
    return socket.kind_info.is_image


def is_json(socket: Socket) -> bool:
    """Whether a socket's value is JSON."""
    return socket.kind_info.is_json


def stage_case(
    source: Path, target: Path, interface: Interface, generation: Generation = Generation.BOTH
) -> Path:
    """Lay a case out as the platform does; returns `target`.

    Each image alone in its folder gets a random name; files are hard links where possible.
    """
    copy_tree(source, target)
    for socket in interface.inputs:
        folder = target / socket.relative_path
        files = images_in(folder) if is_image(socket) else []
        if len(files) == 1:
            files[0].rename(folder / f"{uuid.uuid4()}{files[0].suffix}")
    write_inputs(target, interface, generation)
    return target


def write_inputs(case: Path, interface: Interface, generation: Generation) -> None:
    """Write or remove a case's inputs.json."""
    path = case / INPUTS_JSON
    path.unlink(missing_ok=True)  # it may be a link to the original
    if generation is not Generation.NONE:
        entries = [_entry(case, socket, generation) for socket in interface.inputs]
        write_json(path, entries)
        path.chmod(0o644)


def copy_tree(source: Path, target: Path) -> None:
    """Hard links, or copies where the file system has none, readable for every user."""
    shutil.copytree(source, target, copy_function=_link_or_copy)
    for path in (target, *target.rglob("*")):
        if path.is_dir():
            path.chmod(0o755)


def images_in(folder: Path) -> list[Path]:
    """The image files of a folder that the platform would look at, sorted."""
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)


def fingerprint(folder: Path) -> dict[str, str]:
    """sha256 of every file by its path in the folder; of links, where they lead."""
    result = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            result[str(path.relative_to(folder))] = str(path.readlink())
        elif path.is_file():
            result[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return result


def _link_or_copy(source: str, target: str) -> None:
    # A link shares its mode with the original, so only what everyone may read is linked.
    if os.stat(source).st_mode & 0o444 == 0o444:  # noqa: PTH116  # shutil gives strings
        try:
            os.link(source, target)
            return
        except OSError:
            pass
    shutil.copyfile(source, target)
    Path(target).chmod(0o644)


def _entry(case: Path, socket: Socket, generation: Generation) -> dict[str, Any]:
    super_kind = socket.super_kind
    described = {
        "title": socket.slug.replace("-", " ").capitalize(),
        "description": "",
        "slug": socket.slug,
        "kind": socket.kind,
        "pk": 1,
        "default_value": None,
        "super_kind": super_kind,
        "relative_path": socket.relative_path,
        "overlay_segments": [],
        "look_up_table": None,
    }
    short = {
        "slug": socket.slug,
        "relative_path": socket.relative_path,
        "is_image_kind": super_kind == "Image",
        "is_json_kind": is_json(socket),
        "is_file_kind": super_kind == "File",
    }
    names = [p.name for p in images_in(case / socket.relative_path)]
    image = {"pk": str(uuid.uuid4()), "name": names[0]} if names else None
    entry: dict[str, Any] = {"value": None, "file": None, "image": image, "pk": 1}
    if generation is Generation.SOCKET:
        return {"socket": short, **entry}
    keys = ("interface",) if generation is Generation.INTERFACE else ("socket", "interface")
    return {**dict.fromkeys(keys, described), **entry}
