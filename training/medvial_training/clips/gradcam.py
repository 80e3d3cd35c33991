"""Where a clip classifier looked: Grad-CAM over space and time."""

from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from medvial.video_classification.config import ClipConfig
from medvial.video_classification.gradient_network import GradientNetwork
from medvial.video_classification.model import parts
from medvial.video_classification.preprocess import to_tensor

OPACITY = 0.45  # of the hottest place


def look(
    net: nn.Module, clip: NDArray[np.uint8], config: ClipConfig, target: int
) -> NDArray[np.float32]:
    """What spoke for a class in a clip (Grad-CAM: Selvaraju et al., ICCV 2017).

    Of the last stage before the classifier, resampled to the clip's frames and pixels. The map of a
    network on single frames is that of the frame it sees (of the last one for two), in all frames.
    Grad-CAM averages the gradient over the places, which is right before a global average; where a
    network weighs each place for itself (gradients), so does the map (HiResCAM: Draelos and Carin,
    arXiv 2011.08891).

    Args:
        net: A network of `build_model`, in evaluation mode.
        clip: (T, crop, crop, 3) uint8 RGB, as the network sees it.
        config: What the network was made of.
        target: Number of the class.

    Returns:
        (T, crop, crop) 0 to 1; 1 where most spoke for the class, all 0 where nothing did.
    """
    batch = torch.from_numpy(to_tensor(clip, config))[None]
    batch = batch.to(next(net.parameters()).device)
    with torch.set_grad_enabled(True):
        maps: Any = _maps(net, batch.requires_grad_(), target)
    seen = maps[-1] if isinstance(maps, tuple) else maps  # of two pathways the fast one
    heat = _resampled(seen.detach().float(), clip.shape[0], clip.shape[1:3])
    most = float(heat.max())
    return (heat / most if most > 0 else heat).cpu().numpy()


def overlay(clip: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A clip with the places that spoke for the class in warm colours.

    Args:
        clip: (T, H, W, 3) uint8 RGB.
        heat: (T, H, W) 0 to 1.

    Returns:
        (T, H, W, 3) uint8 RGB; as it was where `heat` is 0.
    """
    colours = np.stack([_colours(frame) for frame in heat])
    share = (OPACITY * heat)[..., None]
    return np.asarray(clip * (1 - share) + colours * share + 0.5, dtype=np.uint8)


def _maps(net: nn.Module, batch: Tensor, target: int) -> Any:
    """(1, 1, t, h, w) at least 0, or one of each pathway."""
    from captum.attr import LayerGradCam, LayerGradientXActivation

    if isinstance(net, GradientNetwork):
        shares: Any = LayerGradientXActivation(net, net.gradients).attribute(batch, target=target)
        return shares.sum(dim=1, keepdim=True).relu()
    return LayerGradCam(net, _last_stage(net)).attribute(
        batch, target=target, relu_attributions=True
    )


def _last_stage(net: nn.Module) -> nn.Module:
    """The last part before the classifier that convolves."""
    return [s for s in parts(net)["stages"] if any(p.dim() > 3 for p in s.parameters())][-1]


def _resampled(heat: Tensor, frames: int, size: tuple[int, ...]) -> Tensor:
    """(1, 1, t, h, w), or (1, 1, h, w) of single frames, to (T, H, W)."""
    if heat.dim() == 4:
        heat = heat[:, :, None].expand(-1, -1, frames, -1, -1)
    return functional.interpolate(heat, (frames, *size), mode="trilinear", align_corners=False)[
        0, 0
    ]


def _colours(heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(H, W) 0 to 1 to (H, W, 3) RGB, dark blue to dark red."""
    grey = np.round(heat * 255).astype(np.uint8)
    return np.asarray(cv2.applyColorMap(grey, cv2.COLORMAP_TURBO)[..., ::-1])
