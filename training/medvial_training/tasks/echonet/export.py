"""Step 4 of echonet: the model into the algorithm folder, and its expected output."""

import dataclasses
from pathlib import Path

import numpy as np
from safetensors.torch import load_file

from medvial.echonet import model
from medvial.echonet.config import NETWORKS, Config
from medvial.echonet.predictor import TASK
from medvial.errors import InputError
from medvial.expected_output import write_expected_output
from medvial.models import ModelFolder
from medvial_training.exported import exported
from medvial_training.onnx_export import export_onnx
from medvial_training.tasks.echonet.test_cases import write_missing_test_cases


def export(
    run: Path = Path("runs/echonet"),
    algorithm: Path = Path("algorithms/echonet"),
) -> None:
    """Write algorithm/model with an ONNX file per network, and its test cases' expected outputs.

    Inputs of test cases that are not there yet are drawn: a phantom in each form.

    Args:
        run: Run folder of step 2, or a model folder itself.
        algorithm: The algorithm folder.
    """
    source = run / "model" if (run / "model").is_dir() else run
    folder = ModelFolder.open(source, task=TASK)
    if not (algorithm / "process.py").is_file():
        raise InputError(f"Expected an algorithm folder with process.py, got {algorithm}.")
    missing = [n for n in NETWORKS if f"{n}.safetensors" not in folder.manifest.files]
    if missing:
        raise InputError(
            f"Expected both networks in {source}, got none for {', '.join(missing)}. Train it with "
            f"step 2: --networks {missing[0]} --run {run}."
        )
    write_algorithm_model(folder, algorithm / "model")
    write_missing_test_cases(algorithm / "test")
    write_expected_output(algorithm)


def write_algorithm_model(folder: ModelFolder, target: Path) -> None:
    """Copy a model folder, add its ONNX files, and seal it; the old folder is replaced whole.

    Raises:
        InputError: ONNX Runtime and PyTorch disagree on a network, or the target holds no model.
    """
    config: Config = folder.config(Config)
    shape = (2, config.channels, config.height, config.width)
    shapes = {
        "segmentation": shape,
        "ejection_fraction": (*shape[:2], config.clip_frames, *shape[2:]),
    }
    with exported(folder, target) as part:
        for name in NETWORKS:
            weights = part / f"{name}.safetensors"
            if not weights.is_file():
                continue
            net = getattr(model, f"build_{name}")(config)
            net.load_state_dict(load_file(weights))
            example = np.random.default_rng(0).standard_normal(shapes[name]).astype(np.float32)
            export_onnx(net, example, part / f"{name}.onnx")
        ModelFolder.seal(
            part,
            task=TASK,
            config=dataclasses.asdict(config),
            training=folder.manifest.training,
            metrics=folder.manifest.metrics,
        )
