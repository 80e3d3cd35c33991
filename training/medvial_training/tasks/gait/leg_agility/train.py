"""Step 2 of leg agility: cross-validation, the final network, and its part of the model folder."""

import dataclasses
import logging
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medvial.errors import InputError
from medvial.gait.leg_agility.config import LegConfig
from medvial.gait.leg_agility.rating import expected_scores, probabilities, scores
from medvial.gait.leg_agility.signals import LEGS, Leg
from medvial.outputs import replace_folder, write_bytes, write_json
from medvial_training.cross_validation import PREDICTIONS, run_folds
from medvial_training.distributed import is_main, samples_per_step
from medvial_training.fit_args import FitArgs
from medvial_training.fold_manifest import FINAL, assert_listed
from medvial_training.folds import Folds, load_folds
from medvial_training.metrics import Bootstrap
from medvial_training.tables import write_csv
from medvial_training.tasks.gait.leg_agility.choices import LegTraining
from medvial_training.tasks.gait.leg_agility.dataset import LegInputs
from medvial_training.tasks.gait.leg_agility.learn import (
    learn,
    open_weights,
    predict,
    weights_name,
)
from medvial_training.tasks.gait.leg_agility.ordinal import fit_temperature
from medvial_training.tasks.gait.leg_agility.recordings import (
    LEG_TABLE,
    VIDEOS,
    LegSample,
    Recordings,
)
from medvial_training.tasks.gait.leg_agility.scores import all_scores, in_words
from medvial_training.tasks.gait.overlap import origin_of
from medvial_training.tasks.gait.systems import CONFIG, LEARNED, METRICS, TRAINING

log = logging.getLogger(__name__)

FOLDS, REJECTED, MODEL = "folds.csv", "rejected.csv", "model"
OUTPUT = "output_"


def train_system(
    data: Path,
    run: Path,
    config: LegConfig,
    fit: FitArgs,
    training: LegTraining,
    *,
    resume: bool,
) -> None:
    """Train and test on every fold, then train the final network.

    Leaves run/fold_1 and so on and run/final, each with its weights; the pooled
    run/predictions.csv, a row a leg; and run/model.

    Args:
        data: Folder that step 1 wrote.
        run: Folder of the run.
        config: Of the rating.
        fit: How networks are trained.
        training: Balance, start, random changes, forest.
        resume: Keep what is done, and go on from the last checkpoints.

    Raises:
        InputError: The data are not prepared so, two parts of a fold share something, or options do
            not fit each other.
    """
    if config.kind == "kinematic" and training.weights is not None:
        raise InputError(
            f"Expected no --leg_agility_training.weights with --leg_agility.kind kinematic, got "
            f"{training.weights}: a forest starts from nothing. Leave it out, or choose a network."
        )
    folds, recordings = load_folds(data / FOLDS), Recordings.open(data)
    assert_listed(folds.table, data / VIDEOS)
    _say_what_is_left_out(data, folds, recordings)
    origin = origin_of(data, folds)
    settings = {
        "leg_agility": dataclasses.asdict(config),
        "leg_agility_fit": dataclasses.asdict(fit),
        "leg_agility_training": dataclasses.asdict(training),
    }
    one = _One(
        recordings,
        LegInputs(recordings.clip, config, training.augment, fit.seed),
        fit,
        training,
        settings,
        resume,
    )
    run_folds(
        folds,
        run,
        one,
        settings,
        content=recordings.content(),
        samples_per_step=None if config.kind == "kinematic" else samples_per_step(fit),
        resume=resume,
    )
    if is_main():
        _finish(run, config, origin)


def _say_what_is_left_out(data: Path, folds: Folds, recordings: Recordings) -> None:
    """How many recordings and scored legs nobody learns from or is tested on."""
    legs = recordings.legs
    lost = int(((legs["score"] != "") & (legs["used"] == "0")).sum())
    absent = int((~recordings.table["video"].isin(folds.table["video"])).sum())
    if lost or absent:
        log.info(
            "Not used: %d legs with a clinician's score that cannot be rated (why: %s), %d of %d "
            "recordings that are in no fold.",
            *(lost, data / LEG_TABLE, absent, len(recordings.table)),
        )
    if (data / REJECTED).is_file():
        rejected = len(pd.read_csv(data / REJECTED, dtype=str))
        log.info("Recordings and legs that step 1 left out: %d (%s).", rejected, data / REJECTED)


@dataclasses.dataclass(frozen=True)
class _One:
    """Trains and tests one fold."""

    recordings: Recordings
    inputs: LegInputs
    fit: FitArgs
    training: LegTraining
    settings: dict[str, Any]
    resume: bool

    def __call__(
        self,
        name: str,
        train: pd.DataFrame,
        valid: pd.DataFrame,
        test: pd.DataFrame,
        folder: Path,
    ) -> None:
        """Leaves the weights and, with test recordings, predictions.csv."""
        known, chosen, asked = (
            self.recordings.samples(part["video"]) for part in (train, valid, test)
        )
        going_on = self.resume and (folder / "checkpoints" / "last.ckpt").is_file()
        weights = learn(
            *(self.inputs, known, chosen, self.fit, self.training, folder),
            resume=going_on,
            parameters=self.settings,
            notes={"data": str(self.recordings.data), "run": folder.parent.name, "fold": name},
        )
        if not is_main() or test.empty:
            return
        config = self.inputs.config
        outputs = predict(self.inputs, asked, open_weights(weights, config))
        refused = self.recordings.samples(test["video"], used=False)
        majority = majority_of(known)
        write_predictions(
            folder / PREDICTIONS, self.recordings, asked, outputs, config, majority, refused
        )


def majority_of(samples: Sequence[LegSample]) -> dict[Leg, int | None]:
    """The most frequent score of each leg: what knows nothing of a recording says."""
    found: dict[Leg, int | None] = {}
    for leg in LEGS:
        counts = Counter(sample.score for sample in samples if sample.leg == leg)
        found[leg] = max(counts, key=lambda score: (counts[score], -score)) if counts else None
    return found


def write_predictions(
    path: Path,
    recordings: Recordings,
    samples: Sequence[LegSample],
    outputs: NDArray[np.floating],
    config: LegConfig,
    majority: dict[Leg, int | None],
    refused: Sequence[LegSample] = (),
    temperature: float = 1.0,
) -> None:
    """Write what a network says of legs, a row each.

    Args:
        path: The CSV file.
        recordings: They are of.
        samples: (N) legs that were rated.
        outputs: (N, M) of the network.
        config: Says how these are read.
        majority: The most frequent score of the training legs.
        refused: Legs with a clinician's score that cannot be rated: their places stay empty.
        temperature: Divides the outputs.
    """
    likely = probabilities(outputs, config, temperature)
    said = zip(scores(likely, config), expected_scores(likely, config), strict=True)
    rows = [
        [
            *_about(sample, recordings, majority),
            int(score),
            round(float(mean), 4),
            *likely[i].round(6),
            *np.asarray(outputs[i]).round(5),
        ]
        for i, (sample, (score, mean)) in enumerate(zip(samples, said, strict=True))
    ]
    empty = [""] * (2 + likely.shape[1] + outputs.shape[1])
    rows += [[*_about(sample, recordings, majority), *empty] for sample in refused]
    columns = ["video", "leg", "score", "majority", "criteria", "predicted", "expected"]
    columns += [f"p_{level}" for level in config.levels]
    columns += [f"{OUTPUT}{number}" for number in range(outputs.shape[1])]
    write_csv(path, columns, rows)


def _about(sample: LegSample, recordings: Recordings, majority: dict[Leg, int | None]) -> list[Any]:
    told = majority[sample.leg], recordings.criteria(sample)
    return [sample.video, sample.leg, sample.score, *("" if t is None else t for t in told)]


def as_shipped(table: pd.DataFrame, config: LegConfig, temperature: float) -> pd.DataFrame:
    """Predictions as the container makes them of the networks' outputs, by the learned temperature.

    Args:
        table: A row a leg; of those that were not rated, the places stay empty.
        config: Says how outputs are read.
        temperature: Divides them.
    """
    rated, result = table["predicted"].notna(), table.copy()
    outputs = table[rated].filter(like=OUTPUT).to_numpy(np.float64)
    likely = probabilities(outputs, config, temperature)
    result.loc[rated, "predicted"] = scores(likely, config)
    result.loc[rated, "expected"] = expected_scores(likely, config).round(4)
    result.loc[rated, [f"p_{level}" for level in config.levels]] = likely.round(6)
    return result


def _finish(run: Path, config: LegConfig, origin: dict[str, Any]) -> None:
    """The model's part of the folder, with what is learned of all folds' test legs together."""
    text = dict.fromkeys(("fold", "video", "patient", "group", "site", "label", "leg"), str)
    table = pd.read_csv(run / PREDICTIONS, dtype=text, keep_default_na=False, na_values=[""])
    told = table[table["predicted"].notna()] if len(table) else table
    metrics: dict[str, Any] = {}
    temperature = 1.0
    if len(told):
        outputs = told.filter(like=OUTPUT).to_numpy(np.float64)
        temperature = fit_temperature(outputs, told["score"].tolist(), config)
        table = as_shipped(table, config, temperature)
        write_bytes(run / PREDICTIONS, table.to_csv(index=False).encode())
        metrics = all_scores(table, config.levels, Bootstrap())
        phantom = bool(origin["data"].get("phantom"))
        for line in in_words(metrics, phantom):
            log.info("%s", line)
    weights = run / FINAL / weights_name(config)
    part = run / f"{MODEL}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    shutil.copyfile(weights, part / weights.name)
    write_json(part / LEARNED, {"temperature": temperature})
    write_json(part / METRICS, {"cross_validation": metrics})
    write_json(part / CONFIG, dataclasses.asdict(config))
    write_json(part / TRAINING, origin)
    replace_folder(part, run / MODEL)
