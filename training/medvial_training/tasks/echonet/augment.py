"""Random changes of frames that keep the left ventricle known: whole batches at once."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Augmentation:
    """Ranges of the random changes; all frames of a clip change alike."""

    rotation_deg: float = 15.0
    """Largest rotation either way, in degrees."""

    log_scale: float = 0.2
    """Largest change of size either way, as a natural logarithm."""

    log_aspect: float = 0.08
    """Largest change of the aspect ratio either way, as a natural logarithm."""

    shift: float = 0.08
    """Largest translation either way, in heights or widths of the frame."""

    log_gamma: float = 0.4
    """Largest change of the gamma either way, as a natural logarithm."""

    contrast: float = 0.3
    """Largest relative change of contrast either way."""

    brightness: float = 0.06
    """Largest change of brightness either way, in grey values from 0 to 1."""

    attenuation: float = 0.6
    """Largest change of brightness from the top to the bottom of the frame either way, as a
    natural logarithm: other gain with depth."""

    shadow: float = 0.7
    """Depth of a shadow that fans out from the top, 0 to 1; on 3 samples in 10."""

    noise: float = 0.04
    """Largest standard deviation of added noise, in grey values from 0 to 1."""


def augment(
    frames: Tensor, masks: Tensor | None, settings: Augmentation
) -> tuple[Tensor, Tensor | None]:
    """A random version of every sample; random numbers from torch's own generator.

    Args:
        frames: (N, T, H, W) float32, grey values 0 to 255.
        masks: (N, T, H, W) float32, 0 or 1; or None.
        settings: Ranges of the changes.

    Returns:
        Frames and masks, shapes and ranges as before; a mask is 0 to 1 on its edge.
    """
    grid = functional.affine_grid(
        _inverse_affine(len(frames), settings).to(frames.device),
        [len(frames), 1, *frames.shape[2:]],
        align_corners=False,
    )
    moved = functional.grid_sample(frames, grid, align_corners=False)
    if masks is not None:
        masks = functional.grid_sample(masks, grid, align_corners=False)
    return _change_intensity(moved / 255.0, settings) * 255.0, masks


def _uniform(count: int, reach: float) -> Tensor:
    """(count,) between -reach and reach."""
    return (2 * torch.rand(count) - 1) * reach


def _inverse_affine(count: int, settings: Augmentation) -> Tensor:
    """(N, 2, 3) from new to old (x, y), both -1 to 1 across the frame."""
    angle = _uniform(count, math.radians(settings.rotation_deg))
    scale = torch.exp(_uniform(count, settings.log_scale))
    aspect = torch.exp(_uniform(count, settings.log_aspect))
    cos, sin = torch.cos(angle), torch.sin(angle)
    rows = [scale * aspect * cos, -scale * aspect * sin, _uniform(count, 2 * settings.shift)]
    rows += [scale / aspect * sin, scale / aspect * cos, _uniform(count, 2 * settings.shift)]
    return torch.stack(rows, dim=1).view(count, 2, 3)


def _change_intensity(frames: Tensor, settings: Augmentation) -> Tensor:
    """(N, T, H, W), 0 to 1."""
    count, _, height, width = frames.shape
    lit = frames > 0.02  # black stays black: it is outside the sector

    def per_sample(values: Tensor) -> Tensor:
        return values.view(count, 1, 1, 1).to(frames.device)

    gamma = per_sample(torch.exp(_uniform(count, settings.log_gamma)))
    contrast = per_sample(1 + _uniform(count, settings.contrast))
    brightness = per_sample(_uniform(count, settings.brightness))
    depth = torch.linspace(-0.5, 0.5, height, device=frames.device).view(1, 1, height, 1)
    attenuation = torch.exp(per_sample(_uniform(count, settings.attenuation)) * depth)
    shadow = _shadow(count, height, width, settings).to(frames.device)
    noise = per_sample(torch.rand(count) * settings.noise) * torch.randn_like(frames)
    changed = frames.clamp(0, 1) ** gamma * contrast * attenuation * shadow + brightness + noise
    return torch.where(lit, changed, frames).clamp(0, 1)


def _shadow(count: int, height: int, width: int, settings: Augmentation) -> Tensor:
    """Factor (N, 1, H, W): 1, less along a beam from the middle of the top, as behind a rib."""
    y = torch.linspace(0, 1, height).view(1, height, 1)
    x = torch.linspace(-0.5, 0.5, width).view(1, 1, width)
    angle = torch.atan2(x, y + 0.02)  # (1, H, W) from the vertical
    centre = _uniform(count, math.radians(40)).view(count, 1, 1)
    spread = (math.radians(3) + torch.rand(count) * math.radians(6)).view(count, 1, 1)
    chosen = (torch.rand(count) < 0.3).float() * torch.rand(count) * settings.shadow
    beam = torch.exp(-0.5 * ((angle - centre) / spread) ** 2)
    return (1 - chosen.view(count, 1, 1) * beam).unsqueeze(1)
