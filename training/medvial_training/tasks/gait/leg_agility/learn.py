"""One training of leg agility, of a network or of a forest: from legs to weights."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import seed_everything
from numpy.typing import NDArray
from safetensors.torch import save_file

from medvial.errors import InputError
from medvial.gait.leg_agility.config import LegConfig
from medvial.gait.leg_agility.model import build_model
from medvial.gait.leg_agility.rating import NAME
from medvial.models import Network
from medvial_training.distributed import is_main
from medvial_training.fit import FitArgs, fit_module
from medvial_training.tasks.gait.leg_agility.choices import LegTraining
from medvial_training.tasks.gait.leg_agility.dataset import LegData, LegInputs, targets_of
from medvial_training.tasks.gait.leg_agility.forest import train_forest
from medvial_training.tasks.gait.leg_agility.module import LegModule
from medvial_training.tasks.gait.leg_agility.recordings import LegSample
from medvial_training.tasks.gait.leg_agility.start import start_from

log = logging.getLogger(__name__)

BATCH = 8  # legs at a time in prediction


def weights_name(config: LegConfig) -> str:
    """Name of the file that `learn` leaves: leg_agility.safetensors, or .onnx of a forest."""
    return f"{NAME}.onnx" if config.kind == "kinematic" else f"{NAME}.safetensors"


def learn(
    inputs: LegInputs,
    train: Sequence[LegSample],
    valid: Sequence[LegSample],
    fit: FitArgs,
    training: LegTraining,
    run: Path,
    *,
    resume: bool = False,
    parameters: dict[str, Any] | None = None,
    notes: dict[str, Any] | None = None,
) -> Path:
    """Train on some legs, choose the best epoch by others.

    A forest has no epochs: it learns from the training legs, and the others stay unseen.

    Args:
        inputs: What networks see of all legs.
        train: Legs to learn from.
        valid: Legs of other patients.
        fit: How a network is trained; of a forest, the seed.
        training: Balance, start, forest.
        run: Folder of the run, which gets the weights; of a network, checkpoints and log.csv too.
        resume: Go on from the last checkpoint.
        parameters: The options of the run, for settings.json and the tracker.
        notes: What else the tracker is to note.

    Returns:
        The weights: run/leg_agility.safetensors, or run/leg_agility.onnx of a forest.

    Raises:
        InputError: There is nothing to learn from, or the start is another network's.
    """
    config, target = inputs.config, run / weights_name(inputs.config)
    for name, legs in (("train on", train), ("choose the best epoch by", valid)):
        if not legs and (config.kind != "kinematic" or legs is train):
            raise InputError(f"Expected scored legs to {name}, got none.")
    run.mkdir(parents=True, exist_ok=True)
    if config.kind == "kinematic" and not is_main():  # one process grows and writes the forest
        return target
    if config.kind == "kinematic":
        copies = range(inputs.changes.variants + 1)
        values = np.concatenate([inputs.stack(train, variant) for variant in copies])
        targets = np.tile(targets_of([s.score for s in train], config), len(copies))
        train_forest(values, targets, config, training, fit.seed, target)
        return target
    data = LegData(inputs, train, valid, fit)
    seed_everything(fit.seed, workers=True, verbose=False)  # before the weights are drawn
    module = LegModule.of(data.train, fit, training.balance)
    if training.weights is not None:
        start_from(module.net, training.weights, config)
    best = fit_module(
        module,
        data,
        fit,
        run,
        task="gait",
        monitor=module.monitor,
        mode=module.mode,
        resume=resume,
        parameters=parameters or {},
        notes=notes,
    )
    if is_main():
        state = torch.load(best, map_location="cpu", weights_only=False)["state_dict"]
        module.load_state_dict(state)
        _save(module.net, target)
    return target


def predict(
    inputs: LegInputs, samples: Sequence[LegSample], network: Network
) -> NDArray[np.float32]:
    """(N, outputs) of a network for legs as they are."""
    parts = [
        network(inputs.stack(samples[start : start + BATCH]))
        for start in range(0, len(samples), BATCH)
    ]
    return np.concatenate(parts) if parts else np.zeros((0, inputs.config.outputs), np.float32)


def open_weights(path: Path, config: LegConfig) -> Network:
    """What `learn` left, as a function of arrays (N, ...) to (N, outputs)."""
    if path.suffix == ".onnx":
        import onnxruntime

        network = path.read_bytes()
        session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
        return lambda batch: session.run(None, {"input": batch})[0]
    from medvial.torch_network import torch_network

    return torch_network(path, lambda: build_model(config))


def _save(net: torch.nn.Module, target: Path) -> None:
    """Write weights, whole or not at all."""
    part = target.with_name(target.name + ".part")
    save_file({k: v.contiguous() for k, v in net.state_dict().items()}, part)
    part.replace(target)
