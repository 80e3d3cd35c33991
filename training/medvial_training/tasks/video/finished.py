"""Networks that need no training: a run's best, a model folder's, a file's or torchvision's."""

import dataclasses
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import nn

from medvial.errors import InputError
from medvial.models import MANIFEST, SAFETENSORS, ModelFolder, config_from_dict
from medvial.outputs import read_json
from medvial.video_classification import ClipConfig
from medvial.video_classification.model import build_model
from medvial.video_classification.predictor import TASK
from medvial_training.weights import TORCHVISION, read_weights, torchvision_weights

log = logging.getLogger(__name__)

BEST, SETTINGS = Path("checkpoints/best.ckpt"), "settings.json"
INSIDE_MODULE = "net."  # Lightning's name of the network
UNTOLD = ("clip_s", "clip_frames", "clips", "crops", "fps")  # that torchvision says nothing of


@dataclass(frozen=True)
class Finished:
    """A trained network and what is known of it."""

    net: nn.Module
    config: ClipConfig
    training: dict[str, Any] = field(default_factory=dict)
    """Provenance for the manifest."""


def finished_network(source: str, config: ClipConfig) -> Finished:
    """Open a network whose every tensor is there.

    Args:
        source: A model folder, a run's folder or checkpoint, a .pt, .pth or .safetensors file, or
            torchvision:NAME.
        config: Of a file that does not bring its own, and, of torchvision's, network and clips.

    Returns:
        The network with the configuration that it was trained with, as far as that is known.

    Raises:
        InputError: There is no such network, or it does not fit the configuration.
    """
    if source.startswith(TORCHVISION):
        return _of_torchvision(source.removeprefix(TORCHVISION), config)
    path = Path(source)
    if (path / "model" / MANIFEST).is_file():
        path /= "model"
    if (path / MANIFEST).is_file():
        return _of_folder(path)
    if (path / BEST).is_file():
        path /= BEST
    if path.is_dir():
        raise InputError(f"Expected a model folder, or a run with {BEST}, got {path}.")
    settings = path.parent.parent / SETTINGS
    if path.suffix == ".ckpt" and settings.is_file():
        config = config_from_dict(ClipConfig, read_json(settings)["model"], where=settings)
    return Finished(_whole(config, read_weights(path), source), config, {"weights": path.name})


def _of_folder(path: Path) -> Finished:
    folder = ModelFolder.open(path, task=TASK)
    config = folder.config(ClipConfig)
    if SAFETENSORS not in folder.manifest.files:
        raise InputError(
            f"Expected {SAFETENSORS} in {path}, got {', '.join(folder.manifest.files)}."
        )
    state = load_file(path / SAFETENSORS)
    return Finished(_whole(config, state, str(path)), config, folder.manifest.training)


def _of_torchvision(name: str, config: ClipConfig) -> Finished:
    """A network of torchvision with its own classes, size and normalisation."""
    from torchvision.models import get_model_weights

    try:
        known = {weights.name: weights for weights in get_model_weights(config.network)}
    except ValueError:
        raise InputError(
            f"Expected a network that torchvision has, got {config.network}. Choose by "
            "--model.network r3d_18, mc3_18, r2plus1d_18 or s3d."
        ) from None
    state = torchvision_weights(config.network, name)
    weights = known[name]
    transform = weights.transforms()
    config = dataclasses.replace(
        config,
        labels=tuple(weights.meta["categories"]),
        positive=None,
        crop=int(transform.crop_size[0]),
        resize=int(min(transform.resize_size)),
        mean=tuple(transform.mean),
        std=tuple(transform.std),
    )
    log.info(
        "%s %s with its own %d classes, size and normalisation; %s are those given here.",
        *(config.network, name, len(config.labels), ", ".join(UNTOLD)),
    )
    data = {"description": f"torchvision's {config.network} {name}"}
    return Finished(_whole(config, state, name), config, {"data": data})


def _whole(config: ClipConfig, state: dict[str, Any], source: str) -> nn.Module:
    """The network with these tensors, all of them."""
    net = build_model(config)
    for prefix in (f"{INSIDE_MODULE}", "module."):
        if state and all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    try:
        net.load_state_dict(state)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:2]]
        raise InputError(
            f"Expected all weights of {config.network} with {len(config.labels)} classes in "
            f"{source}: {' '.join(lines)[:200]} Give the options that it was trained with, by "
            "--model.network and others, or --config SETTINGS of its run."
        ) from None
    return net.eval()
