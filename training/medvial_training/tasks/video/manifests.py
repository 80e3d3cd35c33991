"""The tables of step 1: splits, what was left out, and what to inspect."""

import logging
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medvial.errors import InputError
from medvial_training.clips.store import ClipStore
from medvial_training.leaks import join_groups
from medvial_training.near_duplicate_videos import VideoPair, find_near_duplicate_videos
from medvial_training.split_dealing import Fractions, group_samples
from medvial_training.splits import DUPLICATES, SPLITS
from medvial_training.tables import write_csv
from medvial_training.tasks.video.annotations import ANNOTATIONS, relative, write_annotations
from medvial_training.tasks.video.datasplit import Sample, make_datasplit
from medvial_training.tasks.video.listing import RawData, RawVideo

log = logging.getLogger(__name__)

REJECTED, INSPECTION = "rejected.csv", "splits"
COMPARED = 3000  # videos: above it, comparing each with each takes too long
COLUMNS = ("image_id", "video", "label", "patient", "group", "sha256", "frames", "seconds")


@dataclass(frozen=True)
class Listed:
    """The videos, their frames and classes, and the folder that paths are told from."""

    raw: RawData
    store: ClipStore
    labels: tuple[str, ...]
    home: Path


@dataclass(frozen=True)
class Placed:
    """A video and the split it came to."""

    video: RawVideo
    group: str
    digest: str
    split: str


def write_manifests(out: Path, data: Listed, fractions: Fractions, seed: int) -> dict[str, Any]:
    """Group and split the videos that could be read; write all tables.

    Args:
        out: The prepared folder.
        data: The videos.
        fractions: Shares of validation and test.
        seed: Of the split.

    Returns:
        Counts for source.json.

    Raises:
        InputError: No video could be read, or they cannot be split.
    """
    records, rejected = data.store.records, list(data.raw.rejected)
    rejected += [(v.name, records[v.name].reason) for v in data.raw.videos if _reason(data, v)]
    videos = [v for v in data.raw.videos if not _reason(data, v)]
    if not videos:
        raise InputError(
            f"Expected videos to use in {data.home}, got none. The first reason: {rejected[0][0]}: "
            f"{rejected[0][1]}."
        )
    digests = [_digest(data.store, video.name) for video in videos]
    copies = [*_pairs(digests), *_near_duplicates(data, videos, digests)]
    _warn_of_two_classes(videos, copies)
    groups = _groups(videos, digests, copies)
    samples = [Sample(v.name, v.label, g, v.split) for v, g in zip(videos, groups, strict=True)]
    splits = make_datasplit(samples, fractions, seed)
    rows = zip(videos, groups, digests, splits, strict=True)
    placed = [Placed(v, g, d, s) for v, g, d, s in rows if s is not None]
    rejected += [
        (v.name, f"its split is {v.split}, but its patient or group is on a later side as well")
        for v, s in zip(videos, splits, strict=True)
        if s is None
    ]
    named = [(videos[pair.first].name, videos[pair.second].name, pair.distance) for pair in copies]
    _write(out, data, placed, named, rejected)
    return {
        "videos": {split: sum(p.split == split for p in placed) for split in SPLITS},
        "classes": len(data.labels),
        "copies": len(copies),
        "rejected": len(rejected),
    }


def _reason(data: Listed, video: RawVideo) -> str:
    return data.store.records[video.name].reason


def _digest(store: ClipStore, name: str) -> str:
    """Of the frames, so that a copy in another folder or container is known again."""
    return store.sha256(name)


def _pairs(digests: Sequence[str]) -> list[VideoPair]:
    """Copies, each with the first one."""
    first: dict[str, int] = {}
    found = [(first.setdefault(digest, place), place) for place, digest in enumerate(digests)]
    return [VideoPair(a, b, 0.0) for a, b in found if a != b]


def _near_duplicates(
    data: Listed, videos: Sequence[RawVideo], digests: Sequence[str]
) -> list[VideoPair]:
    """The same moments in another compression or cut."""
    if any(video.share != (0.0, 1.0) for video in videos):
        return []  # parts of one video are on both sides on purpose
    if len(videos) > COMPARED:
        log.warning(
            "%d videos are too many to compare each with each: only exact copies were looked for.",
            len(videos),
        )
        return []
    store = data.store
    pairs = find_near_duplicate_videos(
        (store.frames(v.name), store.times_s(v.name)) for v in videos
    )
    return [pair for pair in pairs if digests[pair.first] != digests[pair.second]]


def _groups(
    videos: Sequence[RawVideo], digests: Sequence[str], copies: Sequence[VideoPair]
) -> list[str]:
    """The group of each video: joined by patient, by given group, and by what it shows."""
    import pandas as pd

    columns = {"patient": [v.patient for v in videos], "group": [v.group for v in videos]}
    joined = join_groups(pd.DataFrame(columns | {"sha256": list(digests)}))
    return group_samples(joined, [(pair.first, pair.second) for pair in copies])


def _warn_of_two_classes(videos: Sequence[RawVideo], copies: Sequence[VideoPair]) -> None:
    for pair in copies:
        a, b = videos[pair.first], videos[pair.second]
        if a.label != b.label:
            log.warning(
                "%s and %s show the same moments, but one is %s and the other %s.",
                *(a.name, b.name, a.label, b.label),
            )


def _write(
    out: Path,
    data: Listed,
    placed: Sequence[Placed],
    copies: Sequence[tuple[str, str, float]],
    rejected: Sequence[tuple[str, str]],
) -> None:
    rows = {split: [_row(data, p) for p in placed if p.split == split] for split in SPLITS}
    for split in SPLITS:
        write_csv(out / f"{split}.csv", COLUMNS, rows[split])
    write_csv(out / DUPLICATES, ["image_a", "image_b", "distance"], copies)
    write_csv(out / REJECTED, ["video", "reason"], rejected)
    table = [(p.video, p.split, data.store.records[p.video.name].notes["segment"]) for p in placed]
    write_annotations(out / ANNOTATIONS, data.labels, table, data.home)
    _write_inspection(out / INSPECTION, data.labels, placed)


def _row(data: Listed, placed: Placed) -> list[Any]:
    video, times_s = placed.video, data.store.times_s(placed.video.name)
    where = relative(video.path, data.home)
    known = [video.name, where, video.label, video.patient, placed.group, placed.digest]
    return [*known, len(times_s), round(float(times_s[-1]), 3)]


def _write_inspection(folder: Path, labels: Sequence[str], placed: Sequence[Placed]) -> None:
    """How many videos and groups of each class are in each split, and which."""
    videos = Counter((p.video.label, p.split) for p in placed)
    groups: dict[tuple[str, str], set[str]] = defaultdict(set)
    for p in placed:
        groups[p.video.label, p.split].add(p.group)
    rows = [
        [label, *(n for s in SPLITS for n in (videos[label, s], len(groups[label, s])))]
        for label in labels
    ]
    columns = ["label", *(f"{split}_{what}" for split in SPLITS for what in ("videos", "groups"))]
    write_csv(folder / "counts.csv", columns, rows)
    for split in SPLITS:
        listing = sorted([p.video.label, p.group, p.video.name] for p in placed if p.split == split)
        write_csv(folder / f"{split}.csv", ["label", "group", "video"], listing)
