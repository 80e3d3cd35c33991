"""The traced frames of the videos, as masks."""

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medvial.errors import InputError
from medvial.outputs import write_bytes
from medvial_training.tables import write_csv
from medvial_training.tasks.echonet.frame_store import FrameStore, VideoRecord
from medvial_training.tasks.echonet.sources import RawVideo
from medvial_training.tasks.echonet.tracings import tracing_mask

MASKS, TRACES = "masks.npy", "traces.csv"


@dataclass(frozen=True)
class TracedFrame:
    """End-diastole or end-systole of a video."""

    frame: int
    """Index within the video."""
    phase: str
    """ED or ES."""
    mask: NDArray[np.uint8]
    """(H, W) {0, 1}."""


def traced_frames(
    video: RawVideo, store: FrameStore, rejected: list[tuple[str, str]]
) -> list[TracedFrame]:
    """End-diastole and end-systole of a video: its largest and its smallest traced ventricle.

    The order of the rows says nothing: the area does. What cannot be used is added to `rejected`.

    Returns:
        Two frames, end-diastole first; none where there are not two that can be used.
    """
    record = store.records[video.name]
    masks = store.masks_of(record) or _from_tracings(video, record, store, rejected)
    if len(masks) < 2:
        if video.tracings:
            rest = "; used for the ejection fraction alone" if math.isfinite(video.ef) else ""
            reason = f"expected 2 traced frames that can be used, got {len(masks)}{rest}"
            rejected.append((video.name, reason))
        elif math.isnan(video.ef):
            rejected.append((video.name, "neither an ejection fraction nor a tracing"))
        return []
    by_area = sorted(masks, key=lambda frame: int(masks[frame].sum()))
    largest, smallest = by_area[-1], by_area[0]
    for frame in by_area[1:-1]:
        reason = f"frame {frame}: traced beside the largest and the smallest; not used"
        rejected.append((video.name, reason))
    return [
        TracedFrame(largest, "ED", masks[largest]),
        TracedFrame(smallest, "ES", masks[smallest]),
    ]


def _from_tracings(
    video: RawVideo, record: VideoRecord, store: FrameStore, rejected: list[tuple[str, str]]
) -> dict[int, NDArray[np.uint8]]:
    height, width = store.config.height, store.config.width
    matrix = None if record.to_network is None else np.array(record.to_network)
    masks = {}
    for frame, rows in video.tracings.items():
        try:
            if frame >= record.count:
                raise InputError(f"the video has {record.count} frames")
            masks[frame] = tracing_mask(rows, height, width, matrix)
        except InputError as error:
            rejected.append((video.name, f"tracing of frame {frame}: {error}"))
    return masks


def write_masks(
    out: Path, videos: Sequence[RawVideo], traces: Mapping[str, Sequence[TracedFrame]]
) -> None:
    """Write masks.npy, (M, H, W) uint8 {0, 1}, and traces.csv, which says whose they are."""
    rows: list[list[Any]] = []
    masks: list[NDArray[np.uint8]] = []
    for video in videos:
        for trace in traces[video.name]:
            rows.append([video.name, trace.frame, trace.phase, len(masks)])
            masks.append(trace.mask)
    content = io.BytesIO()
    np.save(content, np.stack(masks) if masks else np.empty((0, 1, 1), np.uint8))
    write_bytes(out / MASKS, content.getvalue())
    write_csv(out / TRACES, ["video", "frame", "phase", "mask"], rows)
