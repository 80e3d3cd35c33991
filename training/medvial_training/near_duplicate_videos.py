"""Videos that show the very same moments, though not byte for byte.

A recording may be there twice: compressed anew, with another brightness or size, or cut out of one
film at other moments. If one copy is trained on and the other tested on, the test is worthless.
One patient looks alike in all videos, and one room in those of all patients; so it is how things
move that is compared.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

SAMPLES_HZ = 10.0
_STEP_S = 0.3  # a sample is what has changed since so long before
_SIDE = 12  # pixels of a picture that is compared
_MOST_SAMPLES = 100  # of a video: 10 s from its beginning
_LEAST_COMMON = 8  # samples with movement that two videos must share: a second of film
_STILL = 3.0  # length of a change that is noise: a quarter of a grey level in each pixel
_MOST_PRODUCTS = 50_000_000  # that are held at a time: 200 MB

SAME_VIDEO = 0.125
"""Distance (1 - correlation of what moves, at the best shift in time) below which two are one.

Of 245 drawn walkers of 1 to 2 s, those of different people lie at 0.15 and above; copies that are
turned by 2 degrees, enlarged by 5 %, of another brightness and at JPEG quality 30 at 0.11 and
below. Such a copy is missed if it also begins at another moment, half of the times."""

Image = NDArray[np.float32]


@dataclass(frozen=True)
class VideoPair:
    """Two videos of the same moments, as positions in the given order."""

    first: int
    second: int
    distance: float
    """1 - correlation of what moves: 0 for the very same film."""


def find_near_duplicate_videos(
    videos: Iterable[tuple[NDArray[np.uint8], NDArray[np.float64]]],
    threshold: float = SAME_VIDEO,
) -> list[VideoPair]:
    """Find the pairs of videos that show the same moments.

    Each video is sampled ten times a second at 12 x 12 pixels; a sample is the change over 0.3 s,
    brought to length 1. Pairs are compared at every shift in time that leaves a second of movement
    in common; where nothing moves in either video there is nothing to compare. Only the first ten
    seconds of each video are looked at: two parts of one longer film are a pair only if they
    overlap there. Such parts have to share a patient or a group to stay on one side.

    Args:
        videos: Frames (T, H, W, 3) RGB and times (T,) in seconds; read once, one by one.
        threshold: Largest distance of a pair.

    Returns:
        The pairs, sorted, `first < second`.
    """
    moving = [_movement(frames, times_s) for frames, times_s in videos]
    if len(moving) < 2:
        return []
    longest = max(len(video) for video in moving)
    size = max(1, _MOST_PRODUCTS // max(1, longest**2 * len(moving)))
    pairs = []
    for start in range(0, len(moving), size):
        block = moving[start : start + size]
        best = _best_correlations(block, moving)
        for row, column in np.argwhere(1 - best <= threshold):
            first, second = start + int(row), int(column)
            if first < second:
                pairs.append(VideoPair(first, second, round(float(1 - best[row, column]), 4)))
    return sorted(pairs, key=lambda pair: (pair.first, pair.second))


def _movement(frames: NDArray[np.uint8], times_s: NDArray[np.float64]) -> Image:
    """(S, 144) how the pictures of a video change, each of length 1 (0 where nothing moves)."""
    first_s = float(times_s[0])
    last_s = min(float(times_s[-1]) - _STEP_S + 1e-9, first_s + _MOST_SAMPLES / SAMPLES_HZ)
    moments = np.arange(first_s, last_s, 1 / SAMPLES_HZ)[:_MOST_SAMPLES]
    if not len(moments):
        return np.zeros((0, _SIDE * _SIDE), np.float32)
    before, after = _nearest(times_s, moments), _nearest(times_s, moments + _STEP_S)
    small = np.stack([_small(frame) for frame in frames[: after[-1] + 1]])
    change = small[after] - small[before]
    change -= change.mean(axis=1, keepdims=True)
    length = np.linalg.norm(change, axis=1, keepdims=True)
    still = length < _STILL
    return np.where(still, 0, change / np.where(still, 1, length)).astype(np.float32)


def _nearest(times_s: NDArray[np.float64], moments: NDArray[np.float64]) -> NDArray[np.intp]:
    return np.abs(times_s[None] - moments[:, None]).argmin(axis=1)


def _small(frame: NDArray[np.uint8]) -> Image:
    grey = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY)
    return cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32).ravel()


def _best_correlations(block: Sequence[Image], videos: Sequence[Image]) -> Image:
    """(B, N) mean correlation of the samples in common, at the best shift in time."""
    rows, columns = _padded(block), _padded(videos)
    counts_a = np.array([len(v) for v in block])
    counts_b = np.array([len(v) for v in videos])
    products = np.einsum("asp,btp->stab", rows, columns, optimize=True)
    still_a, still_b = _still(rows, counts_a), _still(columns, counts_b)
    best = np.full((len(block), len(videos)), -1.0, np.float32)
    for shift in range(_LEAST_COMMON - products.shape[0], products.shape[1] - _LEAST_COMMON + 1):
        total = np.trace(products, offset=shift, axis1=0, axis2=1)
        first = max(0, -shift)
        ends = np.minimum(counts_a[:, None], counts_b[None] - shift)
        common = ends - first - _pairs_at(still_a, still_b, shift)
        mean = np.where(common >= _LEAST_COMMON, total / np.maximum(common, 1), -1.0)
        np.maximum(best, mean, out=best)
    return best


def _still(videos: Image, counts: NDArray[np.intp]) -> Image:
    """(N, S) 1 for the samples of each video, not those behind its end, in which nothing moves."""
    inside = np.arange(videos.shape[1]) < counts[:, None]
    return (inside & ~videos.any(axis=2)).astype(np.float32)


def _pairs_at(first: Image, second: Image, shift: int) -> Image:
    """(B, N) in how many samples both are 1 when the second is shifted."""
    start = max(0, -shift)
    size = max(0, min(first.shape[1] - start, second.shape[1] - start - shift))
    return first[:, start : start + size] @ second[:, start + shift : start + shift + size].T


def _padded(videos: Sequence[Image]) -> Image:
    """(N, S, 256), zeros behind the shorter ones."""
    longest = max(len(v) for v in videos)
    result = np.zeros((len(videos), longest, _SIDE * _SIDE), np.float32)
    for row, video in zip(result, videos, strict=True):
        row[: len(video)] = video
    return result
