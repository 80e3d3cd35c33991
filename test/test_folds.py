"""Folds for cross-validation: spread evenly, and nobody and no file is on two sides."""

import numpy as np
import pandas as pd
import pytest

from medvial.errors import InputError
from medvial_training.fold_manifest import assert_enough
from medvial_training.folds import (
    folds_report,
    load_folds,
    make_folds,
    missing_classes,
    write_folds,
)
from medvial_training.leaks import join_groups
from medvial_training.patients import name_key


def videos(patients=20, seed=0, sites=("A", "B", "C")):
    """Two to four videos a patient; every third patient has the deformity."""
    rng = np.random.default_rng(seed)
    rows = [
        (f"v{p}_{v}.mp4", f"P{p:02}", sites[p % len(sites)], "ASD_not" if p % 3 else "ASD")
        for p in range(patients)
        for v in range(rng.integers(2, 5))
    ]
    return pd.DataFrame(rows, columns=["video", "patient", "site", "label"])


def manifest(folder, table):
    write_folds(folder / "folds.csv", table)
    return folder / "folds.csv"


def patients_by_fold(folds):
    return {fold: set(folds.part(fold, "test")["patient"]) for fold in folds.tested}


def swap(table, fold, video, part):
    """The manifest with one video in another part of a fold."""
    table = table.copy()
    table.loc[table["video"] == video, fold] = part
    return table


def test_every_patient_is_tested_once_and_classes_are_even(tmp_path):
    folds = load_folds(manifest(tmp_path, make_folds(videos(), k=4, seed=3)))
    assert folds.names == ("fold_1", "fold_2", "fold_3", "fold_4", "final")
    assert folds.labels == ("ASD", "ASD_not")
    tested = patients_by_fold(folds)
    assert set().union(*tested.values()) == set(folds.table["patient"])
    assert sum(map(len, tested.values())) == 20
    for fold in folds.tested:
        parts = {name: folds.part(fold, name) for name in ("train", "valid", "test")}
        patients = [set(part["patient"]) for part in parts.values()]
        assert not (
            patients[0] & patients[1] | patients[1] & patients[2] | patients[0] & patients[2]
        )
        assert all(set(part["label"]) == {"ASD", "ASD_not"} for part in parts.values())
        asd = parts["test"].query("label == 'ASD'")["patient"].nunique()
        assert 1 <= asd <= 2  # 7 in 4 folds
    assert folds.part("final", "test").empty
    assert len(folds.part("final", "train")) + len(folds.part("final", "valid")) == len(folds.table)


def test_folds_are_seeded():
    once, again = (make_folds(videos(), k=3, seed=1) for _ in range(2))
    pd.testing.assert_frame_equal(once, again)
    assert not once.equals(make_folds(videos(), k=3, seed=2))


def test_leave_one_site_out():
    table = videos(18)
    table.loc[len(table)] = ["away.mp4", "p01", "C", "ASD_not"]  # patient 1 was filmed at B too
    folds = make_folds(table, by="site")
    assert [name for name in folds if name.startswith("fold_")] == ["fold_1", "fold_2", "fold_3"]
    for number, site in enumerate("ABC", start=1):
        assert set(folds.loc[folds[f"fold_{number}"] == "test", "site"]) == {site}
    away = folds.set_index("video").loc["away.mp4"]
    assert away["fold_2"] == ""  # B is tested, and with it this patient: in no other part
    assert away["fold_3"] == "test"
    assert set(folds.loc[folds["patient"] == "P01", "fold_3"]) == {""}


def test_one_site_that_is_spelled_in_two_ways_is_left_out_whole():
    table = videos(18)
    respelled = table["site"].eq("B") & (table.index % 2 == 0)
    folds = make_folds(table.assign(site=table["site"].where(~respelled, " b")), by="site")
    assert [name for name in folds if name.startswith("fold_")] == ["fold_1", "fold_2", "fold_3"]
    assert (folds["fold_2"] == "test").tolist() == table["site"].eq("B").tolist()
    with pytest.raises(InputError, match="two sites at least"):
        assert_enough(["P1", "P2"], ["Tokyo", "tokyo"], 2, "site")


def test_videos_of_two_classes_of_one_patient_stay_together(tmp_path):
    table = videos()
    table.loc[table["video"] == "v0_1.mp4", "label"] = "ASD_not"  # filmed again after an operation
    folds = load_folds(manifest(tmp_path, make_folds(table, k=3)))
    for fold in folds.names:
        assert folds.table.loc[folds.table["patient"] == "P00", fold].nunique() == 1


def test_held_out_videos_are_the_test_of_final_alone(tmp_path):
    table = videos()
    table["split"] = np.where(table["patient"].isin(["P03", "P04"]), "test", "")
    folds = load_folds(manifest(tmp_path, make_folds(table, k=3)))
    assert set(folds.part("final", "test")["patient"]) == {"P03", "P04"}
    assert not {"P03", "P04"} & set().union(*patients_by_fold(folds).values())
    table.loc[len(table)] = ["x.mp4", "p03 ", "A", "ASD", ""]
    with pytest.raises(InputError, match=r"patient 'P03' \(also spelled 'p03 '\)"):
        make_folds(table, k=3)


@pytest.mark.parametrize(
    ("one", "other"),
    [("P07", " p07 "), ("P07", "Ｐ０７"), ("Zoë", "Zoe\u0308"), ("Anna B", "anna\u00a0 b\u200b")],
)
def test_spellings_of_one_name(one, other):
    assert name_key(one) == name_key(other)
    assert name_key(one) != name_key("P70")


def test_groups_join_spellings_files_and_given_groups():
    table = pd.DataFrame(
        {
            "patient": ["Ann", " ann", "Ben", "Carl", "Dora", "Eve", "Flo"],
            "group": ["", "", "g1", "G1 ", "", "", ""],
            "sha256": ["a", "b", "c", "d", "e", "e", ""],
        }
    )
    assert join_groups(table) == ["Ann", "Ann", "Ben", "Ben", "Dora", "Dora", "Flo"]


LEAKS = {
    "patient": ("patient", str, "The patient 'P"),
    "patient in another spelling": (
        "patient",
        lambda name: f" {name.lower()}",
        r"The patient .* \(also spelled ' p",
    ),
    "group": ("group", str, "The group 'P"),
    "copied file": ("sha256", str, "The file with the sha256 '0000"),
}


def leaky(spelling, column, spell):
    """A manifest in either spelling with a training video more that is a tested one in a column."""
    table = videos()
    table["sha256"] = [f"{n:064x}" for n in range(len(table))]
    table = make_folds(table, k=3)
    tested = table[table["fold_1"] == "test"].iloc[0]
    trained = table[table["fold_1"] == "train"].iloc[0].to_dict()
    new = {"video": "copy.mp4", "sha256": "", column: spell(tested[column])}
    table.loc[len(table)] = trained | new
    return (table if spelling == "parts" else numbered(table)), tested["video"]


def numbered(table, first=0):
    """The manifest as a single column with the number of the fold that tests."""
    parts = ["fold_1", "fold_2", "fold_3"]
    number = (table[parts] == "test").to_numpy().argmax(axis=1) + first
    return table.drop(columns=[*parts, "final"]).assign(fold=number)


@pytest.mark.parametrize("spelling", ["parts", "numbers"])
@pytest.mark.parametrize("leak", LEAKS)
def test_a_leak_is_refused_by_name(tmp_path, spelling, leak):
    column, spell, message = LEAKS[leak]
    table, tested = leaky(spelling, column, spell)
    with pytest.raises(InputError, match=message) as caught:
        load_folds(manifest(tmp_path, table))
    assert "copy.mp4" in str(caught.value)
    assert tested in str(caught.value)
    assert ("fold_1" if spelling == "parts" else "in fold 0") in str(caught.value)


def test_what_step_1_knows_is_checked_whatever_the_manifest_says(tmp_path):
    table = make_folds(videos(), k=3)
    path = manifest(tmp_path, table)
    known = table[["video", "patient"]].assign(sha256="", group=table["group"])
    test, train = (table.loc[table["fold_2"] == s, "video"].iloc[0] for s in ("test", "train"))
    known.loc[known["video"].isin([test, train]), "sha256"] = "ab" * 32
    known.to_csv(tmp_path / "videos.csv", index=False)
    with pytest.raises(InputError, match=r"by videos\.csv: The file with the sha256 'abab"):
        load_folds(path)
    known.assign(sha256="").to_csv(tmp_path / "videos.csv", index=False)
    assert len(load_folds(path).table) == len(table)


@pytest.mark.parametrize("spelling", ["numbers", "no final"])
@pytest.mark.parametrize("column", ["patient", "group", "sha256"])
def test_parts_that_are_made_keep_together_what_step_1_knows_to_belong_together(
    tmp_path, spelling, column
):
    table = make_folds(videos(), k=3)
    path = manifest(
        tmp_path, numbered(table) if spelling == "numbers" else table.drop(columns="final")
    )
    parts = ["fold_1", "fold_2", "fold_3"]
    alike = table.groupby(parts, sort=False).ngroup().astype(str)  # on one side in every fold
    known = table[["video", "patient"]].assign(group=table["group"], sha256="")
    known[column] = "same" + alike
    known.to_csv(tmp_path / "videos.csv", index=False)
    folds = load_folds(path)
    for name in folds.names:
        assert (folds.table.groupby(alike)[name].nunique() == 1).all()


def test_moving_single_clips_between_training_and_test_is_refused(tmp_path):
    """What four public successors of the source do after StratifiedGroupKFold has split well.

    One clip of every patient without the deformity moves from training to the held-out part, and
    one back, so that every such patient is on both sides.
    """
    table = make_folds(videos(30), k=3)
    others = table[table["label"] == "ASD_not"]
    for source, target in (("train", "test"), ("test", "train")):
        moved = others[others["fold_1"] == source].groupby("patient")["video"].first()
        table.loc[table["video"].isin(moved), "fold_1"] = target
    shared = [
        set(table.loc[(table["fold_1"] == s) & (table["label"] == "ASD_not"), "patient"])
        for s in ("train", "test")
    ]
    assert len(shared[0] & shared[1]) >= 15  # the leak is there
    with pytest.raises(InputError, match=r"fold_1: The patient 'P\d\d' is in"):
        load_folds(manifest(tmp_path, table))


@pytest.mark.parametrize("part", ["train", "test"])
def test_validation_shares_nobody_either(tmp_path, part):
    table = make_folds(videos(), k=3)
    video = table.loc[table["fold_3"] == "valid", "video"].iloc[0]
    with pytest.raises(InputError, match="fold_3: The patient"):
        load_folds(manifest(tmp_path, swap(table, "fold_3", video, part)))


@pytest.mark.parametrize(
    ("share", "fold_1", "final"),
    [(0.1, 1, 2), (0.2, 2, 4), (0.3, 3, 6), (0.35, 4, 7), (0.4, 4, 8), (0.45, 5, 9), (0.5, 5, 10)],
)
def test_as_many_validate_as_asked_for(share, fold_1, final, caplog):
    """Of 10 patients beside the test, and of all 20."""
    table = pd.DataFrame({"video": map(str, range(20)), "label": ["ASD", "ASD_not"] * 10})
    made = make_folds(table.assign(patient=table["video"]), k=2, valid_share=share)
    assert [(made[name] == "valid").sum() for name in ("fold_1", "final")] == [fold_1, final]
    assert "Patients that validate" not in caplog.text


def test_another_share_than_asked_for_is_told(caplog):
    """One patient has as many videos as all the others."""
    patients = ["P00"] * 12 + [f"P{n:02}" for n in range(1, 13)]
    labels = ["ASD"] * 12 + ["ASD", "ASD_not"] * 6
    table = pd.DataFrame({"video": map(str, range(24)), "patient": patients, "label": labels})
    made = make_folds(table, k=2, valid_share=0.5)
    count = made.loc[made["final"] == "valid", "patient"].nunique()
    assert count < 5  # of 13
    told = f"Patients that validate, with valid_share 0.5: {count} of 13 in final."
    assert told in caplog.text


@pytest.mark.parametrize("first", [0, 1])
def test_numbers_and_other_words_are_read(tmp_path, first):
    made = make_folds(videos(), k=3, seed=0)
    words = made.replace({"valid": "Validation ", "train": "TRAINING"})
    assert load_folds(manifest(tmp_path, words)).table.equals(
        load_folds(manifest(tmp_path, made)).table
    )
    folds = load_folds(manifest(tmp_path, numbered(made, first)))
    assert folds.names == ("fold_1", "fold_2", "fold_3", "final")
    for name in folds.names:  # the same validation parts too
        assert folds.table[name].tolist() == made[name].tolist()


def test_a_manifest_without_final_gets_one(tmp_path):
    made = make_folds(videos(), k=3, seed=0)
    folds = load_folds(manifest(tmp_path, made.drop(columns="final")))
    assert folds.names == ("fold_1", "fold_2", "fold_3", "final")
    assert folds.table["final"].tolist() == made["final"].tolist()


def test_too_few_patients_of_a_class_are_told_of(caplog):
    table = videos()
    table.loc[table["patient"].isin(["P01", "P02"]), "label"] = "DHS"
    made = make_folds(table, k=3)
    assert any("Class DHS has 2 patient(s)" in record.message for record in caplog.records)
    assert set(made.columns) >= {"fold_1", "fold_2", "fold_3", "final"}


def test_report_counts_patients_and_videos(tmp_path):
    table = videos(9, sites=("A",))
    folds = load_folds(manifest(tmp_path, make_folds(table, k=3)))
    counts = folds_report(folds, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "folds.csv",
        "fold_counts.csv",
        "fold_counts.png",
    }
    of_fold = counts[counts["fold"] == "fold_2"]
    assert (of_fold["patients"].sum(), of_fold["videos"].sum()) == (9, len(table))
    assert counts.query("part == 'test' and label == 'ASD'")["patients"].sum() == 3
    assert missing_classes(folds) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="patient"), "column.s. patient"),
        (lambda t: t.assign(label=["", *t["label"][1:]]), "a label in every row .* row 2"),
        (lambda t: pd.concat([t, t[:1]]), "lists the video v0_0.mp4 more than once"),
        (lambda t: t.assign(fold_1="holdout"), "train, valid, test or nothing .* fold_1"),
        (lambda t: t.drop(columns=["fold_1", "fold_2"]), "fold_1, fold_2 and so on"),
        (lambda t: t.assign(fold_2="train"), "fold_2 has no video in valid"),
    ],
)
def test_unusable_manifests(tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        load_folds(manifest(tmp_path, change(make_folds(videos(), k=2))))


def test_unusable_requests(tmp_path):
    with pytest.raises(InputError, match="at least 2 folds"):
        make_folds(videos(), k=1)
    with pytest.raises(InputError, match="at least 4 patients for 3 folds"):
        make_folds(videos(3), k=3)
    with pytest.raises(InputError, match="two sites at least"):
        make_folds(videos(sites=("A",)), by="site")
    with pytest.raises(InputError, match="found none"):
        load_folds(tmp_path / "folds.csv")
    assert len(make_folds(videos(4), k=3)) == len(videos(4))
