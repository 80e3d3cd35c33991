"""How far two human observers differ on the tested films: the yardstick of a model's error."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medvial.errors import InputError
from medvial.stacks import IMAGE_SUFFIXES, STACK_SUFFIXES
from medvial_training.metrics import Bootstrap, cluster_means
from medvial_training.tasks.cldetection.marks import FloatArray, Marks
from medvial_training.tasks.cldetection.scores import SDR_MM

FILM_COLUMNS = ("image_id", "image", "file")


def observer_distances(
    image_ids: list[str], mm_per_px: FloatArray, landmarks: int, first: Path, second: Path
) -> FloatArray:
    """Distance in mm between two observers' marks, (N, L); NaN where either has none.

    Args:
        image_ids: The N tested films.
        mm_per_px: (N,) of the full films; NaN where unknown.
        landmarks: L, how many each film has.
        first: CSV with a column `image_id`, `image` or `file` (matched by name without suffix)
            and p1x,p1y,... in pixels of the full film.
        second: As `first`, of the other observer.

    Raises:
        InputError: A column is missing, a film is twice in a file, or no tested film is in both.
    """
    one, other = (_read_marks(path, image_ids, landmarks) for path in (first, second))
    distance = np.linalg.norm(one - other, axis=-1) * mm_per_px[:, None]
    if not np.isfinite(distance).any():
        raise InputError(
            f"Expected marks of both observers on the tested films with a scale, such as "
            f"{image_ids[0]!r}; got none in {first} and {second}. Films are matched by name."
        )
    return np.asarray(distance, dtype=np.float64)


def observer_scores(marks: Marks, distance: FloatArray, bootstrap: Bootstrap) -> dict[str, Any]:
    """MRE and SDR of one observer against the other, overall; MRE per landmark symbol."""
    points = distance.ravel()
    patients = np.repeat(marks.clusters, len(marks.landmark_set))
    known = np.isfinite(points)
    within = [np.where(known, 100.0 * (points < t), np.nan) for t in SDR_MM]
    mre, *sdr = cluster_means(np.column_stack([points, *within]), patients, bootstrap)
    by_landmark = cluster_means(distance, marks.clusters, bootstrap)
    return {
        "films": int(np.isfinite(distance).any(axis=1).sum()),
        "mre_mm": mre.as_dict(),
        "sdr_percent": {f"{t:g}": e.as_dict() for t, e in zip(SDR_MM, sdr, strict=True)},
        "landmarks": {
            symbol: estimate.as_dict()["value"]
            for symbol, estimate in zip(marks.landmark_set.symbols, by_landmark, strict=True)
        },
    }


def _name(film: str) -> str:
    """Without the suffix of an image; the other dots of a name are its own."""
    path = Path(film)
    return path.stem if path.suffix.lower() in (*IMAGE_SUFFIXES, *STACK_SUFFIXES) else path.name


def _read_marks(path: Path, image_ids: list[str], landmarks: int) -> FloatArray:
    """(N, L, 2) marks of a CSV in the order of the tested films; NaN where a film is absent."""
    if not path.is_file():
        raise InputError(f"Expected an observer's marks at {path}, got no such file.")
    try:
        frame = pd.read_csv(path, dtype={name: str for name in FILM_COLUMNS})
    except (ValueError, OSError) as error:  # pandas' own errors are ValueErrors
        raise InputError(f"Expected a table of marks in {path}, got: {error}.") from None
    name = next((column for column in FILM_COLUMNS if column in frame), None)
    wanted = [f"p{i}{axis}" for i in range(1, landmarks + 1) for axis in "xy"]
    missing = [column for column in wanted if column not in frame]
    if name is None or missing:
        raise InputError(
            f"Expected the columns {' or '.join(FILM_COLUMNS)} and p1x to p{landmarks}y in {path}; "
            f"got {', '.join(frame.columns[:4])}, ... with {len(missing)} of them missing."
        )
    frame.index = pd.Index([_name(str(film)) for film in frame[name]])
    if frame.index.has_duplicates:
        twice = frame.index[frame.index.duplicated()][0]
        raise InputError(f"Expected each film once in {path}, got {twice!r} more than once.")
    rows = frame.reindex(image_ids)[wanted].to_numpy(dtype=np.float64)
    return rows.reshape(len(image_ids), landmarks, 2)
