"""From predictions of videos to predictions of patients.

The unit of every clinical score is the patient: the probabilities of a video's clips are averaged
over the video, and those of a patient's videos over the patient. Videos of one patient with
different classes (before and after an operation) are different cases of that patient: each class
is a case, and intervals resample the patient with all cases.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medvial.errors import InputError
from medvial_training.patients import name_key

Unit = Literal["patient", "video"]
PREFIX = "p_"
SUM_TOLERANCE = 1e-3  # a table may have been rounded


@dataclass(frozen=True)
class Cases:
    """What is scored: N cases of C classes."""

    labels: tuple[str, ...]
    """The classes, in the order of the probabilities."""

    truth: NDArray[np.intp]
    """(N,) position of the true class in `labels`."""

    probabilities: NDArray[np.float64]
    """(N, C), 0 to 1, rows of sum 1."""

    clusters: NDArray[np.str_]
    """(N,) what is resampled: the patient, or the group of patients that share something."""

    names: NDArray[np.str_]
    """(N,) the patient or the video."""

    threshold: NDArray[np.float64]
    """(N,) probability of the positive class from which a case of two classes is called so."""


def probability_columns(labels: Sequence[str]) -> list[str]:
    """Names of the columns with the classes' probabilities in a table of predictions."""
    return [f"{PREFIX}{label}" for label in labels]


def cases_of(
    table: pd.DataFrame,
    labels: Sequence[str],
    by: Unit = "patient",
    threshold: float = 0.5,
) -> Cases:
    """Average the predictions of clips and videos.

    Args:
        table: A row a clip or a video: `video`, `patient`, `label`, the probability of each class
            in p_LABEL; where known `group`, and `threshold`, that of the network which made the
            prediction (folds may differ).
        labels: The classes.
        by: What a case is.
        threshold: For rows that do not bring their own.

    Raises:
        InputError: A column or a probability is missing, or a label is none of `labels`.
    """
    columns = probability_columns(labels)
    _check(table, labels, columns)
    rows = table.assign(
        threshold=table.get("threshold", threshold),
        group=table["group"] if "group" in table else table["patient"],
        patient_key=[name_key(name) for name in table["patient"]],
    )
    keys = ["patient_key", "label", "video"]
    first = dict.fromkeys(["patient", "group"], "first")
    means = dict.fromkeys([*columns, "threshold"], "mean")
    cases = rows.groupby(keys, sort=False, as_index=False).agg(first | means)
    if by == "patient":
        cases = cases.groupby(keys[:2], sort=False, as_index=False).agg(first | means)
    return Cases(
        tuple(labels),
        np.array([list(labels).index(label) for label in cases["label"]], dtype=np.intp),
        cases[columns].to_numpy(np.float64),
        cases["group"].to_numpy(np.str_),
        cases[by].to_numpy(np.str_),
        cases["threshold"].to_numpy(np.float64),
    )


def _check(table: pd.DataFrame, labels: Sequence[str], columns: list[str]) -> None:
    missing = [name for name in ("video", "patient", "label", *columns) if name not in table]
    if missing:
        raise InputError(f"Expected predictions with the column(s) {', '.join(missing)}.")
    unknown = sorted(set(table["label"]) - set(labels))
    if unknown:
        raise InputError(
            f"Expected labels of {', '.join(labels)}, got {', '.join(map(str, unknown))}."
        )
    if not len(table):
        raise InputError("Expected predictions of at least one video, got none.")
    values = table[columns].to_numpy(np.float64)
    right = (values >= 0).all(axis=1) & (np.abs(values.sum(axis=1) - 1) < SUM_TOLERANCE)
    if not right.all():
        row = int(np.argmin(right))
        raise InputError(
            f"Expected probabilities from 0 to 1 of sum 1, got {values[row].tolist()} for the "
            f"video {table['video'].iloc[row]}."
        )
