"""The table of a cross-validation manifest: read, completed, and what its columns say."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from medvial.errors import InputError
from medvial_training.patients import name_key
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


def assert_enough(
    patients: Sequence[str], sites: Sequence[str], k: int, by: Literal["patient", "site"]
) -> None:
    """Refuse a list of videos that cannot make folds whatever is in them, before they are read.

    Args:
        patients: Of each video.
        sites: Of each video; empty where not known.
        k: Number of folds.
        by: What is left out together.

    Raises:
        InputError: There are too few patients, or sites.
    """
    if by == "site":
        assert_sites(sorted(set(map(name_key, sites))))
    else:
        assert_enough_patients(len(set(map(name_key, patients))), k)


def assert_enough_patients(count: int, k: int) -> None:
    """Refuse fewer patients than folds and a validation part need.

    Raises:
        InputError: There are too few.
    """
    if count < k + 1:
        raise InputError(
            f"Expected at least {k + 1} patients for {k} folds with a validation part, got "
            f"{count}. Ask for fewer folds, or give more data."
        )


def assert_sites(names: Sequence[str]) -> None:
    """Refuse sites of which none can be left out.

    Raises:
        InputError: There is one, or a video without.
    """
    if len(names) < 2 or "" in names:
        raise InputError(
            f"Expected every video's site, and two sites at least, to leave one out; got "
            f"{', '.join(map(repr, names))}. Fill the column site, or fold by patient."
        )
