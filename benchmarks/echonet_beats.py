"""Clips that a test needs: beat by beat against all of them; and the memory of a long video.

    python benchmarks/echonet_beats.py [--repeats 3]

Untrained networks of the default configuration, as ONNX files, measure a phantom cine of 176 frames
at 50 per second: first with the clips that beats need, then with the clips at every start, which is
what EchoNet-Dynamic computes before its R script throws most of them away. The script's result
from both must be the same number. A cine of 1002 frames (the longest of EchoNet-Dynamic) is then
measured in a fresh process, imports included, whose peak resident memory counts. It fails below 10
times fewer clips, if the results differ, or above 1 GB.
"""

import argparse
import csv
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "shared"), str(ROOT / "training")]
LEAST_RATIO, MOST_MB = 10.0, 1000
SHORT, LONG, FPS = 176, 1002, 50.0


def main() -> int:
    """Make model and videos, measure, print a table; exit code 1 beyond the limits."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3, help="runs of which the fastest counts")
    parser.add_argument("--run", nargs=4, metavar=("DATA", "MODEL", "WAY", "REPEATS"))
    options = parser.parse_args()
    os.environ["MEDVIAL_BACKEND"] = "onnx"
    if options.run:
        data, model, way, repeats = options.run
        run_once(Path(data), Path(model), way == "all", int(repeats))
        return 0
    with tempfile.TemporaryDirectory(prefix="echonet_beats.") as folder:
        short, long, model = (Path(folder) / name for name in ("short", "long", "model"))
        write_model(model)
        write_video(short, SHORT)
        write_video(long, LONG)
        rows = {
            "176 frames, beats": measured(short, model, "beats", options.repeats),
            "176 frames, all clips": measured(short, model, "all", options.repeats),
            "1002 frames, beats": measured(long, model, "beats", 1),
        }
    print(f"{'video and way':<24}{'clips':>7}{'s':>8}{'peak MB':>9}{'R script EF':>13}")
    for name, row in rows.items():
        print(f"{name:<24}{row[0]:7.0f}{row[1]:8.2f}{row[2]:9.0f}{row[3]:13.6f}")
    beats, every, long_row = rows.values()
    ratio, same = every[0] / beats[0], abs(every[3] - beats[3]) < 1e-6
    good = ratio >= LEAST_RATIO and same and long_row[2] <= MOST_MB
    print(f"{ratio:.1f} times fewer clips, {every[1] / beats[1]:.1f} times faster in all; ", end="")
    print(f"same result: {'yes' if same else 'NO'}")
    print(
        f"at least {LEAST_RATIO:g} times fewer and at most {MOST_MB} MB: {'yes' if good else 'NO'}"
    )
    return 0 if good else 1


def write_model(folder: Path) -> None:
    """A sealed model folder of untrained networks as ONNX."""
    import numpy as np
    import torch

    from medvial.echonet.config import Config
    from medvial.echonet.model import build_ejection_fraction, build_segmentation
    from medvial.models import ModelFolder
    from medvial_training.onnx_export import export_onnx

    torch.manual_seed(0)
    config = Config()
    frame = np.zeros((1, config.channels, config.height, config.width), np.float32)
    clip = np.repeat(frame[:, :, None], config.clip_frames, axis=2)
    folder.mkdir()
    export_onnx(build_segmentation(config), frame, folder / "segmentation.onnx")
    export_onnx(build_ejection_fraction(config), clip, folder / "ejection_fraction.onnx")
    ModelFolder.seal(folder, task="echonet", config=vars(config))


def write_video(folder: Path, frames: int) -> None:
    """One phantom cine as step 1 would leave it; an untrained network finds beats in it or not."""
    import numpy as np

    from medvial_training.phantoms.echo_cine import make_cine

    folder.mkdir()
    cine = make_cine(7, frames=frames, fps=FPS, heart_rate_bpm=70.0, rhythm="sinus")
    np.save(folder / "frames.npy", cine.frames)
    np.save(folder / "masks.npy", np.zeros((1, *cine.frames.shape[1:]), np.uint8))
    columns = ["video", "patient", "first", "count", "fps", "ef", "esv", "edv", "spacing_mm"]
    _write(folder / "videos.csv", columns, [["a", "a", 0, frames, FPS, 55.0, "", "", ""]])
    _write(folder / "traces.csv", ["video", "frame", "phase", "mask"], [])
    _write(folder / "near_duplicates.csv", ["image_a", "image_b", "distance"], [])
    for split in ("train", "valid", "test"):
        rows = [["a", "a", "a"]] if split == "test" else [[split] * 3]
        _write(folder / f"{split}.csv", ["image_id", "patient", "group"], rows)
    np.save(folder / "truth.npy", cine.masks)


def _write(path: Path, header: list[str], rows: list[list[Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


def measured(data: Path, model: Path, way: str, repeats: int) -> list[float]:
    """Clips, seconds, peak MB and EF by the R script's rules, of a fresh process."""
    command = [sys.executable, __file__, "--run", str(data), str(model), way, str(repeats)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [float(value) for value in done.stdout.split()]


def run_once(data: Path, model: Path, all_clips: bool, repeats: int) -> None:
    """Measure the video; print clips, seconds, peak MB and EF."""
    from medvial.echonet.networks import EchoNetworks
    from medvial.echonet.postprocess import Learned
    from medvial.models import ModelFolder
    from medvial_training.tasks.echonet.measure import measure
    from medvial_training.tasks.echonet.recordings import Recordings

    networks = with_true_masks(EchoNetworks.load(ModelFolder.open(model, task="echonet")), data)
    recordings = Recordings(data, "test")
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        result, _ = measure(networks, Learned(), recordings, recordings.all[0], all_clips=all_clips)
        seconds.append(time.perf_counter() - start)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(len(result.clip_ef), min(seconds), peak_mb, result.r_script)


def with_true_masks(networks: Any, data: Path) -> Any:
    """The networks at their own cost, but with the phantom's true masks.

    An untrained segmentation finds no beats.
    """
    from dataclasses import replace

    import numpy as np

    truth = np.load(data / "truth.npy", mmap_mode="r")
    network, done = networks.segmentation, 0

    def segmentation(batch: Any) -> Any:
        nonlocal done
        network(batch)
        first = done % len(truth)
        done += len(batch)
        return np.where(truth[first : first + len(batch)], 4.0, -4.0)[:, None].astype(np.float32)

    return replace(networks, segmentation=segmentation)


if __name__ == "__main__":
    raise SystemExit(main())
