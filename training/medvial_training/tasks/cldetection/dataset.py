"""What step 1 wrote, as samples for training and evaluation."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from medvial.cldetection.config import Config
from medvial.cldetection.landmarks import adopt_landmark_set, load_landmark_set
from medvial.cldetection.predictor import LANDMARKS
from medvial.cldetection.preprocess import Geometry, at_network_size, to_tensor
from medvial.cldetection.upright import Matrix, move, see_upright
from medvial.errors import InputError
from medvial.models import config_from_dict
from medvial.outputs import read_json
from medvial_training.fit import FitArgs, training_loader, validation_loader
from medvial_training.splits import DUPLICATES, KEPT_REPEATS, load_splits, read_pairs
from medvial_training.tasks.cldetection.augment import Augmentation, augment
from medvial_training.tasks.cldetection.fold import Fold

INPUT_FIELDS = ("landmark_set", "height", "width", "detail", "fit")  # what makes films fit a model
PREPARED_FIELDS = (*INPUT_FIELDS, "mean", "std")


@dataclass(frozen=True)
class Seen:
    """A film as a network sees it."""

    grey: NDArray[np.uint8]
    """(height, width)."""
    points: NDArray[np.float64]
    """(L, 2) as (x, y) in pixels of the network input; NaN where unknown."""
    mm_per_px: NDArray[np.float64]
    """(2,) of the network input, along x and y; NaN where unknown."""


@dataclass(frozen=True)
class Sample:
    """One prepared film."""

    image_id: str
    patient: str
    image: Path
    geometry: Geometry
    points: NDArray[np.float64]
    """(L, 2) as (x, y) in pixels of the full film; NaN where the expert marked nothing."""
    mm_per_px: float
    """Of the full film; NaN where unknown."""
    group: str = ""
    """Films of one group (a patient, nearly the same picture) are not independent."""

    def read(self, config: Config) -> NDArray[np.uint8]:
        """The prepared film as step 1 wrote it, facing right; `config.film_size` uint8."""
        grey = cv2.imread(str(self.image), cv2.IMREAD_GRAYSCALE)
        if grey is None or grey.shape != config.film_size:
            got = "no readable image" if grey is None else f"{grey.shape[::-1]} pixels"
            height, width = config.film_size
            raise InputError(
                f"Expected a film of {width} x {height} pixels at {self.image}, got {got}. Run "
                "step 1 again."
            )
        return grey.astype(np.uint8, copy=False)

    def as_given(self, config: Config) -> tuple[NDArray[np.uint8], Geometry]:
        """The film as a user gives it: what `preprocess` makes of it without mirroring.

        Step 1 turns left-facing films by the expert's marks. A model in use has no such marks, so
        whatever tests a model starts from the film that was not turned.

        Returns:
            The grey film, `config.film_size` uint8, and its geometry.
        """
        grey, geometry = self.read(config), self.geometry
        if not geometry.mirrored:
            return grey, geometry
        # The film is turned within its place: preprocess pads both versions alike, also where the
        # padding is one pixel wider on the right.
        left = config.detail * geometry.offset_x
        right = left + config.detail * round(geometry.content_width * geometry.scale_x)
        given = grey.copy()
        given[:, left:right] = grey[:, left:right][:, ::-1]
        return given, replace(geometry, mirrored=False)

    @property
    def network_points(self) -> NDArray[np.float64]:
        """(L, 2) as (x, y) in pixels of the network input that shows the whole film."""
        return self.geometry.to_network(self.points)

    def see(self, config: Config, matrix: Matrix | None = None) -> Seen:
        """The film as a network sees it: whole, or upright by a matrix of `upright_matrix`."""
        film, points = self.read(config), self.network_points
        scale = np.array([self.geometry.scale_x, self.geometry.scale_y])
        if matrix is None:
            return Seen(at_network_size(film, config), points, self.mm_per_px / scale)
        larger = np.sqrt(np.linalg.det(matrix[:, :2]) * scale.prod())  # alike in all directions
        mm_per_px = np.full(2, self.mm_per_px / larger)
        return Seen(see_upright(film, matrix, config), move(matrix, points), mm_per_px)


def load_config(data: Path) -> Config:
    """The configuration that step 1 prepared the data for."""
    path = data / "config.json"
    if not path.is_file():
        raise InputError(f"Expected prepared data in {data}, got no config.json. Run step 1 first.")
    adopt_landmark_set(data / LANDMARKS)
    return config_from_dict(Config, read_json(path), where=path)


def check_prepared(data: Path, config: Config, names: tuple[str, ...] = PREPARED_FIELDS) -> None:
    """Refuse a configuration that the prepared images do not fit.

    Args:
        data: Folder that step 1 wrote.
        config: What the images are to be used for.
        names: The fields that have to agree; `INPUT_FIELDS` for a model that is trained already.

    Raises:
        InputError: Names the fields that differ.
    """
    prepared = load_config(data)
    wrong = {
        name: (getattr(prepared, name), getattr(config, name))
        for name in names
        if getattr(prepared, name) != getattr(config, name)
    }
    if wrong:
        text = ", ".join(f"{name} {old} there, {new} here" for name, (old, new) in wrong.items())
        raise InputError(
            f"{data} was prepared with other settings: {text}. Run step 1 with the settings wanted "
            "here, into this folder or into another one for --data."
        )


def load_samples(data: Path, config: Config, fold: Fold = Fold()) -> dict[str, list[Sample]]:
    """The films of train, valid and test, which share no patient and no duplicate.

    Args:
        data: Folder that step 1 wrote.
        config: Gives the landmark set.
        fold: Which of the films that are not tested validate; as step 1 split them if not given.

    Raises:
        InputError: A manifest is missing, lacks a column, or is not disjoint from another one, or
            there are too few films for the fold.
    """
    count = len(load_landmark_set(config.landmark_set))
    frames = load_splits(data)
    for split, frame in frames.items():
        _check_columns(set(frame.columns), data / f"{split}.csv", count)
    samples = {
        split: [_sample(row, data, count) for row in frame.to_dict("records")]
        for split, frame in frames.items()
    }
    tables = (data / name for name in (DUPLICATES, KEPT_REPEATS))
    return fold.deal(samples, [pair for table in tables for pair in read_pairs(table)])


def _check_columns(found: set[str], path: Path, count: int) -> None:
    points = [f"p{i}{axis}" for i in range(1, count + 1) for axis in "xy"]
    expected = ["scale", *(f.name for f in fields(Geometry)), *points]
    missing = [name for name in expected if name not in found]
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise InputError(
            f"Expected the column(s) {', '.join(missing[:5])}{more} in {path}, got none. Run "
            "step 1 again, or add the column; leave the cells of unknown points and scales empty."
        )


def _sample(row: dict[Any, Any], data: Path, count: int) -> Sample:
    try:
        points = [float(row[f"p{i}{axis}"]) for i in range(1, count + 1) for axis in "xy"]
        geometry = Geometry(**{f.name: _READ[f.type](row[f.name]) for f in fields(Geometry)})
        scale = float(row["scale"])
        if scale <= 0:
            raise ValueError(f"a scale of {scale}")
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"Expected numbers, a scale above 0, and True or False under mirrored, in the row of "
            f"{row['image_id']} in a table of {data}, got: {error}. Run step 1 again."
        ) from None
    return Sample(
        image_id=str(row["image_id"]),
        patient=str(row["patient"]),
        image=data / "images" / f"{row['image_id']}.png",
        geometry=geometry,
        points=np.array(points).reshape(count, 2),
        mm_per_px=scale,
        group=str(row["group"]),
    )


def _read_bool(value: Any) -> bool:
    return {"true": True, "false": False, "1": True, "0": False}[str(value).strip().lower()]


_READ: dict[Any, Callable[[Any], Any]] = {float: float, int: int, bool: _read_bool}


class Films(Dataset[dict[str, Any]]):
    """Films as dictionaries of tensors; upright where their matrices are given, by image_id.

    Keys: `image` (C, H, W) float32 normalised, `points` (L, 2) network pixels (NaN unknown),
    `mm_per_px` (2,) per network pixel along x and y.
    """

    def __init__(
        self,
        samples: list[Sample],
        config: Config,
        augmentation: Augmentation | None = None,
        seed: int = 0,
        matrices: Mapping[str, Matrix] | None = None,
    ) -> None:
        self.samples, self.config, self.matrices = samples, config, matrices
        self.augmentation, self.seed = augmentation, seed

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: int | tuple[int, int]) -> dict[str, Any]:
        """`key` is an index, or (epoch, index) for a random version of the film."""
        epoch, index = key if isinstance(key, tuple) else (0, key)
        sample = self.samples[index]
        matrix = None if self.matrices is None else self.matrices[sample.image_id]
        seen = sample.see(self.config, matrix)
        grey: NDArray[np.uint8 | np.float32] = seen.grey
        points = seen.points
        if self.augmentation is not None:
            rng = np.random.default_rng((self.seed, epoch, index))
            grey, points = augment(seen.grey, points, self.augmentation, rng)
        return {
            "image": torch.from_numpy(to_tensor(grey, self.config)),
            "points": torch.from_numpy(points.astype(np.float32)),
            "mm_per_px": torch.from_numpy(seen.mm_per_px.astype(np.float32)),
        }


class FilmData(LightningDataModule):
    """Training and validation films of a prepared folder."""

    def __init__(
        self,
        data: Path,
        config: Config,
        fit: FitArgs,
        augmentation: Augmentation,
        fold: Fold = Fold(),
    ) -> None:
        super().__init__()
        check_prepared(data, config)
        self.config, self.fit_args, self.augmentation = config, fit, augmentation
        self.samples = load_samples(data, config, fold)
        self.watched = self.samples["valid"] or load_samples(data, config)["valid"]
        """What training is watched by: the validation films, also if they are trained on."""
        self.matrices: Mapping[str, Matrix] | None = None
        """By image_id, where films are to be seen upright; films without one are left out."""
        for split, films in (("train", self.samples["train"]), ("valid", self.watched)):
            if not films:
                raise InputError(f"Expected films in {data / split}.csv, got none.")
        if not any(np.isfinite(s.mm_per_px) for s in self.watched):
            raise InputError(
                f"Expected a scale (mm per pixel) for the validation films in {data}, got none: "
                "validation is in millimetres."
            )

    def train_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Random versions of the training films, in random order."""
        films = self._films(self.samples["train"], self.augmentation)
        return training_loader(films, self.fit_args)

    def val_dataloader(self) -> DataLoader[dict[str, Any]]:
        """The validation films as they are."""
        return validation_loader(self._films(self.watched), self.fit_args)

    def _films(self, samples: list[Sample], augmentation: Augmentation | None = None) -> Films:
        matrices = self.matrices
        if matrices is not None:
            samples = [sample for sample in samples if sample.image_id in matrices]
        return Films(samples, self.config, augmentation, self.fit_args.seed, matrices)
