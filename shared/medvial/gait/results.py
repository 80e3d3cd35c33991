"""The outputs of a case: the platform's values, and the report with all that was measured."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medvial.cine import CineInfo
from medvial.gait.leg_agility import LEGS, definitions
from medvial.gait.leg_agility.predictor import UNRATED, AgilityResult
from medvial.gait.leg_agility.rating import LegRating
from medvial.gait.leg_agility.signals import LegSignal, leg_signals
from medvial.gait.patient import WALKING
from medvial.gait.walking.predictor import WalkResult
from medvial.video_classification.classify import Classified
from medvial.video_classification.predictor import VideoResult

PHANTOM_MODEL = "the model was trained on drawn phantoms: its results mean nothing for patients"
INTERVAL = (10.0, 90.0)
"""Percentiles over the clips of a video."""
_SHOWN_HZ = 30.0  # of a knee's height in a report
_MEANINGS = {
    "found_part": "of the frames looked at while in sight, those on which the person was found",
    "jitter": "root mean square of the box's height about its smooth course, by the body's height; "
    "above .03 the crops tremble",
    "cut_off_part": "of the sightings, those with the body partly outside the picture: there the "
    "network sees black and angles of hidden joints are left out",
    "crossed_part": "of the sightings, those with another person close by: landmarks may be theirs",
    "path_heights": "way across the picture in own heights; below .7 it is hardly a walk",
    "usable": "one person was recognised who walks, and nobody else could be the patient",
}
"""What the parts of the quality mean that do not say it by their names."""


@dataclass(frozen=True)
class Outputs:
    """What a case writes."""

    values: dict[str, Any]
    """By the slug of each output."""
    line: str
    """The result in one line, for logs."""


def walking_outputs(result: WalkResult, trained_on: Mapping[str, Any]) -> Outputs:
    """The probability of the positive class, and the report of the walk."""
    report = walking_report(result, trained_on)
    quality = " ".join(result.quality.warnings) or "No reason for doubt was found."
    return Outputs(
        {
            "adult-spinal-deformity-probability": round(result.probability, 6),
            "walking-report": report,
        },
        f"Probability of {result.positive} {result.probability:.3f}, called {result.label}. "
        f"{quality}",
    )


def agility_outputs(result: AgilityResult, trained_on: Mapping[str, Any]) -> Outputs:
    """Both scores, and the report; an unrated leg is `UNRATED`, and null in the report."""
    return Outputs(
        {
            **{f"leg-agility-{leg}": result.score(leg) for leg in LEGS},
            "leg-agility-report": agility_report(result, trained_on),
        },
        f"Leg agility: {'; '.join(_told(result.ratings[leg]) for leg in LEGS)}.",
    )


def video_outputs(result: VideoResult, labels: tuple[str, ...]) -> Outputs:
    """The probability of each class."""
    named = _named(labels, result.classified.probabilities)
    best = max(named, key=named.__getitem__)
    return Outputs({"class-probabilities": named}, f"Most probable: {best} ({named[best]:.3f})")


def phantom_note(trained_on: Mapping[str, Any]) -> str | None:
    """What to know of a model that has seen drawings only."""
    return PHANTOM_MODEL if trained_on.get("phantom") else None


def walking_report(result: WalkResult, trained_on: Mapping[str, Any]) -> dict[str, Any]:
    """JSON-ready report of a walk; units are in the names or beside the numbers.

    What cannot be measured is null, and `unavailable` says why.
    """
    config, quality = result.config, result.quality
    return {
        "classification": {
            "class": result.label,
            "positive_class": result.positive,
            "probability": round(result.probability, 6),
            "probabilities": _named(config.labels, result.classified.probabilities),
            "threshold": result.learned.threshold if len(config.labels) == 2 else None,
            "clips": _clips(result.classified, result.clip_probabilities, config.clip_s),
        },
        "quality": {
            "usable": _usable(result),
            **quality.as_json(),
            "patient": _who(result),
            "meanings": _MEANINGS,
        },
        "kinematics": {name: value.as_json() for name, value in result.kinematics.items()},
        "model": _model(trained_on),
        "video": _video(result.info, len(result.person.frame_times_s)),
    }


def agility_report(result: AgilityResult, trained_on: Mapping[str, Any]) -> dict[str, Any]:
    """JSON-ready report of both legs; a score is null where a leg is not rated, with the reason."""
    times, seen = result.times_s, (result.points[..., 2] > 0).any(axis=1)
    signals = leg_signals(result.points, times)
    return {
        **{leg: _leg(result.ratings[leg]) for leg in LEGS},
        "signals": {
            "definition": "height of the knee above the hips in trunk lengths, upwards",
            "start_s": _round(float(times[0]), 3),
            "rate_hz": _SHOWN_HZ,
            **{leg: _heights(signals.of(leg)) for leg in LEGS},
        },
        "definitions": definitions(),
        "unrated_value": UNRATED,
        "model": _model(trained_on),
        "recording": {
            "kind": result.kind,
            "frames": len(times),
            "frames_with_patient": int(seen.sum()),
            "duration_s": _round(float(times[-1] - times[0]), 3),
            "notes": list(result.notes),
        },
    }


def _usable(result: WalkResult) -> bool:
    """Whether one person was recognised who walks, and nobody else could be the patient."""
    quality = result.quality
    walks = quality.direction != "none" and quality.path_heights >= WALKING
    return quality.method == "pose" and walks and not result.person.rivals


def _told(rating: LegRating) -> str:
    """One leg in a few words."""
    score = "unrated" if rating.score is None else rating.score
    reasons = rating.reasons or rating.analysis.quality.doubts
    return f"{rating.leg} {score}" + "".join(f" ({reason.message})" for reason in reasons)


def _leg(rating: LegRating) -> dict[str, Any]:
    """One leg of the report; why it is not rated is said once."""
    said = rating.as_dict()
    return {key: value for key, value in said.items() if key not in ("rateable", "reasons")}


def _clips(
    classified: Classified, probabilities: NDArray[np.float64], clip_s: float
) -> dict[str, Any]:
    low, high = np.percentile(probabilities, INTERVAL)
    return {
        "count": len(probabilities),
        "length_s": clip_s or None,
        "starts_s": [_round(start, 3) for start in classified.starts_s],
        "probabilities": [_round(value, 6) for value in probabilities],
        "interval": [_round(low, 6), _round(high, 6)],
        "interval_is": f"{INTERVAL[0]:g}th to {INTERVAL[1]:g}th percentile over the clips of this "
        "video: how much it agrees with itself, not how sure it is",
    }


def _who(result: WalkResult) -> str:
    """How the patient was told from others."""
    ways = {
        "pose": "the person who goes the longest way across the picture",
        "motion": "the largest thing that moves: nobody was recognised",
        "frame": "the whole picture: nobody was found",
    }
    return ways[result.person.method]


def _model(trained_on: Mapping[str, Any]) -> dict[str, Any]:
    """What the model has seen: a reader of the report may know no more of it."""
    return {
        "trained_on": trained_on.get("description") or "not stated",
        "trained_on_phantoms": bool(trained_on.get("phantom")),
        "warning": phantom_note(trained_on),
    }


def _video(info: CineInfo, frames: int) -> dict[str, Any]:
    return {
        "kind": info.kind,
        "frames": frames,
        "frames_per_second": _round(info.fps, 3),
        "frame_rate_known": info.fps_known,
        "height": info.height,
        "width": info.width,
        "notes": list(info.notes),
    }


def _heights(signal: LegSignal) -> list[float | None]:
    """A knee's height at `_SHOWN_HZ`, null where it is out of sight."""
    times = np.arange(signal.times_s[0], signal.times_s[-1] + 1e-9, 1 / _SHOWN_HZ)
    nearest = np.searchsorted(signal.times_s, times).clip(0, len(signal.times_s) - 1)
    return [_round(value, 3) for value in signal.height[nearest]]


def _named(labels: tuple[str, ...], probabilities: NDArray[np.float64]) -> dict[str, float]:
    pairs = zip(labels, probabilities.tolist(), strict=True)
    return {label: round(value, 6) for label, value in pairs}


def _round(value: float | None, digits: int) -> float | None:
    return None if value is None or not np.isfinite(value) else round(float(value), digits)
