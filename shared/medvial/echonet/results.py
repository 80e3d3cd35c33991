"""The report of a cine: everything that was measured, and what was not and why."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from medvial.echonet.analysis import Analysis, BeatResult
from medvial.echonet.postprocess import Learned
from medvial.echonet.predictor import Study
from medvial.echonet.quality import UNUSABLE, Flag, found_share
from medvial.echonet.volumes import Disks

VOLUME_METHODS = {"method_of_disks": "volume", "area_length": "area_length"}
PHANTOM_MODEL = "the model was trained on drawn phantoms: its results mean nothing for patients"
SINGLE_PLANE = "one plane only: the guideline's volumes are of two"


def study_report(
    study: Study, learned: Learned, trained_on: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """JSON-ready report of a cine; units are in the names.

    Frames are counted from 1 as the file's, so that frame n is slice n of the segmentation.

    A value that could not be measured is null, and `not_possible` says why.

    Args:
        study: The cine.
        learned: The model's; says what its interval covers.
        trained_on: What the model's manifest says of its training data.
    """
    analysis = study.analysis
    return {
        "ejection_fraction": _ejection_fraction(analysis, learned),
        "beats": [_beat(number, r, study) for number, r in enumerate(analysis.beats, 1)],
        "rhythm": _rhythm(study),
        "volumes": _volumes(study),
        "left_ventricle": {
            "found_in_frames": int((analysis.area_px > 0).sum()),
            "found_share": _round(found_share(analysis), 4),
        },
        "quality": {
            "usable": not any(flag.name in UNUSABLE for flag in study.flags),
            "flags": [flag.as_dict() for flag in study.flags],
        },
        "not_possible": _not_possible(study),
        "model": _model(trained_on or {}),
        "video": _video(study),
    }


def _ejection_fraction(analysis: Analysis, learned: Learned) -> dict[str, Any]:
    interval = analysis.interval
    used = [r for r in analysis.beats if r.beat.es_seen] if analysis.from_beats else []
    return {
        "value_percent": _round(analysis.ejection_fraction, 2),
        "interval_percent": None if interval is None else [_round(v, 2) for v in interval],
        "interval_coverage": None if interval is None else learned.coverage,
        "method": "mean over beats" if used else "mean over evenly spaced clips",
        "beats": len(used),
        "from_masks_percent": _round(analysis.ejection_fraction_from_masks, 2),
        "from_masks_method": "method of disks, one plane, mean over complete beats",
    }


def _beat(number: int, result: BeatResult, study: Study) -> dict[str, Any]:
    times, places = study.times_s, study.info.frame_places or ()
    entry: dict[str, Any] = {
        "beat": number,
        "complete": result.beat.complete,
        "end_diastole_frame": places[result.beat.ed] + 1,
        "end_systole_frame": places[result.beat.es] + 1,
        "end_diastole_s": _round(float(times[result.beat.ed]), 3),
        "end_systole_s": _round(float(times[result.beat.es]), 3),
        "ejection_fraction_percent": _round(result.ejection_fraction, 2),
        "ejection_fraction_from_masks_percent": _round(result.ejection_fraction_from_masks, 2),
        "ejection_fraction_by_area_length_percent": _round(
            result.ejection_fraction_by_area_length, 2
        ),
    }
    for name, disks in (("end_diastole", result.end_diastole), ("end_systole", result.end_systole)):
        entry[name] = _disks(disks)
    return entry


def _disks(disks: Disks | None) -> dict[str, Any] | None:
    """Volumes in mL, area and length; None where there is no calibration."""
    if disks is None or not disks.calibrated:
        return None
    return {
        "method_of_disks_ml": _round(disks.volume, 2),
        "area_length_ml": _round(disks.area_length, 2),
        "area_cm2": _round(disks.area, 3),
        "length_cm": _round(disks.length, 3),
    }


def _volumes(study: Study) -> dict[str, Any] | None:
    """Mean volumes over the complete beats, in mL; None without calibration or complete beats."""
    measured = [
        (r.end_diastole, r.end_systole)
        for r in study.analysis.complete_beats
        if r.end_diastole is not None and r.end_systole is not None and r.end_diastole.calibrated
    ]
    if not measured:
        return None
    result: dict[str, Any] = {"note": SINGLE_PLANE}
    for name, formula in VOLUME_METHODS.items():
        edv = float(np.mean([getattr(ed, formula) for ed, _ in measured]))
        esv = float(np.mean([getattr(es, formula) for _, es in measured]))
        result[name] = {
            "end_diastolic_ml": _round(edv, 2),
            "end_systolic_ml": _round(esv, 2),
            "stroke_volume_ml": _round(edv - esv, 2),
        }
    return result


def _rhythm(study: Study) -> dict[str, Any]:
    rhythm = study.analysis.rhythm
    return {
        "heart_rate_bpm": _round(rhythm.heart_rate_bpm, 1),
        "heart_rate_in_header_bpm": _round(study.info.heart_rate_bpm, 1),
        "rr_mean_s": _round(rhythm.rr_mean_s, 3),
        "rr_sd_s": _round(rhythm.rr_sd_s, 3),
        "irregular": rhythm.irregular,
        "intervals": rhythm.intervals,
    }


def _not_possible(study: Study) -> list[dict[str, str]]:
    """What was not measured, and why."""
    analysis = study.analysis
    missing: list[dict[str, str]] = []

    def note(what: str, why: str) -> None:
        missing.append({"what": what, "why": why})

    if study.spacing_cm is None:
        why = study.info.calibration_note or "the file does not say how large a pixel is"
        note("volumes in mL", why)
    if not analysis.complete_beats:
        note("end-diastolic and end-systolic volumes", "no complete beat was found")
    elif analysis.ejection_fraction_from_masks is None:
        note("ejection fraction from masks", "no beat has a usable mask at both of its ends")
    if analysis.rhythm.heart_rate_bpm is None:
        note("heart rate", "fewer than two end-systoles were found")
    elif analysis.rhythm.irregular is None:
        note("regularity of the rhythm", "fewer than three intervals between beats")
    if analysis.interval is None:
        too_few = "the model was validated on too few videos"
        why = too_few if analysis.from_beats else "no beat was found"
        note("interval of the ejection fraction", why)
    return missing


def _model(trained_on: Mapping[str, Any]) -> dict[str, Any]:
    """What the model has seen: a reader of the report may know no more of it."""
    phantoms = bool(trained_on.get("phantom"))
    return {
        "trained_on": trained_on.get("description") or "not stated",
        "trained_on_phantoms": phantoms,
        "warning": PHANTOM_MODEL if phantoms else None,
    }


def _video(study: Study) -> dict[str, Any]:
    info = study.info
    spacing = info.spacing_mm
    return {
        "kind": info.kind,
        "frames": info.slice_count,
        "frames_decoded": len(study.times_s),
        "frames_per_second": _round(study.analysis.fps, 3),
        "duration_s": _round(float(study.times_s[-1] - study.times_s[0]), 3),
        "height": info.height,
        "width": info.width,
        "millimetres_per_pixel": None if spacing is None else [_round(v, 5) for v in spacing],
        "calibration": info.calibration_note,
        "sector_found": study.sector_found,
        "notes": list(study.notes),
    }


def _round(value: float | None, digits: int) -> float | None:
    return None if value is None or not np.isfinite(value) else round(float(value), digits)


def flag_line(flags: Sequence[Flag]) -> str:
    """The flags in one line, for logs."""
    return "; ".join(flag.message for flag in flags) or "no reason for doubt was found"
