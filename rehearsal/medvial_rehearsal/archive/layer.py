"""One layer of an image: what its files are, without keeping them."""

import hashlib
import io
import re
import tarfile
from dataclasses import dataclass
from typing import IO

from medvial.errors import InputError
from medvial_rehearsal.archive.inspection import findings_by_name, findings_in
from medvial_rehearsal.archive.stream import CHUNK, DigestReader, decompress, members

ENTRIES_LIMIT = 2_000_000  # files of one image; a GPU image has about 50 thousand
MANIFEST_PATH = "opt/app/medvial.json"

_SMALL = 256 << 10  # bytes; files up to this size are looked into
_KEPT_LIMIT = 16 << 20  # bytes; of what is kept whole. Debian's package list is about 1 MB.
_KEPT = re.compile(
    r"etc/(passwd|group|os-release)|usr/lib/os-release|var/lib/dpkg/status(\.d/[^/]+)?"
    r"|.*\.dist-info/METADATA|" + re.escape(MANIFEST_PATH)
)
_KINDS = {
    tarfile.REGTYPE: "file",
    tarfile.AREGTYPE: "file",
    tarfile.CONTTYPE: "file",
    tarfile.DIRTYPE: "folder",
    tarfile.SYMTYPE: "symlink",
    tarfile.LNKTYPE: "hardlink",
    tarfile.CHRTYPE: "device",
    tarfile.BLKTYPE: "device",
    tarfile.FIFOTYPE: "pipe",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, folder or link of a layer."""

    path: str
    """Without a leading slash."""
    kind: str
    """file, folder, symlink, hardlink, device or pipe."""
    mode: int = 0o755
    uid: int = 0
    gid: int = 0
    size: int = 0
    target: str = ""
    """Of links as it is written; major:minor of devices."""
    digest: str = ""
    """sha256 (hex) of a file's content."""
    content: bytes | None = None
    """Of the few files that are asked about later."""
    shebang: bytes = b""
    """First line of a small file that starts with #!"""
    findings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layer:
    """What a layer's tar archive holds."""

    size: int
    """Uncompressed, in bytes."""
    diff_id: str
    """sha256 (hex) of the uncompressed archive; the image's configuration lists it."""
    entries: tuple[Entry, ...]


def is_tar(head: bytes) -> bool:
    """Whether 512 bytes are a tar header, or the end of an empty tar archive."""
    if len(head) < tarfile.BLOCKSIZE:
        return False
    if not any(head):
        return True
    try:
        tarfile.TarInfo.frombuf(head[: tarfile.BLOCKSIZE], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def read_layer(stream: IO[bytes], compression: str, *, room: int = ENTRIES_LIMIT) -> Layer:
    """Read a layer to its end.

    Args:
        stream: The layer's archive.
        compression: gzip, xz or none.
        room: How many entries it may have.

    Raises:
        InputError: It has more entries or absurd headers.
    """
    packed = io.BufferedReader(stream, CHUNK) if isinstance(stream, io.RawIOBase) else stream
    archive = DigestReader(decompress(packed, compression))
    entries: list[Entry] = []
    for member, content in members(archive):
        if len(entries) >= room:
            raise InputError(f"Expected an image of at most {ENTRIES_LIMIT} files, got more.")
        entries.append(_entry(member, content))
    archive.drain()
    return Layer(archive.size, archive.sha256, tuple(entries))


def clean_path(name: str) -> str:
    """A member's path without leading `./` or `/`.

    Raises:
        InputError: It leaves the root by `..`.
    """
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise InputError(f"Expected paths inside the image, got {name!r}.")
    return "/".join(parts)


def _entry(member: tarfile.TarInfo, content: IO[bytes] | None) -> Entry:
    path = clean_path(member.name)
    kind = _KINDS.get(member.type, "file")
    target = f"{member.devmajor}:{member.devminor}" if kind == "device" else member.linkname
    digest, kept, shebang = "", None, b""
    findings = findings_by_name(path, kind)
    if content is not None:
        small = member.size <= (_KEPT_LIMIT if _KEPT.fullmatch(path) else _SMALL)
        digest, whole = _read(content, keep=small)
        findings += findings_in(path, whole) if small else ()
        kept = whole if small and _KEPT.fullmatch(path) else None
        shebang = whole.split(b"\n", 1)[0][:256] if whole.startswith(b"#!") else b""
    return Entry(
        path=path,
        kind=kind,
        mode=member.mode & 0o7777,
        uid=member.uid,
        gid=member.gid,
        size=member.size if kind == "file" else 0,
        target=target,
        digest=digest,
        content=kept,
        shebang=shebang,
        findings=findings,
    )


def _read(content: IO[bytes], *, keep: bool) -> tuple[str, bytes]:
    """The sha256 of a file, and its bytes if they are to be kept."""
    digest, parts = hashlib.sha256(), []
    while chunk := content.read(CHUNK):
        digest.update(chunk)
        if keep:
            parts.append(chunk)
    return digest.hexdigest(), b"".join(parts)
