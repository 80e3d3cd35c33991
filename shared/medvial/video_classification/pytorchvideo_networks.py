"""The networks of pytorchvideo, built as those of its model zoo.

Their weights are named `blocks.N.…` as in the zoo's checkpoints, which fit but for the last layer
where the number of classes differs. Settings that a checkpoint needs, by name on `torch.hub`
(github.com/facebookresearch/pytorchvideo, 0.1.5, pytorchvideo/models/hub):

    network    depth  checkpoint     trained on (clip_frames x crop)
    resnet     50     slow_r50       8 x 224
    csn        101    csn_r101       32 x 224
    x3d        any    x3d_m          16 x 224 (x3d_s: 13 x 160, x3d_xs: 4 x 160; they fit too)
    r2plus1d   50     r2plus1d_r50   16 x 224
    slowfast   50     slowfast_r50   32 x 224
    slowfast   101    slowfast_r101  32 x 224
    c2d        50     c2d_r50        8 x 224
    i3d        50     i3d_r50        8 x 224

Unlike there, features are averaged over whatever is left of the clip, so that clips of other
lengths and sizes can be taken: at the size trained on, that is the same.
"""

import importlib.util
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from medvial.errors import InputError
from medvial.video_classification.config import ClipConfig

_DEPTHS = (50, 101, 152)
_PATHWAY_RATIO = 4  # frames of slowfast's fast pathway for each of its slow one


def build_pytorchvideo(config: ClipConfig) -> nn.Module:
    """An untrained network of pytorchvideo: (N, 3, T, H, W) to logits (N, classes).

    Raises:
        InputError: pytorchvideo is not installed, or it has no such network.
    """
    if importlib.util.find_spec("pytorchvideo") is None:
        raise InputError(
            f"Expected the package pytorchvideo for the network {config.network}, it is not "
            "installed. Install pytorchvideo 0.1.5, or choose a network of torchvision."
        )
    if config.network != "x3d" and config.depth not in _DEPTHS:
        raise InputError(
            f"Expected a depth of {', '.join(map(str, _DEPTHS))} for {config.network}, got "
            f"{config.depth}."
        )
    return _BUILDERS[config.network](config)


def is_pytorchvideo(name: str) -> bool:
    """Whether a network of `ClipConfig.network` is one of pytorchvideo."""
    return name in _BUILDERS


class SlowFast(nn.Module):
    """SlowFast that makes its two pathways itself: all frames, and every fourth.

    Feichtenhofer et al., ICCV 2019, section 3, with a speed ratio of 4 as in slowfast_r50.
    """

    def __init__(self, net: nn.Module, frames: int) -> None:
        super().__init__()
        self.blocks = net.blocks
        # From the first frame to the last, rounded down, as the zoo's networks were trained.
        self.slow = torch.linspace(0, frames - 1, frames // _PATHWAY_RATIO).long().tolist()

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, `frames`, H, W) to logits (N, classes)."""
        pathways: Any = [x[:, :, self.slow], x]
        for block in self.blocks:  # type: ignore[union-attr]
            pathways = block(pathways)
        return pathways  # after the last block: logits


def _common(config: ClipConfig) -> dict[str, Any]:
    """What all builders take: logits of these classes, from the mean of what is left of a clip."""
    return {
        "model_num_class": len(config.labels),
        "dropout_rate": config.dropout,
        "model_depth": config.depth,
        "head_pool": nn.AdaptiveAvgPool3d,
        "head_activation": None,
    }


def _resnet(config: ClipConfig) -> nn.Module:
    from pytorchvideo.models.resnet import create_resnet

    return create_resnet(stem_conv_kernel_size=(1, 7, 7), **_common(config))


def _c2d(config: ClipConfig) -> nn.Module:
    from pytorchvideo.models.resnet import create_resnet

    return create_resnet(
        stem_conv_kernel_size=(1, 7, 7),
        stage1_pool=nn.MaxPool3d,
        stage_conv_a_kernel_size=((1, 1, 1),) * 4,
        **_common(config),
    )


def _i3d(config: ClipConfig) -> nn.Module:
    from pytorchvideo.models.resnet import create_resnet

    in_turn = ((3, 1, 1), (1, 1, 1))
    return create_resnet(
        stem_conv_kernel_size=(5, 7, 7),
        stage1_pool=nn.MaxPool3d,
        stage_conv_a_kernel_size=((3, 1, 1), in_turn, in_turn, in_turn[::-1]),
        **_common(config),
    )


def _csn(config: ClipConfig) -> nn.Module:
    from pytorchvideo.models.csn import create_csn

    return create_csn(stem_pool=nn.MaxPool3d, **_common(config))


def _r2plus1d(config: ClipConfig) -> nn.Module:
    from pytorchvideo.models.r2plus1d import create_r2plus1d

    return create_r2plus1d(**_common(config))


def _x3d(config: ClipConfig) -> nn.Module:
    from pytorchvideo.models.x3d import create_x3d

    net = create_x3d(
        model_num_class=len(config.labels), dropout_rate=config.dropout, head_activation=None
    )
    net.blocks[-1].pool.pool = nn.AdaptiveAvgPool3d(1)  # the builder's is for one size of clips
    return net


def _slowfast(config: ClipConfig) -> nn.Module:
    from pytorchvideo.models.slowfast import create_slowfast

    if config.clip_frames % _PATHWAY_RATIO:
        raise InputError(
            f"Expected clip_frames to be a multiple of {_PATHWAY_RATIO} for slowfast, got "
            f"{config.clip_frames}: its slow pathway takes every fourth frame."
        )
    fusion = (7, 1, 1) if config.depth == 50 else (5, 1, 1)
    net = create_slowfast(slowfast_fusion_conv_kernel_size=fusion, **_common(config))
    return SlowFast(net, config.clip_frames)


_BUILDERS: dict[str, Callable[[ClipConfig], nn.Module]] = {
    "resnet": _resnet,
    "csn": _csn,
    "x3d": _x3d,
    "r2plus1d": _r2plus1d,
    "slowfast": _slowfast,
    "c2d": _c2d,
    "i3d": _i3d,
}
