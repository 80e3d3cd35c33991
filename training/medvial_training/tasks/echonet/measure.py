"""What a model makes of one prepared video, by the container's own path, and what testing adds."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medvial.echonet.analysis import Analysis, analyse, segment_masks
from medvial.echonet.beats import source_systoles
from medvial.echonet.clips import all_clip_starts, last_clip_start, sampling_rate
from medvial.echonet.long_axis import largest_component
from medvial.echonet.networks import EchoNetworks
from medvial.echonet.postprocess import Learned
from medvial.echonet.volumes import disk_volume, ejection_fraction
from medvial.errors import InputError
from medvial_training.tasks.echonet.beat_by_beat import R_SCRIPT, clip_starts
from medvial_training.tasks.echonet.dice import overlap
from medvial_training.tasks.echonet.recordings import Recording, Recordings, Trace

FloatArray = NDArray[np.float64]
Frames = NDArray[np.intp]
_NO_FRAMES: Frames = np.empty(0, dtype=np.intp)
SOURCE_FPS = 50.0  # of a video whose rate is not known; the source takes it for all videos


@dataclass(frozen=True)
class TracedFrame:
    """A traced frame: how the predicted mask covers the trace, and the volumes of both."""

    trace: Trace
    intersection: int
    total: int
    traced_volume: float
    """Method of disks; mL if the pixel's size is known, else pixels^3; NaN if not measurable."""
    predicted_volume: float


@dataclass(frozen=True)
class Measured:
    """Everything that was measured on one video, without its frames; EF in percent, NaN = none."""

    recording: Recording
    traced: tuple[TracedFrame, ...] = ()
    analysis: Analysis | None = None
    """What the container says of the video, its masks left out; None without a film."""
    sizes: Frames = field(default_factory=partial(_NO_FRAMES.copy))
    """(T,) pixels that the network calls left ventricle, all parts: the source's size."""
    systoles: Frames = field(default_factory=partial(_NO_FRAMES.copy))
    """End-systolic frames by the source's rule."""
    clip_ef: dict[int, float] = field(default_factory=dict)
    """EF of every clip that was computed, by its start."""
    last_start: int = 0

    @property
    def result(self) -> float:
        """The EF that the container reports: the mean over the beats' clips."""
        value = None if self.analysis is None else self.analysis.ejection_fraction
        return np.nan if value is None else value

    @property
    def one_clip(self) -> float:
        """EF of the clip at the video's start."""
        return self.clip_ef.get(0, np.nan)

    @property
    def all_clips(self) -> float:
        """Mean EF over the clips at every start; NaN unless all were computed."""
        complete = len(self.clip_ef) == self.last_start + 1
        return mean(self.clip_ef.values()) if complete else float("nan")

    @property
    def r_script(self) -> float:
        """Mean EF by the rules of the source's R script; NaN where it loses the video."""
        starts = clip_starts(self.systoles, self.last_start, R_SCRIPT).tolist()
        return mean(self.clip_ef[s] for s in starts if s in self.clip_ef)

    @property
    def per_beat(self) -> FloatArray:
        """EF of the clip of every beat whose end-systole was seen."""
        beats = self.analysis.beats if self.analysis and self.analysis.from_beats else []
        values = [b.ejection_fraction for b in beats if b.beat.es_seen]
        return np.array([v for v in values if v is not None], dtype=np.float64)

    @property
    def from_masks(self) -> float:
        """Mean over the complete beats of the EF by the method of disks."""
        value = None if self.analysis is None else self.analysis.ejection_fraction_from_masks
        return np.nan if value is None else value

    def from_traced_frames(self, *, predicted: bool) -> float:
        """EF from the traced frames, ED and ES: by the predicted masks, or by the traces."""
        volumes = {
            t.trace.phase: t.predicted_volume if predicted else t.traced_volume for t in self.traced
        }
        return ejection_fraction(volumes.get("ED", np.nan), volumes.get("ES", np.nan))


def measure(
    networks: EchoNetworks,
    learned: Learned,
    recordings: Recordings,
    recording: Recording,
    *,
    all_clips: bool = False,
    masks_only: bool = False,
) -> tuple[Measured, NDArray[np.bool_] | None]:
    """Measure one video; only the clips that are needed are computed, each once.

    Args:
        networks: Of the model; either may be missing.
        learned: How to read their outputs.
        recordings: Holds the frames and traces.
        recording: The video.
        all_clips: Compute the clips at every start.
        masks_only: Find masks and beats again, and read no clip.

    Returns:
        What was measured, and the masks (T, H, W), None without a segmentation.
    """
    if masks_only:
        networks = replace(networks, regression=None)
    frames = recordings.frames(recording)
    counts: list[int] = []
    analysis, masks = _analysis(_counting(networks, counts), learned, recording, frames)
    values: dict[str, Any] = {}
    if masks is not None:
        values["traced"] = tuple(_traced(masks, recordings, t, recording) for t in recording.traces)
        values["sizes"] = np.array(counts, dtype=np.intp)
        if recording.is_cine:
            values["systoles"] = source_systoles(values["sizes"])
    if recording.is_cine and networks.regression is not None:
        known = analysis.clips if analysis is not None else {}
        systoles = values.get("systoles", _NO_FRAMES)
        values |= _clips(networks, learned, recording, frames, known, systoles, all_clips)
    return Measured(recording, analysis=analysis, **values), masks


def times_s(recording: Recording) -> FloatArray:
    """(T,) time of every frame in seconds; an unknown rate is taken for the source's 50 per s."""
    if recording.times_s is not None:
        return recording.times_s
    return np.arange(recording.count) / frame_rate(recording)


def frame_rate(recording: Recording) -> float:
    """Frames per second; the source's 50 where it is not known."""
    known = np.isfinite(recording.fps) and recording.fps > 0
    return recording.fps if known else SOURCE_FPS


def mean(values: Iterable[float]) -> float:
    """Mean of the finite values; NaN if there is none."""
    known = np.array([v for v in values if np.isfinite(v)], dtype=np.float64)
    return float(known.mean()) if known.size else float("nan")


def _counting(networks: EchoNetworks, counts: list[int]) -> EchoNetworks:
    """Networks that note the source's size of every frame they segment: logits above 0."""
    network = networks.segmentation
    if network is None:
        return networks

    def counted(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        logits = network(batch)  # (N, 1, H, W)
        counts.extend((logits > 0).sum(axis=(1, 2, 3)).tolist())
        return logits

    return replace(networks, segmentation=counted)


def _analysis(
    networks: EchoNetworks, learned: Learned, recording: Recording, frames: NDArray[np.uint8]
) -> tuple[Analysis | None, NDArray[np.bool_] | None]:
    """The container's analysis without its masks, and the masks."""
    if networks.segmentation is None:
        return None, None
    if not recording.is_cine:
        return None, segment_masks(frames, networks, learned)
    spacing = spacing_cm(recording)
    analysis = analyse(frames, times_s(recording), networks, learned, spacing_cm=spacing)
    masks = analysis.masks
    return replace(analysis, masks=masks[:0]), masks


def spacing_cm(recording: Recording) -> tuple[float, float] | None:
    """Width and height of a pixel, cm; None = not known."""
    side = recording.spacing_mm / 10
    return (side, side) if np.isfinite(side) and side > 0 else None


def _traced(
    masks: NDArray[np.bool_], recordings: Recordings, trace: Trace, recording: Recording
) -> TracedFrame:
    predicted, traced = masks[trace.frame], recordings.mask(trace)
    spacing = spacing_cm(recording)
    volumes = (_volume(traced, spacing), _volume(predicted, spacing))
    return TracedFrame(trace, *overlap(predicted, traced), *volumes)


def _volume(mask: NDArray[np.bool_], spacing: tuple[float, float] | None) -> float:
    try:
        return disk_volume(largest_component(mask), spacing_cm=spacing).volume
    except InputError:
        return float("nan")


def _clips(
    networks: EchoNetworks,
    learned: Learned,
    recording: Recording,
    frames: NDArray[np.uint8],
    known: dict[int, float],
    systoles: Frames,
    all_clips: bool,
) -> dict[str, Any]:
    """EF of the clips that were not read yet: the first, those of the source's beats, or all."""
    config, rate = networks.config, sampling_rate(times_s(recording))
    last = last_clip_start(len(frames), rate, config)
    needed = {0, *clip_starts(systoles, last, R_SCRIPT).tolist()}
    if all_clips:
        needed |= set(all_clip_starts(len(frames), rate, config).tolist())
    starts = sorted(needed - set(known))
    values = learned.recalibrate(networks.ejection_fraction(frames, starts, rate))
    merged = known | dict(zip(starts, map(float, values), strict=True))
    return {"clip_ef": dict(sorted(merged.items())), "last_start": last}
