"""A linear network on oriented gradients: for a few dozen patients, on a CPU."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

BINS = 9
CELL = 8  # pixels
_SHARPNESS = 8  # power of the cosine: halfway between two bins each has about half
_LEAST_ENERGY = 1e-3


class OrientedGradients(nn.Module):
    """Histograms of oriented gradients of every frame, in cells of 8 x 8 pixels.

    After Dalal and Triggs (CVPR 2005): nine directions of the grey frame's gradient over half a
    turn, weighted by its strength, averaged over a cell, divided by the strength of the cell and
    its neighbours. So neither colour nor contrast counts, but where edges are and how they run.
    Directions are told apart by powers of a cosine instead of straight lines. Nothing is learned.
    """

    directions: Tensor

    def __init__(self) -> None:
        super().__init__()
        doubled = 2 * math.pi * torch.arange(BINS) / BINS  # of twice the angle
        directions = torch.stack([doubled.cos(), doubled.sin()], dim=1)
        self.register_buffer("directions", directions)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, T, H, W) to (N, 9, T, H / 8, W / 8), rounded down; 0 to about 1."""
        n, _, frames, height, width = x.shape
        grey = x.float().mean(dim=1).reshape(n * frames, 1, height, width)
        padded = functional.pad(grey, (1, 1, 1, 1), mode="replicate")
        right = padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]
        down = padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]
        strength = (right**2 + down**2 + 1e-12).sqrt()
        doubled = torch.cat([right**2 - down**2, 2 * right * down], dim=1) / strength**2
        likeness = torch.einsum("bchw,kc->bkhw", doubled, self.directions).clamp(min=0)
        cells = functional.avg_pool2d(likeness**_SHARPNESS * strength, CELL)
        energy = functional.avg_pool2d((cells**2).sum(dim=1, keepdim=True), 3, 1, 1)
        cells = cells / (energy + _LEAST_ENERGY).sqrt()
        return cells.reshape(n, frames, BINS, *cells.shape[-2:]).transpose(1, 2)


class GradientNetwork(nn.Module):
    """A linear layer on the oriented gradients' mean and standard deviation over a clip.

    It knows places, so the person must be in the middle and face one way, as the crops of walking
    are and do.
    """

    def __init__(self, side: int, outputs: int, dropout: float = 0.0) -> None:
        super().__init__()
        features = 2 * BINS * (side // CELL) ** 2
        self.gradients = OrientedGradients()
        self.scale = nn.BatchNorm1d(features)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(features, outputs)
        nn.init.normal_(self.fc.weight, std=1e-3)  # all features start equal, or nearly so

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, T, H, W) to (N, outputs)."""
        cells = self.gradients(x)
        spread = (cells.var(dim=2, unbiased=False) + 1e-8).sqrt()
        features = torch.cat([cells.mean(dim=2), spread], dim=1)
        return self.fc(self.dropout(self.scale(features.flatten(1))))
