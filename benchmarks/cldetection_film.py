r"""What one cephalogram costs in the container: parameters, and seconds on the CPU.

    python benchmarks/cldetection_film.py [--recipes isbi2015 isbi2015-cpu] [--image IMAGE] \
        [--members 3] [--upright]

The networks of the recipes in training/configs/cldetection with random weights, in ONNX Runtime as
in the slim container, on a film of 1935 x 2400: resizing, all views, decoding, intervals. CPU
seconds are those of all threads; on an idle machine two cores need a little more than half of them.

With --image also the container itself, on one core: one film and, from a stack of four, each
further one, in CPU seconds of its program and seconds of the clock.
"""

import argparse
import dataclasses
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml  # type: ignore[import-untyped]

from medvial.cldetection import Config
from medvial.cldetection.intervals import Intervals
from medvial.cldetection.landmarks import landmark_set_path, load_landmark_set
from medvial.cldetection.model import build_model
from medvial.cldetection.postprocess import Learned
from medvial.cldetection.predictor import LANDMARKS, TASK, Predictor
from medvial.cldetection.shape_prior import ShapePrior
from medvial.models import ModelFolder
from medvial.outputs import write_json
from medvial_training.onnx_export import export_onnx
from medvial_training.phantoms.cldetection import make_phantom, write_test_stack

CONFIGS = Path(__file__).parents[1] / "training" / "configs" / "cldetection"
RUNS = 3
FILMS = 4  # of the longer stack
PROGRAM = (  # in the container: seconds of the clock and of its CPUs
    "import resource, subprocess, sys, time\n"
    "start = time.perf_counter()\n"
    "subprocess.run([sys.executable, 'process.py'], check=True)\n"
    "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
    "print('SECONDS', used.ru_utime + used.ru_stime, time.perf_counter() - start)"
)


def recipe(name: str) -> Config:
    """The configuration of steps 1 and 2 of a recipe."""
    model: dict[str, Any] = {}
    for file in (CONFIGS / f"{name}-step1.yaml", CONFIGS / f"{name}.yaml"):
        model |= yaml.safe_load(file.read_text()).get("model", {})
    return Config(**model)


def write_random_model(config: Config, folder: Path) -> float:
    """A model folder of random weights; returns its million parameters."""
    net = build_model(config).eval()
    shape = (1, config.channels, config.height, config.width)
    for name in config.networks:
        export_onnx(net, np.zeros(shape, np.float32), folder / f"{name}.onnx")
    count = len(load_landmark_set(config.landmark_set))
    mean = np.random.default_rng(0).uniform(0.3, 0.7, (count, 2)) * (config.width, config.height)
    anything = ShapePrior(mean, 1e9 * np.eye(2 * count), 1e9)  # or no film had a second look
    learned = Learned(anything, intervals=Intervals((1.0,) * count, 25.0, 1.5))
    write_json(folder / "postprocess.json", learned.as_dict())
    (folder / LANDMARKS).write_bytes(landmark_set_path(config.landmark_set).read_bytes())
    ModelFolder.seal(folder, task=TASK, config=dataclasses.asdict(config))
    return len(config.networks) * sum(p.numel() for p in net.parameters()) / 1e6


def in_process(folder: Path) -> Any:
    """Median CPU and wall seconds of a film, in this process."""
    predictor = Predictor(folder)
    film = make_phantom(1, height=2400, width=1935)[0]
    times = []
    for _ in range(RUNS + 1):
        start = time.process_time(), time.perf_counter()
        predictor(film)
        times.append((time.process_time() - start[0], time.perf_counter() - start[1]))
    return np.median(times[1:], axis=0)  # the first run warms up


def in_container(image: str, model: Path, folder: Path) -> tuple[Any, Any]:
    """Median CPU and wall seconds of the program with one film, and of each further one."""
    times = {}
    for count in (1, FILMS):
        images = folder / str(count)
        images.mkdir()
        write_test_stack(images / "stack.mha", count=count)
        times[count] = np.median([_run(image, model, images) for _ in range(RUNS)], axis=0)
    return times[1], (times[FILMS] - times[1]) / (FILMS - 1)


def _run(image: str, model: Path, images: Path) -> list[float]:
    command = ["docker", "run", "--rm", "--network", "none", "--cpuset-cpus", "0"]
    command += ["--tmpfs", "/output:mode=1777", "--volume", f"{model}:/opt/ml/model:ro"]
    command += ["--volume", f"{images}:/input/images/lateral-dental-x-rays:ro"]
    command += ["--entrypoint", "python", image, "-c", PROGRAM]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    line = next(line for line in result.stdout.splitlines() if line.startswith("SECONDS"))
    return [float(word) for word in line.split()[1:]]


def main() -> None:
    """Print a row per recipe and number of views."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipes", nargs="+", default=["isbi2015", "isbi2015-cpu"])
    parser.add_argument("--image", help="image of cldetection to measure as well")
    parser.add_argument("--members", type=int, default=1, help="models of an ensemble")
    parser.add_argument("--upright", action="store_true", help="with a second network each")
    options = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print("| recipe | input | views | M parameters | where | CPU s | wall s |\n" + "|---" * 7 + "|")
    for name in options.recipes:
        config = recipe(name)
        for views in sorted({1, config.views}):
            with tempfile.TemporaryDirectory() as folder:
                model = Path(folder) / "model"
                model.mkdir()
                Path(folder).chmod(0o755)  # the container's user is another one
                seen = dataclasses.replace(
                    config, views=views, members=options.members, upright=options.upright
                )
                size = write_random_model(seen, model)
                rows = {"a film": in_process(model)}
                if options.image:
                    first, further = in_container(options.image, model, Path(folder))
                    rows |= {"container, one film": first, "container, a further film": further}
            for where, (cpu, wall) in rows.items():
                start = f"| {name} | {config.width} x {config.height} | {views} | {size:.2f}"
                print(f"{start} | {where} | {cpu:.2f} | {wall:.2f} |", flush=True)


if __name__ == "__main__":
    main()
