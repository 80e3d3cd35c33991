"""Archives as streams: what compressed them, their digests, and tar headers that are sane."""

import gzip
import hashlib
import io
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from medvial.errors import InputError
from medvial_rehearsal.archive.tar import tarfile

CHUNK = 1 << 20
UNPACKED_LIMIT = 100 << 30  # bytes; a tar bomb ends here. The largest images are tens of GB.
HEADER_LIMIT = 1 << 20  # bytes; long names and PAX records are read into memory

_MAGIC = {
    b"\x1f\x8b": "gzip",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
    b"PK\x03\x04": "zip",
}
_EXTENDED_HEADERS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
# What the standard library's readers raise on damaged or hostile archives.
_DAMAGE = (
    OSError,
    EOFError,
    tarfile.TarError,
    lzma.LZMAError,
    zlib.error,
    ValueError,
    OverflowError,
    RecursionError,
)


class DigestReader(io.RawIOBase):
    """Passes a stream on, and knows the size and sha256 of what went by.

    Raises:
        InputError: On reading more than `limit` bytes.
    """

    def __init__(self, source: IO[bytes], *, limit: int = UNPACKED_LIMIT) -> None:
        self.size = 0
        self._source = source
        self._limit = limit
        self._digest = hashlib.sha256()

    def readable(self) -> bool:
        """True: this is for reading."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Fill the buffer from the source."""
        count = self._source.readinto(buffer)  # type: ignore[attr-defined]
        self._digest.update(memoryview(buffer)[:count])
        self.size += count
        if self.size > self._limit:
            raise InputError(f"Expected at most {self._limit >> 30} GiB when unpacked, got more.")
        return int(count)

    def drain(self) -> None:
        """Read on to the end."""
        while self.read(CHUNK):
            pass

    @property
    def sha256(self) -> str:
        """Hex digest of what was read."""
        return self._digest.hexdigest()


class SafeTarInfo(tarfile.TarInfo):
    """A tar header that asks for no absurd amount of memory or time."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str | None, errors: str) -> "SafeTarInfo":
        """Read a header.

        Raises:
            InputError: A negative size, a name of more than 1 MiB, or a sparse file.
        """
        info = super().frombuf(buf, encoding, errors)  # type: ignore[arg-type]
        absurd = info.type in _EXTENDED_HEADERS and info.size > HEADER_LIMIT
        if absurd or info.size < 0:
            raise InputError(f"Expected a header of up to 1 MiB, got one of {info.size} bytes.")
        if info.type == tarfile.GNUTYPE_SPARSE:
            raise InputError(f"Expected no sparse files, got {info.name!r}.")
        return info


def compression_of(head: bytes) -> str:
    """gzip, xz, zstd, bzip2 or zip by the first bytes; "none" for anything else."""
    return next((name for magic, name in _MAGIC.items() if head.startswith(magic)), "none")


@contextmanager
def open_packed(path: Path, kinds: tuple[str, ...]) -> Iterator[tuple[DigestReader, DigestReader]]:
    """An archive's packed and unpacked stream, read to the end on leaving.

    Args:
        path: The archive.
        kinds: Accepted compressions, of `compression_of`.

    Raises:
        InputError: It cannot be opened, is damaged or incomplete, or compressed in another way.
    """
    try:
        with path.open("rb") as file:
            kind = compression_of(file.read(6))
            if kind not in kinds:
                raise InputError(_unaccepted(path, kind, kinds))
            file.seek(0)
            packed = DigestReader(file)
            unpacked = DigestReader(decompress(packed, kind))
            yield packed, unpacked
            unpacked.drain()  # to the checksum at its end
            packed.drain()
    except InputError:
        raise
    except _DAMAGE as error:
        raise InputError(
            f"Expected a complete archive at {path}, got: {_reason(error)}. Export it again."
        ) from None


def decompress(stream: io.RawIOBase | IO[bytes], kind: str) -> IO[bytes]:
    """What a stream of that compression holds."""
    packed: Any = io.BufferedReader(stream, CHUNK) if isinstance(stream, io.RawIOBase) else stream
    if kind == "none":
        return packed
    if kind == "gzip":
        return io.BufferedReader(gzip.GzipFile(fileobj=packed), CHUNK)
    return io.BufferedReader(lzma.open(packed), CHUNK)


def members(stream: io.RawIOBase | IO[bytes]) -> Iterator[tuple[tarfile.TarInfo, IO[bytes] | None]]:
    """The members of a tar stream, each with its content where it is a file.

    The content must be read before the next member is asked for.
    """
    source: Any = stream
    with tarfile.open(fileobj=source, mode="r|", bufsize=CHUNK, tarinfo=SafeTarInfo) as archive:
        for member in archive:
            if member.issparse():
                raise InputError(f"Expected no sparse files, got {member.name!r}.")
            yield member, archive.extractfile(member) if member.isfile() else None
            # The module keeps every header otherwise.
            archive.members.clear()  # type: ignore[attr-defined]


def _unaccepted(path: Path, kind: str, kinds: tuple[str, ...]) -> str:
    names = {"gzip": ".tar.gz", "xz": ".tar.xz", "none": ".tar"}
    known = " or ".join(names[name] for name in kinds)
    got = "something else" if kind == "none" else f"{kind}, which the platform does not take"
    advice = "Compress it by gzip: export.sh does."
    if kind == "zstd":
        advice = f"Pack it anew: zstd -dc {path.name} | gzip -n >IMAGE.tar.gz"
    return f"Expected {known} at {path}, got {got}. {advice}"


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
