"""The networks of the echocardiography task."""

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn
from torch.nn import functional

from medvial.echonet.config import Config
from medvial.r2plus1d import CompactR2Plus1D
from medvial.unet import CompactUNet

INITIAL_EF_PERCENT = 55.6
"""Bias of an untrained network's last layer: near the mean of EchoNet-Dynamic (github.com/echonet/
dynamic, e01d029)."""


def build_segmentation(config: Config) -> nn.Module:
    """The untrained network that finds the left ventricle.

    Its forward takes normalised frames (N, channels, height, width) float32 and returns logits
    (N, 1, height, width); above 0 is left ventricle.
    """
    if config.segmentation == "compact_unet":
        return FrameUNet(config.channels, config.segmentation_widths, config.segmentation_dropout)
    return DeepLab(config.channels)


def build_ejection_fraction(config: Config) -> nn.Module:
    """The untrained network that reads the ejection fraction off a clip.

    Its forward takes normalised clips (N, channels, T, height, width) float32 and returns
    (N, 1) in percent.
    """
    if config.ejection_fraction == "compact_r2plus1d":
        net = CompactR2Plus1D(config.channels, config.ejection_fraction_widths)
        nn.init.constant_(net.fc.bias, INITIAL_EF_PERCENT)
        return net
    return _torchvision_video(config.ejection_fraction, config.channels)


def final_layer(net: nn.Module) -> nn.Linear:
    """The last layer of a network of `build_ejection_fraction`, whose bias is a mean EF."""
    return cast(nn.Linear, net.fc)


class FrameUNet(CompactUNet):
    """`CompactUNet` with one map, brought to the frame's size."""

    def __init__(self, channels: int, widths: Sequence[int], dropout: float = 0.0) -> None:
        super().__init__(channels, 1, widths, dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to logits (N, 1, H, W)."""
        logits = super().forward(x)
        return functional.interpolate(
            logits, scale_factor=2.0, mode="bilinear", align_corners=False
        )


class DeepLab(nn.Module):
    """DeepLabV3 with a ResNet-50, the segmentation network of EchoNet-Dynamic.

    torchvision's, untrained, without the auxiliary loss, its last convolution to one channel
    (github.com/echonet/dynamic, e01d029). Nothing is downloaded.
    """

    def __init__(self, channels: int = 3) -> None:
        from torchvision.models.segmentation import deeplabv3_resnet50

        super().__init__()
        self.torchvision_name = "deeplabv3_resnet50"
        self.net = deeplabv3_resnet50(weights=None, weights_backbone=None, aux_loss=False)
        last = self.net.classifier[-1]
        self.net.classifier[-1] = nn.Conv2d(last.in_channels, 1, last.kernel_size)
        if channels != 3:
            self.net.backbone.conv1 = _with_channels(self.net.backbone.conv1, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to logits (N, 1, H, W)."""
        logits: Tensor = self.net(x)["out"]
        return logits


def _torchvision_video(name: str, channels: int) -> nn.Module:
    """A video network of torchvision, untrained, with one output."""
    from torchvision.models import video

    net: nn.Module = getattr(video, name)(weights=None)
    net.torchvision_name = name  # type: ignore[assignment]
    net.fc = nn.Linear(final_layer(net).in_features, 1)
    nn.init.constant_(final_layer(net).bias, INITIAL_EF_PERCENT)
    if channels != 3:
        stem = cast(nn.Sequential, net.stem)
        stem[0] = _with_channels(cast(nn.Conv3d, stem[0]), channels)
    return net


def _with_channels(first: nn.Conv2d | nn.Conv3d, channels: int) -> nn.Module:
    """A first convolution like this one for images of other channels."""
    return type(first)(
        channels,
        first.out_channels,
        first.kernel_size,  # type: ignore[arg-type]
        stride=first.stride,  # type: ignore[arg-type]
        padding=first.padding,  # type: ignore[arg-type]
        bias=first.bias is not None,
    )
