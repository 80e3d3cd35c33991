"""Write a MetaImage (.mha) slice by slice: memory does not grow with the number of slices.

Format: https://itk.org/Wiki/ITK/MetaIO/Documentation (keys, pixel types, order of axes).
"""

import contextlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from medvial.errors import InputError
from medvial.metaimage import Vector

Matrix = tuple[Vector, Vector, Vector]

PIXEL_TYPES = {
    "uint8": "MET_UCHAR",
    "int8": "MET_CHAR",
    "uint16": "MET_USHORT",
    "int16": "MET_SHORT",
    "uint32": "MET_UINT",
    "int32": "MET_INT",
    "float32": "MET_FLOAT",
    "float64": "MET_DOUBLE",
}
_IDENTITY: Matrix = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
_SIZE_DIGITS = 20  # room for the compressed size, known only at the end


@dataclass(frozen=True)
class ImageGeometry:
    """Where the pixels of an image lie in the world."""

    size_xyz: tuple[int, int, int]
    """Width, height, slices."""
    spacing_mm: Vector = (1.0, 1.0, 1.0)
    """(x, y, z)"""
    origin_mm: Vector = (0.0, 0.0, 0.0)
    """World coordinates (x, y, z) of the centre of the first pixel of the first slice."""
    direction: Matrix = _IDENTITY
    """Matrix whose columns are the directions of x, y, z in the world."""
    dimensions: Literal[2, 3] = 3
    """2 for a file with a single image and no third axis."""


class MetaImageWriter:
    """A stack of (H, W) or (H, W, C) slices, as a context manager.

    The file appears under its name only when it is whole; until then it is `<name>.part`, which is
    removed if anything fails. The pixels are compressed with zlib as they come.
    """

    def __init__(
        self,
        path: Path,
        geometry: ImageGeometry,
        *,
        dtype: DTypeLike = np.uint8,
        channels: int = 1,
        compressed: bool = True,
        level: int = 6,
    ) -> None:
        """Prepare to write.

        Args:
            path: The .mha file.
            geometry: Of the image; says how many slices of which size are to come.
            dtype: Of the slices.
            channels: Values a pixel; more than 1 for slices of (H, W, C).
            compressed: Compress with zlib.
            level: zlib's level, 1 (fast) to 9 (small).

        Raises:
            InputError: The pixel type has no name in this format.
        """
        self.path, self.geometry, self.channels = Path(path), geometry, channels
        self.dtype = np.dtype(dtype)
        if self.dtype.name not in PIXEL_TYPES:
            raise InputError(
                f"Expected pixels of {', '.join(PIXEL_TYPES)} for {path}, got {self.dtype}."
            )
        width, height, self.count = geometry.size_xyz
        self.slice_shape = (height, width) if channels == 1 else (height, width, channels)
        self._part = self.path.with_name(self.path.name + ".part")
        self._compressor = zlib.compressobj(level) if compressed else None
        self._written = self._bytes = self._size_at = 0
        self._file: BinaryIO

    def __enter__(self) -> Self:
        with self._explained():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._part.open("wb")
        self._put(self._header())
        self._bytes = 0
        return self

    def write(self, image: NDArray[Any]) -> None:
        """Append the next slice.

        Args:
            image: (H, W) or (H, W, C) of the writer's type.

        Raises:
            InputError: Its shape or type is another, the image is full already, or the file cannot
                be written.
        """
        fits = image.shape == self.slice_shape and image.dtype == self.dtype
        if not fits or self._written >= self.count:
            raise InputError(
                f"Expected {self.count} slices of shape {self.slice_shape}, {self.dtype}; got "
                f"slice {self._written + 1} of shape {image.shape}, {image.dtype}, for {self.path}."
            )
        data = np.ascontiguousarray(image, self.dtype.newbyteorder("<")).data.cast("B")
        self._put(self._compressor.compress(data) if self._compressor else data)
        self._written += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Complete the file, or remove it after an error."""
        try:
            if kind is None:
                self._finish()
        except BaseException:
            self._discard()
            raise
        if kind is not None:
            self._discard()

    def _finish(self) -> None:
        if self._written != self.count:
            raise InputError(f"Expected {self.count} slices for {self.path}, got {self._written}.")
        if self._compressor:
            self._put(self._compressor.flush())
        with self._explained():
            if self._compressor:
                self._file.seek(self._size_at)
                self._file.write(f"{self._bytes:0{_SIZE_DIGITS}d}".encode("ascii"))
            self._file.close()
            self._part.replace(self.path)

    def _discard(self) -> None:
        with contextlib.suppress(OSError):  # a full disk fails again when the rest is flushed
            self._file.close()
        with contextlib.suppress(OSError):
            self._part.unlink()

    def _put(self, data: bytes | memoryview) -> None:
        self._bytes += len(data)
        try:
            with self._explained():
                self._file.write(data)
        except InputError:
            self._discard()
            raise

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InputError(
                f"Expected to write {self.path}, got: {error.strerror or error}. Check the "
                "folder's permissions and free space."
            ) from None

    def _header(self) -> bytes:
        geometry, dims = self.geometry, self.geometry.dimensions
        # The file lists one axis after the other; a direction matrix has them as its columns.
        axes = np.array(geometry.direction)[:dims, :dims].T.ravel().tolist()
        lines = [
            "ObjectType = Image",
            f"NDims = {dims}",
            "BinaryData = True",
            "BinaryDataByteOrderMSB = False",
            f"CompressedData = {bool(self._compressor)}",
            f"TransformMatrix = {_texts(axes)}",
            f"Offset = {_texts(geometry.origin_mm[:dims])}",
            f"CenterOfRotation = {_texts([0.0] * dims)}",
            f"ElementSpacing = {_texts(geometry.spacing_mm[:dims])}",
            f"DimSize = {_texts(geometry.size_xyz[:dims])}",
        ]
        if self.channels > 1:
            lines.append(f"ElementNumberOfChannels = {self.channels}")
        if self._compressor:
            self._size_at = len("\n".join([*lines, "CompressedDataSize = "]))
            lines.append(f"CompressedDataSize = {0:0{_SIZE_DIGITS}d}")
        lines += [f"ElementType = {PIXEL_TYPES[self.dtype.name]}", "ElementDataFile = LOCAL", ""]
        return "\n".join(lines).encode("ascii")


def _texts(values: Any) -> str:
    """Numbers that read back as the same double."""
    return " ".join(str(int(v)) if v == int(v) else repr(float(v)) for v in values)
