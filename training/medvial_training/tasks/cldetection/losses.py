"""What the networks of cldetection are trained to: four losses on heatmaps.

All coordinates and moments are computed in float32, also where the network runs in half precision:
eight bits of mantissa do not tell neighbouring pixels of a film apart.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from medvial.cldetection.config import Config
from medvial.errors import InputError

Kind = Literal["cross_entropy", "adaptive_wing", "soft_argmax", "nll"]


@dataclass(frozen=True)
class Loss:
    """Which loss, and its numbers. The width of the Gaussian target is `model.sigma_px`."""

    kind: Kind = "cross_entropy"
    """cross_entropy: between the heatmap as one distribution and a Gaussian; adaptive_wing: on
    heatmaps of independent pixels, needs model.heatmap sigmoid; soft_argmax: distance of the
    heatmap's mean, and its variance held at the target's; nll: negative log-likelihood of the
    landmark under the heatmap's mean and covariance, best from trained weights (--weights)."""

    variance_weight: float = 1.0
    """soft_argmax: weight of the variance term."""

    omega: float = 14.0
    """adaptive_wing: weight of its logarithmic part."""

    foreground: float = 10.0
    """adaptive_wing: extra weight of pixels near a landmark."""

    def check(self, config: Config) -> None:
        """Refuse a loss that the meaning of the network's output does not fit.

        Raises:
            InputError: adaptive_wing without sigmoid heatmaps, or another loss with them; a weight
                that is none.
        """
        expected = "sigmoid" if self.kind == "adaptive_wing" else "softmax"
        if config.heatmap != expected:
            raise InputError(
                f"Expected model.heatmap {expected} for the loss {self.kind}, got {config.heatmap}."
            )
        for name in ("variance_weight", "omega", "foreground"):
            if getattr(self, name) < 0:
                raise InputError(f"Expected {name} of at least 0, got {getattr(self, name)}.")

    def __call__(self, logits: Tensor, points: Tensor, config: Config) -> Tensor:
        """The mean loss over the landmarks that count.

        Args:
            logits: (N, L, h, w), of any floating type.
            points: (N, L, 2) as (x, y) in network pixels; a landmark that is NaN or lies outside
                the film does not count.
            config: Gives `sigma_px` and `heatmap_stride`.
        """
        with torch.autocast(logits.device.type, enabled=False):
            logits, centre = logits.float(), heatmap_points(points, config)
            counts = _inside(centre, logits)
            centre = torch.where(counts[..., None], centre, torch.zeros_like(centre))
            loss = self._each(logits, centre, config.sigma_px)
            return (loss * counts).sum() / counts.sum().clamp(min=1)

    def _each(self, logits: Tensor, centre: Tensor, sigma: float) -> Tensor:
        if self.kind == "cross_entropy":
            return cross_entropy(logits, centre, sigma)
        if self.kind == "adaptive_wing":
            return adaptive_wing(logits, centre, sigma, self.omega, self.foreground)
        if self.kind == "soft_argmax":
            return soft_argmax(logits, centre, sigma, self.variance_weight)
        return negative_log_likelihood(logits, centre)

    def blur_px2(self, config: Config) -> float:
        """Variance that this loss itself teaches a heatmap, in network pixels squared."""
        return 0.0 if self.kind == "nll" else (config.sigma_px * config.heatmap_stride) ** 2


def heatmap_points(points: Tensor, config: Config) -> Tensor:
    """Network pixels to heatmap pixels, float32."""
    return (points.float() + 0.5) / config.heatmap_stride - 0.5


def cross_entropy(logits: Tensor, centre: Tensor, sigma: float) -> Tensor:
    """Cross-entropy (N, L) of the heatmap as one distribution and a Gaussian, in nats.

    Args:
        logits: (N, L, h, w) float32.
        centre: (N, L, 2) in heatmap pixels.
        sigma: Standard deviation of the Gaussian, in heatmap pixels.
    """
    y, x = _gaussians(logits, centre, sigma)
    y, x = y / y.sum(dim=-1, keepdim=True), x / x.sum(dim=-1, keepdim=True)
    log_probability = logits.flatten(2).log_softmax(dim=-1).view_as(logits)
    return -torch.einsum("nlhw,nlh,nlw->nl", log_probability, y, x)


def adaptive_wing(
    logits: Tensor, centre: Tensor, sigma: float, omega: float = 14.0, foreground: float = 10.0
) -> Tensor:
    """Adaptive wing loss (N, L) between sigmoid heatmaps and Gaussians of height 1.

    Wang, Bo and Fuxin, ICCV 2019: alpha 2.1, epsilon 1, theta 0.5, and their weighted loss map,
    which counts pixels near the Gaussian (a dilated 0.2) `foreground` + 1 times.
    """
    alpha, epsilon, theta = 2.1, 1.0, 0.5
    y, x = _gaussians(logits, centre, sigma)
    target = y[..., :, None] * x[..., None, :]
    power = alpha - target
    ratio = (theta / epsilon) ** power
    slope = omega / (1 + ratio) * power * (theta / epsilon) ** (power - 1) / epsilon
    offset = theta * slope - omega * torch.log1p(ratio)
    difference = (target - logits.sigmoid()).abs()
    near = omega * torch.log1p((difference / epsilon) ** power)
    loss = torch.where(difference < theta, near, slope * difference - offset)
    close = functional.max_pool2d(target, 3, stride=1, padding=1) >= 0.2
    return (loss * (1 + foreground * close)).mean(dim=(-2, -1))


def soft_argmax(logits: Tensor, centre: Tensor, sigma: float, weight: float = 1.0) -> Tensor:
    """Distance (N, L) of the heatmap's mean, in heatmap pixels, and its variance regularised.

    Nibali et al., arXiv 1801.07372 (DSNT): squared difference of the variance along each axis from
    `sigma`'s, here in units of sigma to the fourth.
    """
    mean, covariance = heatmap_moments(logits)
    distance = torch.linalg.vector_norm(mean - centre + 1e-6, dim=-1)
    variance = covariance.diagonal(dim1=-2, dim2=-1)
    return distance + weight * ((variance / sigma**2 - 1) ** 2).sum(dim=-1)


def negative_log_likelihood(logits: Tensor, centre: Tensor, floor: float = 0.05) -> Tensor:
    """-log N(landmark; mean, covariance of the heatmap), (N, L) in nats of heatmap pixels.

    As LUVLi (Kumar et al., CVPR 2020) with a normal distribution, the covariance being the
    heatmap's own; `floor` is added to its diagonal, heatmap pixels squared.
    """
    mean, covariance = heatmap_moments(logits)
    covariance = covariance + floor * torch.eye(2, device=logits.device)
    offset = (centre - mean)[..., None]
    factor = torch.linalg.cholesky(covariance)
    white = torch.linalg.solve_triangular(factor, offset, upper=False)[..., 0]
    log_determinant = 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(dim=-1)
    return 0.5 * (white.square().sum(dim=-1) + log_determinant) + math.log(2 * math.pi)


def heatmap_moments(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (N, L, 2) and covariance (N, L, 2, 2) of softmax heatmaps; (x, y), heatmap pixels."""
    _, _, height, width = logits.shape
    probability = logits.flatten(2).softmax(dim=-1).view_as(logits)
    along_x, along_y = probability.sum(dim=-2), probability.sum(dim=-1)
    columns = torch.arange(width, device=logits.device, dtype=torch.float32)
    rows = torch.arange(height, device=logits.device, dtype=torch.float32)
    mean = torch.stack([along_x @ columns, along_y @ rows], dim=-1)
    dx, dy = columns - mean[..., :1], rows - mean[..., 1:]
    xx, yy = (along_x * dx**2).sum(dim=-1), (along_y * dy**2).sum(dim=-1)
    xy = torch.einsum("nlhw,nlh,nlw->nl", probability, dy, dx)
    return mean, torch.stack([xx, xy, xy, yy], dim=-1).reshape(*xx.shape, 2, 2)


def _inside(centre: Tensor, logits: Tensor) -> Tensor:
    """(N, L) landmarks that lie on the heatmap; False for NaN."""
    size = torch.tensor([logits.shape[-1], logits.shape[-2]], device=logits.device)
    return ((centre >= 0) & (centre <= size - 1)).all(dim=-1)


def _gaussians(logits: Tensor, centre: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    """Gaussians of height 1 over the rows (N, L, h) and the columns (N, L, w)."""

    def along(size: int, at: Tensor) -> Tensor:
        grid = torch.arange(size, device=at.device, dtype=torch.float32)
        return torch.exp(-((grid - at[..., None]) ** 2) / (2 * sigma**2))

    return along(logits.shape[-2], centre[..., 1]), along(logits.shape[-1], centre[..., 0])
