"""Frames of many videos in one file that only grows, made so that a killed run goes on.

The frames are appended to an unfinished file, each video's as soon as it is read; a log gets a line
for it afterwards. A run that is killed leaves at most frames without a line, which the next one
cuts off. When every video is there the file gets its name.
"""

import errno
import json
import logging
import os
import shutil
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Generic, Protocol, TextIO, TypeVar

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from medvial.errors import InputError
from medvial.outputs import write_bytes
from medvial_training.processes import worker_pool

log = logging.getLogger(__name__)

SPOOL = ".spool"
_BLOCK_BYTES = 1 << 22

_WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # what reads may leave files, too

JobT = TypeVar("JobT")
ResultT = TypeVar("ResultT")


class Record(Protocol):
    """What became of a video: a frozen dataclass of JSON values."""

    @property
    def name(self) -> str:
        """Of the video."""

    @property
    def key(self) -> str:
        """Changes with the file and with every setting its pixels depend on."""


@dataclass(frozen=True)
class Spooled:
    """Frames that a worker has left in a file of their own; it is deleted when they are copied."""

    path: Path
    """Named *.spool, in the store's folder."""
    shape: tuple[int, ...]


RecordT = TypeVar("RecordT", bound=Record)
Read = tuple[RecordT, NDArray[np.uint8] | Spooled]


class GrowingFile(ABC, Generic[RecordT]):
    """A file of frames and the log of what is in it."""

    header_bytes = 0
    """Bytes before the first frame, zero until the file is finished."""

    def __init__(self, path: Path, progress: Path, record_type: type[RecordT]) -> None:
        self.path, self.part = path, path.with_name(f"{path.name}.part")
        self.progress = progress
        self.records: dict[str, RecordT] = _read_log(progress, record_type)

    @abstractmethod
    def end_of(self, record: RecordT) -> int:
        """One past the video's last byte in the file."""

    @abstractmethod
    def placed(self, record: RecordT, pixels: NDArray[np.uint8], first_byte: int) -> RecordT:
        """The record of a video whose frames begin at `first_byte`."""

    @abstractmethod
    def keep(self, keys: dict[str, str]) -> dict[str, RecordT]:
        """The records that still hold when the videos' keys are these."""

    def finish(self) -> None:
        """Called when all frames are in the unfinished file, before it gets its name."""

    @property
    def end(self) -> int:
        """Bytes of the file with the logged videos."""
        return max((self.end_of(r) for r in self.records.values()), default=self.header_bytes)

    def holds(self, keys: dict[str, str]) -> bool:
        """Whether the file is finished and holds these videos, whole, and no other."""
        whole = self.path.is_file() and self.path.stat().st_size == self.end
        return whole and keys == {name: record.key for name, record in self.records.items()}

    def make_from(
        self,
        jobs: Sequence[JobT],
        read: Callable[[JobT], Read[RecordT]],
        keys: dict[str, str],
        names: Sequence[str],
        workers: int | None,
    ) -> None:
        """Read the videos that are not in the file yet, in several processes.

        Args:
            jobs: What `read` takes, one for each video.
            read: Gives a video's record and frames; picklable, as the jobs are.
            keys: Keys of all videos by name.
            names: Names of the jobs' videos.
            workers: Processes; as many as there are cores when None.

        Raises:
            InputError: The folder cannot be written, or a source cannot be read.
        """
        self._open(keys)
        missing = [job for job, name in zip(jobs, names, strict=True) if name not in self.records]
        try:
            with (
                self.part.open("r+b") as frames,
                self.progress.open("a", encoding="utf-8") as progress,
                tqdm(total=len(missing), unit="video", desc="Reading", mininterval=0.5) as bar,
            ):
                frames.seek(0, os.SEEK_END)
                for record, pixels in in_processes(partial(_read, read), missing, workers):
                    self._append(frames, progress, record, pixels)
                    bar.update()
            self.finish()
            self.part.replace(self.path)
            self._delete_spools()
        except OSError as error:
            raise InputError(
                f"Expected to write {self.part}, got: {error.strerror or error}. Free some space, "
                "or name another folder with --out, and run step 1 again: it goes on."
            ) from None

    def _open(self, keys: dict[str, str]) -> None:
        """Make the unfinished file hold the frames that the log names, and end with them."""
        self.records = self.keep(keys)
        if self.path.is_file() and not self.part.is_file():
            self.path.replace(self.part)
        if not self.part.is_file() or self.part.stat().st_size < self.end:
            self.records = {}
            write_bytes(self.part, bytes(self.header_bytes))
        self.path.unlink(missing_ok=True)
        write_bytes(self.progress, "".join(map(_line, self.records.values())).encode())
        os.truncate(self.part, self.end)
        self._delete_spools()  # of a run that was killed

    def _delete_spools(self) -> None:
        for left in self.path.parent.glob(f"*{SPOOL}"):
            left.unlink()

    def _append(
        self,
        frames: BinaryIO,
        progress: TextIO,
        record: RecordT,
        pixels: NDArray[np.uint8] | Spooled,
    ) -> None:
        if isinstance(pixels, Spooled):
            mapped = np.memmap(pixels.path, np.uint8, mode="r", shape=pixels.shape)
            record = self.placed(record, mapped, self.end)
            with pixels.path.open("rb") as spool:
                shutil.copyfileobj(spool, frames, _BLOCK_BYTES)
            pixels.path.unlink()
        else:
            record = self.placed(record, pixels, self.end)
            frames.write(np.ascontiguousarray(pixels).data)
        frames.flush()
        progress.write(_line(record))
        progress.flush()
        self.records[record.name] = record


def _read(read: Callable[[JobT], ResultT], job: JobT) -> ResultT:
    """What `read` gives; where it fails, no space in the folder that is written would help.

    Raises:
        InputError: A disk or a network drive fails, or a file may not be read.
    """
    try:
        return read(job)
    except OSError as error:
        if error.errno in _WRITING:
            raise
        raise InputError(
            f"Expected to read {error.filename or 'all videos'}, got: {error.strerror or error}. "
            "Look after the source, and run step 1 again: it goes on."
        ) from None


def in_processes(
    function: Callable[[JobT], ResultT], jobs: Sequence[JobT], workers: int | None = None
) -> Iterator[ResultT]:
    """The results in order; at most `workers` + 2 are in memory.

    Args:
        function: Picklable, as jobs and results are.
        jobs: What it is called with.
        workers: Processes; as many as there are cores when None.

    Yields:
        A result for each job.
    """
    workers = min(workers or os.cpu_count() or 1, len(jobs))
    if workers < 2:
        yield from map(function, jobs)
        return
    pending: deque[Future[ResultT]] = deque()
    with worker_pool(workers) as pool:
        try:
            for job in jobs:
                pending.append(pool.submit(function, job))
                if len(pending) > workers + 1:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _line(record: Any) -> str:
    return json.dumps(asdict(record), ensure_ascii=False) + "\n"


def _read_log(path: Path, record_type: type[RecordT]) -> dict[str, RecordT]:
    records: dict[str, RecordT] = {}
    if not path.is_file():
        return records
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = record_type(**json.loads(line))
        except (ValueError, TypeError):  # half a line, or another version's
            continue
        records[record.name] = record
    return records
