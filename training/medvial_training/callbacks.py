"""What happens beside the training steps: logs, averages, seeds, signals."""

import csv
import io
import logging
import signal
import threading
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar
from torch import Tensor

from medvial.outputs import write_bytes

log = logging.getLogger(__name__)


class EpochLog(Callback):
    """Writes the epoch's metrics as one row of log.csv."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Append, keeping the rows of earlier epochs when training was resumed."""
        validated = (trainer.current_epoch + 1) % (trainer.check_val_every_n_epoch or 1) == 0
        if not validated or not trainer.is_global_zero:
            return
        row: dict[str, float] = {"epoch": trainer.current_epoch, "step": trainer.global_step}
        row |= {name: float(value) for name, value in sorted(trainer.callback_metrics.items())}
        if not trainer.progress_bar_callback:
            log.info("  ".join(f"{name} {value:.4g}" for name, value in row.items()))
        rows = []
        if self.path.is_file():
            with self.path.open(newline="") as file:
                rows = [r for r in csv.DictReader(file) if int(r["epoch"]) < row["epoch"]]
        columns = list(dict.fromkeys([*(rows[0] if rows else ()), *row]))
        table = io.StringIO()
        writer = csv.DictWriter(table, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows([*rows, row])
        write_bytes(self.path, table.getvalue().encode())


class StepMetrics(Callback):
    """Gives the trackers the training loss and the learning rate every few steps.

    The loss is the mean since the last time, over all processes. It stays on the device in between,
    so that no step waits for it.
    """

    def __init__(self, every: int = 10) -> None:
        self.every, self.noted = every, 0
        self.losses: list[Tensor] = []

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Called by Lightning, also when training goes on."""
        self.noted = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Called by Lightning, for each of the batches that make up a step."""
        undivided = outputs["loss"].detach() * trainer.accumulate_grad_batches
        self.losses.append(undivided)
        step = trainer.global_step
        if step == self.noted or step % self.every:
            return
        self.noted = step
        loss = trainer.strategy.reduce(torch.stack(self.losses).mean(), reduce_op="mean")
        self.losses = []
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        metrics = {"step/loss": float(loss), "step/learning_rate": rate}
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=step)


class SeedSteps(Callback):
    """Starts the random numbers of every step (dropout) from the seed and the step's number.

    So a resumed run goes on as the uninterrupted one would have.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Called by Lightning."""
        batches = trainer.accumulate_grad_batches
        batch_number = trainer.global_step * batches + batch_idx % batches
        step = batch_number * trainer.world_size + trainer.global_rank
        torch.manual_seed(self.seed * 1_000_003 + step)


class LeaveOnSigterm(Callback):
    """SIGTERM ends training at once, with exit code 143; the last whole epoch is saved already.

    Lightning would wait for the end of a batch and exit with 0, and would make the processes of a
    distributed training wait for one another.
    """

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Called after Lightning has set its own handlers, which it takes back in the end."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, _leave)


def _leave(number: int, _frame: Any) -> None:
    log.info("Terminated; go on with --resume from the last whole epoch.")
    raise SystemExit(128 + number)


class ProgressBar(TQDMProgressBar):
    """Lightning's, without the tracker's run id."""

    def get_metrics(self, *arguments: Any) -> dict[str, Any]:
        """What stands behind the bar."""
        metrics = super().get_metrics(*arguments)
        metrics.pop("v_num", None)
        return metrics


def moving_average(decay: float) -> Any:
    """Exponential moving average whose first steps are averaged evenly.

    Without the warm-up the random initial weights would weigh for 1 / (1 - decay) steps.
    """

    def average(averaged: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        n = int(count)
        return averaged + (current - averaged) * (1 - min(decay, (1 + n) / (10 + n)))

    return average
