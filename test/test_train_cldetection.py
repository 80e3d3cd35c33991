"""Augmentation, loss and learned post-processing of cldetection."""

import dataclasses

import numpy as np
import pytest
import torch
from synthetic import gaussian_logits

from medvial.cldetection import Config
from medvial.cldetection.model import build_model
from medvial.cldetection.postprocess import Film
from medvial.cldetection.preprocess import Geometry
from medvial.errors import InputError
from medvial_training.fit import EpochSampler
from medvial_training.tasks.cldetection.augment import Augmentation, augment
from medvial_training.tasks.cldetection.dataset import Sample
from medvial_training.tasks.cldetection.learn import fit_calibration, fit_shape_prior
from medvial_training.tasks.cldetection.losses import Loss

CONFIG = Config(landmark_set="isbi-19", height=96, width=64, widths=(4, 6, 8))
STILL = Augmentation(*[0.0] * 11)


def disc(x, y, height=160, width=128, sigma=6.0):
    rows, columns = np.mgrid[:height, :width]
    values = 200 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))
    return np.rint(values).astype(np.uint8)


def centre_of_mass(grey):
    weights = np.clip(grey.astype(float) - 40, 0, None)
    rows, columns = np.mgrid[: grey.shape[0], : grey.shape[1]]
    return np.array([(weights * columns).sum(), (weights * rows).sum()]) / weights.sum()


@pytest.mark.parametrize("seed", range(6))
def test_landmarks_move_with_the_film(seed):
    settings = Augmentation(
        rotation_deg=20, shift=0.05, noise=0, blur_px=0, log_gamma=0, contrast=0, brightness=0
    )
    point = np.array([[70.0, 66.0], [np.nan, np.nan]])
    rng = np.random.default_rng(seed)
    image, moved = augment(disc(*point[0]), point, settings, rng)
    np.testing.assert_allclose(centre_of_mass(image), moved[0], atol=0.3)
    assert np.isnan(moved[1]).all()
    assert np.linalg.norm(moved[0] - point[0]) > 0.5


@pytest.mark.parametrize("seed", range(6))
def test_landmarks_move_with_a_local_displacement(seed):
    settings = dataclasses.replace(STILL, elastic=0.015)
    at = np.array([[40.0, 50.0], [80.0, 110.0], [90.0, 45.0], [np.nan, np.nan]])
    picture = np.max([disc(x, y, sigma=2.0) for x, y in at[:3]], axis=0)
    image, moved = augment(picture, at, settings, np.random.default_rng(seed))
    for x, y in moved[:3]:
        corner = np.array([round(x) - 8, round(y) - 8])
        part = image[corner[1] : corner[1] + 17, corner[0] : corner[0] + 17]
        np.testing.assert_allclose(centre_of_mass(part) + corner, (x, y), atol=0.2)
    assert np.isnan(moved[3]).all()
    shifts = (moved - at)[:3]
    assert np.linalg.norm(shifts - shifts.mean(axis=0), axis=1).max() > 0.3  # not all alike


def test_a_local_displacement_has_the_size_that_was_asked_for_and_tears_nothing():
    settings = dataclasses.replace(STILL, elastic=0.012)
    rows, columns = np.mgrid[20:140:4, 20:108:4]
    grid = np.stack([columns, rows], axis=-1).reshape(-1, 2).astype(float)
    offsets = []
    for seed in range(60):
        _, moved = augment(disc(50, 60), grid, settings, np.random.default_rng(seed))
        offsets.append(moved - grid)
        across = moved.reshape(*rows.shape, 2)
        assert (np.diff(across[..., 0], axis=1) > 0).all()  # nothing folds over
        assert (np.diff(across[..., 1], axis=0) > 0).all()
    # cubic interpolation between the control points takes some of their spread away
    assert np.std(offsets) == pytest.approx(0.012 * 160, rel=0.3)
    assert np.abs(np.mean(offsets)) < 0.2


def test_bright_bone_keeps_its_structure_where_grey_values_are_not_clipped():
    bright = dataclasses.replace(STILL, brightness=0.5)
    picture = disc(50, 60).astype(int) * 54 // 200 + 200
    picture = picture.astype(np.uint8)
    for seed in range(20):
        cut, _ = augment(picture, np.zeros((1, 2)), bright, np.random.default_rng(seed))
        kept, _ = augment(
            picture,
            np.zeros((1, 2)),
            dataclasses.replace(bright, clip=False),
            np.random.default_rng(seed),
        )
        assert cut.dtype == np.uint8
        assert kept.dtype == np.float32
        np.testing.assert_allclose(np.clip(np.rint(kept), 0, 255), cut)
        np.testing.assert_allclose(kept - kept.min(), picture - float(picture.min()), atol=0.01)
        if kept.min() > 255:
            assert np.ptp(cut) == 0
            break
    else:
        raise AssertionError("no version was bright enough")


def test_a_displacement_that_would_tear_the_film_is_refused():
    with pytest.raises(InputError, match=r"augment\.elastic from 0 to 0\.015, got 0\.05"):
        Augmentation(elastic=0.05)


def test_no_change_is_no_change():
    image, points = disc(50, 60), np.array([[50.0, 60.0]])
    same, moved = augment(image, points, STILL, np.random.default_rng(0))
    np.testing.assert_array_equal(same, image)
    np.testing.assert_allclose(moved, points)


def test_augmentation_follows_its_seed():
    image, points = disc(50, 60), np.array([[50.0, 60.0]])
    one, two, other = (
        augment(image, points, Augmentation(), np.random.default_rng(s)) for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(one[0], two[0])
    assert (one[0] != other[0]).any()


def test_the_sampler_depends_on_seed_and_epoch_only():
    sampler, same = EpochSampler(9, seed=3), EpochSampler(9, seed=3)
    sampler.set_epoch(4)
    list(same)
    same.set_epoch(4)
    assert list(sampler) == list(same)
    assert sorted(index for _, index in sampler) == list(range(9))
    assert {epoch for epoch, _ in sampler} == {4}
    sampler.set_epoch(5)
    assert [i for _, i in sampler] != [i for _, i in same]


def logits_at(points):
    return torch.from_numpy(gaussian_logits(points))[None]


def test_the_loss_is_least_where_the_heatmap_is_the_target():
    points = [[20.0, 40.0], [41.0, 61.0]]
    target = torch.tensor([points])
    config = Config(widths=(4, 4, 4), height=96, width=64, sigma_px=2.0)
    right = Loss()(logits_at(points), target, config)
    entropy = np.log(2 * np.pi * np.e * 2.0**2)  # of a 2-D normal distribution, nats
    assert float(right) == pytest.approx(entropy, abs=0.02)
    for wrong in ([[22.0, 40.0], [41.0, 61.0]], [[20.0, 44.0], [41.0, 61.0]]):
        assert Loss()(logits_at(wrong), target, config) > right + 0.05


def test_landmarks_that_are_missing_or_outside_do_not_count():
    points = [[20.0, 40.0], [41.0, 61.0], [30.0, 30.0]]
    config = Config(widths=(4, 4, 4), height=96, width=64)
    target = torch.tensor([[points[0], [np.nan, np.nan], [300.0, 30.0]]])
    logits = logits_at(points).requires_grad_()
    Loss()(logits, target, config).backward()
    assert torch.isfinite(logits.grad).all()
    assert logits.grad[0, 0].abs().sum() > 0
    assert logits.grad[0, 1:].abs().sum() == 0


@pytest.mark.parametrize(
    ("architecture", "stride", "parameters"), [("compact_unet", 2, None), ("unet", 1, 6_824_934)]
)
def test_networks_keep_their_shape_table(architecture, stride, parameters):
    config = Config(
        architecture=architecture, height=64, width=96, channels=3, widths=(4, 8, 8, 16)
    )
    net = build_model(config).eval()
    with torch.inference_mode():
        assert net(torch.zeros(2, 3, 64, 96)).shape == (2, 38, 64 // stride, 96 // stride)
    if parameters:
        assert sum(p.numel() for p in net.parameters()) == parameters


def sample(points):
    geometry = Geometry(1.0, 1.0, 0, 0, 64, 96)
    return Sample("a", "p", None, geometry, np.asarray(points, float), 0.5)


def test_the_prior_learns_the_population():
    rng = np.random.default_rng(0)
    mean = rng.uniform(10, 90, (6, 2))
    films = [sample(mean + rng.normal(0, 1.5, (6, 2)) + rng.uniform(-9, 9)) for _ in range(60)]
    prior = fit_shape_prior(films)
    check = prior.check(mean + 20)
    assert check.plausible
    assert not check.outlier.any()
    wrong = mean.copy()
    wrong[2] += 60
    np.testing.assert_array_equal(np.flatnonzero(prior.check(wrong).outlier), [2])
    assert fit_shape_prior(films[:19]) is None
    assert fit_shape_prior([sample(s.points[:2]) for s in films]) is None  # two points: no shape


def film(error_px, spread):
    features = np.zeros((4, 4))
    features[:, 1] = np.log(spread)
    none = np.zeros(4, bool)
    return Film(np.tile([50.0 + error_px, 50.0], (4, 1)), None, none, False, True, features)


def test_the_calibration_learns_that_spread_means_doubt():
    films = [(sample(np.full((4, 2), 50.0)), film(e, s)) for e, s in [(1, 2.0), (9, 8.0)] * 20]
    calibration = fit_calibration([s for s, _ in films], [f for _, f in films])
    sure, unsure = (calibration.probability(film(0, spread).features) for spread in (2.0, 8.0))
    assert sure.min() > 0.9
    assert unsure.max() < 0.1
    assert calibration.points == 160


def test_the_calibration_learns_that_a_landmark_is_hard():
    truth = np.full((4, 2), 50.0)
    films = [film(1, 2.0) for _ in range(40)]
    for number, one in enumerate(films):
        one.points[3] += 9 * (number % 2)  # the last one is wrong on every second film
    calibration = fit_calibration([sample(truth)] * 40, films)
    probability = calibration.probability(films[0].features)
    assert probability[:3].min() > 0.9
    assert probability[3] == pytest.approx(0.5, abs=0.1)
    few = fit_calibration([sample(truth)] * 24, films[:24]).probability(films[0].features)
    assert probability[3] < few[3] < few[0]  # fewer films say less


def test_without_misses_there_is_no_calibration():
    films = [sample(np.full((4, 2), 50.0))] * 20
    assert fit_calibration(films, [film(1, 2.0)] * 20) is None
