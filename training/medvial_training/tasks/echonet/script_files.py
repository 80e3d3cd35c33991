"""The files that the source's R script joins: size.csv, predictions of clips, FileList.csv."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medvial.errors import InputError
from medvial_training.tasks.echonet.sources import video_name

SIZE_COLUMNS = ("Filename", "Frame", "Size", "HumanLarge", "HumanSmall", "ComputerSmall")
PREDICTION_COLUMNS = ("Filename", "Frame", "EF")  # the file itself has no header


def read_size(path: Path) -> pd.DataFrame:
    """size.csv, its file names without extension.

    Raises:
        InputError: It is missing or lacks a column.
    """
    table = _read_csv(path)
    missing = [name for name in ("Filename", "Frame", "ComputerSmall") if name not in table]
    if missing:
        raise InputError(
            f"Expected the columns {', '.join(SIZE_COLUMNS)} in {path}, got {missing}"
            f" missing. Write it with step 3, or the source's --save_video."
        )
    numbers = {name: _numbers(table, name, path, 2) for name in ("Frame", "ComputerSmall")}
    return table.assign(Filename=table["Filename"].map(_name), **numbers)


def read_predictions(path: Path) -> pd.DataFrame:
    """Predictions of clips, their file names without extension: Filename, Frame, EF.

    Raises:
        InputError: It is missing or has not three columns.
    """
    table = _read_csv(path, header=None)
    if table.shape[1] != len(PREDICTION_COLUMNS):
        raise InputError(
            f"Expected rows of file, start of the clip and EF without header in {path}, got "
            f"{table.shape[1]} columns."
        )
    table.columns = pd.Index(PREDICTION_COLUMNS)
    numbers = {name: _numbers(table, name, path, 1) for name in PREDICTION_COLUMNS[1:]}
    return table.assign(Filename=table["Filename"].map(_name), **numbers)


def read_truth(path: Path) -> dict[str, float]:
    """The EF of every file of a FileList.csv, by name without extension; NaN where none is listed.

    Raises:
        InputError: It is missing, lacks the columns FileName (or Filename) and EF, or an EF is no
            number.
    """
    table = _read_csv(path, dtype=str).rename(columns=str.lower)
    if not {"filename", "ef"} <= set(table):
        raise InputError(f"Expected the columns FileName and EF in {path}, got {list(table)}.")
    ef = _numbers(table, "ef", path, 2, empty=True)
    return dict(zip(table["filename"].map(_name), ef, strict=True))


def _read_csv(path: Path, **options: Any) -> pd.DataFrame:
    try:
        return pd.read_csv(path, **options)
    except (OSError, ValueError) as error:
        raise InputError(f"Expected a CSV file at {path}, got: {error}.") from None


def _numbers(
    table: pd.DataFrame, column: str, path: Path, first_row: int, *, empty: bool = False
) -> "pd.Series[Any]":
    """A column as numbers; the file's row of the first that is none is named."""
    numbers = pd.to_numeric(table[column], errors="coerce")
    wrong = np.flatnonzero(numbers.isna() & ~(table[column].isna() & empty))
    if len(wrong):
        raise InputError(
            f"Expected numbers as {column} in {path}, got '{table[column].iloc[wrong[0]]}' in row "
            f"{first_row + wrong[0]}."
        )
    return numbers


def _name(listed: Any) -> str:
    """The source writes a file's name with extension here and without it there."""
    return video_name(str(listed))
