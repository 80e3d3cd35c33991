"""Frames of a long video on their way to the store: in a file, since memory may not hold them."""

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from medvial.errors import InputError
from medvial_training.frame_store import SPOOL, Spooled

_FOLDER: ContextVar[Path | None] = ContextVar("folder of spooled frames", default=None)


@contextmanager
def spooling_in(folder: Path) -> Iterator[None]:
    """Frames that are spooled meanwhile go to files of this folder, for `handed_over`."""
    token = _FOLDER.set(folder)
    try:
        yield
    finally:
        _FOLDER.reset(token)


def spooled(pictures: Iterable[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Pictures (H, W, 3) one by one as an array (T, H, W, 3) that lies in a file.

    Outside of `spooling_in` the file vanishes with the array.

    Raises:
        InputError: They are not of one size.
    """
    folder, keep = _FOLDER.get(), False
    with tempfile.NamedTemporaryFile("wb", dir=folder, suffix=SPOOL, delete=False) as file:
        try:
            shape = _write(pictures, file)
            file.flush()
            keep = folder is not None and shape[0] > 0
            if not shape[0]:
                return np.empty(shape, np.uint8)
            return np.memmap(file.name, np.uint8, mode="r", shape=shape)
        finally:
            if not keep:
                Path(file.name).unlink()


def _write(pictures: Iterable[NDArray[np.uint8]], file: IO[bytes]) -> tuple[int, ...]:
    count, shape = 0, (0, 0, 3)
    for picture in pictures:
        if count and picture.shape != shape:
            raise InputError(
                f"expected frames of one size, got {shape[1]} x {shape[0]} and "
                f"{picture.shape[1]} x {picture.shape[0]}"
            )
        file.write(np.ascontiguousarray(picture).data)
        count, shape = count + 1, picture.shape
    return count, *shape


def handed_over(frames: NDArray[np.uint8]) -> NDArray[np.uint8] | Spooled:
    """What a worker sends of its frames: the name of their file, if it has been kept."""
    name = getattr(frames, "filename", None)
    if name is None or not Path(name).is_file() or Path(name).stat().st_size != frames.nbytes:
        return frames
    return Spooled(Path(name), frames.shape)
