"""One person through a video: where BlazePose saw them, and a smooth box at any time."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from medvial.gait.blazepose import Circle, Pose
from medvial.gait.clothes import Clothes

Points = NDArray[np.float64]
Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels."""

_LEAST_VISIBILITY = 0.2  # of landmarks that stretch the box
# BlazePose's highest landmarks are the eyes, at .936 of the stature, its lowest are the soles;
# the rest is flesh around joints (Winter, Biomechanics and Motor Control, 2009, fig. 4.1).
_TOP, _SIDES, _BOTTOM = 0.08, 0.04, 0.01  # added, by the landmarks' height
_OUTLIER_WINDOW = 5  # sightings, of the running median
_OUTLIER = 0.35  # by the body's height: further from the running median is a mistake
_LONGEST_GUESS_S = 0.6  # a walker goes on before the first and after the last sighting


@dataclass(frozen=True)
class Sighting:
    """A person on one frame."""

    time_s: float
    box: Box
    circle: Circle
    presence: float
    """0 to 1: that there is a person."""
    clothes: Clothes | None = None
    """None: not seen."""
    assumed: bool = False
    """Not looked for on this frame: the person stood where they were on the one before."""

    @property
    def centre(self) -> tuple[float, float]:
        """Of the box, pixels (x, y)."""
        x0, y0, x1, y1 = self.box
        return (x0 + x1) / 2, (y0 + y1) / 2

    @property
    def height(self) -> float:
        """Of the box, pixels."""
        return self.box[3] - self.box[1]


@dataclass
class Track:
    """Sightings of one person, in the order of time."""

    sightings: list[Sighting] = field(default_factory=list)

    @property
    def start_s(self) -> float:
        """Time of the first sighting."""
        return self.sightings[0].time_s

    @property
    def end_s(self) -> float:
        """Time of the last sighting."""
        return self.sightings[-1].time_s

    @property
    def times_s(self) -> Points:
        """(S,) times of the sightings."""
        return np.array([sighting.time_s for sighting in self.sightings])

    @property
    def boxes(self) -> Points:
        """(S, 4) boxes as seen: x0, y0, x1, y1 in pixels; they may reach beyond the frame."""
        return np.array([sighting.box for sighting in self.sightings])

    @property
    def height_px(self) -> float:
        """Median height of the boxes."""
        return float(np.median([sighting.height for sighting in self.sightings]))

    @property
    def path_px(self) -> float:
        """How far the person went sideways: between the 5th and 95th percentile of x."""
        low, high = np.percentile([sighting.centre[0] for sighting in self.sightings], (5, 95))
        return float(high - low)

    def boxes_at(self, times_s: Points, smooth_s: float = 0.1) -> Points:
        """(T, 4) smoothed boxes at any times, x0, y0, x1, y1 in pixels.

        Mistaken boxes are left out, the others smoothed, gaps filled by straight lines; before the
        first and after the last sighting the person goes on for a moment and then stays.

        Args:
            times_s: (T,) seconds.
            smooth_s: Standard deviation of the smoothing in seconds; 0 smooths nothing.
        """
        boxes = self.boxes
        values = np.column_stack(
            [
                (boxes[:, 0] + boxes[:, 2]) / 2,
                (boxes[:, 1] + boxes[:, 3]) / 2,
                boxes[:, 2] - boxes[:, 0],
                boxes[:, 3] - boxes[:, 1],
            ]
        )
        good = ~outliers(values[:, [0, 1, 3]], self.height_px)  # a stride's width changes fast
        x, y, width, height = interpolate(
            self.times_s[good], values[good], np.asarray(times_s), smooth_s, moving=(0, 1)
        ).T
        return np.column_stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2])

    def circles_at(self, times_s: Points) -> list[Circle]:
        """Where BlazePose would see the person at any times."""
        rows = [(each.circle.x, each.circle.y, each.circle.radius) for each in self.sightings]
        good = ~outliers(np.array(rows), self.height_px)
        values = interpolate(
            self.times_s[good], np.array(rows)[good], np.asarray(times_s), 0.1, moving=(0, 1)
        )
        ups = [each.circle.up for each in self.sightings]
        up = np.interp(times_s, self.times_s, np.unwrap(ups))
        return [
            Circle(float(x), float(y), float(radius), float(angle), 1.0)
            for (x, y, radius), angle in zip(values, up, strict=True)
        ]


def body_box(pose: Pose) -> Box:
    """The upright box around a body, from its landmarks; it may reach beyond the frame."""
    shown = pose.points[pose.points[:, 2] >= _LEAST_VISIBILITY, :2]
    if len(shown) < len(pose.points) // 3:
        shown = pose.points[:, :2]
    (x0, y0), (x1, y1) = shown.min(axis=0), shown.max(axis=0)
    height = max(y1 - y0, 1.0)
    return (
        float(x0 - _SIDES * height),
        float(y0 - _TOP * height),
        float(x1 + _SIDES * height),
        float(y1 + _BOTTOM * height),
    )


def as_box(row: Points) -> Box:
    """A row (4,) of an array of boxes as a box."""
    x0, y0, x1, y1 = (float(value) for value in row)
    return x0, y0, x1, y1


def outliers(values: Points, height_px: float) -> NDArray[np.bool_]:
    """(S,) rows of (S, K) values in pixels that lie far from the median of those around them."""
    if len(values) < _OUTLIER_WINDOW:
        return np.zeros(len(values), bool)
    half = _OUTLIER_WINDOW // 2
    padded = np.pad(values, ((half, half), (0, 0)), mode="reflect", reflect_type="odd")
    windows = np.lib.stride_tricks.sliding_window_view(padded, _OUTLIER_WINDOW, axis=0)
    far = np.abs(values - np.median(windows, axis=-1)).max(axis=1) > _OUTLIER * height_px
    return far if far.mean() < 0.5 else np.zeros(len(values), bool)


def interpolate(
    known_s: Points, values: Points, times_s: Points, smooth_s: float, moving: tuple[int, ...]
) -> Points:
    """(T, K) values at any times, from (S, K) values at known ones.

    Each known value is replaced by the straight line that fits those around it best (local linear
    regression with Gaussian weights, which does not lag behind a steady walk); between them lie
    straight lines. The `moving` columns go on at their last speed for a moment beyond the ends.
    """
    smooth, slopes = _local_lines(known_s, values, smooth_s)
    found = np.stack([np.interp(times_s, known_s, column) for column in smooth.T], axis=1)
    before = np.clip(times_s - known_s[0], -_LONGEST_GUESS_S, 0)
    after = np.clip(times_s - known_s[-1], 0, _LONGEST_GUESS_S)
    for column in moving:
        found[:, column] += before * slopes[0, column] + after * slopes[-1, column]
    return found


def _local_lines(known_s: Points, values: Points, smooth_s: float) -> tuple[Points, Points]:
    """Smoothed values (S, K), and slopes per second (S, K) over a longer stretch."""
    if len(known_s) < 2:
        return values.copy(), np.zeros_like(values)
    smooth = _fit_lines(known_s, values, smooth_s)[0] if smooth_s > 0 else values.copy()
    slopes = _fit_lines(known_s, values, max(smooth_s, _LONGEST_GUESS_S / 2))[1]
    return smooth, slopes


def _fit_lines(known_s: Points, values: Points, width_s: float) -> tuple[Points, Points]:
    shifted = known_s[None] - known_s[:, None]
    weights = np.exp(-0.5 * (shifted / width_s) ** 2)
    total = weights.sum(axis=1)
    mean_t = (weights * shifted).sum(axis=1) / total
    mean_v = weights @ values / total[:, None]
    centred = shifted - mean_t[:, None]
    spread = (weights * centred**2).sum(axis=1)
    covariance = (weights * centred) @ values
    slopes = covariance / np.maximum(spread, 1e-9)[:, None]
    slopes[spread < 1e-6] = 0.0  # a sighting far from all others
    return mean_v - mean_t[:, None] * slopes, slopes
