"""The predictions of a test as a table, so that they can be scored and drawn again."""

import dataclasses
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medvial.cldetection.config import Config
from medvial.cldetection.landmarks import LandmarkSet, load_landmark_set
from medvial.cldetection.postprocess import Film
from medvial.cldetection.preprocess import Geometry
from medvial.errors import InputError
from medvial.outputs import write_bytes
from medvial_training.shares import ALONE, Shares
from medvial_training.tasks.cldetection.dataset import Sample
from medvial_training.tasks.cldetection.marks import Marks


class FilmPredictor(Protocol):
    """What evaluation needs of a predictor."""

    def from_prepared(self, grey: NDArray[np.uint8], geometry: Geometry) -> Film:
        """Landmarks of a prepared film."""
        ...


@dataclasses.dataclass(frozen=True)
class SubsetPredictor:
    """A predictor whose films keep only some of its landmarks, by index."""

    predictor: FilmPredictor
    kept: list[int]

    def from_prepared(self, grey: NDArray[np.uint8], geometry: Geometry) -> Film:
        """The film of the whole model, cut down."""
        return self.predictor.from_prepared(grey, geometry).reordered(self.kept)


def with_landmarks_of(
    marked: LandmarkSet, predictor: FilmPredictor, known: LandmarkSet, config: Config
) -> tuple[FilmPredictor, Config]:
    """A predictor and its configuration, cut down to the landmarks that the data have marked.

    Unchanged where the model lacks one of them: the data then do not fit the model.
    """
    if marked.symbols == known.symbols or not set(marked.symbols) <= set(known.symbols):
        return predictor, config
    kept = SubsetPredictor(predictor, marked.indices_in(known))
    return kept, dataclasses.replace(config, landmark_set=marked.name)


def predict_samples(
    samples: list[Sample],
    config: Config,
    predictor: FilmPredictor,
    *,
    progress: bool,
    shares: Shares = ALONE,
) -> list[Film] | None:
    """Predict every film as it was given, in order, one in memory at a time.

    Returns:
        None in processes that only do a share of the work.
    """

    def predict(sample: Sample) -> Film:
        return predictor.from_prepared(*sample.as_given(config))

    return shares.map(predict, samples, description="Predicting", unit="film", progress=progress)


def gather_marks(samples: list[Sample], films: list[Film], config: Config) -> Marks:
    """The experts' and the predicted landmarks of the same films.

    Which way a film faces is what the expert's marks say: a film whose side the model mistook is
    not to be measured by that mistake.
    """
    probabilities = [film.probability for film in films if film.probability is not None]
    if probabilities and len(probabilities) != len(films):
        raise InputError("Expected a probability for every film or for none; got some without.")
    doubts = [film.uncertainty for film in films if film.uncertainty is not None]
    return Marks(
        landmark_set=load_landmark_set(config.landmark_set),
        image_ids=[sample.image_id for sample in samples],
        patient_ids=np.array([sample.patient for sample in samples], dtype=np.str_),
        mm_per_px=np.array([sample.mm_per_px for sample in samples], dtype=np.float64),
        expert=np.stack([sample.points for sample in samples]),
        predicted=np.stack([film.points for film in films]),
        probability=np.stack(probabilities) if probabilities else None,
        corrected=np.stack([film.corrected for film in films]),
        uncertainty=doubts if len(doubts) == len(films) else None,
        faces_left=np.array([sample.geometry.mirrored for sample in samples], dtype=bool),
        clusters=np.array([sample.group or sample.patient for sample in samples], dtype=np.str_),
    )


def write_predictions(path: Path, marks: Marks, films: list[Film]) -> None:
    """One row per film, of what the model said about it.

    Columns: image_id, patient, scale, p1x, p1y, ..., prob1, ..., major1, minor1, ..., mirrored,
    plausible, corrected. Points, and half axes of the 90 % ellipses, are in pixels of the full
    film; `mirrored`: the model took it for left-facing; `corrected` lists symbols, separated by
    spaces.
    """
    rows = []
    for index, image_id in enumerate(marks.image_ids):
        row: dict[str, Any] = {
            "image_id": image_id,
            "patient": str(marks.patient_ids[index]),
            "scale": marks.mm_per_px[index],
        }
        for number, (x, y) in enumerate(marks.predicted[index], start=1):
            row |= {f"p{number}x": x, f"p{number}y": y}
        if marks.probability is not None:
            values = enumerate(marks.probability[index], start=1)
            row |= {f"prob{number}": value for number, value in values}
        if marks.uncertainty is not None:
            axes = enumerate(marks.uncertainty[index].half_axes_px(), start=1)
            for number, (major, minor) in axes:
                row |= {f"major{number}": major, f"minor{number}": minor}
        symbols = np.array(marks.landmark_set.symbols)[marks.corrected[index]]
        row |= {"mirrored": films[index].mirrored, "plausible": films[index].plausible}
        rows.append(row | {"corrected": " ".join(symbols)})
    write_table(path, rows)


def write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    """Rows as CSV, whole or not at all; empty where a value is missing."""
    write_bytes(path, pd.DataFrame(rows).to_csv(index=False, lineterminator="\n").encode())
