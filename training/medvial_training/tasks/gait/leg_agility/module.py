"""Training of the networks of leg agility."""

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import MeanMetric

from medvial.gait.leg_agility.config import LegConfig
from medvial.gait.leg_agility.inputs import QUANTITY_NAMES, SIGNALS
from medvial.gait.leg_agility.model import Temporal, build_model
from medvial.gait.leg_agility.rating import probabilities, scores
from medvial_training.fit import FitArgs, TrainedModule
from medvial_training.tasks.gait.leg_agility.dataset import Legs
from medvial_training.tasks.gait.leg_agility.ordinal import level_weights, ordinal_loss


class LegModule(TrainedModule):
    """Rates legs; validated by the loss, since validation legs are few and scores coarse."""

    cpu_bfloat16 = False  # as in ClipModule, whose networks `rendered` takes
    monitor = "valid/loss"
    mode: Literal["min", "max"] = "min"
    levels: Tensor
    weights: Tensor

    def __init__(self, config: LegConfig, fit: FitArgs, weights: NDArray[np.float32]) -> None:
        """`weights` (K,) of each level in the loss: see `ordinal.level_weights`."""
        super().__init__(build_model(config), fit)
        self.config = config
        self.register_buffer("weights", torch.from_numpy(weights))
        self.register_buffer("levels", torch.tensor(config.levels))
        self.exact, self.within_one, self.off = MeanMetric(), MeanMetric(), MeanMetric()

    @classmethod
    def of(cls, train: Legs, fit: FitArgs, balance: float) -> "LegModule":
        """For some training legs, from which balance and the scale of quantities are taken."""
        config = train.inputs.config
        module = cls(config, fit, level_weights(train.targets, config, balance))
        nets = [net for net in module.modules() if isinstance(net, Temporal)]
        if nets and config.with_quantities:
            values = torch.from_numpy(train.inputs.stack(train.samples))
            for net in nets:
                net.learn_scale(values[:, len(SIGNALS) : len(SIGNALS) + len(QUANTITY_NAMES), 0])
        return module

    def training_step(self, batch: dict[str, Tensor], _index: int) -> Tensor:
        """The loss of one batch."""
        loss = self._loss(batch, self.net(batch["input"]))
        self._log_loss("train/loss", loss, batch)
        return loss

    def validation_step(self, batch: dict[str, Tensor], _index: int) -> None:
        """Loss, exact scores, those within one point, and the mean distance."""
        outputs = self.net(batch["input"])
        self._log_loss("valid/loss", self._loss(batch, outputs), batch)
        likely = probabilities(outputs.float().cpu().numpy(), self.config)
        off = (
            torch.from_numpy(scores(likely, self.config)) - self.levels[batch["target"]].cpu()
        ).abs()
        shown: list[tuple[str, MeanMetric, Any]] = [
            ("valid/accuracy", self.exact, off == 0),
            ("valid/within_one", self.within_one, off <= 1),
            ("valid/mae", self.off, off),
        ]
        for name, metric, values in shown:
            metric.update(values.float().to(self.device))
            self.log(name, metric, on_epoch=True, prog_bar=name == "valid/accuracy")

    def _loss(self, batch: dict[str, Tensor], outputs: Tensor) -> Tensor:
        return ordinal_loss(outputs.float(), batch["target"], self.config, self.weights)

    def _log_loss(self, name: str, loss: Tensor, batch: dict[str, Tensor]) -> None:
        count = len(batch["target"])
        self.log(name, loss, on_epoch=True, on_step=False, batch_size=count, sync_dist=True)
