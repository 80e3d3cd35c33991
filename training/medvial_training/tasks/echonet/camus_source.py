"""CAMUS, apical four-chamber: end-diastole and end-systole of each patient, for segmentation.

Leclerc et al., IEEE TMI 38(9), 2019, doi:10.1109/TMI.2019.2900516.
"""

import csv
import math
import zipfile
from collections.abc import Generator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medvial.cine import DEFAULT_FPS, Cine, CineInfo, TimedPixels
from medvial.echonet.config import Config
from medvial.echonet.preprocess import Geometry, preprocess
from medvial.errors import InputError
from medvial_training.tasks.echonet.sources import Clip, RawData, RawVideo

INFO = "patients_info.csv"
LEFT_VENTRICLE = 1  # 2 is myocardium, 3 the left atrium
FINE = 4  # points a side that a pixel of the mask is counted by
HELD_OUT = {"train": "train", "valid": "test", "test": "test"}
"""The patients held out by the set are for the test: what selects a model comes out of the rest."""


def open_camus(source: Path, config: Config) -> RawData:
    """List the patients of a folder with patientNNNN.npz and patients_info.csv.

    Each .npz holds `ED`, `ES` (H, W) uint8, `ED_gt`, `ES_gt` (labels), `spacing_mm_row_col` and
    `split`.

    Raises:
        InputError: There is no such file.
    """
    paths = sorted(source.glob("patient*.npz"))
    if not paths:
        raise InputError(f"Expected patientNNNN.npz files of CAMUS in {source}, got none.")
    listed = _ejection_fractions(source / INFO)
    data = RawData([])
    for path in paths:
        try:
            with np.load(path) as arrays:
                split = HELD_OUT[str(arrays["split"])]
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            data.rejected.append((path.stem, f"unusable file: {error}"))
            continue
        data.videos.append(
            RawVideo(
                path.stem,
                path,
                partial(read_camus, path, config),
                patient=path.stem,
                split=split,
                ef=listed.get(path.stem, math.nan),
            )
        )
    return data


def read_camus(path: Path, config: Config) -> Clip:
    """The two frames and masks of a patient as the container sees them, end-diastole first."""
    with np.load(path) as arrays:
        images = [arrays[phase] for phase in ("ED", "ES")]
        labels = [arrays[f"{phase}_gt"] for phase in ("ED", "ES")]
        row_mm, column_mm = (float(v) for v in arrays["spacing_mm_row_col"])
    height, width = images[0].shape
    info = CineInfo(path, "npz", height, width, 2, DEFAULT_FPS, spacing_mm=(column_mm, row_mm))
    frames, geometry, _times, _sector = preprocess(
        Cine(info, lambda stride: iter_frames(images[::stride])), config
    )
    masks = [_mask(label == LEFT_VENTRICLE, geometry, config) for label in labels]
    spacing = math.nan if geometry.spacing_mm is None else geometry.spacing_mm[0]
    return Clip(frames, dict(enumerate(masks)), spacing_mm=spacing)


def iter_frames(frames: Sequence[NDArray[np.uint8]]) -> Generator[TimedPixels, None, None]:
    """Frames as a cine's reader gives them."""
    for number, frame in enumerate(frames):
        yield number / DEFAULT_FPS, frame


def _mask(inside: NDArray[np.bool_], geometry: Geometry, config: Config) -> NDArray[np.uint8]:
    """A mask of the file as one of the network's frame, (height, width) {0, 1}: most of a pixel."""
    fine = [(np.arange(size * FINE) + 0.5) / FINE - 0.5 for size in (config.height, config.width)]
    y, x = np.meshgrid(*fine, indexing="ij")
    points = np.rint(geometry.to_image(np.stack([x, y], axis=-1))).astype(int)
    column, row = points[..., 0], points[..., 1]
    known = (column >= 0) & (column < inside.shape[1]) & (row >= 0) & (row < inside.shape[0])
    values = np.zeros(known.shape)
    values[known] = inside[row[known], column[known]]
    shares = values.reshape(config.height, FINE, config.width, FINE).mean(axis=(1, 3))
    return (shares >= 0.5).astype(np.uint8)


def _ejection_fractions(path: Path) -> dict[str, float]:
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8-sig") as file:
        return {row["Patient"]: float(row["EF"]) for row in csv.DictReader(file) if row.get("EF")}
