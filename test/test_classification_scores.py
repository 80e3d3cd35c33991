"""Scores by patient against scikit-learn, torchmetrics and tables worked out by hand."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import metrics as sk
from torchmetrics.functional.classification import binary_calibration_error

from medvial.errors import InputError
from medvial_training import classification_figures as figures_of
from medvial_training.calibrate import fit_temperature, fit_threshold
from medvial_training.cases import cases_of
from medvial_training.classification_scores import classification_scores, roc_points
from medvial_training.metrics import Bootstrap, cluster_statistic
from medvial_training.report import figure_png
from medvial_training.weighted_scores import Counts, auroc, calibration_error

FEW = Bootstrap(resamples=50)
ASD = ("ASD", "ASD_not")
FOUR = ("ASD", "DHS", "LCS", "HipOA")


def predictions(patients=40, labels=ASD, seed=0, videos=3):
    """One to three videos a patient, the true class more probable than chance."""
    rng = np.random.default_rng(seed)
    rows = []
    for patient in range(patients):
        label = labels[rng.integers(len(labels))]
        for video in range(rng.integers(1, videos + 1)):
            logits = rng.normal(size=len(labels)) + 1.2 * (np.array(labels) == label)
            p = np.round(np.exp(logits) / np.exp(logits).sum(), 2)  # ties
            p[-1] = 1 - p[:-1].sum()
            rows.append((f"v{patient}_{video}", f"P{patient}", label, *p))
    return pd.DataFrame(rows, columns=["video", "patient", "label", *(f"p_{c}" for c in labels)])


def asd(*rows):
    """Rows of video, patient, whether it is ASD, probability of ASD."""
    return pd.DataFrame(
        [(v, p, ASD[0 if is_asd else 1], q, 1 - q) for v, p, is_asd, q in rows],
        columns=["video", "patient", "label", "p_ASD", "p_ASD_not"],
    )


BY_HAND = asd(
    ("a1", "a", 1, 0.9),
    ("a2", "a", 1, 0.1),  # patient a: 0.5, called ASD
    ("b1", "b", 1, 0.45),  # missed
    ("c1", "c", 0, 0.2),
    ("c1", "c", 0, 0.4),  # two clips of one video: 0.3
    ("c2", "c", 0, 0.9),  # patient c: 0.6, a false alarm
    ("d1", "d", 0, 0.0),
)


def test_patients_by_hand():
    cases = cases_of(BY_HAND, ASD)
    assert cases.names.tolist() == ["a", "b", "c", "d"]
    assert cases.probabilities[:, 0] == pytest.approx([0.5, 0.45, 0.6, 0])
    scores = classification_scores(BY_HAND, ASD, "ASD", bootstrap=FEW)
    assert (scores["unit"], scores["cases"], scores["patients"]) == ("patient", 4, 4)
    assert scores["videos"] == 6
    assert scores["positive"] == "ASD"
    assert scores["confusion"] == {"labels": list(ASD), "matrix": [[1, 1], [1, 1]]}
    assert scores["auroc"]["value"] == 0.5
    assert scores["brier"]["value"] == pytest.approx((0.5**2 + 0.55**2 + 0.6**2) / 4)
    assert scores["majority"]["accuracy"]["value"] == 0.5
    by_video = classification_scores(BY_HAND, ASD, by="video", bootstrap=FEW)
    assert (by_video["cases"], by_video["patients"]) == (6, 4)
    assert by_video["confusion"]["matrix"] == [[1, 2], [1, 2]]


def test_the_positive_class_is_the_named_one():
    """The source's precision and recall were those of the patients without the deformity."""
    table = asd(("a", "a", 1, 0.9), ("b", "b", 1, 0.2), ("c", "c", 0, 0.1), ("d", "d", 0, 0.3))
    scores = classification_scores(table, ASD, "ASD", bootstrap=FEW)
    assert [scores[n]["value"] for n in ("sensitivity", "specificity", "precision")] == [0.5, 1, 1]
    other = classification_scores(table, ASD, "ASD_not", bootstrap=FEW)
    assert other["positive"] == "ASD_not"
    assert [other[n]["value"] for n in ("sensitivity", "specificity")] == [1, 0.5]
    assert other["precision"]["value"] == pytest.approx(2 / 3)
    assert other["confusion"] == scores["confusion"]
    assert other["auroc"] == scores["auroc"]


def test_binary_scores_are_those_of_sklearn():
    table = predictions()
    cases = cases_of(table, ASD)
    y, p = (cases.truth == 0).astype(int), cases.probabilities[:, 0]
    called = (p >= 0.4).astype(int)
    scores = classification_scores(table, ASD, "ASD", threshold=0.4, bootstrap=FEW)
    expected = {
        "accuracy": sk.accuracy_score(y, called),
        "balanced_accuracy": sk.balanced_accuracy_score(y, called),
        "sensitivity": sk.recall_score(y, called),
        "specificity": sk.recall_score(y, called, pos_label=0),
        "precision": sk.precision_score(y, called),
        "f1": sk.f1_score(y, called),
        "auroc": sk.roc_auc_score(y, p),
        "brier": sk.brier_score_loss(y, p),
    }
    assert {name: scores[name]["value"] for name in expected} == pytest.approx(expected)
    matrix = sk.confusion_matrix(1 - y, 1 - called).tolist()
    assert scores["confusion"]["matrix"] == matrix
    assert all(
        scores[name]["low"] <= scores[name]["value"] <= scores[name]["high"] for name in expected
    )
    false_rate, true_rate, _ = sk.roc_curve(y, p)
    np.testing.assert_allclose(roc_points(cases, "ASD").T, [false_rate, true_rate])


def test_multiclass_scores_are_those_of_sklearn():
    labels = (*FOUR, "a", "b", "c")
    table = predictions(60, labels)
    cases = cases_of(table, labels)
    y, p = cases.truth, cases.probabilities
    called = p.argmax(axis=1)
    scores = classification_scores(table, labels, bootstrap=FEW)
    expected = {
        "accuracy": sk.accuracy_score(y, called),
        "top5_accuracy": sk.top_k_accuracy_score(y, p, k=5),
        "balanced_accuracy": sk.balanced_accuracy_score(y, called),
        "macro_f1": sk.f1_score(y, called, average="macro"),
    }
    assert {name: scores[name]["value"] for name in expected} == pytest.approx(expected)
    assert scores["confusion"]["matrix"] == sk.confusion_matrix(y, called).tolist()
    report = sk.classification_report(y, called, output_dict=True, zero_division=np.nan)
    for place, row in enumerate(scores["classes"]):
        assert row["label"] == labels[place]
        assert row["recall"]["value"] == pytest.approx(report[str(place)]["recall"])
        assert row["precision"]["value"] == pytest.approx(report[str(place)]["precision"])
        assert row["f1"]["value"] == pytest.approx(report[str(place)]["f1-score"])


@pytest.mark.parametrize(("count", "given"), [(3, False), (5, False), (6, True)])
def test_top_5_is_given_where_there_are_more_classes(count, given):
    labels = tuple("abcdef"[:count])
    scores = classification_scores(predictions(30, labels), labels, bootstrap=FEW)
    assert ("top5_accuracy" in scores) == given
    assert "macro_f1" in scores


def test_weighted_scores_are_those_of_repeated_cases():
    rng = np.random.default_rng(2)
    weights = rng.multinomial(30, np.full(30, 1 / 30), size=40).astype(float)
    p = np.round(rng.random(30), 1)  # many ties
    y = rng.random(30) < 0.4
    three, calls = rng.integers(0, 3, 30), rng.integers(0, 3, 30)
    areas, errors = auroc(weights, p, y), calibration_error(weights, p, y)
    counts = Counts(weights, three, calls, 3)
    for row, weight in enumerate(weights):
        drawn = np.repeat(np.arange(30), weight.astype(int))
        assert areas[row] == pytest.approx(sk.roc_auc_score(y[drawn], p[drawn]))
        expected = sk.balanced_accuracy_score(three[drawn], calls[drawn])
        assert counts.balanced_accuracy()[row] == pytest.approx(expected)
        expected = sk.f1_score(three[drawn], calls[drawn], average="macro")
        assert counts.macro_f1()[row] == pytest.approx(expected)
        # A bin of torchmetrics contains its upper end, ours its lower: off the edges they agree.
        inner = np.clip(p[drawn] - 0.02, 0.01, 0.99)
        ours = calibration_error(np.ones((1, 30)), inner, y[drawn])[0]
        theirs = binary_calibration_error(
            torch.tensor(inner), torch.tensor(y[drawn].astype(int)), n_bins=10
        )
        assert ours == pytest.approx(theirs.item(), abs=1e-6)
    assert np.isfinite(errors).all()


def test_the_interval_is_that_of_resampled_patients():
    table = predictions(30, seed=4)
    bootstrap = Bootstrap(resamples=4000)
    fast = classification_scores(table, ASD, by="video", bootstrap=bootstrap)["auroc"]
    cases = cases_of(table, ASD, by="video")
    y, p = cases.truth == 0, cases.probabilities[:, 0]

    def area(rows):
        return sk.roc_auc_score(y[rows], p[rows]) if 0 < y[rows].sum() < len(rows) else np.nan

    slow = cluster_statistic(area, cases.clusters, Bootstrap(resamples=600, seed=1))
    assert fast["value"] == pytest.approx(slow.value)
    assert fast["low"] == pytest.approx(slow.low, abs=0.04)
    assert fast["high"] == pytest.approx(slow.high, abs=0.04)


def test_a_patient_before_and_after_an_operation_is_two_cases_resampled_as_one():
    table = asd(("a1", "a", 1, 0.9), ("a2", " A", 0, 0.2), ("b1", "b", 1, 0.7), ("c1", "c", 0, 0.4))
    cases = cases_of(table, ASD)
    assert len(cases.truth) == 4
    table["group"] = ["a", "a", "b", "b"]
    scores = classification_scores(table, ASD, bootstrap=FEW)
    assert (scores["cases"], scores["patients"]) == (4, 3)
    assert scores["auroc"] == {"value": 1, "low": 1, "high": 1}


def test_each_fold_may_bring_its_threshold():
    table = asd(("a", "a", 1, 0.4), ("b", "b", 1, 0.6), ("c", "c", 0, 0.35), ("d", "d", 0, 0.65))
    table["threshold"] = [0.3, 0.7, 0.3, 0.7]
    scores = classification_scores(table, ASD, bootstrap=FEW)
    assert scores["confusion"]["matrix"] == [[1, 1], [1, 1]]
    assert scores["thresholds"] == [0.3, 0.7]


def test_one_class_alone_has_no_area_and_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = classification_scores(asd(("a", "a", 1, 0.9), ("b", "b", 1, 0.4)), ASD)
    assert scores["auroc"] == {"value": None, "low": None, "high": None}
    assert scores["specificity"]["value"] is None
    assert scores["balanced_accuracy"]["value"] is None
    assert scores["sensitivity"]["value"] == 0.5
    assert roc_points(cases_of(asd(("a", "a", 1, 0.9)), ASD), "ASD") is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="p_ASD"), "column.s. p_ASD"),
        (lambda t: t.assign(label="DHS"), "labels of ASD, ASD_not, got DHS"),
        (lambda t: t.assign(p_ASD=np.nan), "probabilities from 0 to 1 of sum 1, got .* video a1"),
        (lambda t: t.assign(p_ASD=0.99), "of sum 1"),
        (lambda t: t[:0], "at least one video"),
    ],
)
def test_unusable_predictions(change, message):
    with pytest.raises(InputError, match=message):
        classification_scores(change(BY_HAND), ASD)


def test_the_positive_class_must_be_one():
    with pytest.raises(InputError, match="the positive 'DHS'"):
        classification_scores(BY_HAND, ASD, "DHS")


def test_temperature_is_found_again():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20000, 3)) * 2
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (rng.random((20000, 1)) > p.cumsum(axis=1)).sum(axis=1)
    assert fit_temperature(2.5 * logits, labels) == pytest.approx(2.5, rel=0.05)
    assert fit_temperature(0.5 * logits, labels) == pytest.approx(0.5, rel=0.05)


def test_temperature_of_few_right_cases_stays_modest():
    logits = np.array([[2.0, 0], [2, 0], [0, 2], [0, 2]])
    labels = [0, 0, 1, 1]
    # The smoothed targets are 3/4, so that the difference of the logits becomes log 3.
    assert fit_temperature(logits, labels) == pytest.approx(2 / np.log(3), rel=1e-3)
    assert fit_temperature(np.empty((0, 2)), []) == 1
    clips = np.repeat(logits, 5, axis=0)
    cases = np.repeat(np.arange(4), 5)
    assert fit_temperature(clips, np.repeat(labels, 5), cases) == pytest.approx(
        2 / np.log(3), rel=1e-3
    )
    with pytest.raises(InputError, match="one label for all clips"):
        fit_temperature(logits, labels, [0, 0, 0, 1])


def test_threshold_balances():
    p = np.array([0.1, 0.2, 0.6, 0.7, 0.8, 0.9])
    assert fit_threshold(p, [0, 0, 0, 0, 1, 1]) == pytest.approx(0.75)
    assert fit_threshold(p, [0, 0, 1, 1, 1, 1]) == 0.5
    assert fit_threshold(p, [1] * 6) == 0.5


def test_figures_are_drawn(tmp_path):
    table = predictions(20)
    scores = classification_scores(table, ASD, "ASD", bootstrap=FEW)
    (tmp_path / "log.csv").write_text("epoch,train/loss,valid/auroc\n0,1.2,0.5\n1,0.9,\n")
    logs = {"fold_1": tmp_path / "log.csv", "fold_2": tmp_path / "none.csv"}
    figures = [
        figures_of.confusion_figure(scores["confusion"]["matrix"], ASD),
        figures_of.roc_figure(roc_points(cases_of(table, ASD), "ASD"), scores["auroc"], "ASD"),
        figures_of.reliability_figure(scores["reliability"], "ASD"),
        figures_of.training_figure(logs, "valid/auroc", "validation AUROC"),
    ]
    assert all(figure_png(figure, dpi=30).startswith(b"\x89PNG") for figure in figures)
    texts = [text.get_text() for text in figures[0].axes[0].texts]
    assert texts[0].startswith(str(scores["confusion"]["matrix"][0][0]))
    assert figures_of.training_figure({}, "valid/auroc", "validation AUROC") is None
