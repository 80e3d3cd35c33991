"""From predicted class probabilities to scores by patient, with intervals over patients.

Two classes have a positive one, which is named wherever its sensitivity is given.
"""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from medvial.errors import InputError
from medvial_training.cases import Cases, Unit, cases_of
from medvial_training.metrics import (
    Bootstrap,
    Estimate,
    ratio,
    reliability_table,
    weighted_statistics,
)
from medvial_training.patients import name_key
from medvial_training.weighted_scores import (
    Counts,
    auroc,
    calibration_error,
    confusion,
    weighted_mean,
)

FloatArray = NDArray[np.float64]

BINARY = (
    *("accuracy", "balanced_accuracy", "sensitivity", "specificity", "precision", "f1"),
    *("auroc", "brier", "calibration_error"),
)
MULTICLASS = (
    *("accuracy", "top5_accuracy", "balanced_accuracy", "macro_f1"),
    *("brier", "calibration_error"),
)
TOP = 5
"""top5_accuracy is given where there are more classes than these: it would be 1 otherwise."""
BINS = 10


def classification_scores(
    table: pd.DataFrame,
    labels: tuple[str, ...],
    positive: str | None = None,
    *,
    by: Unit = "patient",
    threshold: float = 0.5,
    bootstrap: Bootstrap | None = None,
) -> dict[str, Any]:
    """Score predictions, JSON-ready.

    Args:
        table: Predictions as of `cases.cases_of`.
        labels: The classes.
        positive: The positive one of two; the first if None.
        by: What a case is: the patient, or the video.
        threshold: Of the positive class's probability, for rows that do not bring their own.
        bootstrap: How intervals are estimated, the defaults if None; patients are resampled in
            either case.

    Returns:
        `unit`, `cases`, `patients`, `videos`, the scores of `binary_scores` (two classes) or
        `multiclass_scores`, `classes` (cases, precision, recall and F1 of each), `confusion`
        (`labels` and `matrix`, rows the truth), `reliability` and `majority`.
    """
    cases = cases_of(table, labels, by, threshold)
    head: dict[str, Any] = {
        "unit": by,
        "cases": len(cases.truth),
        "patients": len({name_key(name) for name in table["patient"]}),
        "videos": int(table["video"].nunique()),
    }
    bootstrap = bootstrap or Bootstrap()
    if len(labels) == 2:
        return head | binary_scores(cases, positive or labels[0], bootstrap)
    return head | multiclass_scores(cases, bootstrap)


def binary_scores(cases: Cases, positive: str, bootstrap: Bootstrap) -> dict[str, Any]:
    """Scores of two classes, with intervals: those named in BINARY.

    Sensitivity (recall), specificity, precision and F1 are of the positive class, called so from
    the threshold on. Brier: mean squared difference of its probability and the truth, 0 or 1.
    """
    side, probability, threshold = positive_side(cases, positive)
    truth, called = side.astype(np.intp), (probability >= threshold).astype(np.intp)
    squared = (probability - side) ** 2

    def statistics(weights: FloatArray) -> FloatArray:
        counts = Counts(weights, truth, called, 2)
        specificity, sensitivity = counts.recall().T
        columns = [
            counts.accuracy(),
            (sensitivity + specificity) / 2,
            sensitivity,
            specificity,
            counts.precision()[:, 1],
            counts.f1()[:, 1],
            auroc(weights, probability, side),
            weighted_mean(weights, squared),
            calibration_error(weights, probability, side, BINS),
        ]
        return np.column_stack(columns)

    estimates = weighted_statistics(statistics, cases.clusters, bootstrap)
    place = cases.labels.index(positive)
    calls = np.where(called == 1, place, 1 - place)
    return {
        "positive": positive,
        "thresholds": sorted({round(float(value), 4) for value in threshold}),
        **_named(BINARY, estimates),
        **_tables(cases, calls, bootstrap),
        "reliability": [row.as_dict() for row in reliability_table(probability, side, BINS)],
    }


def multiclass_scores(cases: Cases, bootstrap: Bootstrap) -> dict[str, Any]:
    """Scores of any number of classes, with intervals: those named in MULTICLASS.

    `top5_accuracy` is left out where there are no more than five classes: it would always be 1.
    Macro F1 and balanced accuracy are means over the classes that occur. Brier: squared
    differences of all classes' probabilities and the truth, summed over the classes (G. W. Brier,
    1950; 0 to 2). The calibration error is of the most probable class.
    """
    count = len(cases.labels)
    calls = cases.probabilities.argmax(axis=1)
    right, best = calls == cases.truth, cases.probabilities.max(axis=1)
    top5 = _rank_of_truth(cases) < TOP
    squared = ((cases.probabilities - np.eye(count)[cases.truth]) ** 2).sum(axis=1)

    def statistics(weights: FloatArray) -> FloatArray:
        counts = Counts(weights, cases.truth, calls, count)
        columns = [
            counts.accuracy(),
            weighted_mean(weights, top5),
            counts.balanced_accuracy(),
            counts.macro_f1(),
            weighted_mean(weights, squared),
            calibration_error(weights, best, right, BINS),
        ]
        return np.column_stack(columns)

    estimates = weighted_statistics(statistics, cases.clusters, bootstrap)
    scores = _named(MULTICLASS, estimates)
    if count <= TOP:
        del scores["top5_accuracy"]
    return {
        **scores,
        **_tables(cases, calls, bootstrap),
        "reliability": [row.as_dict() for row in reliability_table(best, right, BINS)],
    }


def positive_side(cases: Cases, positive: str) -> tuple[NDArray[np.bool_], FloatArray, FloatArray]:
    """Which cases are positive (N,), that class's probability (N,) and its threshold (N,).

    Raises:
        InputError: There are not two classes, or the positive one is none of them.
    """
    if len(cases.labels) != 2 or positive not in cases.labels:
        raise InputError(
            f"Expected two classes, one of them the positive {positive!r}, got "
            f"{', '.join(cases.labels)}."
        )
    place = cases.labels.index(positive)
    return cases.truth == place, cases.probabilities[:, place], cases.threshold


def roc_points(cases: Cases, positive: str) -> FloatArray | None:
    """(K, 2) false and true positive rate, 0 to 1; None if all cases are of one class."""
    side, probability, _ = positive_side(cases, positive)
    if side.all() or not side.any():
        return None
    false_rate, true_rate, _ = roc_curve(side, probability)
    return np.column_stack([false_rate, true_rate])


def _rank_of_truth(cases: Cases) -> NDArray[np.intp]:
    """(N,) how many classes are more probable than the true one; earlier ones first if equal."""
    order = np.argsort(-cases.probabilities, axis=1, kind="stable")
    return (order == cases.truth[:, None]).argmax(axis=1)


def _tables(cases: Cases, calls: NDArray[np.intp], bootstrap: Bootstrap) -> dict[str, Any]:
    """Per class, confusion, and what always naming the most frequent class would give."""
    count = len(cases.labels)
    numbers = np.bincount(cases.truth, minlength=count)

    def statistics(weights: FloatArray) -> FloatArray:
        counts = Counts(weights, cases.truth, calls, count)
        majority = ratio(counts.true[:, [numbers.argmax()]], counts.true.sum(axis=1)[:, None])
        return np.hstack([counts.precision(), counts.recall(), counts.f1(), majority])

    estimates = weighted_statistics(statistics, cases.clusters, bootstrap)
    each = [
        _named(("precision", "recall", "f1"), estimates[place:-1:count]) for place in range(count)
    ]
    return {
        "classes": [
            {"label": label, "cases": int(number)} | scores
            for label, number, scores in zip(cases.labels, numbers, each, strict=True)
        ],
        "confusion": {
            "labels": list(cases.labels),
            "matrix": confusion(cases.truth, calls, count).tolist(),
        },
        "majority": {
            "label": cases.labels[int(numbers.argmax())],
            "accuracy": estimates[-1].as_dict(),
        },
    }


def _named(names: tuple[str, ...], estimates: list[Estimate]) -> dict[str, Any]:
    return {name: e.as_dict() for name, e in zip(names, estimates, strict=True)}
