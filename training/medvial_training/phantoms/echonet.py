"""Phantoms of apical four-chamber cines with analytic volumes, in the form of EchoNet-Dynamic.

Drawn hearts, not ultrasound of people: they show that a pipeline works and say nothing about
clinical accuracy. The left ventricle is half an ellipsoid whose volume in each frame is known
exactly, and so are its mask, its tracings, end-diastoles and end-systoles.

    python -m medvial_training.phantoms.echonet --out data/phantom --count 40
"""

import csv
import io
import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from medvial.errors import InputError
from medvial.outputs import write_bytes, write_json
from medvial_training.cli import run_command
from medvial_training.phantoms.echo_cine import FRAMES, Phantom, make_cine
from medvial_training.phantoms.echo_files import write_avi
from medvial_training.processes import worker_pool

__all__ = ["Phantom", "make_cine", "write_echonet"]

log = logging.getLogger(__name__)

MARKER, FILE_LIST, TRACINGS, TRUTH = (
    *("PHANTOM.json", "FileList.csv", "VolumeTracings.csv"),
    "PhantomTruth.csv",
)
DESCRIPTION = (
    "Drawn phantoms of apical four-chamber echocardiograms with analytic volumes. They test "
    "software and say nothing about clinical accuracy."
)
SPLITS = (("TEST", 0.127), ("VAL", 0.129), ("TRAIN", 1.0))  # share of the videos; TRAIN: the rest
LIST_FIELDS = (
    *("FileName", "EF", "ESV", "EDV"),
    *("FrameHeight", "FrameWidth", "FPS", "NumberOfFrames", "Split"),
)
TRUTH_FIELDS = ("FileName", "HeartRate", "Rhythm", "SpacingCm", "EDFrames", "ESFrames")


def write_echonet(
    out: Path,
    *,
    count: int = 40,
    seed: int = 1,
    mean_frames: int = FRAMES,
    workers: int = 2,
) -> None:
    """Write phantom cines in the form of EchoNet-Dynamic.

    Leaves Videos/*.avi (Motion JPEG, 112 x 112), FileList.csv (names without .avi, as in the
    release), VolumeTracings.csv (names with it; 21 rows a frame, axis first), PHANTOM.json, which
    marks the folder as phantoms, and PhantomTruth.csv, which the release does not have: heart rate,
    rhythm, cm per pixel, all end-diastoles and end-systoles. In half of the videos the tracing of
    the end-systole comes first.

    Args:
        out: Folder to write to.
        count: Number of videos, each of its own subject.
        seed: Same seed, same files.
        mean_frames: Mean number of frames of a video; EchoNet-Dynamic's is 176.
        workers: Processes that draw.
    """
    if count < 1 or mean_frames < 28 or workers < 1:
        raise InputError(
            "Expected at least one video, 28 frames a video and one process, got "
            f"{count} videos of {mean_frames} frames, {workers} processes."
        )
    (out / "Videos").mkdir(parents=True, exist_ok=True)
    marker = {"phantom": True, "description": DESCRIPTION, "count": count, "seed": seed}
    write_json(out / MARKER, marker)
    splits = _splits(count, seed)
    job = partial(_write_video, out, seed, mean_frames)
    with worker_pool(workers) as pool:
        done = pool.map(job, range(1, count + 1))
        rows = list(tqdm(done, desc="Drawing", unit="video", total=count, disable=None))
    listed = [[*row.listed, split] for row, split in zip(rows, splits, strict=True)]
    _write_csv(out / FILE_LIST, list(LIST_FIELDS), listed)
    _write_csv(
        out / TRACINGS,
        ["FileName", "X1", "Y1", "X2", "Y2", "Frame"],
        [line for row in rows for line in row.traced],
    )
    _write_csv(out / TRUTH, list(TRUTH_FIELDS), [row.truth for row in rows])
    log.info("%d phantom cines in %s. %s", count, out, DESCRIPTION)


@dataclass(frozen=True)
class _Rows:
    """A video's lines in the tables."""

    listed: list[object]
    traced: list[list[object]]
    truth: list[object]


def _write_video(out: Path, seed: int, mean_frames: int, number: int) -> _Rows:
    cine = make_cine([seed, number], mean_frames=mean_frames)
    name = f"0XPHANTOM{number:05d}"
    write_avi(out / "Videos" / f"{name}.avi", cine.frames, cine.fps)
    count, height, width = cine.frames.shape
    order = (0, 1) if number % 2 else (1, 0)
    traced: list[list[object]] = [
        [f"{name}.avi", *(f"{v:.4f}" for v in line.reshape(-1)), cine.traced[k]]
        for k in order
        for line in cine.tracings[k]
    ]
    return _Rows(
        [name, cine.ef_percent, cine.esv_ml, cine.edv_ml, height, width, cine.fps, count],
        traced,
        [
            *(name, cine.heart_rate_bpm, cine.rhythm, cine.spacing_cm),
            *(" ".join(map(str, cine.ed_frames)), " ".join(map(str, cine.es_frames))),
        ],
    )


def _splits(count: int, seed: int) -> list[str]:
    """TRAIN, VAL or TEST of each video, in EchoNet-Dynamic's shares; one of each from 3 on."""
    splits: list[str] = []
    for name, share in SPLITS:
        size = max(1, round(share * count)) if name != "TRAIN" else count
        splits += [name] * min(size, count - len(splits))
    if count < 3:
        splits = ["TRAIN"] * count
    order = np.random.default_rng([seed, 0]).permutation(count)
    return [splits[k] for k in order]


def _write_csv(path: Path, fields: list[str], rows: list[list[object]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(fields)
    writer.writerows(rows)
    write_bytes(path, text.getvalue().encode())


def main(arguments: list[str] | None = None) -> int:
    """The command line.

    Args:
        arguments: Without the program's name; None takes the process's.

    Returns:
        Exit code: 0, or 1 after one line that says what is wrong.
    """
    return run_command(write_echonet, arguments, as_positional=False)


if __name__ == "__main__":
    raise SystemExit(main())
