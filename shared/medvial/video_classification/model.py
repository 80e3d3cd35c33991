"""The networks of clip classification.

All take normalised clips (N, 3, clip_frames, crop, crop) float32 and return logits (N, classes).
Nothing is downloaded: weights come later, by path.
"""

from typing import Any, cast

import torch
from torch import nn

from medvial.errors import InputError
from medvial.r2plus1d import CompactR2Plus1D
from medvial.video_classification.config import ClipConfig
from medvial.video_classification.gradient_network import GradientNetwork
from medvial.video_classification.image_networks import DropoutLinear, FusedFrames, build_fused
from medvial.video_classification.pytorchvideo_networks import build_pytorchvideo, is_pytorchvideo

_STAGES = ("layer1", "layer2", "layer3", "layer4")  # of torchvision's residual networks


def build_model(config: ClipConfig) -> nn.Module:
    """The untrained network of a configuration.

    Networks of an architecture that torchvision has weights of carry its name as
    `torchvision_name`; those of pytorchvideo name their weights as its model zoo does.

    Raises:
        InputError: There are fewer than two classes, the clips are too small for the network, or
            a package for it is not installed.
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
    anything = cast(Any, net)
    stem: list[nn.Module]
    stages: list[nn.Module]
    if isinstance(net, CompactR2Plus1D):
        stem, stages, head = [net.stem], [*net.blocks], net.fc
    elif isinstance(net, GradientNetwork):
        stem, stages, head = [net.gradients], [], net.fc
    elif isinstance(net, FusedFrames):
        trunks: Any = net.trunks
        stem = [part for trunk in trunks for part in (trunk.conv1, trunk.bn1)]
        stages, head = [getattr(trunk, s) for s in _STAGES for trunk in trunks], net.fc
    elif hasattr(net, "blocks"):  # pytorchvideo
        first, *stages, head = anything.blocks
        stem = [first]
    elif hasattr(net, "features"):  # S3D: what comes before its inception blocks
        stem, stages, head = [*anything.features[:5]], [*anything.features[5:]], anything.classifier
    else:
        stem, stages, head = [anything.stem], [getattr(net, s) for s in _STAGES], anything.fc
    return {"stem": stem, "stages": stages, "head": [head]}


def _build(config: ClipConfig) -> nn.Module:
    classes = len(config.labels)
    if config.fusion != "slow":
        return build_fused(config)
    if is_pytorchvideo(config.network):
        return build_pytorchvideo(config)
    if config.network == "compact_r2plus1d":
        return CompactR2Plus1D(3, config.widths, classes, config.dropout)
    if config.network == "gradients":
        return GradientNetwork(config.crop, classes, config.dropout)
    return _torchvision(config.network, classes, config.dropout)


def _torchvision(name: str, classes: int, dropout: float) -> nn.Module:
    """A video network of torchvision."""
    from torchvision.models import video

    if name == "s3d":
        net: nn.Module = video.s3d(weights=None, num_classes=classes, dropout=dropout)
        net.avgpool = nn.AdaptiveAvgPool3d(1)  # its own is for frames of 224 pixels and more
    else:
        net = getattr(video, name)(weights=None)
        net.fc = DropoutLinear(cast(nn.Linear, net.fc).in_features, classes, dropout)
    net.torchvision_name = name  # type: ignore[assignment]
    return net


def _check_clip_size(net: nn.Module, config: ClipConfig) -> None:
    """Run the network on a clip without numbers, which takes no time.

    Raises:
        InputError: A layer has nothing left to work on.
    """
    clip = torch.empty(1, 3, config.clip_frames, config.crop, config.crop, device="meta")
    shapes = {name: value.to("meta") for name, value in net.state_dict().items()}
    net.eval()
    try:
        torch.func.functional_call(net, shapes, (clip,))
    except RuntimeError as error:
        name = config.network if config.fusion == "slow" else config.fusion
        raise InputError(
            f"Expected clips that {name} can take, got clip_frames {config.clip_frames} and crop "
            f"{config.crop}: {str(error).splitlines()[0]}. Choose more or larger frames."
        ) from None
    finally:
        net.train()
