"""Dealing videos out to the parts of folds: whole groups, the classes as evenly as possible."""

import warnings
from fractions import Fraction

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from medvial.errors import InputError
from medvial_training.fold_manifest import assert_enough_patients, assert_sites
from medvial_training.patients import name_key

FINEST = 20  # parts into which patients are dealt to take a share of them


def patient_tests(
    table: pd.DataFrame, pool: NDArray[np.intp], k: int, seed: int
) -> list[NDArray[np.intp]]:
    """The rows that each fold tests."""
    assert_enough_patients(table["group"].iloc[pool].nunique(), k)
    return [pool[test] for test in _stratified(table.iloc[pool], k, seed)]


def site_tests(table: pd.DataFrame, pool: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """The rows of each site, however it is spelled."""
    sites = table["site"].iloc[pool].map(name_key)
    names = sorted(sites.unique())
    assert_sites(names)
    return [pool[(sites == name).to_numpy()] for name in names]


def deal_parts(
    table: pd.DataFrame,
    pool: NDArray[np.intp],
    test: NDArray[np.intp],
    valid_share: float,
    seed: int,
) -> list[str]:
    """The part of every row in one fold, once it is known what is tested."""
    groups = table["group"].to_numpy()
    rest = pool[~np.isin(groups[pool], groups[test])]
    count = len(set(groups[rest]))
    if count < 2:
        raise InputError(
            "Expected at least 2 patients to train and to validate on beside the test, got "
            f"{count}. Give more data, or ask for other folds."
        )
    share = max(Fraction(valid_share).limit_denominator(min(FINEST, count)), Fraction(1, count))
    valid = rest[_validation(table.iloc[rest], share, seed)]
    parts = np.full(len(table), "", dtype=object)
    parts[rest], parts[valid], parts[test] = "train", "valid", "test"
    return list(parts)


def _stratified(table: pd.DataFrame, k: int, seed: int) -> list[NDArray[np.intp]]:
    """Rows of k parts, whole groups in each, the classes spread evenly."""
    codes = pd.factorize(table["label"], sort=True)[0]
    # Classes with fewer videos than parts are refused by scikit-learn if no class has more.
    codes = codes if np.bincount(codes).max() >= k else np.zeros_like(codes)
    splitter = StratifiedGroupKFold(k, shuffle=True, random_state=seed)
    with warnings.catch_warnings():  # of small classes: `missing_classes` says what came of it
        warnings.simplefilter("ignore", UserWarning)
        split = list(splitter.split(np.zeros(len(codes)), codes, table["group"]))
    return [test for _, test in split]


def _validation(table: pd.DataFrame, share: Fraction, seed: int) -> NDArray[np.intp]:
    """Rows of some of several equal parts: the first of those that lack the fewest classes."""
    labels = table["label"].to_numpy()
    left = [rows for rows in _stratified(table, share.denominator, seed) if len(rows)]
    chosen = np.arange(0)
    for _ in range(min(share.numerator, len(left) - 1)):
        more = [np.append(chosen, rows) for rows in left]
        classes = [len(set(labels[rows])) + len(set(np.delete(labels, rows))) for rows in more]
        best = classes.index(max(classes))
        chosen = more[best]
        del left[best]
    return chosen
