"""The section of the report on walking: figures, tables, and what networks looked at."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure
from tqdm import tqdm

from medvial.outputs import write_bytes
from medvial.video_classification.config import ClipConfig
from medvial_training import classification_figures as figures
from medvial_training.cases import cases_of
from medvial_training.classification_scores import roc_points
from medvial_training.clips.store import ClipStore
from medvial_training.figure_style import WARN
from medvial_training.report import figure_png, image_uri, render
from medvial_training.tasks.gait.walking.looks import load_net, look_at, write_film, write_still
from medvial_training.tasks.gait.walking.prepare import COUNTS
from medvial_training.tasks.gait.walking.read_video import SHEETS
from medvial_training.tasks.gait.walking.train import WEIGHTS

TEMPLATE = Path(__file__).parent / "templates" / "section.html"
PHANTOM = "Phantoms: says nothing about clinical accuracy"


@dataclass(frozen=True)
class Tested:
    """Everything that the section is made of."""

    data: Path
    config: ClipConfig
    table: pd.DataFrame
    """A row a video: predictions with `fold`, `site` and `group`."""
    metrics: dict[str, Any]
    level: str
    """Coverage of the intervals, in words."""
    model: Path
    """Model folder."""
    run: Path | None
    """The system's folder of the run, with a folder a fold."""


def write_section(out: Path, tested: Tested, pictures: int, progress: bool) -> Markup:
    """Write figures/*.png and looks/<video>.mp4 and .png; gives the section in HTML."""
    drawn: dict[str, dict[str, Any]] = {}
    for name, figure in draw_figures(tested).items():
        if tested.metrics["phantom"]:
            figure.suptitle(PHANTOM, fontsize=8, color=WARN)
        content = figure_png(figure)
        write_bytes(out / "figures" / f"{name}.png", content)
        drawn[name] = {"uri": image_uri(content), "width_px": round(96 * figure.get_figwidth())}
    chosen = choose(tested.table, tested.config, pictures)
    bar = tqdm(chosen, desc="Drawing", unit="video", disable=None if progress else True)
    cases = [_draw_case(out, tested, kind, row) for kind, row in bar]
    return render(TEMPLATE, _context(tested, drawn, [case for case in cases if case]))


def draw_figures(tested: Tested) -> dict[str, Figure]:
    """The figures that the results allow, by name."""
    scores, config = tested.metrics["patients"], tested.config
    drawn: dict[str, Figure | None] = {}
    confusion = scores["confusion"]
    drawn["confusion"] = figures.confusion_figure(confusion["matrix"], confusion["labels"])
    what = "the most probable class"
    if len(config.labels) == 2:
        what = scores["positive"]
        points = roc_points(cases_of(tested.table, config.labels), what)
        if points is not None:
            drawn["roc"] = figures.roc_figure(points, scores["auroc"], what)
    drawn["reliability"] = figures.reliability_figure(scores["reliability"], what)
    counts = tested.data / COUNTS
    drawn["folds"] = figures.fold_figure(pd.read_csv(counts)) if counts.is_file() else None
    if tested.run is not None:
        logs = {p.parent.name: p for p in sorted(tested.run.glob("*/log.csv"))}
        drawn["training"] = figures.training_figure(
            logs, "valid/patient_balanced_accuracy", "validation: balanced accuracy"
        )
    return {name: figure for name, figure in drawn.items() if figure is not None}


def choose(table: pd.DataFrame, config: ClipConfig, count: int) -> list[tuple[str, int]]:
    """Rows to show: the worst videos of different patients, then typical ones.

    Worst are those whose true class was given the least probability; typical ones lie around the
    median of the rest.
    """
    columns = [f"p_{label}" for label in config.labels]
    truth = [config.labels.index(label) for label in table["label"]]
    given = table[columns].to_numpy(np.float64)[np.arange(len(table)), truth]
    first: dict[str, int] = {}
    for row in np.argsort(given, kind="stable"):
        first.setdefault(str(table["patient"].iloc[row]), int(row))
    own = list(first.values())
    worst = own[: (count + 1) // 2]
    rest = own[len(worst) :]
    middle = max(0, (len(rest) - count // 2) // 2)
    typical = rest[middle : middle + count // 2]
    return [("worst", row) for row in worst] + [("typical", row) for row in typical]


def _draw_case(out: Path, tested: Tested, kind: str, number: int) -> dict[str, Any] | None:
    """Draw one video by the network that classified it; None where its weights are not there."""
    row, config = tested.table.iloc[number], tested.config
    weights = _weights_of(tested, str(row["fold"]))
    if weights is None:
        return None
    video, called = str(row["video"]), str(row["predicted"])
    store = ClipStore(tested.data)
    seen = look_at(store, video, load_net(weights, config), config, config.labels.index(called))
    write_film(out / "looks" / f"{video}.mp4", seen, config)
    content = write_still(out / "looks" / f"{video}.png", seen)
    return {
        "kind": kind,
        "video": video,
        "caption": f"{row['label']}, called {called} with probability {row[f'p_{called}']:.2f}",
        "picture": image_uri(content),
        "film": f"{out.name}/looks/{video}.mp4",
    }


def _weights_of(tested: Tested, fold: str) -> Path | None:
    """Weights of the network that made a prediction: its fold's, or the model's own."""
    folder = tested.model if fold == "model" or tested.run is None else tested.run / fold
    path = folder / WEIGHTS
    return path if path.is_file() else None


def _context(tested: Tested, drawn: dict[str, Any], cases: list[dict[str, Any]]) -> dict[str, Any]:
    """What the template names."""
    metrics = tested.metrics
    return {
        "metrics": metrics,
        "main": metrics["patients"],
        "phantom": metrics["phantom"],
        "level": tested.level,
        "figures": drawn,
        "groups": {"Fold": metrics["by_fold"], "Site": metrics["by_site"]},
        "sheets": (tested.data / SHEETS).is_dir(),
        "worst": [case for case in cases if case["kind"] == "worst"],
        "typical": [case for case in cases if case["kind"] == "typical"],
    }
