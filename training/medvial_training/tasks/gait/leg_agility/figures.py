"""Figures of leg agility: what a knee did, with its taps, and how scores agree."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import blended_transform_factory

from medvial.gait.leg_agility.analysis import LegAgility
from medvial.gait.leg_agility.signals import LEGS, Leg
from medvial_training.classification_figures import confusion_figure
from medvial_training.figure_style import ACCENT, FILL, GREY, LIGHT, WARN, report_figure


def confusion_figures(metrics: Mapping[str, Any]) -> dict[str, Figure]:
    """Confusion matrix of each leg and of both, of what the model says."""
    figures = {}
    for part, by_sayer in metrics.items():
        confusion = by_sayer["predicted"]["confusion"]
        figures[f"confusion_{part}"] = confusion_figure(
            confusion["matrix"], confusion["labels"], "legs" if part == "both" else f"{part} legs"
        )
    return figures


def signal_figure(agility: LegAgility, titles: Mapping[Leg, str]) -> Figure:
    """Heights of both knees through time, one panel each.

    Triangles mark the taps' peaks, the line through them their heights; interruptions are shaded,
    arrests darker. Both panels have the same scale, and its zero at the lowest height.

    Args:
        agility: What was measured.
        titles: Of each leg's panel.
    """
    with report_figure(9.4, 4.4) as figure:
        panels = figure.subplots(2, 1, sharex=True, sharey=True)
        for axes, leg in zip(panels, LEGS, strict=True):
            _draw_leg(axes, agility, leg)
            axes.set_title(titles[leg], loc="left", fontsize=9)
            axes.set_ylabel("knee height\n(trunk lengths)")
        panels[-1].set_xlabel("time (s)")
        return figure


def _draw_leg(axes: Axes, agility: LegAgility, leg: Leg) -> None:
    signal, movement = agility.signals.of(leg), agility.of(leg).movement
    seen = signal.height[np.isfinite(signal.height)]
    floor = float(np.quantile(seen, 0.02)) if len(seen) else 0.0
    axes.plot(signal.times_s, signal.height - floor, color=ACCENT, linewidth=1.1)
    _draw_gaps(axes, signal.times_s, np.isnan(signal.height))
    taps = movement.taps
    if not taps:
        axes.text(0.5, 0.5, "no taps", transform=axes.transAxes, ha="center", color=GREY)
        return
    peaks = [tap.peak_s for tap in taps], [tap.height - floor for tap in taps]
    axes.plot(*peaks, color=GREY, linewidth=0.8, linestyle=":")
    axes.plot(*peaks, "v", color=WARN, markersize=5)
    for number, (x, y) in enumerate(zip(*peaks, strict=True), 1):
        axes.annotate(str(number), (x, y), (0, 5), textcoords="offset points", ha="center",
                      fontsize=7, color=GREY)  # fmt: skip
    for before, after, pause in zip(taps, taps[1:], movement.pauses_s, strict=False):
        if pause > 0:
            arrest = pause >= movement.options.arrest_s
            axes.axvspan(before.end_s, after.start_s, color=WARN, alpha=0.3 if arrest else 0.13)
    axes.margins(y=0.18)


def _draw_gaps(axes: Axes, times_s: Any, missing: Any) -> None:
    """A grey line at the bottom where the knee was out of sight."""
    place = blended_transform_factory(axes.transData, axes.transAxes)
    height = np.where(missing, 0.02, np.nan)
    axes.plot(times_s, height, color=LIGHT, linewidth=5, transform=place, solid_capstyle="butt")


def expected_figure(truth: Any, expected: Any, legs: Any) -> Figure:
    """The model's mean score of every leg over the clinician's, spread a little sideways.

    Args:
        truth: (N,) the clinician's.
        expected: (N,) mean of the model's levels, weighted by their probabilities.
        legs: (N,) left or right.
    """
    rng = np.random.default_rng(0)
    with report_figure(4.4, 3.8) as figure:
        axes = figure.subplots()
        low, high = float(np.min(truth)) - 0.5, float(np.max(truth)) + 0.5
        axes.plot([low, high], [low, high], color=FILL, linewidth=1.2)
        for leg, colour, marker in (("left", ACCENT, "o"), ("right", WARN, "s")):
            mine = np.asarray(legs) == leg
            x = np.asarray(truth)[mine] + rng.uniform(-0.18, 0.18, mine.sum())
            axes.plot(x, np.asarray(expected)[mine], marker, color=colour, markersize=3.5,
                      alpha=0.6, label=f"{leg} leg")  # fmt: skip
        axes.set(xlabel="score of the clinician", ylabel="mean score of the model")
        axes.set_xticks(range(int(np.min(truth)), int(np.max(truth)) + 1))
        axes.legend(loc="upper left")
        return figure
