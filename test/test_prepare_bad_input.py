"""Every way the input of step 1 of cldetection can be bad, and what is said then."""

import numpy as np
import pytest
from films import HEIGHT, WIDTH, make_film, replace, run, write_images, write_stack

from medvial.cldetection.config import Config
from medvial.errors import InputError

BAD_TRUTH = {
    "z too large": (lambda t: t[0]["point"].__setitem__(2, 5), "from 1 to 4 .*, got 5"),
    "z from zero": (lambda t: t[0]["point"].__setitem__(2, 0), "from 1 to 4"),
    "z between": (lambda t: t[0]["point"].__setitem__(2, 1.5), "from 1 to 4"),
    "outside": (
        lambda t: t[20]["point"].__setitem__(0, 149.6),
        r"film 2: expected landmark 2 inside the film of 150 x 120 pixels .* got \(149.6,",
    ),
    "negative": (lambda t: t[20]["point"].__setitem__(1, -1), "landmark 2 inside"),
    "infinite": (
        lambda t: t[3]["point"].__setitem__(0, float("inf")),
        "point 4: expected 3 finite",
    ),
    "two numbers": (lambda t: t[3]["point"].pop(), "3 finite numbers"),
    "name": (lambda t: t[3].__setitem__("name", 20), "1 to 19, got name 20"),
    "name zero": (lambda t: t[3].__setitem__("name", 0), "1 to 19, got name 0"),
    "no name": (lambda t: t[3].pop("name"), "point 4: expected"),
    "scale": (lambda t: t[3].__setitem__("scale", "inf"), "mm per pixel above 0, got 'inf'"),
    "scale word": (lambda t: t[3].__setitem__("scale", "ten"), "got 'ten'"),
    "scale zero": (lambda t: t[3].__setitem__("scale", 0), "got 0"),
    "scales": (lambda t: t[3].__setitem__("scale", "0.2"), "one scale for all its points"),
    "conflict": (
        lambda t: t.append({"name": 1, "point": [9, 9, 1], "scale": "0.1"}),
        "film 1: expected landmark 1 once",
    ),
    "never marked": (
        lambda t: [t.remove(p) for p in list(t) if p["name"] == 7],
        r"landmark 7 \(Pog\) is marked on no film",
    ),
    "empty": (lambda t: t.clear(), "a list .points. of landmarks"),
}


@pytest.mark.parametrize("case", BAD_TRUTH)
def test_bad_truth_of_a_stack(tmp_path, case):
    change, message = BAD_TRUTH[case]

    def edit(truth):
        change(truth)
        return truth

    source = write_stack(tmp_path / "raw", [make_film(n) for n in range(4)], edit=edit)
    with pytest.raises(InputError, match=message) as error:
        run(source, tmp_path / "out")
    assert "train-gt.json" in str(error.value)
    assert not (tmp_path / "out").exists()


BAD_ROWS = {
    "short row": (lambda cells: cells[:-1], "row 3: expected 40 columns, got 39"),
    "long row": (lambda cells: [*cells, "1"], "row 3: expected 40 columns, got 41"),
    "film missing": (replace(0, "zz.png"), "row 3: expected the film zz.png in"),
    "no file": (replace(0, ""), "row 3: expected the name of an image"),
    "kind": (replace(0, "../truth.csv"), "expected a film that ends with"),
    "scale": (replace(1, "nan"), "row 3: expected scale in mm per pixel above 0, got 'nan'"),
    "negative scale": (replace(1, "-0.1"), "row 3: expected scale"),
    "word": (replace(4, "left"), "row 3: expected p2x in pixels or nothing, got 'left'"),
    "infinite": (replace(4, "inf"), "row 3: expected p2x"),
    "half": (replace(4, ""), "row 3: expected both coordinates of landmark 2 or none"),
    "outside": (replace(4, "150"), "row 3: expected landmark 2 inside the film of 150 x 120"),
    "repeated": (replace(0, "a.png"), "row 3: expected every film once, got a.png again"),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_bad_row_of_a_table(tmp_path, case):
    edit, message = BAD_ROWS[case]
    source = write_images(tmp_path / "raw", rows={2: edit})
    with pytest.raises(InputError, match=message) as error:
        run(source, tmp_path / "out")
    assert "truth.csv" in str(error.value)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (["image", "scale"], "expected the columns file,scale,p1x"),
        (["file", "scale", "p1x", "p1y"], r"p1x to p19y .* got 2 coordinate columns up to p1y"),
    ],
)
def test_bad_header_of_a_table(tmp_path, header, message):
    with pytest.raises(InputError, match=message):
        run(write_images(tmp_path / "raw", header=header), tmp_path / "out")


def test_landmark_set_that_does_not_fit(tmp_path):
    source = write_images(tmp_path / "raw")
    with pytest.raises(InputError, match=r"38 landmarks of cl-38.* got 38 coordinate .* p19y"):
        run(source, tmp_path / "out", model=Config(landmark_set="cl-38", height=64, width=128))


def test_bad_split_column(tmp_path):
    source = write_images(tmp_path / "raw", split=["train", "test", "tset", *["train"] * 3])
    with pytest.raises(InputError, match="got 'tset' for sample 3"):
        run(source, tmp_path / "out")


def test_source_without_truth_or_films(tmp_path):
    with pytest.raises(InputError, match="found none at"):
        run(tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(InputError, match=r"Expected train-gt.json or one .csv table in .* no .csv"):
        run(tmp_path, tmp_path / "out")
    with pytest.raises(InputError, match="found none at"):
        run(tmp_path, tmp_path / "out", labels=tmp_path / "no.csv")
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(InputError, match=r"a .json or .csv file, got"):
        run(tmp_path, tmp_path / "out", labels=tmp_path / "a.txt")
    (tmp_path / "gt.json").write_text("{")
    with pytest.raises(InputError, match=r"that ends with \.mha"):
        run(tmp_path, tmp_path / "out", labels=tmp_path / "gt.json")
    source = write_stack(tmp_path / "raw", [make_film(0)])
    with pytest.raises(InputError, match="Expected JSON in"):
        run(source, tmp_path / "out", labels=tmp_path / "gt.json")
    (tmp_path / "empty.csv").write_text("file,scale\n")
    with pytest.raises(InputError, match="a header and a row per film"):
        run(source, tmp_path / "out", labels=tmp_path / "empty.csv")


def test_no_workers(tmp_path):
    with pytest.raises(InputError, match="at least 1 of --workers, got 0"):
        run(tmp_path, tmp_path / "out", workers=0)


def test_not_one_film_can_be_used(tmp_path):
    source = write_stack(tmp_path / "raw", [np.zeros((HEIGHT, WIDTH), np.uint8)] * 3)
    with pytest.raises(InputError, match="not one of them can be used"):
        run(source, tmp_path / "out")


def test_folder_that_cannot_be_written(tmp_path):
    source = write_images(tmp_path / "raw")
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="Expected to write"):
        run(source, tmp_path / "file" / "out")
    with pytest.raises(InputError, match="another folder than that of the raw films"):
        run(source, source)


def test_full_disk_is_said_before_the_work(tmp_path, monkeypatch):
    source = write_images(tmp_path / "raw")
    monkeypatch.setattr("shutil.disk_usage", lambda path: FullDisk())
    with pytest.raises(InputError, match="free space for 6 films"):
        run(source, tmp_path / "out")


class FullDisk:
    free = 1000
