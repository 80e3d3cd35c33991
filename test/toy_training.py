"""A training of a second for tests of the engine; also a program, for torchrun.

    python test/toy_training.py RUN [--resume] [name=value ...]

The environment variable TOY_DIES=rank,epoch kills that process in its first life.
"""

import json
import os
import signal
import sys
from pathlib import Path

import torch
from lightning.pytorch import Callback, LightningDataModule, seed_everything
from torch import nn
from torch.utils.data import Dataset
from torchmetrics import MeanAbsoluteError, SumMetric

from medvial_training.fit import (
    FitArgs,
    TrainedModule,
    fit_module,
    training_loader,
    validation_loader,
)

FIT = {
    "max_epochs": 4,
    "batch_size": 8,
    "accelerator": "cpu",
    "precision": "32-true",
    "mlflow": False,
    "progress": False,
    "ema_decay": 0.6,
    "learning_rate": 0.02,
}


class Numbers(Dataset):
    """y = |x| . w + noise that follows seed, epoch and index."""

    def __init__(self, size, random=False):
        generator = torch.Generator().manual_seed(size)
        self.x = torch.randn(size, 5, generator=generator)
        self.y = self.x.abs() @ torch.tensor([1.0, -2.0, 0.5, 3.0, 1.5])
        self.random = random

    def __len__(self):
        return len(self.x)

    def __getitem__(self, key):
        epoch, index = key if isinstance(key, tuple) else (0, key)
        generator = torch.Generator().manual_seed(1000 * epoch + index)
        noise = 0.1 * torch.randn(5, generator=generator) * self.random
        return {"x": self.x[index] + noise, "y": self.y[index], "index": index}


class ToyData(LightningDataModule):
    def __init__(self, fit, train=29, valid=7):
        super().__init__()
        self.fit_args, self.train_set, self.valid_set = fit, Numbers(train, True), Numbers(valid)

    def train_dataloader(self):
        return training_loader(self.train_set, self.fit_args)

    def val_dataloader(self):
        return validation_loader(self.valid_set, self.fit_args)


class Toy(TrainedModule):
    def __init__(self, fit):
        super().__init__(nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 1)), fit)
        self.mae, self.count, self.indices = MeanAbsoluteError(), SumMetric(), SumMetric()

    def training_step(self, batch, _index):
        rank, epoch = map(int, os.environ.get("TOY_DIES", "-1,-1").split(","))
        first = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0"
        if first and (rank, epoch) == (self.global_rank, self.current_epoch):
            os.kill(os.getpid(), signal.SIGKILL)
        loss = (self.net(batch["x"])[:, 0] - batch["y"]).square().mean()
        self.log("train/loss", loss, on_step=False, on_epoch=True, sync_dist=True)
        return loss

    def validation_step(self, batch, _index):
        self.mae.update(self.net(batch["x"])[:, 0], batch["y"])
        self.count.update(len(batch["x"]))
        self.indices.update(batch["index"])
        self.log("valid/mae", self.mae, on_epoch=True)
        self.log("valid/count", self.count, on_epoch=True)
        self.log("valid/indices", self.indices, on_epoch=True)


def fit(run, resume=False, callback=None, data=None, **options):
    """Train; the path of the best checkpoint."""
    args = FitArgs(**{**FIT, **options})
    seed_everything(args.seed, verbose=False)
    module = Toy(args)
    if callback is not None:
        module.configure_callbacks = lambda: [callback]
    return fit_module(
        module,
        ToyData(args),
        args,
        Path(run),
        task="toy",
        monitor="valid/mae",
        mode="min",
        resume=resume,
        parameters={"fit": vars(args)} | ({} if data is None else {"data": str(data)}),
    )


def state(run, name="last.ckpt"):
    return torch.load(Path(run) / "checkpoints" / name, weights_only=False)


class Dies(Callback):
    """Ends training at the start of an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_train_epoch_start(self, trainer, module):
        if trainer.current_epoch == self.epoch:
            raise RuntimeError("died")


def main():
    run, *rest = sys.argv[1:]
    pairs = [argument.split("=", 1) for argument in rest if "=" in argument]
    fit(run, "--resume" in rest, **{name: json.loads(value) for name, value in pairs})


if __name__ == "__main__":
    from medvial_training.cli import _report

    raise SystemExit(_report(main))
