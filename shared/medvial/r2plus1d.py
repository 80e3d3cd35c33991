"""A small network for clips: convolutions in space and then in time."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional


class CompactR2Plus1D(nn.Module):
    """A narrow residual network of convolutions in space and then in time.

    After R(2+1)D (Tran et al., CVPR 2018), for a CPU: a stem that halves the frames at once, one
    block per further entry of `widths`, which halves frames and time. What counts may be an
    extreme, as the largest and the smallest ventricle of a heart beat or the longest step of a
    walk, so the last layer sees, beside each feature's mean over time, its maximum and its minimum.
    """

    def __init__(
        self, channels: int, widths: Sequence[int], outputs: int = 1, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv3d(channels, widths[0], (1, 5, 5), (1, 2, 2), (0, 2, 2), bias=False),
            nn.BatchNorm3d(widths[0]),
            nn.ReLU(inplace=True),
        )
        self.blocks = nn.ModuleList(_Block(fine, coarse) for fine, coarse in pairwise(widths))
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(3 * widths[-1], outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, T, H, W) to (N, outputs)."""
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        x = x.mean(dim=(3, 4))  # (N, C, T)
        features = torch.cat([x.mean(dim=2), x.amax(dim=2), x.amin(dim=2)], dim=1)
        return self.fc(self.dropout(features))


class _Block(nn.Module):
    """Two convolutions 3 x 3 in space, each followed by one of 3 in time, and a shortcut."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.path = nn.Sequential(
            *_separable(inputs, outputs, stride=2), nn.ReLU(inplace=True), *_separable(outputs)
        )
        self.shortcut = nn.Sequential(
            nn.AvgPool3d(2, ceil_mode=True),
            nn.Conv3d(inputs, outputs, 1, bias=False),
            nn.BatchNorm3d(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, T, H, W) to (N, outputs, T / 2, H / 2, W / 2), rounded up."""
        return functional.relu(self.path(x) + self.shortcut(x))


def _separable(inputs: int, outputs: int | None = None, stride: int = 1) -> list[nn.Module]:
    """Convolution in space, batch norm, ReLU, convolution in time, batch norm."""
    outputs = outputs or inputs
    return [
        nn.Conv3d(inputs, outputs, (1, 3, 3), (1, stride, stride), (0, 1, 1), bias=False),
        nn.BatchNorm3d(outputs),
        nn.ReLU(inplace=True),
        nn.Conv3d(outputs, outputs, (3, 1, 1), (stride, 1, 1), (1, 0, 0), bias=False),
        nn.BatchNorm3d(outputs),
    ]
