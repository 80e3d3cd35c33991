"""Figures of classification reports: folds, confusion matrix, ROC, reliability, training curves."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from medvial_training.figure_style import ACCENT, DASHED, FILL, GREY, WARN, report_figure

FloatArray = NDArray[np.float64]

PART_HATCH = {"train": "", "valid": "...", "test": "///"}


def fold_figure(counts: pd.DataFrame) -> Figure:
    """Patients of every class in every part of every fold, as bars.

    Args:
        counts: Of `folds.folds_report`.
    """
    folds, labels = list(counts["fold"].unique()), list(counts["label"].unique())
    parts = [part for part in PART_HATCH if part in set(counts["part"])]
    colours = matplotlib.colormaps["viridis"](np.linspace(0.1, 0.8, len(labels)))
    table = counts.set_index(["fold", "part", "label"])["patients"]
    with report_figure(max(4.4, 1.1 * len(folds) + 1.6), 3.4) as figure:
        axes = figure.subplots()
        width = 0.8 / len(parts)
        for place, part in enumerate(parts):
            x = np.arange(len(folds)) + (place - (len(parts) - 1) / 2) * width
            below = np.zeros(len(folds))
            for label, colour in zip(labels, colours, strict=True):
                values = np.array([table.get((fold, part, label), 0) for fold in folds])
                axes.bar(
                    x,
                    values,
                    0.92 * width,
                    below,
                    color=colour,
                    hatch=PART_HATCH[part],
                    edgecolor="white",
                    label=label if place == 0 else None,
                )
                below += values
            for left, top in zip(x[below > 0], below[below > 0], strict=True):
                axes.text(left, top, f" {part}", ha="center", va="bottom", fontsize=7, rotation=90)
        axes.set_xticks(range(len(folds)), [name.replace("_", " ") for name in folds])
        axes.set_ylabel("patients")
        axes.margins(y=0.2)
        figure.legend(loc="outside lower center", ncols=min(len(labels), 6))  # a notice is above
        return figure


def confusion_figure(
    matrix: Sequence[Sequence[int]], labels: Sequence[str], unit: str = "patients"
) -> Figure:
    """Numbers of cases, coloured by their share of the true class.

    Args:
        matrix: Rows are the truth, columns what the cases are called.
        labels: The classes.
        unit: What is counted, in plural.
    """
    counts = np.asarray(matrix, np.float64)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = float(np.clip(0.75 * len(labels), 1.7, 9))
    with report_figure(side + 1.6, side + 1.1) as figure:
        axes = figure.subplots()
        axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
        if len(labels) <= 20:
            for row, column in np.ndindex(counts.shape):
                colour = "white" if share[row, column] > 0.55 else "#1d2733"
                text = f"{counts[row, column]:.0f}\n{100 * share[row, column]:.0f} %"
                axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
        turned = 45 if max(map(len, labels)) > 8 and len(labels) > 2 else 0
        aligned = "right" if turned else "center"
        axes.set_xticks(range(len(labels)), labels, rotation=turned, ha=aligned)
        axes.set_yticks(range(len(labels)), labels)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set(xlabel="predicted class", ylabel=f"true class ({unit})")
        return figure


def roc_figure(points: FloatArray, area: Mapping[str, float | None], positive: str) -> Figure:
    """ROC curve of the positive class.

    Args:
        points: (K, 2) false and true positive rate, 0 to 1.
        area: The estimate of the area with its interval.
        positive: The positive class.
    """
    with report_figure(4.2, 4.0) as figure:
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.9, linestyle=DASHED)
        label = f"AUROC {area['value']:.2f}"
        if area["low"] is not None:
            label += f" ({area['low']:.2f} to {area['high']:.2f})"
        axes.plot(*points.T, color=ACCENT, linewidth=1.6, label=label)
        axes.set(xlim=(-0.01, 1), ylim=(0, 1.01), aspect="equal")
        axes.set(xlabel="1 − specificity", ylabel=f"sensitivity for {positive}")
        axes.legend(loc="lower right")
        return figure


def reliability_figure(bins: Sequence[Mapping[str, Any]], what: str) -> Figure:
    """Predicted probability against how often it came true; bars count the cases.

    Args:
        bins: Rows of `metrics.ReliabilityBin.as_dict`.
        what: Whose probability: the positive class, or "the most probable class".
    """
    filled = [row for row in bins if row["count"]]
    with report_figure(4.2, 4.0) as figure:
        upper, lower = figure.subplots(2, 1, height_ratios=(4, 1), sharex=True)
        upper.plot([0, 1], [0, 1], color=GREY, linewidth=0.9, linestyle=DASHED)
        x = [row["mean_probability"] for row in filled]
        upper.plot(x, [row["observed"] for row in filled], "o-", color=ACCENT, markersize=4)
        upper.set(xlim=(0, 1), ylim=(-0.02, 1.02), ylabel="observed share")
        middle = [(row["low"] + row["high"]) / 2 for row in bins]
        lower.bar(middle, [row["count"] for row in bins], 0.9 / len(bins), color=FILL)
        lower.set(ylabel="cases", xlabel=f"predicted probability of {what}")
        return figure


def training_figure(logs: Mapping[str, Path], score: str, score_name: str) -> Figure | None:
    """Training loss and validation score by epoch, a panel a fold; None without any log.

    Args:
        logs: log.csv of each network's training, by name; those that are not there are left out.
        score: Column of the validation score: valid/accuracy.
        score_name: Its name in words.
    """
    tables = {name: pd.read_csv(path) for name, path in logs.items() if path.is_file()}
    tables = {name: table for name, table in tables.items() if len(table) and "epoch" in table}
    if not tables:
        return None
    with report_figure(2.6 * len(tables) + 1, 2.8) as figure:
        panels = figure.subplots(1, len(tables), squeeze=False, sharey=True)[0]
        right = [axes.twinx() for axes in panels]
        for other in right[1:]:
            other.sharey(right[0])
        for axes, other, (name, table) in zip(panels, right, tables.items(), strict=True):
            axes.set(xlabel="epoch", title=name.replace("_", " "))
            _curve(axes, table, "train/loss", ACCENT, "-")
            _curve(other, table, score, WARN, "--")
            other.spines["right"].set_visible(True)
            other.tick_params(labelright=other is right[-1])
        panels[0].set_ylabel("training loss", color=ACCENT)
        right[-1].set_ylabel(score_name, color=WARN)
        return figure


def _curve(axes: Any, table: pd.DataFrame, column: str, colour: str, style: str) -> None:
    if column in table:
        known = table[["epoch", column]].dropna()
        dot = "o" if len(known) == 1 else ""  # a line of one point is not seen
        axes.plot(known["epoch"], known[column], color=colour, linestyle=style, marker=dot)
