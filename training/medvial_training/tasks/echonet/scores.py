"""From measured videos to metrics.json: everything that is a number."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medvial_training.agreement import agreement
from medvial_training.metrics import Bootstrap, number_or_none
from medvial_training.tasks.echonet.beat_by_beat import error_by_beats
from medvial_training.tasks.echonet.dice import Overlaps, dice_scores
from medvial_training.tasks.echonet.ejection_fraction_scores import (
    auc_scores,
    coverage_scores,
    ef_scores,
    subgroup_scores,
    subgroups,
)
from medvial_training.tasks.echonet.measure import Measured, frame_rate

FloatArray = NDArray[np.float64]

ES_TOLERANCE_S = 0.08  # within which a found end-systole counts as the traced one

METHODS = {
    "result": "Network, mean over the beats: what the container reports",
    "one_clip": "Network, one clip at the start of the video",
    "all_clips": "Network, mean over all clips",
    "r_script": "Network, beat by beat by the rules of the source's R script",
    "masks": "Predicted masks, mean over the beats (method of disks)",
    "masks_traced_frames": "Predicted masks at the traced frames (method of disks)",
    "traces": "The expert’s traces (method of disks): what perfect masks would give",
}
"""Ways to an ejection fraction, by name."""

MAIN_METHODS = ("result", "masks", "masks_traced_frames")
"""The first that gives values is the one whose ROC, subgroups and figures are shown."""


@dataclass(frozen=True)
class EjectionFractions:
    """True and predicted ejection fractions of N videos, percent; NaN = none."""

    videos: list[str]
    clusters: NDArray[np.str_]
    truth: FloatArray
    fps: FloatArray
    predicted: dict[str, FloatArray]
    """By the names of METHODS; methods that give no value at all are left out."""

    @property
    def main(self) -> str | None:
        """The method that the report is about; None if no method gives a value."""
        return next((name for name in MAIN_METHODS if name in self.predicted), None)


def gather(measured: list[Measured]) -> EjectionFractions:
    """Ejection fractions of all videos by every method."""
    predicted = {
        "result": [m.result for m in measured],
        "one_clip": [m.one_clip for m in measured],
        "all_clips": [m.all_clips for m in measured],
        "r_script": [m.r_script for m in measured],
        "masks": [m.from_masks for m in measured],
        "masks_traced_frames": [m.from_traced_frames(predicted=True) for m in measured],
        "traces": [m.from_traced_frames(predicted=False) for m in measured],
    }
    arrays = {name: np.array(values, dtype=np.float64) for name, values in predicted.items()}
    return EjectionFractions(
        videos=[m.recording.video for m in measured],
        clusters=np.array([m.recording.group for m in measured], dtype=np.str_),
        truth=np.array([m.recording.ef for m in measured], dtype=np.float64),
        fps=np.array([m.recording.fps for m in measured], dtype=np.float64),
        predicted={name: values for name, values in arrays.items() if np.isfinite(values).any()},
    )


def all_scores(
    measured: list[Measured], ef: EjectionFractions, bootstrap: Bootstrap, seed: int
) -> dict[str, Any]:
    """The scores of metrics.json, JSON-ready; None where the model or the data lack something."""
    main = ef.main
    chosen = ef.predicted[main] if main else np.full(len(measured), np.nan)
    groups = subgroups(ef.truth, ef.fps)
    return {
        "counts": counts(measured),
        "dice": _dice(measured, bootstrap),
        "main_method": main,
        "ejection_fraction": {
            name: ef_scores(ef.truth, values, ef.clusters, bootstrap)
            for name, values in ef.predicted.items()
        },
        "auc": auc_scores(ef.truth, chosen, ef.clusters, bootstrap) if main else None,
        "interval": interval_scores(measured, ef, bootstrap),
        "subgroups": subgroup_scores(groups, ef.truth, chosen, ef.clusters, bootstrap),
        "error_by_beats": beats_curve(measured, seed),
        "masks_and_network": _agreement(ef.predicted.get("result"), ef.predicted.get("masks")),
        "volumes": [_volume_scores(measured, phase) for phase in ("ED", "ES")],
        "end_systole": end_systole_scores(measured),
    }


def counts(measured: list[Measured]) -> dict[str, int]:
    """How much was tested and computed."""
    cines = [m for m in measured if m.recording.is_cine]
    found = [m.analysis for m in cines if m.analysis is not None]
    return {
        "videos": len(measured),
        "patients": len({m.recording.patient for m in measured}),
        "clusters": len({m.recording.group for m in measured}),
        "cines": len(cines),
        "frames": sum(m.recording.count for m in measured),
        "traced_frames": sum(len(m.recording.traces) for m in measured),
        "videos_without_ef": sum(not np.isfinite(m.recording.ef) for m in measured),
        "beats": sum(len(a.beats) for a in found),
        "complete_beats": sum(len(a.complete_beats) for a in found),
        "videos_without_beats": sum(not a.beats for a in found),
        "clips_computed": sum(len(m.clip_ef) for m in cines),
        "clips_possible": sum(m.last_start + 1 for m in cines if m.clip_ef),
    }


def overlaps(measured: list[Measured]) -> Overlaps:
    """Pixel counts of every traced frame that was segmented."""
    rows = [(m.recording, t) for m in measured for t in m.traced]
    return Overlaps(
        videos=np.array([r.video for r, _ in rows], dtype=np.str_),
        phases=np.array([t.trace.phase for _, t in rows], dtype=np.str_),
        clusters=np.array([r.group for r, _ in rows], dtype=np.str_),
        intersection=np.array([t.intersection for _, t in rows], dtype=np.float64),
        total=np.array([t.total for _, t in rows], dtype=np.float64),
    )


def interval_scores(
    measured: list[Measured], ef: EjectionFractions, bootstrap: Bootstrap
) -> dict[str, Any] | None:
    """How often the interval that the container states holds the truth; None without one."""
    stated = [m.analysis.interval if m.analysis is not None else None for m in measured]
    if not any(stated):
        return None
    low, high = np.array([s or (np.nan, np.nan) for s in stated], dtype=np.float64).T
    return coverage_scores(ef.truth, low, high, ef.clusters, bootstrap)


def beats_curve(measured: list[Measured], seed: int) -> list[dict[str, Any]]:
    """Mean absolute error by number of beats used, over draws; one row a number of beats.

    Quartiles and 5th to 95th percentile of the 100 draws each: the box plot of the source.
    """
    known = [m for m in measured if len(m.per_beat) and np.isfinite(m.recording.ef)]
    rows = [(m.recording.video, value) for m in known for value in m.per_beat]
    table = pd.DataFrame(rows, columns=["Filename", "EF"])
    curve = error_by_beats(table, {m.recording.video: m.recording.ef for m in known}, seed=seed)
    names = ("p5", "p25", "median", "p75", "p95")
    result = []
    for k in sorted({int(k) for k in curve["beats"]}):
        errors = curve.loc[curve["beats"] == k, "mae"]
        quantiles = np.percentile(errors, (5, 25, 50, 75, 95)).tolist()
        row = {"beats": k, "draws": len(errors), "videos": len(known)}
        result.append(row | dict(zip(names, quantiles, strict=True)))
    return result


def end_systole_scores(measured: list[Measured]) -> dict[str, Any] | None:
    """How near the found end-systole nearest to the traced one lies, in ms; None without any."""
    errors = []
    for m in measured:
        traced = m.recording.trace("ES")
        if m.analysis is None or traced is None:
            continue
        found = np.array([b.beat.es for b in m.analysis.beats], dtype=np.float64)
        distance = np.abs(found - traced.frame).min() if found.size else np.inf
        errors.append(distance / frame_rate(m.recording))
    if not errors:
        return None
    return {
        "videos": len(errors),
        "median_ms": number_or_none(1000 * float(np.median(errors))),
        "tolerance_ms": round(1000 * ES_TOLERANCE_S),
        "within": float(np.mean(np.array(errors) <= ES_TOLERANCE_S + 1e-9)),
    }


def _dice(measured: list[Measured], bootstrap: Bootstrap) -> dict[str, Any] | None:
    pixels = overlaps(measured)
    return dice_scores(pixels, bootstrap) if pixels.videos.size else None


def _agreement(first: FloatArray | None, second: FloatArray | None) -> dict[str, Any] | None:
    """How two ways to an EF agree, second minus first; None if one is missing."""
    if first is None or second is None:
        return None
    result = agreement(second - first)
    known = np.isfinite(second - first)
    apart = np.abs(second - first)[known] > 10
    return {
        "videos": result.count,
        "bias": number_or_none(result.bias),
        "limits": [number_or_none(limit) for limit in result.limits],
        "mean_absolute": number_or_none(result.mean_absolute),
        "apart": int(apart.sum()),
    }


def _volume_scores(measured: list[Measured], phase: str) -> dict[str, Any] | None:
    """Volumes from the predicted masks at the traced frames against the listed ones, mL.

    None unless pixel size and volume are known for at least two videos.
    """
    pairs = []
    for m in measured:
        listed = m.recording.edv if phase == "ED" else m.recording.esv
        if np.isfinite(m.recording.spacing_mm):
            pairs += [(listed, t.predicted_volume) for t in m.traced if t.trace.phase == phase]
    listed_ml, predicted_ml = np.array(pairs, dtype=np.float64).reshape(-1, 2).T
    result = agreement(predicted_ml - listed_ml)
    if result.count < 2:
        return None
    known = np.isfinite(predicted_ml - listed_ml)
    return {
        "phase": phase,
        "videos": result.count,
        "mean_listed_ml": float(listed_ml[known].mean()),
        "bias_ml": result.bias,
        "limits_ml": list(result.limits),
        "mean_absolute_ml": result.mean_absolute,
    }
