"""Scores of the item by a clinician: one row a recording, one column a leg."""

import csv
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from medvial.errors import InputError
from medvial.gait.leg_agility.signals import LEGS, Leg
from medvial_training.patients import name_key, patient_column
from medvial_training.tasks.gait.leg_agility.options import FLAG, LegOptions

log = logging.getLogger(__name__)

SHEETS = (".csv", ".xlsx", ".xls")
SCORES = range(5)  # of an item of the MDS-UPDRS
_WHOLE = re.compile(r"(-?\d+)\.0+")  # what a workbook makes of 2

Cells = Sequence[str]


@dataclass(frozen=True)
class Rated:
    """One row: a recording's scores."""

    video: str
    """As the sheet names it."""
    patient: str
    scores: dict[Leg, int | None]
    """0 to 4 of each leg; None where it was not rated."""
    row: int
    """In the sheet; the header is row 1."""
    site: str = ""


def find_labels(source: Path, options: LegOptions) -> Path:
    """The sheet of scores: the one that is named, or the only one that has a column of scores.

    Raises:
        InputError: There is none, or there are several.
    """
    if options.labels is not None:
        if not options.labels.is_file():
            raise InputError(f"Expected the sheet of scores {options.labels}, got no such file.")
        return options.labels
    sheets = label_sheets(source, options)
    if len(sheets) != 1:
        names = ", ".join(path.name for path in sheets) or "none"
        raise InputError(
            f"Expected one sheet of scores ({', '.join(SHEETS)}) with the column "
            f"{options.left_column} in {source}, got {names}. Name it by {FLAG}.labels FILE, its "
            f"columns by {FLAG}.left_column, .right_column and .video_column."
        )
    return sheets[0]


def label_sheets(source: Path, options: LegOptions) -> list[Path]:
    """The tables of a folder that have the column of the left leg's scores."""
    wanted = name_key(options.left_column)
    sheets = sorted(p for p in source.glob("*") if p.suffix.lower() in SHEETS and p.is_file())
    return [path for path in sheets if wanted in map(name_key, _header(path, options))]


def read_labels(path: Path, options: LegOptions) -> list[Rated]:
    """All rows of the sheet that name a recording.

    Raises:
        InputError: A column is missing, a recording stands there twice, a score is none of 0 to 4
            and not marked as unrated, or a patient is not named; says which row.
    """
    header, *rows = _read(path, options)
    column = _finder(path, header)
    video = column(options.video_column, "video_column")
    legs = [column(getattr(options, f"{leg}_column"), f"{leg}_column") for leg in LEGS]
    site = None if options.site_column is None else column(options.site_column, "site_column")
    patient_of = _patients(path, header, options)
    rated = []
    for number, cells in enumerate(rows, 2):
        where = f"row {number} of {path.name}"
        if not cells[video]:
            _check_empty(cells, where)
            continue
        scores = {
            leg: _score(cells[index], f"{where} ({cells[video]}), {leg} leg", options)
            for leg, index in zip(LEGS, legs, strict=True)
        }
        place = "" if site is None else cells[site]
        rated.append(Rated(cells[video], patient_of(cells, where), scores, number, place))
    _check_once(path, rated)
    return rated


def _finder(path: Path, header: Cells) -> Callable[[str, str], int]:
    """A function from a column's name, and the option that gives it, to its index."""
    keys = [name_key(name) for name in header]

    def find(name: str, option: str) -> int:
        if name_key(name) in keys:
            return keys.index(name_key(name))
        raise InputError(
            f"Expected the column {name} in {path.name}, got {', '.join(filter(None, header))}. "
            f"Name yours by {FLAG}.{option}."
        )

    return find


def _score(cell: str, where: str, options: LegOptions) -> int | None:
    """A whole number of the item; None where unrated."""
    if not cell or cell.casefold() in {text.casefold() for text in options.unrated}:
        return None
    if cell.isdecimal() and int(cell) in SCORES:
        return int(cell)
    raise InputError(
        f"Expected a score of 0 to 4, {', '.join(options.unrated)} or an empty cell in {where}, "
        f"got {cell!r}."
    )


def _patients(path: Path, header: Cells, options: LegOptions) -> Callable[[Cells, str], str]:
    """The function that names a row's patient; the log says by what."""
    find = _finder(path, header)
    if options.patient_pattern is not None:
        pattern = re.compile(options.patient_pattern)
        names = find(options.video_column, "video_column")
        log.info("Patients are told by %s in %s.", pattern.pattern, options.video_column)
        return lambda cells, where: _matched(pattern, cells[names], where)
    name = options.patient_column or patient_column(header)
    if name is None:
        raise InputError(
            f"Expected a column that names the patient in {path.name}, got "
            f"{', '.join(filter(None, header))}. Name it by {FLAG}.patient_column, or give "
            f"{FLAG}.patient_pattern REGEX that finds the patient in a recording's name; "
            f"{FLAG}.patient_column {options.video_column} says that each is of another patient."
        )
    column = find(name, "patient_column")
    log.info("Patients are told by the column %s of %s.", name, path.name)
    return lambda cells, where: _named(cells[column], name, where)


def _matched(pattern: re.Pattern[str], video: str, where: str) -> str:
    found = pattern.search(video)
    patient = "" if found is None else next((g for g in (*found.groups(), found[0]) if g), "")
    if not patient:
        raise InputError(
            f"Expected the patient in {video!r} by {FLAG}.patient_pattern {pattern.pattern!r}, "
            f"found none ({where})."
        )
    return patient


def _named(cell: str, name: str, where: str) -> str:
    if not cell:
        raise InputError(f"Expected a patient in the column {name} of {where}, got none.")
    return cell


def _check_empty(cells: Cells, where: str) -> None:
    if any(cells):
        raise InputError(
            f"Expected the name of a recording in {where}, got none beside "
            f"{next(filter(None, cells))!r}."
        )


def _check_once(path: Path, rated: Sequence[Rated]) -> None:
    if not rated:
        raise InputError(f"Expected recordings in {path.name}, got none.")
    rows: dict[str, int] = {}
    for row in rated:
        first = rows.setdefault(name_key(row.video), row.row)
        if first != row.row:
            raise InputError(
                f"Expected each recording once in {path.name}, got {row.video} in rows {first} and "
                f"{row.row}."
            )


def _header(path: Path, options: LegOptions) -> list[str]:
    """The first row; empty where the file cannot be read, since it may be somebody else's."""
    try:
        return _read(path, options)[0]
    except InputError:
        return []


def _read(path: Path, options: LegOptions) -> list[list[str]]:
    """All cells as text without blanks around it, rows of one length, the header first."""
    try:
        is_csv = path.suffix.lower() == ".csv"
        rows = _read_csv(path) if is_csv else _read_book(path, options.sheet)
    except Exception as error:  # what a damaged workbook raises depends on the package that reads
        raise InputError(f"Expected a table in {path}, got: {error}.") from None
    if not rows or not any(rows[0]):
        raise InputError(f"Expected a header in the first row of {path}, got none.")
    width = max(len(row) for row in rows)
    return [row + [""] * (width - len(row)) for row in rows]


def _read_csv(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        header = file.readline()
        file.seek(0)
        delimiter = max(",;\t", key=header.count)  # spreadsheets write what their country does
        return [[_text(cell) for cell in row] for row in csv.reader(file, delimiter=delimiter)]


def _read_book(path: Path, sheet: str | None) -> list[list[str]]:
    import pandas as pd  # late: it takes a second

    table = pd.read_excel(
        path, sheet_name=sheet or 0, header=None, dtype=object, keep_default_na=False
    )
    cells = table.astype(object).where(table.notna(), "")
    return [[_text(cell) for cell in row] for row in cells.to_numpy().tolist()]


def _text(cell: object) -> str:
    text = str(cell).strip()
    whole = _WHOLE.fullmatch(text)
    return whole[1] if whole else text
