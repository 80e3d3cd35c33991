"""Dealing samples out to training, validation and test: whole groups, so that nobody is in two."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from medvial.errors import InputError
from medvial_training.patients import name_key
from medvial_training.splits import SPLITS, SYNONYMS

NO_TRAINING = "Expected samples to train on, got none in the split train."


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
