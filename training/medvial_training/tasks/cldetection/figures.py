"""Figures of the report: error curve, errors per landmark, bias, measurements, calibration."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from medvial_training.figure_style import ACCENT, GREY, INK, LIGHT, WARN, report_figure
from medvial_training.metrics import Bootstrap, cluster_means
from medvial_training.tasks.cldetection.labels import place_labels
from medvial_training.tasks.cldetection.marks import FloatArray, Marks
from medvial_training.tasks.cldetection.measurement_scores import MeasuredPair
from medvial_training.tasks.cldetection.scores import SDR_MM

CURVE_END_MM = 6.0
KEY_MEASUREMENTS = ("SNA", "SNB", "ANB", "SN-MP", "FMA", "Wits", "IMPA", "FHI")


def error_curve(marks: Marks, bootstrap: Bootstrap, observers: FloatArray | None = None) -> Figure:
    """Share of points whose error is below each distance, with its interval over patients.

    Args:
        marks: Films with a scale.
        bootstrap: How the band is estimated.
        observers: Distances between two human observers in mm, for a second curve.
    """
    grid = np.linspace(0, CURVE_END_MM, 121)
    share = np.stack([marks.detected(t).ravel() for t in grid], axis=1)
    patients = np.repeat(marks.clusters, len(marks.landmark_set))
    estimates = cluster_means(100 * share, patients, bootstrap)
    value, low, high = (np.array([getattr(e, n) for e in estimates]) for n in _ESTIMATE)
    with report_figure(7.2, 3.9) as figure:
        axes = figure.subplots()
        axes.fill_between(grid, low, high, color=ACCENT, alpha=0.18, linewidth=0)
        axes.plot(grid, value, color=ACCENT, linewidth=1.8, label="model against expert")
        if observers is not None:
            known = observers[np.isfinite(observers)]
            curve = [100 * np.mean(known < t) for t in grid]
            axes.plot(grid, curve, "--", color=GREY, linewidth=1.4, label="two human observers")
            axes.legend(loc="lower right")
        for threshold in SDR_MM:
            at = float(np.interp(threshold, grid, value))
            axes.plot([threshold, threshold, 0], [0, at, at], color=LIGHT, zorder=0, linewidth=0.9)
            axes.plot(threshold, at, "o", color=ACCENT, markersize=4.5)
            axes.annotate(
                f"{at:.1f} %", (threshold, at), (5, -11), textcoords="offset points", fontsize=8
            )
        axes.set(xlim=(0, CURVE_END_MM), ylim=(0, 101))
        axes.set(
            xlabel="distance from the expert’s mark (mm)", ylabel="landmarks closer than that (%)"
        )
        return figure


def landmark_errors(marks: Marks, rows: list[dict[str, Any]]) -> Figure:
    """Box plot of the errors of every landmark, largest mean error on top."""
    order = sorted((r for r in rows if r["points"]), key=lambda r: r["mre_mm"])
    error = marks.error_mm
    values = [_known(error[:, row["number"] - 1]) for row in order]
    with report_figure(7.2, 0.9 + 0.235 * len(order)) as figure:
        axes = figure.subplots()
        axes.axvline(2, color=WARN, linewidth=1.1, linestyle=(0, (4, 3)), zorder=1)
        axes.boxplot(
            values,
            orientation="horizontal",
            whis=(5, 95),
            widths=0.6,
            patch_artist=True,
            boxprops={"facecolor": "#cfdeef", "edgecolor": ACCENT, "linewidth": 0.8},
            medianprops={"color": ACCENT, "linewidth": 1.6},
            whiskerprops={"color": ACCENT, "linewidth": 0.8},
            capprops={"color": ACCENT, "linewidth": 0.8},
            flierprops={"marker": ".", "markersize": 3, "markeredgecolor": GREY, "alpha": 0.7},
        )
        means = [row["mre_mm"] for row in order]
        axes.plot(means, np.arange(1, len(order) + 1), "D", color=INK, markersize=3.2)
        axes.set_yticks(np.arange(1, len(order) + 1))
        axes.set_yticklabels([f"{row['title']}  ({row['symbol']})" for row in order])
        end = max(4.5, 1.15 * float(np.percentile(np.concatenate(values), 99.5)))
        _note_beyond(axes, values, end)
        axes.set(xlim=(0, end), xlabel="distance from the expert’s mark (mm)")
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
        axes.set_axisbelow(True)
        return figure


def bias_map(marks: Marks, rows: list[dict[str, Any]]) -> Figure:
    """Mean error and its spread (1 SD ellipse) of every landmark, on the mean expert shape."""
    shape = _mean_shape(marks)
    offset = marks.offset_mm
    with report_figure(7.2, 7.2) as figure:
        axes = figure.subplots()
        for index in range(len(rows)):
            known = offset[:, index][np.isfinite(offset[:, index]).all(axis=1)]
            if len(known) < 3 or not np.isfinite(shape[index]).all():
                continue
            centre = shape[index] + known.mean(axis=0)
            ring = centre + _ellipse(known)
            axes.fill(*ring.T, facecolor="#cfdeef", edgecolor=ACCENT, linewidth=0.8)
            axes.plot(*np.stack([shape[index], centre]).T, color=WARN, linewidth=1.3)
            axes.plot(*centre, ".", color=ACCENT, markersize=5)
            axes.plot(*shape[index], "+", color=INK, markersize=6, markeredgewidth=1)
        _write_symbols(axes, shape, [row["symbol"] for row in rows])
        axes.set_aspect("equal")
        axes.invert_yaxis()
        axes.set_axis_off()
        return figure


def agreement_plots(pairs: list[MeasuredPair]) -> Figure | None:
    """Bland-Altman plots of up to six well-known measurements; None if no film has any."""
    chosen = _key_pairs(pairs)
    if not chosen:
        return None
    columns = min(3, len(chosen))
    lines = -(-len(chosen) // columns)
    with report_figure(2.45 * columns, 2.35 * lines) as figure:
        grid = figure.subplots(lines, columns, squeeze=False)
        for axes in grid.ravel()[len(chosen) :]:
            axes.set_axis_off()
        for axes, pair in zip(grid.ravel(), chosen, strict=False):
            _bland_altman(axes, pair)
        figure.supxlabel("mean of expert and model", fontsize=9)
        figure.supylabel("model minus expert", fontsize=9)
        return figure


def calibration_plot(calibration: dict[str, Any]) -> Figure:
    """Predicted against observed probability, with the number of landmarks in each bin."""
    bins = [row for row in calibration["bins"] if row["count"]]
    x = np.array([row["mean_probability"] for row in bins])
    y = np.array([row["observed"] for row in bins])
    low = np.array([_or(row["observed_low"], row["observed"]) for row in bins])
    high = np.array([_or(row["observed_high"], row["observed"]) for row in bins])
    with report_figure(4.6, 5.4) as figure:
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
        top.plot([0, 1], [0, 1], color=GREY, linewidth=0.9, linestyle=(0, (4, 3)))
        spans = np.stack([np.clip(y - low, 0, None), np.clip(high - y, 0, None)])
        top.errorbar(x, y, yerr=spans, fmt="o-", color=ACCENT, linewidth=1.2, markersize=4.5)
        top.set(ylim=(0, 1.02), ylabel="observed: within 2 mm")
        lows = [row["low"] for row in calibration["bins"]]
        numbers = [row["count"] for row in calibration["bins"]]
        bottom.bar(lows, numbers, width=0.092, align="edge", color="#cfdeef", edgecolor=ACCENT)
        bottom.set(xlim=(0, 1.02), xlabel="predicted probability", ylabel="landmarks")
        return figure


def coverage_plot(intervals: dict[str, Any]) -> Figure:
    """How often each landmark's 90 % region holds the expert's mark, rarest at the bottom."""
    known = [
        (row["coverage"]["value"], row["coverage"]["low"], row["coverage"]["high"], symbol)
        for symbol, row in intervals["landmarks"].items()
        if row["coverage"]["value"] is not None
    ]
    known.sort(key=lambda row: row[0])
    with report_figure(5.6, 0.9 + 0.2 * len(known)) as figure:
        axes = figure.subplots()
        axes.axvline(100 * intervals["level"], color=WARN, linewidth=1.1, linestyle=(0, (4, 3)))
        for position, (value, low, high, _) in enumerate(known):
            ends = [100 * _or(low, value), 100 * _or(high, value)]
            axes.plot(ends, [position, position], color=LIGHT, linewidth=3)
            axes.plot(100 * value, position, "o", color=ACCENT, markersize=4.5)
        axes.set_yticks(np.arange(len(known)), [row[-1] for row in known])
        axes.set(
            xlim=(min(50.0, 100 * known[0][0] - 5), 101), xlabel="regions that hold the mark (%)"
        )
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
        axes.set_axisbelow(True)
        return figure


_ESTIMATE = ("value", "low", "high")


def _known(values: FloatArray) -> FloatArray:
    return values[np.isfinite(values)]


def _or(value: float | None, other: float) -> float:
    return other if value is None else value


def _note_beyond(axes: Axes, values: list[FloatArray], end: float) -> None:
    """Say at the right edge how many points the axis leaves out."""
    for position, known in enumerate(values, start=1):
        beyond = int((known > end).sum())
        if beyond:
            axes.annotate(
                f"+{beyond} ›", (end, position), ha="right", va="center", fontsize=7.5, color=WARN
            )


def _mean_shape(marks: Marks) -> FloatArray:
    """(L, 2) mm: mean of the expert shapes, each moved to its own centre, face to the right."""
    front = np.where(marks.faces_left, -1.0, 1.0)[:, None]
    points = marks.expert * marks.mm_per_px[:, None, None]
    points = np.stack([points[..., 0] * front, points[..., 1]], axis=-1)
    complete = points[np.isfinite(points).all(axis=(1, 2))]
    if not len(complete):
        return np.full(points.shape[1:], np.nan)
    mean: FloatArray = (complete - complete.mean(axis=1, keepdims=True)).mean(axis=0)
    return mean


def _write_symbols(axes: Axes, shape: FloatArray, symbols: list[str]) -> None:
    """Symbols beside the points of a shape in mm, and a bar of 10 mm; sets no limits."""
    known: NDArray[np.bool_] = np.isfinite(shape[:, 0])
    if not known.any():
        return
    names = [name for name, is_known in zip(symbols, known, strict=True) if is_known]
    points = shape[known]
    low, high = points.min(axis=0) - 8, points.max(axis=0) + 8
    height = 0.019 * float((high - low).max())  # about the font's height on this figure
    widths = [0.75 * height * len(name) for name in names]
    bounds = (low[0], low[1], high[0], high[1])
    boxes = place_labels(points, widths, height, points, bounds)
    for name, box in zip(names, boxes, strict=True):
        axes.text(box[0], box[3], name, fontsize=8, va="bottom")
    axes.plot([low[0], low[0] + 10], [high[1], high[1]], color=INK, linewidth=1.2)
    axes.text(low[0] + 5, high[1] - 0.4 * height, "10 mm", fontsize=8, ha="center", va="bottom")


def _ellipse(offsets: FloatArray) -> FloatArray:
    """(60, 2) outline of one standard deviation around the origin."""
    angle = np.linspace(0, 2 * np.pi, 60)
    variance, axes = np.linalg.eigh(np.cov(offsets.T))
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    outline: FloatArray = circle * np.sqrt(np.clip(variance, 0, None)) @ axes.T
    return outline


def _key_pairs(pairs: list[MeasuredPair]) -> list[MeasuredPair]:
    """The well-known measurements that at least two films have, else the first of any."""
    usable = [p for p in pairs if np.isfinite(p.difference).sum() >= 2]
    known = {p.name: p for name in KEY_MEASUREMENTS for p in usable if p.name == name}
    return (list(known.values()) or usable)[:6]


def _bland_altman(axes: Axes, pair: MeasuredPair) -> None:
    difference = pair.difference
    known = difference[np.isfinite(difference)]
    mean = (pair.expert + difference / 2)[np.isfinite(difference)]
    bias, sd = float(known.mean()), float(known.std(ddof=1))
    axes.axhline(0, color=LIGHT, linewidth=0.9, zorder=0)
    axes.axhline(bias, color=ACCENT, linewidth=1.2)
    for limit in (bias - 1.96 * sd, bias + 1.96 * sd):
        axes.axhline(limit, color=ACCENT, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.plot(mean, known, ".", color=INK, markersize=3.5, alpha=0.55)
    reach = max(float(np.abs(known).max()), abs(bias) + 2.2 * sd) * 1.08
    unit = {"deg": "°", "percent": "%", "ratio": "ratio"}.get(pair.unit, pair.unit)
    axes.set(ylim=(-reach, reach) if reach > 0 else (-1, 1))
    axes.set_title(f"{pair.name} ({unit})", fontsize=9, loc="left")
