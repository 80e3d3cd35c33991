"""All frames of all videos in one memory-mapped file of NumPy's format."""

import hashlib
import json
import logging
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medvial.echonet.config import Config
from medvial.errors import InputError
from medvial_training.frame_store import GrowingFile
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
    notes: list[str] = field(default_factory=list)
    """What is damaged or odd about the file."""
    total: float = 0.0
    """Sum of its grey values."""
    total_squares: float = 0.0

    @property
    def end(self) -> int:
        """One past its last frame in the file of all frames."""
        return self.first + self.count


class FrameStore(GrowingFile[VideoRecord]):
    """frames.npy and the log of what is in it; any change of what is wanted reads all again."""

    header_bytes = HEADER_BYTES

    def __init__(self, out: Path, config: Config) -> None:
        super().__init__(out / FRAMES, out / PROGRESS, VideoRecord)
        self.out, self.config = out, config

    def key(self, video: RawVideo) -> str:
        """Equal keys, equal pixels."""
        parts = [FORMAT, video.version, self.config.height, self.config.width]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]

    def is_done(self, videos: Sequence[RawVideo]) -> bool:
        """Whether the file holds these videos, whole, and no other."""
        return self.holds({video.name: self.key(video) for video in videos})

    def make(self, videos: Sequence[RawVideo], workers: int | None = None) -> None:
        """Read the videos that are not in the file yet, in several processes.

        Raises:
            InputError: The folder cannot be written.
        """
        keys = {video.name: self.key(video) for video in videos}
        jobs = [(video, keys[video.name]) for video in videos]
        self.make_from(jobs, _read_job, keys, [video.name for video in videos], workers)

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

    def end_of(self, record: VideoRecord) -> int:
        """One past the video's last byte in the file."""
        return HEADER_BYTES + record.end * self.config.height * self.config.width

    def placed(
        self, record: VideoRecord, pixels: NDArray[np.uint8], first_byte: int
    ) -> VideoRecord:
        """The record of a video whose frames begin at `first_byte`."""
        frame_bytes = self.config.height * self.config.width
        return replace(record, first=(first_byte - HEADER_BYTES) // frame_bytes, count=len(pixels))

    def keep(self, keys: dict[str, str]) -> dict[str, VideoRecord]:
        """All records, or none."""
        if any(keys.get(name) != record.key for name, record in self.records.items()):
            log.info("Videos or settings have changed: all frames are read again.")
            return {}
        return self.records

    def finish(self) -> None:
        """Give the file its header."""
        count = max((record.end for record in self.records.values()), default=0)
        with self.part.open("r+b") as file:
            file.write(_header((count, self.config.height, self.config.width)))


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


def _read_job(job: tuple[RawVideo, str]) -> tuple[VideoRecord, NDArray[np.uint8]]:
    return _read(*job)


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
        notes=list(clip.notes),
        total=float(counts @ values),
        total_squares=float(counts @ values**2),
    )
    return record, clip.frames


def _header(shape: tuple[int, ...]) -> bytes:
    """The header of a .npy file of uint8, HEADER_BYTES long (NumPy's NEP 1, version 1.0)."""
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}"
    start = b"\x93NUMPY\x01\x00" + (HEADER_BYTES - 10).to_bytes(2, "little")
    return start + text.ljust(HEADER_BYTES - 11).encode("latin1") + b"\n"
