"""Phantoms of lateral cephalograms with 38 landmarks, in the form of CL-Detection 2023.

Drawn heads, not X-rays of people: they show that a pipeline works and say nothing about clinical
accuracy. The landmarks are known exactly (sub-pixel), so an error is the pipeline's own. Those of
paired structures lie on the near, denser contour of the jaw, not between the two sides.

    python -m medvial_training.phantoms.cldetection --out data/phantom --count 40 --height 600
"""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medvial.errors import InputError
from medvial.metaimage_writer import ImageGeometry, MetaImageWriter
from medvial_training.cli import run_command
from medvial_training.phantoms.cephalogram_draw import Exposure, draw_film
from medvial_training.phantoms.cephalogram_shape import Head, Points, sample_head

log = logging.getLogger(__name__)

STACK, TRUTH, MARKER = "train_stack.mha", "train-gt.json", "PHANTOM.json"
DESCRIPTION = (
    "Drawn phantoms of lateral cephalograms with analytic landmarks. They test software and say "
    "nothing about clinical accuracy."
)
FULL_HEIGHT, FULL_WIDTH, FULL_PAD_WIDTH = 2400, 1935, 2880  # CL-Detection 2023, in pixels
SCALES_MM = (0.1, 0.096, 0.125)  # mm per pixel at full size, as in the challenge's data
MIN_SIZE_PX = 64
MARGIN = 0.02  # of the film's height: landmarks keep this far from its edge
SIZE_SD, POSE_SD_DEG = 0.035, 3.0
GRAIN_SD = 2.0  # grey values


@dataclass(frozen=True)
class _Device:
    """A film's field of view, relative to the largest film."""

    scale_mm: float
    height: float
    width: float


DEVICES = (
    _Device(0.1, 1.0, 1.0),
    _Device(0.096, 1.0, 1.0),
    _Device(0.125, 0.84, 0.88),
)


def make_phantom(
    seed: int,
    height: int = FULL_HEIGHT,
    width: int = FULL_WIDTH,
    facing: Literal["right", "left"] = "right",
    *,
    mm_per_px: float | None = None,
    grain: float = GRAIN_SD,
) -> tuple[NDArray[np.uint8], Points, float]:
    """Draw one subject.

    Args:
        seed: Same seed and size, same film.
        height: Rows of the film.
        width: Columns of the film.
        facing: Where the face looks; "left" is the mirrored film of "right".
        mm_per_px: Side of a pixel in mm; None picks 0.1, 0.096 or 0.125 by the seed, times the
            factor that a film smaller than 2400 x 1935 needs.
        grain: Mean standard deviation of the film grain, in grey values.

    Returns:
        The film, (height, width) uint8 in 6..255; the landmarks, (38, 2) float64 as (x, y) in
        pixels with the first pixel's centre at (0, 0), in the challenge's order; mm per pixel.

    Raises:
        InputError: The film is smaller than 64 px, or `facing` is unknown.
    """
    if min(height, width) < MIN_SIZE_PX or facing not in ("right", "left"):
        raise InputError(
            f"Expected a film of at least {MIN_SIZE_PX} x {MIN_SIZE_PX} pixels that faces right or "
            f"left, got {width} x {height} (width x height), {facing}."
        )
    rng = np.random.default_rng(seed)
    scale = float(rng.choice(SCALES_MM))
    mm_per_px = mm_per_px or scaled_mm(scale, height, width)
    head = _place(sample_head(rng), height, width, mm_per_px, rng)
    image = draw_film(head, height, width, mm_per_px, Exposure.sample(rng, grain), rng)
    points = head.landmarks
    if facing == "left":
        image = np.ascontiguousarray(image[:, ::-1])
        points = points * (-1, 1) + (width - 1, 0)
    return image, points, mm_per_px


def scaled_mm(full_scale_mm: float, height: int, width: int) -> float:
    """Scale in mm per pixel that shows the field of a 2400 x 1935 film in fewer pixels."""
    factor = max(FULL_HEIGHT / height, FULL_WIDTH / width)
    return float(f"{full_scale_mm * factor:.5g}")


def _place(head: Head, height: int, width: int, mm_per_px: float, rng: np.random.Generator) -> Head:
    """Size, pose and position on the film; the head's millimetres become film pixels."""
    factor = (1 + SIZE_SD * float(np.clip(rng.standard_normal(), -2.5, 2.5))) / mm_per_px
    angle = np.deg2rad(POSE_SD_DEG * float(np.clip(rng.standard_normal(), -2.5, 2.5)))
    cos, sin = np.cos(angle), np.sin(angle)
    matrix = factor * np.array([[cos, sin], [-sin, cos]])
    sella = np.array([0.39 * width, 0.42 * height]) + rng.normal(0, 0.012, 2) * (width, height)
    points = head.landmarks @ matrix + sella
    margin = MARGIN * height
    low = np.maximum(margin - points.min(axis=0), 0)
    high = np.maximum(points.max(axis=0) + margin - (width - 1, height - 1), 0)
    shift = sella + low - high
    return Head(
        head.landmarks @ matrix + shift,
        {name: contour @ matrix + shift for name, contour in head.contours.items()},
        tuple(body @ matrix + shift for body in head.vertebrae),
    )


def write_phantoms(
    out: Path,
    *,
    count: int = 40,
    seed: int = 1,
    height: int = FULL_HEIGHT,
    width: int | None = None,
    pad_height: int | None = None,
    pad_width: int | None = None,
    compressed: bool = True,
    left_facing: tuple[int, ...] = (),
    black: tuple[int, ...] = (),
    grain: float = GRAIN_SD,
) -> None:
    """Write phantom films in the form of CL-Detection 2023.

    Leaves train_stack.mha (N, pad_height, pad_width, 3) uint8, films of different sizes padded with
    zeros at the bottom and right; train-gt.json with integer names, [x, y, z] (z = film number from
    1) and a string scale per point; PHANTOM.json, which marks the folder as phantoms. The
    challenge's coordinates are integers; these are the exact positions, not rounded.

    Args:
        out: Folder to write to.
        count: Number of films.
        seed: Same seed and sizes, same files.
        height: Rows of the largest film, in pixels; 2400 is the challenge's.
        width: Columns of the largest film, in pixels; in proportion to the rows if not given.
        pad_height: Rows of a padded slice, in pixels; `height` if not given.
        pad_width: Columns of a padded slice, in pixels; 2880 at the challenge's size, in proportion
            at others, if not given.
        compressed: Compress the stack with zlib.
        left_facing: Numbers, from 1, of films that face left.
        black: Numbers, from 1, of slices that are all black; they have no landmarks.
        grain: Mean standard deviation of the film grain, in grey values.
    """
    width = width or round(height * FULL_WIDTH / FULL_HEIGHT)
    pad_height = pad_height or height
    pad_width = pad_width or max(width, round(width * FULL_PAD_WIDTH / FULL_WIDTH))
    if count < 1 or pad_height < height or pad_width < width:
        raise InputError(
            f"Expected at least one film and slices not smaller than the films, got {count} films "
            f"of {width} x {height} in slices of {pad_width} x {pad_height} (width x height)."
        )
    out.mkdir(parents=True, exist_ok=True)
    _write_json(
        out / MARKER, {"phantom": True, "description": DESCRIPTION, "count": count, "seed": seed}
    )
    points: list[dict[str, Any]] = []
    geometry = ImageGeometry((pad_width, pad_height, count))
    with MetaImageWriter(
        out / STACK, geometry, channels=3, compressed=compressed, level=1
    ) as stack:
        for number in range(1, count + 1):
            if number in black:
                stack.write(np.zeros((pad_height, pad_width, 3), np.uint8))
                continue
            facing: Literal["right", "left"] = "left" if number in left_facing else "right"
            film, truth, mm = _film(seed, number, height, width, facing, grain)
            stack.write(_padded(film, pad_height, pad_width))
            points += _truth(truth, number, mm)
    _write_json(
        out / TRUTH,
        {
            "name": "Orthodontic landmarks",
            "type": "Multiple points",
            "points": points,
            "version": {"major": 1, "minor": 0},
        },
    )
    log.info("%d phantom films in %s. %s", count, out, DESCRIPTION)


def write_test_stack(
    path: Path, seed: int = 2023, *, count: int = 2, left_facing: tuple[int, ...] = ()
) -> None:
    """Write the container's test input: slices of (2400, 2880, 3) uint8, below 1.5 MB each.

    Args:
        path: The .mha file.
        seed: Same seed, same file.
        count: Number of slices.
        left_facing: Numbers, from 1, of slices that face left.
    """
    geometry = ImageGeometry((FULL_PAD_WIDTH, FULL_HEIGHT, count))
    with MetaImageWriter(path, geometry, channels=3, level=9) as stack:
        for number in range(1, count + 1):
            facing: Literal["right", "left"] = "left" if number in left_facing else "right"
            film, _, _ = _film(seed, number, FULL_HEIGHT, FULL_WIDTH, facing, grain=0.0)
            # No grain and even grey values: such films compress twenty times better.
            even = film & np.uint8(0xFE)
            stack.write(_padded(even, FULL_HEIGHT, FULL_PAD_WIDTH))


def _film(
    seed: int, number: int, height: int, width: int, facing: Literal["right", "left"], grain: float
) -> tuple[NDArray[np.uint8], Points, float]:
    """Film `number` of a set: its device gives its size and scale."""
    rng = np.random.default_rng([seed, number])
    device = DEVICES[int(rng.integers(len(DEVICES)))]
    trim = rng.uniform(0.97, 1.0, 2)
    return make_phantom(
        int(rng.integers(2**63)),
        round(height * device.height * trim[0]),
        round(width * device.width * trim[1]),
        facing,
        mm_per_px=scaled_mm(device.scale_mm, height, width),
        grain=grain,
    )


def _padded(film: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    slice_ = np.zeros((height, width, 3), np.uint8)
    slice_[: film.shape[0], : film.shape[1]] = film[:, :, None]
    return slice_


def _truth(points: Points, number: int, mm_per_px: float) -> list[dict[str, Any]]:
    scale = f"{mm_per_px:.5g}"
    return [
        {"name": name, "point": [float(x), float(y), number], "scale": scale}
        for name, (x, y) in enumerate(points, start=1)
    ]


def _write_json(path: Path, value: dict[str, Any]) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(value, indent=1, allow_nan=False), encoding="utf-8")
    part.replace(path)


def main(arguments: list[str] | None = None) -> int:
    """The command line.

    Args:
        arguments: Without the program's name; None takes the process's.

    Returns:
        Exit code: 0, or 1 after one line that says what is wrong.
    """
    return run_command(write_phantoms, arguments, as_positional=False)


if __name__ == "__main__":
    raise SystemExit(main())
