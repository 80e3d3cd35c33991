"""Clips per second of training, end to end: from the memory map, and decoding the MP4 per item.

    python benchmarks/training_throughput.py [--videos 8] [--steps 12] [--rounds 3]

Trains by the engine of step 2 (tracking off) on phantom walking videos that clip_loader.py makes:
with the memory map, and with a plain dataset that decodes every item and is otherwise the same. The
network is the light one that step 2 takes by default, on clips of 16 x 112 x 112. The first two
steps do not count; the ways take turns, and medians of the rounds count. The share of data is what
passes between the end of a batch and the beginning of the next: an upper bound of the wait for
data. It fails where that is 5 % or more with the memory map.

With a CUDA device r2plus1d_18 is trained on clips of 32 x 112 x 112 in bfloat16, too, from the
memory map and on a batch of noise that lies on the device already; the first must reach 95 % of the
second's samples per second.
"""

import argparse
import logging
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "shared"), str(ROOT / "training")]

import torch  # noqa: E402
from clip_loader import CONFIG, Decoded, keep, write_videos  # noqa: E402
from lightning.pytorch import Callback, LightningDataModule  # noqa: E402

from medvial.video_classification.config import ClipConfig  # noqa: E402
from medvial_training.clips.augment import ClipAugmentation  # noqa: E402
from medvial_training.clips.dataset import ClipData, Item, TrainClips, ViewClips  # noqa: E402
from medvial_training.clips.module import ClipModule  # noqa: E402
from medvial_training.clips.options import ClipTraining  # noqa: E402
from medvial_training.clips.store import ClipStore  # noqa: E402
from medvial_training.fit import FitArgs, fit_module, training_loader, validation_loader  # noqa: E402

MOST_DATA, LEAST_SHARE = 0.05, 0.95
WARM_UP = 2  # steps
BIG = replace(CONFIG, network="r2plus1d_18", clip_frames=32, clips=1)
LIGHT = replace(CONFIG, clips=1)


@dataclass(frozen=True)
class Speed:
    """Of one training."""

    clips_per_s: float
    data_share: float
    """Of the time, between batches."""


def main() -> int:
    """Make the videos, train each way, print a table; exit code 1 beyond the limits."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--videos", type=int, default=8)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="training_throughput.") as folder:
        paths = write_videos(Path(folder), options.videos)
        store, items = keep(paths, Path(folder) / "store")
        good = on_the_cpu(paths, store, items, options.steps, options.rounds)
        if torch.cuda.is_available():
            good &= on_the_gpu(store, items, options.steps * 5, options.rounds)
    return 0 if good else 1


def on_the_cpu(
    paths: list[Path], store: ClipStore, items: list[Item], steps: int, rounds: int
) -> bool:
    """The light network, from the memory map and by decoding."""
    fit = fit_args("cpu", batch=8)
    copies = -(-steps * fit.batch_size // len(items))
    kept = TrainClips(store, items, LIGHT, 1, clips=copies)
    decoded = Decoded(paths, LIGHT.resize, copies)
    valid = ViewClips(store, items[:1], LIGHT)
    ways = {"decode the MP4 per item": decoded, "memory map of step 1": kept}
    speeds: dict[str, list[Speed]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, train in ways.items():
            speeds[name].append(measured(Data(train, valid, fit), LIGHT, items, fit))
    plain, ours = (median(values) for values in speeds.values())
    print(f"{'way, light network on the CPU':<34}{'clips/s':>10}{'times':>8}{'data':>8}")
    for name, speed in zip(ways, (plain, ours), strict=True):
        times = speed.clips_per_s / plain.clips_per_s
        print(f"{name:<34}{speed.clips_per_s:10.1f}{times:8.2f}{speed.data_share:8.1%}")
    good = ours.data_share < MOST_DATA
    print(f"less than {MOST_DATA:.0%} of the time between batches: {'yes' if good else 'NO'}")
    return good


def on_the_gpu(store: ClipStore, items: list[Item], steps: int, rounds: int) -> bool:
    """r2plus1d_18 in bfloat16, from the memory map and on a batch that is there already."""
    fit = fit_args("gpu", batch=32)
    copies = -(-steps * fit.batch_size // len(items))
    kept = TrainClips(store, items, BIG, 1, clips=copies)
    valid = ViewClips(store, items[:1], BIG)
    ways: dict[str, LightningDataModule] = {
        "on the device already": Noise(steps, valid, fit),
        "memory map of step 1": ClipData(kept, valid, fit),
    }
    speeds: dict[str, list[Speed]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, data in ways.items():
            speeds[name].append(measured(data, BIG, items, fit))
    there, ours = (median(values) for values in speeds.values())
    share = ours.clips_per_s / there.clips_per_s
    print(f"{'way, r2plus1d_18 on the GPU':<34}{'clips/s':>10}{'share':>8}")
    print(f"{'on the device already':<34}{there.clips_per_s:10.1f}{1:8.1%}")
    print(f"{'memory map of step 1':<34}{ours.clips_per_s:10.1f}{share:8.1%}")
    print(f"at least {LEAST_SHARE:.0%}: {'yes' if share >= LEAST_SHARE else 'NO'}")
    return share >= LEAST_SHARE


def fit_args(accelerator: Any, batch: int) -> FitArgs:
    """One epoch by the engine's defaults, nothing told to anybody."""
    precision: Any = "bf16-mixed" if accelerator == "gpu" else "auto"
    return FitArgs(
        max_epochs=1,
        batch_size=batch,
        accelerator=accelerator,
        precision=precision,
        mlflow=False,
        progress=False,
    )


def median(speeds: list[Speed]) -> Speed:
    """Of each number."""
    return Speed(
        statistics.median(s.clips_per_s for s in speeds),
        statistics.median(s.data_share for s in speeds),
    )


def measured(
    data: LightningDataModule, config: ClipConfig, items: list[Item], fit: FitArgs
) -> Speed:
    """Train an epoch."""
    torch.manual_seed(1)
    module = ClipModule(config, fit, ClipAugmentation(), ClipTraining(), items, items[:1])
    clock = Clock(fit.batch_size)
    module.pictures = [clock]
    with tempfile.TemporaryDirectory(prefix="training_throughput.run.") as run:
        fit_module(
            module,
            data,
            fit,
            Path(run) / "run",
            task="throughput",
            monitor=module.monitor,
            mode=module.mode,
            resume=False,
            parameters={},
        )
    return clock.speed()


class Clock(Callback):
    """Notes when batches begin and end; it is the last callback of each."""

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self.begun: list[float] = []
        self.ended: list[float] = []

    def on_train_batch_start(self, *_arguments: Any) -> None:
        """Called by Lightning."""
        self.begun.append(time.perf_counter())

    def on_train_batch_end(self, *_arguments: Any) -> None:
        """Called by Lightning; waits for the device only where the time counts."""
        if torch.cuda.is_available() and len(self.ended) == WARM_UP - 1:
            torch.cuda.synchronize()
        self.ended.append(time.perf_counter())

    def on_train_epoch_end(self, *_arguments: Any) -> None:
        """Called by Lightning."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
            self.ended[-1] = time.perf_counter()

    def speed(self) -> Speed:
        """From the end of the last step that does not count to that of the last."""
        passed = self.ended[-1] - self.ended[WARM_UP - 1]
        steps = len(self.ended) - WARM_UP
        between = sum(
            begin - end
            for begin, end in zip(self.begun[WARM_UP:], self.ended[WARM_UP - 1 : -1], strict=True)
        )
        return Speed(steps * self.batch / passed, between / passed)


class Data(LightningDataModule):
    """Training clips of any dataset, and one video to validate on."""

    def __init__(self, train: Any, valid: ViewClips, fit: FitArgs) -> None:
        super().__init__()
        self.train, self.valid, self.fit_args = train, valid, fit

    def train_dataloader(self) -> Any:
        """Called by Lightning."""
        return training_loader(self.train, self.fit_args)

    def val_dataloader(self) -> Any:
        """Called by Lightning."""
        return validation_loader(self.valid, self.fit_args)


class Noise(Data):
    """The same batch of noise for every step, on the device."""

    def __init__(self, steps: int, valid: ViewClips, fit: FitArgs) -> None:
        super().__init__(steps, valid, fit)

    def train_dataloader(self) -> Any:
        """Called by Lightning."""
        assert self.trainer is not None
        count, device = self.fit_args.batch_size, self.trainer.strategy.root_device
        shape = (count, BIG.clip_frames, BIG.resize, BIG.resize, 3)
        batch = {
            "clip": torch.randint(0, 256, shape, dtype=torch.uint8, device=device),
            "label": torch.arange(count, device=device) % len(BIG.labels),
            "item": torch.zeros(count, dtype=torch.long, device=device),
        }
        return [batch] * self.train


if __name__ == "__main__":
    raise SystemExit(main())
