"""Turn weights of the CL-Detection 2023 baseline into a model folder.

    python -m medvial_training.tasks.cldetection.import_baseline best_model.pt --out runs/baseline

The baseline (github.com/szuboy/CL-Detection2023) saves the plain state dict of its UNet. The file
is read with `weights_only`, so that it can run no code. Predictions differ from the baseline's in
what it does wrong: a window's centre of mass is decoded instead of the maximum, and the film is
resized by area averaging instead of a Gaussian and interpolation.
"""

import dataclasses
import logging
import pickle
import re
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from medvial.cldetection.config import Config
from medvial.cldetection.landmarks import (
    landmark_set_names,
    landmark_set_path,
    load_landmark_set,
)
from medvial.cldetection.model import build_model
from medvial.cldetection.postprocess import Learned
from medvial.cldetection.predictor import LANDMARKS, TASK
from medvial.errors import InputError
from medvial.models import SAFETENSORS, ModelFolder, sha256
from medvial.outputs import replace_folder, write_json
from medvial_training.cli import run_command

log = logging.getLogger(__name__)

BLOCKS = {
    "down_tr64": "encoder.0",
    "down_tr128": "encoder.1",
    "down_tr256": "encoder.2",
    "down_tr512": "encoder.3",
    "up_tr256": "decoder.0",
    "up_tr128": "decoder.1",
    "up_tr64": "decoder.2",
}
UPSAMPLE = {"up_tr256": "upsample.0", "up_tr128": "upsample.1", "up_tr64": "upsample.2"}
LAYERS = {("0", "conv1"): 0, ("0", "bn1"): 1, ("1", "conv1"): 3, ("1", "bn1"): 4}


def import_baseline(weights: Path, out: Path = Path("runs/baseline")) -> None:
    """Write a run folder whose model folder holds the baseline's weights.

    Args:
        weights: The baseline's best_model.pt.
        out: Run folder to write; step 4 takes it as --run.
    """
    state = {baseline_key(key): value for key, value in read_state(weights).items()}
    config = baseline_config(state)
    net = build_model(config)
    try:
        net.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(
            f"Expected the baseline's UNet in {weights}: {' '.join(str(error).split())[:300]}"
        ) from None
    part = out / "model.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    save_file({k: v.contiguous() for k, v in net.state_dict().items()}, part / SAFETENSORS)
    shutil.copyfile(landmark_set_path(config.landmark_set), part / LANDMARKS)
    write_json(part / "postprocess.json", Learned().as_dict(), indent=None)
    training = {
        "data": {"phantom": False, "description": f"imported from {weights.name}"},
        "imported_sha256": sha256(weights),
    }
    ModelFolder.seal(part, task=TASK, config=dataclasses.asdict(config), training=training)
    replace_folder(part, out / "model")
    log.info("Model folder: %s", out / "model")


def read_state(path: Path) -> dict[str, Tensor]:
    """A plain state dict of tensors; nothing in the file is run.

    Raises:
        InputError: The file is missing, is no PyTorch file, or holds anything but tensors.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"Expected weights at {path}, got: {error.strerror}.") from None
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        first = str(error).split("\n")[0][:200]
        raise InputError(f"Expected a PyTorch state dict in {path}, got: {first}") from None
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise InputError(f"Expected a state dict of tensors in {path}, got {type(state).__name__}.")
    return state


def baseline_key(key: str) -> str:
    """The name of a baseline tensor in `UNet`, with or without DataParallel's `module.`.

    Raises:
        InputError: The baseline's UNet has no such tensor.
    """
    key = key.removeprefix("module.")
    if match := re.fullmatch(r"out_tr\.final_conv\.(\w+)", key):
        return f"head.{match[1]}"
    if match := re.fullmatch(r"(\w+)\.up_conv\.(\w+)", key):
        if match[1] in UPSAMPLE:
            return f"{UPSAMPLE[match[1]]}.{match[2]}"
    elif match := re.fullmatch(r"(\w+)\.ops\.(\d)\.(conv1|bn1)\.(\w+)", key):
        layer = LAYERS.get((match[2], match[3]))
        if match[1] in BLOCKS and layer is not None:
            return f"{BLOCKS[match[1]]}.{layer}.{match[4]}"
    raise InputError(f"Expected tensors of the CL-Detection 2023 UNet, got {key!r}.")


def baseline_config(state: dict[str, Tensor]) -> Config:
    """How the baseline treats a film: stretched to 512 x 512 RGB in 0..1, sigmoid heatmaps."""
    head = state.get("head.weight")
    count = 0 if head is None else len(head)
    sets = {len(load_landmark_set(name)): name for name in landmark_set_names()}
    if count not in sets:
        raise InputError(f"Expected {sorted(sets)} landmarks in the weights, got {count}.")
    return Config(
        landmark_set=sets[count],
        architecture="unet",
        height=512,
        width=512,
        fit="stretch",
        channels=3,
        mean=0.0,
        std=1.0,
        heatmap="sigmoid",
        half_pixel_centres=False,
    )


def main() -> int:
    """The command line; returns the exit code."""
    return run_command(import_baseline)


if __name__ == "__main__":
    raise SystemExit(main())
