"""Walking videos and what is known of them: a table, or a folder a class."""

import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from medvial.errors import InputError
from medvial.gait.track import Box
from medvial.video import CINE_SUFFIXES
from medvial_training.tasks.gait.walking.listing import (
    by_path,
    need,
    need_values,
    read_table,
    stem,
)

log = logging.getLogger(__name__)

LABELS = "labels.csv"
SIDES = ("train", "val", "valid", "test")  # folders of the source's layout around the classes
WHOLE = "raw"  # the source's folder of all videos, beside its copies of them for each fold
_FOLD = re.compile(r"fold_?\d+$")


@dataclass(frozen=True)
class WalkingOptions:
    """What is not in the videos themselves."""

    patient_pattern: str | None = None
    """Whose video it is, where no table says so: a regular expression on the file's name from its
    beginning; its first group, or all that it matches, is the patient. `.{15}` takes the first 15
    characters."""

    patients: Path | None = None
    """The same as a table: CSV with the columns video and patient."""

    patient_boxes: Path | None = None
    """Who is the patient where others walk too: CSV with video, x0, y0, x1, y1 in pixels and
    optionally time_s, when they are there."""

    sheets: bool = True
    """Draw a contact sheet a video, to see who was followed; later, too, those that are missing."""

    rcnn: str | None = None
    """Find people by torchvision's keypointrcnn_resnet50_fpn or fasterrcnn_resnet50_fpn instead of
    BlazePose's detector: a file of its weights, or torchvision:NAME, which downloads them. For a
    GPU; the container cuts by BlazePose."""

    def __post_init__(self) -> None:
        """Refuse a pattern that is none, before anything is read."""
        _compiled(self.patient_pattern or "")


@dataclass(frozen=True)
class WalkingVideo:
    """One video as its source lists it."""

    name: str
    path: Path
    patient: str
    label: str
    site: str = ""
    box: Box | None = None
    """Of the patient, in pixels of the file; None chooses whoever walks."""
    box_time_s: float | None = None


@dataclass(frozen=True)
class WalkingVideos:
    """What a source holds."""

    videos: list[WalkingVideo]
    rejected: list[tuple[str, str]]
    """(video, reason) of what is listed and not used."""


def holds(source: Path) -> bool:
    """Whether a folder holds walking videos: a table with labels, or a folder a class."""
    if (source / LABELS).is_file():
        return {"video", "patient", "label"} <= set(read_table(source / LABELS)[0])
    return bool(_class_folders(source))


def open_walking(source: Path, options: WalkingOptions) -> WalkingVideos:
    """List the videos of a folder.

    Args:
        source: Folder with labels.csv (video, patient, label and optionally site; the files lie
            anywhere below it), with a folder a class, or with train/ and val/ of such folders.
        options: What is said beside it.

    Raises:
        InputError: It is no such folder, somebody's patient, label or box is not known, or the
            table and the options both say whose a video is.
    """
    if not source.is_dir():
        raise InputError(f"Expected a folder for --source, got {source}.")
    listed = (source / LABELS).is_file()
    found = _by_table(source, options) if listed else _by_folder(source, options)
    return WalkingVideos(_with_boxes(found.videos, options.patient_boxes), found.rejected)


def _by_table(source: Path, options: WalkingOptions) -> WalkingVideos:
    if given := [n for n in ("patients", "patient_pattern") if getattr(options, n) is not None]:
        raise InputError(
            f"Expected the patients from {source / LABELS}, whose column patient names them, got "
            f"--walking_options.{given[0]} too. Leave it out, or put its patients into the column."
        )
    columns, rows = read_table(source / LABELS)
    need(columns, ("video", "patient", "label"), source / LABELS)
    files = _files_below(source)
    used, rejected = [], []
    for number, row in enumerate(rows, 2):
        need_values(row, ("video", "patient", "label"), source / LABELS, number)
        path = _find(row["video"], source, files)
        if path is None:
            rejected.append((row["video"], "listed, but there is no such file"))
            continue
        used.append((path, row))
    names = _names([path for path, _ in used], source)
    videos = [
        WalkingVideo(names[path], path, row["patient"], row["label"], row.get("site", ""))
        for path, row in used
    ]
    _unlike(video.name for video in videos)
    return WalkingVideos(videos, rejected)


def _by_folder(source: Path, options: WalkingOptions) -> WalkingVideos:
    classes = _class_folders(source)
    if not classes:
        raise InputError(
            f"Expected {LABELS} or a folder of videos for each class in {source} (or in train/ and "
            f"val/ below it), got {', '.join(sorted(p.name for p in source.iterdir())[:8])}."
        )
    if any(folder.parent.name in SIDES for folder in classes):
        log.info("The sides that these folders name are not kept: folds are made by patient.")
    paths = [(path, folder.name) for folder in classes for path in _videos_in(folder)]
    names = _names([path for path, _ in paths], source)
    patients = _patients(paths, names, options)
    videos = [WalkingVideo(names[path], path, patients[path], label) for path, label in paths]
    return WalkingVideos(videos, [])


def _names(paths: Sequence[Path], source: Path) -> dict[Path, str]:
    """What each file is called: its own name or, where several share it, its path."""
    repeated = _repeated(path.stem for path in set(paths))
    return {
        path: by_path(_below(path, source)) if path.stem in repeated else path.stem
        for path in paths
    }


def _below(path: Path, source: Path) -> Path:
    """A file's path from the source; of one that lies elsewhere, all of its path."""
    path, source = path.absolute(), source.absolute()
    return path.relative_to(source if path.is_relative_to(source) else path.anchor)


def _class_folders(source: Path) -> list[Path]:
    """Folders with videos right below a folder, its sides, or its folder `raw`."""
    if not source.is_dir():
        return []
    folders = sorted(path for path in source.iterdir() if path.is_dir())
    sides = [path for path in folders if path.name in SIDES]
    inner = [p for side in sides for p in sorted(side.iterdir()) if p.is_dir()]
    if inner:
        return [path for path in inner if _videos_in(path)]
    if (source / WHOLE).is_dir() and _class_folders(source / WHOLE):
        return _class_folders(source / WHOLE)
    plain = [p for p in folders if not _FOLD.match(p.name) and p.name not in SIDES]
    return [path for path in plain if _videos_in(path)]


def _patients(
    paths: Sequence[tuple[Path, str]], names: dict[Path, str], options: WalkingOptions
) -> dict[Path, str]:
    """The patient of each file, from the table or the pattern that the options name.

    Raises:
        InputError: Neither is given, or it does not say whose a video is.
    """
    if options.patients is not None:
        known = _listed_patients(options.patients)
        found = {p: known.get(names[p]) or known.get(p.stem) for p, _ in paths}
        where = f"in {options.patients}, by name or, where names repeat, by path"
    elif options.patient_pattern is not None:
        pattern = _compiled(options.patient_pattern)
        found = {p: _matched(pattern, p.name) for p, _ in paths}
        where = f"by --walking_options.patient_pattern {options.patient_pattern}"
    else:
        raise InputError(
            f"Expected to be told whose video {paths[0][0].name} is, got no patient. Give "
            "--walking_options.patients FILE.csv (video,patient), or --walking_options."
            "patient_pattern REGEX if file names begin with the patient."
        )
    if unknown := [p.name for p, name in found.items() if not name]:
        raise InputError(
            f"Expected a patient for every video {where}, got none for {unknown[0]}"
            + (f" and {len(unknown) - 1} more." if len(unknown) > 1 else ".")
        )
    return {path: name for path, name in found.items() if name}


def _listed_patients(table: Path) -> dict[str, str]:
    """The patient by a video's name and by its path; no name that stands for several patients."""
    columns, rows = read_table(table)
    need(columns, ("video", "patient"), table)
    known: dict[str, set[str]] = {}
    for row in rows:
        for key in (stem(row["video"]), by_path(Path(row["video"]))):
            known.setdefault(key, set()).add(row["patient"])
    return {key: min(patients) for key, patients in known.items() if len(patients) == 1}


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise InputError(
            f"Expected a regular expression for patient_pattern, got {pattern}: {error}."
        ) from None


def _matched(pattern: re.Pattern[str], name: str) -> str | None:
    match = pattern.match(name)
    return match and match[1 if pattern.groups else 0]


def _with_boxes(videos: list[WalkingVideo], table: Path | None) -> list[WalkingVideo]:
    """The videos, with the patient's box where the table has one."""
    if table is None:
        return videos
    columns, rows = read_table(table)
    need(columns, ("video", "x0", "y0", "x1", "y1"), table)
    names = {video.name for video in videos}
    boxes = {}
    for row in rows:
        path_name = by_path(Path(row["video"]))
        boxes[path_name if path_name in names else stem(row["video"])] = _box(row, table)
    if strange := sorted(set(boxes) - names):
        raise InputError(f"Expected boxes of videos of the source in {table}, got {strange[0]}.")
    return [replace(v, **boxes.get(v.name, {})) for v in videos]


def _box(row: dict[str, str], table: Path) -> dict[str, Any]:
    try:
        x0, y0, x1, y1 = (float(row[side]) for side in ("x0", "y0", "x1", "y1"))
        time_s = float(row["time_s"]) if row.get("time_s") else None
    except ValueError:
        raise InputError(
            f"Expected numbers for the box of {row['video']} in {table}, got {list(row.values())}."
        ) from None
    if x1 <= x0 or y1 <= y0:
        raise InputError(
            f"Expected x0 < x1 and y0 < y1 for the box of {row['video']} in {table}, got "
            f"{x0:g} {y0:g} {x1:g} {y1:g}."
        )
    return {"box": (x0, y0, x1, y1), "box_time_s": time_s}


def _files_below(source: Path) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in sorted(source.rglob("*")):
        if path.suffix.lower() in CINE_SUFFIXES:
            found.setdefault(path.name, []).append(path)
    return found


def _find(name: str, source: Path, files: dict[str, list[Path]]) -> Path | None:
    """The file that a table names, by its path or by a name that is there once."""
    if (source / name).is_file():
        return source / name
    hits = files.get(Path(name).name, [])
    hits = hits or [p for paths in files.values() for p in paths if p.stem == name]
    if len(hits) > 1:
        raise InputError(f"Expected one file {name} below {source}, got {len(hits)}: give paths.")
    return hits[0] if hits else None


def _videos_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in CINE_SUFFIXES)


def _repeated(names: Iterable[str]) -> set[str]:
    seen: set[str] = set()
    return {name for name in names if name in seen or seen.add(name)}  # type: ignore[func-returns-value]


def _unlike(names: Iterable[str]) -> None:
    if repeated := _repeated(names):
        raise InputError(
            f"Expected another file name for every video in {LABELS}, got {min(repeated)} twice."
        )
