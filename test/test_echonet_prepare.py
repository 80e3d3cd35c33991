"""Step 1 of echonet on small videos, and every way its input can be bad."""

import csv
import json
import re

import numpy as np
import pandas as pd
import pytest
from cines import write_dicom, write_video
from echo_data import (
    CONFIG,
    disc_rows,
    list_row,
    make_frames,
    trace,
    write_avi,
    write_echonet,
    write_table,
)

from medvial.errors import InputError
from medvial_training.split_dealing import Fractions
from medvial_training.tasks.echonet import frame_store
from medvial_training.tasks.echonet.echonet_source import open_echonet
from medvial_training.tasks.echonet.prepare import prepare
from medvial_training.tasks.echonet.recordings import Recordings
from medvial_training.tasks.echonet.tracings import polygon_mask, tracing_mask

FILES = {"config.json", "source.json", "progress.jsonl", "frames.npy", "masks.npy", "videos.csv"}
FILES |= {
    "times.npy",
    "traces.csv",
    "train.csv",
    "valid.csv",
    "test.csv",
    "near_duplicates.csv",
    "rejected.csv",
}


def run(source, out, **options):
    prepare(source, out, model=CONFIG, workers=1, **options)
    return {p.stem: pd.read_csv(p) for p in out.glob("*.csv")}


def edit(path, change):
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    write_table(path, rows[0], change(rows[1:]))


def reasons(tables):
    return dict(zip(tables["rejected"]["video"], tables["rejected"]["reason"], strict=True))


def test_videos_become_frames_masks_and_splits(tmp_path):
    tables = run(write_echonet(tmp_path / "raw"), tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES
    assert [len(tables[s]) for s in ("train", "valid", "test", "rejected")] == [4, 2, 2, 0]
    frames = np.load(tmp_path / "out" / "frames.npy", mmap_mode="r")
    masks = np.load(tmp_path / "out" / "masks.npy")
    assert frames.shape == (160, 64, 64)
    assert masks.shape == (16, 64, 64)
    videos = tables["videos"].set_index("video")
    for number in range(8):
        row = videos.loc[f"0X{number:04d}"]
        stored = frames[row["first"] : row["first"] + row["count"]].astype(float)
        assert np.abs(stored - make_frames(number)).mean() < 6  # JPEG
        assert (row["fps"], row["ef"]) == (50, 40 + 3 * number)


def test_the_larger_ventricle_is_end_diastole_whatever_the_order(tmp_path):
    tables = run(write_echonet(tmp_path / "raw"), tmp_path / "out")
    masks = np.load(tmp_path / "out" / "masks.npy")
    for _, rows in tables["traces"].groupby("video"):
        by_phase = rows.set_index("phase")
        assert by_phase.loc["ED", "frame"] == 0
        assert by_phase.loc["ES", "frame"] == 9
        areas = [masks[by_phase.loc[phase, "mask"]].sum() for phase in ("ED", "ES")]
        assert areas == [27 * 35, 15 * 35]  # discs from y = 15 to 49, x = 32 +- 13 and +- 7


def test_mean_and_std_are_those_of_the_training_frames(tmp_path):
    tables = run(write_echonet(tmp_path / "raw"), tmp_path / "out")
    frames = np.load(tmp_path / "out" / "frames.npy")
    videos = tables["videos"].set_index("video")
    used = [videos.loc[name] for name in tables["train"]["video"]]
    values = np.concatenate([frames[r["first"] : r["first"] + r["count"]].ravel() for r in used])
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["mean"] == [pytest.approx(values.mean(), abs=1e-3)]
    assert config["std"] == [pytest.approx(values.std(), abs=1e-3)]


def test_names_with_extension_and_splits_in_any_case(tmp_path):
    source = write_echonet(tmp_path / "raw")
    edit(
        source / "FileList.csv",
        lambda rows: [
            [r[0] + (".avi" if n % 2 else ""), *r[1:-1], r[-1].lower()] for n, r in enumerate(rows)
        ],
    )
    tables = run(source, tmp_path / "out")
    assert [len(tables[s]) for s in ("train", "valid", "test", "rejected")] == [4, 2, 2, 0]
    assert list(tables["videos"]["ef"]) == [40 + 3 * n for n in range(8)]


def test_videos_are_of_every_kind_that_can_be_predicted(tmp_path):
    source = write_echonet(tmp_path / "raw", count=4)
    videos = source / "Videos"
    for old, new in (("0X0000", "0X0000.M4V"), ("0X0001", "0X0001.webm")):
        (videos / f"{old}.avi").rename(videos / new)
    for name, number in (("1.2.840.5", 2), ("0X0003.dicom", 3)):
        write_dicom(videos / name, make_frames(number))
        (videos / f"0X{number:04d}.avi").unlink()
    (videos / "notes.txt").write_text("no video")
    edit(
        source / "FileList.csv",
        lambda rows: [rows[0], ["0X0001.webm", *rows[1][1:]], ["1.2.840.5", *rows[2][1:]], rows[3]],
    )
    found = {video.name: video.path.name for video in open_echonet(source, CONFIG).videos}
    assert found == {
        **{"0X0000": "0X0000.M4V", "0X0001": "0X0001.webm"},
        **{"1.2.840.5": "1.2.840.5", "0X0003": "0X0003.dicom"},
    }


def test_without_a_split_patients_stay_together(tmp_path):
    source = write_echonet(tmp_path / "raw", count=12)
    with (source / "FileList.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    rows = [[*row[:-1], row[0][-1:] if n else "Patient"] for n, row in enumerate(rows)]
    rows = [[*row[:-1], str(int(row[-1]) % 6) if n else row[-1]] for n, row in enumerate(rows)]
    write_table(source / "FileList.csv", rows[0], rows[1:])
    tables = run(source, tmp_path / "out")
    sides = [set(tables[s]["patient"]) for s in ("train", "valid", "test")]
    assert sum(map(len, sides)) == len(set.union(*sides)) == 6


@pytest.mark.parametrize("name", ["Patient ID", "subject", "PatientID ", "MRN", "Ward"])
def test_patients_by_any_name_of_their_column(tmp_path, caplog, name):
    source = write_echonet(tmp_path / "raw", count=3)
    with (source / "FileList.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    write_table(source / "FileList.csv", [*header, name], [[*row, "P1"] for row in rows])
    found = {video.patient for video in open_echonet(source, CONFIG).videos}
    warned = "every video counts as its own patient" in caplog.text
    assert (len(found), warned) == ((3, True) if name == "Ward" else (1, False))


@pytest.mark.parametrize("given", [True, False])
def test_videos_of_another_hospital_are_all_for_the_test(tmp_path, caplog, given):
    caplog.set_level("INFO")
    source = write_echonet(tmp_path / "raw", count=3, splits=("Test",) if given else ("",))
    fractions = Fractions() if given else Fractions(valid=0, test=1)
    tables = run(source, tmp_path / "out", fractions=fractions)
    assert [len(tables[s]) for s in ("train", "valid", "test")] == [0, 0, 3]
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (config["mean"], config["std"]) == (list(CONFIG.mean), list(CONFIG.std))
    assert "Nothing to train on: test a model on these videos with step 3" in caplog.text


def test_a_rate_that_is_not_the_files_is_told(tmp_path, caplog):
    source = write_echonet(tmp_path / "raw", count=4)
    edit(
        source / "FileList.csv",
        lambda rows: [[*r[:6], [25, 50.3, "", 50][n], *r[7:]] for n, r in enumerate(rows)],
    )
    with caplog.at_level("WARNING"):
        tables = run(source, tmp_path / "out")
    assert "1 video(s) list another FPS than their files have, 0X0000 (25, its file 50)" in (
        caplog.text
    )
    assert list(tables["videos"]["fps"]) == pytest.approx([25, 50.3, 50, 50])


def test_uneven_times_are_kept(tmp_path):
    source = write_echonet(tmp_path / "raw", count=4)
    pts = np.cumsum([0, *[20, 60] * 9, 20])  # milliseconds
    (source / "Videos" / "0X0000.avi").unlink()
    video = source / "Videos" / "0X0000.mkv"
    write_video(video, make_frames(0), pts=pts.tolist())
    run(source, tmp_path / "out")
    for split in ("train", "valid", "test"):
        for recording in Recordings(tmp_path / "out", split).all:
            if recording.video == "0X0000":
                assert recording.times_s == pytest.approx(pts / 1000)
            else:
                assert (recording.times_s, recording.rate) == (None, 50)
    np.save(tmp_path / "out" / "times.npy", pts / 1000)
    with pytest.raises(InputError, match=r"times\.npy as step 1 writes it\. Run step 1 again"):
        Recordings(tmp_path / "out", "test")


def test_a_copy_on_another_side_is_left_out_by_name(tmp_path):
    source = write_echonet(tmp_path / "raw")
    copied = np.clip(make_frames(3)[2:] * 0.9 + 5, 0, 255).astype(np.uint8)  # 3 is for the test
    write_avi(source / "Videos" / "0X0000.avi", copied)
    tables = run(source, tmp_path / "out")
    assert list(tables["near_duplicates"].iloc[0][["image_a", "image_b"]]) == ["0X0000", "0X0003"]
    assert "its picture is that of 0X0003 on a later side" in reasons(tables)["0X0000"]
    assert "0X0000" not in set(tables["train"]["video"])


def test_what_cannot_be_used_is_named(tmp_path):
    source = write_echonet(tmp_path / "raw", count=12)
    (source / "Videos" / "0X0000.avi").unlink()
    (source / "Videos" / "0X0001.avi").write_bytes(b"no video at all" * 30)

    def tracings(rows):
        kept = [r for r in rows if not r[0].startswith(("0X0002", "0X0004", "0X0005"))]
        kept += trace("0X0002.avi", 0, 12) + trace("0X0002.avi", 9, 7)[:-1]
        kept += trace("0X0004.avi", 0, 12)
        kept += trace("0X0005.avi", 0, 12) + trace("0X0005.avi", 99, 7)
        kept += trace("0X0006.avi", 5, 9)
        return [*kept, *trace("elsewhere.avi", 0, 9)]

    edit(source / "VolumeTracings.csv", tracings)
    write_avi(source / "Videos" / "0X0010.avi", make_frames(10, 12))
    edit(source / "FileList.csv", lambda rows: [*rows, rows[7], [*rows[8][:1], 12, *rows[8][2:]]])
    tables = run(source, tmp_path / "out")
    rejected = tables["rejected"].groupby("video")["reason"].apply("; ".join)
    for video, text in {
        "0X0000": "no video of this name in Videos/",
        "0X0001": "0X0001.avi",
        "0X0002": r"tracing of frame 9: expected 21 rows \(the long axis and 20 discs\), got 20; "
        "expected 2 traced frames .* got 1; used for the ejection fraction alone",
        "0X0004": "expected 2 traced frames that can be used, got 1",
        "0X0005": "tracing of frame 99: the video has 20 frames",
        "0X0006": "frame 5: traced beside the largest and the smallest",
        "0X0007": "listed twice, in rows 9 and 14, alike",
        "0X0008": "listed twice, in rows 10 and 15, with another ef; neither is used",
        "0X0010": "20 frames are listed, the file has 12; used as it is",
        "elsewhere": "not listed in FileList.csv",
    }.items():
        assert pd.Series([rejected[video]]).str.contains(text, regex=True).all(), rejected[video]
    assert set(tables["videos"]["video"]) == {f"0X{n:04d}" for n in (2, 3, 4, 5, 6, 7, 9, 10, 11)}
    assert json.loads((tmp_path / "out" / "source.json").read_text())["rejected"] == len(
        tables["rejected"]
    )


def test_damage_is_named_and_the_rest_used(tmp_path):
    source = write_echonet(tmp_path / "raw", count=4)
    path = source / "Videos" / "0X0003.avi"
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    tables = run(source, tmp_path / "out")
    rejected = tables["rejected"].groupby("video")["reason"].first()
    assert list(rejected.index) == ["0X0003"]
    assert re.match("Damaged. The header says 20 frames.*; used as it is", rejected["0X0003"])
    assert "0X0003" in set(tables["videos"]["video"])


def test_a_killed_run_goes_on(tmp_path, monkeypatch):
    source, out = write_echonet(tmp_path / "raw"), tmp_path / "out"
    read, done = frame_store._read, []

    def dies(video, key):
        if len(done) == 5:
            raise KeyboardInterrupt
        done.append(video.name)
        return read(video, key)

    monkeypatch.setattr(frame_store, "_read", dies)
    with pytest.raises(KeyboardInterrupt):
        run(source, out)
    assert not (out / "config.json").exists()
    with (out / "frames.npy.part").open("ab") as file:
        file.write(b"half a video")
    with (out / "progress.jsonl").open("a") as file:
        file.write('{"name": "0X00')
    again = []
    monkeypatch.setattr(frame_store, "_read", lambda v, k: again.append(v.name) or read(v, k))
    run(source, out)
    assert sorted(done + again) == [f"0X{n:04d}" for n in range(8)]
    run(source, tmp_path / "at_once")
    for name in ("frames.npy", "masks.npy", "videos.csv", "traces.csv", "config.json"):
        assert (out / name).read_bytes() == (tmp_path / "at_once" / name).read_bytes()


def test_what_is_prepared_is_not_read_again(tmp_path, monkeypatch):
    source, out = write_echonet(tmp_path / "raw"), tmp_path / "out"
    run(source, out)
    monkeypatch.setattr(frame_store, "_read", None)
    run(source, out)


def test_damaged_frames_are_made_again(tmp_path):
    source, out = write_echonet(tmp_path / "raw", count=4), tmp_path / "out"
    run(source, out)
    whole = (out / "frames.npy").read_bytes()
    (out / "frames.npy").write_bytes(whole[:-999])
    run(source, out)
    assert (out / "frames.npy").read_bytes() == whole


def test_a_video_that_is_gone_leaves_no_frames(tmp_path):
    source, out = write_echonet(tmp_path / "raw"), tmp_path / "out"
    run(source, out)
    edit(source / "FileList.csv", lambda rows: rows[1:])
    run(source, out)
    assert len(np.load(out / "frames.npy")) == 140


def test_two_processes_give_what_one_gives(tmp_path):
    source = write_echonet(tmp_path / "raw", count=4)
    run(source, tmp_path / "one")
    prepare(source, tmp_path / "two", model=CONFIG, workers=2)
    assert (tmp_path / "one" / "frames.npy").read_bytes() == (
        tmp_path / "two" / "frames.npy"
    ).read_bytes()


def test_three_channels_have_three_means(tmp_path):
    from echo_data import changed

    model = changed(mean=(1.0,) * 3, std=(1.0,) * 3)
    prepare(write_echonet(tmp_path / "raw"), tmp_path / "out", model=model, workers=1)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert len(config["mean"]) == 3
    assert len(set(config["mean"])) == 1


def write_camus(folder, count=8):
    folder.mkdir()
    for number in range(1, count + 1):
        frames = make_frames(number, 2)
        image = np.pad(frames, ((0, 0), (0, 0), (10, 30)))
        labels = np.zeros(image.shape, np.uint8)
        labels[0, 14:50, 29:56] = 1
        labels[1, 20:50, 33:52] = 1
        labels[:, 50:55, 30:50] = 3
        np.savez(
            folder / f"patient{number:04d}.npz",
            ED=image[0],
            ES=image[1],
            ED_gt=labels[0],
            ES_gt=labels[1],
            spacing_mm_row_col=np.array([0.5, 0.5], np.float32),
            split=np.array("train" if number < 7 else "valid"),
        )
    write_table(folder / "patients_info.csv", ["Patient", "EF"], [["patient0001", 54]])
    return folder


def test_camus_patients_held_out_are_the_test(tmp_path):
    tables = run(write_camus(tmp_path / "raw"), tmp_path / "out")
    assert list(tables["test"]["video"]) == ["patient0007", "patient0008"]
    assert len(tables["train"]) + len(tables["valid"]) == 6
    assert list(tables["traces"]["phase"][:2]) == ["ED", "ES"]
    assert tables["videos"]["fps"].isna().all()
    assert tables["videos"].set_index("video").loc["patient0001", "ef"] == 54
    masks = np.load(tmp_path / "out" / "masks.npy")
    scale = 0.5 / tables["videos"]["spacing_mm"][0]  # network pixels per pixel of the file
    np.testing.assert_allclose(masks[0].sum(), 36 * 27 * scale**2, rtol=0.05)
    np.testing.assert_allclose(masks[1].sum(), 30 * 19 * scale**2, rtol=0.05)


def test_a_polygon_holds_its_edge():
    triangle = np.array([[2.0, 1.0], [8.0, 1.0], [2.0, 7.0]])
    mask = polygon_mask(triangle, 10, 12)
    y, x = np.mgrid[:10, :12]
    np.testing.assert_array_equal(mask, (x >= 2) & (y >= 1) & (x + y <= 9))


def test_a_polygon_is_cut_at_the_frame():
    square = np.array([[-5.0, 3.0], [4.0, 3.0], [4.0, 20.0], [-5.0, 20.0]])
    mask = polygon_mask(square, 10, 12)
    assert mask.sum() == 5 * 7
    assert mask[3:, :5].all()


def test_a_tracing_is_brought_to_the_networks_pixels():
    rows = np.array(disc_rows(64, 28, 100, 26))
    half = np.array([[0.5, 0, 0], [0, 0.5, 0]])
    mask = tracing_mask(rows, 64, 64, half)
    assert abs(int(mask.sum()) - 27 * 36) < 40
    with pytest.raises(InputError, match="inside the frame, got one outside"):
        tracing_mask(rows + 500, 64, 64)
    with pytest.raises(InputError, match="at least 20 pixels, got"):
        tracing_mask(np.array(disc_rows(30, 30, 33, 0.4)), 64, 64)
    rows[4, 1] = np.nan
    with pytest.raises(InputError, match="finite coordinates"):
        tracing_mask(rows, 64, 64)


def test_missing_tables_and_columns(tmp_path):
    with pytest.raises(InputError, match="Expected a folder for --source"):
        run(tmp_path / "none", tmp_path / "out")
    (tmp_path / "raw").mkdir()
    with pytest.raises(InputError, match=r"FileList\.csv, got: No such file"):
        run(tmp_path / "raw", tmp_path / "out")
    with pytest.raises(InputError, match=r"patientNNNN\.npz files of CAMUS"):
        run(tmp_path / "raw", tmp_path / "out", format="camus")
    source = write_echonet(tmp_path / "full")
    write_table(source / "VolumeTracings.csv", ["FileName", "X", "Y", "Frame"], [["a", 1, 2, 3]])
    with pytest.raises(InputError, match=r"lacks x1, y1, x2, y2; got .* EchoNet-Pediatric"):
        run(source, tmp_path / "out")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (list_row("0X0000", ef=160), "expected EF from 0 to 100 percent, got '160'"),
        (list_row("0X0000", ef=1, fps="fast"), "row 2: expected fps as a number .* got 'fast'"),
        (list_row("0X0000", split="HOLDOUT"), "train, valid or test, got 'HOLDOUT'"),
        (list_row("0X0000", split=""), "a Split for every video .* got none for 0X0000"),
        (list_row(""), r"row 2: expected a name in FileName"),
    ],
)
def test_bad_rows_of_the_list(tmp_path, row, message):
    source = write_echonet(tmp_path / "raw")
    edit(source / "FileList.csv", lambda rows: [row, *rows[1:]])
    with pytest.raises(InputError, match=message):
        run(source, tmp_path / "out")


def test_ejection_fractions_as_shares_are_refused(tmp_path):
    source = write_echonet(tmp_path / "raw", count=3)
    edit(source / "FileList.csv", lambda rows: [[r[0], float(r[1]) / 100, *r[2:]] for r in rows])
    with pytest.raises(InputError, match=r"expected EF in percent .*\(0\.4 for 0X0000\)"):
        open_echonet(source, CONFIG)


def test_other_bad_input(tmp_path):
    source = write_echonet(tmp_path / "raw")
    with pytest.raises(InputError, match="Expected another folder than that of the raw videos"):
        run(source, source)
    with pytest.raises(InputError, match="expected the column Hospital"):
        run(source, tmp_path / "out", patient_column="Hospital")
    with pytest.raises(InputError, match="at least 1 of --workers, got 0"):
        prepare(source, tmp_path / "out", workers=0)
    edit(source / "VolumeTracings.csv", lambda rows: [[*rows[0][:-1], "1.5"], *rows[1:]])
    with pytest.raises(InputError, match=r"row 2: expected Frame as a whole number .* got '1\.5'"):
        run(source, tmp_path / "out")
    (source / "Videos" / "0X0001.mp4").write_bytes(b"")
    with pytest.raises(InputError, match=r"one video of the name 0X0001 .* 0X0001\.mp4"):
        run(source, tmp_path / "out")


def test_nothing_usable_says_why(tmp_path):
    source = write_echonet(tmp_path / "raw", count=4)
    for path in (source / "Videos").iterdir():
        path.write_bytes(b"broken" * 99)
    with pytest.raises(InputError, match=r"got none\. The first reason: 0X0000: .*0X0000\.avi"):
        run(source, tmp_path / "out")
    for path in (source / "Videos").iterdir():
        path.unlink()
    with pytest.raises(InputError, match=r"Expected videos for the rows of .* Listed: 0X0000"):
        run(source, tmp_path / "out")


def test_without_tracings_the_ejection_fraction_is_left(tmp_path):
    source = write_echonet(tmp_path / "raw")
    (source / "VolumeTracings.csv").unlink()
    tables = run(source, tmp_path / "out")
    assert len(tables["traces"]) == 0
    assert len(tables["videos"]) == 8
    assert list(tables["traces"].columns) == ["video", "frame", "phase", "mask"]
