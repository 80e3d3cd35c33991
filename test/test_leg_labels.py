"""Scores of leg agility from sheets, and whose recordings they are."""

import struct
from pathlib import Path

import pandas as pd
import pytest

from medvial.errors import InputError
from medvial_training.tasks.gait.leg_agility.labels import find_labels, read_labels
from medvial_training.tasks.gait.leg_agility.options import LegOptions
from medvial_training.tasks.gait.leg_agility.sources import (
    find_recordings,
    holds,
    match,
    name_of,
)

HEADER = ("VideoId", "mds_updrs_left", "mds_updrs_right", "note")
ROWS = [
    ("CG1_01_20200102_LA_1", 0, 2, ""),
    ("CG1_02_20200102_LA_1", "X", 1, "tremor"),
    ("CG1_03_20200103_LA_1", 3, "", ""),
]
BY_NUMBER = LegOptions(patient_pattern=r"CG1_(\d+)_")


def write_sheet(folder: Path, suffix: str, rows=ROWS, header=HEADER) -> Path:
    path = folder / f"labels{suffix}"
    table = pd.DataFrame(rows, columns=list(header))
    if suffix == ".csv":
        table.to_csv(path, index=False)
    elif suffix == ".xlsx":
        table.to_excel(path, index=False)
    return path


def write_frames(folder: Path, clip: str) -> None:
    folder.mkdir(parents=True)
    (folder / f"{clip}_000000000000_keypoints.json").write_text('{"people": []}')


@pytest.mark.parametrize("suffix", [".csv", ".xlsx"])
def test_each_leg_has_its_own_score_and_x_or_nothing_is_unrated(tmp_path, suffix):
    """The source's `int(label)` ends at the first X, and drops the other leg with it."""
    path = write_sheet(tmp_path, suffix)
    rated = read_labels(path, BY_NUMBER)
    assert [(row.scores["left"], row.scores["right"]) for row in rated] == [
        (0, 2),
        (None, 1),
        (3, None),
    ]
    assert [row.patient for row in rated] == ["01", "02", "03"]
    assert [row.row for row in rated] == [2, 3, 4]


def old_workbook(rows) -> bytes:
    """A sheet as Excel 2 wrote it: records of code, length and content."""

    def record(code: int, content: bytes) -> bytes:
        return struct.pack("<HH", code, len(content)) + content

    def cell(row: int, column: int, value) -> bytes:
        place = struct.pack("<HH3x", row, column)
        if isinstance(value, str):
            return record(0x0004, place + bytes([len(value)]) + value.encode("latin1"))
        return record(0x0003, place + struct.pack("<d", value))

    cells = [cell(r, c, v) for r, row in enumerate(rows) for c, v in enumerate(row) if v != ""]
    return record(0x0009, struct.pack("<HH", 7, 0x10)) + b"".join(cells) + record(0x000A, b"")


def test_an_old_workbook_is_read(tmp_path):
    path = tmp_path / "labels.xls"
    path.write_bytes(old_workbook([HEADER, *ROWS, ("CG1_07_1_LA_1", 2.0, "x ", "")]))
    rated = read_labels(path, BY_NUMBER)
    assert [(row.scores["left"], row.scores["right"]) for row in rated] == [
        *[(0, 2), (None, 1), (3, None), (2, None)]
    ]


def test_a_damaged_workbook_is_told_of(tmp_path):
    path = tmp_path / "labels.xlsx"
    path.write_bytes(b"PK\3\4 no workbook")
    with pytest.raises(InputError, match=r"Expected a table in .*labels\.xlsx"):
        read_labels(path, BY_NUMBER)


def test_other_columns_semicolons_and_other_marks(tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text("\ufeffclip;who;L;R\nA ; 7 ;1;ur\nB;8;;4\n", encoding="utf-8")
    options = LegOptions(
        video_column="Clip", left_column="l", right_column="r", patient_column="who",
        unrated=("UR",),
    )  # fmt: skip
    rated = read_labels(path, options)
    assert [(r.video, r.patient, r.scores) for r in rated] == [
        ("A", "7", {"left": 1, "right": None}),
        ("B", "8", {"left": None, "right": 4}),
    ]


@pytest.mark.parametrize("cell", ["5", "-1", "1.5", "mild", "2?", "nan"])
def test_anything_else_is_refused_by_row(tmp_path, cell):
    path = write_sheet(tmp_path, ".csv", [*ROWS, ("CG1_04_20200103_LA_1", 1, cell, "")])
    message = rf"row 5 of labels\.csv \(CG1_04_20200103_LA_1\), right leg, got '{cell[:1]}"
    with pytest.raises(InputError, match=message.replace("?", r"\?")):
        read_labels(path, BY_NUMBER)


def test_patients_are_never_guessed(tmp_path):
    path = write_sheet(tmp_path, ".csv")
    with pytest.raises(InputError, match=r"names the patient.*patient_pattern REGEX"):
        read_labels(path, LegOptions())
    with pytest.raises(InputError, match=r"patient in 'CG1_01_20200102_LA_1' by .*row 2"):
        read_labels(path, LegOptions(patient_pattern="PD([0-9]+)"))
    with pytest.raises(InputError, match="both"):
        LegOptions(patient_column="who", patient_pattern="x")
    with pytest.raises(InputError, match=r"regular expression"):
        LegOptions(patient_pattern="(")


def test_a_patient_column_is_named_in_the_log(tmp_path, caplog):
    path = write_sheet(tmp_path, ".csv", [("A", "P1", 0, 1)], ("VideoId", "Subject", *HEADER[1:3]))
    with caplog.at_level("INFO"):
        assert read_labels(path, LegOptions())[0].patient == "P1"
    assert "by the column Subject" in caplog.text
    empty = write_sheet(tmp_path, ".csv", [("A", "", 0, 1)], ("VideoId", "Subject", *HEADER[1:3]))
    with pytest.raises(InputError, match=r"patient in the column Subject of row 2"):
        read_labels(empty, LegOptions())


def test_a_recording_stands_in_the_sheet_once(tmp_path):
    path = write_sheet(tmp_path, ".csv", [*ROWS, ("cg1_01_20200102_LA_1 ", 1, 1, "")])
    with pytest.raises(InputError, match="rows 2 and 5"):
        read_labels(path, LegOptions(patient_column="VideoId"))
    unnamed = write_sheet(tmp_path, ".csv", [*ROWS, ("", 1, 1, "")])
    with pytest.raises(InputError, match="name of a recording in row 5"):
        read_labels(unnamed, BY_NUMBER)


def test_missing_columns_say_what_is_there(tmp_path):
    path = write_sheet(tmp_path, ".csv", [("A", 1)], ("VideoId", "mds_updrs_left"))
    with pytest.raises(InputError, match=r"mds_updrs_right in labels\.csv, got VideoId, mds"):
        read_labels(path, BY_NUMBER)


def test_the_sheet_is_found_or_named(tmp_path):
    with pytest.raises(InputError, match="got none"):
        find_labels(tmp_path, LegOptions())
    path = write_sheet(tmp_path, ".csv")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    assert find_labels(tmp_path, LegOptions()) == path
    write_sheet(tmp_path, ".xlsx")
    with pytest.raises(InputError, match=r"got labels\.csv, labels\.xlsx"):
        find_labels(tmp_path, LegOptions())
    with pytest.raises(InputError, match="no such file"):
        find_labels(tmp_path, LegOptions(labels=tmp_path / "none.xls"))


@pytest.mark.parametrize(
    "name",
    ["CG1_07_LA_1", "cg1-07-la-1", "CG1 07 LA 1", "CG1_07_LA_1Json", "CG1_07_LA_1_json",
     "CG1_07_LA_1.mp4", "CG1_07_LA_1.zip", "CG1_07_LA_1_keypoints", "ＣＧ1_07_LA_1"],
)  # fmt: skip
def test_spellings_of_one_name(name):
    assert name_of(name) == "cg1_07_la_1"


def test_rows_find_their_recordings_and_what_is_left_over_is_told(tmp_path):
    """The source cuts two characters off a folder's name, whatever they are."""
    write_sheet(tmp_path, ".csv")
    write_frames(tmp_path / "openpose" / "PDCG1_01_20200102_LA_1Json", "a")
    write_frames(tmp_path / "openpose" / "CG1-02-20200102-LA-1" / "json", "b")
    write_frames(tmp_path / "openpose" / "CG1_99_20200102_LA_1Json", "c")
    found = find_recordings(tmp_path, LegOptions())
    matched = match(read_labels(tmp_path / "labels.csv", BY_NUMBER), found)
    pairs = {row.video: recording.path.name for row, recording in matched.pairs}
    assert pairs == {
        "CG1_01_20200102_LA_1": "PDCG1_01_20200102_LA_1Json",
        "CG1_02_20200102_LA_1": "json",
    }
    assert dict(matched.rejected) == {
        "CG1_99_20200102_LA_1Json": "no row of the sheet of scores names it",
        "CG1_03_20200103_LA_1": "no recording of the name that stands in row 4",
    }
    assert holds(tmp_path)
    assert not holds(tmp_path / "openpose" / "CG1-02-20200102-LA-1" / "json")


def test_an_end_that_begins_amid_a_number_is_another_recording(tmp_path):
    write_sheet(tmp_path, ".csv", [("2_LA", 1, 1, ""), ("5_LA", 1, 1, "")])
    write_frames(tmp_path / "openpose" / "12_LA", "a")
    write_frames(tmp_path / "openpose" / "PD_5_LA", "b")
    rated = read_labels(tmp_path / "labels.csv", LegOptions(patient_column="VideoId"))
    matched = match(rated, find_recordings(tmp_path, LegOptions()))
    assert [(row.video, r.name) for row, r in matched.pairs] == [("5_LA", "PD_5_LA")]
    assert len(matched.rejected) == 2


def test_of_keypoints_and_video_one_is_read_and_two_of_a_kind_are_none(tmp_path):
    write_sheet(tmp_path, ".csv", [("A", 1, 1, ""), ("B", 2, 1, "")])
    rated = read_labels(tmp_path / "labels.csv", LegOptions(patient_column="VideoId"))
    write_frames(tmp_path / "openpose" / "AJson", "a")
    write_frames(tmp_path / "openpose" / "B", "b")
    write_frames(tmp_path / "more" / "BJson", "b")
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "A.mp4").write_bytes(b"")
    matched = match(rated, find_recordings(tmp_path, LegOptions()))
    assert [r.kind for _, r in matched.pairs] == ["folder"]
    assert "several recordings of that name" in matched.rejected[0][1]
    matched = match(rated[:1], find_recordings(tmp_path, LegOptions(input="video")))
    assert [r.kind for _, r in matched.pairs] == ["video"]


def test_nothing_that_matches_is_said_with_an_example(tmp_path):
    write_sheet(tmp_path, ".csv")
    with pytest.raises(InputError, match="found none"):
        find_recordings(tmp_path, LegOptions())
    write_frames(tmp_path / "openpose" / "other", "a")
    rated = read_labels(tmp_path / "labels.csv", BY_NUMBER)
    with pytest.raises(InputError, match=r"has 'CG1_01_20200102_LA_1'.*folder 'other'"):
        match(rated, find_recordings(tmp_path, LegOptions()))
