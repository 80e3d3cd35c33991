"""A network in PyTorch, for the GPU image and for training."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file

from medvial.errors import InputError


def torch_network(
    weights: Path, build_model: Callable[[], torch.nn.Module]
) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """Load safetensors weights into a network, on the CUDA device where there is one.

    Raises:
        InputError: The file is no safetensors file, or its tensors are another network's.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = build_model()
    try:
        model.load_state_dict(load_file(weights))
    except (SafetensorError, RuntimeError) as error:
        first = str(error).splitlines()[0]
        raise InputError(f"Expected this configuration's weights in {weights}: {first}") from None
    model.eval().to(device)

    def run(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            output: NDArray[np.float32] = model(torch.from_numpy(batch).to(device)).cpu().numpy()
        return output

    return run
