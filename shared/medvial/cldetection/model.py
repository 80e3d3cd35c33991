"""The networks that turn a film into landmark heatmaps."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from medvial.cldetection.config import Config
from medvial.cldetection.landmarks import load_landmark_set
from medvial.unet import CompactUNet, conv_block


def build_model(config: Config) -> nn.Module:
    """The untrained network of `config.architecture`, or an `Ensemble` of `config.members`.

    Its forward takes (N, channels, height, width) float32, normalised, and returns one map of
    logits per landmark, (N, L, height / heatmap_stride, width / heatmap_stride); of an ensemble,
    those of one member after the other, (N, members L, ...).
    """
    landmarks = len(load_landmark_set(config.landmark_set))
    builders: dict[str, Callable[[], nn.Module]] = {
        "compact_unet": lambda: CompactUNet(
            config.channels, landmarks, config.widths, config.dropout
        ),
        "unet": lambda: UNet(config.channels, landmarks),
    }
    build = builders[config.architecture]
    if config.members == 1:
        return build()
    return Ensemble([build() for _ in range(config.members)])


class Ensemble(nn.Module):
    """Several networks side by side; `find` takes the mean of what their heatmaps say.

    After Lakshminarayanan, Pritzel and Blundell, arXiv 1612.01474. The mean is that of the points,
    which came out nearer than the peak of the mean heatmap.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the logits of one member after the other, (N, members L, h, w)."""
        return torch.cat([member(x) for member in self.members], dim=1)


class UNet(nn.Module):
    """The network of the CL-Detection 2023 baseline, layer by layer, so that its weights load.

    Four encoder blocks of 64 to 512 channels and a decoder of transposed convolutions; the
    sigmoid of the original is left to the decoding (`Config.heatmap = "sigmoid"`). Structure:
    github.com/szuboy/CL-Detection2023, dc1ce2b.
    """

    def __init__(self, channels: int, landmarks: int) -> None:
        super().__init__()
        self.encoder = nn.ModuleList(
            [
                conv_block(channels, 64, middle=32, bias=True),
                conv_block(64, 128, middle=64, bias=True),
                conv_block(128, 256, middle=128, bias=True),
                conv_block(256, 512, middle=256, bias=True),
            ]
        )
        sizes = (512, 256, 128)
        self.upsample = nn.ModuleList(nn.ConvTranspose2d(c, c, 2, stride=2) for c in sizes)
        self.decoder = nn.ModuleList(
            conv_block(c + c // 2, c // 2, middle=c // 2, bias=True) for c in sizes
        )
        self.head = nn.Conv2d(64, landmarks, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to logits (N, L, H, W)."""
        skips = []
        for block in self.encoder[:-1]:
            x = block(x)
            skips.append(x)
            x = functional.max_pool2d(x, 2)
        x = self.encoder[-1](x)
        for upsample, block in zip(self.upsample, self.decoder, strict=True):
            x = block(torch.cat([upsample(x), skips.pop()], dim=1))
        return self.head(x)
