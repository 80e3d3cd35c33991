"""Weights that training starts from; nothing is downloaded that the user did not name."""

import logging
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from medvial.echonet.predictor import TASK
from medvial.errors import InputError
from medvial.models import ModelFolder

log = logging.getLogger(__name__)

TORCHVISION = "torchvision:"
LEAST_SHARE = 0.5  # of the network's tensors that must be found: less is another network

State = dict[str, Tensor]


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
    fitting: State = {}
    for key, value in state.items():
        if key not in own:
            continue
        if value.ndim > 3 and own[key].shape[1] == 1 and value.shape[1] == 3:
            value = value.sum(dim=1, keepdim=True)
        if value.shape == own[key].shape:
            fitting[key] = value
    if len(fitting) < LEAST_SHARE * len(own):
        raise InputError(
            f"Expected weights of this network in {source}, got {len(fitting)} of {len(own)} "
            "tensors that fit."
        )
    net.load_state_dict({**own, **fitting})
    log.info("%s starts from %s: %d of %d tensors.", name, source, len(fitting), len(own))


def _read(net: nn.Module, source: str, name: str) -> State:
    if source.startswith(TORCHVISION):
        return _torchvision(net, source.removeprefix(TORCHVISION))
    path = Path(source)
    if path.is_dir():
        path = ModelFolder.open(path, task=TASK).path / f"{name}.safetensors"
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (OSError, SafetensorError) as error:
            raise InputError(f"Expected weights in {path}, got: {error}.") from None
    return read_checkpoint(path)


def read_checkpoint(path: Path) -> State:
    """The tensors of a PyTorch file, also of one of EchoNet-Dynamic; no code in it is run.

    Raises:
        InputError: The file is missing or is no file of tensors.
    """
    try:
        content = _load_tensors(path)
    except OSError as error:
        raise InputError(f"Expected weights at {path}, got: {error.strerror or error}.") from None
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        first = str(error).split("\n")[0][:200]
        raise InputError(f"Expected a PyTorch state dict in {path}, got: {first}") from None
    state = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise InputError(f"Expected a state dict of tensors in {path}, got {type(state).__name__}.")
    return state


def _load_tensors(path: Path) -> object:
    """Tensors, and the NumPy numbers that EchoNet-Dynamic keeps beside them (`best_loss`, `r2`)."""
    scalar: Any = np.float64(0).__reduce__()[0]
    numbers: list[Any] = [np.dtype, type(np.dtype(np.float64)), type(np.dtype(np.float32))]
    names: list[Any] = [(scalar, "numpy.core.multiarray.scalar"), scalar, *numbers]
    with torch.serialization.safe_globals(names):
        return torch.load(path, map_location="cpu", weights_only=True)


def _torchvision(net: nn.Module, name: str) -> State:
    """Weights of torchvision by name, such as KINETICS400_V1: the user asked for the download."""
    from torchvision.models import get_model_weights

    architecture = getattr(net, "torchvision_name", None)
    if architecture is None:
        raise InputError(
            f"Expected a network of torchvision to start from {TORCHVISION}{name}, got "
            f"{type(net).__name__}. Choose one with --model.segmentation or "
            "--model.ejection_fraction."
        )
    known = {w.name: w for w in get_model_weights(architecture)}
    if name not in known:
        raise InputError(
            f"Expected weights of {architecture} of the names {', '.join(known)}, got {name}."
        )
    state: State = known[name].get_state_dict(progress=True)
    return state
