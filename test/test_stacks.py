"""Stacks against an independent writer and reader (SimpleITK), and every way a file can be bad."""

import struct
import tracemalloc
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 the library's customary name

from medvial.errors import InputError
from medvial.metaimage import MAX_SLICE_BYTES
from medvial.stacks import find_image_files, open_stack

RNG = np.random.default_rng(3)


def pixels(*shape, dtype=np.uint8):
    return RNG.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


def write_mha(path, array, *, vector=None, compressed=False):
    image = sitk.GetImageFromArray(array, isVector=vector)
    sitk.WriteImage(image, str(path), useCompression=compressed)
    return path


def write_by_hand(path, data, **fields):
    """A .mha of 4 slices of 6 x 5 uint8 pixels, unless `fields` says otherwise."""
    header = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "CompressedData": "False",
        "DimSize": "6 5 4",
        "ElementType": "MET_UCHAR",
        "ElementDataFile": "LOCAL",
    }
    # ElementDataFile is the last key of a header.
    last = fields.pop("ElementDataFile", header.pop("ElementDataFile"))
    header |= fields
    text = "".join(f"{key} = {value}\n" for key, value in header.items() if value is not None)
    if last is not None:
        text += f"ElementDataFile = {last}\n"
    path.write_bytes(text.encode() + data)
    return path


def read_all(path):
    with open_stack(path) as stack:
        return list(stack)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(4, 7, 5), (4, 7, 5, 3), (4, 7, 5, 4), (1, 7, 5, 3)])
def test_mha_equals_what_simpleitk_wrote(tmp_path, shape, dtype, compressed):
    array = pixels(*shape, dtype=dtype)
    path = write_mha(tmp_path / "a.mha", array, vector=len(shape) == 4, compressed=compressed)
    with open_stack(path) as stack:
        info = stack.info
        assert (len(stack), info.height, info.width) == shape[:3]
        assert info.channels == (shape[3] if len(shape) == 4 else 1)
        assert info.dtype == dtype
        for _ in range(2):  # iterable more than once
            np.testing.assert_array_equal(np.stack(list(stack)), array)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("shape", [(7, 5), (7, 5, 3)])
def test_mha_of_one_film(tmp_path, shape, compressed):
    array = pixels(*shape)
    path = write_mha(tmp_path / "a.mha", array, vector=len(shape) == 3, compressed=compressed)
    (got,) = read_all(path)
    np.testing.assert_array_equal(got, array)


def test_mha_with_colour_as_an_axis(tmp_path):
    array = pixels(4, 7, 5, 3)
    path = write_mha(tmp_path / "a.mha", array, vector=False)
    assert b"NDims = 4" in path.read_bytes()[:200]
    np.testing.assert_array_equal(np.stack(read_all(path)), array)


def test_mha_world(tmp_path):
    image = sitk.GetImageFromArray(pixels(4, 7, 5))
    image.SetSpacing((0.1, 0.2, 3))
    image.SetOrigin((-1.5, 2, 7.25))
    turn = np.deg2rad(30)
    image.SetDirection((np.cos(turn), -np.sin(turn), 0, np.sin(turn), np.cos(turn), 0, 0, 0, 1))
    sitk.WriteImage(image, str(tmp_path / "a.mha"))
    again = sitk.ReadImage(str(tmp_path / "a.mha"))
    info = open_stack(tmp_path / "a.mha").info
    assert info.spacing_mm == pytest.approx(again.GetSpacing())
    assert info.origin_mm == pytest.approx(again.GetOrigin())
    assert np.ravel(info.direction) == pytest.approx(again.GetDirection())
    assert np.ravel(info.direction)[1] == pytest.approx(-0.5)


def test_mha_world_of_one_film(tmp_path):
    image = sitk.GetImageFromArray(pixels(7, 5))
    image.SetSpacing((0.1, 0.2))
    sitk.WriteImage(image, str(tmp_path / "a.mha"))
    info = open_stack(tmp_path / "a.mha").info
    assert info.spacing_mm == (0.1, 0.2, 1.0)
    assert np.array_equal(info.direction, np.eye(3))


def test_big_endian_and_signed(tmp_path):
    array = pixels(4, 5, 6, dtype=np.uint16) // 2
    big = array.astype(">u2").tobytes()
    fields = {"ElementType": "MET_USHORT", "BinaryDataByteOrderMSB": "True"}
    path = write_by_hand(tmp_path / "a.mha", big, **fields)
    np.testing.assert_array_equal(np.stack(read_all(path)), array)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(path))), array)

    signed = array.astype("<i2")
    signed[2, 0, 0] = -7
    got = read_all(write_by_hand(tmp_path / "b.mha", signed.tobytes(), ElementType="MET_SHORT"))
    assert got[1].dtype == np.uint16
    np.testing.assert_array_equal(got[3], array[3])
    assert isinstance(got[2], InputError)
    assert "b.mha, slice 3 of 4: expected a film of unsigned values" in str(got[2])
    assert "-7" in str(got[2])


def test_memory_does_not_grow_with_the_number_of_slices(tmp_path):
    peaks = []
    for count in (2, 12):
        path = write_mha(tmp_path / f"{count}.mha", pixels(count, 800, 1000), compressed=True)
        tracemalloc.start()
        with open_stack(path) as stack:
            for film in stack:
                assert film.shape == (800, 1000)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]


@pytest.mark.parametrize("cut", [1, 40])
def test_truncated_stack_keeps_its_whole_slices(tmp_path, cut):
    array = pixels(4, 5, 6)
    path = write_by_hand(tmp_path / "a.mha", array.tobytes()[:-cut])
    whole = 4 - -(-cut // 30)
    got = read_all(path)
    assert len(got) == 4
    np.testing.assert_array_equal(np.stack(got[:whole]), array[:whole])
    for number, error in enumerate(got[whole:], start=whole + 1):
        assert isinstance(error, InputError)
        assert f"a.mha, slice {number} of 4: expected 30 bytes, got" in str(error)
        assert "cut off" in str(error)
    assert f"got {30 - cut % 30}:" in str(got[whole])


def test_truncated_compressed_stack(tmp_path):
    array = pixels(4, 50, 60)
    packed = zlib.compress(array.tobytes())
    fields = {"DimSize": "60 50 4", "CompressedData": "True", "CompressedDataSize": len(packed)}
    path = write_by_hand(tmp_path / "a.mha", packed[: int(0.6 * len(packed))], **fields)
    got = read_all(path)
    np.testing.assert_array_equal(np.stack(got[:2]), array[:2])
    assert [isinstance(item, InputError) for item in got] == [False, False, True, True]
    assert "slice 3 of 4: expected 3000 bytes, got" in str(got[2])
    assert "cut off" in str(got[3])


def test_compressed_data_that_end_early(tmp_path):
    packed = zlib.compress(pixels(2, 5, 6).tobytes())
    got = read_all(write_by_hand(tmp_path / "a.mha", packed, CompressedData="True"))
    assert [isinstance(item, InputError) for item in got] == [False, False, True, True]
    assert "slice 3 of 4: expected 30 bytes, got 0: the compressed data end here" in str(got[2])


def test_damaged_compressed_stack(tmp_path):
    array = pixels(4, 50, 60)
    compressor = zlib.compressobj()
    first = compressor.compress(array.tobytes()[:7000]) + compressor.flush(zlib.Z_FULL_FLUSH)
    broken = first + b"\xff" * 6000
    path = write_by_hand(tmp_path / "a.mha", broken, DimSize="60 50 4", CompressedData="True")
    got = read_all(path)
    np.testing.assert_array_equal(np.stack(got[:2]), array[:2])
    assert [isinstance(item, InputError) for item in got] == [False, False, True, True]
    assert "the compressed data are damaged" in str(got[2])


@pytest.mark.parametrize("shape", [(4, 5, 6), (4, 700, 800)])
def test_wrong_checksum_takes_the_place_of_the_last_slice(tmp_path, shape):
    array = pixels(*shape)
    packed = bytearray(zlib.compress(array.tobytes()))
    packed[-1] ^= 1
    fields = {"CompressedData": "True", "DimSize": f"{shape[2]} {shape[1]} 4"}
    got = read_all(write_by_hand(tmp_path / "a.mha", bytes(packed), **fields))
    assert [isinstance(item, InputError) for item in got] == [False, False, False, True]
    assert "slice 4 of 4" in str(got[3])
    assert "damaged" in str(got[3])


def test_zlib_bomb_stays_within_a_slice(tmp_path):
    bomb = zlib.compress(bytes(64 * 1024 * 1024))
    path = write_by_hand(tmp_path / "a.mha", bomb, CompressedData="True")
    tracemalloc.start()
    got = read_all(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert all(film.shape == (5, 6) for film in got)
    assert peak < 3 * 1024 * 1024


BAD_HEADERS = {
    "NDims": [("5", "NDims of 2, 3 or 4, got 5"), ("-3", "NDims to be a positive"), ("x", "NDims")],
    "DimSize": [
        ("6 5", "3 positive whole numbers"),
        ("6 5 0", "positive sizes"),
        ("6 -5 4", "positive whole numbers"),
        ("6 5.5 4", "positive whole numbers"),
        ("6 5 nan", "positive whole numbers"),
        ("6 5 " + "9" * 30, "positive whole numbers"),
        ("1000000000 1000000000 1", f"at most {MAX_SLICE_BYTES} bytes"),
        ("6 5 1000000000", "at most 100000 slices"),
        ("20000 20000 4", "not one slice is whole"),
        (None, "the key DimSize"),
    ],
    "ElementType": [("MET_FLOAT", "MET_UCHAR or MET_USHORT"), (None, "the key ElementType")],
    "ElementNumberOfChannels": [("2", "1, 3 or 4 channels"), ("0", "positive whole number")],
    "ElementDataFile": [
        ("film.raw", "ElementDataFile = LOCAL"),
        ("LIST", "ElementDataFile = LOCAL"),
        (None, "ends with ElementDataFile"),
    ],
    "ElementSpacing": [
        ("1 1", "3 numbers"),
        ("1 one 1", "3 numbers"),
        ("nan 1 1", "3 numbers"),
        ("0 1 1", "spacings above 0"),
    ],
    "TransformMatrix": [("1 0 0 1", "9 numbers")],
    "BinaryData": [("False", "binary pixels")],
    "CompressedData": [("maybe", "True or False")],
    "ObjectType": [("Tube", "ObjectType Image")],
    "HeaderSize": [("-1", "no HeaderSize")],
}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [(key, value, text) for key, cases in BAD_HEADERS.items() for value, text in cases],
)
def test_bad_header(tmp_path, key, value, message):
    path = write_by_hand(tmp_path / "bad.mha", b"" if value is None else bytes(120), **{key: value})
    with pytest.raises(InputError, match=message) as error:
        open_stack(path)
    assert "bad.mha" in str(error.value)


def test_header_that_never_ends(tmp_path):
    path = tmp_path / "a.mha"
    path.write_bytes(b"NDims = 3\n" * 100_000)
    with pytest.raises(InputError, match="ends with ElementDataFile"):
        open_stack(path)


SIZES = struct.pack("<HHHIIHHII", 2, 256, 4, 1, 65536, 257, 4, 1, 65536)
LOOP = struct.pack("<2sHI", b"II", 42, 8) + SIZES + struct.pack("<I", 8)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.mha", b"", "an empty file"),
        ("a.tif", b"", "an empty file"),
        ("a.png", b"", "an empty file"),
        ("a.mha", b"These are my notes.\n", "Is it another kind of file"),
        ("a.mha", b"\x00" * 5000, "Is it another kind of file"),
        ("a.mhd", b"NDims = 3\n", "expected a file that ends with .mha, .tif"),
        ("a.nii", b"abc", "Convert it to .mha"),
        ("a.tif", b"II\x2a\x00", "directory is cut off"),
        ("a.tif", b"GIF89a", "expected a TIFF, got a file that starts with"),
        ("a.tif", LOOP, "form a loop"),
        ("a.tif", struct.pack("<2sHI", b"II", 42, 0), "at least one page"),
        ("a.tif", struct.pack("<2sHIHI", b"II", 42, 8, 0, 0), "to have a size"),
        ("a.png", b"hello", "expected a PNG, JPEG or BMP"),
        ("a.jpg", b"\xff\xd8\xff\xe0\x00", "header is cut off"),
        ("a.bmp", b"BM", "header is cut off"),
    ],
)
def test_bad_file(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        open_stack(tmp_path / name)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(InputError, match="found none at"):
        open_stack(tmp_path / "no.mha")
    with pytest.raises(InputError, match="found none at"):
        open_stack(tmp_path)


def test_film_that_claims_to_be_huge(tmp_path):
    """A PNG, a BMP, a JPEG and a TIFF of a few bytes that ask for gigabytes."""
    _, data = cv2.imencode(".png", pixels(7, 5))
    (tmp_path / "a.png").write_bytes(data.tobytes()[:16] + b"\0\1\0\0" * 2 + data.tobytes()[24:])
    _, data = cv2.imencode(".bmp", pixels(7, 5, 3))
    size = struct.pack("<ii", 65536, -65536)
    (tmp_path / "a.bmp").write_bytes(data.tobytes()[:18] + size + data.tobytes()[26:])
    frame = b"\xff\xd8\xff\xc0\x00\x11" + struct.pack(">BHHB", 8, 65535, 65535, 3) + bytes(9)
    (tmp_path / "a.jpg").write_bytes(frame)
    (tmp_path / "a.tif").write_bytes(LOOP[:-4] + bytes(4))
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(InputError, match="Is it damaged"):
            open_stack(path)


@pytest.mark.parametrize("shape", [(4, 7, 5), (4, 7, 5, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_tiff_pages_equal_what_simpleitk_wrote(tmp_path, shape, dtype):
    array = pixels(*shape, dtype=dtype)
    path = write_mha(tmp_path / "film.tif", array, vector=len(shape) == 4)
    with open_stack(path) as stack:
        assert (stack.info.count, stack.info.height, stack.info.width) == shape[:3]
        assert stack.info.channels == (3 if len(shape) == 4 else 1)
        assert stack.info.dtype == dtype
        np.testing.assert_array_equal(np.stack(list(stack)), array)


def write_tiff_pages(path, array, **kinds):
    """An uncompressed TIFF of grey pages, its directories in front, one strip a page."""
    count, height, width = array.shape
    size = 2 + 7 * 12 + 4
    pixels_at = 8 + count * size
    parts = [struct.pack("<2sHI", b"II", 42, 8)]
    for page in range(count):
        tags = [
            (254, kinds.get(f"kind{page}", 0)),
            (256, width),
            (257, height),
            (258, 8),
            (262, 1),
            (273, pixels_at + page * height * width),
            (279, height * width),
        ]
        follows = 8 + (page + 1) * size if page + 1 < count else 0
        entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
        parts.append(struct.pack("<H", len(tags)) + entries + struct.pack("<I", follows))
    path.write_bytes(b"".join(parts) + array.tobytes())
    return path


def test_truncated_tiff_keeps_its_whole_pages(tmp_path):
    array = pixels(3, 70, 50)
    path = write_tiff_pages(tmp_path / "film.tif", array)
    np.testing.assert_array_equal(np.stack(read_all(path)), array)
    path.write_bytes(path.read_bytes()[:-4000])
    got = read_all(path)
    np.testing.assert_array_equal(got[0], array[0])
    assert "film.tif, slice 2 of 3: expected pixels up to byte" in str(got[1])
    assert isinstance(got[2], InputError)


def test_truncated_tiff(tmp_path):
    path = write_mha(tmp_path / "film.tif", pixels(3, 70, 50))
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError, match="directory is cut off"):
        open_stack(path)


def test_tiff_leaves_masks_and_smaller_copies_out(tmp_path):
    array = pixels(4, 70, 50)
    path = write_tiff_pages(tmp_path / "film.tif", array, kind1=1, kind2=4)
    np.testing.assert_array_equal(np.stack(read_all(path)), array[[0, 3]])


@pytest.mark.parametrize("name", ["film.png", "film.bmp", "kéfalé 片.png"])
@pytest.mark.parametrize("shape", [(7, 5), (7, 5, 3)])
def test_plain_image_is_rgb(tmp_path, name, shape):
    array = pixels(*shape)
    encoded = cv2.cvtColor(array, cv2.COLOR_RGB2BGR) if len(shape) == 3 else array
    cv2.imencode(Path(name).suffix, encoded)[1].tofile(tmp_path / name)
    with open_stack(tmp_path / name) as stack:
        (got,) = stack
        assert (stack.info.height, stack.info.width) == (7, 5)
    np.testing.assert_array_equal(got, array)


def test_jpeg_and_16_bit_and_alpha(tmp_path):
    cv2.imencode(".jpg", pixels(70, 50))[1].tofile(tmp_path / "a.jpg")
    assert open_stack(tmp_path / "a.jpg").info.height == 70
    assert read_all(tmp_path / "a.jpg")[0].shape == (70, 50)
    wide = pixels(7, 5, dtype=np.uint16)
    cv2.imencode(".png", wide)[1].tofile(tmp_path / "b.png")
    np.testing.assert_array_equal(read_all(tmp_path / "b.png")[0], wide)
    alpha = pixels(7, 5, 4)
    cv2.imencode(".png", alpha)[1].tofile(tmp_path / "c.png")
    np.testing.assert_array_equal(read_all(tmp_path / "c.png")[0], alpha[..., [2, 1, 0, 3]])


def test_cut_off_image_is_an_error_in_its_place(tmp_path):
    data = cv2.imencode(".png", pixels(70, 50))[1].tobytes()
    (tmp_path / "a.png").write_bytes(data[:40])
    (got,) = read_all(tmp_path / "a.png")
    assert isinstance(got, InputError)
    assert "damaged or cut off" in str(got)


def test_leaving_early_closes_the_file(tmp_path):
    path = write_mha(tmp_path / "a.mha", pixels(4, 7, 5))
    with open_stack(path) as stack:
        slices = iter(stack)
        next(slices)
    with pytest.raises(StopIteration):
        next(slices)


def test_find_image_files(tmp_path):
    for name in ("b.mha", "a.TIF", ".hidden.mha", "c.json", "d.tiff"):
        (tmp_path / name).write_bytes(b"x")
    assert [path.name for path in find_image_files(tmp_path)] == ["a.TIF", "b.mha", "d.tiff"]


def test_find_image_files_says_what_is_there(tmp_path):
    with pytest.raises(InputError, match="found nothing"):
        find_image_files(tmp_path)
    (tmp_path / "film.dcm").write_bytes(b"x")
    with pytest.raises(InputError, match=r"film\.dcm"):
        find_image_files(tmp_path)
    with pytest.raises(InputError, match="Expected a folder"):
        find_image_files(tmp_path / "none")
