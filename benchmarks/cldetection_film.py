"""What one cephalogram costs in the container: parameters, and seconds on the CPU.

    python benchmarks/cldetection_film.py [CONFIG ...]

The networks of the recipes in training/configs/cldetection with random weights, in ONNX Runtime as
in the slim container, on a film of 1935 x 2400: resizing, all views, decoding, intervals. CPU
seconds are those of all threads; on an idle machine two cores need a little more than half of them.
"""

import dataclasses
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml  # type: ignore[import-untyped]

from medvial.cldetection import Config
from medvial.cldetection.intervals import Intervals
from medvial.cldetection.landmarks import load_landmark_set
from medvial.cldetection.model import build_model
from medvial.cldetection.postprocess import Learned, postprocess
from medvial.cldetection.preprocess import preprocess
from medvial.cldetection.views import predict_heatmaps
from medvial.models import _onnx_network
from medvial_training.onnx_export import export_onnx
from medvial_training.phantoms.cldetection import make_phantom

CONFIGS = Path(__file__).parents[1] / "training" / "configs" / "cldetection"
RUNS = 3


def recipe(name: str) -> Config:
    """The configuration of steps 1 and 2 of a recipe."""
    model: dict[str, Any] = {}
    for file in (CONFIGS / f"{name}-step1.yaml", CONFIGS / f"{name}.yaml"):
        model |= yaml.safe_load(file.read_text()).get("model", {})
    return Config(**model)


def measure(config: Config, folder: Path) -> tuple[float, float, float]:
    """Million parameters, and the median CPU and wall seconds of a film."""
    net = build_model(config).eval()
    shape = (1, config.channels, config.height, config.width)
    export_onnx(net, np.zeros(shape, np.float32), folder / "model.onnx")
    network = _onnx_network(folder / "model.onnx")
    film = make_phantom(1, height=2400, width=1935)[0]
    count = len(load_landmark_set(config.landmark_set))
    learned = Learned(intervals=Intervals((1.0,) * count, 25.0, 1.5))
    times = []
    for _ in range(RUNS + 1):
        start = time.process_time(), time.perf_counter()
        grey, geometry = preprocess(film, config)
        postprocess(predict_heatmaps(network, grey, config), geometry, config, learned)
        times.append((time.process_time() - start[0], time.perf_counter() - start[1]))
    cpu, wall = np.median(times[1:], axis=0)  # the first run warms up
    return sum(p.numel() for p in net.parameters()) / 1e6, float(cpu), float(wall)


def main() -> None:
    """Print a row per recipe and number of views."""
    print("| recipe | input | views | M parameters | CPU s | wall s |\n|---|---|---|---|---|---|")
    for name in sys.argv[1:] or ("isbi2015", "isbi2015-cpu"):
        config = recipe(name)
        for views in sorted({1, config.views}):
            with tempfile.TemporaryDirectory() as folder:
                cost = measure(dataclasses.replace(config, views=views), Path(folder))
            size = f"{config.width} x {config.height}"
            print(f"| {name} | {size} | {views} | {cost[0]:.2f} | {cost[1]:.2f} | {cost[2]:.2f} |")


if __name__ == "__main__":
    main()
