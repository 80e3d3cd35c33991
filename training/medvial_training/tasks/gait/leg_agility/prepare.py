"""Step 1 of leg agility: the patient's keypoints of every recording, scores, folds."""

import dataclasses
import logging
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from medvial.errors import InputError
from medvial.gait.leg_agility.config import LegConfig
from medvial.gait.leg_agility.signals import LEGS, Leg
from medvial.outputs import write_json
from medvial_training.processes import worker_pool
from medvial_training.split_dealing import group_samples
from medvial_training.tables import write_csv
from medvial_training.tasks.gait.leg_agility.copies import find_copies
from medvial_training.tasks.gait.leg_agility.labels import SCORES, find_labels, read_labels
from medvial_training.tasks.gait.leg_agility.options import LegOptions
from medvial_training.tasks.gait.leg_agility.reading import Clip, Job, read_clip
from medvial_training.tasks.gait.leg_agility.recordings import LEG_TABLE, VIDEOS
from medvial_training.tasks.gait.leg_agility.sources import find_recordings, match
from medvial_training.tasks.gait.systems import CONFIG, SOURCE, FoldOptions

log = logging.getLogger(__name__)

FOLDS, REJECTED, DUPLICATES = "folds.csv", "rejected.csv", "near_duplicates.csv"
CLASSES = "scores.csv"
KNOWN = ("video", "patient", "group", "site", "label", "sha256")
SEEN = ("file", "kind", "frames", "duration_s", "patient_seen", "people", "notes")
NOT_RATED = "not rated by the clinician"


def prepare_system(
    source: Path,
    out: Path,
    config: LegConfig,
    *,
    options: LegOptions,
    folds: FoldOptions,
    about: dict[str, Any],
    workers: int | None,
) -> None:
    """Read every recording, find the patient in it, and deal the patients out into folds.

    Leaves keypoints/VIDEO.npz, sheets/VIDEO.png (who was followed), videos.csv, legs.csv (score and
    quality of each leg), scores.csv (how often each score is there), near_duplicates.csv,
    rejected.csv, folds.csv with its counts, source.json and, last, config.json. A run that was
    interrupted goes on where it stopped.

    Args:
        source: Folder of the recordings, and of the sheet of scores unless it is named.
        out: Folder to write.
        config: Its levels become those that are in the data.
        options: How recordings and scores are read.
        folds: How patients are dealt out, classes by the worse leg.
        about: Description, licence and phantom, for source.json.
        workers: Processes that read; one per core if not given.

    Raises:
        InputError: Nothing usable is there, a score is wrong, or there are too few patients.
    """
    matched = match(
        read_labels(find_labels(source, options), options), find_recordings(source, options)
    )
    (out / CONFIG).unlink(missing_ok=True)  # the later steps need it: nothing half-done
    clips = _read_all([Job(*pair, options, out) for pair in matched.pairs], workers)
    rejected = matched.rejected + [(c.video, c.reason) for c in clips if c.reason]
    clips = _without_copies([clip for clip in clips if not clip.reason], rejected)
    rejected += _unused(clips)
    write_csv(out / REJECTED, ["video", "reason"], rejected)
    levels = sorted({s for c in clips for leg in LEGS if (s := c.usable(leg)) is not None})
    if len(levels) < 2:
        raise InputError(
            f"Expected legs with at least two different scores in {source}, got those of "
            f"{levels or 'none'}: see {out / REJECTED}."
        )
    counts = _write_tables(out, clips, folds, options)
    about = about | counts | {"not_used": len(rejected), "folds": dataclasses.asdict(folds)}
    write_json(out / SOURCE, about | {"repeats": options.repeats})
    config = dataclasses.replace(config, levels=tuple(levels))
    write_json(out / CONFIG, dataclasses.asdict(config))
    _report(out, about, levels)


def _read_all(jobs: Sequence[Job], workers: int | None) -> list[Clip]:
    """In the order of the jobs."""
    workers = min(workers or os.cpu_count() or 1, len(jobs))
    bar = partial(tqdm, total=len(jobs), unit="recording", desc="Reading", mininterval=0.5)
    if workers < 2:
        return list(bar(map(read_clip, jobs)))
    with worker_pool(workers) as pool:
        try:
            return list(bar(pool.map(read_clip, jobs)))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _without_copies(clips: Sequence[Clip], rejected: list[tuple[str, str]]) -> list[Clip]:
    """Each content once; a leg that copies score differently counts as not rated."""
    first: dict[str, int] = {}
    kept: list[Clip] = []
    for clip in clips:
        place = first.setdefault(clip.sha256, len(kept))
        if place == len(kept):
            kept.append(clip)
            continue
        other = kept[place]
        rejected.append((clip.video, f"the same recording as {other.video}, copied"))
        for leg in LEGS:
            mine, theirs = clip.rated.scores[leg], other.rated.scores[leg]
            if mine is not None and theirs is not None and mine != theirs:
                why = f"scored {theirs} here and {mine} in its copy {clip.video}"
                kept[place] = other = other.without(leg, why)
    return kept


def _unused(clips: Sequence[Clip]) -> Iterator[tuple[str, str]]:
    """Legs that are not used, with the reason."""
    for clip in clips:
        for leg in LEGS:
            if clip.usable(leg) is None:
                yield f"{clip.video}, {leg} leg", _why_unused(clip, leg)


def _write_tables(
    out: Path, clips: Sequence[Clip], folds: FoldOptions, options: LegOptions
) -> dict[str, Any]:
    """Tables and folds; what source.json says of them."""
    pairs = _write_duplicates(out, clips)
    groups = group_samples([clip.rated.patient for clip in clips], pairs)
    known = [
        [c.video, c.rated.patient, group, c.rated.site, c.worse, c.sha256]
        for c, group in zip(clips, groups, strict=True)
    ]
    seen = [
        [c.file, c.kind, c.frames, c.duration_s, c.seen, c.people, "; ".join(c.notes)]
        for c in clips
    ]
    rows = [[*a, *b] for a, b in zip(known, seen, strict=True)]
    write_csv(out / VIDEOS, [*KNOWN, *SEEN], rows)
    _write_legs(out, clips)
    _write_folds(out, [row for row in known if row[4] != ""], folds, options.repeats)
    return {
        "videos": len(clips),
        "patients": len({clip.rated.patient for clip in clips}),
        "legs": {leg: sum(c.usable(leg) is not None for c in clips) for leg in LEGS},
        "not_rated": {leg: sum(c.rated.scores[leg] is None for c in clips) for leg in LEGS},
        "repeated": len(pairs),
    }


def _write_duplicates(out: Path, clips: Sequence[Clip]) -> list[tuple[int, int]]:
    pairs = find_copies([clip.trace for clip in clips])
    rows = [[clips[a].video, clips[b].video, distance] for a, b, distance in pairs]
    write_csv(out / DUPLICATES, ["video_a", "video_b", "distance"], rows)
    return [(a, b) for a, b, _ in pairs]


def _write_legs(out: Path, clips: Sequence[Clip]) -> None:
    """legs.csv, a row a leg, and scores.csv, how often each score may be used."""
    rows, patients = [], defaultdict(list)
    for clip in clips:
        for leg in LEGS:
            told, usable = clip.legs[leg], clip.usable(leg)
            patients[leg, usable].append(clip.rated.patient)
            why = "" if usable is not None else _why_unused(clip, leg)
            row = [clip.video, clip.rated.patient, leg, _cell(clip.rated.scores[leg])]
            row += [int(usable is not None), why, told.doubts, told.taps, _cell(told.criteria)]
            rows.append(row)
    columns = ["video", "patient", "leg", "score", "used", "unused_because", "doubts", "taps"]
    write_csv(out / LEG_TABLE, [*columns, "criteria_level"], rows)
    found = [(leg, level, patients[leg, level]) for leg in LEGS for level in SCORES]
    counts = [[leg, level, len(names), len(set(names))] for leg, level, names in found]
    write_csv(out / CLASSES, ["leg", "score", "legs", "patients"], counts)


def _why_unused(clip: Clip, leg: Leg) -> str:
    return NOT_RATED if clip.rated.scores[leg] is None else clip.legs[leg].unused


def _cell(score: int | None) -> int | str:
    return "" if score is None else score


def _write_folds(
    out: Path, rows: Sequence[Sequence[Any]], folds: FoldOptions, repeats: int
) -> None:
    """folds.csv; a repeat adds as many folds again, dealt out by another seed."""
    import pandas as pd

    from medvial_training.folds import folds_report, load_folds, make_folds, write_folds

    if repeats > 1 and folds.by == "site":
        raise InputError("Expected one repeat with folds by site: there is one way to do these.")
    table = pd.DataFrame(rows, columns=list(KNOWN))
    seeds = range(folds.seed, folds.seed + repeats)
    made = [make_folds(table, folds.k, seed, folds.by, folds.valid_share) for seed in seeds]
    result, final = made[0].drop(columns="final"), made[0]["final"]
    for number, again in enumerate(made[1:], 1):
        for place in range(1, folds.k + 1):
            result[f"fold_{number * folds.k + place}"] = again[f"fold_{place}"]
    write_folds(out / FOLDS, result.assign(final=final))
    folds_report(load_folds(out / FOLDS), out)


def _by_leg(counts: Mapping[Leg, int]) -> str:
    return ", ".join(f"{number} {leg}" for leg, number in counts.items())


def _report(out: Path, about: dict[str, Any], levels: Sequence[int]) -> None:
    log.info(
        "%s: %d recordings of %d patients%s; legs to use: %s, with scores %s; not rated by the "
        "clinician: %s.",
        out,
        about["videos"],
        about["patients"],
        " (phantoms: no clinical meaning)" if about["phantom"] else "",
        _by_leg(about["legs"]),
        ", ".join(map(str, levels)),
        _by_leg(about["not_rated"]),
    )
    absent = [level for level in SCORES if level not in levels]
    if absent:
        log.info("No leg is scored %s: never predicted.", " or ".join(map(str, absent)))
    log.info(
        "%d pairs of recordings show the same moments; %d recordings or legs are not used (%s).",
        about["repeated"],
        about["not_used"],
        out / REJECTED,
    )
