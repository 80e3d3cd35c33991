"""The outputs of one case: written aside, checked, and published all together or not at all."""

import contextlib
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from medvial.errors import InputError
from medvial.metaimage_writer import ImageGeometry, MetaImageWriter
from medvial.output_checks import check_output
from medvial.outputs import write_json
from medvial.socket_kinds import SEGMENTATION
from medvial.sockets import Socket, validate

STAGING = ".staging"  # in the output folder, as files can only be moved at once within a mount
IMAGE_NAME = "output.mha"

_IMAGE_FILES = ("*.mha", "*.mhd", "*.raw", "*.zraw", "*.tif", "*.tiff", "*.part")


class CaseOutputs:
    """What a case writes into an output folder.

    As a context manager: on leaving it, whatever was not published is removed.
    """

    def __init__(
        self, folder: Path, sockets: Iterable[Socket], likes: Mapping[str, Path] | None = None
    ) -> None:
        """Say what is to be written.

        Args:
            folder: Usually /output.
            sockets: The outputs that the case has to have.
            likes: By the slug of an image output, the folder of the input whose geometry it has
                to have.
        """
        self.folder = folder
        self._likes = likes or {}
        self.sockets = {socket.slug: socket for socket in sockets}
        self._staging = folder / STAGING

    def __enter__(self) -> "CaseOutputs":
        """Prepare the folder.

        Raises:
            InputError: It cannot be written.
        """
        self.discard()
        try:
            self._staging.mkdir(parents=True)
        except OSError as error:
            raise InputError(
                f"Expected to write into {self.folder}, got: {error.strerror}. Check the folder's "
                "permissions and free space."
            ) from None
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    def write_json(self, slug: str, value: Any) -> None:
        """Check a JSON output and stage it.

        Raises:
            InputError: It is not valid, or cannot be written.
        """
        socket = self._output(slug)
        if not socket.kind_info.is_json:
            raise ValueError(f"Expected a JSON output, {slug} is of kind {socket.kind}")
        validate(socket, value)
        write_json(self._staging / socket.relative_path, value)

    def image(self, slug: str, geometry: ImageGeometry, dtype: DTypeLike) -> MetaImageWriter:
        """The writer of an image output.

        Raises:
            InputError: The pixel type is none that the kind may have.
        """
        socket = self._output(slug)
        if not socket.kind_info.is_image:
            raise ValueError(f"Expected an image output, {slug} is of kind {socket.kind}")
        if socket.kind == SEGMENTATION and np.dtype(dtype) != np.uint8:
            raise InputError(
                f"Expected the {SEGMENTATION} {slug} as uint8, got {np.dtype(dtype)}: the platform "
                "cannot tell the segments of other types."
            )
        path = self._staging / socket.relative_path / IMAGE_NAME
        return MetaImageWriter(path, geometry, dtype=dtype)

    def file(self, slug: str) -> Path:
        """Where to write an output of any kind; its folder exists."""
        socket = self._output(slug)
        path = self._staging / socket.relative_path
        path = path / IMAGE_NAME if socket.kind_info.is_image else path
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def publish(self) -> None:
        """Check every output, then move all to their places.

        Raises:
            RuntimeError: An output was not written.
            InputError: One is not valid, or cannot be moved.
        """
        missing = [
            slug
            for slug, socket in self.sockets.items()
            if not (self._staging / socket.relative_path).exists()
        ]
        if missing:
            raise RuntimeError(f"save() wrote no output for {missing}")
        for socket in self.sockets.values():
            like = self._likes.get(socket.slug)
            check_output(socket, self._staging / socket.relative_path, like)
        self._move()

    def discard(self) -> None:
        """Remove what is staged."""
        shutil.rmtree(self._staging, ignore_errors=True)

    def _move(self) -> None:
        moved: list[Path] = []
        target = self.folder
        try:
            for staged in sorted(p for p in self._staging.rglob("*") if p.is_file()):
                target = self.folder / staged.relative_to(self._staging)
                target.parent.mkdir(parents=True, exist_ok=True)
                moved.append(target)
                staged.replace(target)
        except BaseException as error:
            for done in moved:
                with contextlib.suppress(OSError):
                    done.unlink()
            if isinstance(error, OSError):
                raise InputError(
                    f"Expected to write {target}, got: {error.strerror}. Check the folder's "
                    "permissions."
                ) from None
            raise

    def _output(self, slug: str) -> Socket:
        if slug not in self.sockets:
            raise ValueError(f"Expected one of the outputs {list(self.sockets)}, got {slug!r}")
        return self.sockets[slug]


def remove_outputs(folder: Path, sockets: Iterable[Socket]) -> None:
    """Remove what an earlier case left at the places of some outputs, and nothing else.

    Raises:
        InputError: A file cannot be removed: the case's own would be mixed with it.
    """
    try:
        for socket in sockets:
            path = folder / socket.relative_path
            if not socket.kind_info.is_image:
                path.unlink(missing_ok=True)
            elif path.is_dir():
                for pattern in _IMAGE_FILES:
                    for file in path.glob(pattern):
                        file.unlink()
    except NotADirectoryError:
        return  # said when the folder is written
    except OSError as error:
        raise InputError(
            f"Expected to remove the earlier output {error.filename}, got: {error.strerror}."
        ) from None
