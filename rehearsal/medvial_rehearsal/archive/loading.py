"""Whether the algorithm's own program can load a model on the CPU."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from medvial.errors import InputError
from medvial_rehearsal.archive.tar import tarfile
from medvial_rehearsal.gates import GateFailure, GateNotRun
from medvial_rehearsal.project import algorithm_class, algorithm_folder

_LIMIT_S = 120  # a large model loads in some seconds


def load_on_cpu(model: Path, task: str) -> str:
    """Unpack a model tarball that was found safe, and load it in a process of its own.

    Raises:
        GateNotRun: The task is no algorithm of this project.
        GateFailure: It does not load.
    """
    if not task.isidentifier():
        raise GateNotRun(f"{task!r} is no task's name")
    try:
        program = algorithm_folder(task)
    except InputError:
        raise GateNotRun(f"there is no algorithms/{task}/process.py to load it with") from None
    with tempfile.TemporaryDirectory(prefix="medvial-model-") as folder:
        with tarfile.open(model) as archive:
            archive.extractall(folder, filter="data")
        command = [sys.executable, "-m", __spec__.name, str(program), folder]
        try:
            done = subprocess.run(
                command,
                env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
                capture_output=True,
                text=True,
                timeout=_LIMIT_S,
            )
        except subprocess.TimeoutExpired:
            raise GateFailure(
                f"still loading after {_LIMIT_S} s", "Load less, or load it faster."
            ) from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise GateFailure(
            lines[-1].replace(folder, "/opt/ml/model") if lines else f"exit code {done.returncode}",
            f"Find it with: python algorithms/{task}/process.py --model MODEL",
        )
    return f"algorithms/{task}/process.py loads it"


def _main(folder: Path, model: Path) -> None:
    """Load a model by the Algorithm of a process.py."""
    algorithm_class(folder)(model_path=model).load()


if __name__ == "__main__":
    _main(Path(sys.argv[1]), Path(sys.argv[2]))
