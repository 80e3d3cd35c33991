"""Scores of ratings against scikit-learn and by hand."""

import numpy as np
import pytest
from sklearn import metrics as sk

from medvial.errors import InputError
from medvial_training.metrics import Bootstrap
from medvial_training.ordinal_scores import ordinal_scores
from medvial_training.weighted_scores import quadratic_weighted_kappa

FEW = Bootstrap(resamples=50)
LEVELS = (0, 1, 2, 3, 4)


def ratings(count=70, seed=0):
    """The real set's frequencies; the model is a point off now and then."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(4, count, p=[0.36, 0.48, 0.13, 0.03])
    predicted = np.clip(truth + rng.choice([-1, 0, 0, 1, 2], count), 0, 4)
    return truth, predicted, [f"P{n // 2}" for n in range(count)]


def test_scores_are_those_of_sklearn():
    truth, predicted, patients = ratings()
    scores = ordinal_scores(truth, predicted, patients, LEVELS, FEW)
    expected = {
        "accuracy": sk.accuracy_score(truth, predicted),
        "balanced_accuracy": sk.recall_score(
            truth, predicted, average="macro", labels=[0, 1, 2, 3]
        ),
        "mae": sk.mean_absolute_error(truth, predicted),
        "within_one": np.mean(np.abs(truth - predicted) <= 1),
        "kappa": sk.cohen_kappa_score(truth, predicted, weights="quadratic"),
    }
    assert {name: scores[name]["value"] for name in expected} == pytest.approx(expected)
    assert (
        scores["confusion"]["matrix"]
        == sk.confusion_matrix(truth, predicted, labels=LEVELS).tolist()
    )
    assert (scores["ratings"], scores["patients"]) == (70, 35)
    assert all(scores[n]["low"] <= scores[n]["value"] <= scores[n]["high"] for n in expected)


def test_kappa_of_every_resample():
    truth, predicted, _ = ratings(40, seed=3)
    weights = np.random.default_rng(1).multinomial(40, np.full(40, 1 / 40), size=30).astype(float)
    kappas = quadratic_weighted_kappa(weights, truth, predicted, 5)
    for weight, kappa in zip(weights, kappas, strict=True):
        drawn = np.repeat(np.arange(40), weight.astype(int))
        expected = sk.cohen_kappa_score(truth[drawn], predicted[drawn], weights="quadratic")
        assert kappa == pytest.approx(expected)


def test_the_majority_baseline_is_beside():
    """The real set's right legs: 21, 28, 8, 2; the source's 0.42 is below always saying 1."""
    truth = np.repeat([0, 1, 2, 3], [21, 28, 8, 2])
    scores = ordinal_scores(truth, truth, np.arange(59), LEVELS, FEW)
    assert scores["levels"] == {"0": 21, "1": 28, "2": 8, "3": 2, "4": 0}
    majority = scores["majority"]
    assert majority["level"] == 1
    assert majority["accuracy"]["value"] == pytest.approx(28 / 59)
    assert majority["balanced_accuracy"]["value"] == pytest.approx(1 / 4)
    assert majority["mae"]["value"] == pytest.approx((21 + 8 + 2 * 2) / 59)
    assert majority["within_one"]["value"] == pytest.approx(57 / 59)
    assert majority["kappa"]["value"] == 0
    assert scores["kappa"]["value"] == scores["accuracy"]["value"] == 1


def test_unrated_and_unanswered_are_counted_not_scored():
    nan = float("nan")
    scores = ordinal_scores([0, nan, 2, 3], [0, 1, nan, 2], list("abcd"), (0, 1, 2, 3), FEW)
    assert (scores["ratings"], scores["without_prediction"], scores["patients"]) == (2, 1, 2)
    assert scores["mae"]["value"] == 0.5


def test_legs_of_one_patient_are_resampled_together():
    truth, predicted = np.tile([0, 1, 2, 3], 10), np.tile([0, 1, 0, 0], 10)
    apart = ordinal_scores(truth, predicted, np.arange(40), LEVELS)["mae"]
    together = ordinal_scores(truth, predicted, np.arange(40) // 2, LEVELS)["mae"]
    assert apart["value"] == together["value"] == 1.25
    # Pairs of equal legs: half as many independent values, an interval wider by the root of 2.
    wider = (together["high"] - together["low"]) / (apart["high"] - apart["low"])
    assert wider == pytest.approx(np.sqrt(2 * 1.5625 / 1.6875), rel=0.1)


def test_nothing_rated_has_no_scores():
    scores = ordinal_scores([float("nan")], [1], ["a"], LEVELS, FEW)
    assert scores["ratings"] == 0
    assert scores["accuracy"] == {"value": None, "low": None, "high": None}


@pytest.mark.parametrize(
    ("truth", "levels", "message"),
    [
        ([5], LEVELS, "ratings from 0 to 4, got 5"),
        ([1.5], LEVELS, "got 1.5"),
        ([1], (0, 2), "ascend in steps of 1"),
        ([1, 2], LEVELS, "as many true as predicted"),
    ],
)
def test_unusable_ratings(truth, levels, message):
    with pytest.raises(InputError, match=message):
        ordinal_scores(truth, [1], ["a"], levels)
