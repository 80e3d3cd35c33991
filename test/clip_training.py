"""A clip classifier trained in seconds, for tests; also a program, for torchrun.

python test/clip_training.py STORE RUN [--resume] [name=value ...]
"""

import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import Callback

from medvial.video_classification.config import ClipConfig
from medvial_training.clips.augment import ClipAugmentation
from medvial_training.clips.dataset import Item
from medvial_training.clips.learn import train_clips
from medvial_training.clips.options import ClipTraining
from medvial_training.clips.store import ClipStore, Frames, Source
from medvial_training.fit import FitArgs

CONFIG = ClipConfig(
    labels=("right", "left"),
    positive="left",
    widths=(4, 6, 8),
    clip_s=0.4,
    clip_frames=6,
    clips=3,
    resize=20,
    crop=16,
    dropout=0.2,
    fps=15.0,
)
FIT = {
    "max_epochs": 3,
    "batch_size": 4,
    "accelerator": "cpu",
    "precision": "32-true",
    "mlflow": False,
    "progress": False,
    "learning_rate": 0.02,
    "ema_decay": 0.6,
}


def moving_bar(number, label):
    """A bar that moves to one side over a noisy ground, 10 to 14 frames of (20, 26)."""
    rng = np.random.default_rng(number)
    count = 10 + number % 5
    frames = rng.integers(40, 90, (count, 20, 26, 3), np.uint8)
    for t in range(count):
        x = (number * 3 + 2 * t * (1 - 2 * label)) % 26
        frames[t, 4:16, x : x + 4] = 220
    return Frames(frames, np.arange(count) / 15.0)


def items(count, first=0, patients=False):
    numbers = range(first, first + count)
    return [Item(f"v{n}", n % 2, f"p{n // 4}-{n % 2}" if patients else "") for n in numbers]


def make_store(folder, count=20):
    videos = [Source(f"v{n}", "1", partial(moving_bar, n, n % 2)) for n in range(count)]
    ClipStore(folder).make(videos, 1)
    return ClipStore(folder)


def fit(
    store,
    run,
    *,
    resume=False,
    callback=None,
    training=None,
    changes=None,
    config=CONFIG,
    **options,
):
    import medvial_training.clips.learn as learn

    args = FitArgs(**{**FIT, **options})
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # more wait for one another where the cores are busy

    class Module(learn.ClipModule):
        def configure_callbacks(self):
            return [*super().configure_callbacks(), *([callback] if callback else [])]

    original, learn.ClipModule = learn.ClipModule, Module
    try:
        return train_clips(
            store,
            items(13),
            items(7, 13, patients=True),
            config,
            args,
            training or ClipTraining(),
            changes or ClipAugmentation(flip=0.0, blur=0.5, erase=0.5, log_speed=0.1),
            Path(run),
            task="clips",
            resume=resume,
            parameters={"fit": vars(args)},
        )
    finally:
        learn.ClipModule = original
        torch.set_num_threads(threads)


class Dies(Callback):
    """Ends training at the start of a batch."""

    def __init__(self, epoch, batch):
        self.when = epoch, batch

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if (trainer.current_epoch, batch_idx) == self.when:
            raise RuntimeError("died")


def main():
    folder, run, *rest = sys.argv[1:]
    pairs = dict(argument.split("=", 1) for argument in rest if "=" in argument)
    options = {name: json.loads(value) for name, value in pairs.items()}
    fit(
        ClipStore(Path(folder)),
        run,
        resume="--resume" in rest,
        changes=ClipAugmentation(0, 0, 0, 0, 0, 0, 0),  # chance is each process's own
        config=replace(CONFIG, dropout=0.0, resize=CONFIG.crop),
        training=ClipTraining(fix_layer="head"),  # batch normalisation sees its own samples only
        **options,
    )


if __name__ == "__main__":
    from medvial_training.cli import _report

    raise SystemExit(_report(main))
