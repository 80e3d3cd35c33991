"""TIFF pages and single images, against an independent writer, and every way they can be bad."""

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 the library's customary name
from PIL import Image

from medvial import image_headers
from medvial.errors import InputError
from medvial.stacks import find_image_files, open_stack

RNG = np.random.default_rng(3)


def pixels(*shape, dtype=np.uint8):
    return RNG.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


def write_sitk(path, array, *, vector=None):
    sitk.WriteImage(sitk.GetImageFromArray(array, isVector=vector), str(path))
    return path


def read_all(path):
    with open_stack(path) as stack:
        return list(stack)


SIZES = struct.pack("<HHHIIHHII", 2, 256, 4, 1, 65536, 257, 4, 1, 65536)
LOOP = struct.pack("<2sHI", b"II", 42, 8) + SIZES + struct.pack("<I", 8)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tif", b"", "an empty file"),
        ("a.png", b"", "an empty file"),
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
    path = write_sitk(tmp_path / "film.tif", array, vector=len(shape) == 4)
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


def write_tiff_film(path, array, *more):
    """An uncompressed TIFF of one grey page; `more` are pairs (tag, value), a RATIONAL if a pair.

    A tag may be given again: it then stands a second time in the directory.
    """
    height, width = array.shape
    tags = [(256, width), (257, height), (258, 8 * array.itemsize), (273, 0), (279, array.nbytes)]
    tags += [*more] if 262 in dict(more) else [(262, 1), *more]
    values_at = 8 + 2 + len(tags) * 12 + 4
    rationals = [value for _, value in tags if isinstance(value, tuple)]
    entries, offset = b"", values_at
    for tag, value in sorted(tags, key=lambda item: item[0]):  # stable: repeated ones in order
        if isinstance(value, tuple):
            entries += struct.pack("<HHII", tag, 5, 1, offset)
            offset += 8
        elif tag == 273:
            entries += struct.pack("<HHII", tag, 4, 1, values_at + 8 * len(rationals))
        else:
            entries += struct.pack("<HHIHH", tag, 3, 1, value, 0)
    data = b"".join(struct.pack("<II", *value) for value in rationals) + array.tobytes()
    head = struct.pack("<2sHIH", b"II", 42, 8, len(tags))
    path.write_bytes(head + entries + bytes(4) + data)
    return path


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ([(282, (300, 1)), (283, (300, 2)), (296, 2)], (25.4 / 300, 25.4 / 150)),
        ([(282, (100, 1)), (283, (80, 1)), (296, 3)], (0.1, 0.125)),
        ([(282, (100, 1)), (283, (80, 1)), (296, 1)], (1, 1)),
        ([(282, (100, 1)), (283, (80, 1))], (1, 1)),
        ([(282, (100, 1)), (296, 3)], (1, 1)),
        ([(282, (0, 1)), (283, (0, 1)), (296, 3)], (1, 1)),
        ([], (1, 1)),
    ],
)
def test_tiff_spacing_equals_what_simpleitk_reads(tmp_path, tags, expected):
    path = write_tiff_film(tmp_path / "film.tif", pixels(7, 5), *tags)
    info = open_stack(path).info
    assert info.spacing_mm == pytest.approx((*expected, 1.0))
    assert info.spacing_mm[:2] == pytest.approx(sitk.ReadImage(str(path)).GetSpacing())


@pytest.mark.parametrize(("second", "expected"), [(254, 0.1), (127, 1.0)])
def test_pages_of_other_spacings_have_none_in_common(tmp_path, second, expected):
    first, other = (Image.fromarray(pixels(7, 5)) for _ in range(2))
    other.encoderinfo = {"dpi": (second, second)}
    first.save(tmp_path / "film.tif", save_all=True, append_images=[other], dpi=(254, 254))
    info = open_stack(tmp_path / "film.tif").info
    assert (info.count, info.spacing_mm) == (2, pytest.approx((expected, expected, 1.0)))


@pytest.mark.parametrize("shape", [(7, 5), (3, 7, 5)])
def test_tiff_spacing_that_simpleitk_wrote(tmp_path, shape):
    image = sitk.GetImageFromArray(pixels(*shape))
    image.SetSpacing((0.1, 0.125, 1.0)[: len(shape)])
    sitk.WriteImage(image, str(tmp_path / "film.tif"))
    assert open_stack(tmp_path / "film.tif").info.spacing_mm == pytest.approx((0.1, 0.125, 1.0))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_small_values_of_a_tiff_may_be_bright(tmp_path, dtype):
    array = pixels(7, 5, dtype=dtype)
    path = write_tiff_film(tmp_path / "film.tif", array, (262, 0))
    np.testing.assert_array_equal(read_all(path)[0], np.iinfo(dtype).max - array)


@pytest.mark.parametrize("orientation", [2, 3, 6])
def test_a_tiff_that_is_to_be_turned_is_refused(tmp_path, orientation):
    array = pixels(7, 5)
    path = write_tiff_film(tmp_path / "film.tif", array, (274, orientation))
    (failure,) = read_all(path)
    assert isinstance(failure, InputError)
    assert "slice 1 of 1: expected pixels that are stored as they are shown" in str(failure)
    assert f"got Orientation {orientation}." in str(failure)
    path = write_tiff_film(tmp_path / "film.tif", array, (274, 1))
    np.testing.assert_array_equal(read_all(path)[0], array)


def test_repeated_tiff_tag_is_read_once(tmp_path, monkeypatch):
    array = pixels(7, 5)
    path = write_tiff_film(tmp_path / "film.tif", array, *[(257, 3)] * 50, (296, 2))
    read = []
    values = image_headers._values
    monkeypatch.setattr(
        image_headers, "_values", lambda *field: read.append(field) or values(*field)
    )
    assert open_stack(path).info.height == 7
    assert len(read) == 7


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
    path = write_sitk(tmp_path / "film.tif", pixels(3, 70, 50))
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
