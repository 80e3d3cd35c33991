"""Dice and ejection-fraction scores against tables worked out by hand."""

import numpy as np
import pytest
from sklearn.metrics import r2_score, roc_auc_score

from medvial.errors import InputError
from medvial_training.metrics import Bootstrap
from medvial_training.tasks.echonet.dice import Overlaps, dice, dice_scores, overlap, per_video
from medvial_training.tasks.echonet.ejection_fraction_scores import (
    auc_scores,
    coverage_scores,
    ef_scores,
    roc_points,
    subgroup_scores,
    subgroups,
)

FEW = Bootstrap(resamples=200)


def overlaps(rows):
    """Rows of video, phase, patient, pixels in both, sum of pixels."""
    columns = list(zip(*rows, strict=True))
    names = [np.array(column, dtype=np.str_) for column in columns[:3]]
    return Overlaps(*names, *(np.array(c, dtype=float) for c in columns[3:]))


TWO = overlaps(
    [
        ("v", "ED", "p", 90, 200),  # .9
        ("v", "ES", "p", 30, 100),  # .6
        ("w", "ED", "q", 400, 1000),  # .8
        ("w", "ES", "q", 50, 100),  # 1.0
    ]
)


def test_overlap_counts_pixels():
    one, other = np.zeros((3, 5), np.uint8), np.zeros((3, 5), np.uint8)
    one[:2, :4], other[1:, 1:] = 1, 7
    assert overlap(one, other) == (3, 8 + 8)
    assert dice(*overlap(one, other)) == pytest.approx(6 / 16)
    assert np.isnan(dice(*overlap(one * 0, other * 0)))


def test_dice_pooled_is_the_sources():
    scores = dice_scores(TWO, FEW)
    assert scores["pooled"]["large"]["value"] == pytest.approx(2 * 490 / 1200)
    assert scores["pooled"]["small"]["value"] == pytest.approx(2 * 80 / 200)
    assert scores["pooled"]["overall"]["value"] == pytest.approx(2 * 570 / 1400)
    assert scores["frames"] == {"overall": 4, "large": 2, "small": 2}


def test_dice_per_video_weighs_videos_alike():
    rows = per_video(TWO)
    assert [row["overall"] for row in rows] == pytest.approx([240 / 300, 900 / 1100])
    scores = dice_scores(TWO, FEW)["per_video"]
    assert scores["large"]["value"] == pytest.approx(0.85)
    assert scores["overall"]["value"] == pytest.approx((240 / 300 + 900 / 1100) / 2)


def test_dice_interval_resamples_patients():
    """Of two patients, a resample has only v, only w, or both."""
    large = dice_scores(TWO, FEW)["pooled"]["large"]
    assert (large["low"], large["high"]) == pytest.approx((0.8, 0.9))


def test_sources_interval_is_narrower():
    rng = np.random.default_rng(0)
    hits = rng.integers(40, 100, 60)
    many = overlaps([(f"v{i}", "ED", f"v{i}", hit, 200) for i, hit in enumerate(hits)])
    scores = dice_scores(many, Bootstrap(2000))
    inner, outer = scores["source_interval"]["large"], scores["pooled"]["large"]
    assert outer["low"] < inner["low"] < inner["high"] < outer["high"]
    assert scores["per_video"]["small"] == {"value": None, "low": None, "high": None}


def test_ef_scores_by_hand():
    truth, predicted = [60.0, 50.0, 40.0, 55.0], [58.0, 53.0, 44.0, 55.0]
    scores = ef_scores(truth, predicted, list("abcd"), FEW)
    assert scores["mae"]["value"] == pytest.approx(9 / 4)
    assert scores["rmse"]["value"] == pytest.approx((29 / 4) ** 0.5)
    assert scores["bias"]["value"] == pytest.approx(5 / 4)
    sd = np.std([-2, 3, 4, 0], ddof=1)
    assert scores["limits"] == pytest.approx([1.25 - 1.96 * sd, 1.25 + 1.96 * sd])


def test_both_definitions_of_r2():
    rng = np.random.default_rng(1)
    truth = rng.normal(55, 12, 50)
    predicted = 0.8 * truth + rng.normal(0, 4, 50)  # biased: the squared correlation forgives it
    scores = ef_scores(truth, predicted, np.arange(50), FEW)
    assert scores["r2"]["value"] == pytest.approx(r2_score(truth, predicted))
    correlation = np.corrcoef(truth, predicted)[0, 1]
    assert scores["r2_pearson"]["value"] == pytest.approx(correlation**2)
    assert scores["r2"]["value"] < scores["r2_pearson"]["value"]


def test_ef_that_does_not_vary_has_no_r2():
    scores = ef_scores([50.0, 50.0], [49.0, 52.0], ["a", "b"], FEW)
    assert scores["r2"]["value"] is None
    assert scores["r2_pearson"]["value"] is None
    assert ef_scores([50.0, 60.0], [55.0, 55.0], ["a", "b"], FEW)["r2"]["value"] == 0


def test_missing_ef_is_counted():
    scores = ef_scores([50.0, np.nan, 60.0], [np.nan, 50.0, 61.0], list("abc"), FEW)
    assert (scores["videos"], scores["without_value"]) == (1, 2)
    assert scores["mae"] == {"value": 1.0, "low": None, "high": None}
    assert ef_scores([], [], [], FEW)["mae"]["value"] is None


def test_auc_counts_ef_above_the_threshold_as_positive():
    rng = np.random.default_rng(2)
    truth = rng.normal(50, 12, 80)
    predicted = np.round(truth + rng.normal(0, 9, 80))  # rounded: there are ties
    scores = auc_scores(truth, predicted, np.arange(80), FEW)
    for threshold in (35, 40, 45, 50):
        score = scores[str(threshold)]
        assert score["auc"]["value"] == pytest.approx(roc_auc_score(truth > threshold, predicted))
        assert score["auc"]["low"] < score["auc"]["value"] < score["auc"]["high"]


def test_sensitivity_is_for_reduced_ef():
    scores = auc_scores([30.0, 40.0, 41.0, 60.0], [38.0, 47.0, 44.0, 39.0], list("abcd"), FEW)
    assert scores["40"]["sensitivity"]["value"] == pytest.approx(1 / 2)
    assert scores["40"]["specificity"]["value"] == pytest.approx(1 / 2)
    assert (scores["40"]["above"], scores["40"]["at_or_below"]) == (2, 2)


def test_threshold_that_divides_nothing_has_no_auc():
    scores = auc_scores([60.0, 65.0], [60.0, 65.0], ["a", "b"], FEW)
    assert scores["35"]["auc"] is None
    assert roc_points(np.array([60.0, 65.0]), np.array([60.0, 65.0]), 35) is None
    points = roc_points(np.array([60.0, 30.0]), np.array([60.0, 65.0]), 35)
    assert points[0].tolist() == [0, 0]
    assert points[-1].tolist() == [1, 1]


def test_coverage_by_hand():
    low, high = [50.0, 40.0, 60.0, np.nan], [60.0, 50.0, 70.0, np.nan]
    scores = coverage_scores([55.0, 51.0, 70.0, 30.0], low, high, list("abcd"), FEW)
    assert scores["videos"] == 3
    assert scores["coverage"]["value"] == pytest.approx(2 / 3)  # the end belongs to the interval
    assert scores["width"]["value"] == pytest.approx(10)


def test_small_subgroups_are_only_counted():
    truth = np.array([35.0] * 3 + [45.0] * 12 + [60.0] * 12)
    fps = np.array([30.0] * 3 + [50.0] * 24)
    groups = subgroups(truth, fps)
    names = np.arange(27).astype(str)
    rows = {r["name"]: r for r in subgroup_scores(groups, truth, truth + 2, names, FEW)}
    assert rows["EF up to 40 %"] == {"name": "EF up to 40 %", "videos": 3}
    assert rows["EF from 50 %"]["mae"]["value"] == pytest.approx(2)
    assert rows["40 to 60 frames/s"]["videos"] == 24
    assert rows["above 60 frames/s"]["videos"] == 0


def test_lengths_that_differ_are_refused():
    with pytest.raises(InputError, match="as many true as predicted"):
        ef_scores([50.0, 60.0], [50.0], ["a", "b"], FEW)
