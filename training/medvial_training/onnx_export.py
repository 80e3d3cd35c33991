"""A network as an ONNX file that gives the same numbers."""

import logging
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray

from medvial.errors import InputError

log = logging.getLogger(__name__)

OPSET = 17  # read by every ONNX Runtime since 1.12


def export_onnx(
    net: torch.nn.Module, example: NDArray[np.float32], path: Path, *, tolerance: float = 1e-3
) -> float:
    """Write a network as ONNX and compare it with PyTorch on an example.

    Args:
        net: The network.
        example: A batch, (N, ...) float32; N stays free in the file.
        path: The ONNX file to write.
        tolerance: Largest difference allowed, relative to the output's largest magnitude.

    Returns:
        The largest difference, on the same scale.

    Raises:
        InputError: The two differ by more.
    """
    net = net.eval().cpu().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    batch = torch.from_numpy(example)
    with torch.inference_mode():
        expected = net(batch).numpy()
    torch.onnx.export(
        net,
        (batch,),
        str(path),
        input_names=["input"],
        output_names=["output"],
        dynamic_axes={"input": {0: "batch"}, "output": {0: "batch"}},
        opset_version=OPSET,
        dynamo=False,
    )
    onnx.checker.check_model(str(path))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    got = session.run(None, {"input": example})[0]
    difference = float(np.abs(got - expected).max() / max(np.abs(expected).max(), 1e-12))
    log.info("ONNX parity: largest relative difference %.2g (at most %.2g)", difference, tolerance)
    if not difference <= tolerance:
        raise InputError(
            f"Expected ONNX Runtime and PyTorch to agree within {tolerance:g}, got a relative "
            f"difference of {difference:.3g} for {path}."
        )
    return difference
