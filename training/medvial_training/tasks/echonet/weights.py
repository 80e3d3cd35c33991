"""Weights that the networks of echonet start from."""

from pathlib import Path

from torch import nn

from medvial.echonet.predictor import TASK
from medvial.errors import InputError
from medvial.models import ModelFolder
from medvial_training.weights import (
    TORCHVISION,
    State,
    load_fitting,
    read_checkpoint,
    read_weights,
    torchvision_weights,
)

__all__ = ["read_checkpoint", "start_from"]


def start_from(net: nn.Module, source: str, name: str) -> None:
    """Load what fits of some weights into a network.

    A first convolution for three channels becomes one for grey frames by adding its channels up;
    the last layer stays new where it has another number of outputs.

    Args:
        net: The network.
        source: A model folder, a .safetensors or .pt file, or torchvision:NAME.
        name: Name of the network in a model folder: segmentation or ejection_fraction.

    Raises:
        InputError: There are no such weights, or they are another network's.
    """
    state = {key.removeprefix("module."): v for key, v in _read(net, source, name).items()}
    own = net.state_dict()
    if not any(key in own for key in state):
        state = {f"net.{key}": value for key, value in state.items()}  # torchvision's DeepLab
    for key, value in state.items():
        if key in own and value.ndim > 3 and own[key].shape[1] == 1 and value.shape[1] == 3:
            state[key] = value.sum(dim=1, keepdim=True)
    load_fitting(net, state, source=source, name=name)


def _read(net: nn.Module, source: str, name: str) -> State:
    if source.startswith(TORCHVISION):
        return _torchvision(net, source.removeprefix(TORCHVISION))
    path = Path(source)
    if path.is_dir():
        path = ModelFolder.open(path, task=TASK).path / f"{name}.safetensors"
    return read_weights(path)


def _torchvision(net: nn.Module, name: str) -> State:
    architecture = getattr(net, "torchvision_name", None)
    if architecture is None:
        raise InputError(
            f"Expected a network of torchvision to start from {TORCHVISION}{name}, got "
            f"{type(net).__name__}. Choose one with --model.segmentation or "
            "--model.ejection_fraction."
        )
    return torchvision_weights(architecture, name)
