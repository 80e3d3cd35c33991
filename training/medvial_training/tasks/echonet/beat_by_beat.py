"""Ejection fraction beat by beat, as the source's R script computes it; no R is needed.

The script (EchoNet-Dynamic, scripts/beat_by_beat_analysis.R) joins two files of the source: the
frames that `size.csv` marks as end-systolic, and the clips of `*_predictions.csv`. A beat's EF is
that of the clip that starts 32 frames before end-systole; a video's EF is the mean over its beats.
It follows rules that it does not name. `BeatRules` names them, so that each can be switched.

    python -m medvial_training.tasks.echonet.beat_by_beat size.csv test_predictions.csv FileList.csv

does the script's job on files of the source.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medvial.errors import InputError
from medvial_training.cli import run_command
from medvial_training.tasks.echonet.script_files import (
    PREDICTION_COLUMNS,
    read_predictions,
    read_size,
    read_truth,
)

log = logging.getLogger(__name__)

FloatArray = NDArray[np.float64]

MOST_BEATS = 5
ITERATIONS = 500


@dataclass(frozen=True)
class BeatRules:
    """What happens at the edges; the defaults are what the R script does."""

    before: int = 32
    """Frames from the start of a beat's clip to its end-systole. A clip that would start before
    the video starts at its first frame."""

    duplicates: Literal["count", "once"] = "count"
    """Two beats whose clips both start at the first frame: `count` lets this clip's EF weigh
    twice, as the script does; `once` counts it once."""

    late: Literal["drop", "last_clip"] = "drop"
    """A beat whose clip would reach beyond the end of the video: `drop` loses it without a word,
    as the script does; `last_clip` takes the last clip of the video."""

    no_beat: Literal["drop", "first_clip"] = "drop"
    """A video that is left without a beat: `drop` leaves it out of all results, as the script
    does; `first_clip` takes the clip that starts at its first frame."""


R_SCRIPT = BeatRules()


def clip_starts(
    systoles: NDArray[np.intp], last_start: int, rules: BeatRules = R_SCRIPT
) -> NDArray[np.intp]:
    """Where the clips of a video's beats start.

    Args:
        systoles: (B,) end-systolic frames, 0-based.
        last_start: The last frame at which a whole clip can start.
        rules: What to do at the edges.

    Returns:
        (K,) frames, one a beat that counts; empty if the video has no beat.
    """
    starts = np.maximum(np.asarray(systoles, dtype=np.intp) - rules.before, 0)
    if rules.late == "drop":
        starts = starts[starts <= last_start]
    else:
        starts = np.minimum(starts, last_start)
    if rules.duplicates == "once":
        starts = np.unique(starts)
    if not starts.size and rules.no_beat == "first_clip":
        starts = np.zeros(1, dtype=np.intp)
    return starts


def match_beats(
    size: pd.DataFrame, predictions: pd.DataFrame, rules: BeatRules = R_SCRIPT
) -> pd.DataFrame:
    """Give every beat the EF of its clip.

    Args:
        size: A row a frame, with Filename, Frame and ComputerSmall (1 = end-systole).
        predictions: A row a clip, with Filename, Frame (start of the clip) and EF in percent. The
            video's last start is the largest here.
        rules: What to do at the edges.

    Returns:
        A row a beat, with Filename, Frame (start of its clip) and EF, in order of file and start.
        With the script's rules, a beat whose clip was not predicted is left out.
    """
    systoles = size[size["ComputerSmall"] == 1].groupby("Filename")["Frame"]
    frames = {name: group.to_numpy(np.intp) for name, group in systoles}
    none = np.empty(0, dtype=np.intp)
    rows = []
    for name, clips in predictions.groupby("Filename"):
        known = dict(zip(clips["Frame"].tolist(), clips["EF"].tolist(), strict=True))
        for start in np.sort(clip_starts(frames.get(name, none), max(known), rules)).tolist():
            if start in known:
                rows.append((name, start, known[start]))
    return pd.DataFrame(rows, columns=list(PREDICTION_COLUMNS))


def per_file(beats: pd.DataFrame) -> pd.DataFrame:
    """Mean and SD (n - 1; NaN for a single beat) of every file's beats: Filename, EF, sd, beats."""
    groups = beats.groupby("Filename")["EF"]
    table = pd.DataFrame({"EF": groups.mean(), "sd": groups.std(), "beats": groups.size()})
    return table.reset_index()


def script_scores(predicted: Mapping[str, float], truth: Mapping[str, float]) -> dict[str, Any]:
    """What the R script prints: `files`, `mae`, `rmse`, and `r2_pearson` of lm(EF ~ prediction).

    Raises:
        InputError: A predicted file has no true EF (the script would print NA).
    """
    missing = sorted(set(predicted) - set(truth))
    if missing:
        raise InputError(
            f"Expected a true EF for every predicted file, got none for {len(missing)}: "
            f"{', '.join(missing[:3])}. Check the names in FileList.csv."
        )
    p = np.array(list(predicted.values()), np.float64)
    y = np.array([truth[name] for name in predicted], np.float64)
    varies = len(p) > 1 and p.std() > 0 and y.std() > 0
    return {
        "files": len(p),
        "mae": float(np.abs(p - y).mean()) if p.size else None,
        "rmse": float(np.sqrt(((p - y) ** 2).mean())) if p.size else None,
        "r2_pearson": float(np.corrcoef(p, y)[0, 1] ** 2) if varies else None,
    }


def error_by_beats(
    beats: pd.DataFrame,
    truth: Mapping[str, float],
    *,
    most: int = MOST_BEATS,
    iterations: int = ITERATIONS,
    seed: int = 0,
) -> pd.DataFrame:
    """Mean absolute error when only k = 1 to `most` beats of every video are used.

    As in the script, iteration i draws k = 1 + floor((i - 1) / (iterations / most)) beats of every
    video with replacement. (The script takes the videos of `highVar`, which it does not define;
    here it is all of them. R's random numbers are not repeated.)

    Returns:
        A row an iteration, with `beats` (k) and `mae` in points; empty if there is no beat.
    """
    groups = beats.groupby("Filename")["EF"]
    values = {str(name): group.to_numpy(np.float64) for name, group in groups}
    true = np.array([truth[name] for name in values], np.float64)
    if not values:
        return pd.DataFrame({"beats": [], "mae": []})
    counts = np.array([len(group) for group in values.values()])
    padded = np.zeros((len(values), counts.max()))
    for row, group in zip(padded, values.values(), strict=True):
        row[: len(group)] = group
    rng = np.random.default_rng(seed)
    drawn = [1 + i * most // iterations for i in range(iterations)]
    errors = [_drawn_error(padded, counts, true, k, rng) for k in drawn]
    return pd.DataFrame({"beats": drawn, "mae": errors})


def analyse(
    size: Path,
    predictions: Path,
    file_list: Path,
    rules: BeatRules = R_SCRIPT,
    seed: int = 0,
) -> dict[str, Any]:
    """Do what the source's R script does, on files of the source.

    Args:
        size: size.csv, with end-systolic frames in ComputerSmall.
        predictions: The predictions of all clips, without header: file, start of the clip, EF.
        file_list: FileList.csv, with the true EF; names with or without extension, any column case;
            files without one are left out.
        rules: What happens at the edges; the script's own by default.
        seed: Seed of the draws for the error by number of beats.

    Returns:
        `one_clip`, `all_clips`, `beat_by_beat` (each as `script_scores`; `all_clips` is None where
        the predictions lack clips, as step 3 leaves them by default), and `error_by_beats`: the
        median error by number of beats.
    """
    clips, systoles = read_predictions(predictions), read_size(size)
    truth = read_truth(file_list)
    clips = _with_truth(clips, truth, file_list)
    beats = match_beats(systoles, clips, rules)
    means = {
        "one_clip": clips[clips["Frame"] == 0],
        "all_clips": per_file(clips),
        "beat_by_beat": per_file(beats),
    }
    result: dict[str, Any] = {
        name: script_scores(dict(zip(table["Filename"], table["EF"], strict=True)), truth)
        for name, table in means.items()
    }
    if not _has_all_clips(clips):
        result["all_clips"] = None
    curve = error_by_beats(beats, truth, seed=seed)
    result["error_by_beats"] = curve.groupby("beats")["mae"].median().to_dict()
    for name, scores in result.items():
        log.info("%s: %s", name, scores)
    return result


def _with_truth(clips: pd.DataFrame, truth: Mapping[str, float], path: Path) -> pd.DataFrame:
    """The clips of all files but those that are listed without EF."""
    left_out = clips["Filename"].map(lambda name: np.isnan(truth.get(name, 0.0)))
    names = clips["Filename"][left_out].unique()
    if len(names):
        log.warning(
            "%d file(s) have no EF in %s and are left out, %s first.", len(names), path, names[0]
        )
    return clips[~left_out]


def _has_all_clips(predictions: pd.DataFrame) -> bool:
    """Whether every file has a clip at each frame up to its last start."""
    starts = predictions.groupby("Filename")["Frame"]
    return bool((starts.nunique() == starts.max() + 1).all())


def _drawn_error(
    padded: FloatArray, counts: NDArray[np.intp], true: FloatArray, k: int, rng: Any
) -> float:
    """Mean absolute error with k beats of every video drawn with replacement."""
    picks = rng.integers(0, counts[:, None], size=(len(counts), k))
    means = np.take_along_axis(padded, picks, axis=1).mean(axis=1)
    return float(np.abs(means - true).mean())


if __name__ == "__main__":
    raise SystemExit(run_command(analyse))
