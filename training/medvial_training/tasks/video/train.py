"""Step 2 of video: from prepared videos to a model folder."""

import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import distributed

from medvial.errors import InputError
from medvial.models import MANIFEST
from medvial.outputs import read_json
from medvial.video_classification import ClipConfig
from medvial.video_classification.predictor import TASK
from medvial_training.clips.augment import ClipAugmentation
from medvial_training.clips.learn import train_clips
from medvial_training.clips.options import ClipTraining
from medvial_training.distributed import is_main, restarted
from medvial_training.fit import FitArgs
from medvial_training.provenance import provenance
from medvial_training.shares import join_shares
from medvial_training.tasks.video.evaluate import evaluate
from medvial_training.tasks.video.export import write_export
from medvial_training.tasks.video.finished import finished_network
from medvial_training.tasks.video.videos import Prepared
from medvial_training.tasks.video.write_model import write_model

log = logging.getLogger(__name__)

FIT = FitArgs(batch_size=6, max_epochs=50, ema_decay=0.99)


def train(
    data: Path = Path("data/video"),
    run: Path = Path("runs/video"),
    model: ClipConfig = ClipConfig(),
    fit: FitArgs = FIT,
    training: ClipTraining = ClipTraining(),
    augment: ClipAugmentation = ClipAugmentation(),
    description: str = "",
    resume: bool = False,
    validate_only: bool = False,
    export_only: bool = False,
) -> None:
    """Train a network, write the model folder of its best epoch.

    Args:
        data: Folder that step 1 wrote.
        run: Folder of the run, whose name is the name in MLflow; its model folder is run/model.
        model: Configuration of the model; starts from what step 1 wrote.
        fit: How to train.
        training: Start, balance and validation.
        augment: Random changes of the training clips.
        description: What the run is; noted by MLflow and in the model's manifest.
        resume: Go on from the run's last checkpoint.
        validate_only: Train nothing; score the validation videos into run/valid. The network is
            that of --training.weights, with its own classes, or the run's best.
        export_only: Train nothing; write that network as run/export, a model folder with an ONNX
            file.
    """
    if validate_only or export_only:
        folder = _made_once(lambda: _model_folder(data, run, model, training.weights))
        if validate_only:
            evaluate(data, folder, run / "valid", "valid")
        if export_only and is_main():
            write_export(folder, run / "export", data)
        return
    prepared = _open(data, model)
    parameters: dict[str, Any] = {
        "data": str(data),
        "model": dataclasses.asdict(model),
        "fit": dataclasses.asdict(fit),
        "training": dataclasses.asdict(training),
        "augment": dataclasses.asdict(augment),
        "description": description,
    }
    net = train_clips(
        prepared.store,
        prepared.items("train", model.labels),
        prepared.items("valid", model.labels),
        model,
        fit,
        training,
        augment,
        run,
        task=TASK,
        resume=resume or (restarted() and (run / "checkpoints" / "last.ckpt").is_file()),
        parameters=parameters,
    )
    if is_main():
        origin = provenance(data) | {"videos": prepared.about.get("videos", {})}
        known = {"description": description, "start": training.weights}
        origin |= {name: value for name, value in known.items() if value}
        write_model(run, net, model, origin, prepared)


def _open(data: Path, model: ClipConfig) -> Prepared:
    """The prepared videos, if they can be trained on as the configuration says."""
    prepared = Prepared.open(data)
    prepared.check_config(model)
    if not len(prepared.splits["train"]):
        raise InputError(
            f"Expected videos to train on in {data}, got none: these are for the test alone. Test "
            f"a model on them with step 3, --data {data} --model FOLDER."
        )
    if prepared.about.get("phantom"):
        log.info("These are phantoms: no score says anything about real videos.")
    if prepared.about.get("within_video"):
        log.info("All splits are parts of the same videos: no score says anything about new ones.")
    return prepared


def _made_once(make: Callable[[], Path]) -> Path:
    """What the main process makes and the others then find."""
    shares = join_shares()
    if shares.rank == 0:
        make()
    if shares.size > 1:
        distributed.barrier()
    return make()


def _model_folder(data: Path, run: Path, model: ClipConfig, weights: str | None) -> Path:
    """The model folder of a network that needs no training; made as run/model where there is none.

    Raises:
        InputError: There is no such network, or run/model is another one.
    """
    for folder in (Path(weights or run) / "model", Path(weights or run)):
        if (folder / MANIFEST).is_file():
            return folder
    made = run / "model" / MANIFEST
    if made.is_file():
        if read_json(made)["training"].get("weights") == weights:
            return made.parent
        raise InputError(
            f"Expected a new run folder for {weights}, got {run} with the model of another "
            "network. Choose another --run."
        )
    finished = finished_network(weights or str(run), model)
    origin = finished.training | ({"weights": weights} if weights else provenance(data))
    prepared = None if weights else Prepared.open(data)
    return write_model(run, finished.net, finished.config, origin, prepared)
