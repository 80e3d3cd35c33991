"""Volumes from masks whose volume is known by formula; the true masks of CAMUS."""

import csv
from pathlib import Path

import numpy as np
import pytest

from medvial.echonet.long_axis import largest_component
from medvial.echonet.volumes import (
    area_length_volume,
    disk_volume,
    ejection_fraction,
)
from medvial.errors import InputError

CAMUS = Path(__file__).parents[2] / "shared" / "data" / "camus_a4c"
HEIGHT, WIDTH = 112, 126


def spheroid(length, ratio, cut=0.0, angle=0.0, size=(HEIGHT, WIDTH)):
    """A prolate spheroid, apex up at angle 0, cut off `cut` semi-axes beyond its equator.

    Returns:
        Mask; exact volume in pixels3; apex and base (x, y).
    """
    a = length / (1 + cut)
    b = ratio * a
    up = np.array([np.sin(angle), -np.cos(angle)])
    middle = np.array([(size[1] - 1) / 2 + 0.3, (size[0] - 1) / 2 - 0.4])
    equator = middle - up * a * (1 - cut) / 2
    y, x = np.mgrid[: size[0], : size[1]]
    along = (x - equator[0]) * up[0] + (y - equator[1]) * up[1]
    across = (y - equator[1]) * up[0] - (x - equator[0]) * up[1]
    mask = (along >= -cut * a) & ((along / a) ** 2 + (across / b) ** 2 < 1)
    volume = np.pi * b**2 * a * (2 / 3 + cut - cut**3 / 3)
    return mask, volume, equator + a * up, equator - cut * a * up


@pytest.mark.parametrize(
    ("cut", "too_large"), [(0, 1.0), (0.1, 1.005), (0.2, 1.009), (0.3, 1.014), (0.4, 1.019)]
)
def test_volumes_of_a_cut_spheroid_are_those_of_its_formula(cut, too_large):
    disks, area_length = [], []
    for angle in np.linspace(0, 2 * np.pi, 25):
        mask, volume, _, _ = spheroid(60, 0.3, cut, angle)
        found = disk_volume(mask)
        disks.append(found.volume / volume)
        area_length.append(found.area_length / volume)
    assert np.mean(disks) == pytest.approx(1, abs=0.006)
    assert np.abs(np.array(disks) - 1).max() < 0.03
    assert np.mean(area_length) == pytest.approx(too_large, abs=0.006)


def test_area_length_is_exact_for_half_an_ellipsoid():
    length, radius = 8.0, 2.2
    area = np.pi / 2 * radius * length
    exact = 2 * np.pi / 3 * radius**2 * length
    assert area_length_volume(area, length) == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize("degrees", range(0, 360, 15))
def test_long_axis_is_found_at_any_angle(degrees):
    mask, _, apex, base = spheroid(58, 0.35, 0.1, np.deg2rad(degrees))
    found = disk_volume(mask)
    np.testing.assert_allclose(found.apex, apex, atol=2)
    np.testing.assert_allclose(found.base, base, atol=2)
    assert found.length == pytest.approx(58, rel=0.015)
    assert not found.calibrated


@pytest.mark.parametrize("ratio", [0.2, 0.27, 0.4, 0.45])
def test_slim_and_round_ventricles(ratio):
    mask, volume, _, _ = spheroid(56, ratio, 0, 0.4)
    assert disk_volume(mask).volume == pytest.approx(volume, rel=0.03)


def test_calibration_scales_volumes_and_not_positions():
    mask, volume, apex, _ = spheroid(60, 0.3)
    found = disk_volume(mask, spacing_cm=0.13)
    assert found.calibrated
    assert found.volume == pytest.approx(volume * 0.13**3, rel=0.02)
    assert found.length == pytest.approx(60 * 0.13, rel=0.015)
    assert found.area == pytest.approx(mask.sum() * 0.13**2)
    np.testing.assert_allclose(found.apex, apex, atol=2)


def test_pixels_need_not_be_square():
    mask, volume, _, _ = spheroid(60, 0.3, angle=0.5)
    wide = np.repeat(mask, 2, axis=1)
    found = disk_volume(wide, spacing_cm=(0.05, 0.1))
    assert found.volume == pytest.approx(volume * 0.1**3, rel=0.03)


def test_chords_span_the_mask():
    mask, _, apex, base = spheroid(60, 0.3)
    found = disk_volume(mask)
    assert found.chords.shape == (20, 2, 2)
    assert np.abs(found.chords[0].mean(axis=0) - apex).max() < 4
    assert np.abs(found.chords[-1].mean(axis=0) - base).max() < 4
    widths = np.hypot(*(found.chords[:, 1] - found.chords[:, 0]).T)
    np.testing.assert_allclose(widths, found.diameters)
    assert widths[-1] == pytest.approx(36, abs=1.5)
    assert (np.diff(widths) > -1).all()


def test_ragged_edges_and_splinters_change_little():
    rng = np.random.default_rng(4)
    mask, volume, _, _ = spheroid(60, 0.3, angle=0.2)
    edge = mask ^ (np.roll(mask, 1, 0) & np.roll(mask, -1, 0) & np.roll(mask, (1, -1), (0, 1)))
    ragged = mask.copy()
    ragged[edge & (rng.random(mask.shape) < 0.3)] = False
    ragged[3, 5] = True
    assert disk_volume(ragged).volume == pytest.approx(volume, rel=0.08)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros((30, 40)), "at least 30 pixels, got 0"),
        (np.eye(20, 25), "at least 30 pixels, got 20"),
        (
            np.pad(np.ones((9, 8)), ((1, 20), (1, 2))) + np.pad(np.ones((8, 8)), ((21, 1), (2, 1))),
            "in one part, got a mask of 136 pixels whose largest part has 72",
        ),
        (np.ones((4, 30, 40)), r"\(rows, columns\), got an array of shape \(4, 30, 40\)"),
    ],
)
def test_unusable_masks_are_refused(mask, message):
    with pytest.raises(InputError, match=message):
        disk_volume(mask)


@pytest.mark.parametrize("spacing", [0, -0.1, float("nan"), (0.1, 0.0)])
def test_unusable_spacing_is_refused(spacing):
    with pytest.raises(InputError, match="above 0, or None"):
        disk_volume(spheroid(60, 0.3)[0], spacing_cm=spacing)


def test_largest_component_joins_diagonal_neighbours():
    mask = np.zeros((6, 7), np.uint8)
    mask[1, 1] = mask[2, 2] = mask[3, 3] = mask[5, 0] = 4
    assert largest_component(mask).sum() == 3
    assert not largest_component(np.zeros((6, 7))).any()


def test_ejection_fraction():
    assert ejection_fraction(120, 48) == pytest.approx(60)
    assert ejection_fraction(100, 110) == pytest.approx(-10)
    assert np.isnan(ejection_fraction(0, 0))
    assert np.isnan(ejection_fraction(float("nan"), 40))


@pytest.mark.data
def test_true_masks_of_camus():
    """Known figures of its true four-chamber masks: what one plane can and cannot tell."""
    if not CAMUS.is_dir():
        pytest.skip("needs the frames in ../shared/data/camus_a4c")
    with (CAMUS / "patients_info.csv").open() as file:
        listed = {row["Patient"]: float(row["EF"]) for row in csv.DictReader(file)}
    rows = []
    for path in sorted(CAMUS.glob("*.npz")):
        case = np.load(path)
        row_cm, column_cm = (float(v) / 10 for v in case["spacing_mm_row_col"])
        found = []
        for phase in ("ED", "ES"):
            disks = disk_volume(
                largest_component(case[f"{phase}_gt"] == 1), spacing_cm=(column_cm, row_cm)
            )
            atrium = np.argwhere(case[f"{phase}_gt"] == 3).mean(axis=0)[::-1]
            assert np.hypot(*(atrium - disks.base)) < np.hypot(*(atrium - disks.apex)), path.stem
            found += [disks.volume, disks.area_length]
        rows.append([*found, listed[path.stem]])
    edv, edv_area_length, esv, _, reference = np.array(rows).T
    ef = 100 * (1 - esv / edv)
    assert edv.mean() == pytest.approx(97, abs=3)
    assert edv.std() == pytest.approx(40, abs=4)
    assert esv.mean() == pytest.approx(50, abs=3)
    assert (edv_area_length / edv).mean() == pytest.approx(1.032, abs=0.004)
    assert np.corrcoef(ef, reference)[0, 1] == pytest.approx(0.86, abs=0.02)
    assert np.abs(ef - reference).mean() == pytest.approx(7.2, abs=0.4)
    assert (ef - reference).mean() == pytest.approx(5.8, abs=0.8)
