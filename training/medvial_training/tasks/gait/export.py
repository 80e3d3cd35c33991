"""Step 4 of gait: the model into the algorithm folder, and its expected outputs."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load_file

from medvial.errors import InputError
from medvial.expected_output import write_expected_output
from medvial.gait.config import LEG_AGILITY, SYSTEMS, TASK, WALKING, Config
from medvial.gait.leg_agility.inputs import input_shape
from medvial.gait.leg_agility.model import build_model as build_leg_agility
from medvial.models import ModelFolder
from medvial.video_classification.model import build_model as build_walking
from medvial_training.exported import exported
from medvial_training.onnx_export import export_onnx
from medvial_training.tasks.gait.test_cases import write_missing_test_cases


def export(
    run: Path = Path("runs/gait"),
    algorithm: Path = Path("algorithms/gait"),
) -> None:
    """Write algorithm/model with an ONNX file a system, and its test cases' expected outputs.

    Inputs of test cases that are not there yet are drawn: a phantom in each form.

    Args:
        run: Run folder of step 2, or a model folder itself.
        algorithm: The algorithm folder.
    """
    source = run / "model" if (run / "model").is_dir() else run
    folder = ModelFolder.open(source, task=TASK)
    if not (algorithm / "process.py").is_file():
        raise InputError(f"Expected an algorithm folder with process.py, got {algorithm}.")
    config = Config.of(folder)
    missing = [name for name in SYSTEMS if getattr(config, name) is None]
    if missing:
        raise InputError(
            f"Expected both systems in {source}, got none for {', '.join(missing)}: the test cases "
            f"of {algorithm} are of both. Train it with step 2: --systems {missing[0]} --run {run}."
        )
    write_algorithm_model(folder, algorithm / "model")
    write_missing_test_cases(algorithm / "test")
    write_expected_output(algorithm)


@dataclass(frozen=True)
class _Network:
    """How a system's network is made, and the shape of one of its samples."""

    build: Callable[[Any], Any]
    shape: tuple[int, ...]


def write_algorithm_model(folder: ModelFolder, target: Path) -> None:
    """Copy a model folder, add its ONNX files, and seal it; the old folder is replaced whole.

    Raises:
        InputError: ONNX Runtime and PyTorch disagree on a network, or the target holds no model.
    """
    config = Config.of(folder)
    with exported(folder, target) as part:
        for name, network in _networks(config).items():
            weights = part / f"{name}.safetensors"
            if not weights.is_file():  # a forest is an ONNX file already
                continue
            net = network.build(getattr(config, name))
            net.load_state_dict(load_file(weights))
            shape = (2, *network.shape)
            example = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
            export_onnx(net, example, part / f"{name}.onnx")
        ModelFolder.seal(
            part,
            task=TASK,
            config=config.as_dict(),
            training=folder.manifest.training,
            metrics=folder.manifest.metrics,
        )


def _networks(config: Config) -> dict[str, _Network]:
    networks = {}
    if config.walking is not None:
        clip = config.walking
        shape = (3, clip.clip_frames, clip.crop, clip.crop)
        networks[WALKING] = _Network(build_walking, shape)
    if config.leg_agility is not None:
        leg = config.leg_agility
        networks[LEG_AGILITY] = _Network(build_leg_agility, input_shape(leg))
    return networks
