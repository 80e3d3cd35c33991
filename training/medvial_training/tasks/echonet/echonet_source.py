"""The layout of EchoNet-Dynamic: FileList.csv, VolumeTracings.csv, Videos/."""

import csv
import math
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from medvial.echonet.config import Config
from medvial.errors import InputError
from medvial.video import CINE_SUFFIXES
from medvial_training.patients import patient_column
from medvial_training.tasks.echonet.reading import read_clip
from medvial_training.tasks.echonet.sources import RawData, RawVideo, log, video_name

FILE_LIST, TRACINGS, VIDEOS = "FileList.csv", "VolumeTracings.csv", "Videos"
TRACING_COLUMNS = ("filename", "x1", "y1", "x2", "y2", "frame")
DICOM_MARK_AT = 128  # bytes
EF_TOLERANCE = 1.0  # points between the listed EF and that of the listed volumes

Row = dict[str, str]


def open_echonet(source: Path, config: Config, patients: str | None = None) -> RawData:
    """List the videos of a folder in the layout of EchoNet-Dynamic.

    Names are taken with and without extension, headers and splits in any case. What cannot be
    used is named in `rejected`.

    Args:
        source: Folder with FileList.csv, VolumeTracings.csv and Videos/.
        config: Size of the networks' frames.
        patients: Column of FileList.csv that names the patient; None takes the one that
            `patients.patient_column` finds, else every video is a patient of its own.

    Raises:
        InputError: A table is missing or lacks a column, a number or the split is unusable, or
            every EF is 1 or less.
    """
    table = source / FILE_LIST
    rows = _read_table(table, ("filename",))
    column = _patient_column(rows[0] if rows else {}, patients, table)
    files = _video_files(source / VIDEOS)
    data = RawData([])
    for name, row in _without_repeats(rows, data).items():
        path = files.get(name)
        if path is None:
            data.rejected.append((name, f"no video of this name in {VIDEOS}/"))
            continue
        data.videos.append(_video(name, row, path, config, column, table))
    if not data.videos:
        listed = ", ".join(list(_without_repeats(rows, RawData([])))[:3])
        raise InputError(
            f"Expected videos for the rows of {table} in {source / VIDEOS} "
            f"({', '.join(CINE_SUFFIXES)} or DICOM), got none. Listed: {listed or 'no row'}."
        )
    _check_percent(data, table)
    _add_tracings(source / TRACINGS, data)
    _check_volumes(data)
    return data


def _read_table(path: Path, needed: tuple[str, ...]) -> list[Row]:
    """Rows by lower-case column; the row's number from 1, the header's, under `#`."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            header = [name.strip().lower() for name in next(reader, [])]
            rows = [(reader.line_num, row) for row in reader if any(row)]
    except OSError as error:
        raise InputError(
            f"Expected {path}, got: {error.strerror}. --source names the folder with {FILE_LIST}, "
            f"{TRACINGS} and {VIDEOS}/."
        ) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"Expected a CSV table in UTF-8 in {path}, got: {error}.") from None
    missing = [name for name in needed if name not in header]
    if missing:
        hint = " X and Y alone are EchoNet-Pediatric's outlines." if "x" in header else ""
        raise InputError(
            f"{path}: expected the columns {', '.join(needed)} in any order, lacks "
            f"{', '.join(missing)}; got {','.join(header)[:80] or 'an empty file'}.{hint}"
        )
    wrong = [number for number, row in rows if len(row) != len(header)]
    if wrong:
        raise InputError(f"{path}, row {wrong[0]}: expected {len(header)} columns.")
    return [{**dict(zip(header, row, strict=True)), "#": str(number)} for number, row in rows]


def _patient_column(row: Row, wanted: str | None, table: Path) -> str | None:
    if wanted is not None:
        if wanted.lower() not in row:
            raise InputError(
                f"{table}: expected the column {wanted} (--patient_column), got {','.join(row)}."
            )
        return wanted.lower()
    found = patient_column(row)
    if found is None:
        log.warning(
            "%s names no patient: every video counts as its own patient. Name them in a column "
            "(Patient, Subject, PID, MRN), or name that column by --patient_column.",
            table,
        )
    return found


def _video_files(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise InputError(f"Expected the folder {folder} with the videos, got no such folder.")
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or not _is_video(path):
            continue
        name = video_name(path.name)
        if name in files:
            raise InputError(
                f"Expected one video of the name {name} in {folder}, got {files[name].name} and "
                f"{path.name}."
            )
        files[name] = path
    return files


def _is_video(path: Path) -> bool:
    """By its extension; files of another or none may be DICOM."""
    if path.suffix.lower() in CINE_SUFFIXES or not path.is_file():
        return path.is_file()
    with path.open("rb") as file:
        return file.read(DICOM_MARK_AT + 4)[DICOM_MARK_AT:] == b"DICM"


def _without_repeats(rows: list[Row], data: RawData) -> dict[str, Row]:
    """Rows by video; a video listed twice with other values is rejected."""
    first: dict[str, Row] = {}
    for row in rows:
        name = video_name(row["filename"])
        if not name:
            raise InputError(f"{FILE_LIST}, row {row['#']}: expected a name in FileName, got none.")
        known = first.setdefault(name, row)
        if known is row:
            continue
        changes = [k for k in row if k not in ("#", "filename") and row[k] != known[k]]
        what = f"with another {', '.join(changes)}; neither is used" if changes else "alike"
        data.rejected.append((name, f"listed twice, in rows {known['#']} and {row['#']}, {what}"))
        if changes:
            first[name] = {**known, "conflict": "yes"}
    return {name: row for name, row in first.items() if "conflict" not in row}


def _video(
    name: str, row: Row, path: Path, config: Config, patients: str | None, table: Path
) -> RawVideo:
    where = f"{table}, row {row['#']}"
    number = partial(_number, row, where=where)
    ef = number("ef")
    if not (math.isnan(ef) or 0 <= ef <= 100):
        raise InputError(f"{where}: expected EF from 0 to 100 percent, got {row['ef']!r}.")
    patient = row[patients].strip() if patients else name
    if not patient:
        raise InputError(f"{where}: expected a patient in {patients}, got none.")
    return RawVideo(
        name=name,
        path=path,
        read=partial(read_clip, path, config),
        patient=patient,
        split=row.get("split", "").strip(),
        ef=ef,
        esv=number("esv"),
        edv=number("edv"),
        fps=number("fps"),
        frame_count=number("numberofframes"),
    )


def _check_percent(data: RawData, table: Path) -> None:
    """Refuse ejection fractions that are all 1 or less: shares, not percent."""
    known = [video for video in data.videos if math.isfinite(video.ef)]
    if known and max(video.ef for video in known) <= 1:
        raise InputError(
            f"{table}: expected EF in percent (0 to 100), got none above 1 ({known[0].ef:g} for "
            f"{known[0].name}). Multiply the column by 100."
        )


def _number(row: Row, name: str, *, where: str) -> float:
    """A number of at least 0; NaN where the cell is empty or the column is not there."""
    text = row.get(name, "").strip()
    if text.lower() in ("", "nan", "na"):
        return math.nan
    try:
        value = float(text)
    except ValueError:
        value = math.inf
    if not 0 <= value < math.inf:
        raise InputError(f"{where}: expected {name} as a number of at least 0, got {text!r}.")
    return value


def _add_tracings(path: Path, data: RawData) -> None:
    """Give the videos their tracings, whatever the order of the rows' frames."""
    if not path.is_file():
        log.warning("No %s: these videos train the ejection fraction alone.", path)
        return
    found: dict[str, dict[int, list[list[float]]]] = defaultdict(lambda: defaultdict(list))
    for row in _read_table(path, TRACING_COLUMNS):
        frame = _frame(row, path)
        found[video_name(row["filename"])][frame].append(
            [_coordinate(row, k) for k in TRACING_COLUMNS[1:5]]
        )
    videos = {video.name: video for video in data.videos}
    for name, frames in found.items():
        if name not in videos:
            if name not in {rejected for rejected, _ in data.rejected}:
                data.rejected.append((name, f"traced in {TRACINGS}, not listed in {FILE_LIST}"))
            continue
        videos[name].tracings = {k: np.array(rows) for k, rows in sorted(frames.items())}


def _frame(row: dict[str, Any], path: Path) -> int:
    try:
        value = float(row["frame"])
    except ValueError:
        value = math.nan
    if not (value >= 0 and value == int(value)):
        raise InputError(
            f"{path}, row {row['#']}: expected Frame as a whole number from 0, got "
            f"{row['frame']!r}."
        )
    return int(value)


def _coordinate(row: Row, name: str) -> float:
    """A coordinate in pixels; NaN, which rejects the tracing, where it is none."""
    try:
        return float(row[name])
    except ValueError:
        return math.nan


def _check_volumes(data: RawData) -> None:
    """Warn of ejection fractions that the listed volumes contradict."""
    wrong = [
        v.name
        for v in data.videos
        if v.edv > 0 and abs(100 * (v.edv - v.esv) / v.edv - v.ef) > EF_TOLERANCE
    ]
    if wrong:
        log.warning(
            "%d video(s) list an EF that is more than %g points from (EDV - ESV) / EDV, %s first; "
            "the listed EF is used.",
            len(wrong),
            EF_TOLERANCE,
            wrong[0],
        )
