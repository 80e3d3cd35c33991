"""A linear network on oriented gradients: for about a hundred patients, on a CPU."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

BINS = 9
CELL = 8  # pixels
CHANNELS = 4 * BINS  # of a block of 2 x 2 cells
_LARGEST = 0.2  # of a block's unit length, that one strong edge does not hide the others
_LEAST_ENERGY = 1e-3


class OrientedGradients(nn.Module):
    """Histograms of oriented gradients of every frame, in cells of 8 x 8 pixels.

    After Dalal and Triggs (CVPR 2005): nine directions of the grey frame's gradient over half a
    turn, each pixel shared by the two nearest, weighted by its strength, averaged over a cell;
    overlapping blocks of 2 x 2 cells made of unit length, clipped, and made of unit length again.
    So neither colour nor contrast counts, but where edges are and how they run. Nothing is learned.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, T, H, W) to (N, 36, T, H / 8 - 1, W / 8 - 1), rounded down; 0 to 1."""
        n, _, frames, height, width = x.shape
        grey = x.float().mean(dim=1).reshape(n * frames, 1, height, width)
        padded = functional.pad(grey, (1, 1, 1, 1), mode="replicate")
        right = padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]
        down = padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]
        right = torch.where(right == 0, 1e-12, right)  # ONNX's arctangent divides by it
        strength = (right**2 + down**2 + 1e-12).sqrt()
        turn = torch.atan2(down, right) * (BINS / math.pi)  # -9 to 9: one bin is 20 degrees
        turn = torch.where(turn < 0, turn + BINS, turn)
        # One direction after the other: all at once take twice the time, to fetch memory.
        cells = torch.cat([_cells(turn, strength, number) for number in range(BINS)], dim=1)
        corners = [
            cells[..., :-1, :-1],
            cells[..., :-1, 1:],
            cells[..., 1:, :-1],
            cells[..., 1:, 1:],
        ]
        blocks = _unit_length(_unit_length(torch.cat(corners, dim=1)).clamp(max=_LARGEST))
        return blocks.reshape(n, frames, CHANNELS, *blocks.shape[-2:]).transpose(1, 2)


def _cells(turn: Tensor, strength: Tensor, number: int) -> Tensor:
    apart = (turn - number).abs()
    share = (1 - torch.minimum(apart, BINS - apart)).clamp(min=0)
    return functional.avg_pool2d(share * strength, CELL)


def _unit_length(blocks: Tensor) -> Tensor:
    energy = (blocks**2).sum(dim=1, keepdim=True)
    return blocks / (energy + _LEAST_ENERGY).sqrt()


class GradientNetwork(nn.Module):
    """A linear layer on the oriented gradients' mean and standard deviation over a clip.

    No normalisation of the features: what hardly ever varies is not made to count as much as what
    does. It knows places, so the person must be in the middle and face one way, as the crops of
    walking are and do.
    """

    def __init__(self, side: int, outputs: int, dropout: float = 0.0) -> None:
        super().__init__()
        features = 2 * CHANNELS * (side // CELL - 1) ** 2
        self.gradients = OrientedGradients()
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(features, outputs)
        nn.init.normal_(self.fc.weight, std=1e-3)  # all features start equal, or nearly so

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, T, H, W) to (N, outputs)."""
        blocks = self.gradients(x)
        spread = (blocks.var(dim=2, unbiased=False) + 1e-8).sqrt()
        features = torch.cat([blocks.mean(dim=2), spread], dim=1)
        return self.fc(self.dropout(features.flatten(1)))
