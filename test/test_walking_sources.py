"""Walking videos as their sources list them: tables, folders, patients, boxes."""

import csv
from pathlib import Path

import pytest

from medvial.errors import InputError
from medvial_training.tasks.gait.walking.sources import WalkingOptions, holds, open_walking

NAMES = (
    "20170411_ASD_lat_V1-0001",
    "20170411_ASD_lat_V1-0002",
    "20180102_DHS_lat_V2-0001",
    "20190506_LCS_lat_V1-0001",
)


def write_table(path, columns, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"film")


@pytest.fixture
def classes(tmp_path):
    """The source's layout: a folder a class."""
    for name in NAMES:
        touch(tmp_path / ("ASD" if "ASD" in name else "ASD_not") / f"{name}.mp4")
    return tmp_path


@pytest.fixture
def listed(tmp_path):
    for number in range(4):
        touch(tmp_path / "videos" / f"v{number}.mp4")
    rows = [[f"v{n}.mp4", f"p{n // 2}", ("ASD", "ASD_not")[n // 2], "Kyoto"] for n in range(4)]
    write_table(tmp_path / "labels.csv", ["Video", "patient", "label", "site"], rows)
    return tmp_path


def seen(source, **options):
    found = open_walking(source, WalkingOptions(**options))
    return {v.name: (v.patient, v.label) for v in found.videos}


def test_a_table_names_videos_wherever_they_lie(listed):
    found = open_walking(listed, WalkingOptions())
    assert [v.name for v in found.videos] == ["v0", "v1", "v2", "v3"]
    assert [v.patient for v in found.videos] == ["p0", "p0", "p1", "p1"]
    assert {v.site for v in found.videos} == {"Kyoto"}
    assert all(v.path.is_file() for v in found.videos)


def test_a_listed_video_that_is_not_there_is_rejected_by_name(listed):
    (listed / "videos" / "v3.mp4").unlink()
    found = open_walking(listed, WalkingOptions())
    assert [v.name for v in found.videos] == ["v0", "v1", "v2"]
    assert found.rejected == [("v3.mp4", "listed, but there is no such file")]


@pytest.mark.parametrize("name", ["patients", "patient_pattern"])
def test_two_sources_of_patients_are_refused(listed, tmp_path, name):
    with pytest.raises(InputError, match=rf"whose column patient .* --walking_options\.{name} too"):
        seen(listed, **{name: tmp_path / "labels.csv" if name == "patients" else ".{2}"})


def test_a_pattern_that_is_none_is_refused():
    with pytest.raises(InputError, match="regular expression for patient_pattern"):
        WalkingOptions(patient_pattern="(")


def test_a_table_without_patients_is_refused(listed):
    write_table(listed / "labels.csv", ["video", "label"], [["v0.mp4", "ASD"]])
    with pytest.raises(InputError, match=r"columns video, patient, label in .*labels\.csv"):
        open_walking(listed, WalkingOptions())


def test_a_row_without_patient_is_refused(listed):
    write_table(listed / "labels.csv", ["video", "patient", "label"], [["v0.mp4", " ", "ASD"]])
    with pytest.raises(InputError, match=r"a patient in every row .* none in row 2"):
        open_walking(listed, WalkingOptions())


def test_two_files_of_one_name_need_paths(listed):
    touch(listed / "other" / "v0.mp4")
    with pytest.raises(InputError, match=r"one file v0\.mp4 below .* got 2"):
        open_walking(listed, WalkingOptions())


def test_whole_paths_are_taken_with_a_source_of_any_form(listed, tmp_path, monkeypatch):
    touch(listed / "other" / "v0.mp4")
    away = tmp_path.parent / f"{tmp_path.name}_away" / "v0.mp4"
    touch(away)
    paths = [listed / "videos" / "v0.mp4", listed / "other" / "v0.mp4", away]
    rows = [[str(path), f"p{n}", "ASD"] for n, path in enumerate(paths)]
    write_table(listed / "labels.csv", ["video", "patient", "label"], rows)
    monkeypatch.chdir(listed.parent)
    names = list(seen(Path(listed.name)))
    assert names[:2] == ["videos__v0", "other__v0"]
    assert names[2].endswith(f"{away.parent.name}__v0")
    assert "/" not in names[2]


def test_folders_of_classes_do_not_tell_patients(classes):
    with pytest.raises(InputError, match=r"told whose video .*patient_pattern"):
        open_walking(classes, WalkingOptions())


def test_the_patient_by_a_pattern(classes):
    fifteen = seen(classes, patient_pattern=".{15}")
    assert fifteen[NAMES[0]] == ("20170411_ASD_la", "ASD")
    assert fifteen[NAMES[0]] == fifteen[NAMES[1]]
    assert fifteen[NAMES[2]] == ("20180102_DHS_la", "ASD_not")
    group = seen(classes, patient_pattern=r"(\d+)_[A-Z]+_")
    assert {patient for patient, _ in group.values()} == {"20170411", "20180102", "20190506"}


def test_a_pattern_that_misses_a_video_is_refused(classes):
    with pytest.raises(InputError, match=r"got none for 20180102_DHS.* and 1 more"):
        open_walking(classes, WalkingOptions(patient_pattern=r"\d+_ASD"))
    with pytest.raises(InputError, match="regular expression for patient_pattern"):
        open_walking(classes, WalkingOptions(patient_pattern="("))


def test_the_patient_by_a_table(classes, tmp_path):
    rows = [[f"{name}.mp4", f"P{n}"] for n, name in enumerate(NAMES)]
    table = write_table(tmp_path / "who" / "patients.csv", ["video", "patient"], rows)
    assert seen(classes, patients=table)[NAMES[3]] == ("P3", "ASD_not")
    write_table(table, ["video", "patient"], rows[:3])
    with pytest.raises(InputError, match=f"got none for {NAMES[3]}"):
        open_walking(classes, WalkingOptions(patients=table))


def test_videos_of_one_name_are_told_apart_by_their_paths(tmp_path):
    for label in ("ASD", "ASD_not"):
        touch(tmp_path / label / "walk.mp4")
    table = write_table(
        tmp_path / "who" / "patients.csv",
        ["video", "patient"],
        [["ASD/walk.mp4", "P1"], ["ASD_not/walk.mp4", "P2"]],
    )
    found = seen(tmp_path, patients=table)
    assert found == {"ASD__walk": ("P1", "ASD"), "ASD_not__walk": ("P2", "ASD_not")}
    write_table(table, ["video", "patient"], [["walk.mp4", "P1"], ["walk.mp4", "P2"]])
    with pytest.raises(InputError, match=r"by path, got none for walk\.mp4 and 1 more"):
        open_walking(tmp_path, WalkingOptions(patients=table))


def test_a_folder_a_patient_with_files_of_one_name(tmp_path):
    for patient in ("P01", "P02"):
        touch(tmp_path / patient / "walk.mp4")
    touch(tmp_path / "P02" / "back.mp4")
    rows = [["P01/walk.mp4", "1", "ASD"], ["P02/walk.mp4", "2", "DHS"], ["back.mp4", "2", "DHS"]]
    write_table(tmp_path / "labels.csv", ["video", "patient", "label"], rows)
    columns = ["video", "x0", "y0", "x1", "y1"]
    boxes = write_table(tmp_path / "boxes.csv", columns, [["P02/walk.mp4", 1, 2, 3, 4]])
    found = open_walking(tmp_path, WalkingOptions(patient_boxes=boxes)).videos
    assert [v.name for v in found] == ["P01__walk", "P02__walk", "back"]
    assert [v.path.parent.name for v in found] == ["P01", "P02", "P02"]
    assert [v.box for v in found] == [None, (1, 2, 3, 4), None]
    write_table(boxes, columns, [["walk.mp4", 1, 2, 3, 4]])  # whose?
    with pytest.raises(InputError, match=r"boxes of videos of the source .* got walk"):
        open_walking(tmp_path, WalkingOptions(patient_boxes=boxes))
    write_table(tmp_path / "labels.csv", ["video", "patient", "label"], [*rows, rows[0]])
    with pytest.raises(InputError, match="got P01__walk twice"):
        open_walking(tmp_path, WalkingOptions())


@pytest.mark.parametrize("around", ["", "raw"])
def test_sides_of_the_source_are_put_together(tmp_path, around):
    base = tmp_path / around
    for number, name in enumerate(NAMES):
        side = ("train", "val")[number % 2]
        touch(base / side / ("ASD" if number < 2 else "ASD_not") / f"{name}.mp4")
    touch(base / "val" / "ASD" / f"{NAMES[0]}.mp4")  # the same name on the other side
    if around:  # the source's copies for its folds
        touch(tmp_path / "fold0" / "train" / "ASD" / "copy.mp4")
    found = seen(tmp_path, patient_pattern=".{8}")
    prefix = "raw__" if around else ""
    assert found[f"{prefix}train__ASD__{NAMES[0]}"] == found[f"{prefix}val__ASD__{NAMES[0]}"]
    assert len(found) == 5
    assert "copy" not in found


def test_boxes_of_patients(listed, tmp_path):
    columns = ["video", "x0", "y0", "x1", "y1", "time_s"]
    table = write_table(tmp_path / "boxes" / "b.csv", columns, [["v1.mp4", 10, 20, 60, 180, 1.5]])
    found = open_walking(listed, WalkingOptions(patient_boxes=table)).videos
    assert [(v.box, v.box_time_s) for v in found[:2]] == [(None, None), ((10, 20, 60, 180), 1.5)]
    for row, message in (
        (["v9", 1, 2, 3, 4, ""], "boxes of videos of the source .* got v9"),
        (["v1", 1, 2, "x", 4, ""], "numbers for the box of v1"),
        (["v1", 9, 2, 3, 4, ""], "x0 < x1 and y0 < y1 for the box of v1"),
    ):
        write_table(table, columns, [row])
        with pytest.raises(InputError, match=message):
            open_walking(listed, WalkingOptions(patient_boxes=table))


def test_what_holds_walking_videos(listed, classes, tmp_path):
    assert holds(listed)
    (tmp_path / "nothing").mkdir()
    assert not holds(tmp_path / "nothing")
    with pytest.raises(InputError, match=r"labels\.csv or a folder of videos for each class"):
        open_walking(tmp_path / "nothing", WalkingOptions())
    with pytest.raises(InputError, match="a folder for --source"):
        open_walking(tmp_path / "absent", WalkingOptions())
