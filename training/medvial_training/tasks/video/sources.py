"""The forms in which videos and their classes come, told apart by what is there."""

import csv
import logging
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from medvial.errors import InputError
from medvial_training.patients import patient_column
from medvial_training.splits import SYNONYMS
from medvial_training.tasks.video.annotations import ANNOTATIONS, read_annotations
from medvial_training.tasks.video.listing import (
    FILM_SUFFIXES,
    Places,
    RawData,
    RawVideo,
    check_names,
    frame_files,
)

log = logging.getLogger(__name__)

VIDEO_COLUMNS = ("video", "folder_name", "file", "filename", "path", "youtube_id")
LABEL_COLUMNS = ("label", "class", "category")
GROUP_COLUMNS = ("group", "youtube_id")
FORMS = (
    "annotations.json; a CSV file with the columns video and label (or youtube_id, folder_name, "
    "label); or a folder for each class"
)


def open_source(source: Path, videos: Path | None, patient_pattern: str | None) -> RawData:
    """List the videos of a source.

    Args:
        source: A folder, an annotations.json or a CSV file.
        videos: Where listed videos lie, if not beside the list.
        patient_pattern: Regular expression; what it finds in a video's name (its first group, if it
            has one) is the patient. None takes the patient from the source.

    Raises:
        InputError: It is none of the forms, or two videos share a name.
    """
    raw = _read(source, videos)
    if not raw.videos:
        why = f" The first reason: {raw.rejected[0][0]}: {raw.rejected[0][1]}."
        raise InputError(f"Expected videos in {source}, got none.{why if raw.rejected else ''}")
    check_names(raw.videos)
    if patient_pattern is None:
        if all(video.patient == video.name for video in raw.videos):
            log.warning(
                "%s names no patient: every video counts as its own patient. Name them in a column "
                "(patient, patient_id, subject, pid, mrn), or by --patient_pattern.",
                source,
            )
        return raw
    return RawData(_with_patients(raw.videos, patient_pattern), raw.labels, raw.rejected)


def _read(source: Path, videos: Path | None) -> RawData:
    if source.is_file():
        read = read_annotations if source.suffix.lower() == ".json" else read_table
        return read(source, videos)
    if not source.is_dir():
        raise InputError(f"Expected a folder or file for --source, got {source}.")
    if (source / ANNOTATIONS).is_file():
        return read_annotations(source / ANNOTATIONS, videos)
    tables = sorted(source.glob("*.csv"))
    if len(tables) > 1:
        names = ", ".join(p.name for p in tables)
        raise InputError(f"Expected one CSV file in {source}, got {names}. Name it by --source.")
    return read_table(tables[0], videos) if tables else read_class_folders(source)


def read_table(path: Path, videos: Path | None) -> RawData:
    """List the videos of a CSV file.

    Args:
        path: The file, with a column for the video, one for its class, and if known patient,
            group and split; names of columns in either case.
        videos: Folder that its videos are relative to; looked for beside it if None.

    Raises:
        InputError: A column is missing, or a row has no video or class.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = [name.strip().lower() for name in reader.fieldnames or ()]
            reader.fieldnames = columns
            rows = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"Expected a CSV table in {path}, got: {error}.") from None
    video_column = _column(columns, VIDEO_COLUMNS, path)
    label_column = _column(columns, LABEL_COLUMNS, path)
    patients = patient_column(columns) or video_column
    group_column = next((c for c in GROUP_COLUMNS if c in columns), video_column)
    log.info(
        "%s: classes by the column %s, patients by %s, groups by %s.",
        *(path.name, label_column, patients, group_column),
    )
    places = Places.around(path, videos)
    listed: list[RawVideo] = []
    rejected: list[tuple[str, str]] = []
    for number, row in enumerate(rows, start=2):
        text = {name: (row.get(name) or "").strip() for name in columns}
        name, label = text[video_column], text[label_column]
        if not name or not label:
            raise InputError(
                f"Expected {video_column} and {label_column} in every row of {path}, got {name!r} "
                f"and {label!r} in row {number}."
            )
        found = places.find(name)
        if found is None:
            rejected.append((name, f"no such file or folder of frames below {places}"))
            continue
        patient = text[patients] or name
        listed.append(
            RawVideo(name, found, label, patient, text[group_column], text.get("split", ""))
        )
    return RawData(listed, _labels(listed), rejected)


def _column(columns: list[str], known: tuple[str, ...], path: Path) -> str:
    for name in known:
        if name in columns:
            return name
    raise InputError(f"Expected a column {known[0]} in {path}, got {', '.join(columns) or 'none'}.")


def read_class_folders(source: Path) -> RawData:
    """List the videos of <class>/<video> or <split>/<class>/<video>; a video is a file or a folder.

    Raises:
        InputError: There are no folders of that kind.
    """
    folders = _folders(source)
    names = {folder.name.lower() for folder in folders}
    by_split = bool(names) and names <= SYNONYMS.keys() and len(names) > 1
    listed = []
    for folder in (f for top in folders for f in (_folders(top) if by_split else [top])):
        split = folder.parent.name if by_split else ""
        for path in _videos_in(folder):
            stem = path.name if path.is_dir() else path.stem
            name = (folder.relative_to(source) / stem).as_posix()
            listed.append(RawVideo(name, path, folder.name, name, split=split))
    if not listed:
        raise InputError(f"Expected {FORMS}, got none of them in {source}.")
    return RawData(listed, _labels(listed))


def _folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _videos_in(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        film = path.is_file() and path.suffix.lower() in FILM_SUFFIXES
        if film or (path.is_dir() and frame_files(path)):
            yield path


def _labels(videos: list[RawVideo]) -> tuple[str, ...]:
    return tuple(sorted({video.label for video in videos}))


def _with_patients(videos: list[RawVideo], pattern: str) -> list[RawVideo]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise InputError(
            f"Expected a regular expression for patient_pattern, got: {error}."
        ) from None
    found = [(video, compiled.search(video.name)) for video in videos]
    missing = [video.name for video, match in found if match is None]
    if missing:
        raise InputError(
            f"Expected patient_pattern {pattern!r} in the name of every video, got none in "
            f"{missing[0]} ({len(missing)} of {len(videos)})."
        )
    return [
        replace(video, patient=match.group(1 if compiled.groups else 0))
        for video, match in found
        if match is not None
    ]
