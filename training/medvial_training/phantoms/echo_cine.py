"""One phantom of an apical four-chamber cine, with everything that is true of it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medvial.errors import InputError
from medvial_training.phantoms.echo_anatomy import (
    Build,
    Motion,
    inside,
    move,
    sample_build,
    to_heart,
    tracing,
)
from medvial_training.phantoms.echo_heart import Heart, Rhythm, beat, sample_fps, sample_heart
from medvial_training.phantoms.echo_scan import Scanner, Settings, pixel_positions
from medvial_training.phantoms.echo_tissue import Levels

SIZE, MIN_SIDE = 112, 64
FRAMES, FRAMES_SHARE_SD, MAX_FRAMES = 176, 0.33, 1002  # EchoNet-Dynamic: 176.5, SD 57.9
BREATH_CM = 0.15


@dataclass(frozen=True)
class Phantom:
    """A cine and everything that is true of it. Frames count from 0."""

    frames: NDArray[np.uint8]
    """(T, H, W) grey."""
    masks: NDArray[np.bool_]
    """(T, H, W): pixels whose centre lies in the cavity."""
    volumes_ml: NDArray[np.float64]
    """(T,) exact."""
    ed_frames: tuple[int, ...]
    """Frames nearest to the end-diastoles in the clip."""
    es_frames: tuple[int, ...]
    traced: tuple[int, int]
    """End-diastole and end-systole of the beat that the tracings and the listed volumes are of."""
    tracings: NDArray[np.float64]
    """(2, 21, 2, 2): of the two traced frames; axis and 20 chords, both ends (x, y) in pixels."""
    fps: float
    spacing_cm: float
    """Side of a pixel."""
    heart_rate_bpm: float
    """What was asked for; the beats of a short clip vary around it."""
    rhythm: Rhythm

    @property
    def edv_ml(self) -> float:
        """End-diastolic volume of the traced beat."""
        return float(self.volumes_ml[self.traced[0]])

    @property
    def esv_ml(self) -> float:
        """End-systolic volume of the traced beat."""
        return float(self.volumes_ml[self.traced[1]])

    @property
    def ef_percent(self) -> float:
        """Ejection fraction of the traced beat."""
        return 100 * (self.edv_ml - self.esv_ml) / self.edv_ml


def make_cine(
    seed: int | list[int],
    *,
    height: int = SIZE,
    width: int = SIZE,
    frames: int | None = None,
    mean_frames: int = FRAMES,
    fps: float | None = None,
    edv_ml: float | None = None,
    ef_percent: float | None = None,
    heart_rate_bpm: float | None = None,
    rhythm: Rhythm | None = None,
    draw: bool = True,
) -> Phantom:
    """Draw one examination.

    Args:
        seed: Same seed and arguments, same cine.
        height: Rows; they show the whole depth of the image.
        width: Columns; the sector is cut off at the sides below 1.3 times the rows.
        frames: Number of frames; sampled around `mean_frames`, for two beats at least, if None.
        mean_frames: Mean number of frames where it is sampled.
        fps: Frames per second; 50 for four of five seeds, 25 to 80 for the others, if None.
        edv_ml: End-diastolic volume of a regular beat; of the population if None.
        ef_percent: Ejection fraction of a regular beat; of the population if None.
        heart_rate_bpm: 45 to 110 if None.
        rhythm: Sinus for most seeds if None.
        draw: False leaves the frames black: truth alone, fast.

    Raises:
        InputError: The size is below 64, or the heart is none that can be drawn.
    """
    _check(height, width, frames, fps)
    rng = np.random.default_rng(seed)
    heart = sample_heart(
        rng, edv_ml=edv_ml, ef_percent=ef_percent, heart_rate_bpm=heart_rate_bpm, rhythm=rhythm
    )
    usual_fps = sample_fps(rng)
    fps = fps or usual_fps
    sampled = _frame_count(heart, fps, mean_frames, rng)
    times = np.arange(frames or sampled) / fps
    build = sample_build(heart, rng)
    course = beat(heart, times, rng)
    motion = move(build, heart, course, times, float(rng.uniform(0, BREATH_CM)))
    spacing = build.depth_cm * 1.02 / height
    place = pixel_positions((height, width), spacing)
    hearts = (to_heart(build, motion, k, *place) for k in range(len(times)))
    masks = np.stack([inside(motion, k, *points) for k, points in enumerate(hearts)])
    images = np.zeros(masks.shape, np.uint8)
    if draw:
        _draw(images, build, motion, spacing, rng)
    ed, es = (_frames(events, fps, len(times)) for events in (course.ed_s, course.es_s))
    traced = _traced(course.volumes_ml, ed, es)
    centre = np.array([(width - 1) / 2, -0.5])
    traces = np.stack([tracing(build, motion, k) / spacing + centre for k in traced])
    return Phantom(
        *(images, masks, course.volumes_ml, ed, es, traced, traces, fps, spacing),
        *(heart.heart_rate_bpm, heart.rhythm),
    )


def _check(height: int, width: int, frames: int | None, fps: float | None) -> None:
    too_few = frames is not None and frames < 1
    if min(height, width) < MIN_SIDE or too_few or not 5 <= (fps or 50) <= 300:
        raise InputError(
            f"Expected a cine of at least {MIN_SIDE} x {MIN_SIDE} pixels, 1 frame and 5 to 300 "
            f"frames a second, got {width} x {height} (width x height), {frames} frames, {fps} "
            "frames a second."
        )


def _draw(
    images: NDArray[np.uint8],
    build: Build,
    motion: Motion,
    spacing_cm: float,
    rng: np.random.Generator,
) -> None:
    """Fill the frames (T, H, W)."""
    _, height, width = images.shape
    levels, settings = Levels.sample(rng), Settings.sample(rng)
    scanner = Scanner(build, motion, levels, settings, (height, width), spacing_cm, rng)
    for k, image in enumerate(images):
        image[:] = scanner.frame(k)


def _frame_count(heart: Heart, fps: float, mean_frames: int, rng: np.random.Generator) -> int:
    """Frames of a video, for a little more than two beats at least."""
    least = max(28, int(np.ceil(2.2 * 60 / heart.heart_rate_bpm * fps)))
    sampled = rng.normal(mean_frames, FRAMES_SHARE_SD * mean_frames)
    return int(np.clip(round(sampled), least, MAX_FRAMES))


def _frames(times_s: NDArray[np.float64], fps: float, count: int) -> tuple[int, ...]:
    frames = np.rint(times_s * fps).astype(int)
    return tuple(int(k) for k in frames if 0 <= k < count)


def _traced(
    volumes: NDArray[np.float64], ed: tuple[int, ...], es: tuple[int, ...]
) -> tuple[int, int]:
    """The first whole systole; where the clip has none, its largest and smallest ventricle."""
    for start in ed:
        later = [k for k in es if k > start]
        if later:
            return start, later[0]
    return int(volumes.argmax()), int(volumes.argmin())
