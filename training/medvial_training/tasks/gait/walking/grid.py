"""A grid of experiments on prepared walking videos: clip lengths, frames, networks, fusions.

    python -m medvial_training.tasks.gait.walking.grid --data data/gait/walking --out runs/grid

Every cell is a cross-validation of its own, scored by patient; what is done is kept, so that a grid
that was interrupted, or that grows, goes on.
"""

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from medvial.errors import InputError
from medvial.outputs import read_json
from medvial.video_classification.config import ClipConfig, NetworkName
from medvial.video_classification.model import build_model
from medvial.video_classification.sampling import duration_s, view_indices
from medvial_training.classification_scores import classification_scores
from medvial_training.cli import run_command
from medvial_training.clips.augment import ClipAugmentation
from medvial_training.clips.store import ClipStore
from medvial_training.cross_validation import PREDICTIONS
from medvial_training.distributed import is_main
from medvial_training.fit import FitArgs
from medvial_training.fold_manifest import read_table
from medvial_training.metrics import Bootstrap
from medvial_training.tables import write_csv
from medvial_training.tasks.gait.systems import CONFIG, SOURCE
from medvial_training.tasks.gait.walking.choices import (
    WALKING_AUGMENT,
    WALKING_FIT,
    WalkingTraining,
)
from medvial_training.tasks.gait.walking.grid_figure import TITLES, in_words, write_pictures
from medvial_training.tasks.gait.walking.prepare import VIDEOS
from medvial_training.tasks.gait.walking.train import TEXT, train_folds

log = logging.getLogger(__name__)

SCORES = tuple(TITLES)
LONG_ENOUGH = 0.95  # of a clip: a video that lacks a frame or two of it is not said to be shorter
FUSIONS: tuple[Literal["single_frame", "early", "late"], ...] = ("single_frame", "early", "late")


@dataclasses.dataclass(frozen=True)
class Cell:
    """One experiment."""

    name: str
    """Of its folder."""
    model: str
    """Network or fusion, in words."""
    config: ClipConfig


@dataclasses.dataclass(frozen=True)
class Seen:
    """What the videos have for a cell's clips."""

    videos: int
    shorter: int
    """Videos that are shorter than a clip: their last frame stands still to its end."""
    longest_s: float
    frames: int
    """Different frames of a clip, the median: fewer than it has where videos are short or slow."""


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

    Writes OUT/grid.csv, OUT/grid.png and OUT/grid.html after each cell. A cell that cannot be is
    named there with the reason: its network needs longer clips or larger pictures, or no video is
    as long as its clips.

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
        InputError: The data are not prepared, there is no cell, or a finished one was trained with
            other options.
    """
    base = _base(data, depth, widths, clips)
    cells = list(_cells(base, networks, clip_s, clip_frames, fusions))
    if not cells:
        raise InputError("Expected networks or fusions, clip_s and clip_frames, got no cell.")
    rows: list[dict[str, Any]] = []
    for number, cell in enumerate(cells, 1):
        log.info("%d of %d: %s.", number, len(cells), cell.name)
        run, seen = out / cell.name, _seen(data, cell.config)
        refused = _refused(cell, seen)
        if not refused:
            train_folds(data, run, cell.config, fit, training, augment, resume=True, final=False)
        if is_main():  # the others may be here before it has tested
            rows.append(_row(cell, seen, refused or _scores(run, cell.config)))
            _write(out, rows, read_json(data / SOURCE))
    if is_main():
        log.info("Table and picture of %d cells: %s", len(rows), out / "grid.html")


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
    """Each once, though an option names it twice."""
    clips = dict.fromkeys(product(clip_s, clip_frames))
    for network in dict.fromkeys(networks):
        for seconds, frames in clips:
            config = dataclasses.replace(base, network=network, clip_s=seconds, clip_frames=frames)
            yield Cell(f"{network}_{seconds:g}s_{frames}", network, config)
    for fusion in FUSIONS if fusions else ():
        for seconds, frames in list(clips)[:1]:
            config = dataclasses.replace(base, fusion=fusion, clip_s=seconds, clip_frames=frames)
            yield Cell(f"{fusion}_{seconds:g}s_{frames}", f"{fusion} fusion", config)


def _seen(data: Path, config: ClipConfig) -> Seen:
    """How a cell's clips fit the videos."""
    store = ClipStore(data)
    times = [store.times_s(name) for name in read_table(data / VIDEOS)["video"]]
    lengths = [duration_s(own) for own in times]
    different = [len(np.unique(row)) for own in times for row in view_indices(own, config)[1]]
    shorter = sum(length < LONG_ENOUGH * config.clip_s for length in lengths)
    return Seen(len(times), shorter, max(lengths), int(np.median(different)))


def _refused(cell: Cell, seen: Seen) -> str:
    """Why a cell cannot be; empty if it can."""
    if seen.shorter == seen.videos:
        return _told(
            f"Expected videos of {cell.config.clip_s:g} s or more for clips of that length, got "
            f"none: the longest has {seen.longest_s:.2f} s of the patient."
        )
    try:
        build_model(cell.config)
    except InputError as error:
        return _told(str(error))
    return ""


def _told(reason: str) -> str:
    log.info("Not possible: %s", reason)
    return reason


def _scores(run: Path, config: ClipConfig) -> dict[str, Any]:
    """By patient."""
    table = pd.read_csv(run / PREDICTIONS, dtype=TEXT, keep_default_na=False)
    return classification_scores(table, config.labels, config.positive, bootstrap=Bootstrap())


def _row(cell: Cell, seen: Seen, result: dict[str, Any] | str) -> dict[str, Any]:
    known: dict[str, Any] = {
        "cell": cell.name,
        "model": cell.model,
        "clip_s": cell.config.clip_s,
        "clip_frames": cell.config.clip_frames,
        "different_frames": seen.frames,
        "shorter_videos": seen.shorter,
        "videos": seen.videos,
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
    write_pictures(out, rows, score, source)
    last = rows[-1]
    if last[score] is not None:
        log.info(
            "%s: %s %.3f%s, %d patients%s.",
            last["cell"],
            TITLES[score],
            last[score],
            in_words(last, score),
            last["patients"],
            "; PHANTOMS, says nothing about clinical accuracy" if source.get("phantom") else "",
        )


if __name__ == "__main__":
    raise SystemExit(run_command(grid, as_positional=False))
