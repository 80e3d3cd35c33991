"""Training, validation and test sets that share no patient and no picture.

A manifest is a CSV file train.csv, valid.csv or test.csv with a row per sample. All tasks use the
columns image_id (the sample), patient, and group: samples of one group (one patient, or nearly the
same picture) belong on one side. Whoever made the manifests, loading them asserts it.
"""

import csv
import logging
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from medvial.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

SPLITS = ("train", "valid", "test")
KEYS = ("image_id", "patient", "group")
SPELT = ("patient", "group")  # names of people, in whatever spelling; the first names a file
DUPLICATES = "near_duplicates.csv"
KEPT_REPEATS = "kept_repeats.csv"  # pairs that step 1 was told to leave on both sides
NO_TRAINING = "Expected samples to train on, got none in the split train."
SYNONYMS = {"train": "train", "training": "train", "valid": "valid", "val": "valid"}
SYNONYMS |= {"validation": "valid", "test": "test", "testing": "test"}


@dataclass(frozen=True)
class Fractions:
    """Shares of the groups that become validation and test data; the rest is for training.

    Ignored for a split that the data bring with them. Test 1 and validation 0 make data to test on
    alone, where the task allows it.
    """

    valid: float = 0.125
    """Share of the groups for validation, 0 to 1."""

    test: float = 0.125
    """Share of the groups for the test, 0 to 1."""

    def __post_init__(self) -> None:
        """Refuse shares that leave nothing to train on, unless everything is for the test.

        Raises:
            InputError: A share is negative, or both together reach 1.
        """
        test_alone = (self.valid, self.test) == (0, 1)
        below_one = self.valid >= 0 and self.test >= 0 and self.valid + self.test < 1
        if not (below_one or test_alone):
            raise InputError(
                "Expected fractions.valid and fractions.test of at least 0 and together below 1 "
                f"(or 0 and 1: all for the test), got {self.valid} and {self.test}."
            )


def name_key(name: str) -> str:
    """A name as it is compared: Unicode NFKC, without case, blanks and invisible characters."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", str(name)).casefold())
    return "".join(c for c in folded if not c.isspace() and unicodedata.category(c) != "Cf")


def group_samples(patients: Sequence[str], pairs: Iterable[tuple[int, int]]) -> list[str]:
    """The group of each sample: patients joined where they share nearly the same picture.

    Args:
        patients: The patient of each sample; spellings are compared by `name_key`.
        pairs: Positions of samples that are nearly the same picture.

    Returns:
        Per sample the name of its group: the first patient of it in the given order.
    """
    count = len(patients)
    first_of: dict[str, int] = {}
    keys = map(name_key, patients)
    links = [(index, first_of.setdefault(key, index)) for index, key in enumerate(keys)]
    rows, columns = np.array([*links, *pairs], dtype=np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(len(rows)), (rows, columns)), shape=(count, count))
    _, labels = connected_components(graph, directed=False)
    first: dict[int, str] = {}
    return [
        first.setdefault(int(label), name) for label, name in zip(labels, patients, strict=True)
    ]


def assign_splits(
    groups: Sequence[str],
    given: Sequence[str | None] | None = None,
    fractions: Fractions = Fractions(),
    seed: int = 0,
    *,
    test_alone: bool = False,
) -> list[str | None]:
    """Put every sample into train, valid or test, whole groups at a time.

    A split that is given is kept, and what is missing of it is taken out of its training samples.
    A given split whose group is also on a later side (train before valid before test) would leak,
    so those samples are left out: the benchmark's test stays whole.

    Args:
        groups: The group of each sample.
        given: The split of each sample, or None for all or none of them.
        fractions: Shares of the groups for the splits that are not given.
        seed: Same seed, same splits.
        test_alone: Whether samples that are all for the test, with nothing to train on, will do.

    Returns:
        Per sample its split, or None where it is left out.

    Raises:
        InputError: A given split is unknown or partly missing, or there are too few groups.
    """
    splits = _read_given(given, len(groups))
    assigned: list[str | None] = (
        _without_leaks(groups, splits) if splits else ["train"] * len(groups)
    )
    if test_alone and _all_for_test(splits, fractions):
        return ["test"] * len(groups)
    for split, share in (("test", fractions.test), ("valid", fractions.valid)):
        if split in (splits or ()) or share == 0:
            continue
        if share == 1:
            raise InputError(NO_TRAINING)
        # Validation is taken after the test: its share of what is left is larger.
        if split == "valid" and "test" not in (splits or ()):
            share /= 1 - fractions.test
        _carve(assigned, groups, split, share, seed)
    if "train" not in assigned:
        raise InputError(NO_TRAINING)
    return assigned


def _all_for_test(splits: Sequence[str] | None, fractions: Fractions) -> bool:
    """Whether the given split says so, or, where there is none, the fractions do."""
    return fractions.test == 1 if splits is None else set(splits) == {"test"}


def _read_given(given: Sequence[str | None] | None, count: int) -> list[str] | None:
    if given is None or not any(given):
        return None
    if len(given) != count:
        raise ValueError(f"{len(given)} splits for {count} samples")
    for position, name in enumerate(given):
        if (name or "").strip().lower() not in SYNONYMS:
            raise InputError(
                f"Expected the split of every sample to be train, valid or test, got {name!r} for "
                f"sample {position + 1}."
            )
    return [SYNONYMS[(name or "").strip().lower()] for name in given]


def _without_leaks(groups: Sequence[str], splits: Sequence[str]) -> list[str | None]:
    latest: dict[str, int] = {}
    for group, split in zip(groups, splits, strict=True):
        latest[group] = max(latest.get(group, 0), SPLITS.index(split))
    return [
        split if SPLITS.index(split) == latest[group] else None
        for group, split in zip(groups, splits, strict=True)
    ]


def _carve(
    assigned: list[str | None], groups: Sequence[str], split: str, share: float, seed: int
) -> None:
    """Move a share of the training groups, one at least, to another split."""
    names = sorted({group for group, name in zip(groups, assigned, strict=True) if name == "train"})
    if len(names) < 2:
        raise InputError(
            "Expected at least 2 groups (patients, or films that are not the same picture) to take "
            f"{split} data from, got {len(names)}. Give more data, or set fractions.{split} to 0."
        )
    size = min(max(1, round(share * len(names))), len(names) - 1)
    moved = set(np.random.default_rng(seed).permutation(names)[:size].tolist())
    for index, group in enumerate(groups):
        if assigned[index] == "train" and group in moved:
            assigned[index] = split


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
