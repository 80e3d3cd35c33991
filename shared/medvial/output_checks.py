"""What the platform would refuse of a written output, found before it is published."""

import json
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from medvial.errors import InputError
from medvial.image_description import describe_image, read_geometry
from medvial.metaimage_writer import ImageGeometry
from medvial.socket_kinds import SEGMENTATION
from medvial.sockets import Socket, validate
from medvial.stacks import STACK_SUFFIXES

# First bytes of a file: PDF 32000-1:2008 7.5.2, PNG 3rd edition 5.2, ITU-T T.81 B.1.1.3,
# PKWARE APPNOTE 4.3.
_FIRST_BYTES = {
    ".pdf": (b"%PDF-",),
    ".png": (b"\x89PNG\r\n\x1a\n",),
    ".jpeg": (b"\xff\xd8\xff",),
    ".zip": (b"PK\x03\x04", b"PK\x05\x06"),
}
_GEOMETRY_TOLERANCE = 1e-6  # ITK's own, of images in the same physical space
_IMPORTED = (*STACK_SUFFIXES, ".mhd")
_TEXTS = (".csv", ".newick", ".obj")


def check_output(socket: Socket, path: Path, like: Path | None = None) -> None:
    """Check one written output.

    Args:
        socket: What it should be.
        path: The file, or the folder of an image.
        like: The folder of the input image whose geometry it should have, if that is asked for.

    Raises:
        InputError: It is not what its kind, schema or segments say, or lies elsewhere.
    """
    if socket.kind_info.is_image:
        image = only_image(path, socket.relative_path)
        _check_others(socket, image)
        _check_image(socket, image)
        if like is not None:
            _check_geometry(socket, read_geometry(image), read_geometry(only_image(like)))
    elif socket.kind_info.is_json:
        validate(socket, _read_strictly(socket, path))
    else:
        _check_file(socket, path)


def only_image(folder: Path, shown: str = "") -> Path:
    """The one image in a folder.

    Args:
        folder: An input or output folder of an image socket.
        shown: How messages call it; its path by default.

    Raises:
        InputError: There is none, or more than one.
    """
    files = sorted(p for p in folder.iterdir() if p.is_file()) if folder.is_dir() else []
    images = [p for p in files if p.suffix.lower() in STACK_SUFFIXES and p.name[0] != "."]
    if len(images) != 1:
        raise InputError(
            f"Expected one image as {', '.join(STACK_SUFFIXES)} in {shown or folder}, got "
            f"{[p.name for p in images or files][:5] or 'nothing'}."
        )
    return images[0]


def _read_strictly(socket: Socket, path: Path) -> Any:
    """JSON without NaN and Infinity, which the platform turns into null."""

    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is no JSON")

    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    except ValueError as error:
        raise InputError(f"Expected {socket.relative_path} to be JSON, got: {error}.") from None


def _check_image(socket: Socket, path: Path) -> None:
    found = describe_image(path)["image"]
    if socket.kind == SEGMENTATION:
        _check_segmentation(socket, found)


def _check_others(socket: Socket, image: Path) -> None:
    """The platform reads every image in the folder, hidden ones too, and wants one."""
    others = [p.name for p in image.parent.iterdir() if p.suffix.lower() in _IMPORTED]
    others.remove(image.name)
    if others:
        raise InputError(
            f"Expected one image in {socket.relative_path}, got {others[:5]} beside {image.name}."
        )


def _check_geometry(socket: Socket, got: ImageGeometry, expected: ImageGeometry) -> None:
    axes = expected.dimensions
    for name in ("dimensions", "size_xyz", "spacing_mm", "origin_mm", "direction"):
        values = [np.array(getattr(geometry, name)) for geometry in (got, expected)]
        # The file's own numbers, however many of them it has.
        left, right = (v[(slice(axes),) * v.ndim] for v in values)
        if not np.allclose(left, right, rtol=_GEOMETRY_TOLERANCE, atol=_GEOMETRY_TOLERANCE):
            raise InputError(
                f"Expected {socket.relative_path} to have the {name.partition('_')[0]} of the "
                f"input {socket.like}, {right.tolist()}, got {left.tolist()}. Write it with the "
                "input's geometry."
            )


def _check_segmentation(socket: Socket, found: dict[str, Any]) -> None:
    channels = found.get("channels", 1)
    if found["pixel_type"] != "uint8" or channels > 1:
        several = f" of {channels} channels" if channels > 1 else ""
        raise InputError(
            f"Expected the {SEGMENTATION} in {socket.relative_path} as uint8, got "
            f"{found['pixel_type']}{several}: the platform cannot tell its segments."
        )
    if "labels" not in found:
        raise InputError(
            f"Expected a {SEGMENTATION} of few segments in {socket.relative_path}, got values from "
            f"{found['minimum']:g} to {found['maximum']:g}."
        )
    declared = {0, *(socket.segments or ())}
    others = sorted({int(value) for value in found["labels"]} - declared)
    if socket.segments is not None and others:
        raise InputError(
            f"Expected only the voxel values {sorted(declared)} in {socket.relative_path}, got "
            f"{others} too. Write the declared ones, or declare more in sockets.json and on the "
            "platform."
        )


def _check_file(socket: Socket, path: Path) -> None:
    if not path.is_file():
        raise InputError(f"Expected the file {socket.relative_path}, got none.")
    with path.open("rb") as file:
        start = file.read(4096)
    suffix = path.suffix
    starts = _FIRST_BYTES.get(suffix)
    if suffix == ".mp4":
        # ISO/IEC 14496-12 4.3; the brand "qt  " is a QuickTime movie, another type of file.
        right = start[4:8] == b"ftyp" and start[8:12] != b"qt  "
    elif suffix in _TEXTS:
        right = bool(start) and b"\0" not in start
    else:
        right = start.startswith(starts) if starts else bool(start)
    if not right:
        raise InputError(
            f"Expected {socket.relative_path} to be a {socket.kind}, got a file that begins with "
            f"{start[:12]!r}."
        )
