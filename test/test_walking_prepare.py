"""Step 1 of walking on small videos, and every way its input can be bad."""

import csv
import dataclasses
import json
import shutil

import cv2
import numpy as np
import pytest
from cines import write_video
from walking_data import CONFIG, FPS, HEIGHT, WIDTH, read_rows, walk, write_labels, write_walks

from medvial.errors import InputError
from medvial.gait.leg_agility.config import LegConfig
from medvial.gait.walking.clips import walking_crop
from medvial_training.clips.store import ClipStore
from medvial_training.folds import load_folds
from medvial_training.near_duplicate_videos import find_near_duplicate_videos
from medvial_training.tasks.gait.prepare import prepare
from medvial_training.tasks.gait.systems import FoldOptions
from medvial_training.tasks.gait.walking import read_video
from medvial_training.tasks.gait.walking.sources import WalkingOptions, WalkingVideo

FILES = {"config.json", "source.json", "frames.bin", "frames.jsonl", "videos.csv", "people.csv"}
FILES |= {"folds.csv", "fold_counts.csv", "fold_counts.png", "near_duplicates.csv"}
FILES |= {"rejected.csv", "sheets"}


@pytest.fixture(autouse=True)
def by_motion(monkeypatch):
    """No networks that find people: what moves is followed."""
    monkeypatch.setattr(read_video, "_networks", lambda _: None)


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    return write_walks(tmp_path_factory.mktemp("raw"))


def run(source, out, config=CONFIG, folds=None, **options):
    prepare(source, out, walking=config, folds=folds or FoldOptions(k=2), workers=1, **options)
    return out / "walking"


def test_videos_become_pictures_of_the_patient_and_folds(raw, tmp_path):
    out = run(raw, tmp_path / "out", licence="none")
    assert {path.name for path in out.iterdir()} == FILES
    store = ClipStore(out)
    rows = read_rows(out / "videos.csv")
    assert [row["video"] for row in rows] == [f"w{n:02d}_0" for n in range(8)]
    for row in rows:
        frames = store.frames(row["video"])
        assert frames.shape[1:] == (40, 40, 3)
        assert len(frames) == int(row["pictures"])
        np.testing.assert_allclose(np.diff(store.times_s(row["video"])), 1 / 8)
        middle = frames[len(frames) // 2].max(axis=2)
        assert middle[12:28, 12:28].max() > 150  # the bar is in the middle
        assert len(row["sha256"]) == 64
    config = json.loads((out / "config.json").read_text())
    assert (config["labels"], config["positive"]) == (["ASD", "ASD_not"], "ASD")
    assert json.loads((out / "source.json").read_text())["licence"] == "none"
    assert len(list((out / "sheets").glob("*.jpg"))) == 8
    assert {row["method"] for row in read_rows(out / "people.csv")} == {"motion"}
    folds = load_folds(out / "folds.csv")
    assert folds.names == ("fold_1", "fold_2", "final")


def test_sheets_that_are_wanted_later_are_drawn(raw, tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO", "medvial_training")
    out = run(raw, tmp_path / "out", walking_options=WalkingOptions(sheets=False))
    assert not (out / "sheets").exists()
    wanted = run(raw, tmp_path / "wanted") / "sheets"
    for left_out in (8, 1):
        run(raw, tmp_path / "out")
        assert f"{left_out} of 8 contact sheets are not there yet: drawn now." in caplog.text
        drawn = {path.name: path.read_bytes() for path in (out / "sheets").iterdir()}
        assert drawn == {path.name: path.read_bytes() for path in wanted.iterdir()}
        (out / "sheets" / "w03_0.jpg").unlink()


def test_a_second_run_reads_nothing_anew(raw, tmp_path, monkeypatch):
    out = run(raw, tmp_path / "out")
    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    monkeypatch.setattr(read_video, "follow", None)
    run(raw, tmp_path / "out")
    assert {path.name: path.stat().st_mtime_ns for path in out.iterdir()} == before


def test_other_folds_need_no_reading(raw, tmp_path, monkeypatch):
    out = run(raw, tmp_path / "out")
    first = (out / "folds.csv").read_bytes()
    monkeypatch.setattr(read_video, "follow", None)
    run(raw, tmp_path / "out", folds=FoldOptions(k=3, seed=4))
    assert (out / "folds.csv").read_bytes() != first
    assert load_folds(out / "folds.csv").tested == ("fold_1", "fold_2", "fold_3")


def test_too_few_patients_are_refused_before_anything_is_read(raw, tmp_path, monkeypatch):
    monkeypatch.setattr(read_video, "follow", None)
    with pytest.raises(InputError, match=r"at least 9 patients for 8 folds .* got 8"):
        run(raw, tmp_path / "out", folds=FoldOptions(k=8))
    source = tmp_path / "raw"
    shutil.copytree(raw, source)
    rows = [list(row.values())[:3] for row in read_rows(raw / "labels.csv")]
    write_labels(source, [[*row, ""] for row in rows])
    with pytest.raises(InputError, match="every video's site, and two sites at least"):
        run(source, tmp_path / "out", folds=FoldOptions(by="site"))
    assert not (tmp_path / "out" / "walking").exists()


def test_one_site_left_out_at_a_time(raw, tmp_path):
    out = run(raw, tmp_path / "out", folds=FoldOptions(by="site"))
    folds = load_folds(out / "folds.csv")
    assert [set(folds.part(fold, "test")["site"]) for fold in folds.tested] == [{"A"}, {"B"}]


def test_an_interrupted_run_goes_on(raw, tmp_path, monkeypatch):
    follow, calls = read_video.follow, []

    def stopped(*arguments, **options):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return follow(*arguments, **options)

    monkeypatch.setattr(read_video, "follow", stopped)
    with pytest.raises(KeyboardInterrupt):
        run(raw, tmp_path / "out")
    assert not (tmp_path / "out" / "walking" / "config.json").exists()
    run(raw, tmp_path / "out")
    assert len(calls) == 9  # three, the one that was stopped, the other five


def test_what_cannot_be_used_is_rejected_with_its_reason(raw, tmp_path):
    source = tmp_path / "raw"
    shutil.copytree(raw, source)
    still = np.full((20, HEIGHT, WIDTH, 3), 90, np.uint8)
    write_video(source / "videos" / "still.mp4", still, rate=FPS)
    (source / "videos" / "broken.mp4").write_bytes(b"\0" * 999)
    rows = [list(row.values()) for row in read_rows(raw / "labels.csv")]
    more = [["still.mp4", "Q1", "ASD", ""], ["broken.mp4", "Q2", "ASD", ""]]
    more += [["absent.mp4", "Q3", "ASD", ""], ["w00_0.mp4", "P00", "ASD", ""]]
    write_labels(source, [*rows, *more[:3]])
    out = run(source, tmp_path / "out")
    reasons = {row["video"]: row["reason"] for row in read_rows(out / "rejected.csv")}
    assert set(reasons) == {"absent.mp4", "still", "broken"}
    assert "found nobody and nothing that moves" in reasons["still"]
    assert len(read_rows(out / "videos.csv")) == 8
    write_labels(source, [*rows, more[3]])
    with pytest.raises(InputError, match=r"another file name for every video .* w00_0 twice"):
        run(source, tmp_path / "out")


def test_copies_of_a_video_stay_on_one_side(raw, tmp_path):
    source = tmp_path / "raw"
    shutil.copytree(raw, source)
    videos = source / "videos"
    shutil.copyfile(videos / "w00_0.mp4", videos / "copy.mp4")
    brighter = cv2.convertScaleAbs(walk([2, 0], True), alpha=0.85, beta=20)
    write_video(videos / "again.mkv", brighter, rate=FPS)
    rows = [list(row.values()) for row in read_rows(raw / "labels.csv")]
    write_labels(source, [*rows, ["copy.mp4", "Q1", "ASD", ""], ["again.mkv", "Q2", "ASD", ""]])
    out = run(source, tmp_path / "out")
    pairs = {(r["video_a"], r["video_b"]) for r in read_rows(out / "near_duplicates.csv")}
    assert pairs == {("w00_0", "copy"), ("w02_0", "again")}
    folds = load_folds(out / "folds.csv").table.set_index("video")
    for one, other in pairs:
        columns = ["fold_1", "fold_2", "final"]
        assert folds.loc[one, columns].tolist() == folds.loc[other, columns].tolist()


def test_the_same_moments_are_found_and_other_walks_are_not():
    def film(seed, first=0, frames=30):
        rng = np.random.default_rng(seed)
        rough = rng.integers(0, 255, (frames, 6, 8, 3), np.uint8).repeat(9, axis=1)
        return rough.repeat(7, axis=2)[first:], np.arange(first, frames) / 10

    films = [film(1), film(2), film(1, first=7), film(3), film(1, frames=1)]
    assert [(p.first, p.second) for p in find_near_duplicate_videos(films)] == [(0, 2)]
    assert find_near_duplicate_videos(films[:1]) == []


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"fps": 0.0}, r"walking\.fps above 0"),
        ({"labels": ("ASD", "DHS")}, r"videos of ASD and DHS, got ASD, ASD_not"),
    ],
)
def test_settings_that_do_not_fit_are_refused(raw, tmp_path, config, message):
    with pytest.raises(InputError, match=message):
        run(raw, tmp_path / "out", dataclasses.replace(CONFIG, **config))


def test_the_positive_class_must_be_known(raw, tmp_path):
    rows = [list(row.values()) for row in read_rows(raw / "labels.csv")]
    source = tmp_path / "raw"
    shutil.copytree(raw, source)
    named = {"ASD": "bent", "ASD_not": "upright"}
    write_labels(source, [[v, p, named[label], s] for v, p, label, s in rows])
    with pytest.raises(InputError, match=r"class is the positive one, .* --walking\.positive bent"):
        run(source, tmp_path / "out")
    out = run(source, tmp_path / "out", dataclasses.replace(CONFIG, positive="bent"))
    assert json.loads((out / "config.json").read_text())["positive"] == "bent"


def test_a_file_is_no_place_for_the_data(raw, tmp_path):
    (tmp_path / "data").write_text("")
    with pytest.raises(InputError, match="a folder for --out, got the file"):
        prepare(raw, tmp_path / "data", walking=CONFIG, workers=1)


def test_a_seed_below_0_deals_no_folds():
    with pytest.raises(InputError, match=r"folds\.seed from 0 .* got -1"):
        FoldOptions(seed=-1)


def test_a_source_of_nothing_is_refused(tmp_path):
    (tmp_path / "raw").mkdir()
    with pytest.raises(InputError, match="walking or leg_agility in"):
        prepare(tmp_path / "raw", tmp_path / "out")
    with pytest.raises(InputError, match="a folder for --source"):
        prepare(tmp_path / "absent", tmp_path / "out", leg_agility=LegConfig())
    with pytest.raises(InputError, match="another folder than that of the raw data"):
        prepare(tmp_path / "raw", tmp_path / "raw")


def test_the_box_of_the_patient_is_followed(raw, tmp_path):
    options = WalkingOptions(patient_boxes=tmp_path / "boxes.csv")
    write_table(options.patient_boxes, ["w01_0", 0, 0, 3, 3])
    out = run(raw, tmp_path / "out", walking_options=options)
    reasons = {row["video"]: row["reason"] for row in read_rows(out / "rejected.csv")}
    assert list(reasons) == ["w01_0"]
    assert "found none there" in reasons["w01_0"]


def write_table(path, *rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["video", "x0", "y0", "x1", "y1"], *rows])


def test_a_walk_to_the_left_is_mirrored(tmp_path):
    film = walk(5, True)
    crops = []
    for name, frames in (("right", film), ("left", np.flip(film, axis=2))):
        path = write_video(tmp_path / f"{name}.mkv", np.ascontiguousarray(frames), rate=FPS)
        video = WalkingVideo(name, path, "P", "ASD")
        seen = read_video.read_walker(video, walking_crop(CONFIG))
        assert seen.notes["quality"]["direction"] == name
        crops.append(seen.frames)
    middle = len(crops[0]) // 2
    difference = np.abs(crops[0][middle].astype(int) - crops[1][middle])
    assert np.median(difference) < 4
    assert (difference.max(axis=2) > 60).mean() < 0.1  # a pixel off at the bar's edges


def test_a_copy_in_which_the_patient_stands_for_a_while_is_found():
    film = walk(3, True)
    frames = np.concatenate([film, np.repeat(film[-1:], 45, axis=0)])
    times_s = np.arange(len(frames)) / FPS
    pairs = find_near_duplicate_videos([(frames, times_s), (frames.copy(), times_s)])
    assert [(pair.first, pair.second, pair.distance) for pair in pairs] == [(0, 1, 0.0)]
    nobody = np.repeat(film[:1], 75, axis=0)
    assert not find_near_duplicate_videos([(nobody, times_s), (nobody.copy(), times_s)])


def test_options_have_documented_defaults():
    assert WalkingOptions() == WalkingOptions(None, None, None, True)
    for bad in ({"k": 1}, {"valid_share": 0.0}, {"valid_share": 0.6}):
        with pytest.raises(InputError, match=r"folds\."):
            FoldOptions(**bad)


def test_copies_with_a_wrong_time_stamp_are_found():
    film = walk(3, True)
    for gap_s in (10.5, 1e8):
        times_s = np.arange(len(film)) / FPS
        times_s[len(film) // 2 :] += gap_s
        (pair,) = find_near_duplicate_videos([(film, times_s), (film.copy(), times_s)])
        assert (pair.first, pair.second, pair.distance) == (0, 1, 0.0)
