"""The section of the report on leg agility: scores, and what ratings rest on, by recording."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure
from tqdm import tqdm

from medvial.gait.leg_agility.analysis import LegAgility, definitions
from medvial.gait.leg_agility.config import LegConfig
from medvial.gait.leg_agility.inputs import analyse_both
from medvial.gait.leg_agility.signals import LEGS, Leg
from medvial.outputs import write_bytes
from medvial_training.classification_figures import training_figure
from medvial_training.figure_style import WARN
from medvial_training.fold_manifest import FINAL
from medvial_training.report import figure_png, image_uri, render
from medvial_training.tasks.gait.leg_agility.figures import (
    confusion_figures,
    expected_figure,
    signal_figure,
)
from medvial_training.tasks.gait.leg_agility.recordings import Recordings
from medvial_training.tasks.gait.leg_agility.scores import SAYERS, one_a_leg
from medvial_training.tasks.gait.leg_agility.sheets import contact_sheet
from medvial_training.tasks.gait.systems import CROSS_VALIDATION

TEMPLATE = Path(__file__).parent / "templates" / "section.html"
PHANTOM = "Phantoms: says nothing about clinical accuracy"
MONITOR = "valid/mae"


@dataclass(frozen=True)
class Tested:
    """Everything that the section is made of."""

    recordings: Recordings
    config: LegConfig
    table: pd.DataFrame
    """Predictions, a row a leg."""
    metrics: dict[str, Any]
    level: str
    """Coverage of the intervals, in words."""
    run: Path | None
    """With FOLD/log.csv of the trainings."""


def write_section(out: Path, tested: Tested, pictures: int, progress: bool) -> Markup:
    """Write figures/*.png and recordings/*.png, give the section's HTML."""
    legs = one_a_leg(tested.table)
    drawn = {
        name: _picture(out / "figures" / f"leg_{name}.png", figure, tested)
        for name, figure in _figures(tested, legs).items()
    }
    chosen = choose_recordings(legs, pictures)
    bar = tqdm(chosen, desc="Drawing", unit="recording", disable=None if progress else True)
    cases = [_case(out / "recordings", tested, legs, *case) for case in bar]
    context = {
        "metrics": tested.metrics,
        "scores": tested.metrics["scores"],
        "phantom": tested.metrics["phantom"],
        "cross_validation": tested.metrics["split"] == CROSS_VALIDATION,
        "level": tested.level,
        "figures": drawn,
        "cases": cases,
        "sayers": SAYERS,
        "definitions": definitions(),
        "absent": [score for score in range(5) if score not in tested.config.levels],
        "unrated": _unrated(tested.recordings, legs),
    }
    return render(TEMPLATE, context)


def choose_recordings(legs: pd.DataFrame, count: int) -> list[tuple[str, str]]:
    """Recordings to draw, with worst or typical: by the error of their worse rated leg."""
    errors = (legs["expected"] - legs["score"]).abs()
    by_video = errors.groupby(legs["video"]).max().dropna().sort_values(ascending=False)
    names = [str(name) for name in by_video.index]
    worst = names[: (count + 1) // 2]
    rest = names[len(worst) :]
    middle = max(0, (len(rest) - count // 2) // 2)
    typical = rest[middle : middle + count // 2]
    return [(name, "worst") for name in worst] + [(name, "typical") for name in typical]


def _figures(tested: Tested, legs: pd.DataFrame) -> dict[str, Figure]:
    figures = confusion_figures(tested.metrics["scores"])
    told = legs[legs["expected"].notna()]
    if len(told):
        figures["expected"] = expected_figure(told["score"], told["expected"], told["leg"])
    if tested.run is not None:
        found = sorted(tested.run.glob("fold_*/log.csv"), key=lambda path: len(str(path)))
        logs = {path.parent.name: path for path in [*found, tested.run / FINAL / "log.csv"]}
        training = training_figure(logs, MONITOR, "validation: mean absolute error")
        if training is not None:
            figures["training"] = training
    return figures


def _case(
    folder: Path, tested: Tested, legs: pd.DataFrame, video: str, kind: str
) -> dict[str, Any]:
    """One recording: the plot of its signals, who was followed, quantities, criteria."""
    points, times_s = tested.recordings.clip(video)
    agility = analyse_both(points, times_s)
    rows = {row["leg"]: row for _, row in legs[legs["video"] == video].iterrows()}
    titles = {leg: _title(leg, rows.get(leg), agility) for leg in LEGS}
    plot = _picture(folder / f"{video}.png", signal_figure(agility, titles), tested)
    sheet = contact_sheet(points, times_s)
    write_bytes(folder / f"{video}_patient.png", sheet)
    return {
        "video": video,
        "kind": kind,
        "plot": plot,
        "sheet": image_uri(sheet),
        "quantities": _quantities(agility),
        "criteria": _criteria(agility),
        "scores": {leg: titles[leg] for leg in LEGS},
    }


def _title(leg: Leg, row: Any, agility: LegAgility) -> str:
    """Clinician, model and criteria in one line."""
    if row is None:
        return f"{leg} leg: not rated by the clinician"
    said = f"{leg} leg: clinician {row['score']:.0f}"
    if np.isnan(row["predicted"]):
        reasons = agility.of(leg).quality.refused
        return f"{said}, not rated by the model" + (f": {reasons[0].message}" if reasons else "")
    said += f", model {row['predicted']:.0f} (mean {row['expected']:.1f})"
    read = row["criteria"]
    return said + ("" if np.isnan(read) else f", the taps by the item's rule {read:.0f}")


def _quantities(agility: LegAgility) -> list[dict[str, Any]]:
    """A row a quantity with the values of both legs as text."""
    told = {leg: agility.of(leg).as_dict()["kinematics"] for leg in LEGS}
    return [
        {"name": name.replace("_", " "), "unit": value["unit"]}
        | {leg: _number(told[leg][name]["value"]) for leg in LEGS}
        for name, value in told["left"].items()
    ]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}".replace("-", "\N{MINUS SIGN}")


def _criteria(agility: LegAgility) -> list[dict[str, Any]]:
    """A row a criterion with both legs' readings."""
    found = {leg: {r.criterion: r for r in agility.of(leg).readings} for leg in LEGS}
    names = dict.fromkeys(name for leg in LEGS for name in found[leg])
    return [{"name": name} | {leg: found[leg].get(name) for leg in LEGS} for name in names]


def _unrated(recordings: Recordings, legs: pd.DataFrame) -> list[dict[str, str]]:
    """Legs that a clinician scored and that are not rated, with the reason."""
    missing = legs[legs["predicted"].isna()]
    why = recordings.legs.set_index(["video", "leg"])["unused_because"]
    return [
        {"video": video, "leg": leg, "score": f"{score:.0f}", "why": str(why.get((video, leg), ""))}
        for video, leg, score in zip(
            missing["video"], missing["leg"], missing["score"], strict=True
        )
    ]


def _picture(path: Path, figure: Figure, tested: Tested) -> dict[str, Any]:
    if tested.metrics["phantom"]:
        figure.suptitle(PHANTOM, fontsize=8, color=WARN)
    content = figure_png(figure, dpi=130)
    write_bytes(path, content)
    return {"uri": image_uri(content), "width_px": round(96 * figure.get_figwidth())}
