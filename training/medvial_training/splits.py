"""Training, validation and test sets that share no patient and no picture.

A manifest is a CSV file train.csv, valid.csv or test.csv with a row per sample. All tasks use the
columns image_id (the sample), patient, and group: samples of one group (one patient, or nearly the
same picture) belong on one side. Whoever made the manifests, loading them asserts it.
"""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medvial.errors import InputError
from medvial_training.patients import name_key

if TYPE_CHECKING:
    import pandas as pd

SPLITS = ("train", "valid", "test")
KEYS = ("image_id", "patient", "group")
SPELT = ("patient", "group")  # names of people, in whatever spelling; the first names a file
DUPLICATES = "near_duplicates.csv"
KEPT_REPEATS = "kept_repeats.csv"  # pairs that step 1 was told to leave on both sides
SYNONYMS = {"train": "train", "training": "train", "valid": "valid", "val": "valid"}
SYNONYMS |= {"validation": "valid", "test": "test", "testing": "test"}


def load_splits(folder: Path) -> dict[str, "pd.DataFrame"]:
    """Read the manifests of a prepared folder, checked to be disjoint.

    Returns:
        A frame per split; `image_id`, `patient` and `group` as text.

    Raises:
        InputError: A manifest or the table of near-duplicates is missing or unusable, or two
            manifests share something.
    """
    frames = {split: _read_csv(Path(folder) / f"{split}.csv") for split in SPLITS}
    assert_disjoint(frames, where=Path(folder))
    _assert_pairs_together(frames, Path(folder) / DUPLICATES)
    return frames


def read_manifest(folder: Path, split: str) -> "pd.DataFrame":
    """Read one manifest; the others are read too, to assert that they are disjoint.

    Raises:
        InputError: As in `load_splits`, or the split is unknown.
    """
    if split not in SPLITS:
        raise InputError(f"Expected a split of {', '.join(SPLITS)}, got {split!r}.")
    return load_splits(folder)[split]


def assert_disjoint(frames: Mapping[str, "pd.DataFrame"], where: Path | None = None) -> None:
    """Refuse manifests that share a sample, a patient or a group, or repeat a sample.

    Raises:
        InputError: Names what is shared, and between which splits.
    """
    prefix = f"{where}: " if where else ""
    for split, frame in frames.items():
        repeated = frame["image_id"][frame["image_id"].duplicated()].unique()
        if len(repeated):
            raise InputError(
                f"{prefix}{split}.csv lists image_id {_some(repeated)} more than once."
            )
    names = list(frames)
    for position, first in enumerate(names):
        for second in names[position + 1 :]:
            for key in KEYS:
                spelt = name_key if key in SPELT else str
                others = {spelt(name) for name in frames[second][key]}
                shared = {name for name in frames[first][key] if spelt(name) in others}
                if shared:
                    raise InputError(
                        f"{prefix}{first}.csv and {second}.csv share {key} "
                        f"{_some(sorted(shared))}: "
                        "a score on one would not be independent of the other. Keep each on one "
                        "side, or run step 1 again."
                    )


def _read_csv(path: Path) -> "pd.DataFrame":
    import pandas as pd  # late: step 1 holds its memory low

    if not path.is_file():
        raise InputError(f"Expected the manifest {path}, found none. Run step 1 first.")
    try:
        frame = pd.read_csv(
            path,
            dtype=dict.fromkeys(KEYS, str),
            keep_default_na=False,
            na_values={key: ["", "nan", "NaN"] for key in _columns(path) - set(KEYS)},
        )
    except (ValueError, UnicodeDecodeError) as error:
        raise InputError(f"Expected a CSV table in {path}, got: {error}.") from None
    missing = [key for key in KEYS if key not in frame]
    if missing:
        raise InputError(
            f"Expected the column(s) {', '.join(missing)} in {path}, got {_some(frame)}. "
            "Repeat the image_id where a patient or a group is not known."
        )
    for key in KEYS:
        empty = np.flatnonzero(frame[key].str.strip() == "")
        if empty.size:
            raise InputError(
                f"Expected a value for {key} in every row of {path}, got none in row "
                f"{empty[0] + 2}."
            )
    return frame


def _columns(path: Path) -> set[str]:
    with path.open(newline="", encoding="utf-8") as file:
        return set(next(csv.reader(file), []))


def read_pairs(path: Path) -> list[tuple[str, str]]:
    """Names of samples that are nearly the same picture; none where there is no such table.

    Raises:
        InputError: The table cannot be read, or a pair lacks one of its two names.
    """
    if not path.is_file():
        return []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or []
            pairs = [(row.get("image_a") or "", row.get("image_b") or "") for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"Expected a readable table at {path}, got: {error}.") from None
    if not {"image_a", "image_b"} <= set(columns):
        got = ", ".join(columns) or "none"
        raise InputError(f"Expected the columns image_a and image_b in {path}, got {got}.")
    half = [number for number, pair in enumerate(pairs, start=2) if not all(pair)]
    if half:
        raise InputError(
            f"Expected image_a and image_b in every row of {path}, not so: {half[:5]}."
        )
    return pairs


def _assert_pairs_together(frames: Mapping[str, "pd.DataFrame"], path: Path) -> None:
    """Refuse manifests that part the near-duplicates which step 1 found."""
    if not path.is_file():
        raise InputError(
            f"Expected the table of near-duplicates {path}, found none: nothing says that no film "
            "is on two sides. Run step 1 again, or write one (image_a,image_b,distance); a header "
            "alone says that there are none."
        )
    split_of = {name: split for split, frame in frames.items() for name in frame["image_id"]}
    for first, second in read_pairs(path):
        sides = {split_of[name] for name in (first, second) if name in split_of}
        if len(sides) > 1:
            raise InputError(
                f"{path} says that {first} and {second} are nearly the same picture, but they are "
                f"in {' and '.join(sorted(sides))}. Keep both on one side, or leave one out."
            )


def _some(names: Iterable[Any]) -> str:
    """The first few names."""
    texts = [str(name) for name in names]
    return ", ".join(texts[:5]) + (f" and {len(texts) - 5} more" if len(texts) > 5 else "")
