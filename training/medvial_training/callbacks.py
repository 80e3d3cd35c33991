"""What happens beside the training steps: logs, checkpoints, averages, seeds."""

import csv
import io
import logging
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.plugins import TorchCheckpointIO
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
        step = trainer.global_step * trainer.world_size + trainer.global_rank
        torch.manual_seed(self.seed * 1_000_003 + step)


class WholeCheckpoints(TorchCheckpointIO):
    """Checkpoints that are moved to their place when they are complete.

    A process that is killed while it writes one leaves the one before it.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write beside the place and rename."""
        part = Path(f"{path}.part")
        super().save_checkpoint(checkpoint, part, storage_options)
        part.replace(path)


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
