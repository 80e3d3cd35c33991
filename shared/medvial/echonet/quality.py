"""What a reader should know before believing a result: flags with a reason each."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medvial.cine import CineInfo
from medvial.echonet.analysis import Analysis
from medvial.echonet.clips import clip_offsets, time_gaps
from medvial.echonet.config import Config
from medvial.echonet.sector import Sector

MIN_FOUND = 0.5  # share of frames with a ventricle: below it beats are not sought either
MIN_BEATS = 2
MAX_AT_EDGE = 0.2  # share of the frames with a ventricle whose mask touches the sector's edge
EDGE_PIXELS = 3  # of a mask on the sector's border: fewer touch it by chance
FPS_RANGE = (18.0, 138.0)  # of EchoNet-Dynamic's videos: what such networks were trained on
MAX_DURATION_S = 60.0
UNUSABLE = frozenset({"left-ventricle-not-found", "nothing-moves"})  # the result is a guess
MIN_MOVEMENT = (
    1.0  # grey levels that a pixel's values span, on average: compression alone does less
)
MAX_DISAGREEMENT = 10.0  # points of ejection fraction between the network and the masks


@dataclass(frozen=True)
class Flag:
    """One reason for doubt."""

    name: str
    """Fixed, for programs."""
    message: str
    """For people."""

    def as_dict(self) -> dict[str, str]:
        """JSON-ready."""
        return {"flag": self.name, "message": self.message}


def source_flags(info: CineInfo, sector: Sector) -> list[Flag]:
    """What the file itself says against a result.

    Args:
        info: Of the cine, read to its end.
        sector: Found in it.
    """
    flags = []
    if not info.fps_known:
        flags.append(
            Flag(
                "frame-rate-unknown",
                f"the file does not say its frame rate, {info.fps:g} per second was taken: heart "
                "rate, and the clips that the network reads, may be wrong",
            )
        )
    flags += _time_gap(info)
    if not sector.found:
        flags.append(Flag("sector-not-found", "no ultrasound sector was found in the frames"))
    flags += [Flag("colour", note) for note in sector.notes if note.startswith("Colour")]
    flags += [Flag("damaged", note) for note in info.notes if note.startswith("Damaged")]
    return flags


def _time_gap(info: CineInfo) -> list[Flag]:
    times_s = np.array(info.frame_times_s or ())
    gaps = time_gaps(times_s)
    if not len(gaps):
        return []
    first = int(gaps[0])
    more = f" ({len(gaps)} such gaps in all)" if len(gaps) > 1 else ""
    return [
        Flag(
            "time-gap",
            f"the frames' times jump by {times_s[first] - times_s[first - 1]:.4g} s after frame "
            f"{first}{more}: no beat is sought across it, and clips of the network near it show "
            "one frame for long",
        )
    ]


def movement_flags(frames: NDArray[np.uint8]) -> list[Flag]:
    """Whether a cine, (T, H, W) at the network's size, is one picture over and over."""
    if float(np.mean(frames.max(axis=0) - frames.min(axis=0))) >= MIN_MOVEMENT:
        return []
    return [Flag("nothing-moves", "all frames show the same: there is no beat to measure")]


def quality_flags(
    analysis: Analysis, sector_mask: NDArray[np.bool_] | None, config: Config
) -> list[Flag]:
    """Everything that speaks against the result of a cine.

    Args:
        analysis: Of the cine.
        sector_mask: (H, W) at the network's size, where the ultrasound sector is; None where it
            was not found.
        config: The model's; gives the length of a clip.
    """
    candidates = [
        _not_found(analysis),
        _few_beats(analysis),
        _touches_edge(analysis, sector_mask),
        _frame_rate(analysis),
        _short(analysis, config),
        _long(analysis),
        _irregular(analysis),
        _disagreement(analysis),
    ]
    return [flag for flag in candidates if flag is not None]


def found_share(analysis: Analysis) -> float:
    """Share of the frames in which a left ventricle was found, 0 to 1."""
    return float(np.mean(analysis.area_px > 0))


def _not_found(analysis: Analysis) -> Flag | None:
    share = found_share(analysis)
    if share > MIN_FOUND:
        return None
    return Flag(
        "left-ventricle-not-found",
        f"a left ventricle was found in {share:.0%} of the frames, not in more than "
        f"{MIN_FOUND:.0%}: this may be no apical four-chamber view",
    )


def _few_beats(analysis: Analysis) -> Flag | None:
    count = len(analysis.complete_beats)
    if count >= MIN_BEATS:
        return None
    how = "" if analysis.from_beats else "; the ejection fraction is that of evenly spaced clips"
    return Flag("few-beats", f"{count} complete beats were found, fewer than {MIN_BEATS}{how}")


def _touches_edge(analysis: Analysis, sector_mask: NDArray[np.bool_] | None) -> Flag | None:
    found = analysis.area_px > 0
    if sector_mask is None or not found.any():
        return None
    border = sector_mask & ~_eroded(sector_mask)
    touching = (analysis.masks[found] & border).sum(axis=(1, 2)) >= EDGE_PIXELS
    share = float(touching.mean())
    if share <= MAX_AT_EDGE:
        return None
    return Flag(
        "touches-sector-edge",
        f"the left ventricle touches the sector's edge in {share:.0%} of the frames: it may be "
        "cut off, and volumes too small",
    )


def _frame_rate(analysis: Analysis) -> Flag | None:
    low, high = FPS_RANGE
    if low <= analysis.fps <= high or not np.isfinite(analysis.fps):
        return None
    return Flag(
        "frame-rate",
        f"{analysis.fps:.1f} frames per second; the method is meant for {low:g} to {high:g}",
    )


def _short(analysis: Analysis, config: Config) -> Flag | None:
    needed = int(clip_offsets(analysis.fps, config)[-1]) + 1
    count = len(analysis.area_px)
    if count >= needed:
        return None
    return Flag(
        "short",
        f"{count} frames; the network looks at {needed}: the rest was filled with mean grey",
    )


def _long(analysis: Analysis) -> Flag | None:
    duration = len(analysis.area_px) / analysis.fps if analysis.fps > 0 else 0.0
    if duration <= MAX_DURATION_S:
        return None
    return Flag("long", f"{duration:.0f} s; a cine of more than {MAX_DURATION_S:g} s is unusual")


def _irregular(analysis: Analysis) -> Flag | None:
    rhythm = analysis.rhythm
    if not rhythm.irregular or rhythm.rr_sd_s is None:
        return None
    return Flag(
        "irregular-rhythm",
        f"the time between beats varies by {1000 * rhythm.rr_sd_s:.0f} ms (SD): one beat says "
        "little, and the mean of few not much more",
    )


def _disagreement(analysis: Analysis) -> Flag | None:
    network, masks = analysis.ejection_fraction, analysis.ejection_fraction_from_masks
    if network is None or masks is None or abs(network - masks) <= MAX_DISAGREEMENT:
        return None
    return Flag(
        "video-and-masks-disagree",
        f"ejection fraction {network:.0f} % from the video and {masks:.0f} % from the masks, more "
        f"than {MAX_DISAGREEMENT:g} points apart",
    )


def _eroded(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask without its border pixels; what is outside of the image counts as outside."""
    padded = np.pad(mask, 1)
    return (
        padded[1:-1, 1:-1]
        & padded[:-2, 1:-1]
        & padded[2:, 1:-1]
        & padded[1:-1, :-2]
        & (padded[1:-1, 2:])
    )
