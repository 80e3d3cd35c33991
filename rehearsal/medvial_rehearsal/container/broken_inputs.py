# mypy: disable-error-code="no-untyped-call"
"""Inputs that something is wrong with, made from a task's own case.

Each function changes a staged case in place. Files are replaced, never written into: they may be
hard links to the originals.
"""

import json
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import SimpleITK as sitk  # noqa: N813 the library's customary name

from medvial.socket_kinds import DICOM_IMAGE_SET
from medvial.sockets import INPUTS_JSON, Interface, Socket
from medvial_rehearsal.container.staging import images_in, is_image, is_json
from medvial_rehearsal.dicom_writer import write_dicom

Change = Callable[[Path], None]
Pick = Callable[[Socket], bool]
_SOP_INSTANCE = "0008|0018"
_HEADER_BYTES = 64  # fewer than the header of any image or video has


class UnchangeableError(Exception):
    """The change cannot be made to the case: it has no such input, or a file of another kind."""


def nothing(case: Path) -> None:
    """An input folder without anything."""
    for entry in case.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def unknown_sockets(case: Path) -> None:
    """An inputs.json with a set of sockets that the algorithm does not know."""
    path = case / INPUTS_JSON
    entries = json.loads(path.read_text())
    for entry in entries:
        for key in ("socket", "interface"):
            entry[key]["slug"] = f"not-a-socket-{uuid.uuid4().hex[:6]}"
    replace(path, json.dumps(entries).encode())


def files_of(case: Path, interface: Interface) -> Iterator[tuple[Socket, Path]]:
    """The input files of a case with their sockets: images, videos, everything but inputs.json."""
    for socket in interface.inputs:
        path = case / socket.relative_path
        if socket.kind == DICOM_IMAGE_SET:
            files = sorted(path.iterdir())
        else:
            files = images_in(path) if is_image(socket) else [path]
        for file in files:
            yield socket, file


def each(interface: Interface, *changes: tuple[Pick, Change]) -> Change:
    """Apply each change to every input file of the sockets that its pick takes.

    The result raises UnchangeableError where nothing is picked.
    """

    def apply(case: Path) -> None:
        found = [
            (change, file)
            for socket, file in files_of(case, interface)
            for pick, change in changes
            if pick(socket)
        ]
        if not found:
            raise UnchangeableError("there is no such input")
        for change, file in found:
            change(file)

    return apply


def remove(file: Path) -> None:
    """The file is not there."""
    file.unlink()


def double(file: Path) -> None:
    """A second file beside it, with the same content."""
    shutil.copy(file, file.with_name(f"{uuid.uuid4()}{file.suffix}"))


def stray(file: Path) -> None:
    """A file beside it that is no image."""
    file.with_name("expected_output.json").write_text("{}")


def cut_header(file: Path) -> None:
    """Cut off within the header."""
    replace(file, file.read_bytes()[:_HEADER_BYTES] if file.suffix != ".json" else b'{"a')


def cut_half(file: Path) -> None:
    """Cut off in the middle."""
    replace(file, file.read_bytes()[: file.stat().st_size // 2])


def empty(file: Path) -> None:
    """A file of no bytes."""
    replace(file, b"")


def black(file: Path) -> None:
    """All pixels 0."""
    _rewrite(file, lambda image: _compose([channel * 0 for channel in _channels(image)]))


def sixteen_bit(file: Path) -> None:
    """Pixels of 16 bit, over the full range."""

    def convert(image: sitk.Image) -> sitk.Image:
        return _compose([sitk.Cast(c, sitk.sitkUInt16) * 257 for c in _channels(image)])

    _rewrite(file, convert)


def rgba(file: Path) -> None:
    """Four channels, the last one opaque."""

    def convert(image: sitk.Image) -> sitk.Image:
        colours = (_channels(image) * 3)[:3]
        return _compose([*colours, colours[0] * 0 + 255])

    _rewrite(file, convert)


def four_dimensions(file: Path) -> None:
    """A time axis of two steps on top of the others (always .mha: .tif has no such axis)."""
    image = sitk.ReadImage(str(file))
    file.unlink()
    while image.GetDimension() < 4:
        image = sitk.JoinSeries([image, image])
    sitk.WriteImage(image, str(file.with_suffix(".mha")), True)


def mirrored(axis: int) -> Change:
    """Another valid case: pixels flipped along an axis, 0 for x and 1 for y."""

    def flip(image: sitk.Image) -> sitk.Image:
        return sitk.Flip(image, [i == axis for i in range(image.GetDimension())])

    return lambda file: _rewrite(file, flip)


def truncate_largest(model: Path) -> None:
    """Cut the largest file of a model folder in half; hidden ones are not the model's."""
    files = [p for p in model.rglob("[!.]*") if p.is_file()]
    cut_half(max(files, key=lambda p: p.stat().st_size))


def is_any(socket: Socket) -> bool:
    """Every socket."""
    return True


def is_one_image(socket: Socket) -> bool:
    """A socket whose value is an image in a single file."""
    return is_image(socket) and socket.kind != DICOM_IMAGE_SET


def is_video(socket: Socket) -> bool:
    """A socket whose value is a video file."""
    return Path(socket.relative_path).suffix.lower() in (".mp4", ".avi")


def has_header(socket: Socket) -> bool:
    """A socket whose file nothing can be read of without its beginning being whole."""
    return is_image(socket) or is_video(socket) or is_json(socket)


def _rewrite(file: Path, change: Callable[[sitk.Image], sitk.Image]) -> None:
    """Replace an image by a changed one of the same size and geometry."""
    try:
        image = sitk.ReadImage(str(file))
        result = change(image)
        result.CopyInformation(image)
        file.unlink()
        if image.HasMetaDataKey(_SOP_INSTANCE):
            for key in image.GetMetaDataKeys():
                result.SetMetaData(key, image.GetMetaData(key))
            write_dicom(result, file)
        else:
            sitk.WriteImage(result, str(file), True)
    except RuntimeError as error:
        raise UnchangeableError(f"{file.suffix}: {' '.join(str(error).split())[-100:]}") from None


def _channels(image: sitk.Image) -> list[sitk.Image]:
    count = image.GetNumberOfComponentsPerPixel()
    if count == 1:
        return [image]
    return [sitk.VectorIndexSelectionCast(image, index) for index in range(count)]


def _compose(channels: list[sitk.Image]) -> sitk.Image:
    return sitk.Compose(channels) if len(channels) > 1 else channels[0]


def replace(file: Path, content: bytes) -> None:
    """Put other content in a file's place."""
    file.unlink()
    file.write_bytes(content)
    file.chmod(0o644)
