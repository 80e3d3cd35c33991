"""Optimizer and learning rate of every task's networks."""

import math
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch.optim import Optimizer, lr_scheduler

from medvial_training.fit_args import FitArgs


class TrainedModule(LightningModule):
    """A network `net` that is trained as its options say; the tasks add loss and validation."""

    cpu_bfloat16 = True
    """Whether `precision` auto may compute in bfloat16 on a CPU."""

    def __init__(self, net: torch.nn.Module, fit: FitArgs) -> None:
        super().__init__()
        self.net, self.fit_args = net, fit

    def configure_optimizers(self) -> Any:
        """Called by Lightning."""
        scaled = self.trainer.precision == "16-mixed"  # gradients are clipped after unscaling
        fused = self.device.type == "cuda" and not scaled
        optimizer = make_optimizer(self.net, self.fit_args, fused=fused)
        steps = int(self.trainer.estimated_stepping_batches)
        per_epoch = max(1, math.ceil(steps / self.fit_args.max_epochs))
        schedule = make_schedule(optimizer, self.fit_args, steps, per_epoch)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


def make_optimizer(net: torch.nn.Module, args: FitArgs, *, fused: bool = False) -> Optimizer:
    """The optimizer of the weights that are to be trained."""
    weights = [weight for weight in net.parameters() if weight.requires_grad]
    common: dict[str, Any] = {
        "lr": args.learning_rate,
        "weight_decay": args.weight_decay,
        "fused": fused or None,
    }
    if args.optimizer == "sgd":
        return torch.optim.SGD(weights, momentum=args.momentum, nesterov=args.nesterov, **common)
    kind = torch.optim.AdamW if args.optimizer == "adamw" else torch.optim.Adam
    return kind(weights, **common)


def make_schedule(
    optimizer: Optimizer, args: FitArgs, steps: int, steps_per_epoch: int
) -> lr_scheduler.LRScheduler:
    """The learning rate over the steps of a whole training.

    Args:
        optimizer: Starts from the highest learning rate.
        args: Gives `schedule`, `learning_rate` and their numbers.
        steps: Optimizer steps of all epochs.
        steps_per_epoch: Of them, those of one epoch.

    Returns:
        One cycle (Smith and Topin, 2018); a half cosine after a linear warm-up (Loshchilov and
        Hutter, 2017; Goyal et al., 2017); a constant; or one that falls by a factor every
        `step_epochs` epochs. To be advanced after every step.
    """
    if args.schedule == "one_cycle":
        return lr_scheduler.OneCycleLR(
            optimizer, args.learning_rate, max(2, steps), pct_start=args.warmup
        )
    rising = round(args.warmup * steps)

    def factor(step: int) -> float:
        if args.schedule == "constant":
            return 1.0
        if args.schedule == "step":
            return float(args.step_factor ** (step // (steps_per_epoch * args.step_epochs)))
        if step < rising:
            return (step + 1) / (rising + 1)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rising) / max(1, steps - rising))))

    return lr_scheduler.LambdaLR(optimizer, factor)
