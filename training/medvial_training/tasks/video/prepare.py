"""Step 1 of video: any folder of videos to frames at network size, classes and splits."""

import dataclasses
import hashlib
import json
import logging
from pathlib import Path
from typing import Any

from medvial.errors import InputError
from medvial.outputs import read_json, write_json
from medvial.video_classification import ClipConfig
from medvial_training.clips.store import FRAMES, ClipStore
from medvial_training.split_dealing import Fractions
from medvial_training.splits import DUPLICATES, SPLITS
from medvial_training.tasks.video.annotations import ANNOTATIONS
from medvial_training.tasks.video.listing import RawData, within_videos
from medvial_training.tasks.video.manifests import REJECTED, Listed, write_manifests
from medvial_training.tasks.video.reading import store_settings, store_source
from medvial_training.tasks.video.sources import open_source

log = logging.getLogger(__name__)

CONFIG, SOURCE, PHANTOM_MARKER = "config.json", "source.json", "PHANTOM.json"
TENTHS = Fractions(valid=0.1, test=0.1)


def prepare(
    source: Path,
    out: Path = Path("data/video"),
    videos: Path | None = None,
    model: ClipConfig = ClipConfig(),
    patient_pattern: str | None = None,
    fractions: Fractions = TENTHS,
    seed: int = 42,
    resplit: bool = False,
    within_video: bool = False,
    workers: int | None = None,
    description: str = "",
    licence: str = "unknown",
) -> None:
    """Bring videos to the network's size and split them by patient, alike in their classes.

    Leaves frames.bin, frames.jsonl, train.csv, valid.csv, test.csv, near_duplicates.csv,
    rejected.csv, annotations.json, splits/, source.json and, last, config.json. A run that was
    interrupted goes on where it stopped.

    Args:
        source: A folder with annotations.json, with a CSV file (video, label; and patient, group,
            split if known), or with a folder for each class; or that file itself. A video is a file
            or a folder of frames.
        out: Folder to write.
        videos: Folder that listed videos are relative to; looked for beside the list if not given.
        model: resize and fps are used here; labels are filled in.
        patient_pattern: Regular expression whose first group is the patient in a video's name; the
            source's own patients, else each video by itself, if not given.
        fractions: Shares of validation and test, where the source brings no split; valid 0 and
            test 1 for videos to test an existing model on.
        seed: Of the split.
        resplit: Split anew, whatever split the source brings.
        within_video: Split each video in time instead. To try the steps out only: the scores then
            say nothing about new videos.
        workers: Processes that read videos; one per core if not given.
        description: What the data are; goes into the manifest of models trained on them.
        licence: Terms of the data; goes into the manifest of models trained on them.
    """
    if workers is not None and workers < 1:
        raise InputError(f"Expected at least 1 of --workers, got {workers}.")
    raw = _list_videos(source, videos, patient_pattern, fractions, resplit, within_video)
    home = source if source.is_dir() else source.parent
    if out.resolve() == home.resolve():
        raise InputError(f"Expected another folder than that of the raw videos for --out: {out}.")
    model = dataclasses.replace(model, labels=_labels(raw, model))
    store = ClipStore(out, store_settings(model))
    about = _about(home, description, licence) | {"seed": seed, "fractions": vars(fractions)}
    about |= {"within_video": within_video}
    sources = [store_source(video, model) for video in raw.videos]
    about["fingerprint"] = _fingerprint([dataclasses.asdict(model), about, raw_facts(raw)])
    if _is_done(out, about["fingerprint"]) and store.is_done(sources):
        log.info("Everything is prepared in %s already.", out)
        _report(out, read_json(out / SOURCE))
        return
    (out / CONFIG).unlink(missing_ok=True)  # the later steps need it: nothing half-done
    store.make(sources, workers)
    counts = write_manifests(out, Listed(raw, store, model.labels, home), fractions, seed)
    about |= counts
    write_json(out / SOURCE, about)
    write_json(out / CONFIG, dataclasses.asdict(model))
    _report(out, about)


def _list_videos(
    source: Path,
    videos: Path | None,
    patient_pattern: str | None,
    fractions: Fractions,
    resplit: bool,
    within_video: bool,
) -> RawData:
    raw = open_source(source, videos, patient_pattern)
    if within_video:
        return within_videos(raw, fractions)
    if resplit:
        anew = [dataclasses.replace(video, split="") for video in raw.videos]
        return dataclasses.replace(raw, videos=anew)
    return raw


def _labels(raw: RawData, model: ClipConfig) -> tuple[str, ...]:
    """The classes in order: as they are given, else the source's."""
    if not model.labels:
        if len(raw.labels) < 2:
            raise InputError(f"Expected at least 2 classes, got {', '.join(raw.labels)}.")
        return raw.labels
    unknown = sorted({video.label for video in raw.videos} - set(model.labels))
    if unknown:
        raise InputError(f"Expected every class in --model.labels, got {unknown[0]} as well.")
    return model.labels


def _about(home: Path, description: str, licence: str) -> dict[str, Any]:
    """Where the data come from; phantoms say so in a file beside them."""
    marker = home / PHANTOM_MARKER
    known = read_json(marker) if marker.is_file() else {}
    return {
        "phantom": bool(known.get("phantom", False)),
        "description": description or known.get("description", ""),
        "licence": licence if licence != "unknown" else known.get("licence", licence),
        "source": str(home),
    }


def raw_facts(raw: RawData) -> list[list[str]]:
    """What of the listing goes into the manifests."""
    rows = [[v.name, v.label, v.patient, v.group, v.split, str(v.path)] for v in raw.videos]
    return [*rows, *map(list, raw.rejected)]


def _fingerprint(parts: list[Any]) -> str:
    """Changes with everything that the prepared folder depends on, but for the files."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _is_done(out: Path, fingerprint: str) -> bool:
    files = [CONFIG, SOURCE, DUPLICATES, FRAMES, REJECTED, ANNOTATIONS]
    files += [f"{split}.csv" for split in SPLITS]
    whole = all((out / name).is_file() for name in files)
    return whole and read_json(out / SOURCE).get("fingerprint") == fingerprint


def _report(out: Path, about: dict[str, Any]) -> None:
    counts = about["videos"]
    log.info(
        "%s: %d videos to train on, %d to validate, %d to test, of %d classes%s.",
        out,
        *(counts[split] for split in SPLITS),
        about["classes"],
        " (phantoms: no clinical meaning)" if about["phantom"] else "",
    )
    if about["within_video"]:
        log.warning(
            "Training, validation and test are parts of the same videos: scores say nothing about "
            "new ones."
        )
    if not counts["train"]:
        log.info("Nothing to train on: test a model on these videos with step 3 and --model.")
    log.info(
        "%d pairs of videos show the same moments; %d entries are not used (%s). Inspect %s.",
        about["copies"],
        about["rejected"],
        out / REJECTED,
        out / "splits",
    )
