"""Intervals over patients, calibration and agreement against values worked out by hand."""

import numpy as np
import pytest

from medvial.errors import InputError
from medvial_training.agreement import agreement, intraclass_correlation
from medvial_training.metrics import (
    Bootstrap,
    Estimate,
    cluster_means,
    cluster_statistic,
    expected_calibration_error,
    ratio,
    reliability_table,
    weighted_statistics,
)


def width(estimate):
    return estimate.high - estimate.low


def test_mean_counts_every_value_once_and_leaves_nan_out():
    values = np.array([[1.0, np.nan], [2.0, 5.0], [6.0, 7.0], [np.nan, np.nan]])
    first, second = cluster_means(values, ["a", "a", "b", "c"])
    assert first.value == pytest.approx(3.0)  # (1 + 2 + 6) / 3, not a mean of patients' means
    assert second.value == pytest.approx(6.0)
    assert first.low <= first.value <= first.high


def test_interval_of_many_independent_values_is_the_textbook_one():
    values = np.random.default_rng(3).normal(10.0, 2.0, 400)
    estimate = cluster_means(values, np.arange(400), Bootstrap(resamples=4000))[0]
    half = 1.96 * values.std() / np.sqrt(400)
    assert estimate.low == pytest.approx(values.mean() - half, abs=0.04)
    assert estimate.high == pytest.approx(values.mean() + half, abs=0.04)


def test_films_that_resemble_each_other_within_a_patient_widen_the_interval():
    rng = np.random.default_rng(1)
    patients = np.repeat(np.arange(20), 6)
    values = np.repeat(rng.normal(size=20), 6) + 0.1 * rng.normal(size=120)
    by_patient = cluster_means(values, patients)[0]
    by_film = cluster_means(values, np.arange(120))[0]
    assert by_patient.value == pytest.approx(by_film.value)
    assert width(by_patient) > 1.8 * width(by_film)  # about the square root of 6


def test_both_bootstraps_agree():
    rng = np.random.default_rng(2)
    values, patients = rng.normal(size=60), np.repeat(np.arange(15), 4)
    mean = cluster_means(values, patients, Bootstrap(4000))[0]
    same = cluster_statistic(lambda rows: values[rows].mean(), patients, Bootstrap(4000))
    assert same.value == pytest.approx(mean.value)
    assert (same.low, same.high) == pytest.approx((mean.low, mean.high), abs=0.03)


def test_interval_follows_the_seed():
    values, patients = np.arange(9.0), np.arange(9) // 2
    one, again, other = (cluster_means(values, patients, Bootstrap(seed=s))[0] for s in (5, 5, 6))
    assert one == again
    assert one != other


def test_one_patient_or_none_has_no_interval():
    one = cluster_means([1.0, 3.0], ["a", "a"])[0]
    assert one.as_dict() == {"value": 2.0, "low": None, "high": None}
    none = cluster_means([np.nan, np.nan], ["a", "b"])[0]
    assert none.as_dict() == {"value": None, "low": None, "high": None}
    assert np.isnan(cluster_statistic(lambda rows: 1.0, ["a"]).low)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"resamples": 0}, "at least 1 bootstrap"),
        ({"seed": -1}, "a seed of at least 0 .* got -1"),
        ({"level": 1.0}, "between 0 and 1, got 1.0"),
    ],
)
def test_bootstrap_without_meaning_is_refused(settings, message):
    with pytest.raises(InputError, match=message):
        Bootstrap(**settings)


def test_values_and_patients_must_match():
    with pytest.raises(InputError, match=r"one cluster for each of 3 rows, got \(2,\)"):
        cluster_means([1.0, 2.0, 3.0], ["a", "b"])


def test_a_perfectly_calibrated_forecast_has_no_error():
    probability = np.repeat([0.25, 0.75], [8, 4])
    outcome = np.r_[np.arange(8) < 2, np.arange(4) < 3]
    assert expected_calibration_error(probability, outcome) == pytest.approx(0.0)


def test_a_constant_forecast_errs_by_its_distance_from_the_rate():
    outcome = np.arange(10) < 3
    assert expected_calibration_error(np.full(10, 0.9), outcome) == pytest.approx(0.6)
    assert expected_calibration_error(np.full(10, 0.3), outcome) == pytest.approx(0.0)


def test_reliability_table_by_hand():
    table = reliability_table([0.0, 0.1, 0.95, 1.0], [False, True, True, False], bins=2)
    assert [row.count for row in table] == [2, 2]
    assert table[0].mean_probability == pytest.approx(0.05)
    assert table[1].mean_probability == pytest.approx(0.975)
    assert [row.observed for row in table] == [0.5, 0.5]
    assert reliability_table([0.9], [True], bins=2)[0].as_dict() == {
        "low": 0.0,
        "high": 0.5,
        "count": 0,
        "mean_probability": None,
        "observed": None,
    }


def test_weighted_statistics_equal_the_means_of_the_same_resamples():
    values, patients = np.array([1.0, 2.0, 6.0, 3.0]), ["a", "a", "b", "c"]

    def mean_and_maximum_weight(weights):
        mean = ratio(weights @ values[:, None], weights.sum(axis=1, keepdims=True))
        return np.column_stack([mean, weights.max(axis=1)])

    mean, heaviest = weighted_statistics(mean_and_maximum_weight, patients, Bootstrap(700))
    assert mean == cluster_means(values, patients, Bootstrap(700))[0]
    assert (heaviest.value, heaviest.high) == (1, 3)


def test_weighted_statistic_of_one_patient_has_no_interval():
    (estimate,) = weighted_statistics(lambda w: w @ [[1.0], [2.0]], ["a", "a"])
    assert estimate.value == 3
    assert np.isnan([estimate.low, estimate.high]).all()


def test_bins_are_closed_below():
    counts = [row.count for row in reliability_table([0.5, 0.4999, 0.75], [1, 1, 1], bins=4)]
    assert counts == [0, 1, 1, 1]


def test_no_probability_is_no_calibration():
    assert np.isnan(expected_calibration_error([], []))


@pytest.mark.parametrize("wrong", [1.2, -0.1, np.nan])
def test_what_is_no_probability_is_refused(wrong):
    with pytest.raises(InputError, match="probabilities from 0 to 1"):
        reliability_table([0.5, wrong], [True, True])


def test_agreement_by_hand():
    result = agreement([1.0, -1.0, 3.0, np.nan])
    assert (result.count, result.bias, result.sd) == pytest.approx((3, 1.0, 2.0))
    assert result.mean_absolute == pytest.approx(5 / 3)
    assert result.limits == pytest.approx((1 - 3.92, 1 + 3.92))
    assert agreement([]).count == 0


def test_intraclass_correlation_punishes_an_offset():
    values = np.array([1.0, 2, 3, 4, 5])
    assert intraclass_correlation(values, values) == pytest.approx(1.0)
    # Shrout and Fleiss 1979 with n = 5, k = 2: BMS 5, JMS 22.5, EMS 0 give 5 / (5 + 2 * 22.5 / 5)
    assert intraclass_correlation(values, values + 3) == pytest.approx(5 / 14)
    assert np.isnan(intraclass_correlation(values[:2], values[:2]))


def test_estimate_is_plain_json():
    assert Estimate(np.float64(1), np.nan, np.inf).as_dict() == {
        "value": 1.0,
        "low": None,
        "high": None,
    }
