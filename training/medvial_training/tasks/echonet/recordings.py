"""The prepared videos of a split, as evaluation reads them: one at a time, from memory maps."""

from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medvial.echonet.clips import Rate
from medvial.errors import InputError
from medvial_training.splits import load_splits

Split = Literal["train", "valid", "test"]
VIDEO_COLUMNS = ("video", "first", "count", "fps", "ef", "edv", "esv", "spacing_mm")


@dataclass(frozen=True)
class Trace:
    """A frame that an expert has traced."""

    frame: int
    """Its number in the video, from 0."""
    phase: str
    """ED (the larger) or ES (the smaller)."""
    mask: int
    """Its row in masks.npy."""


@dataclass(frozen=True)
class Recording:
    """One video and what is known of it; NaN = unknown."""

    video: str
    patient: str
    group: str
    """Videos that must stay together: of a patient, or near-duplicates."""
    first: int
    """Row of its first frame in frames.npy."""
    count: int
    """Frames."""
    fps: float
    ef: float
    """True ejection fraction, percent."""
    edv: float
    """True end-diastolic volume, mL."""
    esv: float
    spacing_mm: float
    """Side of a pixel."""
    traces: tuple[Trace, ...] = ()
    times_s: NDArray[np.float64] | None = field(default=None, compare=False)
    """(count,) seconds from the first frame, where the frames do not come evenly."""

    @property
    def rate(self) -> Rate:
        """What clips are sampled by: uneven times, else frames per second."""
        return self.fps if self.times_s is None else self.times_s

    @property
    def is_cine(self) -> bool:
        """Whether these are the frames of a film, not single frames such as ED and ES."""
        return self.count > max(2, len(self.traces))

    def trace(self, phase: str) -> Trace | None:
        """The traced frame of a phase, None if there is none."""
        return next((t for t in self.traces if t.phase == phase), None)


class Recordings:
    """The videos of a split of a folder that step 1 wrote."""

    def __init__(self, data: Path, split: Split) -> None:
        """Read the tables and open the frames, which stay on disk.

        Raises:
            InputError: A file is missing, a table lacks a column or does not fit the frames, or
                two splits share a patient or a video.
        """
        self._frames = _open_array(data / "frames.npy")
        self._masks = _open_array(data / "masks.npy")
        members = load_splits(data)[split]
        videos = _read(data / "videos.csv", VIDEO_COLUMNS)
        traces = _traces(data)
        known = videos.set_index("video")
        missing = [name for name in members["image_id"] if name not in known.index]
        if missing:
            raise InputError(
                f"Expected every video of {split}.csv in {data / 'videos.csv'}, got none for "
                f"{', '.join(missing[:3])}. Run step 1 again."
            )
        self.all = [
            _recording(row, known.loc[row["image_id"]], traces.get(row["image_id"], ()))
            for row in members.to_dict("records")
        ]
        self._check(data)
        self.all = _with_times(self.all, data / "times.npy", len(self._frames))

    def frames(self, recording: Recording) -> NDArray[np.uint8]:
        """(T, H, W) uint8, grey; a view of the memory map."""
        return self._frames[recording.first : recording.first + recording.count]

    def mask(self, trace: Trace) -> NDArray[np.bool_]:
        """(H, W), true inside the traced left ventricle."""
        return np.asarray(self._masks[trace.mask]) != 0

    def _check(self, data: Path) -> None:
        for recording in self.all:
            end = recording.first + recording.count
            inside = recording.first >= 0 and end <= len(self._frames)
            rows = [t.mask for t in recording.traces]
            if not inside or any(not 0 <= row < len(self._masks) for row in rows):
                raise InputError(
                    f"Expected the frames and masks of {recording.video} in {data}, got "
                    f"{len(self._frames)} frames and {len(self._masks)} masks in all. The folder "
                    "is incomplete: run step 1 again."
                )


def _traces(data: Path) -> dict[str, tuple[Trace, ...]]:
    """Traced frames by video, in order of the table."""
    table = _read(data / "traces.csv", ("video", "frame", "phase", "mask"))
    return {
        str(video): tuple(
            Trace(int(r["frame"]), str(r["phase"]), int(r["mask"])) for r in rows.to_dict("records")
        )
        for video, rows in table.groupby("video")
    }


def _recording(row: dict[Hashable, Any], known: Any, traces: tuple[Trace, ...]) -> Recording:
    return Recording(
        video=row["image_id"],
        patient=str(row["patient"]),
        group=str(row["group"]),
        first=int(known["first"]),
        count=int(known["count"]),
        fps=float(known["fps"]),
        ef=float(known["ef"]),
        edv=float(known["edv"]),
        esv=float(known["esv"]),
        spacing_mm=float(known["spacing_mm"]),
        traces=traces,
    )


def _with_times(recordings: list[Recording], path: Path, count: int) -> list[Recording]:
    """Recordings with their uneven times; without the file all come evenly."""
    if not path.is_file():
        return recordings
    try:
        times_s: NDArray[np.float64] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        times_s = np.empty(0)
    if times_s.shape != (count,):
        raise InputError(f"Expected {path} as step 1 writes it. Run step 1 again.")
    own = [times_s[r.first : r.first + r.count] for r in recordings]
    return [
        r if np.isnan(times).any() else replace(r, times_s=times)
        for r, times in zip(recordings, own, strict=True)
    ]


def _read(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    text = {name: str for name in ("video", "patient", "group", "phase")}
    try:
        table = pd.read_csv(path, dtype=text)
    except (OSError, ValueError) as error:
        raise InputError(f"Expected the table {path} that step 1 writes, got: {error}.") from None
    missing = [name for name in columns if name not in table]
    if missing:
        raise InputError(f"Expected the columns {', '.join(columns)} in {path}, got no {missing}.")
    return table


def _open_array(path: Path) -> NDArray[np.uint8]:
    try:
        array: NDArray[np.uint8] = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise InputError(
            f"Expected {path}, which step 1 writes, got: {error.strerror or error}. Run step 1."
        ) from None
    except (ValueError, EOFError):
        raise InputError(
            f"Expected {path} as step 1 writes it, got a damaged file. Run step 1 again."
        ) from None
    if array.ndim != 3 or array.dtype != np.uint8:
        raise InputError(
            f"Expected frames (N, H, W) of uint8 in {path}, got {array.shape} of {array.dtype}."
        )
    return array
