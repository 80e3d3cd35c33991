"""Step 1 of walking: videos to pictures of the patient, folds, and what is known of each."""

import dataclasses
import functools
import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from medvial.errors import InputError
from medvial.gait.rcnn import RcnnPeople
from medvial.gait.walking.clips import walking_crop
from medvial.outputs import read_json, write_json
from medvial.video_classification.config import ClipConfig
from medvial_training.clips.store import ClipRecord, ClipStore
from medvial_training.frame_store import in_processes
from medvial_training.near_duplicate_videos import find_near_duplicate_videos
from medvial_training.split_dealing import group_samples
from medvial_training.tables import write_csv
from medvial_training.tasks.gait.systems import CONFIG, SOURCE, FoldOptions
from medvial_training.tasks.gait.walking.read_video import (
    FORMAT,
    SHEETS,
    draw_sheet,
    sheet_of,
    walking_source,
)
from medvial_training.tasks.gait.walking.sources import (
    WalkingOptions,
    WalkingVideo,
    open_walking,
)

log = logging.getLogger(__name__)

POSITIVE = "ASD"
VIDEOS, FOLDS, PEOPLE = "videos.csv", "folds.csv", "people.csv"
REJECTED, DUPLICATES, COUNTS = "rejected.csv", "near_duplicates.csv", "fold_counts.csv"
KNOWN = ("fps", "frames", "seconds", "width", "height")
MEASURED = (
    *("method", "found_part", "longest_gap_s", "height_px", "path_heights", "direction"),
    *("jitter", "cut_off_part", "other_people", "crossed_part"),
)


def prepare_system(
    source: Path,
    out: Path,
    config: ClipConfig,
    *,
    options: WalkingOptions,
    folds: FoldOptions,
    about: dict[str, Any],
    workers: int | None,
) -> None:
    """Follow and cut out the patient of every video, and deal the patients out into folds.

    Leaves frames.bin and frames.jsonl (pictures of the patients), videos.csv, people.csv (how well
    each was followed), sheets/ (who was followed), near_duplicates.csv, rejected.csv, folds.csv
    with its counts, source.json and, last, config.json. A run that was interrupted goes on.

    Args:
        source: Folder of the raw videos; see `open_walking`.
        out: Folder to write.
        config: fps and resize are used here; labels are found, positive is ASD if there is such a
            class.
        options: What is not in the videos.
        folds: How patients are dealt out.
        about: Description, licence and phantom, for source.json.
        workers: Processes; one per core if not given.

    Raises:
        InputError: Nothing usable is there, or too few patients.
    """
    raw = open_walking(source, options)
    if options.rcnn is not None:
        RcnnPeople(options.rcnn)  # refuses weights that every video would be refused with
    config, listed, unwanted = _with_labels(config, raw.videos)
    _check_count(listed, folds)
    store = _store(out, config)
    sheets = out / SHEETS if options.sheets else None
    sources = [walking_source(v, walking_crop(config), sheets, options.rcnn) for v in listed]
    fingerprint = _fingerprint(config, listed, [s.version for s in sources], [folds, about])
    if _is_done(out, fingerprint) and store.is_done(sources):
        log.info("Everything is prepared in %s already.", out)
        _draw_missing(listed, store, config, sheets, options.rcnn, workers)
        _report(out, read_json(out / SOURCE))
        return
    (out / CONFIG).unlink(missing_ok=True)  # the later steps need it: nothing half-done
    records = store.make(sources, workers)
    _draw_missing(listed, store, config, sheets, options.rcnn, workers)
    rejected = [*raw.rejected, *unwanted]
    rejected += [(r.name, r.reason) for r in records if r.reason]
    videos = [v for v, r in zip(listed, records, strict=True) if not r.reason]
    write_csv(out / REJECTED, ["video", "reason"], rejected)
    _check_videos(videos, rejected, config)
    counts = _write_tables(out, videos, store, folds)
    about = about | counts | {"rejected": len(rejected), "fingerprint": fingerprint}
    write_json(out / SOURCE, about | {"folds": dataclasses.asdict(folds)})
    write_json(out / CONFIG, dataclasses.asdict(config))
    _report(out, about)


def _draw_missing(
    videos: Sequence[WalkingVideo],
    store: ClipStore,
    config: ClipConfig,
    sheets: Path | None,
    rcnn: str | None,
    workers: int | None,
) -> None:
    """Draw the contact sheets of videos that were read when none were asked for."""
    if sheets is None:
        return
    usable = [video for video in videos if not store.records[video.name].reason]
    missing = [video for video in usable if not sheet_of(video, sheets).is_file()]
    if not missing:
        return
    log.info("%d of %d contact sheets are not there yet: drawn now.", len(missing), len(usable))
    draw = functools.partial(draw_sheet, walking_crop(config), sheets, rcnn)
    drawn = in_processes(draw, missing, workers)
    for _ in tqdm(drawn, total=len(missing), unit="video", desc="Drawing", mininterval=0.5):
        pass


def _store(out: Path, config: ClipConfig) -> ClipStore:
    settings = [FORMAT, dataclasses.asdict(walking_crop(config))]
    return ClipStore(out, json.dumps(settings))


def _with_labels(
    config: ClipConfig, videos: Sequence[WalkingVideo]
) -> tuple[ClipConfig, list[WalkingVideo], list[tuple[str, str]]]:
    """The configuration with its classes, the videos of these, and why the others are left out.

    Raises:
        InputError: There are fewer than two classes, or none of two is said to be the positive one.
    """
    found = sorted({video.label for video in videos})
    labels = config.labels or tuple(found)
    used = [video for video in videos if video.label in labels]
    unwanted = [
        (v.name, f"its class {v.label} is none of walking.labels") for v in videos if v not in used
    ]
    missing = [label for label in labels if label not in found]
    if len(labels) < 2 or missing:
        wanted = " and ".join(labels) if missing else "at least two classes"
        raise InputError(f"Expected videos of {wanted}, got {', '.join(found) or 'no video'}.")
    positive = config.positive or (POSITIVE if POSITIVE in labels else None)
    if positive is None and len(labels) == 2:
        raise InputError(
            f"Expected to be told which class is the positive one, got {' and '.join(labels)}. "
            f"Say so with --walking.positive {labels[0]}."
        )
    return dataclasses.replace(config, labels=labels, positive=positive), used, unwanted


def _check_count(videos: Sequence[WalkingVideo], folds: FoldOptions) -> None:
    """Reading takes hours: what the list alone rules out is refused before it."""
    from medvial_training.fold_manifest import assert_enough

    patients, sites = [video.patient for video in videos], [video.site for video in videos]
    assert_enough(patients, sites, folds.k, folds.by)


def _fingerprint(
    config: ClipConfig, videos: Sequence[WalkingVideo], versions: Sequence[str], more: list[Any]
) -> str:
    """Changes with everything that the prepared folder depends on."""
    rows = [[v.name, v.patient, v.label, v.site] for v in videos]
    text = json.dumps([dataclasses.asdict(config), rows, list(versions)]) + repr(more)
    return hashlib.sha256(text.encode()).hexdigest()


def _is_done(out: Path, fingerprint: str) -> bool:
    files = (CONFIG, SOURCE, VIDEOS, FOLDS, PEOPLE, REJECTED, DUPLICATES)
    whole = all((out / name).is_file() for name in files)
    return whole and read_json(out / SOURCE).get("fingerprint") == fingerprint


def _check_videos(
    videos: Sequence[WalkingVideo], rejected: Sequence[tuple[str, str]], config: ClipConfig
) -> None:
    left = {video.label for video in videos}
    missing = [label for label in config.labels if label not in left]
    if missing:
        why = f" The first that was rejected: {': '.join(rejected[0])}" if rejected else ""
        raise InputError(f"Expected usable videos of {', '.join(missing)}, got none.{why}")


def _write_tables(
    out: Path, videos: Sequence[WalkingVideo], store: ClipStore, folds: FoldOptions
) -> dict[str, Any]:
    """Groups, tables and folds; what source.json says of them."""
    import pandas as pd

    from medvial_training.folds import folds_report, load_folds, make_folds, write_folds

    records = [store.records[video.name] for video in videos]
    pairs = _write_duplicates(out, videos, store)
    groups = group_samples([video.patient for video in videos], pairs)
    rows = [
        [v.name, v.patient, group, v.site, v.label, r.notes["sha256"], v.path.name, r.count]
        + [r.notes[name] for name in KNOWN]
        for v, r, group in zip(videos, records, groups, strict=True)
    ]
    columns = ["video", "patient", "group", "site", "label", "sha256", "file", "pictures", *KNOWN]
    write_csv(out / VIDEOS, columns, rows)
    _write_people(out, records)
    table = pd.DataFrame([row[:6] for row in rows], columns=columns[:6])
    made = make_folds(table, folds.k, folds.seed, folds.by, folds.valid_share)
    write_folds(out / FOLDS, made)
    folds_report(load_folds(out / FOLDS), out)
    warned = sum(bool(record.notes["quality"]["warnings"]) for record in records)
    return {
        "videos": len(videos),
        "patients": table["patient"].nunique(),
        "repeated": len(pairs),
        "warned": warned,
        "by_motion": sum(r.notes["quality"]["method"] != "pose" for r in records),
    }


def _write_duplicates(
    out: Path, videos: Sequence[WalkingVideo], store: ClipStore
) -> list[tuple[int, int]]:
    clips = ((store.frames(v.name), store.times_s(v.name)) for v in videos)
    pairs = find_near_duplicate_videos(clips)
    rows = [[videos[p.first].name, videos[p.second].name, p.distance] for p in pairs]
    write_csv(out / DUPLICATES, ["video_a", "video_b", "distance"], rows)
    return [(pair.first, pair.second) for pair in pairs]


def _write_people(out: Path, records: Sequence[ClipRecord]) -> None:
    rows = []
    for record in records:
        quality = record.notes["quality"]
        start, end = quality["in_sight_s"]
        found = f"{quality['found']} of {quality['sampled']}"
        measured = [quality[name] for name in MEASURED]
        rows.append([record.name, found, start, end, *measured, " ".join(quality["warnings"])])
    columns = ["video", "found", "in_sight_from_s", "in_sight_to_s", *MEASURED, "warnings"]
    write_csv(out / PEOPLE, columns, rows)


def _report(out: Path, about: dict[str, Any]) -> None:
    log.info(
        "%s: %d videos of %d patients%s; %d with a warning (%s), in %d what moves was followed.",
        out,
        about["videos"],
        about["patients"],
        " (phantoms: no clinical meaning)" if about["phantom"] else "",
        about["warned"],
        out / PEOPLE,
        about["by_motion"],
    )
    log.info(
        "%d pairs of videos show the same moments; %d entries are not used (%s).",
        about["repeated"],
        about["rejected"],
        out / REJECTED,
    )
