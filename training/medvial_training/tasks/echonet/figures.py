"""Figures of the report: agreement, ROC, error by number of beats, Dice, training curves."""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from medvial_training.agreement import agreement
from medvial_training.figure_style import ACCENT, DASHED, FILL, GREY, LIGHT, WARN, report_figure
from medvial_training.tasks.echonet.ejection_fraction_scores import AUC_THRESHOLDS, roc_points

FloatArray = NDArray[np.float64]


def agreement_figure(truth: FloatArray, predicted: FloatArray) -> Figure:
    """True against predicted EF, and their Bland-Altman plot; percent."""
    known = np.isfinite(truth) & np.isfinite(predicted)
    truth, predicted = truth[known], predicted[known]
    with report_figure(7.8, 3.9) as figure:
        left, right = figure.subplots(1, 2)
        least = float(min(truth.min(), predicted.min()))  # EF of masks may be below 0
        low = max(0.0, least - 5) if least >= 0 else least - 5
        high = min(100.0, max(truth.max(), predicted.max()) + 5)
        left.plot([low, high], [low, high], color=GREY, linewidth=0.9, linestyle=DASHED)
        _points(left, truth, predicted)
        left.set(xlim=(low, high), ylim=(low, high), aspect="equal")
        left.set(xlabel="EF of the expert (%)", ylabel="EF of the model (%)")
        _bland_altman(right, (truth + predicted) / 2, predicted - truth)
        right.set(xlabel="mean of expert and model (%)", ylabel="model minus expert (points)")
        return figure


def roc_figure(truth: FloatArray, predicted: FloatArray, auc: dict[str, Any]) -> Figure | None:
    """ROC curves at the thresholds that divide the videos; None if none does."""
    curves = {t: roc_points(truth, predicted, t) for t in AUC_THRESHOLDS}
    if all(points is None for points in curves.values()):
        return None
    with report_figure(4.4, 4.2) as figure:
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.9, linestyle=DASHED)
        colours = matplotlib.colormaps["viridis"](np.linspace(0.05, 0.8, len(curves)))
        for colour, (threshold, points) in zip(colours, curves.items(), strict=True):
            if points is not None:
                area = auc[str(threshold)]["auc"]["value"]
                label = f"EF > {threshold} %: AUC {area:.3f}"
                axes.plot(*points.T, color=colour, linewidth=1.5, label=label)
        axes.set(xlim=(-0.01, 1), ylim=(0, 1.01), aspect="equal")
        axes.set(xlabel="false positive rate", ylabel="true positive rate")
        axes.legend(loc="lower right")
        return figure


def beats_figure(rows: list[dict[str, Any]]) -> Figure:
    """Box plot of the mean absolute error by number of beats."""
    with report_figure(4.4, 3.3) as figure:
        axes = figure.subplots()
        boxes = [
            {"med": r["median"], "q1": r["p25"], "q3": r["p75"], "whislo": r["p5"]}
            | {"whishi": r["p95"], "label": str(r["beats"])}
            for r in rows
        ]
        axes.bxp(
            boxes,
            showfliers=False,
            patch_artist=True,
            boxprops={"facecolor": FILL, "edgecolor": ACCENT, "linewidth": 0.8},
            medianprops={"color": ACCENT, "linewidth": 1.6},
            whiskerprops={"color": ACCENT, "linewidth": 0.8},
            capprops={"color": ACCENT, "linewidth": 0.8},
        )
        axes.set(xlabel="beats used of every video", ylabel="mean absolute error (points)")
        return figure


def dice_figure(rows: list[dict[str, Any]]) -> Figure:
    """Dice of every video at end-diastole and end-systole, as histograms."""
    with report_figure(4.4, 3.3) as figure:
        axes = figure.subplots()
        values = {n: np.array([r[n] for r in rows], np.float64) for n in ("large", "small")}
        known = {n: v[np.isfinite(v)] for n, v in values.items()}
        low = min((float(v.min()) for v in known.values() if v.size), default=0.0)
        bins = np.linspace(np.floor(20 * min(low, 0.8)) / 20, 1, 25).tolist()
        names = {"large": ("end-diastole", ACCENT), "small": ("end-systole", WARN)}
        for name, (label, colour) in names.items():
            axes.hist(known[name], bins, histtype="stepfilled", color=colour, alpha=0.35)
            axes.hist(known[name], bins, histtype="step", color=colour, linewidth=1.3, label=label)
        axes.set(xlim=(bins[0], 1), xlabel="Dice of a video", ylabel="videos")
        axes.set_ylim(0, 1.3 * axes.get_ylim()[1])
        axes.legend(loc="upper left", ncols=2)
        return figure


VALIDATED = {"valid/dice": "validation Dice", "valid/mae": "validation MAE (points)"}


def training_figure(logs: dict[str, Path]) -> Figure | None:
    """Training loss and validation score by epoch, a panel a network; None without any log.

    Args:
        logs: log.csv of each network's training, by its name; those that are not there are left
            out.
    """
    tables = {name: pd.read_csv(path) for name, path in logs.items() if path.is_file()}
    tables = {name: table for name, table in tables.items() if len(table) and "epoch" in table}
    if not tables:
        return None
    with report_figure(4.1 * len(tables), 3.2) as figure:
        panels = figure.subplots(1, len(tables), squeeze=False)[0]
        for axes, (name, table) in zip(panels, tables.items(), strict=True):
            axes.set(xlabel="epoch", title=name.replace("_", " "))
            if "train/loss" in table:
                axes.plot(table["epoch"], table["train/loss"], color=ACCENT)
                axes.set_ylabel("training loss", color=ACCENT)
            for column in [c for c in VALIDATED if c in table]:
                other = axes.twinx()
                other.spines["right"].set_visible(True)
                known = table[["epoch", column]].dropna()
                other.plot(known["epoch"], known[column], color=WARN, linestyle="--")
                other.set_ylabel(VALIDATED[column], color=WARN)
        return figure


def _points(axes: Axes, x: FloatArray, y: FloatArray) -> None:
    """Dots that stay readable from ten to a thousand."""
    size = float(np.clip(9 - 1.5 * np.log10(max(len(x), 1)), 3, 7))
    axes.plot(x, y, ".", color=ACCENT, markersize=size, alpha=0.65 if len(x) < 300 else 0.35)


def _bland_altman(axes: Axes, mean: FloatArray, difference: FloatArray) -> None:
    result = agreement(difference)
    low, high = result.limits
    axes.axhline(0, color=LIGHT, linewidth=0.9, zorder=0)
    named = [(result.bias, "bias", "-")]
    if np.isfinite(result.sd):
        named += [(high, "+1.96 SD", "--"), (low, "−1.96 SD", "--")]
    for value, name, style in named:
        axes.axhline(value, color=ACCENT, linewidth=1.1, linestyle=style)
        axes.annotate(
            f"{name} {value:+.1f}".replace("-", "−"),
            (1, value),
            (-2, 3),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            ha="right",
            fontsize=8,
            color=ACCENT,
        )
    _points(axes, mean, difference)
    reach = 1.15 * max(float(np.abs(difference).max()), 1.0, *(abs(v) for v, _, _ in named))
    axes.set(ylim=(-reach, reach))
