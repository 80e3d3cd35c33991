"""The rehearsal without an engine: limits, staged cases, broken inputs, verdicts."""

import json
import shutil

import numpy as np
import pytest
import SimpleITK

from medvial.errors import InputError
from medvial.sockets import Interface, Socket
from medvial_rehearsal.container import broken_inputs, broken_videos, staging
from medvial_rehearsal.container.context import Run
from medvial_rehearsal.container.engine import GIB, Limits, has_gpu, need_engine
from medvial_rehearsal.container.failure_gates import clean_failure
from medvial_rehearsal.container.outputs import differences, problems
from medvial_rehearsal.container.plan import CASE, SERVER, choose
from medvial_rehearsal.container.server import _listening
from medvial_rehearsal.gates import GateFailure
from medvial_rehearsal.rehearse import rehearse

SCAN = Socket("scan", "Image", "images/scan")
NOTE = Socket("note", "Anything", "note.json")
SHARE = Socket("share", "Float", "share.json")
MASK = Socket("mask", "Segmentation", "images/mask")
INTERFACE = Interface((SCAN, NOTE), (SHARE, MASK))


@pytest.fixture
def case(tmp_path):
    """A case as it lies in an algorithm's test folder."""
    folder = tmp_path / "original"
    (folder / "images" / "scan").mkdir(parents=True)
    pixels = np.arange(2 * 4 * 6 * 3, dtype=np.uint8).reshape(2, 4, 6, 3)  # (z, y, x, C)
    image = SimpleITK.GetImageFromArray(pixels, isVector=True)
    image.SetSpacing((0.5, 0.25, 2.0))
    SimpleITK.WriteImage(image, str(folder / "images" / "scan" / "film.mha"))
    (folder / "note.json").write_text('"seen"')
    return folder


@pytest.fixture
def staged(case, tmp_path):
    return staging.stage_case(case, tmp_path / "staged", INTERFACE)


def scan_of(folder):
    (file,) = (folder / "images" / "scan").iterdir()
    return file


def test_all_limits_are_given_at_once():
    arguments = " ".join(Limits(memory_bytes=4 * GIB).arguments())
    for text in (
        "--network none --tmpfs /tmp",
        "--cap-drop ALL --security-opt no-new-privileges --pids-limit 256",
        f"--memory {4 << 30} --memory-swap {4 << 30} --shm-size {64 << 20}",
        f"--ulimit data={3 << 30} --read-only",
    ):
        assert text in arguments
    assert "--gpus" not in arguments
    assert Limits(gpu=True).arguments()[-2:] == ["--gpus", "all"]


@pytest.mark.parametrize(
    ("runtimes", "driver", "expected"),
    [("nvidia", 0, True), ("nvidia", 1, False), ("nvidia", None, False), ("runc", 0, False)],
)
def test_a_gpu_is_asked_for_only_where_engine_and_host_have_one(
    tmp_path, monkeypatch, runtimes, driver, expected
):
    scripts = {"docker": f"#!/bin/sh\necho '{{\"{runtimes}\": {{}}}}'\n"}
    if driver is not None:
        scripts["nvidia-smi"] = f"#!/bin/sh\nexit {driver}\n"
    for name, text in scripts.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert has_gpu() == expected


def test_no_engine_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="found no docker command: install Docker"):
        need_engine()


def test_a_staged_case_has_random_names_and_leaves_the_original_alone(case, staged):
    before = staging.fingerprint(case)
    file = scan_of(staged)
    assert len(file.stem) == 36
    assert file.suffix == ".mha"
    broken_inputs.cut_half(file)
    assert staging.fingerprint(case) == before


@pytest.mark.parametrize(
    ("generation", "keys"),
    [
        (staging.Generation.INTERFACE, {"interface"}),
        (staging.Generation.BOTH, {"interface", "socket"}),
        (staging.Generation.SOCKET, {"socket"}),
    ],
)
def test_inputs_json_of_every_generation(case, tmp_path, generation, keys):
    folder = staging.stage_case(case, tmp_path / "staged", INTERFACE, generation)
    scan, note = json.loads((folder / "inputs.json").read_text())
    assert set(scan) & {"interface", "socket"} == keys
    for key in keys:
        assert scan[key]["slug"] == "scan"
        assert note[key]["relative_path"] == "note.json"
    assert scan["image"]["name"] == scan_of(folder).name
    assert note["image"] is None
    assert ("kind" in scan[min(keys)]) == (generation is not staging.Generation.SOCKET)


def test_a_case_may_have_no_inputs_json(case, tmp_path):
    staging.stage_case(case, tmp_path / "staged", INTERFACE, staging.Generation.NONE)
    assert not (tmp_path / "staged" / "inputs.json").exists()


@pytest.mark.parametrize(
    ("change", "shape", "dtype"),
    [
        (broken_inputs.black, (2, 4, 6, 3), np.uint8),
        (broken_inputs.sixteen_bit, (2, 4, 6, 3), np.uint16),
        (broken_inputs.rgba, (2, 4, 6, 4), np.uint8),
        (broken_inputs.four_dimensions, (2, 2, 4, 6, 3), np.uint8),
        (broken_inputs.mirrored(0), (2, 4, 6, 3), np.uint8),
        (broken_inputs.mirrored(1), (2, 4, 6, 3), np.uint8),
    ],
)
def test_changed_images_are_what_they_are_called(staged, change, shape, dtype):
    old = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(scan_of(staged))))
    change(scan_of(staged))
    image = SimpleITK.ReadImage(str(scan_of(staged)))
    new = SimpleITK.GetArrayFromImage(image)
    assert (new.shape, new.dtype) == (shape, dtype)
    assert image.GetSpacing()[:3] == (0.5, 0.25, 2.0)
    expected = {
        (2, 4, 6, 4): lambda: (new[..., :3] == old).all() and (new[..., 3] == 255).all(),
        (2, 2, 4, 6, 3): lambda: (new == old).all(),
    }
    flips = [old * 0, old.astype(np.uint16) * 257, old[:, :, ::-1], old[:, ::-1]]
    check = expected.get(shape, lambda: any(np.array_equal(new, flip) for flip in flips))
    assert check()


def test_a_model_is_damaged_where_its_program_looks(tmp_path):
    for name, size in ((".DS_Store", 9), ("fold_0/w.bin", 4), ("manifest.json", 2)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(bytes(size))
    broken_inputs.truncate_largest(tmp_path)
    assert (tmp_path / "fold_0" / "w.bin").stat().st_size == 2


def test_inputs_are_broken_where_it_is_asked(staged):
    broken_inputs.each(INTERFACE, (staging.is_image, broken_inputs.double))(staged)
    assert len(staging.images_in(staged / "images" / "scan")) == 2
    broken_inputs.each(INTERFACE, (broken_inputs.is_any, broken_inputs.empty))(staged)
    sizes = {p.name: p.stat().st_size for p in staged.rglob("*") if p.is_file()}
    assert {n for n, size in sizes.items() if size} == {"inputs.json"}
    broken_inputs.unknown_sockets(staged)
    assert '"scan"' not in (staged / "inputs.json").read_text().replace('"title": "Scan"', "")
    broken_inputs.nothing(staged)
    assert not list(staged.iterdir())


@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
def test_broken_videos(tmp_path, suffix):
    av = pytest.importorskip("av")

    def frames(path):
        with av.open(str(path)) as video:
            return [frame.to_ndarray(format="gray") for frame in video.decode(video=0)]

    file = tmp_path / f"cine{suffix}"
    file.write_bytes(b"x")
    broken_videos.black_video(file)
    assert len(frames(file)) == 50
    assert frames(file)[0].shape == (64, 96)
    broken_videos.mirrored_video(file)
    assert len(frames(file)) == 50
    broken_videos.unknown_codec(file)
    with pytest.raises((av.error.FFmpegError, ValueError, LookupError, RuntimeError)):
        frames(file)
    broken_videos.one_frame(file)
    assert len(frames(file)) == 1
    broken_videos.no_frames(file)
    try:
        count = len(frames(file))
    except (av.error.FFmpegError, IndexError):
        count = 0
    assert count == 0


@pytest.fixture
def run(tmp_path):
    """A run that ended as told."""

    def ended(code, stderr="", files=(), **fields):
        (tmp_path / "output").mkdir()
        (tmp_path / "stderr.txt").write_text(stderr)
        for name in files:
            (tmp_path / "output" / name).touch()
        return Run("run", tmp_path, code, 1.0, **fields)

    return ended


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0,), "exit code 0 and no output: a failure was swallowed"),
        ((0, "", ["a.json"]), "exit code 0 with a.json"),
        ((1,), "exit code 1 without a word"),
        ((1, 'Traceback\n  File "x.py", line 1\n'), "the last line says no reason"),
        ((1, "InputError: no", ["a.json.part"]), "left a.json.part in /output"),
    ],
)
def test_a_failure_has_to_be_clean(run, arguments, message):
    with pytest.raises(GateFailure, match=message):
        clean_failure(run(*arguments))


def test_a_clean_failure_passes(run):
    assert clean_failure(run(1, "noise\nInputError: no film\n\n")) == "InputError: no film"


def test_a_failure_that_takes_too_long_is_none(run):
    with pytest.raises(GateFailure, match="still running at the time limit"):
        clean_failure(run(137, timed_out=True))


def write_outputs(folder, share="0.5", spacing=(1.0, 2.0, 3.0), value=1):
    (folder / "images" / "mask").mkdir(parents=True)
    (folder / "share.json").write_text(share)
    image = SimpleITK.GetImageFromArray(np.full((2, 4, 6), value, np.uint8))
    image.SetSpacing(spacing)
    SimpleITK.WriteImage(image, str(folder / "images" / "mask" / "a.mha"))
    return folder


def test_outputs_are_compared_by_socket(tmp_path):
    first = write_outputs(tmp_path / "first")
    assert problems(INTERFACE, first) == []
    renamed = write_outputs(tmp_path / "renamed", share="0.50")
    (renamed / "images" / "mask" / "a.mha").rename(renamed / "images" / "mask" / "b.mha")
    assert differences(INTERFACE, first, renamed, {}) == []
    (moved,) = differences(INTERFACE, first, write_outputs(tmp_path / "2", share="2.5"), {})
    assert "share.json" in moved
    (other,) = differences(INTERFACE, first, write_outputs(tmp_path / "3", value=2), {})
    assert other == "images/mask: 48 pixels differ"
    (spacing,) = differences(INTERFACE, first, write_outputs(tmp_path / "4", spacing=(1, 2, 4)), {})
    assert "spacing [1.0, 2.0, 4.0] instead of [1.0, 2.0, 3.0]" in spacing


def test_a_byte_order_mark_is_a_problem(tmp_path):
    folder = write_outputs(tmp_path / "out")
    (folder / "share.json").write_bytes(b"\xef\xbb\xbf0.5")
    assert "BOM" in " ".join(problems(INTERFACE, folder))


def test_listening_addresses_are_read_from_proc():
    table = (
        "sl local_address rem_address st\n"
        "0: 0100007F:1F90 00000000:0000 0A x\n"
        "1: 00000000:1287 00000000:0000 0A x\n"
        "2: 0100007F:1287 0100007F:D431 01 x\n"
        "0: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A x\n"
    )
    assert _listening(table) == {8080: "127.0.0.1", 4743: "0.0.0.0", 80: "::"}


def test_the_quick_form_is_a_part_of_the_whole():
    whole, quick = (choose(quick=q, server=False, only=()) for q in (False, True))
    assert [len(checks) for checks in whole] == [len(CASE), len(SERVER)]
    assert set(quick[0]) < set(whole[0])
    assert not quick[1]
    assert choose(quick=True, server=True, only=())[1]
    assert choose(quick=True, server=False, only=["f6"]) == ([], [SERVER["F6"]])


def test_an_unknown_gate_is_told():
    with pytest.raises(InputError, match=r"Expected gates of C1, .*; got Z9"):
        rehearse("cldetection", only=("C1,Z9",))


def test_numbers_out_of_range_are_told():
    for options in ({"memory": 1.0}, {"time_limit": 0}):
        with pytest.raises(InputError, match=r"Expected --memory of at least 1\.5"):
            rehearse("cldetection", **options)


@pytest.mark.skipif(shutil.which("docker") is None, reason="no docker command")
@pytest.mark.docker
def test_a_missing_image_is_told_with_how_to_build_it():
    with pytest.raises(
        InputError, match=r"medvial-cldetection:gpu-invoke, found none.*--gpu --inv"
    ):
        rehearse("cldetection", gpu=True, invoke=True)
