"""Tables that somebody wrote about walking videos, and how videos are called in them."""

import csv
from collections.abc import Sequence
from pathlib import Path

from medvial.errors import InputError
from medvial.video import CINE_SUFFIXES


def read_table(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Column names, in small letters, and rows without blanks around their values.

    Raises:
        InputError: There is no such table.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = [(name or "").strip().lower() for name in reader.fieldnames or []]
            reader.fieldnames = columns
            rows = [{k: (v or "").strip() for k, v in row.items() if k} for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"Expected a CSV table at {path}, got: {error}.") from None
    return columns, rows


def need(columns: Sequence[str], wanted: Sequence[str], path: Path) -> None:
    """Refuse a table that lacks a column.

    Raises:
        InputError: Names the columns.
    """
    if not set(wanted) <= set(columns):
        raise InputError(
            f"Expected the columns {', '.join(wanted)} in {path}, got {', '.join(columns)}."
        )


def need_values(row: dict[str, str], names: Sequence[str], path: Path, number: int) -> None:
    """Refuse a row that leaves one of these columns empty.

    Raises:
        InputError: Names the row.
    """
    for name in names:
        if not row[name]:
            raise InputError(f"Expected a {name} in every row of {path}, got none in row {number}.")


def stem(name: str) -> str:
    """A video's name: a listed path without folders and ending."""
    path = Path(name)
    return path.stem if path.suffix.lower() in CINE_SUFFIXES else path.name


def by_path(path: Path) -> str:
    """The name of a video that shares its file's name with others."""
    return "__".join([*path.parts[:-1], stem(path.name)])
