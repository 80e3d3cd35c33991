"""Videos of any kind: the forms in which they come, and how they are split."""

import csv
import json
import logging

import cv2
import numpy as np
import pytest

from medvial.errors import InputError
from medvial.outputs import read_json
from medvial.video_classification import ClipConfig
from medvial_training.phantoms.gait_files import write_video
from medvial_training.phantoms.video import CLASSES, make_video, write_videos
from medvial_training.split_dealing import Fractions
from medvial_training.splits import SPLITS
from medvial_training.tasks.video.annotations import read_annotations
from medvial_training.tasks.video.datasplit import Sample, make_datasplit
from medvial_training.tasks.video.listing import frame_files
from medvial_training.tasks.video.prepare import prepare
from medvial_training.tasks.video.reading import ReadVideo, store_source
from medvial_training.tasks.video.sources import open_source
from medvial_training.tasks.video.videos import Prepared

SMALL = ClipConfig(resize=32, crop=24, clip_s=0, clip_frames=4, clips=1, fps=0)
TENTH = Fractions(0.1, 0.1)


def frames_folder(folder, count=5, grey=0, size=(24, 40)):
    """Frames whose grey value is their number, named without leading zeros."""
    folder.mkdir(parents=True)
    for number in range(count):
        picture = np.full((*size, 3), grey + 10 * number, np.uint8)
        cv2.imwrite(str(folder / f"frame{number}.png"), picture)


def film(path, frames=6, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, make_video("falls", seed, frames), 10, (96, 128))


def table(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(",".join(row) for row in rows) + "\n")
    return path


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def some_frames(root, names):
    for place, name in enumerate(names):
        frames_folder(root / "images" / name, grey=7 * place)


def test_frames_are_in_the_order_of_their_numbers(tmp_path):
    frames_folder(tmp_path / "a", count=12)
    assert [p.name for p in frame_files(tmp_path / "a")][1:4] == [
        "frame1.png",
        "frame2.png",
        "frame3.png",
    ]
    assert frame_files(tmp_path / "a")[-1].name == "frame11.png"


def test_ground_truth_table_of_frame_folders(tmp_path):
    some_frames(tmp_path, "abc")
    path = table(
        tmp_path / "groundtruth.csv",
        ("youtube_id", "folder_name", "label"),
        ("Y1", "a", "runs"),
        ("Y1", "b", "sits"),
        ("Y2", "c", "runs"),
        ("Y3", "lost", "sits"),
    )
    raw = open_source(tmp_path, None, None)
    assert [(v.name, v.label, v.group) for v in raw.videos] == [
        ("a", "runs", "Y1"),
        ("b", "sits", "Y1"),
        ("c", "runs", "Y2"),
    ]
    assert raw.labels == ("runs", "sits")
    assert [name for name, _ in raw.rejected] == ["lost"]
    assert open_source(path, tmp_path / "images", None).videos == raw.videos


def test_manifest_with_patients_and_splits(tmp_path):
    film(tmp_path / "films" / "x.mp4")
    film(tmp_path / "films" / "y.mp4")
    table(
        tmp_path / "list.csv",
        ("video", "label", "patient", "split"),
        ("films/x.mp4", "ill", "P1", "train"),
        ("films/y", "well", "P2", "val"),
    )
    first, second = open_source(tmp_path, None, None).videos
    assert (first.patient, first.split, second.patient) == ("P1", "train", "P2")
    assert second.path.name == "y.mp4"


@pytest.mark.parametrize(
    "name", ["Patient", "patient_id", "PatientID", "Subject_ID", "Patient ID", "PID"]
)
def test_patients_by_other_names_of_their_column(tmp_path, name):
    some_frames(tmp_path, "ab")
    table(tmp_path / "l.csv", ("Video", "Label", name), ("a", "ill", "P1"), ("b", "well", "P1"))
    assert {video.patient for video in open_source(tmp_path, None, None).videos} == {"P1"}


def test_a_name_that_no_file_can_have_is_rejected(tmp_path):
    some_frames(tmp_path, "a")
    table(tmp_path / "l.csv", ("Video", "Label"), ("a", "ill"), ("x" * 300, "well"))
    (rejected,) = open_source(tmp_path, None, None).rejected
    assert "no such file" in rejected[1]


def test_a_table_without_patients_is_warned_of(tmp_path, caplog):
    some_frames(tmp_path, "ab")
    table(tmp_path / "l.csv", ("Video", "Label", "Who"), ("a", "ill", "P1"), ("b", "well", "P1"))
    assert {video.patient for video in open_source(tmp_path, None, None).videos} == {"a", "b"}
    assert "every video counts as its own patient" in caplog.text
    caplog.clear()
    open_source(tmp_path, None, "[ab]")
    assert "counts as its own patient" not in caplog.text


@pytest.mark.parametrize("by_split", [False, True])
def test_folders_by_class(tmp_path, by_split):
    for place, label in enumerate(("sits", "runs")):
        for split in ("train", "val") if by_split else ("",):
            film(tmp_path / split / label / f"v{place}.mp4")
            frames_folder(tmp_path / split / label / "frames.of.one")
    videos = open_source(tmp_path, None, None).videos
    assert {v.label for v in videos} == {"sits", "runs"}
    assert {v.split for v in videos} == ({"train", "val"} if by_split else {""})
    name = ("train/" if by_split else "") + "runs/frames.of.one"
    assert name in [v.name for v in videos]


def test_annotations_with_segments(tmp_path):
    some_frames(tmp_path, "ab")
    content = {
        "categories": {"sits": 1, "runs": 0},
        "train": [{"video": "a", "segment": [0, 1], "target": 1}],
        "val": [{"video": "a", "segment": [2, 4], "target": 1}],
        "test": [{"video": "b", "target": 0}],
    }
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    raw = open_source(tmp_path, None, None)
    assert raw.labels == ("runs", "sits")
    assert [(v.name, v.group, v.split, v.segment) for v in raw.videos] == [
        ("a", "a", "train", (0, 1)),
        ("a#2-4", "a", "valid", (2, 4)),
        ("b", "b", "test", None),
    ]
    frames = ReadVideo(raw.videos[1], 24, 10.0)()
    assert frames.frames[:, 0, 0, 0].tolist() == [20, 30, 40]
    assert frames.times_s.tolist() == pytest.approx([0, 0.1, 0.2])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"train": []}, "categories"),
        ({"categories": {"a": 1, "b": 2}}, "numbered from 0"),
        ({"categories": {"a": [0], "b": 1}}, "numbered from 0"),
        ({"categories": {"a": "0", "b": 1}}, "numbered from 0"),
        ({"categories": {"a": False, "b": 1}}, "numbered from 0"),
        ({"categories": {"a": 0}, "val": 5}, "a list of videos as val"),
        ({"categories": {"a": 0}, "train": [{"video": "a", "target": 1}]}, "target below 1"),
        ({"categories": {"a": 0}, "val": [{"video": "a", "target": 0, "segment": [3, 1]}]}, "3, 1"),
    ],
)
def test_annotations_of_another_form_are_refused(tmp_path, content, message):
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        read_annotations(tmp_path / "annotations.json", None)


def test_a_part_that_is_null_is_empty(tmp_path):
    some_frames(tmp_path, "a")
    train = [{"video": "a", "target": 0}]
    content = {"categories": {"runs": 0}, "train": train, "val": None, "test": None}
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    assert [video.split for video in open_source(tmp_path, None, None).videos] == ["train"]


def test_sources_of_no_form_are_refused(tmp_path):
    with pytest.raises(InputError, match="a folder for each class"):
        open_source(tmp_path, None, None)
    with pytest.raises(InputError, match="folder or file for --source"):
        open_source(tmp_path / "nothing", None, None)
    table(tmp_path / "a.csv", ("video", "score"), ("x", "1"))
    with pytest.raises(InputError, match=r"a column label .* got video, score"):
        open_source(tmp_path, None, None)
    table(tmp_path / "a.csv", ("video", "label"), ("x", ""))
    with pytest.raises(InputError, match="'x' and '' in row 2"):
        open_source(tmp_path, None, None)
    table(tmp_path / "a.csv", ("video", "label"), ("x", "runs"))
    with pytest.raises(InputError, match="x: no such file or folder of frames"):
        open_source(tmp_path, None, None)


def test_patients_by_pattern(tmp_path):
    some_frames(tmp_path, ["P1_a", "P1_b"])
    table(tmp_path / "l.csv", ("video", "label"), ("images/P1_a", "runs"), ("images/P1_b", "runs"))
    videos = open_source(tmp_path, None, r"(P\d+)_").videos
    assert {v.patient for v in videos} == {"P1"}
    with pytest.raises(InputError, match="none in images/P1_a"):
        open_source(tmp_path, None, r"Q\d")
    with pytest.raises(InputError, match="regular expression"):
        open_source(tmp_path, None, "(")


def samples(**counts):
    """So many videos of each class, each a group of its own."""
    return [Sample(f"{c}{n}", c, f"{c}{n}") for c, count in counts.items() for n in range(count)]


def count(listed, splits, label):
    parts = [split for sample, split in zip(listed, splits, strict=True) if sample.label == label]
    return tuple(parts.count(split) for split in SPLITS)


def test_split_is_80_10_10_in_each_class():
    listed = samples(a=30, b=10, c=3)
    splits = make_datasplit(listed, TENTH, 42)
    assert count(listed, splits, "a") == (24, 3, 3)
    assert count(listed, splits, "b") == (8, 1, 1)
    assert count(listed, splits, "c") == (1, 1, 1)
    assert make_datasplit(listed, TENTH, 42) == splits != make_datasplit(listed, TENTH, 43)


def test_no_class_is_only_in_validation_or_test(caplog):
    listed = samples(a=20, b=2, c=1)
    with caplog.at_level(logging.WARNING):
        splits = make_datasplit(listed, TENTH, 0)
    assert count(listed, splits, "b") == (1, 1, 0)
    assert count(listed, splits, "c") == (1, 0, 0)
    assert "2 of 3 classes" in caplog.text
    assert "b (2, not in test), c (1, not in valid or test)" in caplog.text
    with pytest.raises(InputError, match="--within_video"):
        make_datasplit(samples(a=1, b=1), TENTH, 0)


def test_groups_stay_together_and_every_class_in_training():
    rng = np.random.default_rng(0)
    for seed in range(20):
        listed = [
            Sample(str(n), "abcd"[rng.integers(4)], f"g{rng.integers(12)}") for n in range(40)
        ]
        splits = make_datasplit(listed, Fractions(0.2, 0.2), seed)
        sides = {}
        for sample, split in zip(listed, splits, strict=True):
            sides.setdefault(sample.group, set()).add(split)
        assert all(len(side) == 1 for side in sides.values())
        trained = {s.label for s, split in zip(listed, splits, strict=True) if split == "train"}
        assert trained == {s.label for s in listed}


def test_a_named_split_is_kept_completed_and_checked():
    listed = [Sample(f"v{n}", "ab"[n % 2], f"g{n}", "train") for n in range(20)]
    listed += [Sample("w", "a", "w", "test")]
    splits = make_datasplit(listed, TENTH, 0)
    assert splits[-1] == "test"
    assert count(listed, splits, "b") == (9, 1, 0)
    with pytest.raises(InputError, match=r"got none of c .* --resplit"):
        make_datasplit([*listed, Sample("x", "c", "x", "test")], TENTH, 0)
    again = [Sample("u", "a", "w", "train"), *listed]
    assert make_datasplit(again, TENTH, 0)[0] is None


def test_prepared_folder(tmp_path):
    source, out = tmp_path / "raw", tmp_path / "data"
    write_videos(source, count=18, frames=6)
    prepare(source, out, model=SMALL, fractions=Fractions(0.2, 0.2), workers=1)
    assert sorted(p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()) == sorted(
        [
            *("annotations.json", "config.json", "frames.bin", "frames.jsonl", "source.json"),
            *("near_duplicates.csv", "rejected.csv", "train.csv", "valid.csv", "test.csv"),
            *(f"splits/{name}.csv" for name in ("counts", *SPLITS)),
        ]
    )
    config = read_json(out / "config.json")
    assert config["labels"] == list(CLASSES)
    about = read_json(out / "source.json")
    assert about["phantom"]
    assert about["videos"] == {"train": 6, "valid": 6, "test": 6}
    row = rows_of(out / "test.csv")[0]
    assert (row["frames"], row["patient"]) == ("6", row["image_id"])
    assert rows_of(out / "splits" / "counts.csv")[0]["train_groups"] == "1"
    prepared = Prepared.open(out)
    assert prepared.store.frames(row["image_id"]).shape == (6, 32, 43, 3)
    assert not prepared.patients_known
    again = open_source(out / "annotations.json", source, None)
    assert sorted(v.split for v in again.videos) == ["test"] * 6 + ["train"] * 6 + ["valid"] * 6
    assert [v.segment for v in again.videos] == [(0, 5)] * 18


def test_preparing_again_does_nothing_unless_something_changed(tmp_path, caplog):
    source, out = tmp_path / "raw", tmp_path / "data"
    write_videos(source, count=12, frames=4)
    options = {"model": SMALL, "fractions": Fractions(0.3, 0), "workers": 1}
    prepare(source, out, **options)
    before = (out / "train.csv").stat().st_mtime_ns
    with caplog.at_level(logging.INFO):
        prepare(source, out, **options)
    assert "already" in caplog.text
    assert (out / "train.csv").stat().st_mtime_ns == before
    prepare(source, out, seed=5, **options)
    assert (out / "train.csv").stat().st_mtime_ns != before


def test_copies_stay_on_one_side(tmp_path):
    for place in range(6):
        label = "runs" if place % 2 else "sits"
        frames_folder(tmp_path / "raw" / label / f"v{place}", grey=20 * place)
        frames_folder(tmp_path / "raw" / label / f"copy{place}", grey=20 * place)
    prepare(tmp_path / "raw", tmp_path / "data", model=SMALL, workers=1)
    assert len(rows_of(tmp_path / "data" / "near_duplicates.csv")) == 6
    for split in SPLITS:
        names = {
            row["image_id"].split("/")[1] for row in rows_of(tmp_path / "data" / f"{split}.csv")
        }
        assert names == {n for k in range(6) for n in (f"v{k}", f"copy{k}") if f"v{k}" in names}


@pytest.mark.parametrize("key", ["patient", "group", "sha256", "image_id"])
def test_manifests_of_another_hand_are_checked(tmp_path, key):
    write_videos(tmp_path / "raw", count=12, frames=4)
    out = tmp_path / "data"
    prepare(tmp_path / "raw", out, model=SMALL, fractions=Fractions(0.3, 0), workers=1)
    train, valid = rows_of(out / "train.csv"), rows_of(out / "valid.csv")
    valid[0][key] = f" {train[0][key]}\u200b" if key in ("patient", "group") else train[0][key]
    with (out / "valid.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(valid[0]))
        writer.writeheader()
        writer.writerows(valid)
    with pytest.raises(InputError, match=key if key == "image_id" else "independent"):
        Prepared.open(out)


def test_unreadable_videos_are_left_out_by_name(tmp_path):
    for place in range(4):
        frames_folder(tmp_path / "raw" / "ab"[place % 2] / f"v{place}", grey=20 * place)
    (tmp_path / "raw" / "a" / "broken.mp4").write_bytes(b"nothing")
    frames_folder(tmp_path / "raw" / "b" / "odd")
    cv2.imwrite(str(tmp_path / "raw" / "b" / "odd" / "frame9.png"), np.zeros((30, 30, 3)))
    prepare(tmp_path / "raw", tmp_path / "data", model=SMALL, workers=1)
    rejected = {row["video"]: row["reason"] for row in rows_of(tmp_path / "data" / "rejected.csv")}
    assert set(rejected) == {"a/broken", "b/odd"}
    assert "one size" in rejected["b/odd"]


def test_one_video_a_class_can_be_split_in_time(tmp_path):
    for label in ("runs", "sits"):
        frames_folder(tmp_path / "raw" / label / "v", count=20, grey=len(label))
    prepare(tmp_path / "raw", tmp_path / "data", model=SMALL, within_video=True, workers=1)
    prepared = Prepared.open(tmp_path / "data")
    assert prepared.about["within_video"]
    assert [len(prepared.store.frames(f"runs/v#{s}")) for s in SPLITS] == [16, 2, 2]
    segments = read_json(tmp_path / "data" / "annotations.json")
    assert segments["val"][0]["segment"] == [16, 17]


def test_names_of_classes_and_videos_that_look_like_numbers_stay_text(tmp_path):
    for label in ("01", "1", "nan"):
        for place in range(3):
            frames_folder(tmp_path / "raw" / label / f"00{place}", grey=len(label) + 30 * place)
    some = {"model": SMALL, "fractions": Fractions(0.3, 0), "workers": 1}
    prepare(tmp_path / "raw", tmp_path / "data", **some)
    prepared = Prepared.open(tmp_path / "data")
    assert {item.label for item in prepared.items("train", prepared.config.labels)} == {0, 1, 2}


def test_films_are_thinned_by_time(tmp_path):
    film(tmp_path / "runs" / "a.mp4", frames=10)
    video = open_source(tmp_path, None, None).videos[0]
    frames = store_source(video, ClipConfig(resize=32, crop=24, fps=5)).read()
    assert frames.frames.shape == (5, 32, 43, 3)
    assert frames.times_s.tolist() == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])


def test_nonsense_options_are_refused(tmp_path):
    write_videos(tmp_path / "raw", count=6, frames=3)
    with pytest.raises(InputError, match="Expected another folder"):
        prepare(tmp_path / "raw", tmp_path / "raw", model=SMALL)
    with pytest.raises(InputError, match="--workers"):
        prepare(tmp_path / "raw", tmp_path / "out", workers=0)
    other = ClipConfig(labels=("falls", "rises"))
    with pytest.raises(InputError, match="crosses as well"):
        prepare(tmp_path / "raw", tmp_path / "out", model=other)
    with pytest.raises(InputError, match="--videos"):
        prepare(tmp_path / "raw", tmp_path / "out", videos=tmp_path / "no")
