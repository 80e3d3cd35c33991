"""Step 1 of cldetection: raw films to prepared ones, splits, and what is known of them."""

import csv
import dataclasses
import hashlib
import io
import json
import logging
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from medvial.cldetection.config import Config
from medvial.cldetection.landmarks import LandmarkSet, landmark_set_path, load_landmark_set
from medvial.cldetection.predictor import LANDMARKS
from medvial.errors import InputError
from medvial.models import sha256
from medvial.outputs import read_json, write_bytes, write_json
from medvial_training.split_dealing import Fractions, assign_splits, group_samples
from medvial_training.splits import DUPLICATES, KEPT_REPEATS, SPLITS
from medvial_training.tasks.cldetection.film_store import (
    IMAGES,
    PROGRESS,
    FilmStore,
    mean_and_std,
)
from medvial_training.tasks.cldetection.sources import RawData, RawFilm, open_source

log = logging.getLogger(__name__)

CONFIG, SOURCE, PHANTOM_MARKER = "config.json", "source.json", "PHANTOM.json"
REPEATS_KEPT = (
    "the test may repeat training films, so its scores are too good; compare them with results "
    "that were published that way, and with nothing else"
)
WRITTEN = (
    *(CONFIG, SOURCE, DUPLICATES, KEPT_REPEATS, LANDMARKS, PROGRESS),
    *(f"{split}.csv" for split in SPLITS),
)
GEOMETRY = ("scale_x", "scale_y", "offset_x", "offset_y", "content_width", "content_height")


def prepare(
    source: Path,
    out: Path = Path("data/cldetection"),
    labels: Path | None = None,
    model: Config = Config(),
    fractions: Fractions = Fractions(),  # noqa: B008 frozen
    seed: int = 0,
    workers: int | None = None,
    description: str = "",
    licence: str = "unknown",
    keep_repeats: bool = False,
) -> None:
    """Bring films to the size that the model needs, find repeated ones, and split them by patient.

    Leaves images/, train.csv, valid.csv, test.csv, near_duplicates.csv, source.json, progress.jsonl
    and, last, config.json. A run that was interrupted goes on where it stopped; a film is made
    again when its file or a setting that it depends on has changed.

    Args:
        source: Folder with train_stack.mha and train-gt.json (CL-Detection 2023), the stack
            itself, or a folder of images with a table.
        out: Folder to write.
        labels: The truth: .json of a stack, or .csv with file,scale,p1x,p1y,... and, if known,
            patient and split. Found beside the films if not given.
        model: landmark_set, height, width, detail and fit are used here; mean and std are measured.
        fractions: Shares of validation and test, where the data bring no split.
        seed: Of the split.
        workers: Threads that resize films; one per core, 4 at most, if not given.
        description: What the data are; goes into the manifest of models trained on them.
        licence: Terms of the data; goes into the manifest of models trained on them.
        keep_repeats: Keep films on the side that the data give them though they are nearly the
            same picture as one on another side: the test may then repeat training films, as in
            published results on ISBI 2015. For comparison with those only; reports say so.
    """
    if workers is not None and workers < 1:
        raise InputError(f"Expected at least 1 of --workers, got {workers}.")
    landmark_set = load_landmark_set(model.landmark_set)
    landmarks = landmark_set_path(model.landmark_set)
    model = dataclasses.replace(model, landmark_set=landmark_set.name)
    raw = open_source(Path(source), labels, landmark_set)
    _check_out(out, raw, landmarks)
    about = _about(Path(source), raw, description, licence) | {"repeats_kept": keep_repeats}
    store = FilmStore(out, model)
    mirrored = {film.image_id: _faces_left(film, landmark_set) for film in raw.films}
    if any(mirrored.values()) and landmark_set.mirror != tuple(range(len(landmark_set))):
        raise InputError(
            f"Expected films that face right for the set {landmark_set.name}, whose landmarks "
            "change sides in a mirror, got films that face left: mirror these and their table."
        )
    settings = [vars(fractions), seed, about, sha256(landmarks)]
    fingerprint = _fingerprint(raw, store, mirrored, model, settings)
    if _is_done(out, fingerprint, store, raw, mirrored):
        log.info("Everything is prepared in %s already.", out)
        _report(out, read_json(out / SOURCE))
        return
    _make_films(store, raw, mirrored, workers)
    write_bytes(out / LANDMARKS, landmarks.read_bytes())
    _finish(out, raw, store, model, fractions, seed, workers, about | {"fingerprint": fingerprint})


def _check_out(out: Path, raw: RawData, landmarks: Path) -> None:
    target = (out / IMAGES).resolve()
    if any(film.path.resolve().parent == target for film in raw.films):
        raise InputError(
            f"Expected another folder than that of the raw films for --out, got {out}: their files "
            "could be overwritten."
        )
    written = {(out / name).resolve() for name in WRITTEN}
    given = [raw.labels, landmarks, *(film.path for film in raw.films)]
    lost = sorted({str(path) for path in given if path.resolve() in written})
    if lost:
        raise InputError(
            f"Expected another folder for --out than {out}: step 1 writes a file of its own in the "
            f"place of {', '.join(lost)}."
        )


def _about(source: Path, raw: RawData, description: str, licence: str) -> dict[str, Any]:
    """Where the data come from; phantoms say so in a file beside them."""
    folder = source if source.is_dir() else source.parent
    marker = folder / PHANTOM_MARKER
    known = read_json(marker) if marker.is_file() else {}
    return {
        "phantom": bool(known.get("phantom", False)),
        "description": description or known.get("description", ""),
        "licence": licence if licence != "unknown" else known.get("licence", licence),
        "source": str(source),
        "labels": str(raw.labels),
    }


def _faces_left(film: RawFilm, landmark_set: LandmarkSet) -> bool:
    """Whether the orbit lies left of the ear canal: the network only sees films facing right."""
    if not {"Or", "Po"} <= set(landmark_set.symbols):
        return False
    x = film.truth.points[:, 0]
    orbit, ear = x[landmark_set.index("Or")], x[landmark_set.index("Po")]
    if math.isnan(orbit + ear):
        log.warning("%s: Or or Po is not marked; taken to face right.", film.truth.where)
    return bool(orbit < ear)


def _fingerprint(
    raw: RawData, store: FilmStore, mirrored: dict[str, bool], model: Config, settings: list[Any]
) -> str:
    """Changes with everything that the prepared folder depends on."""
    digest = hashlib.sha256(json.dumps([dataclasses.asdict(model), settings]).encode())
    for film in raw.films:
        truth = film.truth
        row = [film.image_id, film.patient, truth.split, repr(truth.mm_per_px)]
        digest.update(json.dumps([*row, store.key(film, mirrored[film.image_id])]).encode())
        digest.update(truth.points.tobytes())
    digest.update(json.dumps(raw.left_out).encode())
    return digest.hexdigest()


def _is_done(
    out: Path, fingerprint: str, store: FilmStore, raw: RawData, mirrored: dict[str, bool]
) -> bool:
    files = [CONFIG, SOURCE, DUPLICATES, LANDMARKS, *(f"{split}.csv" for split in SPLITS)]
    if not all((out / name).is_file() for name in files):
        return False
    return read_json(out / SOURCE).get("fingerprint") == fingerprint and all(
        store.is_done(film.image_id, store.key(film, mirrored[film.image_id])) for film in raw.films
    )


def _make_films(
    store: FilmStore, raw: RawData, mirrored: dict[str, bool], workers: int | None
) -> None:
    store.check_space(len(raw.films))
    (store.out / CONFIG).unlink(missing_ok=True)  # the later steps need it: nothing half-done
    store.remove_others(film.image_id for film in raw.films)
    store.make(raw, mirrored, workers)


def _finish(
    out: Path,
    raw: RawData,
    store: FilmStore,
    model: Config,
    fractions: Fractions,
    seed: int,
    workers: int | None,
    about: dict[str, Any],
) -> None:
    """Groups, splits and files, from the films that were made."""
    films = [film for film in raw.films if store.records[film.image_id].geometry is not None]
    left_out = raw.left_out | {
        film.image_id: store.records[film.image_id].reason
        for film in raw.films
        if film not in films
    }
    for image_id, reason in left_out.items():
        log.warning("Left out %s: %s", image_id, reason)
    if not films:
        raise InputError(f"Expected films in {raw.labels}, but not one of them can be used.")
    pairs = _write_duplicates(out, films, store, workers, keep=about["repeats_kept"])
    given = [film.truth.split for film in films]
    kept = about["repeats_kept"]  # between the given splits; nobody asked to part the others
    joined = [(one, other) for one, other in pairs if not kept or given[one] == given[other]]
    groups = group_samples([film.patient for film in films], joined)
    splits = assign_splits(groups, given, fractions, seed)
    for split in SPLITS:
        rows = [
            _row(film, group, store)
            for film, group, name in zip(films, groups, splits, strict=True)
            if name == split
        ]
        _write_csv(out / f"{split}.csv", _columns(len(films[0].truth.points)), rows)

    leaking = [f.image_id for f, split in zip(films, splits, strict=True) if split is None]
    training = [f.image_id for f, split in zip(films, splits, strict=True) if split == "train"]
    mean, std = mean_and_std(store.records[image_id] for image_id in training)
    counts = {split: splits.count(split) for split in SPLITS}
    counts |= {"left_out": len(left_out), "leaking": len(leaking)}
    details = {"films": counts, "left_out": left_out, "leaking": leaking}
    about |= details | {"seed": seed, "fractions": vars(fractions), "repeated": len(pairs)}
    write_json(out / SOURCE, about)
    config = dataclasses.replace(model, mean=mean, std=std)
    write_json(out / CONFIG, dataclasses.asdict(config))
    _report(out, about)


def _write_duplicates(
    out: Path, films: Sequence[RawFilm], store: FilmStore, workers: int | None, *, keep: bool
) -> list[tuple[int, int]]:
    """Find pairs of the same picture; in near_duplicates.csv every loader keeps them together.

    Where they are to stay apart (`keep`), that table is empty and they are in kept_repeats.csv.
    """
    from medvial_training.near_duplicates import find_near_duplicates

    images = (store.read(film.image_id) for film in films)
    pairs = find_near_duplicates(images, workers=workers)
    rows = [[films[p.first].image_id, films[p.second].image_id, p.distance] for p in pairs]
    columns = ["image_a", "image_b", "distance"]
    _write_csv(out / DUPLICATES, columns, [] if keep else rows)
    if keep:
        _write_csv(out / KEPT_REPEATS, columns, rows)
    return [(pair.first, pair.second) for pair in pairs]


def _columns(landmarks: int) -> list[str]:
    points = [f"p{number}{axis}" for number in range(1, landmarks + 1) for axis in "xy"]
    return ["image_id", "patient", "group", "scale", *GEOMETRY, "mirrored", *points]


def _row(film: RawFilm, group: str, store: FilmStore) -> list[Any]:
    geometry = store.records[film.image_id].geometry
    values = [getattr(geometry, name) for name in (*GEOMETRY, "mirrored")]
    points = film.truth.points.ravel().tolist()  # (L, 2) => x, y of one landmark after the other
    return [film.image_id, film.patient, group, film.truth.mm_per_px, *values, *points]


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table; NaN becomes an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        empty = [isinstance(value, float) and math.isnan(value) for value in row]
        writer.writerow(["" if e else value for e, value in zip(empty, row, strict=True)])
    write_bytes(path, text.getvalue().encode())


def _report(out: Path, about: dict[str, Any]) -> None:
    counts = about["films"]
    log.info(
        "%s: %d films to train on, %d to validate, %d to test%s.",
        out,
        *(counts[split] for split in SPLITS),
        " (phantoms: no clinical meaning)" if about["phantom"] else "",
    )
    if about["repeats_kept"] and about["repeated"]:
        log.warning("Repeated films are kept: %s", REPEATS_KEPT)
    log.info(
        "%d pairs of films are the same picture; %d films left out so that no split leaks, %d "
        "because they cannot be used (source.json says why).",
        about["repeated"],
        counts["leaking"],
        counts["left_out"],
    )
