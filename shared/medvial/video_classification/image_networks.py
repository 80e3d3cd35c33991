"""2-D networks on the frames of a clip: what is to be gained by looking at its motion."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from medvial.errors import InputError
from medvial.video_classification.config import ClipConfig


class DropoutLinear(nn.Linear):
    """A linear layer behind a dropout, under the names of the linear layer's weights."""

    def __init__(self, inputs: int, outputs: int, dropout: float) -> None:
        super().__init__(inputs, outputs)
        self.share = dropout

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) to (..., outputs)."""
        return super().forward(functional.dropout(x, self.share, self.training))


class FusedFrames(nn.Module):
    """ResNets of torchvision on frames of a clip, their features joined before the last layer.

    single_frame: the middle frame; early: all frames stacked as channels, frame by frame; late:
    the first and the last frame, a ResNet each.

    `trunks` are ResNets of the architecture `torchvision_name` but for their last layer; the first
    convolution of an early one takes 3 channels a frame.
    """

    def __init__(
        self,
        fusion: Literal["single_frame", "early", "late"],
        depth: int,
        frames: int,
        classes: int,
        dropout: float,
    ) -> None:
        from torchvision import models

        super().__init__()
        self.fusion = fusion
        self.torchvision_name = f"resnet{depth}"
        build = getattr(models, self.torchvision_name)
        trunks = [build(weights=None) for _ in range(1 + (fusion == "late"))]
        features: int = trunks[0].fc.in_features
        for trunk in trunks:
            trunk.fc = nn.Identity()
        if fusion == "early":
            trunks[0].conv1 = nn.Conv2d(3 * frames, 64, 7, stride=2, padding=3, bias=False)
        self.trunks = nn.ModuleList(trunks)
        self.fc = DropoutLinear(len(trunks) * features, classes, dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, T, H, W) to logits (N, classes)."""
        if self.fusion == "single_frame":
            images = [x[:, :, x.shape[2] // 2]]
        elif self.fusion == "early":
            images = [x.transpose(1, 2).flatten(1, 2)]  # (N, 3, T, H, W) => (N, T * 3, H, W)
        else:
            images = [x[:, :, 0], x[:, :, -1]]
        features = [trunk(image) for trunk, image in zip(self.trunks, images, strict=True)]
        return self.fc(torch.cat(features, dim=1))


def build_fused(config: ClipConfig) -> FusedFrames:
    """The untrained 2-D network of a configuration.

    Raises:
        InputError: The configuration is that of a 3-D network.
    """
    if config.fusion == "slow":
        raise InputError("Expected fusion of single frames, got slow, which is a 3-D network.")
    return FusedFrames(
        config.fusion, config.depth, config.clip_frames, len(config.labels), config.dropout
    )
