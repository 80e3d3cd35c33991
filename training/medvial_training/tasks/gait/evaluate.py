"""Step 3 of gait: test both systems, and show the result on one page."""

import importlib
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from markupsafe import Markup

from medvial.errors import InputError
from medvial.gait.config import TASK, Config
from medvial.models import ModelFolder
from medvial.outputs import write_json
from medvial_training.metrics import Bootstrap
from medvial_training.provenance import git_revision
from medvial_training.report import write_report
from medvial_training.shares import join_shares
from medvial_training.tasks.gait.systems import Which, default_split, prepared

log = logging.getLogger(__name__)

TEMPLATE = Path(__file__).parent / "templates" / "report.html"
TITLES = {"walking": "Walking videos", "leg_agility": "Leg agility"}

Split = Literal["cross_validation", "train", "valid", "test", "all"]


def evaluate(
    data: Path = Path("data/gait"),
    model: Path = Path("runs/gait/model"),
    out: Path = Path("runs/gait/test"),
    systems: Which = "all",
    split: Split | None = None,
    pictures: int = 6,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
    progress: bool = True,
) -> dict[str, Any]:
    """Score the predictions by patient, with intervals, and show the result.

    Writes metrics.json, report.html, and for each system a folder with tables, figures and films.

    Args:
        data: Folder that step 1 wrote.
        model: Model folder, of step 2 or any other; a system that it lacks is left out.
        out: Folder for the results; files of the same names are replaced.
        systems: Which to test.
        split: cross_validation scores the folds' networks, each on the patients it never saw; the
            others classify that part of the data by the model itself. If not given: the
            cross-validation where the model's run has one of these data, else the part that was
            held out of it, else all of other data.
        pictures: Videos or recordings to draw: half of them the worst, half typical ones.
        resamples: Bootstrap resamples of the patients, for the intervals.
        level: Coverage of the intervals.
        seed: Seed of the resamples.
        progress: Show progress bars.

    Returns:
        What metrics.json holds; nothing in processes beside the main one.

    Raises:
        InputError: The data or the model is unusable, or they do not fit each other.
    """
    folder = ModelFolder.open(model, task=TASK)
    config = Config.of(folder)
    bootstrap = Bootstrap(resamples, seed, level)
    metrics: dict[str, Any] = {}
    sections: list[Markup] = []
    for name in prepared(data, systems):
        if systems == "all" and getattr(config, name) is None:
            log.info("The model in %s has no %s: left out.", model, name)
            continue
        beside = model.parent / name
        run = beside if beside.is_dir() else None
        own = importlib.import_module(f"{__package__}.{name}.evaluate")
        found = own.evaluate_system(
            data / name,
            model,
            run,
            out / name,
            split=split or default_split(folder, data / name, run, name),
            pictures=pictures,
            bootstrap=bootstrap,
            progress=progress,
        )
        if found is not None:
            metrics[name], section = found
            sections.append(section)
    if join_shares().rank:  # the main process goes on alone
        return {}
    if not metrics:
        raise InputError(f"Expected data in {data} of a system that {model} has, got others.")
    result = _page(out, metrics, sections, f"{100 * level:g} %")
    write_json(out / "metrics.json", result)  # last: its presence says that all is there
    log.info("Report: %s", out / "report.html")
    return result


def _page(out: Path, metrics: dict[str, Any], sections: list[Markup], level: str) -> dict[str, Any]:
    """Write the page; gives what metrics.json holds."""
    phantom = any(part["phantom"] for part in metrics.values())
    about = {
        "phantom": phantom,
        "date": datetime.now(UTC).date().isoformat(),
        "git_revision": git_revision(),
    }
    titles = [(name, TITLES[name]) for name in metrics]
    write_report(
        out / "report.html",
        TEMPLATE,
        about | {"sections": sections, "titles": titles, "level": level},
    )
    return {"task": TASK, **about, **metrics}
