"""Training of the landmark networks."""

import numpy as np
import torch
from torch import Tensor
from torchmetrics import MeanMetric

from medvial.cldetection.config import Config
from medvial.cldetection.decode import decode
from medvial.cldetection.model import build_model
from medvial_training.fit import FitArgs, TrainedModule
from medvial_training.tasks.cldetection.losses import Loss


class LandmarkModule(TrainedModule):
    """A heatmap network, its loss and its validation in millimetres."""

    monitor = "valid/mre_mm"
    mode = "min"

    def __init__(self, config: Config, fit: FitArgs, loss: Loss) -> None:
        net = build_model(config).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        super().__init__(net, fit)
        self.config, self.loss = config, loss
        self.error_mm, self.within_2mm = MeanMetric(), MeanMetric()

    def training_step(self, batch: dict[str, Tensor], _index: int) -> Tensor:
        """The loss of one batch."""
        loss = self.loss(self._forward(batch["image"]), batch["points"], self.config)
        count = len(batch["image"])
        self.log("train/loss", loss, on_epoch=True, on_step=False, batch_size=count, sync_dist=True)
        return loss

    def validation_step(self, batch: dict[str, Tensor], _index: int) -> None:
        """Mean radial error and detection rate of one batch."""
        heatmaps = self._forward(batch["image"]).float().cpu().numpy()
        points = np.stack([decode(film, self.config).points for film in heatmaps])
        off = (points - batch["points"].cpu().numpy()) * batch["mm_per_px"].cpu().numpy()[:, None]
        error = torch.from_numpy(np.linalg.norm(off, axis=-1))  # (N, L)
        known = error[torch.isfinite(error)].to(self.device)
        self.error_mm.update(known)
        self.within_2mm.update((known < 2.0).float())
        self.log("valid/mre_mm", self.error_mm, prog_bar=True, on_epoch=True)
        self.log("valid/sdr_2mm", self.within_2mm, prog_bar=True, on_epoch=True)

    def _forward(self, images: Tensor) -> Tensor:
        heatmaps: Tensor = self.net(images.contiguous(memory_format=torch.channels_last))
        return heatmaps
