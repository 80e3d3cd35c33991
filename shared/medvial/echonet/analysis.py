"""From the frames of a cine to beats, ejection fraction and volumes; one video at a time.

The container and step 3 both go through `analyse`, so that the number seen in training is the
number that the container gives.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medvial.echonet.beats import Beat, BeatOptions, Rhythm, find_beats, summarise_rhythm
from medvial.echonet.clips import (
    Rate,
    centred_clip_start,
    frame_rate,
    last_clip_start,
    sampling_rate,
)
from medvial.echonet.config import Config
from medvial.echonet.long_axis import MIN_PIXELS, largest_component
from medvial.echonet.networks import EchoNetworks
from medvial.echonet.postprocess import Learned
from medvial.echonet.volumes import Disks, disk_volume, ejection_fraction
from medvial.errors import InputError

CLIPS_WITHOUT_BEATS = 5  # evenly spaced, where no beat says where to look

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class BeatResult:
    """One systole and what was measured in it; percent and mL, None = not measured."""

    beat: Beat
    clip_start: int
    """First frame of the clip that the network read."""
    ejection_fraction: float | None
    """By the network that reads clips."""
    end_diastole: Disks | None
    end_systole: Disks | None
    """The masks' volumes; None where the beat is cut or a mask is none of a ventricle."""

    @property
    def ejection_fraction_from_masks(self) -> float | None:
        """By the method of disks; None where a volume is missing."""
        return self._fraction("volume")

    @property
    def ejection_fraction_by_area_length(self) -> float | None:
        """By area-length; None where a volume is missing."""
        return self._fraction("area_length")

    def _fraction(self, formula: str) -> float | None:
        if self.end_diastole is None or self.end_systole is None:
            return None
        return ejection_fraction(
            getattr(self.end_diastole, formula), getattr(self.end_systole, formula)
        )


@dataclass(frozen=True)
class Analysis:
    """A cine analysed; frames are counted from 0."""

    masks: NDArray[np.bool_]
    """(T, H, W) left ventricle at the network's size, its largest part only."""
    area_px: NDArray[np.float64]
    """(T,) pixels of each mask."""
    fps: float
    beats: list[BeatResult]
    rhythm: Rhythm
    clips: dict[int, float]
    """Ejection fraction of every clip that was read, percent, by its first frame."""
    ejection_fraction: float | None
    """Of the video, percent, 0 to 100: the mean over its beats, or over evenly spaced clips."""
    interval: tuple[float, float] | None
    """Of `ejection_fraction`; None without a beat, or where the model has learned none."""
    from_beats: bool
    """Whether `ejection_fraction` is a mean over beats."""

    @property
    def complete_beats(self) -> list[BeatResult]:
        """The beats whose end-diastole and end-systole were both seen."""
        return [result for result in self.beats if result.beat.complete]

    @property
    def ejection_fraction_from_masks(self) -> float | None:
        """Mean over the complete beats by the method of disks, percent."""
        values = [r.ejection_fraction_from_masks for r in self.complete_beats]
        return _mean([value for value in values if value is not None])


def analyse(
    frames: NDArray[np.uint8],
    times_s: NDArray[np.float64],
    networks: EchoNetworks,
    learned: Learned,
    *,
    spacing_cm: tuple[float, float] | None = None,
    progress: Progress | None = None,
) -> Analysis:
    """Analyse one cine.

    Args:
        frames: (T, H, W) uint8 at the network's size; may be a memory map.
        times_s: (T,) time of each frame in seconds, increasing.
        networks: The model's; the one for the ejection fraction may be missing.
        learned: How to read their outputs.
        spacing_cm: Width and height (x, y) of a pixel of `frames` in cm; None = not calibrated.
        progress: Called with frames done and frames in all.

    Raises:
        InputError: There is no frame, or the model has no segmentation.
    """
    if len(frames) == 0:
        raise InputError("Expected at least one frame, got none.")
    masks = segment_masks(frames, networks, learned, progress)
    area = masks.sum(axis=(1, 2)).astype(np.float64)
    rate = sampling_rate(times_s)
    beats = find_beats(area, times_s, BeatOptions.of(networks.config)) if len(frames) > 1 else []
    starts = [centred_clip_start(b.es, rate, networks.config, len(frames)) for b in beats]
    from_beats = any(beat.es_seen for beat in beats)
    wanted = starts if from_beats else _spread_starts(len(frames), rate, networks.config)
    clips = _read_clips(frames, sorted(set(wanted)), rate, networks, learned)
    results = [
        _beat_result(beat, start, clips, masks, spacing_cm)
        for beat, start in zip(beats, starts, strict=True)
    ]
    # Every systole whose end was seen counts, also where its beginning was not: the clip does.
    seen = [r.ejection_fraction for r in results if r.beat.es_seen]
    chosen = seen if from_beats else list(clips.values())
    value = _mean([v for v in chosen if v is not None])
    value = None if value is None else float(np.clip(value, 0, 100))
    return Analysis(
        masks=masks,
        area_px=area,
        fps=frame_rate(times_s),
        beats=results,
        rhythm=summarise_rhythm(beats, times_s),
        clips=clips,
        ejection_fraction=value,
        interval=learned.interval(value) if value is not None and from_beats else None,
        from_beats=from_beats,
    )


def segment_masks(
    frames: NDArray[np.uint8],
    networks: EchoNetworks,
    learned: Learned,
    progress: Progress | None = None,
) -> NDArray[np.bool_]:
    """The left ventricle in each frame, (T, H, W): the largest part above the threshold."""
    masks = np.zeros(frames.shape, np.bool_)
    done = 0
    for batch in networks.segment(frames):
        for probability in batch:
            masks[done] = _ventricle(probability > learned.threshold)
            done += 1
        if progress is not None:
            progress(done, len(frames))
    return masks


def _ventricle(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    part = largest_component(mask)
    return part if part.sum() >= MIN_PIXELS else np.zeros_like(part)


def _spread_starts(frame_count: int, rate: Rate, config: Config) -> list[int]:
    last = last_clip_start(frame_count, rate, config)
    return [int(start) for start in np.linspace(0, last, CLIPS_WITHOUT_BEATS)]


def _read_clips(
    frames: NDArray[np.uint8],
    starts: list[int],
    rate: Rate,
    networks: EchoNetworks,
    learned: Learned,
) -> dict[int, float]:
    if networks.regression is None:
        return {}
    values = learned.recalibrate(networks.ejection_fraction(frames, starts, rate))
    return dict(zip(starts, map(float, values), strict=True))


def _beat_result(
    beat: Beat,
    start: int,
    clips: dict[int, float],
    masks: NDArray[np.bool_],
    spacing_cm: tuple[float, float] | None,
) -> BeatResult:
    measured = beat.complete
    return BeatResult(
        beat=beat,
        clip_start=start,
        ejection_fraction=clips.get(start),
        end_diastole=_disks(masks[beat.ed], spacing_cm) if measured else None,
        end_systole=_disks(masks[beat.es], spacing_cm) if measured else None,
    )


def _disks(mask: NDArray[np.bool_], spacing_cm: tuple[float, float] | None) -> Disks | None:
    try:
        return disk_volume(mask, spacing_cm=spacing_cm)
    except InputError:
        return None


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None
