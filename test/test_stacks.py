"""Stacks against an independent writer and reader (SimpleITK), and every way a file can be bad."""

import tracemalloc
import zlib

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 the library's customary name

from medvial.errors import InputError
from medvial.metaimage import MAX_SLICE_BYTES
from medvial.stacks import open_stack

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


@pytest.mark.parametrize("key", ["0008|0060", "Patient Name", "Window (centre)", "größe"])
def test_mha_with_metadata_of_any_key(tmp_path, key):
    image = sitk.GetImageFromArray(array := pixels(4, 7, 5))
    image.SetMetaData(key, "DX")
    sitk.WriteImage(image, str(tmp_path / "a.mha"))
    assert f"{key} = DX\n".encode() in (tmp_path / "a.mha").read_bytes()
    np.testing.assert_array_equal(np.stack(read_all(tmp_path / "a.mha")), array)


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


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.mha", b"", "an empty file"),
        ("a.mha", b"These are my notes.\n", "Is it another kind of file"),
        ("a.mha", b"\x00" * 5000, "Is it another kind of file"),
        ("a.mha", b"colour = red\nElementDataFile = LOCAL\n", "Is it another kind of file"),
        ("a.mhd", b"NDims = 3\n", "expected a file that ends with .mha, .tif"),
        ("a.nii", b"abc", "Convert it to .mha"),
    ],
)
def test_file_of_another_kind(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        open_stack(tmp_path / name)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(InputError, match="found none at"):
        open_stack(tmp_path / "no.mha")
    with pytest.raises(InputError, match="found none at"):
        open_stack(tmp_path)


def test_leaving_early_closes_the_file(tmp_path):
    path = write_mha(tmp_path / "a.mha", pixels(4, 7, 5))
    with open_stack(path) as stack:
        slices = iter(stack)
        next(slices)
    with pytest.raises(StopIteration):
        next(slices)
