"""The networks of leg agility. Nothing is downloaded: weights come later, by path."""

import dataclasses
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from medvial.errors import InputError
from medvial.gait.leg_agility.config import LegConfig
from medvial.gait.leg_agility.inputs import MISSING, QUANTITY_NAMES, SIGNALS
from medvial.video_classification.model import build_model as build_clip_model

FEATURES = 32  # of a leg, before the last layer
LSTM_WIDTH = 256  # as in the source


def build_model(config: LegConfig) -> nn.Module:
    """The untrained network of a configuration.

    Its forward takes inputs of `inputs.input_shape`, (N, ...) float32, and returns (N, outputs):
    logits of exceeding each level but the last (coral, cumulative), or of each level.

    Raises:
        InputError: It is no network but a forest, or the drawings are too small for the network.
    """
    if config.kind == "kinematic":
        raise InputError(
            "Expected a network, got kind kinematic: a forest, which is in leg_agility.onnx alone. "
            "Run it by ONNX Runtime (MEDVIAL_BACKEND=onnx)."
        )
    if config.one_network_for_both:
        return Rater(config)
    return RaterPerLeg(config)


class Rater(nn.Module):
    """Features of a leg, and the layer that rates them."""

    def __init__(self, config: LegConfig) -> None:
        super().__init__()
        self.body = _body(config)
        self.dropout = nn.Dropout(config.dropout)
        self.head = OrdinalHead(FEATURES, config)

    def forward(self, x: Tensor) -> Tensor:
        """(N, ...) to (N, outputs)."""
        return self.head(self.dropout(functional.relu(self.body(x))))


class RaterPerLeg(nn.Module):
    """A network for each leg; the last plane of the input says which: 0 left, 1 right."""

    def __init__(self, config: LegConfig) -> None:
        super().__init__()
        self.left, self.right = Rater(config), Rater(config)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C + 1, ...) to (N, outputs)."""
        is_right = x[:, -1].flatten(1)[:, :1] > 0.5  # (N, 1)
        if self.training:
            return self._routed(x, is_right[:, 0])
        return torch.where(is_right, self.right(x[:, :-1]), self.left(x[:, :-1]))

    def _routed(self, x: Tensor, is_right: Tensor) -> Tensor:
        """Each leg through its own network alone, so that batch norms see no other's."""
        legs = [(self.left, ~is_right), (self.right, is_right)]
        outputs = x.new_zeros((len(x), self.left.head.outputs))
        for net, mine in legs:
            if mine.any():
                outputs = outputs.masked_scatter(mine[:, None], net(x[mine, :-1]).to(outputs))
        return outputs


class OrdinalHead(nn.Module):
    """The last layer.

    coral: one severity, and a limit for each level but the last (Cao et al., Pattern Recognition
    Letters 2020;140:325-31), so that probabilities never contradict each other. cumulative: one
    output for each of these limits (Frank and Hall, ECML 2001). cross_entropy: one a level.
    """

    def __init__(self, features: int, config: LegConfig) -> None:
        super().__init__()
        self.outputs = config.outputs
        self.coral = config.loss == "coral"
        self.linear = nn.Linear(features, 1 if self.coral else self.outputs, bias=not self.coral)
        if self.coral:
            self.limits = nn.Parameter(torch.linspace(1, -1, self.outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(N, features) to (N, outputs)."""
        severity: Tensor = self.linear(x)
        return severity + self.limits if self.coral else severity


class Temporal(nn.Module):
    """Convolutions over both knees' height and speed, pooled over the leg's attempt.

    Counts, longest pauses and rates matter, wherever they are: the features' mean, largest value
    and spread over the time that is seen. The quantities join after that, each over its spread.
    """

    centre: Tensor
    scale: Tensor

    def __init__(self, config: LegConfig) -> None:
        super().__init__()
        count = len(QUANTITY_NAMES) * config.with_quantities
        self.stem = _convolution(len(SIGNALS), config.widths[0], 7)
        self.blocks = nn.ModuleList(_Block(a, b) for a, b in pairwise(config.widths))
        self.register_buffer("centre", torch.zeros(count))
        self.register_buffer("scale", torch.ones(count))
        self.join = nn.Linear(3 * config.widths[-1] + 2 * count, FEATURES)

    def learn_scale(self, quantities: Tensor) -> None:
        """Take mean and spread of the quantities (N, Q) of the training samples."""
        told = torch.where(quantities > MISSING, quantities, torch.nan)
        centre = told.nanmean(dim=0).nan_to_num(0.0)
        spread = (told - centre).square().nanmean(dim=0).sqrt().nan_to_num(0.0)
        self.centre.copy_(centre)
        self.scale.copy_(torch.where(spread > 1e-6, spread, 1.0))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T) to (N, FEATURES)."""
        signals, quantities = x[:, : len(SIGNALS)], x[:, len(SIGNALS) :, 0]
        seen = (signals[:, SIGNALS.index("seen") :][:, :1] > 0.5).to(signals)
        features = self.stem(signals)
        for block in self.blocks:
            features = block(features)
            seen = functional.max_pool1d(seen, 2, ceil_mode=True)
        return self.join(torch.cat([_pooled(features, seen), self._told(quantities)], dim=1))

    def _told(self, quantities: Tensor) -> Tensor:
        """(N, 2 Q): each over its spread, and whether there is one."""
        there = (quantities > MISSING).to(quantities)
        return torch.cat([(quantities - self.centre) / self.scale * there, 1 - there], dim=1)


class FrameLSTM(nn.Module):
    """ResNet-18 on each drawing, an LSTM over all of them: the source's idea with many time steps.

    torchvision's ResNet-18, untrained; ImageNet's weights fit `image`.
    """

    def __init__(self) -> None:
        from torchvision.models import resnet18

        super().__init__()
        self.image = resnet18(weights=None)
        width = self.image.fc.in_features
        self.image.fc = nn.Identity()
        self.image.torchvision_name = "resnet18"
        self.lstm = nn.LSTM(width, LSTM_WIDTH, batch_first=True)
        self.join = nn.Linear(2 * LSTM_WIDTH, FEATURES)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, T, H, W) to (N, FEATURES)."""
        count, _, steps = x.shape[:3]
        frames = x.transpose(1, 2).flatten(0, 1)  # (N, C, T, H, W) to (N T, C, H, W)
        states, _ = self.lstm(self.image(frames).view(count, steps, -1))
        return self.join(torch.cat([states.mean(dim=1), states.amax(dim=1)], dim=1))


def _body(config: LegConfig) -> nn.Module:
    if config.kind == "temporal":
        return Temporal(config)
    if config.kind == "resnet18_lstm":
        return FrameLSTM()
    names = tuple(f"feature {number}" for number in range(1, FEATURES + 1))
    return build_clip_model(dataclasses.replace(config.clip, labels=names))


def _convolution(inputs: int, outputs: int, width: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv1d(inputs, outputs, width, stride, width // 2, bias=False),
        nn.BatchNorm1d(outputs),
        nn.ReLU(inplace=True),
    )


class _Block(nn.Module):
    """Two convolutions, the first of which halves the time steps, and a shortcut."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.path = nn.Sequential(
            *_convolution(inputs, outputs, 5, stride=2),
            nn.Conv1d(outputs, outputs, 5, padding=2, bias=False),
            nn.BatchNorm1d(outputs),
        )
        self.shortcut = nn.Sequential(
            nn.AvgPool1d(2, ceil_mode=True), nn.Conv1d(inputs, outputs, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, T) to (N, outputs, T / 2), rounded up."""
        return functional.relu(self.path(x) + self.shortcut(x))


def _pooled(features: Tensor, seen: Tensor) -> Tensor:
    """(N, C, T) and where they count (N, 1, T): mean, largest and spread, (N, 3 C)."""
    total = seen.sum(dim=2).clamp(min=1)
    mean = (features * seen).sum(dim=2) / total
    spread = ((features - mean[..., None]).square() * seen).sum(dim=2) / total
    largest = (features * seen).amax(dim=2)
    return torch.cat([mean, largest, (spread + 1e-6).sqrt()], dim=1)
