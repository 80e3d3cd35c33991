"""Image and file outputs: written, checked, described, compared, published all or not at all."""

import subprocess
import sys
import textwrap
import zipfile
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK

from medvial.case_outputs import CaseOutputs, remove_outputs
from medvial.compare import Tolerances, compare_folder, describe_image
from medvial.errors import InputError
from medvial.metaimage_writer import PIXEL_TYPES, ImageGeometry, MetaImageWriter
from medvial.output_checks import only_image
from medvial.outputs import read_json
from medvial.sockets import Socket
from medvial.stacks import open_stack

TILTED = ((0.8, -0.6, 0.0), (0.6, 0.8, 0.0), (0.0, 0.0, 1.0))
GEOMETRY = ImageGeometry((7, 5, 3), (0.3, 0.25, 2.5), (-12.5, 7.125, 1e-7), TILTED)
MASK = Socket("a-mask", "Segmentation", "images/mask", segments=(1, 2))
HEAT = Socket("a-map", "Heat Map", "images/map")
NUMBER = Socket("a-number", "Float", "numbers/a.json")


def stack(dtype=np.uint8, shape=(3, 5, 7), high=3):
    return np.random.default_rng(0).integers(0, high, shape).astype(dtype)


def write(path, images, geometry=GEOMETRY, **options):
    with MetaImageWriter(path, geometry, dtype=images.dtype, **options) as writer:
        for image in images:
            writer.write(image)
    return path


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("dtype", PIXEL_TYPES)
def test_an_independent_reader_reads_back_what_was_written(tmp_path, dtype, compressed):
    images = stack(dtype, high=100)
    image = SimpleITK.ReadImage(str(write(tmp_path / "a.mha", images, compressed=compressed)))
    assert SimpleITK.GetArrayFromImage(image).dtype == dtype
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image), images)
    assert image.GetSize() == (7, 5, 3)
    assert image.GetSpacing() == GEOMETRY.spacing_mm
    assert image.GetOrigin() == GEOMETRY.origin_mm
    assert image.GetDirection() == sum(TILTED, ())


@pytest.mark.parametrize("compressed", [True, False])
def test_colours_come_last(tmp_path, compressed):
    images = stack(shape=(3, 5, 7, 3), high=255)
    write(tmp_path / "a.mha", images, channels=3, compressed=compressed)
    read = SimpleITK.ReadImage(str(tmp_path / "a.mha"))
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(read), images)


def test_an_image_of_an_image_has_its_geometry(tmp_path):
    for shape, dims in (((3, 5, 7), 3), ((5, 7), 2)):
        image = SimpleITK.GetImageFromArray(stack(shape=shape))
        image.SetSpacing(GEOMETRY.spacing_mm[:dims])
        image.SetOrigin(GEOMETRY.origin_mm[:dims])
        image.SetDirection([v for row in TILTED[:dims] for v in row[:dims]])
        SimpleITK.WriteImage(image, str(tmp_path / "in.mha"))
        geometry = open_stack(tmp_path / "in.mha").info.geometry
        write(
            tmp_path / "out.mha",
            stack(shape=(*(3,)[: dims - 2], 5, 7)[-3:]).reshape(-1, 5, 7),
            geometry,
        )
        result = SimpleITK.ReadImage(str(tmp_path / "out.mha"))
        assert result.GetSize() == image.GetSize()
        assert result.GetSpacing() == image.GetSpacing()
        assert result.GetOrigin() == image.GetOrigin()
        assert result.GetDirection() == image.GetDirection()


def test_a_tiff_gives_a_geometry_too(tmp_path):
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(stack()), str(tmp_path / "a.tif"))
    assert open_stack(tmp_path / "a.tif").info.geometry.size_xyz == (7, 5, 3)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (stack()[:2], r"Expected 3 slices for .*a\.mha, got 2"),
        (stack(shape=(4, 5, 7)), r"got slice 4 of shape \(5, 7\), uint8"),
        (stack(shape=(3, 7, 5)), r"of shape \(5, 7\), uint8; got slice 1 of shape \(7, 5\)"),
        (stack(shape=(3, 5, 7, 3)), r"got slice 1 of shape \(5, 7, 3\)"),
    ],
)
def test_other_slices_than_the_geometry_says_leave_nothing(tmp_path, images, message):
    with pytest.raises(InputError, match=message):
        write(tmp_path / "a.mha", images)
    assert list(tmp_path.iterdir()) == []


def test_another_pixel_type_is_refused(tmp_path):
    with (
        pytest.raises(InputError, match=r"uint8; got slice 1 of shape \(5, 7\), int64"),
        MetaImageWriter(tmp_path / "a.mha", GEOMETRY) as writer,
    ):
        writer.write(stack(np.int64)[0])
    with pytest.raises(InputError, match=r"Expected pixels of uint8, .*got int64"):
        MetaImageWriter(tmp_path / "a.mha", GEOMETRY, dtype=np.int64)
    assert list(tmp_path.iterdir()) == []


def test_memory_does_not_grow_with_the_number_of_slices(tmp_path):
    program = """
        import resource, sys
        import numpy as np
        from medvial.metaimage_writer import ImageGeometry, MetaImageWriter

        count = int(sys.argv[2])
        image = np.random.default_rng(0).integers(0, 255, (1000, 500), dtype=np.uint8)
        with MetaImageWriter(sys.argv[1], ImageGeometry((500, 1000, count)), level=1) as writer:
            for _ in range(count):
                writer.write(image)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(tmp_path / "a.mha")]
    few, many = (
        int(subprocess.run([*command, n], capture_output=True, check=True).stdout)
        for n in ("4", "60")
    )
    assert many < few + 5_000  # KiB; the 56 slices more are 28 000


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    """A file size limit stands for the disk: the write fails in the same call."""
    program = """
        import resource, signal, sys
        from pathlib import Path
        import numpy as np
        from medvial.case_outputs import CaseOutputs
        from medvial.errors import InputError
        from medvial.metaimage_writer import ImageGeometry
        from medvial.sockets import Socket

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        mask = Socket("a-mask", "Image", "images/mask")
        number = Socket("a-number", "Float", "a.json")
        noise = np.random.default_rng(0).integers(0, 255, (1000, 500), dtype=np.uint8)
        try:
            with CaseOutputs(Path(sys.argv[1]), [mask, number]) as outputs:
                outputs.write_json("a-number", 1)
                with outputs.image("a-mask", ImageGeometry((500, 1000, 1)), np.uint8) as writer:
                    writer.write(noise)
                outputs.publish()
        except InputError as error:
            print(error)
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(tmp_path / "output")]
    result = subprocess.run(command, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
    assert "got: File too large. Check the folder's permissions and free space." in result.stdout
    assert list((tmp_path / "output").iterdir()) == []


def outputs(folder, *sockets):
    return CaseOutputs(folder / "output", sockets)


def tree(folder):
    found = (folder / "output").rglob("*")
    return sorted(p.relative_to(folder / "output").as_posix() for p in found if p.is_file())


@contextmanager
def refused(folder, message, *sockets):
    """The outputs of a case that must not appear."""
    with pytest.raises(InputError, match=message), outputs(folder, *sockets) as case:  # noqa: PT012
        yield case
        case.publish()
    assert tree(folder) == []


def fill(case, values=(0, 1, 2)):
    with case.image("a-mask", GEOMETRY, np.uint8) as writer:
        for value in values:
            writer.write(np.full((5, 7), value, np.uint8))


def test_all_outputs_appear_together(tmp_path):
    with outputs(tmp_path, MASK, NUMBER) as case:
        fill(case)
        case.write_json("a-number", np.float32(0.5))
        assert all(name.startswith(".staging/") for name in tree(tmp_path))
        case.publish()
    assert tree(tmp_path) == ["images/mask/output.mha", "numbers/a.json"]
    assert read_json(tmp_path / "output" / "numbers" / "a.json") == 0.5


def test_an_output_that_lacks_leaves_none(tmp_path):
    with outputs(tmp_path, MASK, NUMBER) as case:
        fill(case)
        with pytest.raises(RuntimeError, match=r"wrote no output for \['a-number'\]"):
            case.publish()
    assert tree(tmp_path) == []


def test_a_segment_that_is_not_declared_is_named(tmp_path):
    message = r"only the voxel values \[0, 1, 2\] in images/mask, got \[3, 200\] too"
    with refused(tmp_path, message, MASK) as case:
        fill(case, (3, 200, 0))


@pytest.mark.parametrize("suffix", [".mha", ".tif"])
def test_an_image_lies_where_its_input_does(tmp_path, suffix):
    image = SimpleITK.GetImageFromArray(stack())
    image.SetSpacing(GEOMETRY.spacing_mm)
    image.SetOrigin(GEOMETRY.origin_mm)
    image.SetDirection(sum(TILTED, ()))
    SimpleITK.WriteImage(image, str(tmp_path / f"in{suffix}"))
    read = SimpleITK.ReadImage(str(tmp_path / f"in{suffix}"))
    likes = {"a-mask": tmp_path}
    with CaseOutputs(tmp_path / "output", [MASK], likes) as case:
        mask = SimpleITK.Cast(read > 0, SimpleITK.sitkUInt8)
        SimpleITK.WriteImage(mask, str(case.file("a-mask")), True)
        case.publish()
    assert tree(tmp_path) == ["images/mask/output.mha"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size_xyz": (7, 5, 2)}, r"the size of the input a-film, \[7, 5, 3\], got \[7, 5, 2\]"),
        ({"spacing_mm": (0.3, 0.2501, 2.5)}, r"the spacing .* got \[0.3, 0.2501, 2.5\]\. Write it"),
        ({"origin_mm": (-12.5, 7.126, 1e-7)}, "the origin of the input a-film"),
        ({"direction": ImageGeometry((1, 1, 1)).direction}, "the direction of the input a-film"),
        ({"dimensions": 2, "size_xyz": (7, 5, 1)}, "the dimensions of the input a-film, 3, got 2"),
    ],
)
def test_an_image_that_lies_elsewhere_is_refused(tmp_path, change, message):
    write(tmp_path / "in.mha", stack(np.int16))
    mask = replace(MASK, like="a-film")
    other = replace(GEOMETRY, **change)
    with (  # noqa: PT012
        pytest.raises(InputError, match=f"Expected images/mask to have {message}"),
        CaseOutputs(tmp_path / "output", [mask], {"a-mask": tmp_path}) as case,
    ):
        write(case.file("a-mask"), stack(shape=(other.size_xyz[2], 5, 7)), other)
        case.publish()
    assert tree(tmp_path) == []


def test_a_segmentation_is_uint8(tmp_path):
    with refused(tmp_path, "Expected the Segmentation a-mask as uint8, got float32", MASK) as case:
        case.image("a-mask", GEOMETRY, np.float32)
    with refused(tmp_path, "as uint8, got int16: the", MASK) as case:
        write(case.file("a-mask"), stack(np.int16))
    with refused(tmp_path, "got uint8 of 3 channels: the platform", MASK) as case:
        write(case.file("a-mask"), stack(shape=(3, 5, 7, 3)), channels=3)


def test_one_image_a_socket(tmp_path):
    message = r"one image as .mha, .tif, .tiff in images/mask, got \['b.mha', 'output.mha'\]"
    with refused(tmp_path, message, MASK) as case:
        fill(case)
        write(case.file("a-mask").with_name("b.mha"), stack())
    for other in (".b.mha", "b.mhd"):
        with refused(tmp_path, rf"got \['{other}'\] beside output\.mha", MASK) as case:
            fill(case)
            write(case.file("a-mask").with_name("c.mha"), stack()).rename(
                case.file("a-mask").with_name(other)
            )
    with refused(tmp_path, r"got \['a.nii.gz'\]", MASK) as case:
        case.file("a-mask").with_name("a.nii.gz").write_bytes(b"x")


def test_a_heat_map_may_be_float(tmp_path):
    with outputs(tmp_path, HEAT) as case:
        write(case.file("a-map"), stack(np.float32) / np.float32(7))
        case.publish()
    assert tree(tmp_path) == ["images/map/output.mha"]


def test_a_damaged_image_is_refused(tmp_path):
    with refused(tmp_path, "the compressed data are damaged|cut off", HEAT) as case:
        path = write(case.file("a-map"), stack(np.float32))
        path.write_bytes(path.read_bytes()[:-20])


def zip_file(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", "b")


@pytest.mark.parametrize(
    ("kind", "suffix", "right", "wrong"),
    [
        ("MP4 file", ".mp4", b"\0\0\0\x20ftypisom....", b"RIFF....AVI "),
        ("MP4 file", ".mp4", b"\0\0\0\x20ftypmp42....", b"\0\0\0\x14ftypqt  ...."),
        ("Thumbnail png", ".png", b"\x89PNG\r\n\x1a\n....", b"\xff\xd8\xff"),
        ("Thumbnail jpg", ".jpeg", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n"),
        ("PDF file", ".pdf", b"%PDF-1.7\n", b"<html>"),
        ("ZIP file", ".zip", zip_file, b"\x1f\x8b"),
        ("CSV file", ".csv", b"a,b\n1,2\n", b""),
        ("SQREG file", ".sqreg", b"anything", b""),
        ("OBJ file", ".obj", b"v 0 0 1\n", b"\0\0\0"),
    ],
)
def test_files_are_what_their_kind_says(tmp_path, kind, suffix, right, wrong):
    socket = Socket("a-file", kind, f"files/a{suffix}")
    with outputs(tmp_path, socket) as case:
        path = case.file("a-file")
        if callable(right):
            right(path)
        else:
            path.write_bytes(right)
        case.publish()
    assert tree(tmp_path) == [f"files/a{suffix}"]
    (tmp_path / "output" / "files" / f"a{suffix}").unlink()
    with refused(tmp_path, f"to be a {kind}, got a file", socket) as case:
        case.file("a-file").write_bytes(wrong)


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", "{", "\ufeff1", '"a"'])
def test_json_written_as_a_file_is_checked_too(tmp_path, text):
    with refused(tmp_path, r"numbers/a\.json", NUMBER) as case:
        case.file("a-number").write_text(text, encoding="utf-8")


def test_wrong_slugs_and_kinds_are_programming_errors(tmp_path):
    with outputs(tmp_path, MASK, NUMBER) as case:
        with pytest.raises(
            ValueError, match=r"one of the outputs \['a-mask', 'a-number'\], got 'x'"
        ):
            case.write_json("x", 1)
        with pytest.raises(ValueError, match="a JSON output, a-mask is of kind Segmentation"):
            case.write_json("a-mask", 1)
        with pytest.raises(ValueError, match="an image output, a-number is of kind Float"):
            case.image("a-number", GEOMETRY, np.uint8)


def test_publishing_takes_back_what_it_moved_when_a_move_fails(tmp_path):
    (tmp_path / "output" / "numbers" / "a.json").mkdir(parents=True)  # a file cannot replace it
    with refused(tmp_path, "Expected to write", MASK, NUMBER) as case:
        fill(case)
        case.write_json("a-number", 1)


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path):
    (tmp_path / "output").mkdir()
    (tmp_path / "output" / "images").write_text("mine")
    with outputs(tmp_path, MASK) as case:
        fill(case)
        with pytest.raises(InputError, match=r"Expected to write \S*/images/\S+, got: "):
            case.publish()
    assert tree(tmp_path) == ["images"]


def test_what_an_earlier_case_left_is_removed_and_nothing_else(tmp_path):
    folder = tmp_path / "output"
    for name in ("images/mask/old.tif", "images/mask/notes.txt", "numbers/a.json", "mine.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    remove_outputs(folder, [MASK, NUMBER, HEAT])
    assert tree(tmp_path) == ["images/mask/notes.txt", "mine.json"]


def test_the_one_image_of_an_input(tmp_path):
    with pytest.raises(InputError, match=r"Expected one image .*got 'nothing'|got nothing"):
        only_image(tmp_path / "none")
    (tmp_path / "expected_output.json").write_text("{}")
    write(tmp_path / "a.mha", stack())
    assert only_image(tmp_path).name == "a.mha"
    write(tmp_path / "b.mha", stack())
    with pytest.raises(InputError, match=r"got \['a.mha', 'b.mha'\]"):
        only_image(tmp_path)


def test_an_image_is_described_by_its_geometry_and_voxels(tmp_path):
    images = np.zeros((3, 5, 7), np.uint8)
    images[1, :2, :3] = 1
    images[2] = 2
    described = describe_image(write(tmp_path / "a.mha", images))["image"]
    assert described == {
        "size": [7, 5, 3],
        "spacing_mm": [0.3, 0.25, 2.5],
        "origin_mm": [-12.5, 7.125, 1e-7],
        "direction": [0.8, -0.6, 0.0, 0.6, 0.8, 0.0, 0.0, 0.0, 1.0],
        "pixel_type": "uint8",
        "labels": {"0": 64, "1": 6, "2": 35},
        "centroids": {"1": [1.0, 0.5, 1.0], "2": [3.0, 2.0, 2.0]},
    }


def test_an_image_of_many_values_is_described_by_their_range(tmp_path):
    images = np.arange(105, dtype=np.float32).reshape(3, 5, 7) / 2
    described = describe_image(write(tmp_path / "a.mha", images))["image"]
    assert (described["minimum"], described["maximum"], described["mean"]) == (0, 52, 26)
    assert "labels" not in described
    indices = np.moveaxis(np.indices(images.shape), 0, -1).reshape(-1, 3)[:, ::-1]
    expected = np.average(indices, axis=0, weights=images.ravel() - images.min())
    np.testing.assert_allclose(described["centroid"], expected, atol=1e-3)
    same = describe_image(write(tmp_path / "c.mha", np.full_like(images, 0.5)))["image"]
    assert same["centroid"] is None
    grey = describe_image(
        write(tmp_path / "b.mha", np.arange(105, dtype=np.uint8).reshape(3, 5, 7))
    )
    assert (grey["image"]["mean"], "labels" in grey["image"]) == (52, False)
    assert (grey["image"]["minimum"], grey["image"]["maximum"]) == (0, 104)
    np.testing.assert_allclose(grey["image"]["centroid"], expected, atol=1e-3)


def test_image_outputs_compare_within_a_tolerance_of_voxels(tmp_path):
    images = stack(high=2)
    (tmp_path / "images").mkdir()
    write(tmp_path / "images" / "a.mha", images)
    expected = {"images/a.mha": describe_image(tmp_path / "images" / "a.mha")}
    images[0, 0, 0] ^= 1
    write(tmp_path / "images" / "a.mha", images)

    def worst(tolerance):
        tolerances = {"images/a.mha": Tolerances(1, by_key={"labels": tolerance})}
        (found,) = compare_folder(expected, tmp_path, tolerances).values()
        return found

    counts = ["image.labels.0", "image.labels.1"]
    assert [d.where for d in worst(1) if d.amount == 1] == counts
    assert all(d.tolerated for d in worst(1))
    assert [d.where for d in worst(0.9) if not d.tolerated] == counts
    write(tmp_path / "images" / "a.mha", stack(high=2), ImageGeometry((7, 5, 3)))
    assert "image.direction[0]" in [d.where for d in worst(1)]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_an_image_that_shows_the_same_elsewhere_is_another_one(tmp_path, dtype):
    images = np.zeros((3, 5, 7), dtype)
    images[0, 1:3, 4:6] = 1
    (tmp_path / "images").mkdir()
    write(tmp_path / "images" / "a.mha", images)
    expected = {"images/a.mha": describe_image(tmp_path / "images" / "a.mha")}
    for turned in (images[:, ::-1], images[:, :, ::-1], images[::-1]):
        write(tmp_path / "images" / "a.mha", np.ascontiguousarray(turned))
        (found,) = compare_folder(expected, tmp_path, {}).values()
        assert {d.where.split(".")[1].split("[")[0] for d in found} <= {"centroid", "centroids"}
        assert not any(d.tolerated for d in found)
        assert found


def test_other_files_compare_by_their_sum(tmp_path):
    (tmp_path / "a.csv").write_text("a,b\n")
    expected = {"a.csv": {"file": {"sha256": "0" * 64}}}
    (found,) = compare_folder(expected, tmp_path, {}).values()
    assert [d.where for d in found] == ["file.sha256"]
