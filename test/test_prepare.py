"""Step 1 of cldetection on small stacks and folders, and every way its input can be bad."""

import dataclasses
import json

import cv2
import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk  # noqa: N813 the library's customary name
from films import (
    CONFIG,
    COUNT,
    HEIGHT,
    WIDTH,
    everything,
    make_film,
    make_points,
    replace,
    run,
    write_images,
    write_stack,
)

from medvial.cldetection.landmarks import landmark_set_path, load_landmark_set
from medvial.cldetection.preprocess import Geometry, preprocess
from medvial.errors import InputError
from medvial_training.tasks.cldetection.dataset import load_config, load_samples

FILES = {
    "config.json",
    "landmark_set.json",
    "source.json",
    "progress.jsonl",
    "near_duplicates.csv",
    "images",
}
FILES |= {"train.csv", "valid.csv", "test.csv"}


@pytest.mark.parametrize("compressed", [False, True])
def test_stack_becomes_network_size_films(tmp_path, compressed):
    films = [make_film(number, 100 + number, 120 - number) for number in range(7)]
    source = write_stack(tmp_path / "raw", films, compressed=compressed)
    out = tmp_path / "out"
    frames = run(source, out)
    assert {path.name for path in out.iterdir()} == FILES
    table = everything(frames)
    assert list(table.index) == [f"00{number}" for number in range(1, 8)]
    assert [len(frames[split]) for split in ("train", "valid", "test")] == [5, 1, 1]

    for number, film in enumerate(films, start=1):
        row = table.loc[f"00{number}"]
        grey, geometry = preprocess(film, CONFIG)
        stored = cv2.imread(str(out / "images" / f"00{number}.png"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(stored, grey)
        assert Geometry(**{name: row[name] for name in geometry.as_dict()}) == geometry
        points = row[[f"p{i}{axis}" for i in range(1, COUNT + 1) for axis in "xy"]]
        np.testing.assert_array_equal(points.to_numpy(float).reshape(-1, 2), make_points(number))
        assert row["scale"] == 0.1
        assert row["patient"] == row["group"] == f"00{number}"


def test_mean_and_std_are_those_of_the_training_films_without_padding(tmp_path):
    films = [make_film(number, 100, 110) for number in range(7)]
    frames = run(write_stack(tmp_path / "raw", films), tmp_path / "out")
    values = []
    for image_id in frames["train"]["image_id"]:
        grey, geometry = preprocess(films[int(image_id) - 1], CONFIG)
        width = round(geometry.content_width * geometry.scale_x)
        values.append(grey[:, geometry.offset_x : geometry.offset_x + width].ravel() / 255)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["mean"] == pytest.approx(np.concatenate(values).mean(), abs=1e-6)
    assert config["std"] == pytest.approx(np.concatenate(values).std(), abs=1e-6)
    assert (config["landmark_set"], config["height"], config["width"]) == ("isbi-19", 64, 128)


def test_names_and_scales_as_text_or_number(tmp_path):
    def edit(truth):
        symbols = load_landmark_set("isbi-19").symbols
        for index, point in enumerate(truth):
            kinds = (point["name"], str(point["name"]), symbols[point["name"] - 1])
            point["name"] = kinds[index % 3]
            point["scale"] = 0.1 if index % 2 else "0.1"
        return truth

    source = write_stack(tmp_path / "raw", [make_film(n) for n in range(4)], edit=edit)
    table = everything(run(source, tmp_path / "out"))
    assert table.loc["002", "p7x"] == make_points(2)[6, 0]
    assert set(table["scale"]) == {0.1}


def test_missing_and_repeated_points_are_reported(tmp_path, caplog):
    def edit(truth):
        return [*truth[1:], truth[4], truth[5]]

    source = write_stack(tmp_path / "raw", [make_film(n) for n in range(4)], edit=edit)
    with caplog.at_level("WARNING"):
        table = everything(run(source, tmp_path / "out"))
    assert np.isnan(table.loc["001", "p1x"])
    assert "1 landmarks are missing on 1 film(s)" in caplog.text
    assert "2 points are given twice" in caplog.text


def test_black_film_and_film_without_truth_are_left_out_and_counted(tmp_path, caplog):
    films = [make_film(number) for number in range(6)]
    films[1] = np.zeros((HEIGHT, WIDTH), np.uint8)

    def edit(truth):
        return [point for point in truth if point["point"][2] != 5]

    source = write_stack(tmp_path / "raw", films, edit=edit, phantom=True)
    with caplog.at_level("INFO"):
        table = everything(run(source, tmp_path / "out"))
    assert list(table.index) == ["001", "003", "004", "006"]
    about = json.loads((tmp_path / "out" / "source.json").read_text())
    assert about["films"] == {"train": 2, "valid": 1, "test": 1, "left_out": 2, "leaking": 0}
    assert "pixels are all 0" in about["left_out"]["002"]
    assert "no landmark" in about["left_out"]["005"]
    assert about["phantom"] is True
    assert about["description"] == "drawn"
    assert "Left out 002" in caplog.text
    assert "no clinical meaning" in caplog.text


def test_truncated_stack_keeps_its_whole_films(tmp_path):
    source = write_stack(tmp_path / "raw", [make_film(number) for number in range(5)])
    stack = source / "train_stack.mha"
    stack.write_bytes(stack.read_bytes()[:-10])
    assert list(everything(run(source, tmp_path / "out")).index) == ["001", "002", "003", "004"]
    about = json.loads((tmp_path / "out" / "source.json").read_text())
    assert "slice 5 of 5" in about["left_out"]["005"]


def test_left_facing_film_is_mirrored(tmp_path):
    films = [make_film(number) for number in range(4)]

    def edit(truth):
        for point in truth:
            if point["point"][2] == 2:
                point["point"][0] = WIDTH - 1 - point["point"][0]
        return truth

    mirrored = [*films[:1], films[1][:, ::-1], *films[2:]]
    run(write_stack(tmp_path / "raw", films), tmp_path / "out")
    table = everything(run(write_stack(tmp_path / "left", mirrored, edit=edit), tmp_path / "out2"))
    assert table["mirrored"].tolist() == [False, True, False, False]
    same = [(tmp_path / out / "images" / "002.png").read_bytes() for out in ("out", "out2")]
    assert same[0] == same[1]
    row = table.loc["002"]
    geometry = Geometry(**{name: row[name] for name in Geometry.__dataclass_fields__})
    left = np.array([row["p7x"], row["p7y"]])
    _, right_geometry = preprocess(films[1], CONFIG)
    np.testing.assert_allclose(
        geometry.to_network(left), right_geometry.to_network(make_points(2)[6])
    )


def test_images_with_patients_and_splits(tmp_path):
    source = write_images(
        tmp_path / "raw",
        patient=["x", "y", "y", "z", "", "x"],
        split=["train", "train", "test", "train", "valid", "train"],
        rows={4: replace(4, "")},
    )
    text = (source / "truth.csv").read_text().splitlines()
    cells = text[4].split(",")
    text[4] = ",".join([*cells[:5], "", *cells[6:]])
    (source / "truth.csv").write_text("\n".join(text))
    frames = run(source, tmp_path / "out")
    assert list(frames["train"]["image_id"]) == ["a", "d", "f"]
    assert list(frames["train"]["patient"]) == ["x", "z", "x"]
    assert list(frames["valid"]["image_id"]) == ["e"]
    assert list(frames["valid"]["patient"]) == ["e"]
    assert list(frames["test"]["image_id"]) == ["c"]
    assert np.isnan(everything(frames).loc["d", "p1x"])
    assert everything(frames).loc["d", "p2x"] == make_points(3)[1, 0]
    about = json.loads((tmp_path / "out" / "source.json").read_text())
    assert about["leaking"] == ["b"]  # y is tested on


def test_near_duplicates_are_found_and_kept_on_one_side(tmp_path):
    source = write_images(tmp_path / "raw", count=12)
    brighter = cv2.convertScaleAbs(make_film(3), alpha=0.8, beta=30)
    cv2.imwrite(str(source / "images" / "k.png"), brighter[2:, 1:])
    frames = run(source, tmp_path / "out")
    pairs = pd.read_csv(tmp_path / "out" / "near_duplicates.csv")
    assert pairs[["image_a", "image_b"]].to_numpy().tolist() == [["d", "k"]]
    table = everything(frames)
    assert table.loc["d", "group"] == table.loc["k", "group"] == "d"
    sides = [split for split, frame in frames.items() if {"d", "k"} & set(frame["image_id"])]
    assert len(sides) == 1


def test_names_of_the_2024_challenge_and_labels_elsewhere(tmp_path):
    source = write_images(tmp_path / "raw")
    text = (source / "truth.csv").read_text().replace("file,scale", "image file,spacing(mm)")
    (source / "truth.csv").unlink()
    (tmp_path / "labels.csv").write_text(text)
    frames = run(source / "images", tmp_path / "out", labels=tmp_path / "labels.csv")
    assert set(everything(frames)["scale"]) == {0.125}


def test_16_bit_and_jpeg_and_mha_films_in_one_folder(tmp_path):
    source = write_images(tmp_path / "raw", rows={2: replace(0, "b.mha"), 3: replace(0, "c.tif")})
    wide = make_film(1).astype(np.uint16) * 200
    sitk.WriteImage(sitk.GetImageFromArray(wide), str(source / "images" / "b.mha"))
    cv2.imwrite(str(source / "images" / "c.tif"), make_film(2))
    assert len(everything(run(source, tmp_path / "out"))) == 6


@pytest.mark.parametrize("name", ["train.csv", "near_duplicates.csv"])
def test_the_users_own_table_is_not_overwritten(tmp_path, name):
    source, out = write_images(tmp_path / "raw"), tmp_path / "out"
    out.mkdir()
    labels = (source / "truth.csv").rename(out / name)
    before = labels.read_bytes()
    with pytest.raises(InputError, match=rf"a file of its own in the place of .*{name}"):
        run(source / "images", out, labels=labels)
    assert labels.read_bytes() == before
    assert [path.name for path in out.iterdir()] == [name]


def test_a_corrected_landmark_set_is_taken(tmp_path):
    source, out = write_images(tmp_path / "raw"), tmp_path / "out"
    own = tmp_path / "own.json"
    content = json.loads(landmark_set_path("isbi-19").read_text()) | {"name": "own"}
    own.write_text(json.dumps(content))
    config = dataclasses.replace(CONFIG, landmark_set=str(own))
    run(source, out, model=config)
    content["landmarks"][0], content["landmarks"][1] = content["landmarks"][1::-1]
    own.write_text(json.dumps(content))
    run(source, out, model=config)
    assert json.loads((out / "landmark_set.json").read_text()) == content
    (out / "landmark_set.json").unlink()
    run(source, out, model=config)
    assert (out / "landmark_set.json").is_file()


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("mirrored", "no", "True or False under mirrored, in the row of .* got: 'no'"),
        ("mirrored", "", "True or False under mirrored"),
        ("offset_x", "", "Expected numbers"),
        ("p3x", "left", "got: could not convert string to float: 'left'"),
        ("scale", "-0.1", "a scale above 0"),
    ],
)
def test_cells_of_a_prepared_table_that_are_none(tmp_path, column, value, message):
    out = tmp_path / "out"
    run(write_images(tmp_path / "raw"), out)
    table = pd.read_csv(out / "train.csv", dtype=str, keep_default_na=False)
    table.loc[0, column] = value
    table.to_csv(out / "train.csv", index=False)
    with pytest.raises(InputError, match=message):
        load_samples(out, load_config(out))
    table.loc[0, column] = {"mirrored": "FALSE", "scale": ""}.get(column, "1")
    table.to_csv(out / "train.csv", index=False)
    first = load_samples(out, load_config(out))["train"][0]
    assert not first.geometry.mirrored
    assert np.isnan(first.mm_per_px) == (column == "scale")


def test_unreadable_film_is_left_out_and_counted(tmp_path):
    source = write_images(tmp_path / "raw")
    (source / "images" / "b.png").write_bytes(b"")
    data = (source / "images" / "c.png").read_bytes()
    (source / "images" / "c.png").write_bytes(data[:60])
    assert list(everything(run(source, tmp_path / "out")).index) == ["a", "d", "e", "f"]
    left_out = json.loads((tmp_path / "out" / "source.json").read_text())["left_out"]
    assert "an empty file" in left_out["b"]
    assert "damaged or cut off" in left_out["c"]
