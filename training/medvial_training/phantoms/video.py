"""Phantoms of video classification: a shape that moves in one of six ways, as folders of frames.

Drawn shapes: they show that a pipeline works and say nothing about any real video. The middle
frame alone does not tell the class, for shape, colour, size, place and background are drawn apart
from it; nor does mirroring a video change it.

    python -m medvial_training.phantoms.video --out data/phantom --count 60
"""

import logging
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from medvial.errors import InputError
from medvial.outputs import write_bytes, write_json
from medvial_training.cli import run_command
from medvial_training.tables import write_csv

log = logging.getLogger(__name__)

CLASSES = ("crosses", "falls", "grows", "rises", "shrinks", "stays")
IMAGES, TRUTH, MARKER = "phantom_images", "phantom_groundtruth.csv", "PHANTOM.json"
SHAPE = (96, 128)  # rows, columns
QUALITY = 90  # of the JPEG files
DESCRIPTION = (
    "Drawn shapes that move in one of six ways. They test software and say nothing about any real "
    "video."
)


def write_videos(out: Path, *, count: int = 60, seed: int = 1, frames: int = 24) -> None:
    """Write folders of JPEG frames and a table of their classes.

    Leaves phantom_images/<video>/frameNN.jpg (128 x 96), phantom_groundtruth.csv (youtube_id,
    folder_name, label) and PHANTOM.json, which marks the folder as phantoms.

    Args:
        out: Folder to write to.
        count: Number of videos; the classes take turns.
        seed: Same seed, same files.
        frames: Frames of a video.
    """
    if count < 1 or frames < 2:
        raise InputError(
            f"Expected at least one video and 2 frames, got {count} videos of {frames} frames."
        )
    rows = []
    for number in range(count):
        name, label = f"phantom{number + 1:05d}", CLASSES[number % len(CLASSES)]
        video = make_video(label, [seed, number], frames)
        for place, frame in enumerate(video):
            coded = cv2.imencode(".jpg", frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
            write_bytes(out / IMAGES / name / f"frame{place:02d}.jpg", coded.tobytes())
        rows.append([name, name, label])
    write_csv(out / TRUTH, ["youtube_id", "folder_name", "label"], rows)
    marker = {"phantom": True, "description": DESCRIPTION, "count": count, "seed": seed}
    write_json(out / MARKER, marker)
    log.info("%d phantom videos in %s. %s", count, out, DESCRIPTION)


def make_video(label: str, seed: int | list[int], frames: int = 24) -> NDArray[np.uint8]:
    """One video.

    Args:
        label: One of `CLASSES`.
        seed: Of shape, colour, size, place, speed, background and noise.
        frames: Their number, T.

    Returns:
        (T, 96, 128, 3) uint8 RGB.
    """
    rng = np.random.default_rng(seed)
    height, width = SHAPE
    colour = rng.uniform(120, 255, 3)
    angle, sides = rng.uniform(0, 2 * np.pi), int(rng.integers(3, 9))
    way = np.linspace(-0.5, 0.5, frames) * rng.uniform(0.7, 1.0)  # from end to end of its motion
    middle = np.array([width / 2, height / 2]) + rng.uniform(-14, 14, 2)
    steps, size = np.zeros((frames, 2)), np.full(frames, rng.uniform(9, 18))
    if label == "crosses":
        steps[:, 0] = way * 80 * rng.choice([-1, 1])
    elif label in ("falls", "rises"):
        steps[:, 1] = way * 60 * (1 if label == "falls" else -1)
    elif label in ("grows", "shrinks"):
        size = size * np.exp(1.4 * way * (1 if label == "grows" else -1))
    background = _background(rng)
    video = np.stack(
        [
            _draw(background, middle + step, radius, angle, sides, colour)
            for step, radius in zip(steps, size, strict=True)
        ]
    )
    noisy = video + rng.normal(0, 4, video.shape)
    return np.asarray(noisy.clip(0, 255), dtype=np.uint8)


def _background(rng: np.random.Generator) -> NDArray[np.float32]:
    """(96, 128, 3) soft, dark colours."""
    coarse = rng.uniform(0, 110, (3, 4, 3)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, SHAPE[::-1], interpolation=cv2.INTER_LINEAR), np.float32)


def _draw(
    background: NDArray[np.float32],
    middle: NDArray[np.float64],
    radius: float,
    angle: float,
    sides: int,
    colour: NDArray[np.float64],
) -> NDArray[np.float32]:
    """A regular polygon about a point (x, y), its edge between pixels."""
    turns = angle + 2 * np.pi * np.arange(sides) / sides
    corners = middle + radius * np.stack([np.cos(turns), np.sin(turns)], axis=1)
    points = np.rint(corners * 16).astype(np.int32)
    mask = np.zeros(SHAPE, np.uint8)
    cv2.fillPoly(mask, [points], 255, lineType=cv2.LINE_AA, shift=4)
    share = mask[..., None].astype(np.float32) / 255
    return np.asarray(background * (1 - share) + colour * share, dtype=np.float32)


def main(arguments: list[str] | None = None) -> int:
    """The command line.

    Args:
        arguments: Without the program's name; None takes the process's.

    Returns:
        Exit code: 0, or 1 after one line that says what is wrong.
    """
    return run_command(write_videos, arguments, as_positional=False)


if __name__ == "__main__":
    raise SystemExit(main())
