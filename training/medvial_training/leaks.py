"""What makes two videos dependent, one patient, group or file, and refusing parts that share it.

Patients are compared as people read them: "P07", " p07 " and "Ｐ０７" are one patient.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from medvial.errors import InputError
from medvial_training.patients import name_key
from medvial_training.split_dealing import group_samples

if TYPE_CHECKING:
    import pandas as pd

KEYS = {
    "video": "The video",
    "patient": "The patient",
    "group": "The group",
    "sha256": "The file with the sha256",
}
"""Columns whose values must lie on one side, and how a message names them."""


def join_groups(
    table: "pd.DataFrame", known: Mapping[str, Sequence[str]] | None = None
) -> list[str]:
    """The group of each video: joined by patient, by given group and by file content.

    Args:
        table: A row a video with `patient`, and, where known, `group` and `sha256`; empty values
            join nothing.
        known: What joins videos beside that, a value a row: see `known_of`.

    Returns:
        Per row the name of its group: the first patient of it, as first spelled.
    """
    first: dict[str, str] = {}
    patients = [first.setdefault(name_key(p), str(p).strip()) for p in table["patient"]]
    pairs = []
    columns: list[Iterable[str]] = [table.get(column, []) for column in ("group", "sha256")]
    for values in (*columns, *(known or {}).values()):
        seen: dict[str, int] = {}
        for row, value in enumerate(values):
            if key := name_key(value):
                pairs.append((row, seen.setdefault(key, row)))
    return group_samples(patients, pairs)


def assert_apart(
    columns: Mapping[str, Sequence[str]], parts: Sequence[str], names: Sequence[str], where: str
) -> None:
    """Refuse parts that share a patient, a group, a video or a file.

    Args:
        columns: What must not be shared: for each of `KEYS` its value for every row; empty
            values are not compared.
        parts: The part of every row; empty where the row is not used.
        names: How a message names every row: its video.
        where: The manifest and the fold, for the message.

    Raises:
        InputError: Names what is shared, as it is spelled in either part, and two of its videos.
    """
    for column, values in columns.items():
        first: dict[str, int] = {}
        for row, value in enumerate(values):
            key = name_key(value)
            if not key or not parts[row]:
                continue
            other = first.setdefault(key, row)
            if parts[other] == parts[row]:
                continue
            spelled = repr(values[other])
            if values[other] != value:
                spelled += f" (also spelled {value!r})"
            raise InputError(
                f"{where}: {KEYS[column]} {spelled} is in {parts[other]} ({names[other]}) and in "
                f"{parts[row]} ({names[row]}): a score would not be independent of the training. "
                "Keep each on one side, or make the folds again with step 1."
            )


def known_of(path: Path, videos: Sequence[str]) -> dict[str, list[str]]:
    """What a table of step 1 knows of some videos: patient, group and sha256, empty if not known.

    A manifest of another hand may lack these, or say something else.

    Args:
        path: A CSV file with the column `video`; one that is not there knows nothing.
        videos: Names of the videos wanted.
    """
    import pandas as pd

    if not path.is_file():
        return {}
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    if "video" not in table:
        return {}
    rows = table.drop_duplicates("video").set_index("video")
    rows = rows.reindex(list(videos), fill_value="")
    return {c: rows[c].tolist() for c in ("patient", "group", "sha256") if c in rows}
