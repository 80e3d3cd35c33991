"""A grid of experiments on prepared walking videos: clip lengths, frames, networks, fusions.

    python -m medvial_training.tasks.gait.walking.grid --data data/gait/walking --out runs/grid

Every cell is a cross-validation of its own, scored by patient; what is done is kept, so that a grid
that was interrupted, or that grows, goes on.
"""

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from medvial.errors import InputError
from medvial.outputs import read_json, write_bytes
from medvial.video_classification.config import ClipConfig, NetworkName
from medvial.video_classification.model import build_model
from medvial_training.classification_scores import classification_scores
from medvial_training.cli import run_command
from medvial_training.clips.augment import ClipAugmentation
from medvial_training.cross_validation import PREDICTIONS
from medvial_training.distributed import is_main
from medvial_training.fit import FitArgs
from medvial_training.metrics import Bootstrap
from medvial_training.report import figure_png
from medvial_training.tables import write_csv
from medvial_training.tasks.gait.systems import CONFIG, SOURCE
from medvial_training.tasks.gait.walking.choices import (
    WALKING_AUGMENT,
    WALKING_FIT,
    WalkingTraining,
)
from medvial_training.tasks.gait.walking.grid_figure import grid_figure, write_page
from medvial_training.tasks.gait.walking.train import TEXT, train_folds

log = logging.getLogger(__name__)

SCORES = ("auroc", "balanced_accuracy", "accuracy")
FUSIONS: tuple[Literal["single_frame", "early", "late"], ...] = ("single_frame", "early", "late")


@dataclasses.dataclass(frozen=True)
class Cell:
    """One experiment."""

    name: str
    """Of its folder."""
    model: str
    """Network or fusion, in words."""
    config: ClipConfig


def grid(
    data: Path = Path("data/gait/walking"),
    out: Path = Path("runs/walking-grid"),
    networks: tuple[NetworkName, ...] = ("compact_r2plus1d", "resnet"),
    clip_s: tuple[float, ...] = (1.0, 2.0, 3.0),
    clip_frames: tuple[int, ...] = (8, 16, 32, 64),
    fusions: bool = True,
    fit: FitArgs = WALKING_FIT,
    training: WalkingTraining = WalkingTraining(),
    augment: ClipAugmentation = WALKING_AUGMENT,
    depth: int = 50,
    widths: tuple[int, ...] | None = None,
    clips: int | None = None,
) -> None:
    """Train and test every cell by cross-validation, and draw their table.

    Writes OUT/grid.csv, OUT/grid.png and OUT/grid.html after each cell.

    Args:
        data: Prepared walking videos, of step 1.
        out: Folder of the grid, with a run a cell.
        networks: Networks to try at all clip lengths and numbers of frames.
        clip_s: Lengths of a clip in seconds.
        clip_frames: Frames of a clip.
        fusions: Also try a 2-D ResNet on the middle frame, on all frames as channels, and on the
            outer frames, at the first clip length and number of frames.
        fit: How to train.
        training: Start, balance and validation.
        augment: Random changes of the training clips.
        depth: Of the ResNets.
        widths: Channels of compact_r2plus1d, if not its own.
        clips: Clips of a video in the test, if not as prepared.

    Raises:
        InputError: The data are not prepared, or a finished cell was trained with other options.
    """
    base = _base(data, depth, widths, clips)
    cells = list(_cells(base, networks, clip_s, clip_frames, fusions))
    rows: list[dict[str, Any]] = []
    for number, cell in enumerate(cells, 1):
        log.info("%d of %d: %s.", number, len(cells), cell.name)
        run, refused = out / cell.name, _refused(cell)
        if not refused:
            train_folds(data, run, cell.config, fit, training, augment, resume=True, final=False)
        if is_main():  # the others may be here before it has tested
            rows.append(_row(cell, refused or _scores(run, cell.config)))
            _write(out, rows, read_json(data / SOURCE))


def _base(data: Path, depth: int, widths: tuple[int, ...] | None, clips: int | None) -> ClipConfig:
    values = read_json(data / CONFIG) | {"depth": depth}
    values |= {k: v for k, v in (("widths", widths), ("clips", clips)) if v is not None}
    return ClipConfig(**values)


def _cells(
    base: ClipConfig,
    networks: Sequence[NetworkName],
    clip_s: Sequence[float],
    clip_frames: Sequence[int],
    fusions: bool,
) -> Iterator[Cell]:
    for network in networks:
        for seconds in clip_s:
            for frames in clip_frames:
                config = dataclasses.replace(
                    base, network=network, clip_s=seconds, clip_frames=frames
                )
                yield Cell(f"{network}_{seconds:g}s_{frames}", network, config)
    for fusion in FUSIONS if fusions else ():
        config = dataclasses.replace(
            base, fusion=fusion, clip_s=clip_s[0], clip_frames=clip_frames[0]
        )
        yield Cell(f"{fusion}_{clip_s[0]:g}s_{clip_frames[0]}", f"{fusion} fusion", config)


def _refused(cell: Cell) -> str:
    """Why a cell cannot be: its network needs longer clips or larger pictures; empty if it can."""
    try:
        build_model(cell.config)
    except InputError as error:
        log.info("%s", error)
        return str(error)
    return ""


def _scores(run: Path, config: ClipConfig) -> dict[str, Any]:
    """By patient."""
    table = pd.read_csv(run / PREDICTIONS, dtype=TEXT, keep_default_na=False)
    return classification_scores(table, config.labels, config.positive, bootstrap=Bootstrap())


def _row(cell: Cell, result: dict[str, Any] | str) -> dict[str, Any]:
    known: dict[str, Any] = {
        "cell": cell.name,
        "model": cell.model,
        "clip_s": cell.config.clip_s,
        "clip_frames": cell.config.clip_frames,
        "patients": None if isinstance(result, str) else result["patients"],
        "refused": result if isinstance(result, str) else "",
    }
    for name in SCORES:
        estimate = {} if isinstance(result, str) else result.get(name, {})
        known |= {
            f"{name}{suffix}": estimate.get(part)
            for suffix, part in (("", "value"), ("_low", "low"), ("_high", "high"))
        }
    return known


def _write(out: Path, rows: list[dict[str, Any]], source: dict[str, Any]) -> None:
    empty = [["" if value is None else value for value in row.values()] for row in rows]
    write_csv(out / "grid.csv", list(rows[0]), empty)
    score = SCORES[0] if any(row["auroc"] is not None for row in rows) else SCORES[1]
    picture = figure_png(grid_figure(pd.DataFrame(rows), score, bool(source.get("phantom"))))
    write_bytes(out / "grid.png", picture)
    write_page(out / "grid.html", rows, score, picture, source)


if __name__ == "__main__":
    raise SystemExit(run_command(grid, as_positional=False))
