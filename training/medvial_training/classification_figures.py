"""Figures of classification reports: folds, confusion matrix, ROC, reliability."""

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from medvial_training.figure_style import report_figure

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
        figure.legend(loc="outside upper left", ncols=min(len(labels), 6))
        return figure
