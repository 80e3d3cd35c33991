"""What experts marked, read from the challenge's JSON or from a CSV table, and checked."""

import csv
import logging
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medvial.cldetection.landmarks import LandmarkSet
from medvial.errors import InputError
from medvial.outputs import read_json

log = logging.getLogger(__name__)

# CL-Detection 2024 heads its table `image file,spacing(mm),p1x,...`.
COLUMN_SYNONYMS = {"image file": "file", "spacing(mm)": "scale"}
MOST_PX = 1e9  # no film is larger
_COORDINATE = re.compile(r"p(\d+)([xy])")


@dataclass
class Truth:
    """The landmarks of one film."""

    where: str
    """File and row or film number, for messages."""
    points: NDArray[np.float64]
    """(L, 2) as (x, y) in pixels of the full film; NaN where nothing was marked."""
    mm_per_px: float = math.nan
    file: str = ""
    """Its image, as the table names it; empty for a slice of a stack."""
    patient: str = ""
    split: str = ""

    def check_inside(self, width: int, height: int) -> None:
        """Refuse landmarks outside a film of this size, in pixels.

        Raises:
            InputError: Names the landmark, its position and the film.
        """
        low, high = -0.5, np.array([width - 0.5, height - 0.5])  # the edges of the outer pixels
        outside = np.flatnonzero(((self.points < low) | (self.points > high)).any(axis=1))
        if outside.size:
            x, y = self.points[outside[0]]
            raise InputError(
                f"{self.where}: expected landmark {outside[0] + 1} inside the film of {width} x "
                f"{height} pixels (width x height), got ({x:g}, {y:g})."
            )


def read_json_truth(path: Path, landmark_set: LandmarkSet, count: int) -> dict[int, Truth]:
    """Read the truth of a stack in the form of CL-Detection 2023.

    A point is `{"name": 1 or "1" or "S", "point": [x, y, z], "scale": "0.1"}` with z the film's
    number from 1. Points given twice alike are counted and reported, as are missing ones.

    Args:
        path: The JSON file.
        landmark_set: What the names mean.
        count: Number of slices of the stack.

    Returns:
        Truth by film number from 1; films without any point are left out.

    Raises:
        InputError: Names the file, the point and what is wrong with it.
    """
    content = read_json(path)
    points = content.get("points") if isinstance(content, dict) else None
    if not isinstance(points, list) or not points:
        raise InputError(f'{path}: expected a list "points" of landmarks, got none.')
    truth: dict[int, Truth] = {}
    repeated = 0
    for number, point in enumerate(points, start=1):
        where = f"{path}, point {number}"
        index, xy, film, mm_per_px = _read_point(point, landmark_set, count, where)
        of_film = truth.setdefault(film, _no_truth(f"{path}, film {film}", len(landmark_set)))
        repeated += _add(of_film, index, xy, mm_per_px)
    if repeated:
        log.warning("%s: %d points are given twice, alike; one of each is used.", path, repeated)
    _check_complete(path, truth, landmark_set)
    return truth


def _no_truth(where: str, count: int) -> Truth:
    return Truth(where, np.full((count, 2), np.nan))


def _read_point(
    point: Any, landmark_set: LandmarkSet, count: int, where: str
) -> tuple[int, NDArray[np.float64], int, float]:
    """Landmark's index, (x, y), film number from 1, mm per pixel (NaN where not given)."""
    if not isinstance(point, dict) or not {"name", "point"} <= set(point):
        raise InputError(f'{where}: expected {{"name": ..., "point": [x, y, z]}}, got {point!r}.')
    index = _landmark_index(point["name"], landmark_set, where)
    position = point["point"]
    if not isinstance(position, list) or len(position) != 3 or not all(map(_is_finite, position)):
        raise InputError(f"{where}: expected 3 finite numbers [x, y, z], got {position!r}.")
    x, y, z = position
    if z != int(z) or not 1 <= z <= count:
        raise InputError(
            f"{where}: expected z, the film's number, from 1 to {count} (the slices of the stack), "
            f"got {z}."
        )
    scale = read_scale(point.get("scale"), where)
    return index, np.array([x, y], dtype=np.float64), int(z), scale


def _landmark_index(name: Any, landmark_set: LandmarkSet, where: str) -> int:
    text = str(name).strip()
    if text in landmark_set.symbols:
        return landmark_set.symbols.index(text)
    number = text.lstrip("0") if text.isascii() and text.isdigit() else ""
    if number and len(number) < 9 and int(number) <= len(landmark_set):
        return int(number) - 1
    raise InputError(
        f"{where}: expected a landmark of {landmark_set.name}, 1 to {len(landmark_set)}, got name "
        f"{name!r}. Another set? Choose it with --model.landmark_set."
    )


def _is_finite(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < MOST_PX  # also of whole numbers that no float holds; not of NaN


def _add(truth: Truth, index: int, xy: NDArray[np.float64], mm_per_px: float) -> bool:
    """Note one point; whether it was there already, alike."""
    known = np.isfinite(truth.points[index]).all()
    if known and not np.array_equal(truth.points[index], xy):
        raise InputError(
            f"{truth.where}: expected landmark {index + 1} once, got it at "
            f"{tuple(truth.points[index].tolist())} and {tuple(xy.tolist())}."
        )
    if math.isfinite(mm_per_px):
        if math.isfinite(truth.mm_per_px) and truth.mm_per_px != mm_per_px:
            raise InputError(
                f"{truth.where}: expected one scale for all its points, got {truth.mm_per_px:g} "
                f"and {mm_per_px:g} mm per pixel."
            )
        truth.mm_per_px = mm_per_px
    truth.points[index] = xy
    return bool(known)


def read_scale(value: Any, where: str) -> float:
    """Millimetres per pixel out of a number or a text; NaN where nothing is given.

    Raises:
        InputError: It is no finite number above 0.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return math.nan
    try:
        scale = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        scale = math.nan
    if not math.isfinite(scale) or scale <= 0:
        raise InputError(f"{where}: expected scale in mm per pixel above 0, got {value!r}.")
    return scale


def read_csv_truth(path: Path, landmark_set: LandmarkSet) -> list[Truth]:
    """Read a table `file,scale,p1x,p1y,...` with optional columns `patient` and `split`.

    An empty cell is a landmark that was not marked, or an unknown scale.

    Returns:
        Truth in the order of the table.

    Raises:
        InputError: Names the file, the row (from 1, the header's) and what is wrong with it.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [(number, row) for number, row in enumerate(csv.reader(file), 1) if any(row)]
    except OSError as error:
        raise InputError(f"Expected the file {path}, got: {error.strerror}.") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"Expected a CSV table in UTF-8 in {path}, got: {error}.") from None
    if len(rows) < 2:
        raise InputError(f"{path}: expected a header and a row per film, got {len(rows)} row(s).")
    header = [COLUMN_SYNONYMS.get(name.strip(), name.strip()) for name in rows[0][1]]
    _check_header(header, landmark_set, path)
    truth = [_read_row(row, header, landmark_set, f"{path}, row {n}") for n, row in rows[1:]]
    _check_complete(path, dict(enumerate(truth)), landmark_set)
    return truth


def _check_header(header: list[str], landmark_set: LandmarkSet, path: Path) -> None:
    points = [name for name in header if _COORDINATE.fullmatch(name)]
    expected = [f"p{i}{axis}" for i in range(1, len(landmark_set) + 1) for axis in "xy"]
    if "file" not in header or "scale" not in header:
        raise InputError(
            f"{path}: expected the columns file,scale,p1x,p1y,..., got {','.join(header)[:80]}."
        )
    if sorted(points) != sorted(expected):
        raise InputError(
            f"{path}: expected the columns p1x to {expected[-1]} ({len(landmark_set)} landmarks of "
            f"{landmark_set.name}), got {len(points)} coordinate columns"
            f"{' up to ' + points[-1] if points else ''}. Another set? Choose it with "
            "--model.landmark_set."
        )
    if len(set(header)) < len(header):
        raise InputError(f"{path}: expected every column once, got {','.join(header)[:80]}.")


def _read_row(row: list[str], header: list[str], landmark_set: LandmarkSet, where: str) -> Truth:
    if len(row) != len(header):
        raise InputError(f"{where}: expected {len(header)} columns, got {len(row)}.")
    cells: Mapping[str, str] = dict(zip(header, (cell.strip() for cell in row), strict=True))
    if not cells["file"]:
        raise InputError(f"{where}: expected the name of an image in the column file, got none.")
    truth = _no_truth(where, len(landmark_set))
    for index in range(len(landmark_set)):
        x, y = (_coordinate(cells, f"p{index + 1}{axis}", where) for axis in "xy")
        if math.isnan(x) != math.isnan(y):
            raise InputError(f"{where}: expected both coordinates of landmark {index + 1} or none.")
        truth.points[index] = x, y
    truth.mm_per_px = read_scale(cells["scale"], where)
    truth.file = cells["file"]
    truth.patient = cells.get("patient", "")
    truth.split = cells.get("split", "")
    return truth


def _coordinate(cells: Mapping[str, str], name: str, where: str) -> float:
    text = cells[name]
    if text.lower() in ("", "nan"):
        return math.nan
    try:
        value = float(text)
    except ValueError:
        value = math.inf
    if not math.isfinite(value):
        raise InputError(f"{where}: expected {name} in pixels or nothing, got {text!r}.")
    return value


def _check_complete(path: Path, truth: Mapping[int, Truth], landmark_set: LandmarkSet) -> None:
    """Report missing landmarks; refuse a truth in which one is missing throughout."""
    known = np.stack([np.isfinite(film.points).all(axis=1) for film in truth.values()])
    never = np.flatnonzero(~known.any(axis=0))
    if never.size:
        raise InputError(
            f"{path}: expected {len(landmark_set)} landmarks ({landmark_set.name}), but landmark "
            f"{never[0] + 1} ({landmark_set.symbols[never[0]]}) is marked on no film. Another set? "
            "Choose it with --model.landmark_set."
        )
    missing = int((~known).sum())
    if missing:
        films = int((~known).any(axis=1).sum())
        log.warning("%s: %d landmarks are missing on %d film(s).", path, missing, films)
