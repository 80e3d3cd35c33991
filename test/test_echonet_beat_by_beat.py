"""The R script's rules on a table made by hand, to the digit, and each of its edges by itself."""

import numpy as np
import pandas as pd
import pytest

from medvial.errors import InputError
from medvial_training.tasks.echonet.beat_by_beat import (
    R_SCRIPT,
    BeatRules,
    analyse,
    clip_starts,
    error_by_beats,
    match_beats,
    per_file,
    script_scores,
)

# End-systolic frames, and the EF of clips by their start. The clip of a beat starts 32 earlier.
SYSTOLES = {"a": [40, 95], "b": [10, 25, 60], "c": [50, 150], "d": [], "e": [200]}
CLIPS = {
    "a": {0: 60.0, 8: 61.5, 63: 58.25, 114: 40.0},
    "b": {0: 35.5, 28: 32.0, 70: 90.0},
    "c": {0: 71.0, 18: 66.75, 110: 50.0},  # the clip of frame 150 would start at 118: not there
    "d": {0: 44.0, 5: 46.0},
    "e": {0: 20.0, 113: 22.0},  # the clip of frame 200 would start at 168
}
TRUE = {"a": 57.0, "b": 38.0, "c": 66.0, "d": 45.5, "e": 19.0}

# By hand, with the script's rules:
# a: starts 8 and 63: mean (61.5 + 58.25) / 2 = 59.875, SD = 3.25 / sqrt(2)
# b: 10 - 32 and 25 - 32 are negative, both become 0, and count twice: (35.5 + 35.5 + 32) / 3
# c: only start 18; the SD of one beat is NA
# d has no beat and e's only beat is later than the last clip: both vanish
HAND = {"a": 59.875, "b": 103 / 3, "c": 66.75}
ERRORS = np.array([2.875, 103 / 3 - 38, 0.75])


def tables(systoles=SYSTOLES, clips=CLIPS, suffix=""):
    size = [
        (name + suffix, frame, 1000, 0, 0, int(frame in systoles[name]))
        for name in systoles
        for frame in range(210)
    ]
    columns = ["Filename", "Frame", "Size", "HumanLarge", "HumanSmall", "ComputerSmall"]
    rows = [(name + suffix, s, ef) for name, starts in clips.items() for s, ef in starts.items()]
    return pd.DataFrame(size, columns=columns), pd.DataFrame(
        rows, columns=["Filename", "Frame", "EF"]
    )


def by_file(rules, systoles=SYSTOLES, clips=CLIPS):
    table = per_file(match_beats(*tables(systoles, clips), rules))
    return dict(zip(table["Filename"], table["EF"], strict=True))


def test_means_of_the_script_to_the_digit():
    table = per_file(match_beats(*tables()))
    assert table["Filename"].tolist() == ["a", "b", "c"]
    assert table["EF"].tolist() == [59.875, 103 / 3, 66.75]
    assert table["beats"].tolist() == [2, 3, 1]
    np.testing.assert_allclose(table["sd"][:2], [3.25 / 2**0.5, np.sqrt(12.25 / 3)], rtol=1e-14)
    assert np.isnan(table["sd"][2])


def test_scores_of_the_script_by_hand():
    scores = script_scores(by_file(R_SCRIPT), TRUE)
    assert scores["files"] == 3
    assert scores["mae"] == pytest.approx(np.abs(ERRORS).mean(), rel=1e-14)
    assert scores["rmse"] == pytest.approx(np.sqrt((ERRORS**2).mean()), rel=1e-14)
    # R2 of lm(EF ~ prediction): residuals of the least-squares line
    p, y = np.array(list(HAND.values())), np.array([57.0, 38.0, 66.0])
    line = np.polynomial.Polynomial.fit(p, y, 1)
    explained = 1 - ((y - line(p)) ** 2).sum() / ((y - y.mean()) ** 2).sum()
    assert scores["r2_pearson"] == pytest.approx(explained, rel=1e-12)


def test_clamped_beats_count_twice_unless_switched():
    assert clip_starts(np.array([10, 25, 60]), 70).tolist() == [0, 0, 28]
    assert by_file(BeatRules(duplicates="once"))["b"] == (35.5 + 32.0) / 2


def test_a_beat_at_the_first_possible_frame_is_no_edge():
    assert clip_starts(np.array([32, 33]), 70).tolist() == [0, 1]


def test_late_beats_are_lost_unless_switched():
    assert clip_starts(np.array([100, 103]), 70).tolist() == [68]  # 103 - 32 = 71 > 70
    moved = by_file(BeatRules(late="last_clip"))
    assert moved["c"] == (66.75 + 50.0) / 2
    assert moved["e"] == 22.0


def test_files_without_a_beat_vanish_unless_switched():
    assert set(by_file(R_SCRIPT)) == {"a", "b", "c"}
    kept = by_file(BeatRules(no_beat="first_clip"))
    assert kept["d"] == 44.0
    assert kept["e"] == 20.0
    assert {name: kept[name] for name in HAND} == HAND


def test_all_switches_together_leave_no_file_out():
    ef = by_file(BeatRules(duplicates="once", late="last_clip", no_beat="first_clip"))
    assert ef == {"a": 59.875, "b": 33.75, "c": 58.375, "d": 44.0, "e": 22.0}


def test_no_negative_start_is_no_error():
    """The script itself stops where no beat is early: x[x < 0, ]$Frame <- 0 on no rows."""
    assert by_file(R_SCRIPT, {"a": [40]}, {"a": CLIPS["a"]}) == {"a": 61.5}


def test_error_by_beats_draws_with_replacement():
    beats = match_beats(*tables())
    curve = error_by_beats(beats, TRUE, seed=3)
    assert curve["beats"].value_counts().to_dict() == dict.fromkeys(range(1, 6), 100)
    again = error_by_beats(beats, TRUE, seed=3)
    pd.testing.assert_frame_equal(curve, again)
    # with one beat each: a is off by 4.5 or 1.25, b by 2.5 (twice as likely) or 6, c by .75
    possible = {round((a + b + 0.75) / 3, 9) for a in (4.5, 1.25) for b in (2.5, 6.0)}
    single = curve.loc[curve["beats"] == 1, "mae"].round(9)
    assert set(single) == possible
    expected = ((4.5 + 1.25) / 2 + (2 * 2.5 + 6) / 3 + 0.75) / 3
    assert single.mean() == pytest.approx(expected, abs=0.25)
    assert curve.loc[curve["beats"] == 5, "mae"].std() < single.std()


def test_error_by_beats_of_nothing():
    empty = match_beats(*tables({"d": []}, {"d": CLIPS["d"]}))
    assert error_by_beats(empty, TRUE).empty
    assert script_scores({}, TRUE) == {"files": 0, "mae": None, "rmse": None, "r2_pearson": None}


@pytest.mark.parametrize("extension", ["", ".avi", ".mp4"])
def test_files_of_the_source(tmp_path, extension):
    """The source writes names with .avi, FileList.csv has them without: R's merge finds nothing."""
    size, clips = tables(suffix=".avi")
    size.to_csv(tmp_path / "size.csv", index=False)
    clips.to_csv(tmp_path / "test_predictions.csv", index=False, header=False)
    truth = pd.DataFrame({"FileName": [f + extension for f in TRUE], "EF": TRUE.values()})
    truth.to_csv(tmp_path / "FileList.csv", index=False)
    result = analyse(*(tmp_path / n for n in ("size.csv", "test_predictions.csv", "FileList.csv")))
    assert result["beat_by_beat"]["mae"] == pytest.approx(np.abs(ERRORS).mean())
    assert result["one_clip"]["mae"] == pytest.approx(np.mean([3, 2.5, 5, 1.5, 1]))
    assert result["all_clips"] is None  # the tables hold some clips only
    assert sorted(result["error_by_beats"]) == [1, 2, 3, 4, 5]


def test_all_clips_of_complete_predictions(tmp_path):
    """Names that look like numbers stay names."""
    (tmp_path / "size.csv").write_text("Filename,Frame,ComputerSmall\n007.avi,33,1\n")
    (tmp_path / "p.csv").write_text("007.avi,0,50\n007.avi,1,53\n007.avi,2,56\n")
    (tmp_path / "FileList.csv").write_text("FileName,EF\n007,60\n")
    result = analyse(*(tmp_path / n for n in ("size.csv", "p.csv", "FileList.csv")))
    assert result["all_clips"]["mae"] == 7
    assert result["beat_by_beat"]["mae"] == 7  # the clip from frame 1
    assert result["one_clip"]["mae"] == 10


def test_a_file_without_truth_is_named(tmp_path):
    with pytest.raises(InputError, match="none for 1: zz"):
        script_scores({"a": 50.0, "zz": 40.0}, TRUE)


def test_wrong_files_are_named(tmp_path):
    paths = [tmp_path / name for name in ("size.csv", "p.csv", "list.csv")]
    with pytest.raises(InputError, match=r"CSV file at .*p\.csv"):
        analyse(*paths)
    paths[1].write_text("a.avi,0\n")
    with pytest.raises(InputError, match="got 2 columns"):
        analyse(*paths)
    paths[1].write_text("a.avi,0,55.0\n")
    paths[0].write_text("Filename,Frame\na,0\n")
    with pytest.raises(InputError, match="ComputerSmall"):
        analyse(*paths)


def write_three(folder, predictions="a.avi,0,50\nb.avi,0,40\n", truth="a,50\nb,44\n"):
    (folder / "size.csv").write_text("Filename,Frame,ComputerSmall\na.avi,20,1\nb.avi,20,1\n")
    (folder / "p.csv").write_text(predictions)
    (folder / "list.csv").write_text("FileName,EF\n" + truth)
    return [folder / name for name in ("size.csv", "p.csv", "list.csv")]


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"predictions": "Filename,Frame,EF\na.avi,0,50\n"}, r"as Frame in .*p\.csv.* in row 1"),
        ({"predictions": "a.avi,0,50\nb.avi,0,\n"}, r"as EF in .*p\.csv, got 'nan' in row 2"),
        ({"truth": "a,50\nb,abc\n"}, r"as ef in .*list\.csv, got 'abc' in row 3"),
    ],
)
def test_what_is_no_number_is_named_by_its_row(tmp_path, tables, message):
    with pytest.raises(InputError, match=message):
        analyse(*write_three(tmp_path, **tables))


def test_files_without_an_ef_are_left_out_and_counted(tmp_path, caplog):
    result = analyse(*write_three(tmp_path, truth="a,\nb,44\n"))
    assert result["beat_by_beat"] == {"files": 1, "mae": 4.0, "rmse": 4.0, "r2_pearson": None}
    assert "1 file(s) have no EF" in caplog.text
