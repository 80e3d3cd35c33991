"""The films of a case as the platform wants them: points, and measurements."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from medvial.cldetection.config import Config
from medvial.cldetection.intervals import LEVEL
from medvial.cldetection.landmarks import LandmarkSet
from medvial.cldetection.measurements import measure, with_intervals
from medvial.cldetection.postprocess import Film
from medvial.cldetection.predictor import Predictor
from medvial.errors import InputError
from medvial.outputs import read_json
from medvial.stacks import StackInfo, open_stack

log = logging.getLogger(__name__)

PLAUSIBLE_MM_PER_PX = (0.02, 0.5)  # dental films: detectors have 0.05-0.2 mm pixels

PLAUSIBLE_SN_MM = (35.0, 110.0)
"""What a header's millimetres may make of sella-nasion: far beyond the 48 to 69 mm of the 300 films
of ISBI 2015 at their 0.1 mm a pixel. The 72 or 96 pixels per inch that software writes by default
make it twice as long as any on such films."""


@dataclass(frozen=True)
class ImageResult:
    """One image of the case."""

    number: int
    """1-based, counted on across the case's files."""
    slice_index: int
    """0-based, within its file."""
    stack: StackInfo | None
    """The file's header; None where the file could not be opened."""
    mm_per_px: float | None
    film: Film | None
    reason: str | None = None
    """Why there is no film."""
    calibration_note: str | None = None
    """Why the header's millimetres are not believed, where it has some that could be a film's."""


def predict_files(
    predictor: Predictor, paths: list[Path], mm_per_px: "list[float] | None" = None
) -> Iterator[ImageResult]:
    """Predict every image of some files, one at a time; memory does not grow with their number.

    An image that holds no film gives a result with a reason, and the others go on. A file that
    cannot be opened counts as one image: how many it held is not known.

    Args:
        predictor: The model.
        paths: Image files, in order.
        mm_per_px: Millimetres per pixel of every image, or one value for all; None takes the
            files' headers where they are plausible for an X-ray and for the skull on it.

    Raises:
        InputError: The number of calibrations is not that of the images.
    """
    number = 0
    for index, info, image in _images(paths):
        number += 1
        film, reason = None, None
        try:
            if isinstance(image, InputError):
                raise image
            film = predictor(image)
        except InputError as error:
            reason = str(error)
            log.info("Image %d gives no landmarks: %s", number, reason)
        scale = _given(mm_per_px, number)
        note = None
        if scale is None:
            scale, note = _from_header(info, film, predictor.landmark_set)
        yield ImageResult(number, index, info, scale, film, reason, note)
    if mm_per_px is not None and len(mm_per_px) not in (1, number):
        raise InputError(
            f"Expected one calibration in mm per pixel for all or for each of {number} images, "
            f"got {len(mm_per_px)}."
        )


def count_images(paths: list[Path]) -> int:
    """How many images `predict_files` gives, by the headers of the files."""
    total = 0
    for path in paths:
        try:
            total += open_stack(path).info.count
        except InputError:
            total += 1
    return total


def _images(paths: list[Path]) -> Iterator[tuple[int, StackInfo | None, Any]]:
    """Slice index, header, and pixels or the error in their place, of every image."""
    for path in paths:
        try:
            stack = open_stack(path)
        except InputError as error:
            yield 0, None, error
            continue
        with stack:
            for index, image in enumerate(stack):
                yield index, stack.info, image


def read_calibration(path: Path | None) -> list[float] | None:
    """Millimetres per pixel from a JSON file: a number, or a list with one per image.

    Raises:
        InputError: It holds anything else, or a value outside 0.001 to 10 mm.
    """
    if path is None:
        return None
    value = read_json(path)
    values = value if isinstance(value, list) else [value]
    for item in values:
        number = isinstance(item, int | float) and not isinstance(item, bool)
        if not number or not 0.001 <= item <= 10:
            raise InputError(
                f"Expected millimetres per pixel from 0.001 to 10 in {path}, got {item!r}."
            )
    if not values:
        raise InputError(f"Expected millimetres per pixel in {path}, got an empty list.")
    return [float(item) for item in values]


def require_any(results: list[ImageResult]) -> None:
    """Refuse a case of which no image could be used.

    Raises:
        InputError: Every image failed; says why.
    """
    if not any(result.film for result in results):
        reasons = "; ".join(f"image {r.number}: {r.reason}" for r in results[:3])
        raise InputError(f"Expected at least one readable film, got {len(results)}. {reasons}")


def landmark_points(
    results: list[ImageResult], landmark_set: LandmarkSet, config: Config
) -> dict[str, Any]:
    """The platform's `Multiple points`: every landmark of every image, image-major.

    Coordinates are (x, y, image number) in pixels of the given slice with a 1-based number, or
    world millimetres (x, y, z), by `config.coordinates`. An image without a film has no points.
    """
    points = []
    for result in results:
        if result.film is None:
            continue
        for index, name in enumerate(landmark_set.output_names):
            entry: dict[str, Any] = {
                "name": name,
                "point": _coordinates(result, result.film.points[index], config),
            }
            if result.film.probability is not None:
                entry["probability"] = round(float(result.film.probability[index]), 4)
            points.append(entry)
    return {
        "name": "Orthodontic landmarks",
        "type": "Multiple points",
        "points": points,
        "version": {"major": 1, "minor": 0},
    }


def measurement_report(results: list[ImageResult], landmark_set: LandmarkSet) -> dict[str, Any]:
    """The measurements of every image; an image without a film says why."""
    images = []
    for result in results:
        entry: dict[str, Any] = {"image": result.number, "file_slice": result.slice_index + 1}
        if result.film is None:
            entry |= {"status": "failed", "reason": result.reason}
        else:
            entry |= _film_entry(result, result.film, landmark_set)
        images.append(entry)
    return {"landmark_set": landmark_set.name, "images": images}


def _film_entry(result: ImageResult, film: Film, landmark_set: LandmarkSet) -> dict[str, Any]:
    facing: Literal["left", "right"] = "left" if film.mirrored else "right"
    scale = result.mm_per_px
    measured = measure(film.points, landmark_set, scale, facing=facing)
    if film.uncertainty is not None:
        measured = with_intervals(
            measured, film.points, film.uncertainty, landmark_set, scale, facing=facing
        )
    symbols = np.array(landmark_set.symbols)
    return {
        "status": "ok" if film.plausible else "implausible",
        "reason": None
        if film.plausible
        else "the landmarks do not form the shape of a lateral cephalogram: do not use them",
        "facing": facing,
        "corrected_landmarks": symbols[film.corrected].tolist(),
        "mm_per_px": result.mm_per_px,
        **({"calibration_note": result.calibration_note} if result.calibration_note else {}),
        "measurements": [m.as_dict() for m in measured],
        **_regions(film, landmark_set),
    }


def _regions(film: Film, landmark_set: LandmarkSet) -> dict[str, Any]:
    """The ellipses that hold each landmark with 90 %, in pixels; nothing where the model has none.

    They are here because the platform's points have no place for them.
    """
    if film.uncertainty is None:
        return {}
    axes = film.uncertainty.half_axes_px().round(3).tolist()
    regions = [
        {"landmark": symbol, "half_axes_px": pair}
        for symbol, pair in zip(landmark_set.symbols, axes, strict=True)
    ]
    return {"landmark_regions": {"level": LEVEL, "regions": regions}}


def _coordinates(result: ImageResult, point: Any, config: Config) -> list[float]:
    x, y = (float(v) for v in point)
    if config.coordinates == "pixel-stack":
        return [round(x, 3), round(y, 3), result.number]
    stack = result.stack
    assert stack is not None  # an image with a film has a header
    index = np.array([x, y, float(result.slice_index)]) * np.array(stack.spacing_mm)
    world = np.array(stack.origin_mm) + np.array(stack.direction) @ index
    if stack.count == 1:
        world[2] = 0.5  # where the platform's viewer shows points of single images
    return [round(float(v), 3) for v in world]


def _given(mm_per_px: list[float] | None, number: int) -> float | None:
    if mm_per_px is None:
        return None
    return mm_per_px[0] if len(mm_per_px) == 1 else mm_per_px[min(number, len(mm_per_px)) - 1]


def _from_header(
    stack: StackInfo | None, film: Film | None, landmark_set: LandmarkSet
) -> tuple[float | None, str | None]:
    """Millimetres per pixel, None where the header has none for a film; why it is not believed."""
    if stack is None:
        return None, None
    x, y = stack.spacing_mm[:2]
    low, high = PLAUSIBLE_MM_PER_PX
    if not low <= x <= high or abs(x - y) > 1e-3 * x:
        return None, None
    if film is not None and film.plausible and {"S", "N"} <= set(landmark_set.symbols):
        ends = film.points[[landmark_set.index(symbol) for symbol in "SN"]]
        distance = float(np.linalg.norm(ends[1] - ends[0])) * x
        low, high = PLAUSIBLE_SN_MM
        if not low <= distance <= high:
            return None, (
                f"the header's {x:.4g} mm per pixel would make sella-nasion {distance:.0f} mm "
                f"long, expected {low:.0f} to {high:.0f}: give millimetres per pixel as an input"
            )
    return x, None
