"""Weights that training starts from; nothing is downloaded that the user did not name."""

import argparse
import logging
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from medvial.errors import InputError

log = logging.getLogger(__name__)

TORCHVISION = "torchvision:"
LEAST_SHARE = 0.5  # of the network's tensors that must be found: less is another network
STATES = ("state_dict", "model_state", "model")  # where files keep the tensors, if not on top

State = dict[str, Tensor]


def load_fitting(net: nn.Module, state: State, *, source: str, name: str) -> None:
    """Load the tensors whose names and shapes are the network's; the others stay new.

    Args:
        net: The network.
        state: Tensors by the network's names.
        source: Where they come from.
        name: What the network is called.

    Raises:
        InputError: Less than half of the network's tensors are there.
    """
    own = net.state_dict()
    fitting = {k: v for k, v in state.items() if k in own and v.shape == own[k].shape}
    if len(fitting) < LEAST_SHARE * len(own):
        raise InputError(
            f"Expected weights of this network in {source}, got {len(fitting)} of {len(own)} "
            "tensors that fit."
        )
    net.load_state_dict({**own, **fitting})
    log.info("%s starts from %s: %d of %d tensors.", name, source, len(fitting), len(own))


def read_weights(path: Path) -> State:
    """The tensors of a .safetensors file, or of one of PyTorch.

    Raises:
        InputError: The file is missing or is no file of tensors.
    """
    if path.suffix != ".safetensors":
        return read_checkpoint(path)
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"Expected weights in {path}, got: {error}.") from None


def read_checkpoint(path: Path) -> State:
    """The tensors of a PyTorch file, also among other things; no code in it is run.

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
    state = content
    if isinstance(content, dict):
        state = next((content[key] for key in STATES if key in content), content)
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise InputError(f"Expected a state dict of tensors in {path}, got {type(state).__name__}.")
    return state


def _load_tensors(path: Path) -> object:
    """Tensors, and the NumPy numbers and options that training programs keep beside them."""
    scalar: Any = np.float64(0).__reduce__()[0]
    numbers: list[Any] = [np.dtype, type(np.dtype(np.float64)), type(np.dtype(np.float32))]
    names: list[Any] = [(scalar, "numpy.core.multiarray.scalar"), scalar, *numbers]
    with torch.serialization.safe_globals([*names, argparse.Namespace]):
        return torch.load(path, map_location="cpu", weights_only=True)


def torchvision_weights(architecture: str, name: str) -> State:
    """Weights of torchvision by name, such as KINETICS400_V1: the user asked for the download.

    Raises:
        InputError: torchvision has no such weights, or they cannot be downloaded.
    """
    from torchvision.models import get_model_weights

    known = {weights.name: weights for weights in get_model_weights(architecture)}
    if name not in known:
        raise InputError(
            f"Expected weights of {architecture} of the names {', '.join(known)}, got {name}."
        )
    try:
        state: State = known[name].get_state_dict(progress=True)
    except (OSError, RuntimeError) as error:
        first = str(error).split("\n")[0][:200]
        raise InputError(
            f"Expected to download {known[name].url}, got: {first}. Download it elsewhere and give "
            "the file's path instead."
        ) from None
    return state
