"""Prepared films on disk, made once each: an interrupted run goes on where it stopped."""

import hashlib
import json
import logging
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from medvial.cldetection.config import Config
from medvial.cldetection.preprocess import Geometry, preprocess
from medvial.errors import InputError
from medvial.image_headers import read_image_size
from medvial.outputs import write_bytes
from medvial.stacks import Slice
from medvial_training.tasks.cldetection.sources import RawData, RawFilm

log = logging.getLogger(__name__)

IMAGES, PROGRESS = "images", "progress.jsonl"
_MOST_WORKERS = 4  # reading a stack, one film after the other, keeps no more of them busy
FORMAT = 1  # count up when the same film and settings give other pixels


@dataclass(frozen=True)
class FilmRecord:
    """What became of a film."""

    image_id: str
    key: str
    """Changes with the film's file and with every setting its pixels depend on."""
    geometry: Geometry | None = None
    """None where the film could not be used."""
    reason: str = ""
    """Why it could not be used."""
    pixels: int = 0
    """Prepared pixels inside the film, without padding."""
    total: float = 0.0
    """Sum of the grey values of these pixels, each 0 to 1."""
    total_squares: float = 0.0


class FilmStore:
    """The folder images/ and the log of what was made for it."""

    def __init__(self, out: Path, config: Config) -> None:
        self.out, self.config = out, config
        self.records = _read_progress(out / PROGRESS)

    def path(self, image_id: str) -> Path:
        """The prepared film."""
        return self.out / IMAGES / f"{image_id}.png"

    def read(self, image_id: str) -> NDArray[np.uint8]:
        """A film that was made, `film_size` uint8.

        Raises:
            InputError: Its file is damaged.
        """
        data = np.fromfile(self.path(image_id), dtype=np.uint8)
        grey = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE) if data.size else None
        height, width = self.config.film_size
        if grey is None or grey.shape != (height, width):
            raise InputError(
                f"Expected a film of {width} x {height} pixels in {self.path(image_id)}, it is "
                "damaged. Delete it and run step 1 again."
            )
        return grey.astype(np.uint8, copy=False)

    def key(self, film: RawFilm, mirrored: bool) -> str:
        """Equal keys, equal pixels."""
        config = self.config
        size = config.height, config.width, config.detail
        parts = [FORMAT, film.version, mirrored, *size, config.fit]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]

    def is_done(self, image_id: str, key: str) -> bool:
        """Whether the film was made from the same file with the same settings."""
        record = self.records.get(image_id)
        if record is None or record.key != key:
            return False
        return record.geometry is None or self.path(image_id).is_file()

    def remove_others(self, image_ids: Iterable[str]) -> None:
        """Delete films that an earlier run made of other data."""
        for image_id in set(self.records) - set(image_ids):
            self.path(image_id).unlink(missing_ok=True)

    def check_space(self, count: int) -> None:
        """Refuse to start what the disk cannot hold.

        Films of this size that an earlier run left are kept, replaced or deleted: none of them
        asks for more room.

        Raises:
            InputError: The folder cannot be written, or lacks space for the films that are
                missing to `count`.
        """
        probe = self.out / IMAGES / ".probe"
        write_bytes(probe, b"")
        probe.unlink()
        size = self.config.film_size
        made = sum(_has_size(path, size) for path in (self.out / IMAGES).glob("*.png"))
        missing = max(0, count - made)
        needed = missing * size[0] * size[1]  # a PNG is hardly ever larger
        free = shutil.disk_usage(self.out).free
        if free < needed:
            raise InputError(
                f"Expected {needed / 1e6:.0f} MB of free space for {missing} films in {self.out}, "
                f"got {free / 1e6:.0f} MB. Free some, or name another folder with --out."
            )

    def make(self, raw: RawData, mirrored: dict[str, bool], workers: int | None = None) -> None:
        """Make the films that are not there yet.

        The films are read here and resized in threads (OpenCV lets go of Python's lock); at most
        `workers` + 2 of them are in memory.

        Args:
            raw: The films.
            mirrored: Per film whether to mirror it left to right.
            workers: Threads; None takes one per core, 4 at most: memory grows with them.
        """
        keys = {film.image_id: self.key(film, mirrored[film.image_id]) for film in raw.films}
        wanted = {name for name, key in keys.items() if not self.is_done(name, key)}
        if not wanted:
            return
        workers = workers or min(_MOST_WORKERS, os.cpu_count() or 1)
        pending: deque[Future[FilmRecord]] = deque()
        with (
            _appending(self.out / PROGRESS) as progress,
            tqdm(total=len(wanted), unit="film", desc="Preparing", mininterval=0.5) as bar,
            ThreadPoolExecutor(workers) as pool,
        ):

            def finish_oldest() -> None:
                record = pending.popleft().result()
                self.records[record.image_id] = record
                progress.write(_to_line(record))
                progress.flush()
                bar.update()

            try:
                for film, load in raw.read(wanted):
                    name = film.image_id
                    pending.append(pool.submit(self._make, name, keys[name], load, mirrored[name]))
                    del load  # it may hold the pixels
                    if len(pending) > workers:
                        finish_oldest()
                while pending:
                    finish_oldest()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _make(
        self, image_id: str, key: str, load: Callable[[], Slice], mirrored: bool
    ) -> FilmRecord:
        try:
            pixels = load()
            if isinstance(pixels, InputError):
                raise pixels
            grey, geometry = preprocess(pixels, self.config, mirrored=mirrored)
        except InputError as error:
            self.path(image_id).unlink(missing_ok=True)
            return FilmRecord(image_id, key, reason=str(error))
        write_bytes(self.path(image_id), cv2.imencode(".png", grey)[1].tobytes())
        content = _content(grey, geometry, self.config.detail) / 255.0
        return FilmRecord(
            image_id,
            key,
            geometry,
            pixels=content.size,
            total=float(content.sum()),
            total_squares=float((content**2).sum()),
        )


def mean_and_std(records: Iterable[FilmRecord]) -> tuple[float, float]:
    """Mean and standard deviation of the films' grey values, 0 to 1, their padding left out."""
    used = [record for record in records if record.pixels]
    count = sum(record.pixels for record in used)
    mean = sum(record.total for record in used) / count
    variance = sum(record.total_squares for record in used) / count - mean**2
    return round(mean, 6), round(max(variance, 1e-12) ** 0.5, 6)


def _has_size(path: Path, size: tuple[int, int]) -> bool:
    try:
        return read_image_size(path)[:2] == size
    except (InputError, OSError):  # damaged: made again
        return False


def _content(grey: NDArray[np.uint8], geometry: Geometry, detail: int) -> NDArray[np.uint8]:
    """The part of a prepared film that is not padding."""
    width = detail * round(geometry.content_width * geometry.scale_x)
    height = detail * round(geometry.content_height * geometry.scale_y)
    top, left = detail * geometry.offset_y, detail * geometry.offset_x
    return grey[top : top + height, left : left + width]


def _appending(path: Path) -> Any:
    """Open the log, after the end of a line that an interrupted run may have left half."""
    try:
        whole = not path.is_file() or path.read_bytes()[-1:] in (b"", b"\n")
        file = path.open("a", encoding="utf-8")
        if not whole:
            file.write("\n")
    except OSError as error:
        raise InputError(f"Expected to write {path}, got: {error.strerror}.") from None
    return file


def _to_line(record: FilmRecord) -> str:
    values = vars(record) | {"geometry": record.geometry and record.geometry.as_dict()}
    return json.dumps(values, ensure_ascii=False) + "\n"


def _read_progress(path: Path) -> dict[str, FilmRecord]:
    records: dict[str, FilmRecord] = {}
    if not path.is_file():
        return records
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            values = json.loads(line)
            values["geometry"] = values["geometry"] and Geometry(**values["geometry"])
            record = FilmRecord(**values)
        except (ValueError, TypeError, KeyError):  # half a line, or another version's
            continue
        records[record.image_id] = record
    return records
