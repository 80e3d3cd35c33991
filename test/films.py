"""Small films, stacks and tables in the forms that step 1 of cldetection reads."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import SimpleITK as sitk  # noqa: N813 the library's customary name

from medvial.cldetection.config import Config
from medvial_training.splits import load_splits
from medvial_training.tasks.cldetection.prepare import prepare

HEIGHT, WIDTH = 120, 150
CONFIG = Config(landmark_set="isbi-19", height=64, width=128)
COUNT = 19
ALGORITHM = Path(__file__).parents[1] / "algorithms" / "cldetection"


def empty_algorithm(folder):
    """The algorithm of cldetection without a model: what step 4 fills."""
    folder.mkdir()
    for name in ("process.py", "sockets.json"):
        shutil.copy(ALGORITHM / name, folder / name)
    return folder


def make_film(seed, height=HEIGHT, width=WIDTH):
    """Smooth noise: different seeds, different films; bright to the last row and column."""
    noise = np.random.default_rng(seed).normal(0, 1, (height, width)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 4)
    scaled = cv2.normalize(smooth, None, 20, 250, cv2.NORM_MINMAX)
    return scaled.astype(np.uint8)


def make_points(seed, height=HEIGHT - 20, width=WIDTH - 30):
    """Landmarks of a film that faces right: Or (3) right of Po (4)."""
    points = np.random.default_rng(seed).uniform(5, (width - 5, height - 5), (COUNT, 2)).round(2)
    points[2, 0], points[3, 0] = 80, 30
    return points


def truth_of(points, number, scale="0.1"):
    return [
        {"name": index, "point": [float(x), float(y), number], "scale": scale}
        for index, (x, y) in enumerate(points, start=1)
    ]


def write_stack(folder, films, *, compressed=False, edit=None, phantom=False):
    """The CL-Detection 2023 form; films of (H, W) in slices padded to HEIGHT x WIDTH."""
    folder.mkdir(parents=True, exist_ok=True)
    stack = np.zeros((len(films), HEIGHT, WIDTH, 3), np.uint8)
    truth = []
    for number, film in enumerate(films, start=1):
        stack[number - 1, : film.shape[0], : film.shape[1]] = film[..., None]
        truth += truth_of(make_points(number), number)
    image = sitk.GetImageFromArray(stack, isVector=True)
    sitk.WriteImage(image, str(folder / "train_stack.mha"), useCompression=compressed)
    truth = edit(truth) if edit else truth
    (folder / "train-gt.json").write_text(json.dumps({"points": truth}), encoding="utf-8")
    if phantom:
        marker = {"phantom": True, "description": "drawn"}
        (folder / "PHANTOM.json").write_text(json.dumps(marker), encoding="utf-8")
    return folder


def write_images(folder, count=6, *, rows=None, header=None, **columns):
    """The form of images and a CSV: films in folder/images, table folder/truth.csv."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    names = [f"{chr(97 + index)}.png" for index in range(count)]
    for index, name in enumerate(names):
        cv2.imwrite(str(folder / "images" / name), make_film(index))
    points = [f"p{i}{axis}" for i in range(1, COUNT + 1) for axis in "xy"]
    lines = [",".join(header or ["file", "scale", *columns, *points])]
    for index, name in enumerate(names):
        cells = [name, "0.125", *(values[index] for values in columns.values())]
        lines.append(",".join([*cells, *map(str, make_points(index).ravel())]))
    for row, edit in (rows or {}).items():
        lines[row] = ",".join(edit(lines[row].split(",")))
    (folder / "truth.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def replace(position, text):
    return lambda cells: [*cells[:position], text, *cells[position + 1 :]]


def run(source, out, **options):
    prepare(source, out, **({"model": CONFIG, "workers": 2} | options))
    return load_splits(out)


def everything(frames):
    return pd.concat(list(frames.values())).set_index("image_id").sort_index()
