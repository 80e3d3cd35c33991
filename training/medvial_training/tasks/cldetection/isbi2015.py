r"""The films of the ISBI 2015 challenge as a table for step 1.

    python -m medvial_training.tasks.cldetection.isbi2015 ISBI_FOLDER isbi.csv
    python training/step1_preprocess.py --source ISBI_FOLDER --labels isbi.csv \
        --model.landmark_set isbi-19

Films are not copied. The reference is the mean of the senior and the junior doctor, as in Wang et
al., Medical Image Analysis 31, 2016; Test1 is the test.
"""

import csv
import io
import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medvial.errors import InputError
from medvial.outputs import write_bytes
from medvial_training.cli import run_command

log = logging.getLogger(__name__)

DOCTORS = ("landmarks_senior.csv", "landmarks_junior.csv")
LANDMARKS = 19
MM_PER_PX = 0.1  # stated by the challenge for all films
SPLITS = {"train": "train", "test1": "test"}

Table = dict[str, tuple[str, NDArray[np.float64]]]


def convert(source: Path, out: Path) -> None:
    """Write the table of step 1 out of the doctors' marks.

    Args:
        source: Folder with images/, landmarks_senior.csv and landmarks_junior.csv (columns
            image,split,p1x,p1y,...,p19x,p19y in pixels; split is train or test1).
        out: The .csv to write: file,scale,split,p1x,p1y,...

    Raises:
        InputError: A file is missing or of another form, or the doctors marked other films.
    """
    if not (source / "images").is_dir():
        raise InputError(f"Expected the films in {source / 'images'}, found no such folder.")
    if out.suffix.lower() != ".csv":
        raise InputError(f"Expected a .csv file to write, got {out}.")
    senior, junior = (_read_marks(source / name) for name in DOCTORS)
    if senior.keys() != junior.keys():
        other = sorted(senior.keys() ^ junior.keys())
        raise InputError(
            f"Expected the same films in {' and '.join(DOCTORS)}, got {other[0]} and "
            f"{len(other) - 1} more in one of them only."
        )
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    points = [f"p{number}{axis}" for number in range(1, LANDMARKS + 1) for axis in "xy"]
    writer.writerow(["file", "scale", "split", *points])
    for name, (split, marks) in senior.items():
        mean = (marks + junior[name][1]) / 2
        writer.writerow([name, MM_PER_PX, SPLITS[split], *mean.tolist()])
    write_bytes(out, text.getvalue().encode())
    log.info("%d films in %s.", len(senior), out)


def _read_marks(path: Path) -> Table:
    """Split and marks (2 L,) as x, y of one landmark after the other, by film."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            _, *rows = csv.reader(file)
    except (OSError, ValueError) as error:
        raise InputError(f"Expected the table {path}, got: {error}.") from None
    table: Table = {}
    for number, row in enumerate(rows, start=2):
        name, split, *texts = row if len(row) > 2 else ("", "")
        try:
            marks = np.array([float(text) for text in texts])
        except ValueError:
            marks = np.empty(0)
        if split not in SPLITS or marks.size != 2 * LANDMARKS or not np.isfinite(marks).all():
            raise InputError(
                f"{path}, row {number}: expected image, split ({' or '.join(SPLITS)}) and "
                f"{2 * LANDMARKS} coordinates, got {','.join(row)[:60]}."
            )
        table[name] = split, marks
    return table


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    return run_command(convert, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
