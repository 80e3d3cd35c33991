"""Multi-frame DICOM: known pixels through every coding, times, regions and their traps."""

import io
import subprocess
import sys

import numpy as np
import pytest
from cines import HEIGHT, WIDTH, moving, region, write_dicom
from PIL import Image
from pydicom import dcmread, examples
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    RLELossless,
)

from medvial.errors import InputError
from medvial.video import open_cine


def coloured(count=5):
    """Frames (T, H, W, 3) of two flat colours; grey to the right."""
    frames = np.zeros((count, HEIGHT, WIDTH, 3), np.uint8)
    for t in range(count):
        frames[t, :, : WIDTH // 4] = (200 - 5 * t, 30, 60)
        frames[t, :, WIDTH // 4 :] = 90 + 5 * t
    return frames


def read(path, **options):
    with open_cine(path, **options) as cine:
        return np.stack(list(cine)), cine.info


def jpegs(frames, **options):
    encoded = []
    for frame in frames:
        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, "JPEG", quality=95, subsampling=0, **options)
        encoded.append(buffer.getvalue())
    return encoded


def test_a_real_cine():
    with open_cine(examples.get_path("ybr_color")) as cine:
        info = cine.info
        assert (info.kind, info.height, info.width) == ("dicom", 240, 320)
        assert info.fps == pytest.approx(30.0, abs=0.01)
        assert info.spacing_mm == pytest.approx((1.02099, 1.02099), abs=1e-4)
        assert info.region == (42, 15, 298, 208)
        assert "screen 2 times the frame of 320 x 240" in info.calibration_note
        assert info.heart_rate_bpm is None
        for _ in range(2):
            frames = list(cine)
            assert len(frames) == 30
        assert frames[0].shape == (240, 320, 3)
        # Tissue is grey: wrong colours would show.
        assert np.ptp(frames[0][60:180, 100:220].astype(int), axis=-1).max() < 8
        assert cine.info.notes == ()


def test_uncompressed_grey_and_colour(tmp_path):
    grey = moving(channels=1)
    got, info = read(write_dicom(tmp_path / "a.dcm", grey))
    np.testing.assert_array_equal(got, grey)
    assert info.fps == 25
    got, _ = read(write_dicom(tmp_path / "b.dcm", coloured()))
    np.testing.assert_array_equal(got, coloured())


def test_planar_colour(tmp_path):
    frames = coloured()
    planar = np.ascontiguousarray(frames.transpose(0, 3, 1, 2))  # (T, H, W, C) => (T, C, H, W)
    path = write_dicom(tmp_path / "a.dcm", frames, PlanarConfiguration=1)
    dataset = dcmread(path)
    dataset.PixelData = planar.tobytes()
    dataset.save_as(path)
    np.testing.assert_array_equal(read(path)[0], frames)


@pytest.mark.parametrize("colours", ["YBR_FULL", "YBR_FULL_422", "RGB"])
def test_jpeg_baseline(tmp_path, colours):
    frames = coloured()
    path = write_dicom(
        tmp_path / "a.dcm",
        frames,
        encoded=jpegs(frames, keep_rgb=colours == "RGB"),
        syntax=JPEGBaseline8Bit,
        PhotometricInterpretation=colours,
    )
    got, _ = read(path)
    inside = np.abs(got.astype(int) - frames)[:, :, [*range(12), *range(24, WIDTH)]]
    assert inside.max() <= 3


def test_jpeg_of_the_other_colours_than_the_tag_says(tmp_path):
    frames = coloured()
    encoded = jpegs(frames)  # YCbCr, and the JFIF marker says so
    path = write_dicom(tmp_path / "a.dcm", frames, encoded=encoded, syntax=JPEGBaseline8Bit)
    assert dcmread(path).PhotometricInterpretation == "RGB"
    got, _ = read(path)
    inside = np.abs(got.astype(int) - frames)[:, :, [*range(12), *range(24, WIDTH)]]
    assert inside.max() <= 3


@pytest.mark.parametrize("colours", ["YBR_FULL_422", "RGB"])
@pytest.mark.parametrize("transform", [0, 1])
def test_jpeg_whose_adobe_marker_says_its_colours(tmp_path, colours, transform):
    frames = coloured()
    encoded = jpegs(frames, keep_rgb=transform == 0)
    if transform:  # instead of the JFIF marker
        marker = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x01"
        encoded = [j[:2] + marker + j[4 + int.from_bytes(j[4:6], "big") :] for j in encoded]
    path = write_dicom(
        tmp_path / "a.dcm",
        frames,
        encoded=encoded,
        syntax=JPEGBaseline8Bit,
        PhotometricInterpretation=colours,
    )
    got, _ = read(path)
    inside = np.abs(got.astype(int) - frames)[:, :, [*range(12), *range(24, WIDTH)]]
    assert inside.max() <= 3


@pytest.mark.parametrize("colour", [False, True])
def test_rle(tmp_path, colour):
    frames = coloured() if colour else moving(5, channels=1)
    path = write_dicom(tmp_path / "a.dcm", frames)
    dataset = dcmread(path)
    dataset.compress(RLELossless, encoding_plugin="pydicom")
    dataset.save_as(path)
    np.testing.assert_array_equal(read(path)[0], frames)


@pytest.mark.parametrize("colour", [False, True])
def test_jpeg_2000(tmp_path, colour):
    frames = coloured() if colour else moving(5, channels=1)
    encoded = []
    for frame in frames:
        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, "JPEG2000", irreversible=False, no_jp2=True, mct=1)
        encoded.append(buffer.getvalue())
    tags = {"PhotometricInterpretation": "YBR_RCT"} if colour else {}
    path = write_dicom(tmp_path / "a.dcm", frames, encoded=encoded, syntax=JPEG2000Lossless, **tags)
    np.testing.assert_array_equal(read(path)[0], frames)


@pytest.mark.parametrize("colour", [False, True])
def test_jpeg_lossless(tmp_path, colour):
    frames = coloured() if colour else moving(5, channels=1)
    path = write_dicom(tmp_path / "a.dcm", frames)
    transcode(path)
    assert dcmread(path).file_meta.TransferSyntaxUID == JPEGLosslessSV1
    np.testing.assert_array_equal(read(path)[0], frames)


def transcode(path):
    """Write the file again as JPEG Lossless, by GDCM itself."""
    import gdcm

    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFile(reader.GetFile())
    writer.SetFileName(str(path))
    writer.SetImage(change.GetOutput())
    assert writer.Write()


def test_monochrome1_is_turned_round(tmp_path):
    grey = moving(channels=1)
    path = write_dicom(tmp_path / "a.dcm", 255 - grey, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(read(path)[0], grey)


def test_signed_monochrome1_is_turned_round(tmp_path):
    grey = moving(channels=1).astype(np.int16) * 30 - 3000
    tags = {"PhotometricInterpretation": "MONOCHROME1", "PixelRepresentation": 1}
    got, _ = read(write_dicom(tmp_path / "a.dcm", -1 - grey, **tags))
    low, high = float(grey.min()), float(grey.max())
    np.testing.assert_allclose(got, (grey - low) * 255 / (high - low), atol=0.51)


@pytest.mark.parametrize("said", [6, 9, 300_000_000])
def test_deflated(tmp_path, said):
    grey = moving(channels=1)
    path = write_dicom(
        tmp_path / "a.dcm", grey, syntax=DeflatedExplicitVRLittleEndian, NumberOfFrames=said
    )
    got, info = read(path)
    np.testing.assert_array_equal(got, grey)
    assert (info.frame_count, info.stored_count) == (6, said)
    assert any(note.startswith("Damaged") for note in info.notes) == (said > 6)


def test_a_deflated_file_is_not_inflated_without_bound(tmp_path, monkeypatch):
    syntax = DeflatedExplicitVRLittleEndian
    small = write_dicom(tmp_path / "a.dcm", moving(channels=1), syntax=syntax)
    path = write_dicom(tmp_path / "b.dcm", np.zeros((64, 512, 512), np.uint8), syntax=syntax)
    assert path.stat().st_size < 2**16  # of 16 MiB
    monkeypatch.setattr("medvial.dicom_cine._MOST_INFLATED", 15 << 20)
    monkeypatch.setattr("pydicom.dcmread", lambda *_, **__: pytest.fail("read all the same"))
    with pytest.raises(InputError, match=r"b\.dcm: expected .* at most 15 MiB when inflated"):
        read(path)
    content = bytearray(path.read_bytes())
    content[140:144] = (2**20).to_bytes(4, "little")  # a length of meta information that is none
    path.write_bytes(content)
    with pytest.raises(InputError, match="at most 15 MiB when inflated"):
        read(path)
    monkeypatch.undo()
    assert read(small)[1].frame_count == 6
    small.write_bytes(small.read_bytes() + bytes(3 << 20))  # what comes after the end is not read
    assert read(small)[1].frame_count == 6


def test_palette(tmp_path):
    grey = moving(channels=1)
    table = np.arange(256, dtype=np.uint16)
    path = write_dicom(tmp_path / "a.dcm", grey, PhotometricInterpretation="PALETTE COLOR")
    dataset = dcmread(path)
    for colour, values in (("Red", table), ("Green", 255 - table), ("Blue", table // 2)):
        name = f"{colour}PaletteColorLookupTable"
        dataset.add_new(f"{name}Descriptor", "US", [256, 0, 16])
        dataset.add_new(f"{name}Data", "OW", (values * 257).astype("<u2").tobytes())
    dataset.save_as(path)
    got, _ = read(path)
    np.testing.assert_array_equal(got, np.stack([grey, 255 - grey, grey // 2], axis=-1))


def test_16_bit(tmp_path):
    frames = moving(channels=1).astype(np.uint16) * 30
    got, info = read(write_dicom(tmp_path / "a.dcm", frames, BitsStored=12, HighBit=11))
    low, high = frames.min(), frames.max()
    np.testing.assert_allclose(got, (frames - float(low)) * 255 / (high - low), atol=0.51)
    assert "More than 8 bit" in info.notes[0]


@pytest.mark.parametrize(
    ("tags", "fps", "note"),
    [
        ({"FrameTime": "33.333"}, 30.0003, None),
        ({"FrameTime": "0", "CineRate": "50"}, 50, None),
        ({"FrameTime": None, "CineRate": "50", "RecommendedDisplayFrameRate": 50}, 50, None),
        ({"FrameTime": None, "RecommendedDisplayFrameRate": 44}, 44, None),
        ({"FrameTime": "0.02", "CineRate": "50"}, 50, None),  # seconds, by mistake
        ({"FrameTime": "20", "CineRate": "30"}, 50, "FrameTime was taken"),
        ({"FrameTime": None}, 30, "no usable frame time or rate: 30 frames"),
        ({"FrameTime": "", "CineRate": None}, 30, "no usable frame time or rate"),
    ],
)
def test_frame_rate(tmp_path, tags, fps, note):
    if "CineRate" in tags and tags["CineRate"] is None:
        tags = {key: value for key, value in tags.items() if key != "CineRate"}
    _, info = read(write_dicom(tmp_path / "a.dcm", moving(channels=1), **tags))
    assert info.fps == pytest.approx(fps, rel=1e-4)
    assert info.fps_known is (note is None or "taken" in note)
    assert len(info.notes) == (note is not None)
    if note:
        assert note in info.notes[0]


def test_frame_time_vector(tmp_path):
    vector = ["0", "20", "20", "40", "20", "20"]
    path = write_dicom(tmp_path / "a.dcm", moving(channels=1), FrameTimeVector=vector)
    _, info = read(path)
    assert info.frame_times_s == pytest.approx([0, 0.02, 0.04, 0.08, 0.1, 0.12])
    assert info.fps == pytest.approx(50)


@pytest.mark.parametrize(("tag", "bpm"), [("0", None), ("72", 72.0), ("900", None)])
def test_heart_rate(tmp_path, tag, bpm):
    _, info = read(write_dicom(tmp_path / "a.dcm", moving(channels=1), HeartRate=tag))
    assert info.heart_rate_bpm == bpm


BIGGER = {"RegionLocationMaxX1": 40, "RegionLocationMaxY1": 30}
OUTSIDE = {"RegionLocationMinX0": 10, "RegionLocationMaxX1": 119, "RegionLocationMaxY1": 90}
FAR = {"RegionLocationMaxX1": 5000, "RegionLocationMaxY1": 4000}
REGIONS = {
    "none": ([], None, None, "names no 2-D ultrasound region"),
    "one": ([region()], (4, 2, 60, 44), (0.5, 0.5), "from the file's ultrasound region"),
    "anisotropic": (
        [region(PhysicalDeltaY=-0.06)],
        (4, 2, 60, 44),
        (0.5, 0.6),
        "0.5 x 0.6 mm",
    ),
    "zero": ([region(PhysicalDeltaX=0.0)], (4, 2, 60, 44), None, "no usable pixel size"),
    "seconds": ([region(PhysicalUnitsXDirection=4)], (4, 2, 60, 44), None, "no usable"),
    "absurd": ([region(PhysicalDeltaX=9.0, PhysicalDeltaY=9.0)], (4, 2, 60, 44), None, "is none"),
    "m-mode": ([region(RegionSpatialFormat=2)], None, None, "names no 2-D"),
    "several": (
        [region(**BIGGER), region(), region(RegionSpatialFormat=3, RegionDataType=3)],
        (4, 2, 60, 44),
        (0.5, 0.5),
        "names 2 2-D regions, the largest",
    ),
    "exclusive end": ([region(RegionLocationMaxX1=WIDTH)], (4, 2, 64, 44), (0.5, 0.5), "from"),
    "other screen": ([region(**OUTSIDE)], (5, 1, 60, 46), (1.0, 1.0), "screen 2 times"),
    "no screen": ([region(**FAR)], None, None, "outside the frame"),
}


@pytest.mark.parametrize("name", REGIONS)
def test_regions(tmp_path, name):
    regions, box, spacing, note = REGIONS[name]
    _, info = read(write_dicom(tmp_path / "a.dcm", moving(channels=1), regions=regions))
    assert info.region == box
    assert info.spacing_mm == (spacing and pytest.approx(spacing))
    assert note in info.calibration_note
    assert not info.colour_doppler


def test_colour_doppler_is_flagged(tmp_path):
    regions = [region(), region(RegionDataType=2, **BIGGER)]
    _, info = read(write_dicom(tmp_path / "a.dcm", moving(channels=1), regions=regions))
    assert info.colour_doppler
    assert info.region == (4, 2, 60, 44)


def test_uncompressed_and_cut_off(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", moving(channels=1))
    path.write_bytes(path.read_bytes()[: -WIDTH * HEIGHT * 3 // 2])
    got, info = read(path)
    np.testing.assert_array_equal(got, moving(channels=1)[:4])
    assert "The header says 6 frames, the file holds 4 whole ones" in info.notes[0]
    assert (info.frame_count, info.stored_count, info.slice_count) == (4, 6, 6)


@pytest.mark.parametrize("offsets", [True, False])
def test_compressed_and_cut_off(tmp_path, offsets):
    frames = coloured()
    encoded = jpegs(frames)
    path = write_dicom(
        tmp_path / "a.dcm",
        frames,
        encoded=encoded,
        syntax=JPEGBaseline8Bit,
        PhotometricInterpretation="YBR_FULL",
    )
    if not offsets:
        from pydicom.encaps import encapsulate

        dataset = dcmread(path)
        dataset.PixelData = encapsulate(encoded, has_bot=False)
        dataset.save_as(path)
    path.write_bytes(path.read_bytes()[: -len(encoded[0]) * 3 // 2])
    got, info = read(path)
    assert len(got) == 3
    assert info.frame_count == 3
    assert "The header says 5 frames, the file holds 3 whole ones" in info.notes[0]


def test_more_frames_than_the_header_says(tmp_path):
    frames = coloured()
    path = write_dicom(
        tmp_path / "a.dcm",
        frames,
        encoded=jpegs(frames),
        syntax=JPEGBaseline8Bit,
        PhotometricInterpretation="YBR_FULL",
        NumberOfFrames=9,
    )
    assert len(read(path)[0]) == 5


def test_damaged_frame_in_the_middle(tmp_path):
    frames = coloured()
    encoded = jpegs(frames)
    encoded[3] = bytes(len(encoded[3]))
    path = write_dicom(
        tmp_path / "a.dcm",
        frames,
        encoded=encoded,
        syntax=JPEGBaseline8Bit,
        PhotometricInterpretation="YBR_FULL",
    )
    got, info = read(path)
    assert len(got) == 3
    assert "3 frames could be read, not all. Frame 4 of 5 cannot be decoded" in info.notes[0]


def write_report(path):
    dataset = Dataset()
    dataset.ensure_file_meta()
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.88.33", "1.2"
    dataset.save_as(path, enforce_file_format=True)


BAD = {
    "report.dcm": (write_report, "got one without pixels"),
    "cut.dcm": (
        lambda p: p.write_bytes(write_dicom(p, moving(channels=1)).read_bytes()[:700]),
        "expected frames|without pixels",
    ),
    "small.dcm": (lambda p: write_dicom(p, moving(height=2, width=2)), "at least 16 x 16"),
    "huge.dcm": (
        lambda p: write_dicom(p, moving(), Rows=60000, Columns=60000),
        "at most 50000000 pixels, got 60000 x 60000",
    ),
    "odd.dcm": (
        lambda p: write_dicom(p, moving(channels=3), PhotometricInterpretation="CMYK"),
        "expected PhotometricInterpretation .* got CMYK",
    ),
    "none.dcm": (
        lambda p: write_dicom(p, coloured(), encoded=[b"nothing "] * 5, syntax=JPEGBaseline8Bit),
        "not one can be decoded",
    ),
    "video.dcm": (
        lambda p: write_dicom(
            p, coloured(), encoded=[bytes(50)] * 5, syntax="1.2.840.10008.1.2.4.102"
        ),
        "not one can be decoded",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(tmp_path, name):
    write, message = BAD[name]
    write(tmp_path / name)
    with pytest.raises(InputError, match=message) as caught:
        open_cine(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_without_preamble(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", moving(channels=1))
    path.write_bytes(path.read_bytes()[132:])
    np.testing.assert_array_equal(read(path)[0], moving(channels=1))


def test_decoders_keep_off_stderr(tmp_path):
    frames = coloured()
    encoded = jpegs(frames)
    encoded[3] = encoded[3][:300] + bytes(50)
    path = write_dicom(
        tmp_path / "a.dcm",
        frames,
        encoded=encoded,
        syntax=JPEGBaseline8Bit,
        PhotometricInterpretation="YBR_FULL",
        HeartRate="60",
    )
    code = (
        "import sys; from medvial.video import open_cine; print(len(list(open_cine(sys.argv[1]))))"
    )
    command = [sys.executable, "-W", "always", "-c", code, str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stderr == ""
    assert int(result.stdout) in (3, 4, 5)
