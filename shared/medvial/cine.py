"""What every cine has, whatever file it comes from: what is known of it, and its frames."""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from medvial.errors import InputError

if TYPE_CHECKING:
    from medvial.metaimage_writer import ImageGeometry

DEFAULT_FPS = 30.0
"""Taken where a file says nothing usable; `CineInfo.fps_known` is False then."""
FPS_RANGE = (1.0, 1000.0)  # outside it, what a file says is a mistake or another unit
MIN_SIDE_PX = 16  # smaller frames show nothing
MAX_FRAME_PIXELS = 50_000_000  # 6 times 8K video; refused before memory is taken
SCALING_FRAMES = 32  # frames that the range of a cine of more than 8 bit is taken from
SCALING_PERCENTILES = (0.1, 99.9)
_SAMPLE_BYTES, _MIN_SAMPLE = 150_000_000, 4  # of a sample of frames at any time

Frame = NDArray[np.uint8]
TimedPixels = tuple[float, NDArray[Any]]
Reader = Callable[[int], Generator[TimedPixels | InputError, None, None]]
"""Gives, of every n-th frame, its time in seconds and pixels, or what is wrong with it.

Pixels are (H, W) or (H, W, 3) RGB; uint8, or any integers of more bits.
"""


@dataclass(frozen=True)
class CineInfo:
    """What is known of a cine; exact in number and times once all of it has been read."""

    path: Path
    kind: str
    """The file's format: "avi", "mp4", "matroska", …, "mha", "tiff", "dicom"."""
    height: int
    width: int
    """Of a frame as it comes: rotated and with square pixels where the video asks for it."""
    frame_count: int | None
    """Frames that the file seems to hold; None where that takes decoding it."""
    fps: float
    """Frames per second; of a variable rate, the usual one."""
    fps_known: bool = True
    """False where the file does not say it and `DEFAULT_FPS` was taken."""
    frame_times_s: tuple[float, ...] | None = None
    """Time of each frame from the first on, in seconds; None where that takes decoding it."""
    stored_count: int | None = None
    """Frames that the file was written with, damaged ones too; None where it does not say."""
    frame_places: tuple[int, ...] | None = None
    """Place in the file of each frame that could be decoded, from 0; None until all was read."""
    spacing_mm: tuple[float, float] | None = None
    """Size (x, y) of a pixel in the image plane; None is uncalibrated."""
    calibration_note: str | None = None
    """Where `spacing_mm` comes from, or why there is none."""
    heart_rate_bpm: float | None = None
    """As the file says; None where it says nothing or 0."""
    region: tuple[int, int, int, int] | None = None
    """Ultrasound region (x0, y0, x1, y1) in pixels of a frame, x1 and y1 not in it."""
    colour_doppler: bool = False
    """Whether the file says that colour Doppler lies over the tissue."""
    notes: tuple[str, ...] = ()
    """What was found and mended, or is missing; one sentence each."""
    origin_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    direction: tuple[tuple[float, float, float], ...] = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
    """Of image stacks: world coordinates (x, y, z) of the first pixel; axes as columns."""
    stack_spacing_mm: tuple[float, float, float] | None = None
    """Of image stacks: the header's spacing (x, y, z), whatever its z means."""

    @property
    def slice_count(self) -> int:
        """Frames of the file, those in it that cannot be decoded too; exact once it was read."""
        read = self.frame_places[-1] + 1 if self.frame_places else self.frame_count
        return max(self.stored_count or 1, read or 1)

    @property
    def geometry(self) -> "ImageGeometry":
        """Geometry of an image with one slice a frame: the input's own where it is a stack.

        For other files x and y are `spacing_mm` or 1, and z is the time of a frame in
        milliseconds.
        """
        from medvial.metaimage_writer import ImageGeometry

        x_mm, y_mm = self.spacing_mm or (1.0, 1.0)
        return ImageGeometry(
            size_xyz=(self.width, self.height, self.slice_count),
            spacing_mm=self.stack_spacing_mm or (x_mm, y_mm, 1000.0 / self.fps),
            origin_mm=self.origin_mm,
            direction=self.direction,  # type: ignore[arg-type]  # three rows
        )


class Cine:
    """A cine that is read anew, one frame in memory at a time, each time it is iterated.

    A frame is (H, W) grey or (H, W, 3) RGB, uint8. Cines of more than 8 bit are scaled linearly
    between two percentiles of a sample of their frames. A frame that cannot be decoded is left
    out, and `info.notes` says so once the cine has been read to its end; the times of the others
    stay what they were.
    """

    def __init__(self, info: CineInfo, reader: Reader) -> None:
        self.info = info
        self._reader = reader
        self._range: tuple[float, float] | None = None
        self._opened_notes = info.notes
        self._running: Generator[Frame, None, None] | None = None

    def __iter__(self) -> Iterator[Frame]:
        self.close()
        self._running = self._frames()
        return self._running

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, if it is being read."""
        if self._running is not None:
            self._running.close()
            self._running = None

    def every(self, step: int) -> Iterator[tuple[float, Frame]]:
        """Time in seconds from the first frame on, and pixels, of every `step`th frame.

        Frames that cannot be decoded are left out; `info` is not brought up to date by it.

        Raises:
            InputError: Not one frame can be decoded.
        """
        found = False
        for item in self._reader(step):
            if isinstance(item, InputError) or item[1].shape[:2] != self._shape:
                continue
            found = True
            yield item[0], self._to_8_bit(item[1])
        if not found:
            raise InputError(f"{self.info.path}: expected frames, not one can be decoded.")

    def sample(self, count: int) -> list[Frame]:
        """Up to `count` frames, spread evenly over the whole cine; fewer of very large ones.

        Raises:
            InputError: Not one frame can be decoded.
        """
        return [self._to_8_bit(pixels) for pixels in self._sample(count)]

    def _sample(self, count: int) -> list[NDArray[Any]]:
        """Some frames as stored; thinned out as they come, for the stated length may be wrong."""
        bytes_each = 3 * self.info.height * self.info.width
        count = max(_MIN_SAMPLE, min(count, _SAMPLE_BYTES // (2 * bytes_each)))
        stride = max(1, (self.info.frame_count or 1) // count)
        kept: list[NDArray[Any]] = []
        thinned, seen = 1, 0
        for item in self._reader(stride):
            if isinstance(item, InputError) or item[1].shape[:2] != self._shape:
                continue
            if seen % thinned == 0:
                kept.append(item[1])
            seen += 1
            if len(kept) >= 2 * count:
                kept, thinned = kept[::2], 2 * thinned
        if not kept:
            raise InputError(f"{self.info.path}: expected frames, not one can be decoded.")
        return [kept[i] for i in np.linspace(0, len(kept) - 1, min(count, len(kept))).astype(int)]

    def _frames(self) -> Generator[Frame, None, None]:
        times: list[float] = []
        places: list[int] = []
        lost: list[str] = []
        for place, item in enumerate(self._reader(1)):
            if isinstance(item, InputError):
                lost.append(str(item))
                continue
            time_s, pixels = item
            if pixels.shape[:2] != self._shape:
                lost.append(f"A frame of another size, {pixels.shape[1]} x {pixels.shape[0]}")
                continue
            times.append(time_s)
            places.append(place)
            yield self._to_8_bit(pixels)
        if not times:
            why = f": {lost[0]}" if lost else "."
            raise InputError(f"{self.info.path}: expected frames, not one can be decoded{why}")
        notes = self._opened_notes
        if lost:
            notes += (f"Damaged: {len(times)} frames could be read, not all. {lost[0]}",)
        self.info = replace(
            self.info,
            frame_count=len(times),
            frame_times_s=from_zero(times),
            frame_places=tuple(places),
            notes=notes,
        )

    @property
    def _shape(self) -> tuple[int, int]:
        return self.info.height, self.info.width

    def _to_8_bit(self, pixels: NDArray[Any]) -> Frame:
        if pixels.dtype == np.uint8:
            return pixels
        if self._range is None:
            self._range = robust_range(self._sample(SCALING_FRAMES))
            low, high = self._range
            self._opened_notes += (
                f"More than 8 bit a pixel: values {low:g} to {high:g} (0.1 and 99.9 percentiles "
                "of the cine) were scaled to 0 to 255.",
            )
        low, high = self._range
        scaled = (pixels.astype(np.float32) - low) * (255.0 / max(high - low, 1e-6))
        return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def robust_range(frames: Sequence[NDArray[Any]]) -> tuple[float, float]:
    """Values at `SCALING_PERCENTILES` of all frames; the extremes where those are the same."""
    values = np.stack([frame[::2, ::2] if min(frame.shape[:2]) > 64 else frame for frame in frames])
    low, high = np.percentile(values, SCALING_PERCENTILES)
    if high <= low:
        low, high = values.min(), values.max()
    return float(low), float(high)


def from_zero(times_s: Sequence[float]) -> tuple[float, ...]:
    """Times counted from the first."""
    return tuple(time - times_s[0] for time in times_s)


def usual_fps(times_s: Sequence[float]) -> float | None:
    """Frames per second of increasing times: mean of the intervals near the median one.

    The median alone would carry the rounding of time stamps to milliseconds, the mean alone a gap.
    None where there are fewer than two frames or the rate is outside `FPS_RANGE`.
    """
    intervals = np.diff(np.asarray(times_s, dtype=np.float64))
    if intervals.size == 0 or (median := float(np.median(intervals))) <= 0:
        return None
    near = intervals[np.abs(intervals - median) <= median / 2]
    return plausible_fps(1.0 / float(near.mean()))


def plausible_fps(fps: float | None) -> float | None:
    """The frame rate, or None where it is none that a cine can have."""
    if fps is None or not np.isfinite(fps) or not FPS_RANGE[0] <= fps <= FPS_RANGE[1]:
        return None
    return float(fps)


def check_frame_size(path: Path, height: int, width: int) -> None:
    """Refuse frames that cannot be a cine's.

    Raises:
        InputError: Below `MIN_SIDE_PX` or above `MAX_FRAME_PIXELS`.
    """
    if min(height, width) < MIN_SIDE_PX:
        raise InputError(
            f"{path}: expected frames of at least {MIN_SIDE_PX} x {MIN_SIDE_PX} pixels, got "
            f"{width} x {height} (width x height)."
        )
    if height * width > MAX_FRAME_PIXELS:
        raise InputError(
            f"{path}: expected frames of at most {MAX_FRAME_PIXELS} pixels, got {width} x "
            f"{height} (width x height). Is it damaged? Otherwise scale it down."
        )


def unknown_fps_note(why: str) -> str:
    """The note of a cine whose frame rate was assumed."""
    return (
        f"{why}: {DEFAULT_FPS:g} frames per second were assumed, and times and rates follow from "
        "that. Give the frame rate (fps)."
    )
