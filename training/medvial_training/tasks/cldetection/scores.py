"""From the marks of experts and of a model to scores; arrays in, numbers out."""

from typing import Any

import numpy as np

from medvial_training.metrics import (
    Bootstrap,
    Estimate,
    bin_index,
    cluster_means,
    cluster_statistic,
    expected_calibration_error,
    number_or_none,
    reliability_table,
)
from medvial_training.tasks.cldetection.marks import FloatArray, Marks

SDR_MM = (2.0, 2.5, 3.0, 4.0)  # thresholds of ISBI 2015 and CL-Detection 2023
CALIBRATED_MM = 2.0  # `probability` is P(error < 2 mm)


def overall_scores(marks: Marks, bootstrap: Bootstrap) -> dict[str, Any]:
    """Scores over all marked points of the films with a scale (micro-average), JSON-ready.

    `sdr_percent` is the success detection rate by threshold in mm. Errors in px are given apart,
    for the films without a scale.
    """
    error = marks.error_mm.ravel()
    clusters = np.repeat(marks.clusters, len(marks.landmark_set))
    means = cluster_means(np.column_stack(_mean_columns(marks)), clusters, bootstrap)
    median = cluster_statistic(lambda rows: _median(error[rows]), clusters, bootstrap)
    sdr = {_label(t): _percent(e).as_dict() for t, e in zip(SDR_MM, means[3:], strict=True)}
    return {
        "mre_mm": means[0].as_dict(),
        "median_mm": median.as_dict(),
        **{name: number_or_none(value) for name, value in _spread(error).items()},
        "sdr_percent": sdr,
        "bias_x_mm": means[1].as_dict(),
        "bias_y_mm": means[2].as_dict(),
        "without_scale": _pixel_scores(marks),
    }


def counts(marks: Marks) -> dict[str, int | None]:
    """How much was tested; `points` are those that count for the scores in mm.

    `patients` is None where they are not known; `clusters` are what the intervals resample.
    """
    counted = marks.marked & marks.scaled[:, None]
    found = np.isfinite(marks.predicted).all(axis=-1)
    return {
        "films": len(marks.image_ids),
        "patients": len(np.unique(marks.patient_ids)) if marks.patients_known else None,
        "clusters": len(np.unique(marks.clusters)),
        "films_without_scale": int((~marks.scaled).sum()),
        "points": int(counted.sum()),
        "points_not_marked": int((~marks.marked).sum()),
        "points_not_predicted": int((marks.marked & ~found).sum()),
        "points_corrected": int(marks.corrected.sum()),
        "films_facing_left": int(marks.faces_left.sum()),
    }


def landmark_scores(marks: Marks, bootstrap: Bootstrap) -> list[dict[str, Any]]:
    """One row per landmark, in the set's order: errors in mm, SDR and bias with intervals."""
    error, offset = marks.error_mm, marks.offset_mm
    columns = [error, offset[..., 0], offset[..., 1], *(marks.detected(t) for t in SDR_MM)]
    landmarks = len(marks.landmark_set)
    estimates = cluster_means(np.concatenate(columns, axis=1), marks.clusters, bootstrap)
    rows = []
    for index in range(landmarks):
        mre, bias_x, bias_y, *sdr = estimates[index::landmarks]
        row: dict[str, Any] = {
            "number": index + 1,
            "symbol": marks.landmark_set.symbols[index],
            "title": marks.landmark_set.titles[index],
            "points": int(np.isfinite(error[:, index]).sum()),
            **mre.as_columns("mre_mm"),
            **{name: number_or_none(v) for name, v in _spread(error[:, index]).items()},
            "median_mm": number_or_none(_median(error[:, index])),
        }
        for threshold, estimate in zip(SDR_MM, sdr, strict=True):
            row |= _percent(estimate).as_columns(f"sdr_{_label(threshold)}mm_percent")
        rows.append(row | bias_x.as_columns("bias_x_mm") | bias_y.as_columns("bias_y_mm"))
    return rows


def image_scores(marks: Marks) -> list[dict[str, Any]]:
    """One row per film; `mre_mm` and `sdr_2mm_percent` are None without a scale."""
    rows = []
    error_px, detected = marks.error_px, marks.detected(SDR_MM[0])
    for index, image_id in enumerate(marks.image_ids):
        px = error_px[index]
        mean_px, scale = _mean(px), float(marks.mm_per_px[index])
        known = bool(np.isfinite(px).any())
        rows.append(
            {
                "image_id": image_id,
                "patient": str(marks.patient_ids[index]),
                "mm_per_px": number_or_none(scale),
                "points": int(np.isfinite(px).sum()),
                "mre_px": number_or_none(mean_px),
                "mre_mm": number_or_none(mean_px * scale),
                "median_mm": number_or_none(_median(px) * scale),
                "max_mm": number_or_none(float(np.nanmax(px)) * scale) if known else None,
                "worst_landmark": marks.landmark_set.symbols[np.nanargmax(px)] if known else None,
                "sdr_2mm_percent": number_or_none(100 * _mean(detected[index])),
                "corrected": int(marks.corrected[index].sum()),
                "faces_left": bool(marks.faces_left[index]),
            }
        )
    return rows


def worst_points(marks: Marks, count: int = 20) -> list[dict[str, Any]]:
    """The largest errors in mm, largest first: film, landmark, error and what the model said."""
    error = marks.error_mm
    order = np.argsort(-np.nan_to_num(error, nan=-1.0), axis=None, kind="stable")
    rows = []
    for film, landmark in zip(*np.unravel_index(order[:count], error.shape), strict=True):
        if not np.isfinite(error[film, landmark]):
            break
        probability = None if marks.probability is None else marks.probability[film, landmark]
        rows.append(
            {
                "image_id": marks.image_ids[film],
                "symbol": marks.landmark_set.symbols[landmark],
                "title": marks.landmark_set.titles[landmark],
                "error_mm": float(error[film, landmark]),
                "probability": None if probability is None else number_or_none(probability),
                "corrected": bool(marks.corrected[film, landmark]),
            }
        )
    return rows


def calibration_scores(marks: Marks, bootstrap: Bootstrap) -> dict[str, Any] | None:
    """How well `probability` predicts an error below 2 mm; None if there is none.

    `brier` is the mean squared difference of probability and outcome. `bins` has the observed
    fraction, 0 to 1, with its interval over the clusters.
    """
    if marks.probability is None:
        return None
    outcome = marks.detected(CALIBRATED_MM)
    used = np.isfinite(outcome) & np.isfinite(marks.probability)
    if not used.any():
        return None
    predicted, true = marks.probability[used], outcome[used]
    clusters = np.broadcast_to(marks.clusters[:, None], used.shape)[used]
    table = reliability_table(predicted, true)
    one_hot = bin_index(predicted)[:, None] == np.arange(len(table))
    observed = cluster_means(np.where(one_hot, true[:, None], np.nan), clusters, bootstrap)
    brier, mean, rate = cluster_means(
        np.column_stack([(predicted - true) ** 2, predicted, true]), clusters, bootstrap
    )
    return {
        "threshold_mm": CALIBRATED_MM,
        "points": int(used.sum()),
        "ece": number_or_none(expected_calibration_error(predicted, true)),
        "brier": brier.as_dict(),
        "mean_probability": mean.as_dict(),
        "observed": rate.as_dict(),
        "bins": [
            row.as_dict() | {f"observed_{k}": v for k, v in e.as_dict().items() if k != "value"}
            for row, e in zip(table, observed, strict=True)
        ],
    }


def _mean_columns(marks: Marks) -> list[FloatArray]:
    """Per point (N * L,): error, x and y offset, and detection at every threshold."""
    offset = marks.offset_mm
    columns = [marks.error_mm, offset[..., 0], offset[..., 1]]
    return [c.ravel() for c in (*columns, *(marks.detected(t) for t in SDR_MM))]


def _pixel_scores(marks: Marks) -> dict[str, Any]:
    error = marks.error_px[~marks.scaled]
    films = int((~marks.scaled).sum())
    return {
        "films": films,
        "points": int(np.isfinite(error).sum()),
        "mre_px": number_or_none(_mean(error)),
        "median_px": number_or_none(_median(error)),
    }


def _spread(values: FloatArray) -> dict[str, float]:
    """SD (n - 1), 90th and 95th percentile, and maximum, in mm; NaN where undefined."""
    known = values[np.isfinite(values)]
    p90, p95 = np.percentile(known, (90, 95)) if known.size else (np.nan, np.nan)
    return {
        "sd_mm": float(known.std(ddof=1)) if known.size > 1 else np.nan,
        "p90_mm": float(p90),
        "p95_mm": float(p95),
        "max_mm": float(known.max()) if known.size else np.nan,
    }


def _mean(values: FloatArray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")


def _median(values: FloatArray) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else float("nan")


def _percent(fraction: Estimate) -> Estimate:
    return Estimate(100 * fraction.value, 100 * fraction.low, 100 * fraction.high)


def _label(threshold_mm: float) -> str:
    """2.0 as "2", 2.5 as "2.5"."""
    return f"{threshold_mm:g}"
