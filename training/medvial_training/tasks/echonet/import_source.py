"""Turn the published weights of EchoNet-Dynamic into a model folder.

    python -m medvial_training.tasks.echonet.import_source --out runs/echonet-source \
        --segmentation deeplabv3_resnet50_random.pt \
        --ejection_fraction r2plus1d_18_32_2_pretrained.pt

The files are the release's (github.com/echonet/dynamic, v1.0.0), or checkpoints of the source's own
training, with or without DataParallel's `module.`. They are read with `weights_only`, so that they
can run no code. Clips are sampled as in the source, every `frame_period`th frame whatever the frame
rate.
"""

import dataclasses
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from medvial.echonet import model
from medvial.echonet.config import NETWORKS, Config
from medvial.echonet.postprocess import POSTPROCESS, Learned
from medvial.echonet.predictor import TASK
from medvial.errors import InputError
from medvial.models import ModelFolder, sha256
from medvial.outputs import check_replaceable, replace_folder, write_json
from medvial_training.cli import run_command
from medvial_training.tasks.echonet.weights import read_checkpoint

log = logging.getLogger(__name__)

# 255 times the statistics that SimLVSeg's README lists for EchoNet-Dynamic; the source measures
# them on 128 random videos at every start and does not keep them.
PUBLISHED_MEAN = (32.489966, 32.625032, 32.927602)
PUBLISHED_STD = (49.868982, 49.883753, 50.129889)


def import_source(
    segmentation: Path | None = None,
    ejection_fraction: Path | None = None,
    out: Path = Path("runs/echonet-source"),
    mean: Sequence[float] = PUBLISHED_MEAN,
    std: Sequence[float] = PUBLISHED_STD,
    frame_period: int = 2,
    clip_frames: int = 32,
) -> None:
    """Write a run folder whose model folder holds the source's weights.

    Args:
        segmentation: Weights of deeplabv3_resnet50.
        ejection_fraction: Weights of r2plus1d_18, r3d_18 or mc3_18.
        out: Run folder to write; step 3 takes its model/ as --model, step 4 the folder as --run.
        mean: Mean of the frames the weights were trained on, one value per channel, 0 to 255.
        std: Standard deviation of these.
        frame_period: Frames from one frame of a clip to the next.
        clip_frames: Frames of a clip.
    """
    given = {"segmentation": segmentation, "ejection_fraction": ejection_fraction}
    files = {name: path for name, path in given.items() if path is not None}
    if not files:
        raise InputError("Expected --segmentation, --ejection_fraction or both, got neither.")
    check_replaceable(out / "model")
    states = {name: _plain(read_checkpoint(path)) for name, path in files.items()}
    config = Config(
        mean=tuple(mean),
        std=tuple(std),
        segmentation="deeplabv3_resnet50",
        ejection_fraction=_architecture(states.get("ejection_fraction"), ejection_fraction),
        frame_interval_s=0.0,
        frame_period=frame_period,
        clip_frames=clip_frames,
    )
    if config.channels != 3:
        raise InputError("Expected three values of --mean and --std: the source's are RGB videos.")
    _write_model(out, states, config, files)
    absent = [name for name in NETWORKS if name not in files]
    if absent:
        log.info("It has no network for %s: the container needs both.", absent[0])


def _write_model(
    out: Path, states: dict[str, dict[str, Tensor]], config: Config, files: dict[str, Path]
) -> None:
    part = out / "model.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for name, state in states.items():
        _write(name, state, config, files[name], part / f"{name}.safetensors")
    write_json(part / POSTPROCESS, Learned().as_dict())
    training = {
        "data": {
            "phantom": False,
            "description": "EchoNet-Dynamic; imported from "
            + ", ".join(path.name for path in files.values()),
        },
        "imported_sha256": {name: sha256(path) for name, path in files.items()},
    }
    ModelFolder.seal(part, task=TASK, config=dataclasses.asdict(config), training=training)
    replace_folder(part, out / "model")
    log.info("Model folder: %s", out / "model")


def _plain(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names without DataParallel's prefix."""
    return {key.removeprefix("module."): value for key, value in state.items()}


def _architecture(state: dict[str, Tensor] | None, path: Path | None) -> Any:
    """Which of the source's three video networks the weights are of, by their tensors."""
    if state is None or "stem.3.weight" in state:  # only R(2+1)D's stem has two convolutions
        return "r2plus1d_18"
    deep = state.get("layer2.0.conv1.0.weight")
    if deep is None or deep.ndim != 5:
        raise InputError(
            f"Expected weights of r2plus1d_18, r3d_18 or mc3_18 in {path}, got tensors such as "
            f"{', '.join(list(state)[:3])}."
        )
    return "r3d_18" if deep.shape[2] == 3 else "mc3_18"  # MC3 has no depth in time there


def _write(name: str, state: dict[str, Tensor], config: Config, source: Path, target: Path) -> None:
    net = getattr(model, f"build_{name}")(config)
    if name == "segmentation":
        state = {f"net.{key}": value for key, value in state.items()}
    try:
        net.load_state_dict(state)
    except RuntimeError as error:
        architecture = getattr(config, name)
        raise InputError(
            f"Expected the weights of EchoNet-Dynamic's {architecture} in {source}: "
            f"{' '.join(str(error).split())[:300]}"
        ) from None
    save_file({k: v.contiguous() for k, v in net.state_dict().items()}, target)


def main() -> int:
    """The command line; returns the exit code."""
    return run_command(import_source, as_positional=False)


if __name__ == "__main__":
    raise SystemExit(main())
