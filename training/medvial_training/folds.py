"""Cross-validation by patient: folds that share nobody, as a manifest.

A manifest is a CSV file with a row a video: `video`, `patient`, `group` (videos of one group, a
patient or nearly the same picture, belong together), `site`, `label`, `sha256` of the file where it
is known, and a column a fold, `fold_1` to `fold_k`, that says train, valid or test; `final` is
the network that is shipped: train and valid, and test if data were held out of all folds. An
empty place leaves a video out of a fold. Models are chosen on valid; test is looked at once.

A patient may have videos of several classes, before and after an operation for instance: all of
them lie on one side, and each counts for its own class when classes are spread over the folds.

Whoever made the manifest, loading it asserts that no part shares anything with another.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medvial.errors import InputError
from medvial.outputs import write_bytes
from medvial_training.classification_figures import fold_figure
from medvial_training.fold_dealing import deal_parts, patient_tests, site_tests
from medvial_training.fold_manifest import (
    FINAL,
    FOLD,
    completed,
    fold_names,
    part_of,
    read_table,
)
from medvial_training.leaks import assert_apart, join_groups, known_of
from medvial_training.report import figure_png
from medvial_training.splits import SPLITS

log = logging.getLogger(__name__)

KNOWN = "videos.csv"


@dataclass(frozen=True)
class Folds:
    """A checked manifest."""

    table: pd.DataFrame
    """A row a video: COLUMNS, `sha256` where known, whatever else the manifest has, all text, and
    a column for each of `names` with train, valid, test or nothing."""

    names: tuple[str, ...]
    """The folds in order, `fold_1` to `fold_k`, then `final` if the manifest has it."""

    @property
    def tested(self) -> tuple[str, ...]:
        """Those of the folds that belong to the cross-validation."""
        return tuple(name for name in self.names if name != FINAL)

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes, sorted."""
        return tuple(sorted(self.table["label"].unique()))

    def part(self, fold: str, split: str) -> pd.DataFrame:
        """The videos of one part (train, valid or test) of one fold; rows numbered from 0."""
        return self.table[self.table[fold] == split].reset_index(drop=True)


def make_folds(
    table: pd.DataFrame,
    k: int = 5,
    seed: int = 0,
    by: Literal["patient", "site"] = "patient",
    valid_share: float = 0.2,
) -> pd.DataFrame:
    """Spread the videos over folds, whole groups at a time, the classes as evenly as possible.

    By patient: scikit-learn's StratifiedGroupKFold, shuffled. By site: each site is tested once;
    its patients' videos at other sites are left out then. The validation part is taken out of
    what is not tested, in the same way.

    Args:
        table: A row a video with `video`, `patient`, `label`; where known `group`, `site`,
            `sha256`, and `split`: videos whose split is test are held out of all folds, and are
            the test of `final`.
        k: Number of folds; by site there are as many as sites.
        seed: Same seed, same folds.
        by: What is left out together.
        valid_share: Share of what is not tested that validates, above 0, at most 0.5.

    Returns:
        The manifest: the table with `group` joined by patient, given group and file, and a
        column a fold.

    Raises:
        InputError: A column is missing, or there are too few groups or sites.
    """
    if k < 2 or not 0 < valid_share <= 0.5:
        raise InputError(
            "Expected at least 2 folds and a valid_share above 0 and at most 0.5, got "
            f"{k} and {valid_share}."
        )
    result = completed(table, "the table of videos")
    result["group"] = join_groups(result)
    held_out = _held_out(result)
    result, pool = result.drop(columns="split", errors="ignore"), np.flatnonzero(~held_out)
    tests = site_tests(result, pool) if by == "site" else patient_tests(result, pool, k, seed)
    for number, test in enumerate(tests, start=1):
        result[f"{FOLD}{number}"] = deal_parts(result, pool, test, valid_share, seed)
    result[FINAL] = deal_parts(result, pool, np.flatnonzero(held_out), valid_share, seed)
    made = Folds(result, fold_names(result))
    for line in [*missing_classes(made), *_odd_shares(made, valid_share)]:
        log.warning("%s", line)
    return result


def write_folds(path: Path, table: pd.DataFrame) -> None:
    """Write a manifest, whole or not at all."""
    write_bytes(path, table.to_csv(index=False, lineterminator="\n").encode())


def load_folds(path: Path) -> Folds:
    """Read a manifest, checked.

    Also one that has a single column `fold` with the number of the fold that tests a video, from
    0 or from 1. Validation parts are then made as `make_folds` does, and `final` where missing.
    What step 1 wrote of the same videos into videos.csv beside it (patient, group, sha256) is
    checked too, whatever the manifest says.

    Raises:
        InputError: The file is missing or unusable, or two parts of a fold share something.
    """
    table = completed(read_table(path), str(path))
    if not fold_names(table):
        table = _from_numbers(table, path)
    if FINAL not in table:
        known = known_of(path.parent / KNOWN, table["video"].tolist())
        joined = table.assign(group=join_groups(table, known))
        table[FINAL] = deal_parts(joined, np.arange(len(table)), np.arange(0), 0.2, seed=0)
    names = fold_names(table)
    for name in names:
        table[name] = [part_of(value, name, path) for value in table[name]]
    check_folds(table, path)
    return Folds(table, names)


def check_folds(table: pd.DataFrame, path: Path) -> None:
    """Refuse, by name, folds whose parts share something or that lack a part."""
    known = known_of(path.parent / KNOWN, table["video"].tolist())
    for name in fold_names(table):
        parts = table[name].tolist()
        _assert_apart(table, parts, known, f"{path}: {name}")
        for split in SPLITS[: 2 if name == FINAL else 3]:
            if split not in parts:
                raise InputError(f"{path}: {name} has no video in {split}. Make folds by step 1.")


def folds_report(folds: Folds, out: Path) -> pd.DataFrame:
    """Count patients and videos of every class in every part of every fold.

    Leaves the counts as out/fold_counts.csv and, drawn, as out/fold_counts.png.

    Returns:
        A row for each fold, part and class: `fold`, `part`, `label`, `patients`, `videos`; a
        patient with videos of two classes counts for both.
    """
    table = folds.table
    rows = [
        (fold, split, label, chosen["group"].nunique(), len(chosen))
        for fold in folds.names
        for split in SPLITS
        if (table[fold] == split).any()
        for label in folds.labels
        for chosen in [table[(table[fold] == split) & (table["label"] == label)]]
    ]
    counts = pd.DataFrame(rows, columns=["fold", "part", "label", "patients", "videos"])
    write_bytes(Path(out) / "fold_counts.csv", counts.to_csv(index=False).encode())
    write_bytes(Path(out) / "fold_counts.png", figure_png(fold_figure(counts)))
    return counts


def missing_classes(folds: Folds) -> list[str]:
    """A line for every class that a part of a fold has no patient of."""
    lines = []
    for label in folds.labels:
        have = [(f, s) for f in folds.names for s in SPLITS if (folds.table[f] == s).any()]
        gaps = [f"{f} {s}" for f, s in have if label not in set(folds.part(f, s)["label"])]
        if gaps:
            patients = folds.table.loc[folds.table["label"] == label, "group"].nunique()
            lines.append(
                f"Class {label} has {patients} patient(s), too few to be in every part; it is not "
                f"in {', '.join(gaps)}."
            )
    return lines


def _odd_shares(folds: Folds, valid_share: float) -> list[str]:
    """A line that names the folds whose validation part is a patient or more off its share.

    Groups are kept whole and classes even, and a class may have few patients.
    """
    odd = []
    for fold in folds.names:
        known = folds.table[folds.table[fold].isin(SPLITS[:2])]
        valid, count = (t["group"].nunique() for t in (folds.part(fold, "valid"), known))
        if abs(valid - valid_share * count) > 1:
            odd.append(f"{valid} of {count} in {fold}")
    if not odd:
        return []
    return [f"Patients that validate, with valid_share {valid_share:g}: {', '.join(odd)}."]


def _assert_apart(
    table: pd.DataFrame, parts: Sequence[str], known: dict[str, list[str]], where: str
) -> None:
    videos = table["video"].tolist()
    columns = [c for c in ("video", "patient", "group", "sha256") if c in table]
    assert_apart({c: table[c].tolist() for c in columns}, parts, videos, where)
    assert_apart(known, parts, videos, f"{where}, by {KNOWN}")


def _held_out(table: pd.DataFrame) -> NDArray[np.bool_]:
    """Which rows a given split keeps for the test alone; their groups must all be there."""
    given = table.get("split", [""] * len(table))
    parts = [part_of(value, "split", Path("the table of videos")) for value in given]
    sides = ["test" if part == "test" else "folds" for part in parts]
    _assert_apart(table, sides, {}, "The given split")
    return np.array([side == "test" for side in sides])


def _from_numbers(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The other spelling of a manifest: the column `fold` says which fold tests a video."""
    numbers = [str(value).strip() for value in table.get("fold", [])]
    if not numbers or not all(number.isdecimal() for number in numbers):
        raise InputError(
            f"Expected columns fold_1, fold_2 and so on in {path}, or a column fold with whole "
            "numbers in every row. Make the folds by step 1, or correct them."
        )
    known = known_of(path.parent / KNOWN, table["video"].tolist())
    _assert_apart(table, [f"fold {number}" for number in numbers], known, f"{path}")
    table, fold_of = table.drop(columns="fold"), np.array(numbers, dtype=int)
    table["group"] = join_groups(table, known)
    pool = np.arange(len(table))
    for position, number in enumerate(sorted(set(fold_of.tolist())), start=1):
        test = np.flatnonzero(fold_of == number)
        table[f"{FOLD}{position}"] = deal_parts(table, pool, test, 0.2, seed=0)
    return table
