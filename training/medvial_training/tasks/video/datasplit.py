"""Training, validation and test videos: random, whole groups at a time, alike in their classes."""

import logging
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medvial.errors import InputError
from medvial_training.split_dealing import Fractions, assign_splits
from medvial_training.splits import SPLITS

log = logging.getLogger(__name__)

NEEDED = 3  # groups of a class that can be in each of the three parts


@dataclass(frozen=True)
class Sample:
    """What the split goes by."""

    name: str
    label: str
    group: str
    given: str = ""
    """The split that its source names; empty where it names none."""


def make_datasplit(samples: Sequence[Sample], fractions: Fractions, seed: int) -> list[str | None]:
    """Put every sample into train, valid or test.

    A split that the source names is kept, but for samples whose group is on a later side too; a
    part that it lacks is drawn from its training samples. No class is only in validation or test:
    a class of few groups stays in training, and a warning names it.

    Args:
        samples: All samples.
        fractions: Shares of validation and test where they are drawn.
        seed: Same seed, same split.

    Returns:
        Per sample its split, or None where it is left out.

    Raises:
        InputError: A named split is unknown or partly missing, puts a class into validation or
            test alone, or no class has enough groups to validate on.
    """
    groups = [sample.group for sample in samples]
    given = [sample.given or None for sample in samples]
    none = Fractions(0, 0)
    if fractions.test == 1:
        return assign_splits(groups, given, fractions, seed, test_alone=True)
    splits = assign_splits(groups, given, none, seed, test_alone=True)
    if set(splits) <= {"test", None}:
        return splits
    _check_given(samples, splits)
    wanted = {
        part: share
        for part, share in (("valid", fractions.valid), ("test", fractions.test))
        if part not in splits and share > 0
    }
    if wanted:
        _draw(samples, splits, wanted, seed)
    _warn(samples, splits)
    if "valid" in wanted and "valid" not in splits:
        raise InputError(
            "Expected a class with at least 2 videos (of different patients or groups) to validate "
            "on, got none. Give more videos; or, to try the steps out only, split each video in "
            "time by --within_video."
        )
    return splits


def _check_given(samples: Sequence[Sample], splits: Sequence[str | None]) -> None:
    of = _labels_by_split(samples, splits)
    unknown = sorted((of["valid"] | of["test"]) - of["train"])
    if unknown:
        raise InputError(
            f"Expected training videos of every class, got none of {', '.join(unknown[:5])}"
            f"{' and others' if len(unknown) > 5 else ''} in the split that the source names. Let "
            "step 1 split anew by --resplit."
        )


def _draw(
    samples: Sequence[Sample], splits: list[str | None], wanted: dict[str, float], seed: int
) -> None:
    """Move training groups to the wanted parts, class by class, the rarest class first."""
    groups_of = _groups_by_class(samples, splits)
    part_of: dict[str, str] = {}
    rng = np.random.default_rng(seed)
    for label in sorted(groups_of, key=lambda name: (len(groups_of[name]), name)):
        names = groups_of[label]
        shuffled = [names[i] for i in rng.permutation(len(names))]
        free = [name for name in shuffled if name not in part_of]
        sizes = _sizes(len(names), wanted)
        for part, size in sizes.items():
            size -= sum(part_of.get(name) == part for name in names)
            for name in free[: max(0, size)]:
                part_of[name] = part
            free = free[max(0, size) :]
        part_of |= dict.fromkeys(free, "train")
    _keep_in_training(groups_of, part_of)
    for index, sample in enumerate(samples):
        if splits[index] == "train":
            splits[index] = part_of[sample.group]


def _groups_by_class(
    samples: Sequence[Sample], splits: Sequence[str | None]
) -> dict[str, list[str]]:
    """The training groups that have samples of each class, in order of their names."""
    found: dict[str, set[str]] = defaultdict(set)
    for sample, split in zip(samples, splits, strict=True):
        if split == "train":
            found[sample.label].add(sample.group)
    return {label: sorted(groups) for label, groups in found.items()}


def _sizes(count: int, wanted: dict[str, float]) -> dict[str, int]:
    """Groups of a class for each part: one at least, validation first, if training keeps one."""
    sizes: dict[str, int] = {}
    left = count - 1
    for part, share in wanted.items():
        sizes[part] = min(max(1, round(share * count)), left)
        left -= sizes[part]
    return sizes


def _keep_in_training(groups_of: dict[str, list[str]], part_of: dict[str, str]) -> None:
    """Bring a group back for a class that groups of several classes have left without training."""
    for names in groups_of.values():
        if all(part_of[name] != "train" for name in names):
            part_of[names[0]] = "train"


def _warn(samples: Sequence[Sample], splits: Sequence[str | None]) -> None:
    of = _labels_by_split(samples, splits)
    parts = [part for part in SPLITS if of[part]]
    lacking = {
        label: [part for part in ("valid", "test") if part in parts and label not in of[part]]
        for label in sorted(of["train"])
    }
    lacking = {label: missing for label, missing in lacking.items() if missing}
    if not lacking:
        return
    counts = Counter(label for label, _ in {(s.label, s.group) for s in samples})
    named = [
        f"{label} ({counts[label]}, not in {' or '.join(lacking[label])})" for label in lacking
    ]
    log.warning(
        "%d of %d classes have too few videos, by patient or group, to be in each part: %s%s. "
        "%d are needed; scores say nothing of a class that is not tested.",
        len(lacking),
        len(of["train"]),
        ", ".join(named[:5]),
        " and others" if len(named) > 5 else "",
        NEEDED,
    )


def _labels_by_split(
    samples: Sequence[Sample], splits: Sequence[str | None]
) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {split: set() for split in SPLITS}
    for sample, split in zip(samples, splits, strict=True):
        if split is not None:
            found[split].add(sample.label)
    return found
