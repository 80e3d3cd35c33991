"""Write a MetaImage (.mha) slice by slice: memory does not grow with the number of slices."""

import zlib
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from medvial.errors import InputError

SIZE_DIGITS = 20  # room for the compressed size, known only at the end


class MetaImageWriter:
    """A stack of (height, width) or (height, width, channels) uint8 slices, as a context manager.

    The file appears under its name only when it is whole; until then it is `<name>.part`, which is
    removed if anything fails. Keys of the header: the MetaIO documentation of ITK.
    """

    def __init__(
        self, path: Path, shape: tuple[int, ...], *, compressed: bool = True, level: int = 6
    ) -> None:
        """Prepare to write.

        Args:
            path: The .mha file.
            shape: (N, height, width) or (N, height, width, channels).
            compressed: Compress with zlib.
            level: zlib's level, 1 (fast) to 9 (small).
        """
        self.path, self.shape = Path(path), shape
        self._part = self.path.with_name(self.path.name + ".part")
        self._compressor = zlib.compressobj(level) if compressed else None
        self._written = self._bytes = self._size_at = 0
        self._file: BinaryIO

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._part.open("wb")
        self._file.write(self._header())
        return self

    def write(self, image: NDArray[np.uint8]) -> None:
        """Append the next slice.

        Args:
            image: uint8 of the stack's slice shape.

        Raises:
            InputError: Its shape or type is another, or the stack is full already.
        """
        if (
            image.shape != self.shape[1:]
            or image.dtype != np.uint8
            or self._written >= self.shape[0]
        ):
            raise InputError(
                f"Expected {self.shape[0]} slices of shape {self.shape[1:]}, uint8; got slice "
                f"{self._written + 1} of shape {image.shape}, {image.dtype}, for {self.path}."
            )
        data = np.ascontiguousarray(image).data
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
        finally:
            self._file.close()
            if kind is None and self._written == self.shape[0]:
                self._part.replace(self.path)
            else:
                self._part.unlink()

    def _finish(self) -> None:
        if self._written != self.shape[0]:
            raise InputError(
                f"Expected {self.shape[0]} slices for {self.path}, got {self._written}."
            )
        if self._compressor:
            self._put(self._compressor.flush())
            self._file.seek(self._size_at)
            self._file.write(f"{self._bytes:0{SIZE_DIGITS}d}".encode("ascii"))

    def _put(self, data: bytes | memoryview) -> None:
        self._bytes += len(data) if isinstance(data, bytes) else data.nbytes
        self._file.write(data)

    def _header(self) -> bytes:
        count, height, width, *channels = self.shape
        lines = [
            "ObjectType = Image",
            "NDims = 3",
            "BinaryData = True",
            "BinaryDataByteOrderMSB = False",
            f"CompressedData = {bool(self._compressor)}",
            "TransformMatrix = 1 0 0 0 1 0 0 0 1",
            "Offset = 0 0 0",
            "CenterOfRotation = 0 0 0",
            "ElementSpacing = 1 1 1",
            f"DimSize = {width} {height} {count}",
        ]
        if channels:
            lines.append(f"ElementNumberOfChannels = {channels[0]}")
        if self._compressor:
            text = "\n".join([*lines, "CompressedDataSize = "])
            self._size_at = len(text)
            lines.append(f"CompressedDataSize = {0:0{SIZE_DIGITS}d}")
        lines += ["ElementType = MET_UCHAR", "ElementDataFile = LOCAL", ""]
        return "\n".join(lines).encode("ascii")
