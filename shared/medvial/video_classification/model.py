"""The networks of clip classification.

All take normalised clips (N, 3, clip_frames, crop, crop) float32 and return logits (N, classes).
Nothing is downloaded: weights come later, by path.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from medvial.errors import InputError
from medvial.r2plus1d import CompactR2Plus1D
from medvial.video_classification.config import ClipConfig

TORCHVISION = ("r3d_18", "mc3_18", "r2plus1d_18", "s3d")


def build_model(config: ClipConfig) -> nn.Module:
    """The untrained network of a configuration.

    Networks that torchvision has weights of carry their name as `torchvision_name`.

    Raises:
        InputError: There are fewer than two classes, or the clips are too small for the network.
    """
    if len(config.labels) < 2:
        raise InputError(
            f"Expected labels of at least two classes, got {config.labels}. Run step 1, which "
            "fills them in."
        )
    net = _build(config)
    _check_clip_size(net, config)
    return net


def parts(net: nn.Module) -> dict[str, list[nn.Module]]:
    """A network of `build_model` in three: "stem", "stages" from first to last, and "head"."""
    if isinstance(net, CompactR2Plus1D):
        return {"stem": [net.stem], "stages": list(net.blocks), "head": [net.fc]}
    if hasattr(net, "features"):  # S3D: its first three convolutions are the stem
        features = list(cast(nn.Sequential, net.features))
        head = cast(nn.Module, net.classifier)
        return {"stem": features[:4], "stages": features[4:], "head": [head]}
    stages = [cast(nn.Module, getattr(net, f"layer{n}")) for n in (1, 2, 3, 4)]
    return {
        "stem": [cast(nn.Module, net.stem)],
        "stages": stages,
        "head": [cast(nn.Module, net.fc)],
    }


class DropoutLinear(nn.Linear):
    """A linear layer behind a dropout, under the names of the linear layer's weights."""

    def __init__(self, inputs: int, outputs: int, dropout: float) -> None:
        super().__init__(inputs, outputs)
        self.share = dropout

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) to (..., outputs)."""
        return super().forward(functional.dropout(x, self.share, self.training))


def _build(config: ClipConfig) -> nn.Module:
    classes = len(config.labels)
    if config.network == "compact_r2plus1d":
        return CompactR2Plus1D(3, config.widths, classes, config.dropout)
    return _torchvision(config.network, classes, config.dropout)


def _torchvision(name: str, classes: int, dropout: float) -> nn.Module:
    """A video network of torchvision."""
    from torchvision.models import video

    if name == "s3d":
        net: nn.Module = video.s3d(weights=None, num_classes=classes, dropout=dropout)
        net.avgpool = nn.AdaptiveAvgPool3d(1)  # for frames below 224 pixels too
    else:
        net = getattr(video, name)(weights=None)
        net.fc = DropoutLinear(cast(nn.Linear, net.fc).in_features, classes, dropout)
    net.torchvision_name = name  # type: ignore[assignment]
    return net


def _check_clip_size(net: nn.Module, config: ClipConfig) -> None:
    """Run the network without numbers, which takes no time, on a clip of its size.

    Raises:
        InputError: A layer has nothing left to work on.
    """
    clip = torch.empty(1, 3, config.clip_frames, config.crop, config.crop, device="meta")
    shapes = {name: value.to("meta") for name, value in net.state_dict().items()}
    net.eval()
    try:
        torch.func.functional_call(net, shapes, (clip,))
    except RuntimeError as error:
        raise InputError(
            f"Expected clips that {config.network} can take, got clip_frames {config.clip_frames} "
            f"and crop {config.crop}: {str(error).splitlines()[0]} Use longer or larger clips."
        ) from None
    finally:
        net.train()
