"""OpenPose's files: every form that is read, and every way they can be bad."""

import io
import json
import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from keypoint_clips import clip, frame_json, frame_name, pose, write_folder, write_zip

from medvial.errors import InputError
from medvial.gait import frame_files
from medvial.gait.openpose import read_openpose
from medvial.gait.skeletons import BLAZEPOSE_33, BODY_25, BODY_25B, COCO_18, remap

REAL = Path(__file__).parent.parent.parent / "shared" / "data" / "openpose"


def walk_of(count):
    """(count, 1, 25, 3): one person, each frame told apart by its x."""
    points = clip(np.zeros(count))
    points[..., 0] += np.arange(count)[:, None]
    return points[:, None]


def test_folder(tmp_path):
    points = walk_of(12)
    people = read_openpose(write_folder(tmp_path / "a", points), fps=25)
    np.testing.assert_allclose(people.points, points)
    assert people.skeleton is BODY_25
    assert people.frames.tolist() == list(range(12))
    assert people.times_s == pytest.approx(np.arange(12) / 25)
    assert people.notes == ()


@pytest.mark.parametrize("folder", ["", "la_1Json/", "a/b/"])
def test_zip(tmp_path, folder):
    points = walk_of(11)  # 10 comes after 9
    people = read_openpose(write_zip(tmp_path / "a.zip", points, folder), fps=30)
    np.testing.assert_allclose(people.points, points)


@pytest.mark.parametrize("skeleton", [BODY_25, BODY_25B, COCO_18, BLAZEPOSE_33])
def test_order_is_found(tmp_path, skeleton):
    points = remap(walk_of(3), BODY_25, skeleton)
    people = read_openpose(write_folder(tmp_path / "a", points), fps=30)
    assert people.skeleton is skeleton
    np.testing.assert_allclose(people.points, points)


@pytest.mark.parametrize("yaw", np.linspace(-1.2, 1.2, 7))
@pytest.mark.parametrize("skeleton", [BODY_25, BODY_25B])
def test_order_is_found_from_any_side_and_with_half_of_the_joints(tmp_path, skeleton, yaw):
    rng = np.random.default_rng(3)
    points = walk_of(4)
    points[..., 0] = 270 + (points[..., 0] - 270) * np.cos(yaw)
    points[..., :2] += rng.normal(0, 2, points[..., :2].shape)
    points = remap(points, BODY_25, skeleton)
    points[rng.random(points.shape[:3]) < 0.5] = np.nan, np.nan, 0
    assert read_openpose(write_folder(tmp_path / "a", points), fps=30).skeleton is skeleton


def test_order_named(tmp_path):
    folder = write_folder(tmp_path / "a", walk_of(3))
    assert read_openpose(folder, order="body_25b", fps=30).skeleton is BODY_25B
    with pytest.raises(InputError, match=r"people with 18 joints \(COCO-18\), got 25 in clip_0"):
        read_openpose(folder, order="COCO-18")
    with pytest.raises(InputError, match="one of the skeletons"):
        read_openpose(folder, order="mine")


def test_order_that_cannot_be_told_is_noted(tmp_path):
    points = np.full((2, 1, 25, 3), (np.nan, np.nan, 0.0))
    points[..., 10, :] = 100, 200, 0.9
    people = read_openpose(write_folder(tmp_path / "a", points), fps=30)
    assert people.skeleton is BODY_25
    assert any("too few joints to tell" in note for note in people.notes)


def test_several_people_and_nobody(tmp_path):
    one, two = pose(), pose()
    two[:, 0] += 200
    frames = [[one], [], [two, one], [one]]
    people = read_openpose(write_folder(tmp_path / "a", frames), fps=30)
    assert people.points.shape == (4, 2, 25, 3)
    assert people.counts.tolist() == [1, 0, 2, 1]
    assert np.isnan(people.points[1, ..., :2]).all()


def test_missing_joints_are_nan(tmp_path):
    person = pose()
    person[10] = np.nan, np.nan, 0
    got = read_openpose(write_folder(tmp_path / "a", [[person]]), fps=30).points
    assert np.isnan(got[0, 0, 10, :2]).all()
    assert got[0, 0, 10, 2] == 0
    assert np.isfinite(np.delete(got[0, 0], 10, axis=0)).all()


def test_gaps_between_frames_keep_the_time(tmp_path):
    numbers = [100, 101, 105, 106]
    folder = write_folder(tmp_path / "a", walk_of(4), numbers)
    people = read_openpose(folder, fps=10)
    assert people.times_s == pytest.approx([0, 0.1, 0.5, 0.6])
    assert people.notes == ("frames missing between the first and the last: 3",)


def test_old_key_hands_without_a_body_and_clutter(tmp_path):
    folder = write_folder(tmp_path / "a", walk_of(3), key="pose_keypoints")
    hand = {"people": [{"pose_keypoints_2d": [], "hand_left_keypoints_2d": [1, 2, 0.5]}]}
    (folder / frame_name(3)).write_text(json.dumps(hand))
    (folder / "._clip_000000000001_keypoints.json").write_text("mac")
    (folder / "labels.csv").write_text("no frame")
    people = read_openpose(folder, fps=30)
    assert people.counts.tolist() == [1, 1, 1, 0]
    assert people.notes == ("files that are no frames, left out: 1",)


def test_frame_rate_that_is_not_known_is_noted(tmp_path):
    folder = write_folder(tmp_path / "a", walk_of(2))
    people = read_openpose(folder)
    assert people.fps == 30
    assert people.notes == ("the frame rate is not known, 30 per second was taken",)
    with pytest.raises(InputError, match="frame rate above 0"):
        read_openpose(folder, fps=0)


def test_a_crowd_is_cut_to_the_surest(tmp_path):
    crowd = np.tile(pose(), (25, 1, 1))
    crowd[:, :, 2] = np.linspace(0.1, 0.9, 25)[:, None]
    people = read_openpose(write_folder(tmp_path / "a", [crowd]), fps=30)
    assert people.points.shape[1] == 20
    assert people.points[0, :, 0, 2].min() > 0.2
    assert any("up to 25 people" in note for note in people.notes)


BAD_FRAMES = [
    (b"", "not JSON, or cut off"),
    (frame_json([pose()])[:200].encode(), "not JSON, or cut off"),
    (b"\xff\xfe\x00", "not text in UTF-8"),
    (b"[1, 2]", "no list of 'people'"),
    (b'{"people": {}}', "no list of 'people'"),
    (b'{"people": [3]}', "a person that is no object"),
    (b'{"people": [{"pose_keypoints_2d": "x"}]}', "no list of x, y, confidence"),
    (b'{"people": [{"pose_keypoints_2d": [1, 2]}]}', "no list of x, y, confidence"),
    (b'{"people": [{"pose_keypoints_2d": [1, NaN, 1]}]}', "NaN where a number is expected"),
    (b'{"people": [{"pose_keypoints_2d": [-Infinity, 1, 1]}]}', "-Infinity where a number"),
    (b'{"people": [{"pose_keypoints_2d": [1e999, 1, 1]}]}', "beyond 100000 pixels"),
    (b'{"people": [{"pose_keypoints_2d": ["7", 1, 1]}]}', '"7" where a number is expected'),
    (b'{"people": [{"pose_keypoints_2d": [true, 1, 1]}]}', "true where a number is expected"),
    (b'{"people": [{"pose_keypoints_2d": [null, 1, 1]}]}', "null where a number is expected"),
    (b'{"people": [{"pose_keypoints_2d": [1, 1, 1]}]}', "1 joints, not 25"),
    (b"[" * 100_000, "nested too deeply"),
    (b"9" * 5000, "not JSON, or cut off|digits"),
]


@pytest.mark.parametrize(("data", "reason"), BAD_FRAMES)
def test_one_bad_frame_is_noted_and_counts_as_empty(tmp_path, data, reason):
    folder = write_folder(tmp_path / "a", walk_of(8))
    (folder / frame_name(3)).write_bytes(data)
    people = read_openpose(folder, fps=30)
    assert people.counts.tolist() == [1, 1, 1, 0, 1, 1, 1, 1]
    with pytest.raises(AssertionError, match=f"1 of 8 frames .* is {frame_name(3)}: .*({reason})"):
        raise AssertionError(*people.notes)


@pytest.mark.parametrize(("data", "reason"), BAD_FRAMES)
def test_many_bad_frames_are_an_error(tmp_path, data, reason):
    folder = write_folder(tmp_path / "a", walk_of(8))
    for number in (2, 5):
        (folder / frame_name(number)).write_bytes(data)
    pattern = f"at least 80% of the files, 2 of 8 .* is {frame_name(2)}: .*({reason})"
    with pytest.raises(InputError, match=pattern):
        read_openpose(folder)


def test_unknown_number_of_joints(tmp_path):
    folder = write_folder(tmp_path / "a", np.ones((4, 1, 15, 3)) * 100)
    with pytest.raises(InputError, match=r"18 or 25 or 33 joints .*got 15 in clip_0.*BODY_25"):
        read_openpose(folder)


def test_coordinates_that_are_no_pixels(tmp_path):
    points = walk_of(4) / [540 / 0.5, 960, 1]
    with pytest.raises(InputError, match=r"in pixels, got none above 2.*--keypoint_scale"):
        read_openpose(write_folder(tmp_path / "a", points))


def test_nobody_at_all(tmp_path):
    with pytest.raises(InputError, match="found nobody in 3 frames"):
        read_openpose(write_folder(tmp_path / "a", [[], [], []]))


def test_no_frames(tmp_path):
    (tmp_path / "labels.json").write_text("{}")
    with pytest.raises(InputError, match=r"files like clip_.*none among 1 files"):
        read_openpose(tmp_path)
    with pytest.raises(InputError, match="found nothing"):
        read_openpose(tmp_path / "nowhere")
    with pytest.raises(InputError, match="found a file that is neither"):
        read_openpose(tmp_path / "labels.json")


def test_two_clips(tmp_path):
    write_folder(tmp_path / "left", walk_of(3))
    write_folder(tmp_path / "right", walk_of(3))
    with pytest.raises(InputError, match="one clip, found those of 2: left/clip_, right/clip_"):
        read_openpose(tmp_path)


def test_two_files_of_one_frame(tmp_path):
    folder = write_folder(tmp_path / "a", walk_of(3))
    (folder / "clip_1_keypoints.json").write_text(frame_json([pose()]))
    with pytest.raises(InputError, match="one file a frame, got clip_"):
        read_openpose(folder)


def test_frame_numbers_of_another_world(tmp_path):
    folder = write_folder(tmp_path / "a", walk_of(2), [0, 10**11])
    with pytest.raises(InputError, match="numbers of one clip, got 0 to 100000000000"):
        read_openpose(folder)


def test_too_many_files_in_a_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(frame_files, "MAX_FILES", 5)
    with pytest.raises(InputError, match="at most 5 files, got more than 5"):
        read_openpose(write_folder(tmp_path / "a", walk_of(6)))


def test_too_large_a_frame(tmp_path):
    folder = write_folder(tmp_path / "a", walk_of(2))
    (folder / frame_name(1)).write_bytes(b" " * (2**20 + 1))
    with pytest.raises(InputError, match="at most 1024 kB a frame"):
        read_openpose(folder)


def test_folders_too_deep_and_links_in_circles(tmp_path):
    folder = write_folder(tmp_path / "a", walk_of(2))
    (folder / "again").symlink_to(folder, target_is_directory=True)
    assert len(read_openpose(folder).frames) == 2
    (folder / "1/2/3/4/5/6").mkdir(parents=True)
    with pytest.raises(InputError, match="folders at most 5 deep"):
        read_openpose(folder)


def make_zip(path, entries, **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return path


FRAME = (frame_name(0), frame_json([pose()]))


def link(name):
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, 0o120777 << 16
    return info


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (("../evil_0.json", "{}"), "names inside of the archive, found '../evil_0.json'"),
        (("a/../../evil_0.json", "{}"), "names inside of the archive"),
        (("/etc/evil_0.json", "{}"), "names inside of the archive"),
        ((r"..\evil_0.json", "{}"), "names inside of the archive"),
        (("C:/evil_0.json", "{}"), "names inside of the archive"),
        ((link("clip_1.json"), "/etc/passwd"), "expected files, 'clip_1.json' is a link"),
        (("more.zip", "PK"), "'more.zip' is an archive in the archive"),
        (("more.tar.gz", ""), "archive in the archive"),
        (("a/" * 7 + "x_1.json", "{}"), "folders at most 5 deep"),
        ((frame_name(1), b" " * 2**19), "would unpack to more than 250 times its size"),
        ((frame_name(1), b" " * (2**20 + 1)), "at most 1024 kB a frame"),
        (("video.mp4", b"\0" * 2**21), "would unpack to more than 250 times its size"),
    ],
)
def test_zip_with_an_evil_member(tmp_path, entry, message):
    path = make_zip(tmp_path / "a.zip", [FRAME, entry], compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match=message):
        read_openpose(path)


def test_zip_with_too_many_files(tmp_path):
    path = make_zip(tmp_path / "a.zip", ((f"{i}.json", "") for i in range(20_001)))
    with pytest.raises(InputError, match="at most 20000 files, got 20001"):
        read_openpose(path)


def test_zip_that_lies_about_its_number_of_files(tmp_path):
    path = make_zip(tmp_path / "a.zip", ((f"{i}.json", "") for i in range(20_001)))
    data = bytearray(path.read_bytes())
    data[-14:-10] = struct.pack("<HH", 1, 1)
    path.write_bytes(data)
    with pytest.raises(InputError, match="at most 20000 files, got 20001"):
        read_openpose(path)


def test_zip64_as_with_a_million_files_is_refused_unread(tmp_path, monkeypatch):
    data = make_zip(tmp_path / "a.zip", [FRAME]).read_bytes()
    (tmp_path / "a.zip").write_bytes(data[:-22] + b"PK\6\7" + bytes(16) + data[-22:])
    monkeypatch.setattr(zipfile, "ZipFile", None)  # its directory is not read
    monkeypatch.setattr(zipfile, "is_zipfile", lambda _: True)
    with pytest.raises(InputError, match=r"at most 20000 files, got one .*ZIP64"):
        read_openpose(tmp_path / "a.zip")


def test_zip_with_the_same_name_twice(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate"):
        path = make_zip(tmp_path / "a.zip", [FRAME, FRAME])
    with pytest.raises(InputError, match=r"each file once, found 'clip_0.* 2 times"):
        read_openpose(path)


def test_zip_larger_than_the_limit_when_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(frame_files, "MAX_TOTAL_BYTES", 2**21)
    noise = os.urandom(2**19)
    path = make_zip(tmp_path / "a.zip", [(f"a_{i}.json", noise) for i in range(4)])
    with pytest.raises(InputError, match="an archive of at most 2 MB"):
        read_openpose(path)
    words = os.urandom(2**13).hex() * 30
    entries = [(f"a_{i}.json", words) for i in range(8)]
    path = make_zip(tmp_path / "b.zip", entries, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match="at most 2 MB when unpacked, it says 3 MB"):
        read_openpose(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_zip_packed_in_an_unusual_way(tmp_path, method):
    path = make_zip(tmp_path / "a.zip", [FRAME], compression=method)
    with pytest.raises(InputError, match="packed in an unusual way"):
        read_openpose(path)


def test_encrypted_zip(tmp_path):
    path = make_zip(tmp_path / "a.zip", [FRAME])
    data = path.read_bytes()
    at = data.index(b"PK\1\2") + 8
    path.write_bytes(data[:at] + b"\1" + data[at + 1 :])
    with pytest.raises(InputError, match="is encrypted"):
        read_openpose(path)


def test_damaged_zip(tmp_path):
    path = write_zip(tmp_path / "a.zip", walk_of(10))
    data = bytearray(path.read_bytes())
    first = data.index(b"PK\3\4", 10)
    data[first - 40 : first - 10] = b"\0" * 30  # of one member: its checksum fails
    path.write_bytes(data)
    people = read_openpose(path)
    assert people.counts.sum() == 9
    assert any("1 of 10 frames cannot be read" in note for note in people.notes)
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"a file that is neither|damaged"):
        read_openpose(path)
    data[data.index(b"PK\1\2") + 2] = 9
    path.write_bytes(data.replace(b"PK\1\2", b"PK\1\7"))
    with pytest.raises(InputError, match="ZIP archive is damaged"):
        read_openpose(path)


def test_empty_zip(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(buffer := io.BytesIO(), "w"):
        pass
    path.write_bytes(buffer.getvalue())
    with pytest.raises(InputError, match="none among 0 files"):
        read_openpose(path)


@pytest.mark.data
@pytest.mark.parametrize(("camera", "most", "joints"), [("cam1", 3, 5025), ("cam3", 1, 2500)])
def test_real_output_is_read_whole(camera, most, joints):
    folder = REAL / f"{camera}_json"
    if not folder.is_dir():
        pytest.skip("needs the keypoints in ../shared/data/openpose")
    people = read_openpose(folder, fps=60)
    assert people.notes == ()
    assert people.skeleton is BODY_25B
    assert people.frames.tolist() == list(range(100))
    assert people.points.shape == (100, most, 25, 3)
    assert people.counts.min() >= 1
    raw = [
        person["pose_keypoints_2d"]
        for path in sorted(folder.iterdir())
        for person in json.loads(path.read_text())["people"]
    ]
    values = np.reshape(raw, (-1, 3))
    assert len(values) == joints
    seen = people.points[people.points[..., 2] > 0]
    assert len(seen) == (values[:, 2] > 0).sum()
    assert seen.sum() == pytest.approx(values.sum())
