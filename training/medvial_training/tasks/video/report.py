"""The report of a test: figures, sample videos, and the page."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from medvial.outputs import write_bytes
from medvial.video_classification import ClipConfig
from medvial_training import classification_figures as figures
from medvial_training.cases import cases_of, probability_columns
from medvial_training.classification_scores import roc_points
from medvial_training.figure_style import WARN
from medvial_training.report import figure_png, image_uri, write_report
from medvial_training.tasks.video.videos import Prepared

TEMPLATE = Path(__file__).parent / "templates" / "report.html"
PHANTOM = "Phantoms: says nothing about real videos"
STRIP = 4  # frames of a video that its picture shows
STRIP_HEIGHT = 112  # pixels
JPEG_QUALITY = 80
MOST_CLASSES = 30  # in the confusion matrix


@dataclass(frozen=True)
class Tested:
    """Everything that a report is made of."""

    prepared: Prepared
    config: ClipConfig
    table: pd.DataFrame
    """A row a video: `predictions_table`."""
    metrics: dict[str, Any]
    log: Path
    """log.csv of the training, if it is there."""


def write_pictures(out: Path, tested: Tested, count: int) -> None:
    """Write figures/*.png and report.html with sample videos."""
    drawn: dict[str, dict[str, Any]] = {}
    for name, figure in draw_figures(tested).items():
        if tested.metrics["phantom"]:
            figure.suptitle(PHANTOM, fontsize=8, color=WARN)
        content = figure_png(figure)
        write_bytes(out / "figures" / f"{name}.png", content)
        drawn[name] = {"uri": image_uri(content), "width_px": round(96 * figure.get_figwidth())}
    write_report(out / "report.html", TEMPLATE, _context(tested, drawn, count))


def draw_figures(tested: Tested) -> dict[str, Figure]:
    """The figures that the results allow, by name."""
    metrics, config = tested.metrics, tested.config
    scores = metrics["patients"] or metrics["videos"]
    unit = f"{scores['unit']}s"
    matrix, labels = concerned(scores["confusion"])
    drawn: dict[str, Figure | None] = {}
    if len(labels) <= MOST_CLASSES:
        drawn["confusion"] = figures.confusion_figure(matrix, labels, unit)
    what = "the most probable class"
    if len(config.labels) == 2:
        what = scores["positive"]
        cases = cases_of(tested.table, config.labels, scores["unit"])
        points = roc_points(cases, what)
        if points is not None:
            drawn["roc"] = figures.roc_figure(points, scores["auroc"], what)
    drawn["reliability"] = figures.reliability_figure(scores["reliability"], what)
    drawn["training"] = figures.training_figure(
        {"training": tested.log}, "valid/balanced_accuracy", "validation: balanced accuracy"
    )
    return {name: figure for name, figure in drawn.items() if figure is not None}


def concerned(confusion: dict[str, Any]) -> tuple[list[list[int]], list[str]]:
    """The rows and columns of a confusion matrix whose classes occur or are called."""
    matrix = np.array(confusion["matrix"])
    kept = np.flatnonzero(matrix.sum(axis=0) + matrix.sum(axis=1))
    return matrix[np.ix_(kept, kept)].tolist(), [confusion["labels"][n] for n in kept]


def choose(table: pd.DataFrame, labels: tuple[str, ...], count: int) -> list[int]:
    """Rows to show: up to half of them the surest errors, the rest spread over the table."""
    sure = table[probability_columns(labels)].to_numpy().max(axis=1)
    wrong = np.flatnonzero(table["label"].to_numpy() != table["predicted"].to_numpy())
    worst = wrong[np.argsort(-sure[wrong], kind="stable")][: (count + 1) // 2].tolist()
    rest = [row for row in range(len(table)) if row not in worst]
    places = np.linspace(0, len(rest) - 1, min(count - len(worst), len(rest))).round().astype(int)
    return [*worst, *(rest[place] for place in sorted(set(places.tolist())))]


def strip(frames: NDArray[np.uint8]) -> bytes:
    """Some frames of a video (T, H, W, 3) side by side, as JPEG."""
    places = np.linspace(0, len(frames) - 1, STRIP).round().astype(int)
    height, width = frames.shape[1:3]
    size = (max(1, round(width * STRIP_HEIGHT / height)), STRIP_HEIGHT)
    small = [cv2.resize(frames[n], size, interpolation=cv2.INTER_AREA) for n in places]
    picture = np.concatenate(small, axis=1)[..., ::-1]
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()


def _context(tested: Tested, drawn: dict[str, Any], count: int) -> dict[str, Any]:
    """What the template names."""
    metrics, table = tested.metrics, tested.table
    columns = probability_columns(tested.config.labels)
    samples = []
    for row in choose(table, tested.config.labels, count):
        video = table.iloc[row]
        samples.append(
            {
                "video": video["video"],
                "picture": image_uri(strip(tested.prepared.store.frames(video["video"]))),
                "label": video["label"],
                "predicted": video["predicted"],
                "probability": float(video[columns].max()),
                "right": video["label"] == video["predicted"],
            }
        )
    main = metrics["patients"] or metrics["videos"]
    return {
        "metrics": metrics,
        "phantom": metrics["phantom"],
        "notice": metrics["notice"],
        "main": main,
        "unit": f"{main['unit']}s",
        "level": f"{100 * metrics['bootstrap']['level']:g} %",
        "figures": drawn,
        "classes": [row for row in main["classes"] if row["cases"]],
        "samples": samples,
    }
