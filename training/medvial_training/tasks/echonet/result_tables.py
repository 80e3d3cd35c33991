"""What step 3 leaves as tables: the source's files, as it wrote them, and readable ones."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medvial.outputs import write_bytes
from medvial_training.tasks.echonet.dice import per_video
from medvial_training.tasks.echonet.measure import Measured, times_s
from medvial_training.tasks.echonet.scores import EjectionFractions, overlaps
from medvial_training.tasks.echonet.script_files import SIZE_COLUMNS

DICE_HEADER = "Filename, Overall, Large, Small"  # with the source's blanks


def write_tables(out: Path, split: str, measured: list[Measured], ef: EjectionFractions) -> None:
    """Write the source's size.csv, dice and predictions, per_video.csv, and beats.csv if any."""
    write_size(out / "size.csv", measured)
    name = {"valid": "val"}.get(split, split)  # the source's word
    write_dice(out / f"{name}_dice.csv", measured)
    write_predictions(out / f"{name}_predictions.csv", measured)
    write_table(out / "per_video.csv", video_rows(measured, ef))
    beats = beat_rows(measured)
    if beats:
        write_table(out / "beats.csv", beats)
    else:  # none of an earlier test either
        (out / "beats.csv").unlink(missing_ok=True)


def write_size(path: Path, measured: list[Measured]) -> None:
    """The source's size.csv: one row a frame, its end-systoles by the source's rule."""
    rows: list[tuple[Any, ...]] = []
    for m in measured:
        large, small = m.recording.trace("ED"), m.recording.trace("ES")
        systoles = set(m.systoles.tolist())
        rows += [
            (
                source_name(m),
                frame,
                size,
                int(large is not None and large.frame == frame),
                int(small is not None and small.frame == frame),
                int(frame in systoles),
            )
            for frame, size in enumerate(m.sizes.tolist())
        ]
    _write(path, pd.DataFrame(rows, columns=list(SIZE_COLUMNS)))


def write_dice(path: Path, measured: list[Measured]) -> None:
    """The source's dice file: Dice of every video, 0 to 1, nan where nothing was traced."""
    names = {m.recording.video: source_name(m) for m in measured}
    lines = [DICE_HEADER]
    for row in per_video(overlaps(measured)):
        values = (str(row[name]) for name in ("overall", "large", "small"))
        lines.append(",".join([names[row["video"]], *values]))
    write_bytes(path, ("\n".join(lines) + "\n").encode())


def write_predictions(path: Path, measured: list[Measured]) -> None:
    """The source's predictions: file, start of the clip, EF, without header.

    Only the clips that were computed: all of them with `all_clips`, else the first one and those
    that beats need.
    """
    lines = [f"{source_name(m)},{start},{ef:.4f}\n" for m in measured for start, ef in _clips(m)]
    write_bytes(path, "".join(lines).encode())


def video_rows(measured: list[Measured], ef: EjectionFractions) -> list[dict[str, Any]]:
    """One row a video: the truth, the result by every method, and Dice."""
    dice = {row["video"]: row for row in per_video(overlaps(measured))}
    rows = []
    for index, m in enumerate(measured):
        analysis = m.analysis
        low, high = (analysis.interval if analysis else None) or (None, None)
        own = dice.get(m.recording.video, {})
        rows.append(
            {
                "video": m.recording.video,
                "patient": m.recording.patient,
                "frames": m.recording.count,
                "fps": m.recording.fps,
                "ef_true": m.recording.ef,
                **{f"ef_{name}": values[index] for name, values in ef.predicted.items()},
                "ef_low": low,
                "ef_high": high,
                "beats": len(analysis.beats) if analysis else None,
                "complete_beats": len(analysis.complete_beats) if analysis else None,
                "heart_rate_bpm": analysis.rhythm.heart_rate_bpm if analysis else None,
                **{f"dice_{name}": own.get(name) for name in ("overall", "large", "small")},
            }
        )
    return rows


def beat_rows(measured: list[Measured]) -> list[dict[str, Any]]:
    """One row a beat: its frames from 0 and times, and its EF by clip and by masks, percent.

    `es_seen` beats make the video's result; those with both ends seen its EF by masks.
    """
    rows = []
    for m in measured:
        for number, result in enumerate(m.analysis.beats if m.analysis else [], start=1):
            times = times_s(m.recording)
            rows.append(
                {
                    "video": m.recording.video,
                    "beat": number,
                    "ed_frame": result.beat.ed,
                    "es_frame": result.beat.es,
                    "ed_s": round(float(times[result.beat.ed]), 4),
                    "es_s": round(float(times[result.beat.es]), 4),
                    "ed_seen": result.beat.ed_seen,
                    "es_seen": result.beat.es_seen,
                    "clip_start": result.clip_start,
                    "ef": result.ejection_fraction,
                    "ef_masks": result.ejection_fraction_from_masks,
                }
            )
    return rows


def write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    """Rows as CSV, whole or not at all; empty where a value is missing; at most 4 decimals."""
    _write(path, pd.DataFrame(rows).round(4))


def source_name(measured: Measured) -> str:
    """The video's name as the source writes it, with .avi."""
    return f"{measured.recording.video.removesuffix('.avi')}.avi"


def _clips(measured: Measured) -> list[tuple[int, float]]:
    return [(s, ef) for s, ef in sorted(measured.clip_ef.items()) if np.isfinite(ef)]


def _write(path: Path, table: pd.DataFrame) -> None:
    write_bytes(path, table.to_csv(index=False, lineterminator="\n").encode())
