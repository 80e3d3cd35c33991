"""The losses of cldetection against what can be computed by hand."""

import math

import numpy as np
import pytest
import torch
from synthetic import gaussian_logits

from medvial.cldetection import Config
from medvial.errors import InputError
from medvial_training.tasks.cldetection.losses import Loss, heatmap_moments

SIGMA = 2.0
KINDS = ("cross_entropy", "adaptive_wing", "soft_argmax", "nll")
POINTS = [[20.0, 40.0], [41.0, 61.0]]


def config(kind):
    heatmap = "sigmoid" if kind == "adaptive_wing" else "softmax"
    return Config(widths=(4, 4, 4), height=96, width=64, sigma_px=SIGMA, heatmap=heatmap)


def logits_at(points, kind="cross_entropy", sigma=SIGMA):
    logits = torch.from_numpy(gaussian_logits(points, sigma=sigma))[None]
    return torch.logit(logits.exp(), eps=1e-6) if kind == "adaptive_wing" else logits


@pytest.mark.parametrize("kind", KINDS)
def test_every_loss_is_least_at_the_landmark(kind):
    loss, target = Loss(kind), torch.tensor([POINTS])
    right = loss(logits_at(POINTS, kind), target, config(kind))
    for x, y in ((2, 0), (0, 4), (-3, 3)):
        moved = [[POINTS[0][0] + x, POINTS[0][1] + y], POINTS[1]]
        assert loss(logits_at(moved, kind), target, config(kind)) > right + 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_against_the_gradient_brings_the_loss_down(kind):
    target = torch.tensor([[POINTS[0], [np.nan, np.nan], [300.0, 30.0]]])
    start = logits_at([[26.0, 44.0], [41.0, 61.0], [30.0, 30.0]], kind)
    logits = start.clone().requires_grad_()
    before = Loss(kind)(logits, target, config(kind))
    before.backward()
    assert torch.isfinite(logits.grad).all()
    assert logits.grad[0, 1:].abs().sum() == 0  # missing, and outside
    step = 0.1 * logits.grad / logits.grad.norm()
    assert Loss(kind)(start - step, target, config(kind)) < before


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_finite_differences(kind):
    torch.manual_seed(0)
    noise = torch.randn(1, 1, 48, 32)
    target, settings = torch.tensor([[[21.0, 39.0]]]), config(kind)
    logits = (logits_at([POINTS[0]], kind) + 0.1 * noise).requires_grad_()
    Loss(kind)(logits, target, settings).backward()
    direction = torch.randn_like(logits)
    direction = direction / direction.norm()
    step = 0.3 * direction
    with torch.no_grad():
        ends = [float(Loss(kind)(logits + s * step, target, settings)) for s in (1, -1)]
    slope = float((logits.grad * direction).sum())
    assert (ends[0] - ends[1]) / 0.6 == pytest.approx(slope, rel=0.05, abs=2e-4)


def test_moments_of_a_gaussian_are_its_own():
    mean, covariance = heatmap_moments(logits_at([[31.0, 47.0]], sigma=3.0))
    np.testing.assert_allclose(mean[0, 0], [15.25, 23.25], atol=0.02)  # (31 + 0.5) / 2 - 0.5
    np.testing.assert_allclose(covariance[0, 0], 9.0 * np.eye(2), atol=0.1)


def test_the_likelihood_is_that_of_a_normal_distribution():
    logits, target = logits_at([[31.0, 47.0]]), torch.tensor([[[35.0, 47.0]]])
    variance = SIGMA**2 + 0.05
    expected = math.log(2 * math.pi * variance) + 2.0**2 / (2 * variance)  # 4 px are 2 of the map
    assert float(Loss("nll")(logits, target, config("nll"))) == pytest.approx(expected, abs=0.02)


def test_soft_argmax_holds_the_variance():
    point, loss, settings = [[31.0, 47.0]], Loss("soft_argmax"), config("soft_argmax")
    right, wide = (
        float(loss(logits_at(point, sigma=s), torch.tensor([point]), settings))
        for s in (SIGMA, 2 * SIGMA)
    )
    assert right == pytest.approx(0.0, abs=0.02)
    assert wide == pytest.approx(2 * (4 - 1) ** 2, rel=0.1)  # both axes: (4 sigma^2/sigma^2 - 1)^2


@pytest.mark.parametrize("kind", KINDS)
def test_autocast_does_not_coarsen_coordinates(kind):
    target = torch.tensor([[[30.3, 46.7]]])
    logits = logits_at([[31.0, 47.0]], kind)
    expected = Loss(kind)(logits, target, config(kind))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(Loss(kind)(logits, target, config(kind)), expected)


def test_a_loss_refuses_heatmaps_of_another_meaning():
    with pytest.raises(InputError, match=r"model\.heatmap sigmoid for the loss adaptive_wing"):
        Loss("adaptive_wing").check(config("nll"))
    with pytest.raises(InputError, match=r"model\.heatmap softmax for the loss nll, got sigmoid"):
        Loss("nll").check(config("adaptive_wing"))
    with pytest.raises(InputError, match="variance_weight of at least 0, got -1"):
        Loss(variance_weight=-1).check(Config())
