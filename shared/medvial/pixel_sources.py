"""Bytes out of a file into a buffer of known size, plain or zlib-compressed."""

import zlib
from io import FileIO

_INPUT_CHUNK_BYTES = 256 * 1024  # of compressed data; zlib copies what it leaves, so keep it small
_OUTPUT_CHUNK_BYTES = 4 * 1024 * 1024


class RawSource:
    """Fills buffers with the bytes of a file."""

    def __init__(self, file: FileIO) -> None:
        self._file = file

    def fill(self, buffer: memoryview) -> tuple[int, str | None]:
        """Bytes filled, and why not all of them (None when all)."""
        filled = 0
        while filled < len(buffer):
            try:
                read = self._file.readinto(buffer[filled:])
            except OSError as error:
                return filled, f"the file cannot be read ({error})"
            if not read:
                return filled, "the file is cut off"
            filled += read
        return filled, None

    def check_end(self) -> str | None:
        """Nothing is known of plain data beyond their size."""
        return None


class ZlibSource:
    """Fills buffers with the bytes of a zlib stream, never holding more than a chunk of it."""

    def __init__(self, file: FileIO) -> None:
        self._file = file
        self._zlib = zlib.decompressobj()

    def fill(self, buffer: memoryview) -> tuple[int, str | None]:
        """Bytes filled, and why not all of them (None when all)."""
        filled = 0
        while filled < len(buffer):
            if self._zlib.eof:
                return filled, "the compressed data end here"
            try:
                chunk = self._zlib.unconsumed_tail or self._file.read(_INPUT_CHUNK_BYTES)
                wanted = min(len(buffer) - filled, _OUTPUT_CHUNK_BYTES)
                pixels = self._zlib.decompress(chunk, wanted)
            except zlib.error as error:
                return filled, f"the compressed data are damaged ({error})"
            except OSError as error:
                return filled, f"the file cannot be read ({error})"
            if not chunk and not pixels:
                return filled, "the file is cut off"
            buffer[filled : filled + len(pixels)] = pixels
            filled += len(pixels)
        return filled, None

    def check_end(self) -> str | None:
        """What is wrong with the checksum, which comes after the last slice (None if right)."""
        try:
            for _ in range(2):  # it may lie across two chunks
                chunk = self._zlib.unconsumed_tail or self._file.read(_INPUT_CHUNK_BYTES)
                self._zlib.decompress(chunk, 1)
        except zlib.error as error:
            return f"this or an earlier slice is damaged ({error})"
        except OSError as error:
            return f"the file cannot be read ({error})"
        return None
