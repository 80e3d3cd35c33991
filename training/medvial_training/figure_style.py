"""The look of the reports' figures."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.figure import Figure

INK, GREY, LIGHT, ACCENT, WARN, FILL = (
    "#1d2733",
    "#6b7784",
    "#d9dee4",
    "#1f5fa8",
    "#b3541e",
    "#cfdeef",
)
DASHED = (0, (4, 3))
STYLE: Any = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": LIGHT,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
}


@contextmanager
def report_figure(width: float, height: float) -> Iterator[Figure]:
    """A figure in the reports' style, size in inches; belongs to no window or global state."""
    with matplotlib.rc_context(STYLE):
        yield Figure(figsize=(width, height), layout="constrained")
