"""Colour frames of videos of any size, in one memory-mapped file."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medvial.errors import InputError
from medvial_training.clips.spool import handed_over, spooling_in
from medvial_training.frame_store import GrowingFile, Spooled

FRAMES, INDEX = "frames.bin", "frames.jsonl"
FORMAT = 1  # count up when the same source and settings give other pixels or times

_BLOCK_BYTES = 1 << 22


@dataclass(frozen=True)
class Frames:
    """A video as training reads it."""

    frames: NDArray[np.uint8]
    """(T, H, W, 3) RGB; of long videos, `spooled`."""
    times_s: NDArray[np.float64]
    """(T,) seconds from the video's beginning, rising."""
    notes: dict[str, Any] = field(default_factory=dict)
    """JSON values to keep with the video: the quality of a person crop, for example."""


@dataclass(frozen=True)
class Source:
    """A video to be read."""

    name: str
    """Its name in the store; no two videos share one."""
    version: str
    """Changes with the file and with every setting of its own that the frames depend on."""
    read: Callable[[], Frames]
    """Picklable; raises InputError where the video cannot be used."""


@dataclass(frozen=True)
class ClipRecord:
    """What became of a video."""

    name: str
    key: str
    """Changes with the file and with every setting its pixels depend on."""
    reason: str = ""
    """Why it cannot be used; empty where it can."""
    first_byte: int = 0
    """Where its frames begin in the file."""
    count: int = 0
    height: int = 0
    width: int = 0
    times_s: list[float] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)


class ClipStore(GrowingFile[ClipRecord]):
    """frames.bin, and frames.jsonl that says what lies where.

    A video that changed or is no longer wanted leaves its bytes behind unless they are the last
    ones; all the others stay as they are, since finding people in them again would take longest.
    """

    def __init__(self, folder: Path, settings: str = "") -> None:
        """Open a store, or begin one.

        Args:
            folder: Where it lies.
            settings: Of step 1; other settings read every video again. For reading, leave it out.
        """
        super().__init__(folder / FRAMES, folder / INDEX, ClipRecord)
        self.folder, self.settings = folder, settings
        self._bytes: NDArray[np.uint8] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Without the memory map, which would be copied into every loader process."""
        return self.__dict__ | {"_bytes": None}

    def key(self, source: Source) -> str:
        """Equal keys, equal pixels."""
        parts = [FORMAT, self.settings, source.version]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]

    def is_done(self, sources: Sequence[Source]) -> bool:
        """Whether the store holds these videos and no other."""
        return self.holds(self._keys(sources))

    def make(self, sources: Sequence[Source], workers: int | None = None) -> list[ClipRecord]:
        """Read the videos that are not in the store yet, in several processes.

        Args:
            sources: All videos that the store is to hold.
            workers: Processes; as many as there are cores when None.

        Returns:
            What became of each, in order; those with a reason were rejected and have no frames.

        Raises:
            InputError: Two videos share a name, or the folder cannot be written.
        """
        keys = self._keys(sources)
        if not self.holds(keys):
            self._bytes = None
            jobs = [(source, keys[source.name], self.folder) for source in sources]
            self.make_from(jobs, _read, keys, [source.name for source in sources], workers)
        return [self.records[source.name] for source in sources]

    def frames(self, name: str) -> NDArray[np.uint8]:
        """The frames of a video, (T, H, W, 3) uint8 RGB: a view of the memory map.

        Raises:
            InputError: The store does not have it, or is unfinished or damaged.
        """
        record = self._record(name)
        if self._bytes is None:
            self._bytes = self._map()
        flat = self._bytes[record.first_byte : self.end_of(record)]
        return flat.reshape(record.count, record.height, record.width, 3)

    def sha256(self, name: str) -> str:
        """Of a video's pixels; read in blocks, where `frames` would map them all at a time."""
        record = self._record(name)
        digest, left = hashlib.sha256(), self.end_of(record) - record.first_byte
        with self.path.open("rb") as file:
            file.seek(record.first_byte)
            while left and (block := file.read(min(left, _BLOCK_BYTES))):
                digest.update(block)
                left -= len(block)
        return digest.hexdigest()

    def times_s(self, name: str) -> NDArray[np.float64]:
        """(T,) seconds of a video's frames from its beginning."""
        return np.asarray(self._record(name).times_s, dtype=np.float64)

    def end_of(self, record: ClipRecord) -> int:
        """One past the video's last byte in the file."""
        return record.first_byte + record.count * record.height * record.width * 3

    def placed(self, record: ClipRecord, pixels: NDArray[np.uint8], first_byte: int) -> ClipRecord:
        """The record of a video whose frames begin at `first_byte`."""
        count, height, width = pixels.shape[:3]
        return replace(record, first_byte=first_byte, count=count, height=height, width=width)

    def keep(self, keys: dict[str, str]) -> dict[str, ClipRecord]:
        """The records of the videos that are as they were."""
        return {name: r for name, r in self.records.items() if keys.get(name) == r.key}

    def _keys(self, sources: Sequence[Source]) -> dict[str, str]:
        keys: dict[str, str] = {}
        for source in sources:
            if source.name in keys:
                raise InputError(f"Expected a name for each video, got two named {source.name}.")
            keys[source.name] = self.key(source)
        return keys

    def _record(self, name: str) -> ClipRecord:
        record = self.records.get(name)
        if record is None or not record.count:
            raise InputError(
                f"Expected the video {name} in {self.path}, got "
                f"{'no such video' if record is None else record.reason}. Run step 1 again."
            )
        return record

    def _map(self) -> NDArray[np.uint8]:
        size = self.path.stat().st_size if self.path.is_file() else -1
        if size < self.end:
            got = "no such file" if size < 0 else f"{size}"
            raise InputError(
                f"Expected {self.path} of {self.end} bytes, got {got}. Run step 1: it goes on."
            )
        return np.memmap(self.path, np.uint8, mode="r")


def _read(job: tuple[Source, str, Path]) -> tuple[ClipRecord, NDArray[np.uint8] | Spooled]:
    source, key, folder = job
    try:
        with spooling_in(folder):
            video = source.read()
        if not len(video.frames):
            raise InputError("expected frames, got none")
    except InputError as error:
        return ClipRecord(source.name, key, reason=str(error)), np.empty((0, 0, 0, 3), np.uint8)
    if video.frames.ndim != 4 or video.frames.shape[3] != 3 or video.frames.dtype != np.uint8:
        raise TypeError(f"{source.name}: {video.frames.shape} {video.frames.dtype}")
    if len(video.times_s) != len(video.frames):
        raise TypeError(f"{source.name}: {len(video.frames)} frames, {len(video.times_s)} times")
    times_s = np.asarray(video.times_s, dtype=np.float64).tolist()
    record = ClipRecord(source.name, key, times_s=times_s, notes=video.notes)
    return record, handed_over(video.frames)
