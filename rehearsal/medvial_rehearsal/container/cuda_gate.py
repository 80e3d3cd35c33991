"""Gate H1: a CUDA build that the platform's T4 can run, read from the image without a GPU."""

import subprocess

from medvial_rehearsal.container.context import Rehearsal
from medvial_rehearsal.gates import GateFailure, gate

NEWEST_CUDA = (12, 6)
"""The newest that the driver of the platform's T4 instances runs."""
T4 = "sm_75"
_MEND = "Install torch 2.7.1 or older, or one built for CUDA 12.6 with sm_75."

# Runs in the image. torch/version.py tells the CUDA version without the seconds of an import.
_PROGRAM = """
import importlib.util, pathlib, re
spec = importlib.util.find_spec("torch")
text = pathlib.Path(spec.origin).with_name("version.py").read_text() if spec else ""
cuda = re.search(r"^cuda\\b[^=]*= *'([\\d.]+)'", text, re.M)
cuda = cuda[1] if cuda else ""
print(cuda)
if cuda and tuple(map(int, cuda.split(".")[:2])) <= %r:
    import torch
    print(torch._C._cuda_getArchFlags())
"""


@gate("H1", "PyTorch for CUDA 12.6 or older, with kernels for the T4")
def cuda_build(context: Rehearsal) -> str:
    """The image's own packages."""
    for python in ("python3", "python"):
        command = ["docker", "run", "--rm", "--network", "none", "--entrypoint", python]
        command += [context.image, "-c", _PROGRAM % (NEWEST_CUDA,)]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode == 0:
            break
    else:
        return "no Python in the image"
    cuda, *kernels = result.stdout.strip().splitlines() or [""]
    if not cuda:
        return "no PyTorch for CUDA in the image"
    if tuple(map(int, cuda.split(".")[:2])) > NEWEST_CUDA:
        raise GateFailure(f"PyTorch is built for CUDA {cuda}", _MEND)
    if T4 not in " ".join(kernels):
        raise GateFailure(f"PyTorch has no {T4} kernels: {' '.join(kernels)}", _MEND)
    return f"CUDA {cuda}, {T4}"
