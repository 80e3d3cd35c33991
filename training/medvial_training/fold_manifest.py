"""The table of a cross-validation manifest: read, completed, and what its columns say."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medvial.errors import InputError
from medvial_training.splits import SYNONYMS

FINAL, FOLD = "final", "fold_"
COLUMNS = ("video", "patient", "group", "site", "label")
_NEEDED = ("video", "patient", "label")


def read_table(path: Path) -> pd.DataFrame:
    """Every cell as text.

    Raises:
        InputError: There is no such file, or it is no table.
    """
    if not path.is_file():
        raise InputError(f"Expected the manifest {path}, found none. Run step 1 first.")
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (ValueError, UnicodeDecodeError) as error:
        raise InputError(f"Expected a CSV table in {path}, got: {error}.") from None


def assert_listed(table: pd.DataFrame, path: Path) -> None:
    """Refuse a manifest's videos that the table of step 1 does not list: nothing is known of them.

    Raises:
        InputError: Names one.
    """
    strange = set(table["video"]) - set(read_table(path)["video"])
    if strange:
        more = f" and {len(strange) - 1} more" if len(strange) > 1 else ""
        raise InputError(
            f"Expected folds of the videos in {path}, got {min(strange)}{more}. Name them as they "
            "are named there."
        )


def completed(table: pd.DataFrame, where: str) -> pd.DataFrame:
    """The same as text, COLUMNS first; a group that is not given is the patient.

    Raises:
        InputError: A video, a patient or a label is missing, or a video is listed twice.
    """
    missing = [name for name in _NEEDED if name not in table]
    if missing:
        raise InputError(f"Expected the column(s) {', '.join(missing)} in {where}.")
    table = table.fillna("").astype(str).reset_index(drop=True)
    for name in _NEEDED:
        empty = np.flatnonzero(table[name].str.strip() == "")
        if empty.size:
            raise InputError(
                f"Expected a {name} in every row of {where}, row {empty[0] + 2} lacks it."
            )
    repeated = table["video"][table["video"].duplicated()].unique()
    if len(repeated):
        raise InputError(f"{where} lists the video {', '.join(repeated[:5])} more than once.")
    table["label"] = table["label"].str.strip()
    for name, value in (("group", table["patient"]), ("site", "")):
        table[name] = table.get(name, value)
    table["group"] = table["group"].where(table["group"].str.strip() != "", table["patient"])
    return table[[*COLUMNS, *(c for c in table if c not in COLUMNS)]]


def fold_names(table: pd.DataFrame) -> tuple[str, ...]:
    """The columns of folds, by number, `final` last; none if only `final` is there."""
    numbered = [str(c) for c in table if str(c).startswith(FOLD)]
    numbered = [c for c in numbered if c.removeprefix(FOLD).isdecimal()]
    numbered.sort(key=lambda name: int(name.removeprefix(FOLD)))
    return (*numbered, *((FINAL,) if numbered and FINAL in table else ()))


def part_of(value: Any, name: str, path: Path) -> str:
    """Train, valid, test or nothing, from any usual spelling.

    Raises:
        InputError: It is something else.
    """
    key = str(value).strip().lower()
    if key and key not in SYNONYMS:
        raise InputError(
            f"{path}: expected train, valid, test or nothing in the column {name}, got {value!r}."
        )
    return SYNONYMS.get(key, "")
