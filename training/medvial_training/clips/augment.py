"""Random changes of clips: whole batches at once, on the device, all frames of a clip alike."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.transforms.v2.functional import gaussian_blur

from medvial.errors import InputError

GREY = (0.299, 0.587, 0.114)  # luma of ITU-R BT.601
BLUR_REACH = 3  # standard deviations


@dataclass(frozen=True)
class ClipAugmentation:
    """Ranges of the random changes of training clips; validation and test have none."""

    flip: float = 0.5
    """Probability of mirroring left and right."""

    log_scale: float = 0.1
    """Largest change of the cut-out square's size either way, as a natural logarithm; it never
    exceeds the frame. With 0 and log_aspect 0 it is the network's own size."""

    log_aspect: float = 0.05
    """Largest change of its aspect ratio either way, as a natural logarithm."""

    brightness: float = 0.3
    """Largest relative change of brightness either way."""

    contrast: float = 0.3
    """Largest relative change of contrast either way."""

    saturation: float = 0.3
    """Largest relative change of the colours' distance from grey either way."""

    blur: float = 0.1
    """Probability of a Gaussian blur."""

    blur_px: float = 1.5
    """Largest standard deviation of the blur, in pixels of the network."""

    erase: float = 0.0
    """Probability of greying out a rectangle of a fiftieth to a third of the square."""

    log_speed: float = 0.0
    """Largest change of a clip's speed either way, as a natural logarithm. Leave it at 0 where
    speed tells the classes apart, as in walking."""

    def __post_init__(self) -> None:
        """Refuse what no clip can be changed by.

        Raises:
            InputError: Names the field.
        """
        for name, value in vars(self).items():
            limit = 1.0 if name in ("flip", "blur", "erase", "brightness", "contrast") else math.inf
            if not 0 <= value <= limit:
                most = " to 1" if limit == 1 else " on"
                raise InputError(f"Expected {name} of the augmentation from 0{most}, got {value}.")


def augment(clips: Tensor, settings: ClipAugmentation, crop: int) -> Tensor:
    """A random version of every clip; random numbers from torch's own generator.

    Args:
        clips: (N, T, S, S, 3) uint8, RGB; S of at least `crop`.
        settings: Ranges of the changes.
        crop: Side of the result, in pixels.

    Returns:
        (N, 3, T, crop, crop) float32, 0 to 255.
    """
    count, frames, side = clips.shape[:3]
    planes = clips.permute(0, 4, 1, 2, 3).reshape(count, 3 * frames, side, side).float()
    grid = functional.affine_grid(
        _squares(count, side, crop, settings).to(clips.device, non_blocking=True),
        [count, 1, crop, crop],
        align_corners=False,
    )
    cut = functional.grid_sample(planes, grid, padding_mode="border", align_corners=False)
    changed = _change_colours(cut.view(count, 3, frames * crop * crop), settings)
    changed = changed.view(count, 3, frames, crop, crop)
    _blur(changed, settings)
    _erase(changed, settings)
    return changed


def _uniform(count: int, reach: float) -> Tensor:
    """(count,) between -reach and reach."""
    return (2 * torch.rand(count) - 1) * reach


def _squares(count: int, side: int, crop: int, settings: ClipAugmentation) -> Tensor:
    """(N, 2, 3) from the result's (x, y) to the clip's, both -1 to 1 across their squares.

    The cut-out begins on whole pixels, so that one of the network's size is not interpolated.
    """
    scale = _uniform(count, settings.log_scale)
    aspect = _uniform(count, settings.log_aspect) / 2
    width, height = ((crop * torch.exp(scale + a)).clamp(max=side) for a in (aspect, -aspect))
    left, top = (torch.floor(torch.rand(count) * (side - cut + 1)) for cut in (width, height))
    mirror = 1 - 2 * (torch.rand(count) < settings.flip).float()
    zeros = torch.zeros(count)
    rows = [mirror * width / side, zeros, (2 * left + width) / side - 1]
    rows += [zeros, height / side, (2 * top + height) / side - 1]
    return torch.stack(rows, dim=1).view(count, 2, 3)


def _change_colours(pixels: Tensor, settings: ClipAugmentation) -> Tensor:
    """(N, 3, P), 0 to 255: brightness, contrast about the mean grey, and saturation, in one go."""
    count = len(pixels)
    brightness, contrast, saturation = (
        1 + _uniform(count, reach).view(count, 1, 1)
        for reach in (settings.brightness, settings.contrast, settings.saturation)
    )
    grey = torch.tensor(GREY).expand(3, 3)
    matrix = brightness * contrast * (saturation * torch.eye(3) + (1 - saturation) * grey)
    offset = brightness * (1 - contrast)
    matrix, offset, grey = (
        values.to(pixels.device, non_blocking=True) for values in (matrix, offset, grey)
    )
    mean_grey = grey[:1] @ pixels.mean(dim=2, keepdim=True)  # (1, 3) @ (N, 3, 1) => (N, 1, 1)
    return torch.baddbmm(offset * mean_grey, matrix, pixels).clamp_(0, 255)


def _blur(clips: Tensor, settings: ClipAugmentation) -> None:
    """Blur some of the clips (N, 3, T, H, W) in place."""
    chosen = torch.rand(len(clips)) < settings.blur
    sigmas = torch.rand(len(clips)) * settings.blur_px
    for number in chosen.nonzero()[:, 0].tolist():
        sigma = float(sigmas[number])
        reach = math.ceil(BLUR_REACH * sigma)
        if reach and sigma > 0.1:  # less changes nothing
            frames = clips[number].transpose(0, 1)  # (3, T, H, W) => (T, 3, H, W)
            size = 2 * min(reach, (min(frames.shape[2:]) - 1)) + 1
            frames.copy_(gaussian_blur(frames, [size, size], [sigma, sigma]))


def _erase(clips: Tensor, settings: ClipAugmentation) -> None:
    """Grey out a rectangle of some of the clips (N, 3, T, H, W) in place (Zhong et al., 2020)."""
    height, width = clips.shape[3:]
    chosen = torch.rand(len(clips)) < settings.erase
    numbers = torch.rand(len(clips), 4)
    for number in chosen.nonzero()[:, 0].tolist():
        area, aspect, across, down = numbers[number].tolist()
        share = math.sqrt(0.02 + area * (1 / 3 - 0.02))
        stretch = math.exp((2 * aspect - 1) * math.log(2))
        h, w = (
            min(n, max(1, round(n * s)))
            for n, s in ((height, share * stretch), (width, share / stretch))
        )
        y, x = round(down * (height - h)), round(across * (width - w))
        clips[number, :, :, y : y + h, x : x + w] = 127.5
