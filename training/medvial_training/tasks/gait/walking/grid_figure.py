"""The table of a grid of experiments, as a picture and a page."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medvial.outputs import write_bytes
from medvial_training.figure_style import WARN, report_figure
from medvial_training.report import figure_png, image_uri, write_report

TEMPLATE = Path(__file__).parent / "templates" / "grid.html"
TITLES = {
    "auroc": "AUROC",
    "balanced_accuracy": "Balanced accuracy",
    "accuracy": "Accuracy",
}
LEAST_WIDTH = 3.6  # inches: the title fits in


def grid_figure(table: pd.DataFrame, score: str, phantom: bool) -> Figure:
    """A panel a network: clip length down, frames across, the score and its interval in each.

    Args:
        table: A row a cell: model, clip_s, clip_frames, score, score_low and score_high.
        score: The column to show.
        phantom: Whether to say that these are phantoms.
    """
    models = list(dict.fromkeys(table["model"]))
    shapes = [table[table["model"] == model] for model in models]
    widths = [max(1.6, float(rows["clip_frames"].nunique())) for rows in shapes]
    tallest = max(rows["clip_s"].nunique() for rows in shapes)
    width = max(LEAST_WIDTH, sum(widths) + 0.8 * len(models))
    with report_figure(width, 0.75 * tallest + 1.6) as figure:
        panels = figure.subplots(1, len(models), squeeze=False, width_ratios=widths)[0]
        for axes, model, rows in zip(panels, models, shapes, strict=True):
            _panel(axes, rows, score)
            axes.set_title(model.replace("_", " "), fontsize=9)
        figure.supxlabel("frames of a clip", fontsize=9)
        panels[0].set_ylabel("clip (s)")
        title = f"{TITLES[score]} by patient, cross-validated"
        figure.suptitle(
            f"{title}\nPHANTOMS: says nothing about clinical accuracy" if phantom else title,
            fontsize=9,
            color=WARN if phantom else None,
        )
        return figure


def _panel(axes: Axes, rows: pd.DataFrame, score: str) -> None:
    lengths, frames = sorted(rows["clip_s"].unique()), sorted(rows["clip_frames"].unique())
    values = np.full((len(lengths), len(frames)), np.nan)
    for _, row in rows.iterrows():
        place = lengths.index(row["clip_s"]), frames.index(row["clip_frames"])
        known = pd.notna(row[score])
        values[place] = row[score] if known else np.nan
        text = "not\npossible" if not known else f"{row[score]:.2f}"
        if known and pd.notna(row[f"{score}_low"]):
            text += f"\n{row[f'{score}_low']:.2f}–{row[f'{score}_high']:.2f}"
        colour = "white" if known and row[score] > 0.8 else "#1d2733"
        axes.text(place[1], place[0], text, ha="center", va="center", fontsize=7, color=colour)
    axes.imshow(values, cmap="Blues", vmin=0.4, vmax=1, aspect="auto")
    axes.set_xticks(range(len(frames)), [str(n) for n in frames])
    axes.set_yticks(range(len(lengths)), [length(s) for s in lengths])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def length(clip_s: float) -> str:
    """A clip's length in seconds, in words."""
    return f"{clip_s:g}" if clip_s else "whole"


def in_words(row: dict[str, Any], score: str) -> str:
    """The interval of a row's score, with a blank before it; nothing where there is none."""
    low, high = row[f"{score}_low"], row[f"{score}_high"]
    return "" if low is None else f" (95 % {low:.3f} to {high:.3f})"


def write_pictures(
    out: Path, rows: list[dict[str, Any]], score: str, source: dict[str, Any]
) -> None:
    """Write the picture, OUT/grid.png, and the table with it in one file, OUT/grid.html.

    Args:
        out: Folder of the grid.
        rows: The cells, as in grid.csv.
        score: Which the picture shows.
        source: What step 1 noted of the data.
    """
    figure = grid_figure(pd.DataFrame(rows), score, bool(source.get("phantom")))
    picture = figure_png(figure)
    write_bytes(out / "grid.png", picture)
    context = {
        "rows": rows,
        "titles": TITLES,
        "score": score,
        "picture": image_uri(picture),
        "width_px": round(96 * figure.get_figwidth()),
        "length": length,
        "phantom": bool(source.get("phantom")),
        "description": source.get("description") or "not described",
    }
    write_report(out / "grid.html", TEMPLATE, context)
