"""Step 4 of cldetection: the model into the algorithm folder, and its expected output."""

import dataclasses
from pathlib import Path
from typing import Literal

import numpy as np
from safetensors.torch import load_file

from medvial.cldetection.config import Config
from medvial.cldetection.landmarks import adopt_landmark_set
from medvial.cldetection.model import build_model
from medvial.cldetection.predictor import LANDMARKS, TASK
from medvial.errors import InputError
from medvial.expected_output import write_expected_output
from medvial.models import ModelFolder
from medvial.outputs import write_json
from medvial_training.exported import exported
from medvial_training.onnx_export import export_onnx
from medvial_training.phantoms.cldetection import write_test_stack

CALIBRATION_MM = 0.1  # of the calibrated test case


def export(
    run: Path = Path("runs/cldetection"),
    algorithm: Path = Path("algorithms/cldetection"),
    coordinates: Literal["pixel-stack", "world"] | None = None,
) -> None:
    """Write algorithm/model with ONNX files, and algorithm/test/expected_output.json.

    Args:
        run: Run folder of step 2, or a model folder itself.
        algorithm: The algorithm folder.
        coordinates: Coordinates of the container's points: pixels of the padded slice with a
            1-based image index, or world millimetres; the model's own when not given.
    """
    source = run / "model" if (run / "model").is_dir() else run
    folder = ModelFolder.open(source, task=TASK)
    config = folder.config(Config)
    if coordinates is not None:
        config = dataclasses.replace(config, coordinates=coordinates)
    if not (algorithm / "process.py").is_file():
        raise InputError(f"Expected an algorithm folder with process.py, got {algorithm}.")
    write_algorithm_model(folder, config, algorithm / "model")
    _write_missing_test_cases(algorithm / "test")
    write_expected_output(algorithm)


def _write_missing_test_cases(test: Path) -> None:
    """The inputs that are not there: test/ (a stack) and test/calibrated (with mm per pixel)."""
    for case, count in ((test, 2), (test / "calibrated", 1)):
        images = case / "input" / "images" / "lateral-dental-x-rays"
        if not images.is_dir() or not any(images.iterdir()):
            images.mkdir(parents=True, exist_ok=True)
            write_test_stack(images / "stack.mha", count=count)
    scale = test / "calibrated" / "input" / "millimetres-per-pixel.json"
    if not scale.is_file():
        write_json(scale, CALIBRATION_MM)


def write_algorithm_model(folder: ModelFolder, config: Config, target: Path) -> None:
    """Copy a model folder, add its ONNX files, and seal it; the old folder is replaced whole.

    Raises:
        InputError: ONNX Runtime and PyTorch disagree on a network, or the target holds no model.
    """
    with exported(folder, target) as part:
        adopt_landmark_set(part / LANDMARKS)
        net = build_model(config)
        shape = (1, config.channels, config.height, config.width)
        example = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        for name in config.networks:
            net.load_state_dict(load_file(part / f"{name}.safetensors"))
            export_onnx(net, example, part / f"{name}.onnx")
        ModelFolder.seal(
            part,
            task=TASK,
            config=dataclasses.asdict(config),
            training=folder.manifest.training,
            metrics=folder.manifest.metrics,
        )
