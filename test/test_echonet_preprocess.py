"""A cine of any kind to the networks' frames and back: known answers."""

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 the library's customary name
from cines import region, write_dicom, write_video
from pydicom import examples

from medvial.echonet import preprocess as module
from medvial.echonet.config import Config
from medvial.echonet.preprocess import Geometry, preprocess, to_tensor
from medvial.errors import InputError
from medvial.video import open_cine

CONFIG = Config()


def sector_frames(height=180, width=240, count=10, apex=(110, 12), depth=150, half_deg=35):
    """Grey speckle in a sector, (T, H, W), and a bright block whose place is known."""
    rng = np.random.default_rng(2)
    y, x = np.mgrid[:height, :width]
    angle = np.degrees(np.arctan2(x - apex[0], y - apex[1]))
    inside = (np.abs(angle) < half_deg) & (np.hypot(x - apex[0], y - apex[1]) < depth)
    frames = np.where(inside, rng.integers(10, 90, (count, height, width)), 0).astype(np.uint8)
    frames[:, 80:100, 100:124] = 255
    frames[:, 2:10, 2:60] = 255  # a label
    return frames


def write_mha(path, frames, spacing=(0.3, 0.3, 0.02), **options):
    image = sitk.GetImageFromArray(frames, isVector=frames.ndim == 4)
    image.SetSpacing(spacing)
    sitk.WriteImage(image, str(path), **options)
    return path


def test_a_stack(tmp_path):
    frames = sector_frames()
    with open_cine(write_mha(tmp_path / "a.mha", frames)) as cine:
        got, geometry, times_s, sector = preprocess(cine, CONFIG)
    assert got.shape == (10, 112, 112)
    assert got.dtype == np.uint8
    assert sector.found
    assert times_s == pytest.approx(np.arange(10) / 50)
    # From the sector's top to its bottom, 150 rows and at most a few pixels more.
    assert geometry.scale_y == pytest.approx(112 / 150, rel=0.04)
    assert geometry.scale_x == pytest.approx(geometry.scale_y, rel=0.01)
    assert geometry.spacing_mm == pytest.approx((0.3 / geometry.scale_x, 0.3 / geometry.scale_y))
    assert geometry.image_shape == (180, 240)
    # The block where the geometry says: centre of rows 80 to 99 and columns 100 to 123.
    y, x = (got[0] > 200).nonzero()
    assert geometry.to_image(np.array([x.mean(), y.mean()])) == pytest.approx(
        (111.5, 89.5), abs=0.5
    )
    assert got[0][:, :4].max() == 0 or got[0][:8].max() < 255  # the label is gone
    assert not (got[:, :10, :30] == 255).any()


def test_geometry_there_and_back():
    geometry = Geometry(0.5, 0.25, -3, 10, (200, 300), None)
    points = np.array([[0.0, 0.0], [17.25, 99.5], [299.0, 199.0]])
    np.testing.assert_allclose(geometry.to_image(geometry.to_network(points)), points, atol=1e-9)
    # The outer corner of the crop's first pixel is that of the network's first pixel.
    np.testing.assert_allclose(geometry.to_network(np.array([-3.5, 9.5])), [-0.5, -0.5])
    np.testing.assert_allclose(geometry.to_network(np.array([-2.5, 11.5])), [0.0, 0.0])


@pytest.mark.parametrize("scale", [(0.5, 0.5), (0.4, 0.8), (2.0, 2.0)])
def test_masks_go_back_where_they_came_from(scale):
    shape = (160, 200)
    geometry = Geometry(*scale, 20, -6, shape, None)
    y, x = np.mgrid[:112, :112].astype(float)
    mask = ((x - 50) / 20) ** 2 + ((y - 60) / 30) ** 2 < 1
    got = geometry.mask_to_image(mask)
    assert got.shape == shape
    assert got.dtype == np.uint8
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    network = geometry.to_network(np.stack([columns, rows], axis=-1))
    truth = ((network[..., 0] - 50) / 20) ** 2 + ((network[..., 1] - 60) / 30) ** 2 < 1
    assert got.sum() == pytest.approx(truth.sum(), rel=0.02 if scale[0] < 1 else 0.04)
    assert (got & truth).sum() * 2 / (got.sum() + truth.sum()) > 0.98


def test_frames_of_the_networks_size_are_not_touched(tmp_path):
    frames = np.random.default_rng(1).integers(0, 255, (7, 112, 112), dtype=np.uint8)
    with open_cine(write_mha(tmp_path / "a.mha", frames)) as cine:
        got, geometry, _, _ = preprocess(cine, CONFIG)
    np.testing.assert_array_equal(got, frames)
    assert (geometry.scale_x, geometry.offset_x, geometry.offset_y) == (1.0, 0, 0)
    mask = frames[0] > 128
    np.testing.assert_array_equal(geometry.mask_to_image(mask), mask)


def test_pixels_that_are_not_square(tmp_path):
    frames = sector_frames()
    tall = np.repeat(frames, 2, axis=1)  # half as high
    path = write_mha(tmp_path / "a.mha", tall, spacing=(0.3, 0.15, 0.02))
    with open_cine(path) as cine:
        got, geometry, _, _ = preprocess(cine, CONFIG)
    assert geometry.scale_x == pytest.approx(2 * geometry.scale_y, rel=0.02)
    assert geometry.spacing_mm[0] == pytest.approx(geometry.spacing_mm[1], rel=0.01)
    y, x = (got[0] > 200).nonzero()
    assert np.ptp(x) / np.ptp(y) == pytest.approx(24 / 20, rel=0.12)


def test_a_real_dicom():
    with open_cine(examples.get_path("ybr_color")) as cine:
        got, geometry, times_s, sector = preprocess(cine, CONFIG)
    assert got.shape == (30, 112, 112)
    assert times_s[-1] == pytest.approx(29 / 30, abs=1e-3)
    assert sector.found
    assert sector.box == pytest.approx((42, 18, 298, 207), abs=4)
    assert sector.notes == ()
    assert geometry.spacing_mm == pytest.approx((1.02 * 190 / 112,) * 2, rel=0.03)
    assert 10 < got.mean() < 25


def test_colour_doppler_is_noted(tmp_path):
    frames = np.repeat(sector_frames()[..., None], 3, axis=3)
    frames[:, 60:80, 95:125] = (230, 30, 10)
    frames[:, 100:110, 95:125] = (10, 30, 230)
    with open_cine(write_mha(tmp_path / "a.mha", frames)) as cine:
        _, _, _, sector = preprocess(cine, CONFIG)
    assert "as of colour Doppler" in sector.notes[0]


def test_colour_doppler_that_the_file_names(tmp_path):
    frames = sector_frames()
    regions = [
        region(RegionDataType=kind, RegionLocationMaxX1=230, RegionLocationMaxY1=170)
        for kind in (1, 2)
    ]
    with open_cine(write_dicom(tmp_path / "a.dcm", frames, regions=regions)) as cine:
        _, geometry, _, sector = preprocess(cine, CONFIG)
    assert "as of colour Doppler" in sector.notes[0]
    assert geometry.spacing_mm == pytest.approx((0.5 / geometry.scale_x,) * 2, rel=0.01)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", [(300, 170), (60, 64), (112, 300)])
def test_any_shape_and_number_of_channels(tmp_path, size, channels):
    frames = sector_frames(*size, count=3, apex=(size[1] // 2, 2), depth=size[0] - 6)
    if channels > 1:
        frames = np.repeat(frames[..., None], channels, axis=3)
    with open_cine(write_mha(tmp_path / "a.mha", frames)) as cine:
        got, _, _, _ = preprocess(cine, CONFIG)
    assert got.shape == (3, 112, 112)
    assert got.max() > 100


def test_16_bit(tmp_path):
    frames = sector_frames().astype(np.uint16) * 200
    with open_cine(write_mha(tmp_path / "a.mha", frames)) as cine:
        got, _, _, _ = preprocess(cine, CONFIG)
        assert any("More than 8 bit" in note for note in cine.info.notes)
    assert got.max() == 255


def test_video(tmp_path):
    frames = sector_frames()
    path = write_video(tmp_path / "a.mp4", frames, codec="libx264", pix_fmt="yuv420p", rate=50)
    with open_cine(path) as cine:
        got, geometry, times_s, sector = preprocess(cine, CONFIG)
    assert got.shape == (10, 112, 112)
    assert geometry.spacing_mm is None
    assert times_s[1] == pytest.approx(0.02)
    assert sector.found


def test_single_frame(tmp_path):
    with open_cine(write_mha(tmp_path / "a.mha", sector_frames(count=1))) as cine:
        got, _, times_s, _ = preprocess(cine, CONFIG)
    assert got.shape == (1, 112, 112)
    assert times_s.tolist() == [0.0]


def test_black_cine(tmp_path):
    frames = np.zeros((5, 100, 120), np.uint8)
    with (
        open_cine(write_mha(tmp_path / "a.mha", frames)) as cine,
        pytest.raises(InputError, match="expected an echocardiogram, got black frames only"),
    ):
        preprocess(cine, CONFIG)


def test_too_many_frames(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_FRAMES", 9)
    with (
        open_cine(write_mha(tmp_path / "a.mha", sector_frames())) as cine,
        pytest.raises(InputError, match=r"at most 9 frames, got more\. Cut out"),
    ):
        preprocess(cine, CONFIG)


def test_to_tensor():
    frames = np.array([[[0, 100], [200, 255]]], dtype=np.uint8)
    one = to_tensor(frames, replace(CONFIG, mean=(50.0,), std=(25.0,)))
    assert one.shape == (1, 1, 2, 2)
    assert one.dtype == np.float32
    np.testing.assert_allclose(one[0, 0], [[-2, 2], [6, 8.2]], rtol=1e-6)
    three = to_tensor(frames, replace(CONFIG, mean=(0.0, 50.0, 100.0), std=(1.0, 2.0, 4.0)))
    assert three.shape == (1, 3, 2, 2)
    np.testing.assert_allclose(three[0, :, 0, 1], [100, 25, 0])


def test_area_average():
    config = replace(CONFIG)
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 255, (224, 224), dtype=np.uint8)
    small = module._resize(frame, (0, 0, 224, 224), config)
    blocks = frame.reshape(112, 2, 112, 2).mean(axis=(1, 3))
    assert np.abs(small - blocks).max() <= 0.75
