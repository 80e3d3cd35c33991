"""The report of a test, for clinicians: figures, overlays of chosen films, and the page."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from tqdm import tqdm

from medvial.cldetection.config import Config
from medvial.cldetection.preprocess import at_network_size
from medvial.outputs import write_bytes
from medvial_training.metrics import Bootstrap
from medvial_training.report import figure_png, fixed, image_uri, write_report
from medvial_training.tasks.cldetection import figures
from medvial_training.tasks.cldetection.dataset import Sample
from medvial_training.tasks.cldetection.marks import FloatArray, Marks
from medvial_training.tasks.cldetection.measurement_scores import MeasuredPair
from medvial_training.tasks.cldetection.overlays import FilmMarks, draw_overlay, encode

TEMPLATE = Path(__file__).parent / "templates" / "report.html"
UNITS = {"deg": "°", "mm": "mm", "percent": "%", "ratio": "ratio"}
WORST, TYPICAL, BEST = 4, 2, 2  # films shown
REPORT_HEIGHT_PX, REPORT_MARGIN = 640, 0.07  # of the overlays in the page


@dataclass(frozen=True)
class Tested:
    """Everything that a report is made of."""

    config: Config
    samples: list[Sample]
    marks: Marks
    pairs: list[MeasuredPair]
    metrics: dict[str, Any]
    """What metrics.json holds."""
    landmarks: list[dict[str, Any]]
    """Rows of per_landmark.csv."""
    images: list[dict[str, Any]]
    """Rows of per_image.csv."""
    bootstrap: Bootstrap
    observers: FloatArray | None = None
    """(N, L) distance between two human observers, mm."""


def write_pictures(out: Path, tested: Tested, *, progress: bool) -> None:
    """Write overlays/<image_id>.png of every film, figures/*.png and report.html."""
    ids = tested.marks.image_ids
    for index in tqdm(
        range(len(ids)), desc="Drawing", unit="film", disable=None if progress else True
    ):
        write_bytes(out / "overlays" / f"{ids[index]}.png", encode(_overlay(tested, index), ".png"))
    uris: dict[str, dict[str, Any]] = {}
    for name, figure in draw_figures(tested).items():
        content = figure_png(figure)
        write_bytes(out / "figures" / f"{name}.png", content)
        uris[name] = {"uri": image_uri(content), "width_px": round(96 * figure.get_figwidth())}
    write_report(out / "report.html", TEMPLATE, _context(tested, uris))


def draw_figures(tested: Tested) -> dict[str, Figure]:
    """The figures that the results allow, by name."""
    drawn: dict[str, Figure] = {}
    marks, metrics = tested.marks, tested.metrics
    if metrics["overall"]["mre_mm"]["value"] is not None:
        drawn["error_curve"] = figures.error_curve(marks, tested.bootstrap, tested.observers)
        drawn["landmark_errors"] = figures.landmark_errors(marks, tested.landmarks)
        drawn["bias_map"] = figures.bias_map(marks, tested.landmarks)
    agreement = figures.agreement_plots(tested.pairs)
    if agreement is not None:
        drawn["agreement"] = agreement
    if metrics["intervals"] is not None:
        drawn["coverage"] = figures.coverage_plot(metrics["intervals"])
    if metrics["calibration"] is not None:
        drawn["calibration"] = figures.calibration_plot(metrics["calibration"])
    return drawn


def _context(tested: Tested, uris: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What the template names."""
    ranked = [row for row in tested.landmarks if row["mre_mm"] is not None]
    ranked.sort(key=lambda row: -row["mre_mm"])
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in tested.metrics["measurements"]:
        groups.setdefault(row["group"], []).append(row)
    measured = {row["name"] for row in tested.metrics["measurements"]}
    return {
        "metrics": tested.metrics,
        "measurement_groups": groups,
        "unavailable": [pair.name for pair in tested.pairs if pair.name not in measured],
        "phantom": tested.metrics["phantom"],
        "notice": tested.metrics["notice"],
        "landmark_count": len(tested.marks.landmark_set),
        "landmarks": ranked,
        "worst_landmarks": ranked[:3],
        "best_landmarks": ranked[:-4:-1],
        "units": UNITS,
        "figures": {"agreement": None, **uris},
        "cases": _cases(tested),
    }


def _cases(tested: Tested) -> dict[str, list[dict[str, str]]]:
    """Films to show: the worst, those around the median, and the best; none of them twice."""
    order = _worst_first(tested.images)
    middle = max(0, (len(order) - TYPICAL) // 2)
    chosen: dict[str, list[int]] = {"worst": order[:WORST]}
    chosen["typical"] = [i for i in order[middle : middle + TYPICAL] if i not in chosen["worst"]]
    taken = {*chosen["worst"], *chosen["typical"]}
    chosen["best"] = [i for i in order[::-1][:BEST] if i not in taken]
    return {name: [_case(tested, i) for i in indices] for name, indices in chosen.items()}


def _worst_first(images: list[dict[str, Any]]) -> list[int]:
    """Films by mean error, largest first: in mm, or in px if no film has a scale."""
    key = "mre_mm" if any(row["mre_mm"] is not None for row in images) else "mre_px"
    known = [index for index, row in enumerate(images) if row[key] is not None]
    return sorted(known, key=lambda index: -images[index][key])


def _case(tested: Tested, index: int) -> dict[str, str]:
    row = tested.images[index]
    caption = f"Film {row['image_id']}"
    if row["mre_mm"] is not None:
        caption += (
            f": mean error {fixed(row['mre_mm'])} mm, largest {fixed(row['max_mm'], 1)} mm at "
            f"{row['worst_landmark']}"
        )
    picture = encode(_overlay(tested, index, REPORT_HEIGHT_PX, REPORT_MARGIN), ".jpg")
    return {"image_id": row["image_id"], "caption": caption, "picture": image_uri(picture)}


def _overlay(
    tested: Tested, index: int, height: int = 1200, margin: float | None = None
) -> NDArray[np.uint8]:
    sample, marks = tested.samples[index], tested.marks
    drawn = FilmMarks(
        title=sample.image_id,
        symbols=marks.landmark_set.symbols,
        expert=marks.expert[index],
        predicted=marks.predicted[index],
        corrected=marks.corrected[index],
        mm_per_px=float(marks.mm_per_px[index]),
    )
    grey, geometry = sample.as_given(tested.config)
    grey = at_network_size(grey, tested.config)
    return draw_overlay(grey, geometry, drawn, height=height, margin=margin)
