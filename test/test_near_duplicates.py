"""Films that are one and the same: drawn ones, phantoms, and the real pairs of ISBI 2015."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from films import everything, make_film

from medvial.cldetection.config import Config
from medvial.cldetection.preprocess import preprocess
from medvial_training.near_duplicates import SAME_FILM, find_near_duplicates
from medvial_training.phantoms.cldetection import make_phantom
from medvial_training.split_dealing import Fractions
from medvial_training.splits import load_splits
from medvial_training.tasks.cldetection.isbi2015 import main as isbi_main
from medvial_training.tasks.cldetection.prepare import prepare

ROOT = Path(__file__).parents[1]
ISBI = ROOT.parent / "shared" / "data" / "isbi2015"


def test_near_duplicates_of_few_films():
    films = [make_film(seed, 64, 128) for seed in range(3)]
    assert find_near_duplicates([]) == []
    assert find_near_duplicates(films[:1]) == []
    assert find_near_duplicates(films) == []
    (pair,) = find_near_duplicates([*films, films[1]])
    assert (pair.first, pair.second) == (1, 3)
    assert pair.distance < 0.001


def test_phantoms_are_not_duplicates_but_copies_of_them_are():
    config = Config(height=256, width=192)
    films = [preprocess(make_phantom(seed, 300, 242)[0], config)[0] for seed in range(12)]
    darker = cv2.convertScaleAbs(make_phantom(4, 300, 242)[0][4:, 3:], alpha=0.7, beta=20)
    noisy = darker + np.random.default_rng(0).integers(0, 9, darker.shape, dtype=np.uint8)
    films.append(preprocess(noisy, config)[0])
    found = find_near_duplicates(films, threshold=1.0)
    same = [pair for pair in found if pair.distance <= SAME_FILM]
    assert [(pair.first, pair.second) for pair in same] == [(4, 12)]
    assert same[0].distance < 0.6 * SAME_FILM
    assert min(pair.distance for pair in found if pair not in same) > 1.5 * SAME_FILM


def test_isbi_converter(tmp_path, capsys):
    folder = tmp_path / "isbi"
    (folder / "images").mkdir(parents=True)
    header = "image,split," + ",".join(f"p{i}{a}" for i in range(1, 20) for a in "xy")
    for name, shift in (("senior", 0), ("junior", 3)):
        rows = [
            f"00{i}.jpg,{split}," + ",".join(str(10 * i + shift + k) for k in range(38))
            for i, split in ((1, "train"), (2, "test1"))
        ]
        (folder / f"landmarks_{name}.csv").write_text("\n".join([header, *rows]) + "\n")
    assert isbi_main([str(folder), str(tmp_path / "out.csv")]) == 0
    table = pd.read_csv(tmp_path / "out.csv")
    assert table.columns[:5].tolist() == ["file", "scale", "split", "p1x", "p1y"]
    assert table["split"].tolist() == ["train", "test"]
    assert table["p2x"].tolist() == [13.5, 23.5]
    assert set(table["scale"]) == {0.1}

    (folder / "landmarks_junior.csv").write_text(header + "\n001.jpg,train,1,2\n")
    assert isbi_main([str(folder), str(tmp_path / "out.csv")]) == 1
    assert "landmarks_junior.csv, row 2: expected image, split" in capsys.readouterr().err
    (folder / "landmarks_junior.csv").write_text(
        "\n".join((folder / "landmarks_senior.csv").read_text().splitlines()[:2])
    )
    assert isbi_main([str(folder), str(tmp_path / "out.csv")]) == 1
    assert "Expected the same films in" in capsys.readouterr().err
    assert isbi_main([str(tmp_path), str(tmp_path / "out.csv")]) == 1
    assert "found no such folder" in capsys.readouterr().err


@pytest.mark.data
@pytest.mark.slow
def test_isbi_pairs_are_found_and_do_not_leak(tmp_path):
    if not ISBI.is_dir():
        pytest.skip("needs the real films in ../shared/data/isbi2015")
    assert isbi_main([str(ISBI), str(tmp_path / "isbi.csv")]) == 0
    config = Config(landmark_set="isbi-19", height=256, width=192)
    out = tmp_path / "out"
    fractions = Fractions(valid=0.1, test=0)
    prepare(ISBI, out, labels=tmp_path / "isbi.csv", model=config, fractions=fractions)
    frames = load_splits(out)
    listed = pd.read_csv(ISBI / "near_duplicates.csv")
    expected = {(a[:3], b[:3]) for a, b in zip(listed["image_a"], listed["image_b"], strict=True)}
    found = pd.read_csv(out / "near_duplicates.csv", dtype={"image_a": str, "image_b": str})
    assert set(zip(found["image_a"], found["image_b"], strict=True)) == expected
    assert found["distance"].max() < 0.5 * SAME_FILM
    assert len(frames["test"]) == 150
    assert len(frames["train"]) + len(frames["valid"]) == 130
    assert everything(frames)[["p1x", "p19y", "scale"]].notna().all(axis=None)
