"""How well predicted masks cover the traced ones: Dice, pooled as in the source and per video."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medvial_training.metrics import Bootstrap, cluster_means, ratio, weighted_statistics

FloatArray = NDArray[np.float64]
Phase = Literal["ED", "ES"]

SOURCE_INTERVAL = Bootstrap(resamples=10_000, level=0.90)
"""The source's interval: 10,000 resamples of the videos, 5th to 95th percentile."""

PHASES: dict[str, tuple[Phase, ...]] = {
    "overall": ("ED", "ES"),
    "large": ("ED",),
    "small": ("ES",),
}
"""The source's names for what is pooled: large is end-diastole, small is end-systole."""


@dataclass(frozen=True)
class Overlaps:
    """Pixel counts of N traced frames."""

    videos: NDArray[np.str_]
    phases: NDArray[np.str_]
    """ED or ES."""
    clusters: NDArray[np.str_]
    """The patient of every frame."""
    intersection: FloatArray
    """Pixels in both masks."""
    total: FloatArray
    """Pixels of the one plus pixels of the other."""

    def of(self, phases: tuple[Phase, ...]) -> NDArray[np.bool_]:
        """(N,) which frames are of these phases."""
        return np.isin(self.phases, phases)


def overlap(predicted: NDArray[Any], traced: NDArray[Any]) -> tuple[int, int]:
    """Pixels in both masks, and the sum of their pixels; masks (H, W), true where not 0."""
    one, other = predicted != 0, traced != 0
    return int((one & other).sum()), int(one.sum() + other.sum())


def dice_scores(overlaps: Overlaps, bootstrap: Bootstrap) -> dict[str, Any]:
    """Dice of end-diastole (large), end-systole (small) and both (overall), JSON-ready.

    `pooled` counts the pixels of all frames together, 2 I / (A + B), as the source does: large
    ventricles weigh more. `per_video` is the mean of every video's own Dice. Intervals are over
    patients; `source_interval` is the source's (10,000 resamples, 5th to 95th percentile).
    """
    names = list(PHASES)
    pooled = _pooled(overlaps, bootstrap)
    source = _pooled(overlaps, SOURCE_INTERVAL)
    table = per_video(overlaps)
    values = np.array([[row[name] for name in names] for row in table]).reshape(-1, len(names))
    means = cluster_means(values, [row["patient"] for row in table], bootstrap)
    return {
        "frames": {name: int(overlaps.of(phases).sum()) for name, phases in PHASES.items()},
        "pooled": {n: e.as_dict() for n, e in zip(names, pooled, strict=True)},
        "per_video": {n: e.as_dict() for n, e in zip(names, means, strict=True)},
        "source_interval": {n: e.as_dict() for n, e in zip(names, source, strict=True)},
    }


def per_video(overlaps: Overlaps) -> list[dict[str, Any]]:
    """One row a video, in order of first appearance: video, patient, overall, large, small.

    Dice is 0 to 1, NaN where no frame of the phase is traced or both masks are empty.
    """
    rows = []
    for video in dict.fromkeys(overlaps.videos.tolist()):
        own = overlaps.videos == video
        row: dict[str, Any] = {"video": video, "patient": str(overlaps.clusters[own][0])}
        for name, phases in PHASES.items():
            used = own & overlaps.of(phases)
            row[name] = dice(overlaps.intersection[used].sum(), overlaps.total[used].sum())
        rows.append(row)
    return rows


def dice(intersection: float, total: float) -> float:
    """2 I / (A + B), 0 to 1; NaN if both masks are empty."""
    return float(2 * intersection / total) if total > 0 else float("nan")


def _pooled(overlaps: Overlaps, bootstrap: Bootstrap) -> list[Any]:
    """Estimates of overall, large and small."""
    used = np.column_stack([overlaps.of(phases) for phases in PHASES.values()])
    doubled = 2 * overlaps.intersection[:, None] * used
    total = overlaps.total[:, None] * used

    def statistics(weights: FloatArray) -> FloatArray:
        return ratio(weights @ doubled, weights @ total)

    return weighted_statistics(statistics, overlaps.clusters, bootstrap)
