"""Training of the two networks."""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torchmetrics import MeanAbsoluteError, MeanSquaredError, Metric

from medvial.echonet.config import Config
from medvial.echonet.model import build_ejection_fraction, build_segmentation, final_layer
from medvial_training.fit import FitArgs, TrainedModule
from medvial_training.tasks.echonet.augment import Augmentation, augment
from medvial_training.tasks.echonet.choices import EfLoss, SegmentationLoss
from medvial_training.tasks.echonet.dataset import normalise

EF_BIN = 2.0  # points; bins of the density of ejection fractions
EF_SMOOTHING = 3.0  # bins; standard deviation of its smoothing


class Overlap(Metric):
    """Pixels that two masks share, and that they have, of all frames of a phase."""

    sums: Tensor

    def __init__(self) -> None:
        super().__init__()
        zeros = torch.zeros(2, 2, dtype=torch.float64)  # ES, ED x shared, areas
        self.add_state("sums", zeros, dist_reduce_fx="sum")

    def update(self, predicted: Tensor, truth: Tensor, large: Tensor) -> None:
        """Add masks (N, 1, H, W), bool; `large` (N,), True at end diastole."""
        both = (predicted & truth).sum(dim=(1, 2, 3))
        areas = predicted.sum(dim=(1, 2, 3)) + truth.sum(dim=(1, 2, 3))
        counts = torch.stack([both, areas], dim=1).to(self.sums)
        self.sums.index_add_(0, large.long(), counts)

    def compute(self) -> Tensor:
        """(2, 2): ES and ED, shared and areas."""
        return self.sums


class SegmentationModule(TrainedModule):
    """Finds the left ventricle in traced frames; validated by Dice over all their pixels."""

    monitor = "valid/dice"
    mode: Literal["min", "max"] = "max"

    def __init__(
        self, config: Config, fit: FitArgs, changes: Augmentation, loss: SegmentationLoss
    ) -> None:
        net = build_segmentation(config).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        super().__init__(net, fit)
        self.config, self.changes, self.loss = config, changes, loss
        self.overlap = Overlap()

    def training_step(self, batch: dict[str, Tensor], _index: int) -> Tensor:
        """The loss of one batch."""
        frames, masks = augment(batch["frame"].float(), batch["mask"].float(), self.changes)
        assert masks is not None
        loss = segmentation_loss(self._logits(frames), masks, self.loss)
        count = len(frames)
        self.log("train/loss", loss, on_epoch=True, on_step=False, batch_size=count, sync_dist=True)
        return loss

    def validation_step(self, batch: dict[str, Tensor], _index: int) -> None:
        """Add up the overlap of one batch; its loss is for the curves alone."""
        logits, masks = self._logits(batch["frame"].float()), batch["mask"]
        self.overlap.update(logits > 0, masks.bool(), batch["large"])
        loss = segmentation_loss(logits, masks.float(), self.loss)
        self.log("valid/loss", loss, on_epoch=True, batch_size=len(masks), sync_dist=True)

    def on_validation_epoch_end(self) -> None:
        """Dice over all pixels of all frames, and of each phase."""
        small, large = self.overlap.compute()
        self.overlap.reset()
        values = {"dice": small + large, "dice_large": large, "dice_small": small}
        for name, (both, areas) in values.items():
            dice = float(2 * both / areas.clamp(min=1))
            self.log(f"valid/{name}", dice, prog_bar=name == "dice")

    def _logits(self, frames: Tensor) -> Tensor:
        """(N, 1, H, W) grey values to logits (N, 1, H, W) float32."""
        images = normalise(frames, self.config)[:, :, 0]  # one frame: (N, C, 1, H, W) => 4-D
        logits: Tensor = self.net(images.contiguous(memory_format=torch.channels_last))
        return logits.float()


def segmentation_loss(logits: Tensor, masks: Tensor, kind: SegmentationLoss) -> Tensor:
    """Cross-entropy plus 1 - Dice; or the cross-entropy summed, as EchoNet-Dynamic does.

    Args:
        logits: (N, 1, H, W).
        masks: (N, 1, H, W), 0 to 1.
        kind: bce_dice is the mean over the pixels plus the mean over the samples of 1 - Dice;
            sum_bce the sum over pixels and samples, so that the best learning rate depends on the
            batch's size.
    """
    if kind == "sum_bce":
        return functional.binary_cross_entropy_with_logits(logits, masks, reduction="sum")
    probability = logits.sigmoid()
    both = (probability * masks).sum(dim=(1, 2, 3))
    areas = (probability + masks).sum(dim=(1, 2, 3))
    dice = (2 * both + 1) / (areas + 1)
    return functional.binary_cross_entropy_with_logits(logits, masks) + (1 - dice).mean()


class EjectionFractionModule(TrainedModule):
    """Reads the ejection fraction off clips; validated by the mean over a video's fixed clips."""

    monitor = "valid/mae"
    mode: Literal["min", "max"] = "min"

    def __init__(
        self,
        config: Config,
        fit: FitArgs,
        changes: Augmentation,
        loss: EfLoss,
        training_ef: Sequence[float],
        balance: float = 0.0,
    ) -> None:
        """The last layer starts at the mean and in the scale of the training videos' EF."""
        super().__init__(build_ejection_fraction(config), fit)
        self.config, self.changes, self.loss = config, changes, loss
        self.mae, self.rmse = MeanAbsoluteError(), MeanSquaredError(squared=False)
        ef = np.asarray(training_ef, dtype=np.float64)
        self.scale = max(float(ef.std()), 1.0)
        self.weights = torch.from_numpy(ef_weights(ef, balance))
        last = final_layer(self.net)
        with torch.no_grad():
            last.bias.fill_(float(ef.mean()))
            last.weight.mul_(self.scale)

    def training_step(self, batch: dict[str, Tensor], _index: int) -> Tensor:
        """The loss of one batch."""
        clips, _ = augment(batch["clips"][:, 0].float(), None, self.changes)
        off = (self._predict(clips, batch["inside"][:, 0]) - batch["ef"]) / self.scale
        zero = torch.zeros_like(off)
        reduce = functional.huber_loss if self.loss == "huber" else functional.mse_loss
        bins = (batch["ef"] / EF_BIN).long().clamp(0, len(self.weights) - 1)
        loss = (reduce(off, zero, reduction="none") * self.weights.to(off)[bins]).mean()
        count = len(clips)
        self.log("train/loss", loss, on_epoch=True, on_step=False, batch_size=count, sync_dist=True)
        return loss

    def validation_step(self, batch: dict[str, Tensor], _index: int) -> None:
        """Mean absolute and root mean squared error of the mean over each video's clips."""
        predicted = self.predict_videos(batch)
        self.mae.update(predicted, batch["ef"])
        self.rmse.update(predicted, batch["ef"])
        self.log("valid/mae", self.mae, prog_bar=True, on_epoch=True)
        self.log("valid/rmse", self.rmse, on_epoch=True)

    def predict_videos(self, batch: dict[str, Tensor]) -> Tensor:
        """Mean over the clips of each video, (N,) percent."""
        count, clips = batch["clips"].shape[:2]
        values = self._predict(batch["clips"].flatten(0, 1).float(), batch["inside"].flatten(0, 1))
        return values.view(count, clips).mean(dim=1)

    def _predict(self, clips: Tensor, inside: Tensor) -> Tensor:
        """(N, T, H, W) grey values to (N,) percent; mean grey beyond the video's end."""
        images = normalise(clips, self.config) * inside[:, None, :, None, None]
        values: Tensor = self.net(images)
        return values[:, 0].float()


def ef_weights(ef: NDArray[np.float64], balance: float) -> NDArray[np.float32]:
    """Weight of the loss by bin of EF_BIN points: rare ejection fractions count more.

    The smoothed density to the power of -balance, after label distribution smoothing (Yang et al.,
    ICML 2021), with a mean of 1 over the training videos; balance 0 weighs all alike.

    Args:
        ef: (N,) ejection fractions of the training videos, percent.
        balance: 0 (alike) to 1 (every ejection fraction as much as any other).

    Returns:
        (B,) weights.
    """
    edges = np.arange(0, 100 + EF_BIN, EF_BIN)
    counts = np.histogram(ef, edges)[0].astype(np.float64)
    reach = math.ceil(3 * EF_SMOOTHING)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / EF_SMOOTHING) ** 2)
    density = np.convolve(counts, kernel / kernel.sum(), mode="same")
    weights = np.maximum(density, density.max() / 100) ** -balance
    return np.asarray(weights / ((weights * counts).sum() / counts.sum()), dtype=np.float32)
