"""Scores of leg agility: each leg and both, by patient, beside the majority and the criteria."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from medvial.gait.leg_agility.signals import LEGS
from medvial_training.metrics import Bootstrap
from medvial_training.ordinal_scores import ordinal_scores

PARTS = (*LEGS, "both")
SHOWN = ("accuracy", "balanced_accuracy", "mae", "within_one", "kappa")
SAYERS = {"predicted": "model", "majority": "majority", "criteria": "taps alone"}
"""Columns of predictions, and their names in tables: the model; the most frequent score of the
training legs; the level of the item's worst criterion."""


def all_scores(table: pd.DataFrame, levels: Sequence[int], bootstrap: Bootstrap) -> dict[str, Any]:
    """Scores of the left leg, the right leg and both, JSON-ready.

    Repeats of the cross-validation count as one: a leg's places on the scale are averaged over
    them, and rounded.

    Args:
        table: A row a leg: `video`, `patient`, `leg`, `score`, and one column for each of SAYERS;
            an empty place is no prediction. `group` where known.
        levels: That the model can give.
        bootstrap: How intervals are estimated, over patients.

    Returns:
        By left, right and both, then by SAYERS: see `ordinal_scores`.
    """
    legs = one_a_leg(table)
    scale = _scale(legs, levels)
    result: dict[str, Any] = {}
    for part in PARTS:
        rows = legs if part == "both" else legs[legs["leg"] == part]
        if rows.empty:
            continue
        result[part] = {
            sayer: ordinal_scores(
                rows["score"], rows[sayer], rows["cluster"].to_numpy(np.str_), scale, bootstrap
            )
            for sayer in SAYERS
        }
    return result


def one_a_leg(table: pd.DataFrame) -> pd.DataFrame:
    """A row a leg of a recording: repeats of the cross-validation averaged."""
    group = table["group"] if "group" in table else table["patient"]
    rows = table.assign(cluster=group.astype(str))
    first = {name: "first" for name in ("patient", "cluster", "score")}
    means = {name: "mean" for name in (*SAYERS, "expected") if name in rows}
    means |= {str(name): "mean" for name in rows if str(name).startswith("p_")}
    legs = rows.groupby(["video", "leg"], sort=False, as_index=False).agg(first | means)
    for sayer in SAYERS:
        legs[sayer] = legs[sayer].round()
    return legs


def in_words(metrics: dict[str, Any], phantom: bool) -> list[str]:
    """A line a part for the log."""
    lines = []
    for part, by_sayer in metrics.items():
        model, majority = by_sayer["predicted"], by_sayer["majority"]
        lines.append(
            f"{part}: exact {_value(model, 'accuracy')} (majority {_value(majority, 'accuracy')}), "
            f"within one {_value(model, 'within_one')} ({_value(majority, 'within_one')}), mean "
            f"error {_value(model, 'mae')} ({_value(majority, 'mae')}), weighted kappa "
            f"{_value(model, 'kappa')}; {model['ratings']} legs of {model['patients']} patients"
            + ("; PHANTOMS, says nothing about clinical accuracy" if phantom else "")
        )
    return lines


def _value(scores: dict[str, Any], name: str) -> str:
    value = scores[name]["value"]
    return "–" if value is None else f"{value:.3f}"


def _scale(legs: pd.DataFrame, levels: Sequence[int]) -> list[int]:
    """From the lowest to the highest level that anybody gives, in steps of one."""
    given = [legs[name].dropna() for name in ("score", *SAYERS)]
    lowest = min(levels[0], *(int(values.min()) for values in given if len(values)))
    highest = max(levels[-1], *(int(values.max()) for values in given if len(values)))
    return list(range(lowest, highest + 1))
