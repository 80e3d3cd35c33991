"""A clip classifier trained from what step 1 stored."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import seed_everything

from medvial.video_classification.config import ClipConfig
from medvial_training.clips.augment import ClipAugmentation
from medvial_training.clips.dataset import ClipData, Item, TrainClips, ViewClips
from medvial_training.clips.module import ClipModule
from medvial_training.clips.options import ClipTraining
from medvial_training.clips.pictures import ClipPictures
from medvial_training.clips.start import start_clips_from
from medvial_training.clips.store import ClipStore
from medvial_training.fit import FitArgs, fit_module

log = logging.getLogger(__name__)


def train_clips(
    store: ClipStore,
    train_items: Sequence[Item],
    valid_items: Sequence[Item],
    config: ClipConfig,
    fit: FitArgs,
    training: ClipTraining,
    changes: ClipAugmentation,
    run: Path,
    *,
    task: str,
    resume: bool,
    parameters: dict[str, Any],
    notes: dict[str, Any] | None = None,
) -> torch.nn.Module:
    """Train a network until its validation score stops improving.

    Args:
        store: Holds the videos.
        train_items: The training videos.
        valid_items: The validation videos.
        config: What the network is and sees.
        fit: How to train.
        training: Start, balance and validation.
        changes: Random changes of the training clips.
        run: Folder of the run, as in `fit_module`.
        task: Name of the MLflow experiment.
        resume: Go on from the last checkpoint.
        parameters: The options of the run.
        notes: What else MLflow is to note.

    Returns:
        The network with the weights of the best epoch, on the CPU.

    Raises:
        InputError: The options do not fit the videos, or as in `fit_module`.
    """
    seed_everything(fit.seed, workers=True, verbose=False)  # before the weights are drawn
    train = TrainClips(
        store,
        train_items,
        config,
        fit.seed,
        clips=training.clips_per_epoch,
        log_speed=changes.log_speed,
    )
    views = replace(config, clips=training.validation_clips or config.clips)
    valid = ViewClips(store, valid_items, views)
    data = ClipData(train, valid, fit, balance=training.balance_sampling)
    module = ClipModule(config, fit, changes, training, train_items, valid_items)
    if training.weights is not None and not resume:
        start_clips_from(module.net, training.weights, config)
    _warn_of_frozen_chance(training)
    if fit.mlflow and training.pictures:
        module.pictures = [ClipPictures(valid, training.pictures)]
    log.info(
        "Training %s (%.2f M parameters) on %d videos, validating on %d (%d clips).",
        config.network if config.fusion == "slow" else f"{config.fusion} ResNet-{config.depth}",
        sum(p.numel() for p in module.net.parameters()) / 1e6,
        len(train.items),
        len(valid.items),
        len(valid),
    )
    best = fit_module(
        module,
        data,
        fit,
        run,
        task=task,
        monitor=module.monitor,
        mode=module.mode,
        resume=resume,
        parameters=parameters,
        notes=notes,
    )
    module.load_state_dict(torch.load(best, map_location="cpu", weights_only=False)["state_dict"])
    return module.net.cpu().eval()


def _warn_of_frozen_chance(training: ClipTraining) -> None:
    if training.weights is None and training.fix_layer not in ("none", "all"):
        log.warning(
            "fix_layer %s keeps parts of the network as they start, and without weights they start "
            "at random: give weights, or train the whole network.",
            training.fix_layer,
        )
