"""The JSON files of a clip, one a frame, in a folder or a ZIP archive that is not trusted."""

import itertools
import os
import re
import stat
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from medvial.errors import InputError

MAX_FILES = 20_000  # 11 minutes at 30 frames a second; leg agility takes half a minute
MAX_FILE_BYTES = 2**20  # 20 people with hands and faces are a tenth of that
MAX_TOTAL_BYTES = 2**28
MAX_RATIO = 250  # of deflate's 1032; joints that are all zeros come to about 100
RATIO_FROM_BYTES = 2**16
MAX_DEPTH = 5
MAX_FRAME_SPAN = 200_000  # of frame numbers, gaps included

_NUMBERED = re.compile(r"(?P<clip>.*?)(?P<number>\d{1,15})(?:_keypoints)?\.json", re.IGNORECASE)
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".zst")
_CLUTTER = ("._", ".DS_Store", "Thumbs.db", "desktop.ini")  # left by file managers
_DIRECTORY_BYTES = 512  # of a ZIP's directory for each file: 46 and its name
_END, _END_BYTES, _END_64, _MAX_COMMENT = b"PK\5\6", 22, b"PK\6\7", 65535


@dataclass(frozen=True)
class FrameFiles:
    """The files of one clip, in order of their frame numbers."""

    names: tuple[str, ...]
    numbers: tuple[int, ...]
    """Of the frames, increasing, not necessarily without gaps."""
    read: Callable[[str], bytes]
    """Bytes of a file by its name. Raises OSError, or InputError where it is too large."""
    notes: tuple[str, ...]


@contextmanager
def open_frames(path: Path) -> Iterator[FrameFiles]:
    """List the frames of a clip; their files can be read while it is open.

    Args:
        path: A folder, or a ZIP archive, that holds the files or one folder with them.

    Raises:
        InputError: It is neither, is not safe to read, holds no frames or those of several clips.
    """
    path = Path(path)
    if path.is_dir():
        files = [str(p) for p in _walk(path, path, 0)]
        yield _frames(path, files, lambda name: _read_limited(path, path / name))
    elif path.is_file() and zipfile.is_zipfile(path):
        with _open_zip(path) as archive:
            members = _safe_members(path, archive)
            yield _frames(path, list(members), lambda name: _read_member(path, archive, name))
    else:
        found = "a file that is neither" if path.exists() else "nothing"
        raise InputError(
            f"Expected a folder or a ZIP archive of OpenPose's JSON files at {path}, found {found}."
        )


def _walk(root: Path, folder: Path, depth: int, seen: list[int] | None = None) -> Iterator[Path]:
    """Files below a folder, relative to the root; links to folders are not followed."""
    seen = seen if seen is not None else [0]
    if depth > MAX_DEPTH:
        raise InputError(f"{folder}: expected folders at most {MAX_DEPTH} deep. Give the clip's.")
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                seen[0] += 1
                if seen[0] > MAX_FILES:
                    raise InputError(_too_many(root, f"more than {MAX_FILES}"))
                if entry.is_dir(follow_symlinks=False):
                    yield from _walk(root, Path(entry.path), depth + 1, seen)
                elif entry.is_file():
                    yield Path(entry.path).relative_to(root)
    except OSError as error:
        raise InputError(f"{folder}: cannot be read: {error.strerror or error}.") from error


def _read_limited(root: Path, path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise InputError(_too_large(root, path.name))
    return data


@contextmanager
def _open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        _check_directory_size(path)
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, NotImplementedError, EOFError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: this ZIP archive is damaged: {error}.") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}.") from error


def _check_directory_size(path: Path) -> None:
    """Before `zipfile` reads all of it into memory: a million entries are 500 MB there."""
    size = path.stat().st_size
    if size > MAX_TOTAL_BYTES:
        raise InputError(
            f"{path}: expected an archive of at most {MAX_TOTAL_BYTES >> 20} MB, got "
            f"{size >> 20} MB. Give one clip's JSON files only."
        )
    with path.open("rb") as file:
        file.seek(max(0, size - _END_BYTES - _MAX_COMMENT - len(_END_64) - 16))
        tail = file.read()
    end = len(tail) - _END_BYTES  # where `zipfile` looks first, too
    if not (tail[end : end + 4] == _END and tail.endswith(b"\0\0")):
        end = tail.rfind(_END)
    if end < 0:
        raise InputError(f"{path}: this ZIP archive is damaged: it has no end.")
    if tail[max(0, end - 20) : end].startswith(_END_64):
        raise InputError(_too_many(path, "one made for more than 65535 or 4 GB (ZIP64)"))
    (entries, directory_bytes) = struct.unpack_from("<HL", tail, end + 10)
    if entries > MAX_FILES or directory_bytes > MAX_FILES * _DIRECTORY_BYTES:
        raise InputError(_too_many(path, str(entries)))


def _safe_members(path: Path, archive: zipfile.ZipFile) -> list[str]:
    """Names of the files in it, after everything in its directory was found harmless."""
    infos = archive.infolist()
    if len(infos) > MAX_FILES:
        raise InputError(_too_many(path, str(len(infos))))
    total = sum(info.file_size for info in infos)
    if total > MAX_TOTAL_BYTES:
        raise InputError(
            f"{path}: expected at most {MAX_TOTAL_BYTES >> 20} MB when unpacked, it says "
            f"{total >> 20} MB. Give one clip's JSON files only."
        )
    name, count = Counter(info.filename for info in infos).most_common(1)[0] if infos else ("", 0)
    if count > 1:
        raise InputError(f"{path}: expected each file once, found {name!r} {count} times.")
    for info in infos:
        _check_member(path, info)
    return [info.filename for info in infos if not info.is_dir()]


def _check_member(path: Path, info: zipfile.ZipInfo) -> None:
    """Raise unless a member can be read without harm."""
    name = info.filename
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if ".." in parts or parts[:1] == ("/",) or re.match(r"[A-Za-z]:", name):
        raise InputError(f"{path}: expected names inside of the archive, found {name!r}.")
    if len(parts) > MAX_DEPTH + 1:
        raise InputError(f"{path}: expected folders at most {MAX_DEPTH} deep, found {name!r}.")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise InputError(f"{path}: expected files, {name!r} is a link. Pack the files themselves.")
    if info.flag_bits & 1:
        raise InputError(f"{path}: {name!r} is encrypted. Pack the files without a password.")
    if name.lower().endswith(_ARCHIVES):
        raise InputError(
            f"{path}: expected JSON files, {name!r} is an archive in the archive. Give one clip."
        )
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise InputError(f"{path}: {name!r} is packed in an unusual way. Pack with deflate.")
    if info.file_size > MAX_FILE_BYTES and name.lower().endswith(".json"):
        raise InputError(_too_large(path, name))
    if info.file_size > max(RATIO_FROM_BYTES, MAX_RATIO * info.compress_size):
        raise InputError(
            f"{path}: {name!r} would unpack to more than {MAX_RATIO} times its size: this is no "
            "file of keypoints."
        )


def _read_member(path: Path, archive: zipfile.ZipFile, name: str) -> bytes:
    try:
        with archive.open(name) as member:
            data = member.read(MAX_FILE_BYTES + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise OSError(f"damaged in the archive ({error})") from error
    if len(data) > MAX_FILE_BYTES:
        raise InputError(_too_large(path, name))
    return data


def _frames(path: Path, files: Sequence[str], read: Callable[[str], bytes]) -> FrameFiles:
    """The numbered JSON files among them, in order."""
    clips: dict[tuple[str, str], list[tuple[int, str]]] = {}
    others = 0
    for name in files:
        place = PurePosixPath(name.replace("\\", "/"))
        if place.name.startswith(_CLUTTER) or "__MACOSX" in place.parts:
            continue
        match = _NUMBERED.fullmatch(place.name)
        if match is None:
            others += 1
            continue
        clip = (str(place.parent), match["clip"])
        clips.setdefault(clip, []).append((int(match["number"]), name))
    frames = sorted(_only_clip(path, clips, others))
    numbers = [number for number, _ in frames]
    _check_numbers(path, frames)
    gaps = numbers[-1] - numbers[0] + 1 - len(numbers)
    notes = [f"files that are no frames, left out: {others}"] * (others > 0)
    notes += [f"frames missing between the first and the last: {gaps}"] * (gaps > 0)
    return FrameFiles(tuple(name for _, name in frames), tuple(numbers), read, tuple(notes))


def _only_clip(
    path: Path, clips: dict[tuple[str, str], list[tuple[int, str]]], others: int
) -> list[tuple[int, str]]:
    if not clips:
        raise InputError(
            f"{path}: expected files like clip_000000000000_keypoints.json, one a frame, found "
            f"none among {others} files."
        )
    if len(clips) > 1:
        names = sorted("/".join(clip).removeprefix("./") for clip in clips)
        raise InputError(
            f"{path}: expected the frames of one clip, found those of {len(clips)}: "
            f"{', '.join(names[:3])}{', …' if len(names) > 3 else ''}. Give one of them."
        )
    return next(iter(clips.values()))


def _check_numbers(path: Path, frames: list[tuple[int, str]]) -> None:
    for (number, name), (following, other) in itertools.pairwise(frames):
        if number == following:
            raise InputError(f"{path}: expected one file a frame, got {name} and {other}.")
    first, last = frames[0][0], frames[-1][0]
    if last - first >= MAX_FRAME_SPAN:
        raise InputError(
            f"{path}: expected the frame numbers of one clip, got {first} to {last}: at most "
            f"{MAX_FRAME_SPAN} apart. Is this one clip?"
        )


def _too_many(path: Path, found: str) -> str:
    return (
        f"{path}: expected at most {MAX_FILES} files, got {found}. Give one clip's JSON files only."
    )


def _too_large(path: Path, name: str) -> str:
    return (
        f"{path}: expected at most {MAX_FILE_BYTES >> 10} kB a frame, {name!r} is larger. Is it "
        "OpenPose's JSON of one frame?"
    )
