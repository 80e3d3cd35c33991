"""Step 2 of walking: a network for each fold, tested on its own patients, and the final one."""

import dataclasses
import functools
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from medvial.errors import InputError
from medvial.gait.config import TASK, WALKING
from medvial.models import Network
from medvial.outputs import read_json, replace_folder, write_bytes, write_json
from medvial.video_classification.config import ClipConfig
from medvial.video_classification.learned import Learned
from medvial_training.classification_scores import classification_scores
from medvial_training.clips.augment import ClipAugmentation
from medvial_training.clips.dataset import Item
from medvial_training.clips.learn import train_clips
from medvial_training.clips.predictions import Prediction, learn, predict, predictions_table
from medvial_training.clips.store import ClipStore
from medvial_training.cross_validation import PREDICTIONS, run_folds
from medvial_training.distributed import is_main, samples_per_step
from medvial_training.fit import FitArgs
from medvial_training.fold_manifest import FINAL, assert_listed
from medvial_training.folds import Folds, load_folds
from medvial_training.metrics import Bootstrap
from medvial_training.patients import name_key
from medvial_training.tasks.gait.overlap import origin_of
from medvial_training.tasks.gait.systems import CONFIG, LEARNED, METRICS, TRAINING
from medvial_training.tasks.gait.walking.choices import WalkingTraining
from medvial_training.tasks.gait.walking.prepare import FOLDS, VIDEOS

log = logging.getLogger(__name__)

VALID = "valid.csv"
WEIGHTS = f"{WALKING}.safetensors"
AS_PREPARED = ("labels", "positive", "fps", "resize")
TEXT = dict.fromkeys(("video", "patient", "group", "site", "label", "fold"), str)


@dataclasses.dataclass(frozen=True)
class _Job:
    """What all folds share."""

    store: ClipStore
    config: ClipConfig
    fit: FitArgs
    training: WalkingTraining
    changes: ClipAugmentation
    parameters: dict[str, Any]
    notes: dict[str, Any]
    resume: bool


def train_system(
    data: Path,
    run: Path,
    config: ClipConfig,
    fit: FitArgs,
    training: WalkingTraining,
    changes: ClipAugmentation,
    *,
    resume: bool,
) -> None:
    """Train and test every fold, pool the predictions, train the final network.

    Leaves RUN/fold_1 … and RUN/final, RUN/predictions.csv of the folds' test patients and
    RUN/model: weights, config.json, learned.json, metrics.json and training.json.

    Raises:
        InputError: The data are not prepared so, or two parts of a fold share something.
    """
    origin = train_folds(data, run, config, fit, training, changes, resume=resume)
    if is_main():
        _write_model(run, config, origin)


def train_folds(
    data: Path,
    run: Path,
    config: ClipConfig,
    fit: FitArgs,
    training: WalkingTraining,
    changes: ClipAugmentation,
    *,
    resume: bool,
    final: bool = True,
) -> dict[str, Any]:
    """Train and test every fold and pool the predictions; train the final network if wanted.

    Returns:
        What it learned from: `origin_of` the data.

    Raises:
        InputError: As in `train_system`.
    """
    check_prepared(data, config)
    folds = load_folds(data / FOLDS)
    _check_manifest(folds, data, config)
    origin = origin_of(data, folds)
    parameters = {
        "walking": dataclasses.asdict(config),
        "walking_training": dataclasses.asdict(training),
        "walking_augment": dataclasses.asdict(changes),
        "walking_fit": dataclasses.asdict(fit),
    }
    notes = {"data": str(data), "run": run.name}  # of a grid, the cell's name
    store = ClipStore(data)
    job = _Job(store, config, fit, training, changes, parameters, notes, resume)
    one = functools.partial(_train_fold, job)
    only = folds.names if final else folds.tested
    frames = {name: record.key for name, record in store.records.items()}
    run_folds(
        folds,
        run,
        one,
        parameters,
        content=frames,
        samples_per_step=samples_per_step(fit),
        resume=resume,
        only=only,
    )
    return origin


def _check_manifest(folds: Folds, data: Path, config: ClipConfig) -> None:
    """Refuse folds of another hand that name what step 1 does not know.

    Raises:
        InputError: A video is not prepared, or a label is no class.
    """
    assert_listed(folds.table, data / VIDEOS)
    strange = sorted(set(folds.labels) - set(config.labels))
    if strange:
        raise InputError(
            f"Expected labels of {', '.join(config.labels)} in {data / FOLDS}, got "
            f"{', '.join(strange[:5])}."
        )


def check_prepared(data: Path, config: ClipConfig) -> None:
    """Refuse a configuration that needs other pictures than step 1 made.

    Raises:
        InputError: Names what differs.
    """
    noted = read_json(data / CONFIG)
    now = dataclasses.asdict(config)
    changed = [n for n in AS_PREPARED if _plain(now[n]) != _plain(noted.get(n))]
    if changed:
        name = changed[0]
        raise InputError(
            f"Expected --walking.{name} as in step 1 ({noted.get(name)}), got {now[name]}. Prepare "
            "the videos anew with it, or leave the option out."
        )


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def items_of(table: pd.DataFrame, config: ClipConfig) -> list[Item]:
    """A table's videos as training asks for them."""
    rows = zip(table["video"], table["label"], table["patient"], strict=True)
    return [Item(video, config.labels.index(label), patient) for video, label, patient in rows]


def _train_fold(
    job: _Job,
    fold: str,
    train: pd.DataFrame,
    valid: pd.DataFrame,
    test: pd.DataFrame,
    folder: Path,
) -> None:
    """Train on one part, choose on the second, and look at the third once."""
    resume = job.resume and (folder / "checkpoints" / "last.ckpt").is_file()
    net = train_clips(
        job.store,
        items_of(train, job.config),
        items_of(valid, job.config),
        job.config,
        job.fit,
        job.training,
        job.changes,
        folder,
        task=TASK,
        resume=resume,
        parameters=job.parameters,
        notes=job.notes | {"fold": fold},
    )
    if not is_main():
        return
    _save(net, folder / WEIGHTS)
    network = as_function(net)
    chosen_on = list(predict(job.store, items_of(valid, job.config), network, job.config))
    learned = learned_on(chosen_on, job.config, job.training)
    write_json(folder / LEARNED, learned.as_dict())
    _write_predictions(job, network, learned, valid, folder / VALID)
    if len(test):
        _write_predictions(job, network, learned, test, folder / PREDICTIONS)


def learned_on(
    predictions: Sequence[Prediction], config: ClipConfig, training: WalkingTraining
) -> Learned:
    """Temperature, and a threshold where there are patients enough to learn one."""
    learned = learn(predictions, config)
    patients = {name_key(prediction.item.patient) for prediction in predictions}
    if len(patients) < training.threshold_patients:
        return dataclasses.replace(learned, threshold=0.5)
    return learned


def as_function(net: torch.nn.Module) -> Network:
    """A trained network as inference calls it, on the GPU where there is one."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    net = net.to(device).eval()

    def run(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            output: NDArray[np.float32] = net(torch.from_numpy(batch).to(device)).cpu().numpy()
        return output

    return run


def _write_predictions(
    job: _Job, network: Network, learned: Learned, videos: pd.DataFrame, path: Path
) -> None:
    said = predict(job.store, items_of(videos, job.config), network, job.config,
                   learned.temperature)  # fmt: skip
    table = predictions_table(list(said), job.config, learned)
    write_bytes(path, table.to_csv(index=False, lineterminator="\n").encode())


def _save(net: torch.nn.Module, target: Path) -> None:
    """Write weights, whole or not at all."""
    part = target.with_name(target.name + ".part")
    save_file({k: v.cpu().contiguous() for k, v in net.state_dict().items()}, part)
    part.replace(target)


def _write_model(run: Path, config: ClipConfig, origin: dict[str, Any]) -> None:
    """The final network's files, with the scores of the cross-validation beside its own."""
    part = run / "model.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    shutil.copyfile(run / FINAL / WEIGHTS, part / WEIGHTS)
    shutil.copyfile(run / FINAL / LEARNED, part / LEARNED)
    write_json(part / CONFIG, dataclasses.asdict(config))
    phantom = bool(origin["data"].get("phantom"))
    write_json(part / METRICS, _metrics(run, config, phantom=phantom))
    write_json(part / TRAINING, origin)
    replace_folder(part, run / "model")


def _metrics(run: Path, config: ClipConfig, *, phantom: bool) -> dict[str, Any]:
    """Main scores by patient: of the folds' test patients, and of the final validation."""
    files = {"cross_validation": run / PREDICTIONS, "valid": run / FINAL / VALID}
    result = {}
    for name, path in files.items():
        scores = classification_scores(
            pd.read_csv(path, dtype=TEXT, keep_default_na=False),
            config.labels,
            config.positive,
            bootstrap=Bootstrap(resamples=500),
        )
        known = ("accuracy", "balanced_accuracy", "auroc", "macro_f1")
        result[name] = {n: scores[n]["value"] for n in known if n in scores} | {
            "patients": scores["patients"]
        }
    log.info(
        "Patients never seen in training, by patient: %s%s.",
        ", ".join(
            f"{k} {v:.3f}" if isinstance(v, float) else f"{v} {k}"
            for k, v in result["cross_validation"].items()
            if v is not None
        ),
        "; PHANTOMS, says nothing about clinical accuracy" if phantom else "",
    )
    return result
