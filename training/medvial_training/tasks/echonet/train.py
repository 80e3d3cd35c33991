"""Step 2 of echonet: from prepared videos to a model folder with two networks."""

import dataclasses
import logging
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import seed_everything
from safetensors.torch import save_file

from medvial.echonet.config import NETWORKS, Config
from medvial.echonet.predictor import TASK
from medvial.errors import InputError
from medvial.outputs import read_json
from medvial_training.distributed import is_main, restarted
from medvial_training.fit import FitArgs, fit_module
from medvial_training.settings import SETTINGS, compare_settings, compare_splits
from medvial_training.tasks.echonet.augment import Augmentation
from medvial_training.tasks.echonet.choices import Choices
from medvial_training.tasks.echonet.dataset import Clips, EchoData, TracedFrames, check_prepared
from medvial_training.tasks.echonet.modules import EjectionFractionModule, SegmentationModule
from medvial_training.tasks.echonet.recordings import Recordings
from medvial_training.tasks.echonet.weights import start_from
from medvial_training.tasks.echonet.write_model import (
    check_config,
    trained_weights,
    write_model,
)

log = logging.getLogger(__name__)

SEGMENTATION_FIT = FitArgs(batch_size=16, learning_rate=3e-3, ema_decay=0.99)
EJECTION_FRACTION_FIT = FitArgs(batch_size=8, learning_rate=2e-3, ema_decay=0.99)
AFTER_TRAINING = ("recalibrate", "coverage")  # choices that a finished network may be given anew


def train(
    data: Path = Path("data/echonet"),
    run: Path = Path("runs/echonet"),
    networks: Literal["both", "segmentation", "ejection_fraction"] = "both",
    model: Config = Config(),
    segmentation_fit: FitArgs = SEGMENTATION_FIT,
    ejection_fraction_fit: FitArgs = EJECTION_FRACTION_FIT,
    choices: Choices = Choices(),
    augment: Augmentation = Augmentation(),
    resume: bool = False,
    segmentation_weights: str | None = None,
    ejection_fraction_weights: str | None = None,
) -> None:
    """Train the networks one after the other, write the model folder.

    Args:
        data: Folder that step 1 wrote.
        run: Folder of the run; its model folder is run/model.
        networks: Which to train; a network that this run has trained before is kept.
        model: Configuration of the model; starts from what step 1 wrote.
        segmentation_fit: How to train the segmentation.
        ejection_fraction_fit: How to train the ejection fraction.
        choices: Losses, validation and what is learned after training.
        augment: Random changes of the training samples.
        resume: Go on from the run's last checkpoints; a network that is finished stays.
        segmentation_weights: Where the segmentation starts: a model folder, a .safetensors or .pt
            file, or torchvision:NAME, which downloads the weights of that name.
        ejection_fraction_weights: Likewise for the ejection fraction.
    """
    check_prepared(data, model)
    train_set, valid_set = Recordings(data, "train"), Recordings(data, "valid")
    _check_videos(data, networks, train_set, valid_set)
    for name in NETWORKS:
        if networks not in ("both", name):  # kept beside the one that is trained now
            check_config(run, name, model)
            _check_kept(run, name, data)
    if read_json(data / "source.json").get("phantom"):
        log.info("These are phantoms: no score says anything about clinical accuracy.")
    fits = {"segmentation": segmentation_fit, "ejection_fraction": ejection_fraction_fit}
    jobs = {
        name: make(train_set, valid_set, model, fits[name], choices, augment)
        for name, make in (
            ("segmentation", _segmentation),
            ("ejection_fraction", _ejection_fraction),
        )
        if networks in ("both", name)
    }
    starts = {
        "segmentation": segmentation_weights,
        "ejection_fraction": ejection_fraction_weights,
    }
    common = {
        "data": str(data),
        "model": dataclasses.asdict(model),
        "choices": dataclasses.asdict(choices),
        "augment": dataclasses.asdict(augment),
    }
    for name, job in jobs.items():
        _train_one(name, job, run, common, resume or restarted(), starts[name])
    if is_main():
        write_model(run, model, data, valid_set, choices)


def _check_videos(data: Path, networks: str, train_set: Recordings, valid_set: Recordings) -> None:
    """Refuse data that were prepared for something else: for a test, or for one network."""
    if not train_set.all:
        raise InputError(
            f"Expected videos to train on in {data}, got none: these are for the test alone. Test "
            f"a model on them with step 3, --data {data} --model FOLDER."
        )
    films = any(recording.is_cine for recording in (*train_set.all, *valid_set.all))
    if networks != "segmentation" and not films:
        raise InputError(
            f"Expected films for the ejection fraction, {data} has single frames only: train the "
            "segmentation alone, --networks segmentation."
        )


def _check_kept(run: Path, name: str, data: Path) -> None:
    """Refuse a finished network beside the one that is trained now whose data were dealt out anew.

    What is learned after training comes of the validation videos: it may have trained on them.
    """
    settings = run / name / SETTINGS
    finished = trained_weights(run, name).is_file() and settings.is_file()
    if finished and read_json(settings)["data"] == str(data):  # or it was meant to learn of others
        compare_splits(run / name, data)


@dataclasses.dataclass(frozen=True)
class _Job:
    """One network's data and how its module is made, once the seed is set."""

    samples: EchoData
    make: Any
    fit: FitArgs


def _segmentation(
    train_set: Recordings,
    valid_set: Recordings,
    model: Config,
    fit: FitArgs,
    choices: Choices,
    changes: Augmentation,
) -> _Job:
    samples = EchoData(TracedFrames(train_set), TracedFrames(valid_set), fit)
    _check_samples(samples, "traced frames", "VolumeTracings.csv")
    return _Job(
        samples,
        lambda: SegmentationModule(model, fit, changes, choices.segmentation_loss),
        fit,
    )


def _ejection_fraction(
    train_set: Recordings,
    valid_set: Recordings,
    model: Config,
    fit: FitArgs,
    choices: Choices,
    changes: Augmentation,
) -> _Job:
    train = Clips(train_set, model, seed=fit.seed)
    valid = Clips(valid_set, model, clips_per_video=choices.validation_clips)
    samples = EchoData(train, valid, fit)
    _check_samples(samples, "videos with an ejection fraction", "FileList.csv")
    if train.padded:
        log.info(
            "%d of %d training videos are shorter than a clip and end in mean grey.",
            train.padded,
            len(train),
        )
    training_ef = [recording.ef for recording in train.items]
    loss, balance = choices.ejection_fraction_loss, choices.balance
    return _Job(
        samples,
        lambda: EjectionFractionModule(model, fit, changes, loss, training_ef, balance),
        fit,
    )


def _check_samples(samples: EchoData, what: str, where: str) -> None:
    counts: dict[str, Any] = {"train": samples.train, "valid": samples.valid}
    for split, dataset in counts.items():
        if not len(dataset):
            raise InputError(
                f"Expected {what} in {split}.csv, got none. Give {where} to step 1, or train the "
                "other network alone with --networks."
            )


def _train_one(
    name: str,
    job: _Job,
    run: Path,
    common: dict[str, Any],
    resume: bool,
    start: str | None,
) -> None:
    """Train one network; its weights come to lie in run/<name>/."""
    folder = run / name
    target = trained_weights(run, name)
    fit = {f"{name}_fit": dataclasses.asdict(job.fit), f"{name}_weights": start}
    if resume and target.is_file():
        _check_finished(folder / SETTINGS, common | fit)
        compare_splits(folder, Path(common["data"]))
        log.info("%s is trained already.", name)
        return
    seed_everything(job.fit.seed, workers=True, verbose=False)  # before the weights are drawn
    module = job.make()
    if start is not None:
        start_from(module.net, start, name)
    log.info(
        "Training %s, %s (%.2f M parameters), on %d samples, validating on %d.",
        name,
        common["model"][name],
        sum(p.numel() for p in module.net.parameters()) / 1e6,
        len(job.samples.train),  # type: ignore[arg-type]
        len(job.samples.valid),  # type: ignore[arg-type]
    )
    going_on = resume and (folder / "checkpoints" / "last.ckpt").is_file()
    best = fit_module(
        module,
        job.samples,
        job.fit,
        folder,
        task=TASK,
        monitor=module.monitor,
        mode=module.mode,
        resume=going_on,
        parameters=common | fit,
    )
    if not is_main():
        return
    module.load_state_dict(torch.load(best, map_location="cpu", weights_only=False)["state_dict"])
    _save(module.net, target)


def _save(net: torch.nn.Module, target: Path) -> None:
    """Write weights, whole or not at all."""
    part = target.with_name(target.name + ".part")
    save_file({k: v.contiguous() for k, v in net.state_dict().items()}, part)
    part.replace(target)


def _check_finished(settings: Path, parameters: dict[str, Any]) -> None:
    """Refuse options that a finished training did not have, but for those that come after it."""
    before = read_json(settings)["choices"]
    choices = parameters["choices"] | {name: before[name] for name in AFTER_TRAINING}
    compare_settings(settings, parameters | {"choices": choices})
