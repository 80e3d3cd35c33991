"""Training of the landmark networks."""

import numpy as np
import torch
from torch import Tensor
from torchmetrics import MeanMetric

from medvial.cldetection.config import Config
from medvial.cldetection.decode import decode
from medvial.cldetection.model import build_model
from medvial_training.fit import FitArgs, TrainedModule


class LandmarkModule(TrainedModule):
    """A heatmap network, its loss and its validation in millimetres."""

    monitor = "valid/mre_mm"
    mode = "min"

    def __init__(self, config: Config, fit: FitArgs) -> None:
        net = build_model(config).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        super().__init__(net, fit)
        self.config = config
        self.error_mm, self.within_2mm = MeanMetric(), MeanMetric()

    def training_step(self, batch: dict[str, Tensor], _index: int) -> Tensor:
        """The loss of one batch."""
        loss = self._loss(batch)
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

    def _loss(self, batch: dict[str, Tensor]) -> Tensor:
        logits = self._forward(batch["image"]).float()
        return heatmap_cross_entropy(logits, batch["points"], self.config)


def heatmap_cross_entropy(logits: Tensor, points: Tensor, config: Config) -> Tensor:
    """Cross-entropy between the heatmap as one distribution and a Gaussian around the landmark.

    Args:
        logits: (N, L, h, w) float32.
        points: (N, L, 2) as (x, y) in network pixels; a landmark that is NaN or lies outside the
            film does not count.
        config: Gives `sigma_px` and `heatmap_stride`.

    Returns:
        Mean over the landmarks that count, in nats.
    """
    _, _, height, width = logits.shape
    centre = (points + 0.5) / config.heatmap_stride - 0.5  # network => heatmap pixels
    size = torch.tensor([width, height], device=logits.device)
    inside = ((centre >= 0) & (centre <= size - 1)).all(dim=-1)  # False for NaN
    centre = torch.where(inside[..., None], centre, torch.zeros_like(centre))
    x = _gaussian(width, centre[..., 0], config.sigma_px)  # (N, L, w)
    y = _gaussian(height, centre[..., 1], config.sigma_px)  # (N, L, h)
    log_probability = logits.flatten(2).log_softmax(dim=-1).view_as(logits)
    loss = -torch.einsum("nlhw,nlh,nlw->nl", log_probability, y, x)
    return (loss * inside).sum() / inside.sum().clamp(min=1)


def _gaussian(size: int, centre: Tensor, sigma: float) -> Tensor:
    """Normalised Gaussian weights (N, L, size) around centres (N, L)."""
    grid = torch.arange(size, device=centre.device, dtype=centre.dtype)
    weights = torch.exp(-((grid - centre[..., None]) ** 2) / (2 * sigma**2))
    return weights / weights.sum(dim=-1, keepdim=True)
