"""Step 1 of echonet: raw videos to frames at network size, masks, splits, and what is known."""

import dataclasses
import hashlib
import io
import json
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from medvial.echonet.config import Config
from medvial.errors import InputError
from medvial.outputs import read_json, write_bytes, write_json
from medvial_training.split_dealing import Fractions, assign_splits, group_samples
from medvial_training.splits import DUPLICATES, SPLITS
from medvial_training.tables import write_csv
from medvial_training.tasks.echonet.camus_source import open_camus
from medvial_training.tasks.echonet.echonet_source import FILE_LIST, open_echonet
from medvial_training.tasks.echonet.frame_store import (
    FRAMES,
    FrameStore,
    VideoRecord,
    check_space,
    mean_and_std,
)
from medvial_training.tasks.echonet.masks import MASKS, TRACES, write_masks
from medvial_training.tasks.echonet.sources import RawData, RawVideo
from medvial_training.tasks.echonet.usable import usable_videos

log = logging.getLogger(__name__)

CONFIG, SOURCE, PHANTOM_MARKER = "config.json", "source.json", "PHANTOM.json"
VIDEOS, TIMES, REJECTED = "videos.csv", "times.npy", "rejected.csv"
SAME_VIDEO = 0.2
"""Distance (1 - correlation after alignment) of the mean frames below which two videos are one.

Of the end-diastolic and end-systolic frames of 120 patients of CAMUS, those of different patients
lie at 0.37 and above but for two pairs, which are one recording; copies at JPEG quality 30 that
are turned by 2 degrees, enlarged by 5 % and of another brightness at 0.16 and below."""
MEAN_OF_FRAMES = 16  # frames of a video that its mean frame is made of


def prepare(
    source: Path,
    out: Path = Path("data/echonet"),
    format: Literal["echonet", "camus"] | None = None,
    model: Config = Config(),
    patient_column: str | None = None,
    fractions: Fractions = Fractions(),  # noqa: B008 frozen
    seed: int = 0,
    workers: int | None = None,
    description: str = "",
    licence: str = "unknown",
) -> None:
    """Bring videos to the networks' size, make masks of the tracings, and split by patient.

    Leaves frames.npy, times.npy, masks.npy, videos.csv, traces.csv, train.csv, valid.csv, test.csv,
    near_duplicates.csv, rejected.csv, source.json, progress.jsonl and, last, config.json. A run
    that was interrupted goes on where it stopped.

    Args:
        source: Folder with FileList.csv, VolumeTracings.csv and Videos/ (EchoNet-Dynamic), or with
            patientNNNN.npz (CAMUS).
        out: Folder to write.
        format: echonet or camus; told by FileList.csv if not given.
        model: height and width are used here; mean and std are measured.
        patient_column: Column of FileList.csv that names the patient; Patient, Subject ID, PID,
            MRN and their like if there, else every video is a patient of its own.
        fractions: Shares of validation and test, where the data bring no split; valid 0 and test 1
            for videos to test an existing model on, as does a Split that is TEST throughout.
        seed: Of the split.
        workers: Processes that read videos; one per core if not given.
        description: What the data are; goes into the manifest of models trained on them.
        licence: Terms of the data; goes into the manifest of models trained on them.
    """
    if workers is not None and workers < 1:
        raise InputError(f"Expected at least 1 of --workers, got {workers}.")
    raw = _open_source(source, format, model, patient_column)
    if out.resolve() == source.resolve():
        raise InputError(f"Expected another folder than that of the raw videos for --out: {out}.")
    store = FrameStore(out, model)
    about = _about(source, description, licence)
    fingerprint = _fingerprint(raw, store, model, [vars(fractions), seed, about])
    if _is_done(out, fingerprint, store, raw):
        log.info("Everything is prepared in %s already.", out)
        _report(out, read_json(out / SOURCE))
        return
    check_space(out, raw.videos, model)
    (out / CONFIG).unlink(missing_ok=True)  # the later steps need it: nothing half-done
    store.make(raw.videos, workers)
    _finish(out, raw, store, model, fractions, seed, workers, about | {"fingerprint": fingerprint})


def _open_source(
    source: Path, format: str | None, model: Config, patient_column: str | None
) -> RawData:
    if not source.is_dir():
        raise InputError(f"Expected a folder for --source, got {source}.")
    if format is None:
        camus = not (source / FILE_LIST).is_file() and any(source.glob("patient*.npz"))
        format = "camus" if camus else "echonet"
    if format == "camus":
        return open_camus(source, model)
    return open_echonet(source, model, patient_column)


def _about(source: Path, description: str, licence: str) -> dict[str, Any]:
    """Where the data come from; phantoms say so in a file beside them."""
    marker = source / PHANTOM_MARKER
    known = read_json(marker) if marker.is_file() else {}
    return {
        "phantom": bool(known.get("phantom", False)),
        "description": description or known.get("description", ""),
        "licence": licence if licence != "unknown" else known.get("licence", licence),
        "source": str(source),
    }


def _fingerprint(raw: RawData, store: FrameStore, model: Config, settings: list[Any]) -> str:
    """Changes with everything that the prepared folder depends on."""
    digest = hashlib.sha256(json.dumps([dataclasses.asdict(model), settings]).encode())
    for v in raw.videos:
        numbers = [repr(n) for n in (v.ef, v.esv, v.edv, v.fps)]
        row = [v.name, v.patient, v.split, store.key(v), *numbers, sorted(v.tracings)]
        digest.update(json.dumps(row).encode())
        for rows in v.tracings.values():
            digest.update(rows.tobytes())
    digest.update(json.dumps(raw.rejected).encode())
    return digest.hexdigest()


def _is_done(out: Path, fingerprint: str, store: FrameStore, raw: RawData) -> bool:
    files = [CONFIG, SOURCE, DUPLICATES, FRAMES, MASKS, VIDEOS, TIMES, TRACES, REJECTED]
    files += [f"{split}.csv" for split in SPLITS]
    return (
        all((out / name).is_file() for name in files)
        and read_json(out / SOURCE).get("fingerprint") == fingerprint
        and store.is_done(raw.videos)
    )


def _finish(
    out: Path,
    raw: RawData,
    store: FrameStore,
    model: Config,
    fractions: Fractions,
    seed: int,
    workers: int | None,
    about: dict[str, Any],
) -> None:
    """Masks, groups, splits and tables, from the videos that were read."""
    rejected = list(raw.rejected)
    videos, traces = usable_videos(raw.videos, store, rejected)
    if not videos:
        why = f" The first reason: {rejected[0][0]}: {rejected[0][1]}." if rejected else ""
        raise InputError(f"Expected videos to use in {about['source']}, got none.{why}")

    pairs = _write_duplicates(out, videos, store, workers)
    groups = group_samples([v.patient for v in videos], pairs)
    given = [v.split for v in videos]
    _check_split(given, videos)
    splits = assign_splits(groups, given, fractions, seed, test_alone=True)
    rejected += _leaks(videos, groups, splits)
    used = [(v, g, s) for v, g, s in zip(videos, groups, splits, strict=True) if s is not None]
    write_masks(out, [v for v, _, _ in used], traces)
    _write_tables(out, used, store, rejected)

    train = [store.records[v.name] for v, _, split in used if split == "train"]
    config = _with_statistics(model, train)
    about |= {
        "videos": {split: splits.count(split) for split in SPLITS},
        "traced": sum(bool(traces[v.name]) for v, _, _ in used),
        "with_ef": sum(math.isfinite(v.ef) for v, _, _ in used),
        "rejected": len(rejected),
        "repeated": len(pairs),
        "seed": seed,
        "fractions": vars(fractions),
    }
    write_json(out / SOURCE, about)
    write_json(out / CONFIG, dataclasses.asdict(config))
    _report(out, about)


def _with_statistics(model: Config, train: Sequence[VideoRecord]) -> Config:
    """The model's configuration with mean and SD of the training videos, alike in all channels.

    Videos to test on alone change nothing: the model that is tested has its own.
    """
    if not train:
        return model
    mean, std = mean_and_std(train, model)
    return dataclasses.replace(model, mean=(mean,) * model.channels, std=(std,) * model.channels)


def _check_split(given: Sequence[str], videos: Sequence[RawVideo]) -> None:
    """Refuse a split that is given for some videos only, by name."""
    if any(given) and not all(given):
        name = videos[[bool(split) for split in given].index(False)].name
        raise InputError(f"Expected a Split for every video of {FILE_LIST}, got none for {name}.")


def _write_duplicates(
    out: Path, videos: Sequence[RawVideo], store: FrameStore, workers: int | None
) -> list[tuple[int, int]]:
    from medvial_training.near_duplicates import find_near_duplicates

    frames = store.read()
    means = (_mean_frame(frames, store.records[v.name]) for v in videos)
    pairs = find_near_duplicates(means, threshold=SAME_VIDEO, workers=workers)
    rows = [[videos[p.first].name, videos[p.second].name, p.distance] for p in pairs]
    write_csv(out / DUPLICATES, ["image_a", "image_b", "distance"], rows)
    return [(pair.first, pair.second) for pair in pairs]


def _mean_frame(frames: np.ndarray[Any, Any], record: VideoRecord) -> np.ndarray[Any, Any]:
    """Mean of frames all over a video, (H, W) uint8: alike for copies, also of another length."""
    steps = np.linspace(record.first, record.end - 1, min(MEAN_OF_FRAMES, record.count))
    chosen = frames[np.rint(steps).astype(int)]
    return np.rint(chosen.mean(axis=0)).astype(np.uint8)


def _leaks(
    videos: Sequence[RawVideo], groups: Sequence[str], splits: Sequence[str | None]
) -> list[tuple[str, str]]:
    """What is left out since its patient or its picture is on a later side of the given split."""
    kept = {g: v.name for v, g, s in zip(videos, groups, splits, strict=True) if s is not None}
    return [
        (
            v.name,
            f"its Split is {v.split}, but its patient or its picture is that of {kept[g]} on a "
            "later side (valid, test)",
        )
        for v, g, s in zip(videos, groups, splits, strict=True)
        if s is None
    ]


def _write_tables(
    out: Path,
    used: Sequence[tuple[RawVideo, str, str]],
    store: FrameStore,
    rejected: Sequence[tuple[str, str]],
) -> None:
    columns = ["video", "patient", "first", "count", "fps", "ef", "esv", "edv", "spacing_mm"]
    rows = []
    for video, _, _ in used:
        record = store.records[video.name]
        listed = video.fps > 0 and record.times_s is None  # uneven times are the file's
        fps = video.fps if listed else record.fps or math.nan
        numbers = [fps, video.ef, video.esv, video.edv, record.spacing_mm or math.nan]
        known = ["" if math.isnan(number) else number for number in numbers]
        rows.append([video.name, video.patient, record.first, record.count, *known])
    write_csv(out / VIDEOS, columns, rows)
    _write_times(out / TIMES, [store.records[v.name] for v, _, _ in used], len(store.read()))
    write_csv(out / REJECTED, ["video", "reason"], rejected)
    for split in SPLITS:
        rows = [[v.name, v.name, v.patient, group] for v, group, name in used if name == split]
        write_csv(out / f"{split}.csv", ["image_id", "video", "patient", "group"], rows)


def _write_times(path: Path, records: Sequence[VideoRecord], count: int) -> None:
    """Times of the frames of frames.npy, (F,) seconds; NaN in videos whose frames come evenly."""
    times_s = np.full(count, np.nan)
    for record in records:
        if record.times_s is not None:
            times_s[record.first : record.end] = record.times_s
    file = io.BytesIO()
    np.save(file, times_s)
    write_bytes(path, file.getvalue())


def _report(out: Path, about: dict[str, Any]) -> None:
    counts = about["videos"]
    log.info(
        "%s: %d videos to train on, %d to validate, %d to test%s; %d with an ejection fraction, %d "
        "with tracings.",
        out,
        *(counts[split] for split in SPLITS),
        " (phantoms: no clinical meaning)" if about["phantom"] else "",
        about["with_ef"],
        about["traced"],
    )
    if not counts["train"]:
        log.info("Nothing to train on: test a model on these videos with step 3 and --model.")
    log.info(
        "%d pairs of videos are one recording; %d entries are not used, or not whole (%s).",
        about["repeated"],
        about["rejected"],
        out / REJECTED,
    )
