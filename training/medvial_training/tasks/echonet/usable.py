"""Which videos train something, and what is odd about them."""

import logging
import math
from collections.abc import Sequence

from medvial_training.tasks.echonet.frame_store import FrameStore
from medvial_training.tasks.echonet.masks import TracedFrame, traced_frames
from medvial_training.tasks.echonet.sources import RawVideo

log = logging.getLogger(__name__)

SAME_RATE = 0.02  # relative difference of two frame rates that rounding explains


def usable_videos(
    videos: Sequence[RawVideo], store: FrameStore, rejected: list[tuple[str, str]]
) -> tuple[list[RawVideo], dict[str, list[TracedFrame]]]:
    """The videos that train something, and their traced frames; the others go to `rejected`."""
    rejected += [(r.name, r.reason) for r in store.records.values() if r.reason]
    readable = [v for v in videos if not store.records[v.name].reason]
    _compare_with_list(readable, store, rejected)
    traces = {v.name: traced_frames(v, store, rejected) for v in readable}
    return [v for v in readable if traces[v.name] or math.isfinite(v.ef)], traces


def _compare_with_list(
    videos: Sequence[RawVideo], store: FrameStore, rejected: list[tuple[str, str]]
) -> None:
    """Name videos that are damaged or lack frames, and warn of rates other than the files'."""
    other_rate = []
    for video in videos:
        record = store.records[video.name]
        rejected += [(video.name, f"{n.rstrip('.')}; used as it is") for n in record.notes]
        if record.count < video.frame_count:
            reason = f"{video.frame_count:g} frames are listed, the file has {record.count}"
            rejected.append((video.name, f"{reason}; used as it is"))
        even = record.times_s is None  # else the file's own times are used, whatever is listed
        if even and video.fps > 0 and abs(record.fps / video.fps - 1) > SAME_RATE:
            other_rate.append(f"{video.name} ({video.fps:g}, its file {record.fps:g})")
    if other_rate:
        log.warning(
            "%d video(s) list another FPS than their files have, %s first; the listed one is used "
            "here, the container will take the file's.",
            len(other_rate),
            other_rate[0],
        )
