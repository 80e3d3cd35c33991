"""Splits by hand-made tables, and the guard that every later step stands on."""

import pytest

from medvial.errors import InputError
from medvial_training.split_dealing import Fractions, assign_splits, group_samples
from medvial_training.splits import assert_disjoint, load_splits, read_manifest


def write_manifests(folder, *, train, valid="", test="", header="image_id,patient,group,p1x"):
    for name, rows in (("train", train), ("valid", valid), ("test", test)):
        text = "\n".join([header, *rows.split()]) + "\n"
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    (folder / "near_duplicates.csv").write_text("image_a,image_b,distance\n", encoding="utf-8")
    return folder


def test_groups_join_patients_and_pairs():
    patients = ["anna", "ben", "anna", "carl", "dora", "eve"]
    groups = group_samples(patients, [(1, 3), (2, 4)])
    assert groups == ["anna", "ben", "anna", "ben", "anna", "eve"]


def test_spellings_of_a_patient_are_one_group():
    assert group_samples(["P07", "q", " p07", "Q "], []) == ["P07", "q", "P07", "q"]


def test_a_patient_in_another_spelling_is_shared(tmp_path):
    write_manifests(tmp_path, train="a,P07,P07,1", valid="v,v,v,1", test="A,p07,p07,1")
    with pytest.raises(InputError, match=r"train\.csv and test\.csv share patient P07"):
        load_splits(tmp_path)


def test_groups_without_pairs_are_the_patients():
    assert group_samples(["b", "a", "b"], []) == ["b", "a", "b"]
    assert group_samples([], []) == []


def test_splits_have_the_right_sizes_and_keep_groups_whole():
    groups = [f"g{index // 2}" for index in range(80)]  # 40 groups of two
    splits = assign_splits(groups, fractions=Fractions(valid=0.1, test=0.25), seed=5)
    assert {name: splits.count(name) for name in ("train", "valid", "test")} == {
        "train": 52,
        "valid": 8,
        "test": 20,
    }
    assert all(splits[i] == splits[i + 1] for i in range(0, 80, 2))


def test_splits_are_seeded():
    groups = [str(index) for index in range(30)]
    assert assign_splits(groups, seed=1) == assign_splits(groups, seed=1)
    assert assign_splits(groups, seed=1) != assign_splits(groups, seed=2)


def test_three_samples_fill_three_splits():
    assert sorted(assign_splits(["a", "b", "c"])) == ["test", "train", "valid"]


def test_share_of_zero_leaves_a_split_empty():
    splits = assign_splits(["a", "b", "c", "d"], fractions=Fractions(valid=0.25, test=0))
    assert sorted(splits) == ["train", "train", "train", "valid"]


def test_given_split_drops_what_leaks_from_the_training_side():
    groups = ["a", "a", "b", "c", "c", "d", "e", "e", "f"]
    given = ["train", "test", "train", "Valid", "train", "val", "test", "test", "training"]
    assert assign_splits(groups, given) == [
        None,  # a is tested on
        "test",
        "train",
        "valid",
        None,  # c is validated on
        "valid",
        "test",
        "test",  # twice in the test: the benchmark stays whole
        "train",
    ]


def test_validation_is_carved_from_the_given_training_groups():
    groups = [f"g{index // 2}" for index in range(40)] + ["t0", "t1"]
    given = ["train"] * 40 + ["test"] * 2
    splits = assign_splits(groups, given, Fractions(valid=0.1, test=0.5), seed=3)
    assert splits[40:] == ["test", "test"]
    assert splits.count("valid") == 4
    assert all(splits[i] == splits[i + 1] for i in range(0, 40, 2))


def test_given_split_that_is_unknown_or_missing():
    with pytest.raises(InputError, match="got 'tset' for sample 2"):
        assign_splits(["a", "b"], ["train", "tset"])
    with pytest.raises(InputError, match="got None for sample 1"):
        assign_splits(["a", "b"], [None, "train"])
    with pytest.raises(InputError, match="none in the split train"):
        assign_splits(["a", "b"], ["valid", "test"])


def test_all_for_the_test_where_a_task_allows_it():
    everything = Fractions(valid=0, test=1)
    assert assign_splits(["a", "b"], ["TEST", "test"], test_alone=True) == ["test", "test"]
    assert assign_splits(["a"], fractions=everything, test_alone=True) == ["test"]
    given = ["train", "valid", "test"]  # what the data say counts
    assert assign_splits(["a", "b", "c"], given, everything, test_alone=True) == given
    for groups in (["a"], ["a", "b", "c"]):
        with pytest.raises(InputError, match="none in the split train"):
            assign_splits(groups, fractions=everything)


def test_too_few_groups():
    with pytest.raises(InputError, match=r"at least 2 groups .* got 1"):
        assign_splits(["a", "a", "a"])


@pytest.mark.parametrize(("valid", "test"), [(-0.1, 0.2), (0.5, 0.5), (float("nan"), 0.1)])
def test_bad_fractions(valid, test):
    with pytest.raises(InputError, match="together below 1"):
        Fractions(valid=valid, test=test)


def test_manifests_are_read_as_text_and_numbers(tmp_path):
    write_manifests(tmp_path, train="007,01,01,1.5 NA,02,02,", valid="v,v,v,2", test="t,t,t,nan")
    frames = load_splits(tmp_path)
    assert list(frames["train"]["image_id"]) == ["007", "NA"]
    assert list(frames["train"]["patient"]) == ["01", "02"]
    assert frames["train"]["p1x"].isna().tolist() == [False, True]
    assert read_manifest(tmp_path, "test")["p1x"].isna().all()


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ("a,p,p,1 b,q,q,1", "a,r,r,1", r"train.csv and test.csv share image_id a"),
        ("a,p,p,1 b,q,q,1", "c,q,r,1", r"train.csv and test.csv share patient q"),
        ("a,p,g1,1 b,q,g2,1", "c,r,g2,1", r"train.csv and test.csv share group g2"),
        ("a,p,p,1 a,p,p,1", "c,r,r,1", r"train.csv lists image_id a more than once"),
        (
            "a,,p,1",
            "c,r,r,1",
            r"a value for patient in every row of .*train.csv, got none in row 2",
        ),
    ],
)
def test_manifests_that_share_something(tmp_path, train, test, message):
    write_manifests(tmp_path, train=train, valid="v,v,v,1", test=test)
    with pytest.raises(InputError, match=message):
        read_manifest(tmp_path, "valid")


def test_manifests_that_part_near_duplicates(tmp_path):
    write_manifests(tmp_path, train="a,a,a,1", valid="v,v,v,1", test="t,t,t,1")
    pairs = tmp_path / "near_duplicates.csv"
    pairs.write_text("image_a,image_b,distance\nx,t,0.01\n", encoding="utf-8")
    load_splits(tmp_path)  # x was left out
    pairs.write_text("image_a,image_b,distance\na,t,0.01\n", encoding="utf-8")
    with pytest.raises(InputError, match="a and t are nearly the same picture, but they are in"):
        load_splits(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("first,second\na,t\n", "columns image_a and image_b in .*, got first, second"),
        ("image_a,image_b\na\n", r"in every row of .*, not so: \[2\]"),
        ("image_a,image_b\nx,y\n,t\n", r"not so: \[3\]"),
    ],
)
def test_a_table_of_near_duplicates_that_says_nothing_is_refused(tmp_path, content, message):
    write_manifests(tmp_path, train="a,a,a,1", valid="v,v,v,1", test="t,t,t,1")
    (tmp_path / "near_duplicates.csv").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        load_splits(tmp_path)


def test_a_table_of_near_duplicates_of_a_spreadsheet_is_read(tmp_path):
    write_manifests(tmp_path, train="a,a,a,1", valid="v,v,v,1", test="t,t,t,1")
    pairs = tmp_path / "near_duplicates.csv"
    pairs.write_text("image_a,image_b\na,t\n", encoding="utf-8-sig")
    with pytest.raises(InputError, match="a and t are nearly the same picture"):
        load_splits(tmp_path)
    pairs.write_bytes("image_a,image_b\nä,t\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"Expected a readable table at .*near_duplicates\.csv"):
        load_splits(tmp_path)


def test_missing_table_of_near_duplicates(tmp_path):
    write_manifests(tmp_path, train="a,a,a,1", valid="v,v,v,1", test="t,t,t,1")
    (tmp_path / "near_duplicates.csv").unlink()
    with pytest.raises(InputError, match=r"near_duplicates\.csv, found none.*Run step 1 again"):
        load_splits(tmp_path)


def test_missing_and_unusable_manifests(tmp_path):
    with pytest.raises(InputError, match=r"train\.csv, found none. Run step 1"):
        load_splits(tmp_path)
    write_manifests(tmp_path, train="a,1", header="image_id,p1x")
    with pytest.raises(InputError, match=r"column.* patient, group in"):
        load_splits(tmp_path)
    with pytest.raises(InputError, match="a split of train, valid, test, got 'tset'"):
        read_manifest(tmp_path, "tset")


def test_empty_manifest_is_no_error(tmp_path):
    write_manifests(tmp_path, train="a,a,a,1")
    frames = load_splits(tmp_path)
    assert {name: len(frame) for name, frame in frames.items()} == {
        "train": 1,
        "valid": 0,
        "test": 0,
    }
    assert_disjoint(frames)
