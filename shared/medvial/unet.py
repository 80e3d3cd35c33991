"""A small U-Net, shared by the tasks."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional


class CompactUNet(nn.Module):
    """A U-Net whose stem halves the image once, so that no layer works at full resolution.

    One resolution level per entry of `widths`. Half-resolution maps with sub-pixel decoding lose
    no accuracy and need a quarter of the work of full-resolution ones.
    """

    def __init__(
        self, channels: int, maps: int, widths: Sequence[int], dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(channels, widths[0], 5, stride=2, padding=2, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(inplace=True),
        )
        pairs = list(pairwise(widths))
        self.down = nn.ModuleList([conv_block(widths[0], widths[0])])
        self.down.extend(conv_block(fine, coarse) for fine, coarse in pairs)
        self.dropout = nn.Dropout2d(dropout)
        self.up = nn.ModuleList(conv_block(fine + coarse, fine) for fine, coarse in pairs[::-1])
        self.head = nn.Conv2d(widths[0], maps, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to logits (N, maps, H / 2, W / 2)."""
        x = self.down[0](self.stem(x))
        skips = []
        for block in self.down[1:]:
            skips.append(x)
            x = block(functional.max_pool2d(x, 2))
        x = self.dropout(x)
        for block, skip in zip(self.up, skips[::-1], strict=True):
            x = functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
            x = block(torch.cat([x, skip], dim=1))
        return self.head(x)


def conv_block(
    inputs: int, outputs: int, *, middle: int | None = None, bias: bool = False
) -> nn.Sequential:
    """Twice convolution 3 x 3, batch norm, ReLU; `middle` channels in between."""
    middle = middle or outputs
    return nn.Sequential(
        nn.Conv2d(inputs, middle, 3, padding=1, bias=bias),
        nn.BatchNorm2d(middle),
        nn.ReLU(inplace=True),
        nn.Conv2d(middle, outputs, 3, padding=1, bias=bias),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )
