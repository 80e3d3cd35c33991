"""Training of a clip classifier."""

from collections.abc import Sequence
from typing import Any, Literal, cast

import numpy as np
import torch
from lightning.pytorch import Callback
from torch import Tensor, nn
from torch.nn import functional

from medvial.errors import InputError
from medvial.video_classification.config import ClipConfig
from medvial.video_classification.model import build_model, parts
from medvial_training.clips.augment import ClipAugmentation, augment
from medvial_training.clips.dataset import Item, class_weights
from medvial_training.clips.options import ClipTraining, FixLayer
from medvial_training.clips.scores import MeanProbabilities, by_patient, scores
from medvial_training.fit import FitArgs, TrainedModule

TRAINED_PARTS = {
    "head": ("head",),
    "stem_head": ("stem", "head"),
    "stage_head": ("stages", "head"),
}


class ClipModule(TrainedModule):
    """Classifies clips; validated by the mean probabilities of each video's, or patient's, views.

    Logs `valid/NAME` of videos and `valid/patient_NAME` of patients, NAME as in `scores`.
    """

    cpu_bfloat16 = False
    """Of clips that are two frames long inside the network, PyTorch 2.7's bfloat16 convolutions on
    a CPU return gradients made of memory that was not set."""

    mean: Tensor
    std: Tensor
    class_weights: Tensor

    def __init__(
        self,
        config: ClipConfig,
        fit: FitArgs,
        changes: ClipAugmentation,
        training: ClipTraining,
        train_items: Sequence[Item],
        valid_items: Sequence[Item],
    ) -> None:
        """A network with new weights.

        Args:
            config: What the network is and sees.
            fit: How to train.
            changes: Random changes of the training clips.
            training: Balance, fixed layers and what the best epoch is chosen by.
            train_items: The training videos, whose classes weigh in the loss.
            valid_items: The validation videos, as ViewClips numbers them.

        Raises:
            InputError: The validation videos cannot tell what `training.monitor` asks for.
        """
        super().__init__(build_model(config), fit)
        self.config, self.changes, self.training_options = config, changes, training
        self.items = list(valid_items)
        classes = len(config.labels)
        labels = np.array([item.label for item in train_items], dtype=np.int64)
        weights = class_weights(labels, classes, training.balance_loss)
        for name, values in (
            ("mean", torch.tensor(config.mean) * 255),
            ("std", torch.tensor(config.std) * 255),
            ("class_weights", torch.from_numpy(weights).float()),
        ):
            self.register_buffer(name, values, persistent=False)
        self.pooled = MeanProbabilities(len(self.items), classes)
        self.probabilities: Tensor | None = None
        self.pictures: list[Callback] = []
        self.monitor = monitored(training.monitor, config, self.items)
        self.mode: Literal["min", "max"] = "min" if training.monitor == "loss" else "max"
        self.fixed = fix_layers(self.net, training.fix_layer)

    def setup(self, stage: str) -> None:
        """Called by Lightning: convolutions of a GPU are faster with the channels last."""
        if self.trainer.strategy.root_device.type == "cuda":
            for weight in self.net.parameters():
                weight.data = channels_last(weight.data)

    def configure_callbacks(self) -> list[Callback]:
        """Called by Lightning."""
        return self.pictures

    def train(self, mode: bool = True) -> "ClipModule":
        """Parts that are not trained keep their running statistics, too."""
        super().train(mode)
        for part in self.fixed:
            part.eval()
        return self

    def on_train_epoch_start(self) -> None:
        """Called by Lightning, which switches between training and validation on its own."""
        self.train()

    def training_step(self, batch: dict[str, Tensor], _index: int) -> Tensor:
        """The loss of one batch."""
        with torch.autocast(batch["clip"].device.type, enabled=False):
            clips = augment(batch["clip"], self.changes, self.config.crop)
        logits, labels = self._logits(clips), batch["label"]
        smoothing = self.training_options.label_smoothing
        losses = functional.cross_entropy(
            logits, labels, reduction="none", label_smoothing=smoothing
        )
        loss = (losses * self.class_weights[labels]).mean()
        count = len(clips)
        self.log("train/loss", loss, on_epoch=True, on_step=False, batch_size=count, sync_dist=True)
        return loss

    def validation_step(self, batch: dict[str, Tensor], _index: int) -> None:
        """Add up the probabilities of one batch of views."""
        clips = batch["clip"].permute(0, 4, 1, 2, 3).float()  # (N, T, H, W, C) => (N, C, T, H, W)
        self.pooled.update(batch["item"], self._logits(clips).softmax(dim=1))

    def on_validation_epoch_end(self) -> None:
        """Scores of videos, and of patients where they are known."""
        videos = self.pooled.compute()
        self.pooled.reset()
        self.probabilities = videos.cpu()
        positive = positive_class(self.config)
        labels = torch.tensor([item.label for item in self.items])
        values = {f"valid/{k}": v for k, v in scores(videos, labels, positive).items()}
        patients = by_patient(videos, self.items)
        if patients is not None:
            own = scores(*patients, positive)
            values |= {f"valid/patient_{name}": value for name, value in own.items()}
        for name, value in values.items():
            self.log(name, value, prog_bar=name == self.monitor)

    def _logits(self, clips: Tensor) -> Tensor:
        """(N, 3, T, h, w), 0 to 255, to logits (N, classes) float32."""
        shape = (1, 3, 1, 1, 1)
        images = (clips - self.mean.view(shape)) / self.std.view(shape)
        images = channels_last(images) if images.is_cuda else images.contiguous()
        logits: Tensor = self.net(images)
        return logits.float()


def channels_last(values: Tensor) -> Tensor:
    """Weights or images with the channels innermost in memory."""
    kinds = {4: torch.channels_last, 5: torch.channels_last_3d}
    kind = kinds.get(values.dim())
    return values if kind is None else values.contiguous(memory_format=kind)


def positive_class(config: ClipConfig) -> int:
    """Number of the class that counts as positive; the last where none is named."""
    return config.labels.index(config.positive) if config.positive else len(config.labels) - 1


def monitored(monitor: str, config: ClipConfig, items: Sequence[Item]) -> str:
    """The logged score that the best epoch is chosen by.

    Raises:
        InputError: The area under the curve is asked for, and there are not two classes.
    """
    if monitor == "auroc" and not (len(config.labels) == 2 == len({i.label for i in items})):
        raise InputError(
            f"Expected validation videos of two classes for the monitor auroc, got classes "
            f"{', '.join(config.labels)} with {len({i.label for i in items})} of them in "
            "validation. Choose the monitor loss."
        )
    return f"valid/{'patient_' if all(item.patient for item in items) else ''}{monitor}"


def fix_layers(net: nn.Module, fix_layer: FixLayer) -> list[nn.Module]:
    """Keep parts of a network as they are.

    Args:
        net: A network of `build_model`.
        fix_layer: As in ClipTraining.

    Returns:
        The parts that are not trained; they belong in evaluation mode.
    """
    if fix_layer not in TRAINED_PARTS:
        return []
    trained = TRAINED_PARTS[fix_layer]
    net.requires_grad_(False)
    fixed: list[nn.Module] = []
    for name, modules in parts(net).items():
        for module in modules:
            module.requires_grad_(name in trained)
            if name not in trained:
                fixed.append(module)
    return cast(Any, fixed)
