"""All frames of all videos in one memory-mapped file, made so that a killed run goes on.

The frames are appended to frames.npy.part, each video's as soon as it is read; progress.jsonl gets
a line for it afterwards. A run that is killed leaves at most frames without a line, which the next
one cuts off. When every video is there the file gets its header and its name.
"""

import hashlib
import json
import logging
import math
import os
import shutil
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from medvial.echonet.config import Config
from medvial.errors import InputError
from medvial.outputs import write_bytes
from medvial_training.processes import worker_pool
from medvial_training.tasks.echonet.sources import Clip, RawVideo

log = logging.getLogger(__name__)

FRAMES, PROGRESS = "frames.npy", "progress.jsonl"
HEADER_BYTES = 128  # of a .npy file; NumPy's own alignment allows 64, 128, ...
FORMAT = 2  # count up when the same file and settings give other pixels or times


@dataclass(frozen=True)
class VideoRecord:
    """What became of a video."""

    name: str
    key: str
    """Changes with the file and with every setting its pixels depend on."""
    reason: str = ""
    """Why it cannot be used."""
    first: int = 0
    """Its first frame in the file of all frames."""
    count: int = 0
    fps: float = 0.0
    """Of the file; 0 where not known."""
    spacing_mm: float = 0.0
    """Size of a network pixel; 0 where not known."""
    to_network: list[list[float]] | None = None
    """(2, 3) from pixels of the file to network pixels; None for the same."""
    masks: dict[str, str] = field(default_factory=dict)
    """Masks that came with the video: packed bits in hexadecimal, by frame."""
    times_s: list[float] | None = None
    """Seconds from its first frame, where the frames do not come evenly."""
    total: float = 0.0
    """Sum of its grey values."""
    total_squares: float = 0.0

    @property
    def end(self) -> int:
        """One past its last frame in the file of all frames."""
        return self.first + self.count


class FrameStore:
    """frames.npy and the log of what is in it."""

    def __init__(self, out: Path, config: Config) -> None:
        self.out, self.config = out, config
        self.path, self.part = out / FRAMES, out / f"{FRAMES}.part"
        self.records = _read_progress(out / PROGRESS)

    def key(self, video: RawVideo) -> str:
        """Equal keys, equal pixels."""
        parts = [FORMAT, video.version, self.config.height, self.config.width]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]

    def is_done(self, videos: Sequence[RawVideo]) -> bool:
        """Whether the file holds these videos, whole, and no other."""
        whole = self.path.is_file() and self.path.stat().st_size == self._end
        return whole and {v.name: self.key(v) for v in videos} == {
            name: record.key for name, record in self.records.items()
        }

    def make(self, videos: Sequence[RawVideo], workers: int | None = None) -> None:
        """Read the videos that are not in the file yet, in several processes.

        Raises:
            InputError: The folder cannot be written.
        """
        keys = {video.name: self.key(video) for video in videos}
        self._open(keys)
        missing = [video for video in videos if video.name not in self.records]
        workers = min(workers or os.cpu_count() or 1, max(1, len(missing)))
        try:
            with (
                self.part.open("r+b") as frames,
                (self.out / PROGRESS).open("a", encoding="utf-8") as progress,
                tqdm(total=len(missing), unit="video", desc="Reading", mininterval=0.5) as bar,
            ):
                frames.seek(0, os.SEEK_END)
                for record, pixels in _read_all(missing, keys, workers):
                    self._append(frames, progress, record, pixels)
                    bar.update()
        except OSError as error:
            raise InputError(
                f"Expected to write {self.part}, got: {error.strerror or error}. Free some space, "
                "or name another folder with --out, and run step 1 again: it goes on."
            ) from None
        self._finish()

    def read(self) -> NDArray[np.uint8]:
        """The frames, (F, H, W) uint8, as a memory map."""
        return np.load(self.path, mmap_mode="r")

    def masks_of(self, record: VideoRecord) -> dict[int, NDArray[np.uint8]]:
        """The masks that came with a video: by frame (H, W) uint8 {0, 1}."""
        shape = self.config.height, self.config.width
        return {
            int(frame): np.unpackbits(
                np.frombuffer(bytes.fromhex(text), np.uint8), count=shape[0] * shape[1]
            ).reshape(shape)
            for frame, text in record.masks.items()
        }

    @property
    def _count(self) -> int:
        """Frames that the log names."""
        return max((record.end for record in self.records.values()), default=0)

    @property
    def _end(self) -> int:
        """Bytes of the file with these frames."""
        return HEADER_BYTES + self._count * self.config.height * self.config.width

    def _open(self, keys: dict[str, str]) -> None:
        """Make the unfinished file hold exactly the frames that the log names."""
        if any(keys.get(name) != record.key for name, record in self.records.items()):
            log.info("Videos or settings have changed: all frames are read again.")
            self._clear()
        if self.path.is_file() and not self.part.is_file():
            self.path.replace(self.part)
        if not self.part.is_file() or self.part.stat().st_size < self._end:
            self._clear()
            write_bytes(self.part, bytes(HEADER_BYTES))
        os.truncate(self.part, self._end)
        write_bytes(self.out / PROGRESS, "".join(map(_line, self.records.values())).encode())

    def _clear(self) -> None:
        self.records = {}
        for path in (self.path, self.part):
            path.unlink(missing_ok=True)

    def _append(
        self, frames: BinaryIO, progress: Any, record: VideoRecord, pixels: NDArray[np.uint8]
    ) -> None:
        frames.write(np.ascontiguousarray(pixels).tobytes())
        frames.flush()
        record = VideoRecord(**{**vars(record), "first": self._count, "count": len(pixels)})
        progress.write(_line(record))
        progress.flush()
        self.records[record.name] = record

    def _finish(self) -> None:
        shape = (self._count, self.config.height, self.config.width)
        with self.part.open("r+b") as file:
            file.write(_header(shape))
        self.part.replace(self.path)


def check_space(out: Path, videos: Sequence[RawVideo], config: Config) -> None:
    """Refuse to start what the disk cannot hold.

    Raises:
        InputError: The folder cannot be made, or lacks space for the videos' listed frames.
    """
    frames = sum(v.frame_count for v in videos if math.isfinite(v.frame_count))
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"Expected to make the folder {out}, got: {error.strerror}.") from None
    there = sum(p.stat().st_size for p in out.glob(f"{FRAMES}*"))
    needed, free = frames * config.height * config.width - there, shutil.disk_usage(out).free
    if free < needed:
        raise InputError(
            f"Expected {needed / 1e6:.0f} MB of free space in {out}, got {free / 1e6:.0f} MB. Free "
            "some, or name another folder with --out."
        )


def mean_and_std(records: Sequence[VideoRecord], config: Config) -> tuple[float, float]:
    """Mean and standard deviation of the videos' grey values, 0 to 255."""
    count = sum(r.count for r in records) * config.height * config.width
    mean = sum(r.total for r in records) / count
    variance = sum(r.total_squares for r in records) / count - mean**2
    return round(mean, 4), round(math.sqrt(max(variance, 1e-6)), 4)


def _read_all(videos: Sequence[RawVideo], keys: dict[str, str], workers: int) -> Any:
    """Yields (record, frames) in order; at most `workers` + 2 videos are in memory."""
    if workers == 1 or len(videos) < 2:
        for video in videos:
            yield _read(video, keys[video.name])
        return
    pending: deque[Future[Any]] = deque()
    with worker_pool(workers) as pool:
        try:
            for video in videos:
                pending.append(pool.submit(_read, video, keys[video.name]))
                if len(pending) > workers + 1:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _read(video: RawVideo, key: str) -> tuple[VideoRecord, NDArray[np.uint8]]:
    try:
        clip: Clip = video.read()
        if not len(clip.frames):
            raise InputError("expected frames, got none")
    except InputError as error:
        return VideoRecord(video.name, key, reason=str(error)), np.empty((0, 0, 0), np.uint8)
    matrix = clip.to_network
    if matrix is not None and np.allclose(matrix, [[1, 0, 0], [0, 1, 0]]):
        matrix = None
    values = np.arange(256, dtype=np.float64)
    counts = np.bincount(clip.frames.ravel(), minlength=256)
    record = VideoRecord(
        video.name,
        key,
        fps=clip.fps if math.isfinite(clip.fps) else 0.0,
        spacing_mm=clip.spacing_mm if math.isfinite(clip.spacing_mm) else 0.0,
        to_network=None if matrix is None else matrix.tolist(),
        masks={str(k): np.packbits(mask).tobytes().hex() for k, mask in clip.masks.items()},
        times_s=None if clip.times_s is None else clip.times_s.tolist(),
        total=float(counts @ values),
        total_squares=float(counts @ values**2),
    )
    return record, clip.frames


def _header(shape: tuple[int, ...]) -> bytes:
    """The header of a .npy file of uint8, HEADER_BYTES long (NumPy's NEP 1, version 1.0)."""
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}"
    start = b"\x93NUMPY\x01\x00" + (HEADER_BYTES - 10).to_bytes(2, "little")
    return start + text.ljust(HEADER_BYTES - 11).encode("latin1") + b"\n"


def _line(record: VideoRecord) -> str:
    return json.dumps(asdict(record), ensure_ascii=False) + "\n"


def _read_progress(path: Path) -> dict[str, VideoRecord]:
    records: dict[str, VideoRecord] = {}
    if not path.is_file():
        return records
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = VideoRecord(**json.loads(line))
        except (ValueError, TypeError):  # half a line, or another version's
            continue
        records[record.name] = record
    return records
