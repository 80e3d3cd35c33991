"""Leg agility through steps 1 to 3, on people whose knees move as formulas say."""

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from keypoint_clips import clip, taps, write_folder, write_zip

from medvial.errors import InputError
from medvial.gait.leg_agility.config import LegConfig
from medvial.gait.leg_agility.rating import probabilities
from medvial.models import ModelFolder, sha256
from medvial_training.fit_args import FitArgs
from medvial_training.folds import load_folds
from medvial_training.metrics import Bootstrap
from medvial_training.tasks.gait.leg_agility import reading
from medvial_training.tasks.gait.leg_agility.augment import LegAugmentation
from medvial_training.tasks.gait.leg_agility.choices import LegTraining
from medvial_training.tasks.gait.leg_agility.evaluate import evaluate_system
from medvial_training.tasks.gait.leg_agility.options import LegOptions
from medvial_training.tasks.gait.leg_agility.prepare import prepare_system
from medvial_training.tasks.gait.leg_agility.recordings import Recordings, Stored
from medvial_training.tasks.gait.leg_agility.scores import all_scores
from medvial_training.tasks.gait.leg_agility.train import as_shipped, majority_of, train_system
from medvial_training.tasks.gait.systems import FoldOptions
from medvial_training.tasks.gait.train import train
from medvial_training.tasks.gait.write_model import write_model

ABOUT = {"phantom": True, "description": "moved by formulas", "licence": "none", "source": "x"}
FOLDS = FoldOptions(k=3, valid_share=0.34)
CONFIG = LegConfig(kind="kinematic")
TRAINING = LegTraining(trees=8, least_leaf=1, augment=LegAugmentation(variants=0))
FIT = FitArgs(mlflow=False)


FPS = 20.0
LEG_TABLES = ("videos.csv", "legs.csv")
SHORT = {"used": "0", "unused_because": "the clip is 1.0 s long"}


def moved(score: int, rng: np.random.Generator) -> np.ndarray:
    """Heights of a knee: without faults, with two pauses, with four."""
    pauses = {k: 0.5 for k in range(1, 1 + 2 * score)}
    heights = 0.4 * rng.uniform(0.9, 1.1, 8)
    return taps(heights, cycle_s=rng.uniform(0.4, 0.5), pauses=pauses, fps=FPS)


def recording(left: int, right: int, seed: int) -> np.ndarray:
    """(T, 1, 25, 3) the right leg first, then the left; nobody is like another."""
    rng = np.random.default_rng(seed)
    first, second = moved(right, rng), moved(left, rng)
    rest = np.zeros(int(rng.integers(5, 30)))
    points = clip(
        np.concatenate([np.zeros(len(first)), rest, second]),
        np.concatenate([first, rest, np.zeros(len(second))]),
    )
    points[..., :2] *= rng.uniform(0.8, 1.2)
    points[..., :2] += rng.normal(0, 0.4, points[..., :2].shape)
    return points[:, None]


SCORES = [(0, 1), (1, 0), (1, 1), (0, 0), (2, 1), (1, 2), (0, 1), (1, 1), (2, 0), (0, 2)]


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """Ten patients, one of them twice; a leg that was not rated; a copy under another name."""
    folder = tmp_path_factory.mktemp("source")
    rows = []
    for number, (left, right) in enumerate(SCORES):
        people = recording(left, right, number)
        rows.append([f"R{number:02d}", f"P{number}", left, "X" if number == 3 else right])
        if number % 2:
            write_folder(folder / "openpose" / f"R{number:02d}Json", people)
        else:
            write_zip(folder / f"R{number:02d}.zip", people)
    write_zip(folder / "R10.zip", recording(1, 0, 77))
    rows.append(["R10", "P1", 1, 0])
    shutil.copytree(folder / "openpose" / "R01Json", folder / "openpose" / "R11Json")
    rows.append(["R11", "P11", 1, 0])  # the source copied its few recordings of score 3 so
    cut = recording(2, 1, 4)[12:] * 0.75  # R04, smaller, from another frame on
    write_folder(folder / "openpose" / "R12", cut)
    rows.append(["R12", "P12", 2, 1])
    rows.append(["R13", "P13", 1, 1])
    (folder / "R14.zip").write_bytes(b"no archive")
    rows.append(["R14", "P14", 1, 1])
    header = ["VideoId", "patient", "mds_updrs_left", "mds_updrs_right"]
    pd.DataFrame(rows, columns=header).to_csv(folder / "labels.csv", index=False)
    return folder


def prepare(source: Path, out: Path, folds: FoldOptions = FOLDS, **options) -> None:
    wanted = LegOptions(**{"fps": FPS} | options)
    prepare_system(source, out, LegConfig(), options=wanted, folds=folds, about=ABOUT, workers=1)


def read_before(data: Path, out: Path) -> Path:
    """A folder that has the keypoints already."""
    for name in ("keypoints", "sheets"):
        shutil.copytree(data / name, out / name)
    return out


@pytest.fixture(scope="module")
def data(source, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("data") / "leg_agility"
    prepare(source, out)
    return out


@pytest.fixture(scope="module")
def run(data, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    train_system(data, folder / "leg_agility", config_of(data), FIT, TRAINING, resume=False)
    write_model(folder)
    return folder


def config_of(data: Path) -> LegConfig:
    levels = json.loads((data / "config.json").read_text())["levels"]
    return LegConfig(kind="kinematic", levels=tuple(levels))


def test_step_1_leaves_these_files(data):
    names = {p.name for p in data.iterdir()}
    assert names == {
        *("config.json", "source.json", "videos.csv", "legs.csv", "scores.csv", "folds.csv"),
        *("fold_counts.csv", "fold_counts.png", "near_duplicates.csv", "rejected.csv"),
        *("keypoints", "sheets"),
    }
    assert json.loads((data / "config.json").read_text())["levels"] == [0, 1, 2]
    source = json.loads((data / "source.json").read_text())
    assert source["phantom"]
    assert source["legs"] == {"left": 12, "right": 11}


def test_an_unrated_leg_is_left_out_alone_and_told_of(data):
    legs = Recordings.open(data).legs.set_index(["video", "leg"])
    assert legs.loc[("R03", "left"), "used"] == "1"
    assert legs.loc[("R03", "right"), "used"] == "0"
    rejected = pd.read_csv(data / "rejected.csv").set_index("video")["reason"]
    assert rejected["R03, right leg"] == "not rated by the clinician"
    assert "no recording" in rejected["R13"]
    assert "R14.zip" in rejected["R14"]
    counts = pd.read_csv(data / "scores.csv").set_index(["leg", "score"])["legs"]
    assert counts["left"].tolist() == [4, 5, 3, 0, 0]


def test_copies_are_found_by_what_they_show(data):
    """The source's test set: copies of the training recordings, and the validation set itself."""
    rejected = pd.read_csv(data / "rejected.csv").set_index("video")["reason"]
    assert rejected["R11"] == "the same recording as R01, copied"
    (pair,) = pd.read_csv(data / "near_duplicates.csv")[["video_a", "video_b"]].to_numpy().tolist()
    assert sorted(pair) == ["R04", "R12"]
    groups = pd.read_csv(data / "videos.csv").set_index("video")["group"]
    assert groups["R04"] == groups["R12"]


def test_no_fold_tests_whom_it_has_seen(data):
    folds = load_folds(data / "folds.csv")
    tested = []
    for fold in folds.tested:
        parts = {split: folds.part(fold, split) for split in ("train", "valid", "test")}
        for column in ("group", "patient", "sha256"):
            sets = [set(part[column]) for part in parts.values()]
            assert sum(map(len, sets)) == len(set().union(*sets))
        tested += parts["test"]["video"].tolist()
    assert sorted(tested) == sorted(folds.table["video"])


def test_all_frames_are_kept_at_their_times(data):
    recordings = Recordings.open(data)
    points, times_s = recordings.clip("R00")
    assert points.shape == (len(recording(*SCORES[0], 0)), 25, 3)
    assert np.diff(times_s) == pytest.approx(1 / FPS)
    assert len(recordings.legs) == 2 * 12


def test_what_was_read_is_not_read_again_unless_it_changed(source, data, tmp_path, monkeypatch):
    out, changed = tmp_path / "data", tmp_path / "source"
    shutil.copytree(data, out)
    shutil.copytree(source, changed, copy_function=shutil.copy2)
    read, real = [], reading.read_recording

    def noted(recording, options):
        read.append(recording.name)
        return real(recording, options)

    monkeypatch.setattr(reading, "read_recording", noted)
    prepare(changed, out)
    assert read == ["R14"]  # the one that cannot be read
    write_zip(changed / "R02.zip", recording(1, 1, 99))
    (out / "keypoints" / "R04.npz").write_bytes(b"cut off")
    prepare(changed, out)
    assert sorted(read) == ["R02", "R04", "R14", "R14"]


def test_repeats_deal_the_patients_out_anew(source, data, tmp_path):
    prepare(source, read_before(data, tmp_path / "out"), repeats=2)
    folds = load_folds(tmp_path / "out" / "folds.csv")
    assert folds.names == (*(f"fold_{n}" for n in range(1, 7)), "final")
    parts = [set(folds.part(fold, "test")["video"]) for fold in folds.tested]
    assert sum(map(len, parts[3:])) == len(folds.table)
    assert parts[:3] != parts[3:]


def test_step_2_rates_each_leg_by_networks_that_never_saw_the_patient(data, run):
    folder = run / "leg_agility"
    table = pd.read_csv(folder / "predictions.csv")
    legs = Recordings.open(data).legs
    assert len(table) == (legs["used"] == "1").sum()
    assert not table[["video", "leg"]].duplicated().any()
    assert set(table["leg"]) == {"left", "right"}  # the source trained on the left score alone
    assert set(table["predicted"]) <= {0, 1, 2}
    assert np.allclose(table[["p_0", "p_1", "p_2"]].sum(axis=1), 1, atol=1e-4)
    folds, recordings = load_folds(data / "folds.csv"), Recordings.open(data)
    for fold in folds.tested:
        train = recordings.samples(folds.part(fold, "train")["video"])
        row = table[(table["fold"] == fold) & (table["leg"] == "right")].iloc[0]
        assert row["majority"] == majority_of(train)["right"]
    assert {p.name for p in (folder / "model").iterdir()} == {
        *("leg_agility.onnx", "config.json", "learned.json", "metrics.json", "training.json")
    }
    metrics = json.loads((folder / "model" / "metrics.json").read_text())
    assert set(metrics["cross_validation"]) == {"left", "right", "both"}


def test_predictions_are_as_the_container_gives_them(data, run):
    folder = run / "leg_agility"
    table = pd.read_csv(folder / "predictions.csv")
    learned = json.loads((folder / "model" / "learned.json").read_text())["temperature"]
    assert abs(learned - 1) > 0.01
    likely = probabilities(table.filter(like="output_").to_numpy(), config_of(data), learned)
    assert table[["p_0", "p_1", "p_2"]].to_numpy() == pytest.approx(likely, abs=1e-4)
    assert table["expected"].to_numpy() == pytest.approx(likely @ [0, 1, 2], abs=1e-3)


def test_a_temperature_may_move_the_median():
    config = LegConfig(levels=(0, 1, 2), loss="cross_entropy")
    outputs = {"output_0": [0.0, None], "output_1": [1.9, None], "output_2": [2.0, None]}
    table = pd.DataFrame({"predicted": [2, None], "expected": [2.0, None], **outputs})
    table[["p_0", "p_1", "p_2"]] = None
    sharp, flat = (as_shipped(table, config, temperature) for temperature in (0.01, 10.0))
    assert (sharp["predicted"][0], flat["predicted"][0]) == (2, 1)
    assert flat["expected"][0] == pytest.approx(1.06, abs=0.01)
    assert flat["p_0"][0] == pytest.approx(1 / (1 + np.exp(0.19) + np.exp(0.2)), abs=1e-6)
    assert flat.loc[1].isna().all()


def test_the_tracker_is_told_of_data_and_fold(data, tmp_path, monkeypatch):
    told = {}

    def learn(*_, notes, **__):
        told.update(notes)
        raise InputError("enough")

    monkeypatch.setattr("medvial_training.tasks.gait.leg_agility.train.learn", learn)
    with pytest.raises(InputError, match="enough"):
        train_system(data, tmp_path / "run", config_of(data), FIT, TRAINING, resume=False)
    assert told == {"data": str(data), "run": "run", "fold": "fold_1"}


@pytest.mark.parametrize(
    "damage", [lambda b: b[: len(b) // 2], lambda b: b[:90] + b[:40] + b[130:]]
)
def test_damaged_keypoints_are_told_and_read_anew(source, data, tmp_path, damage):
    out = read_before(data, tmp_path / "data")
    path = out / "keypoints" / "R01.npz"
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    with pytest.raises(InputError, match=r"R01\.npz, got: .* Run step 1 again"):
        Stored.read(path)
    prepare(source, out)
    assert Stored.read(path).sha256 == Stored.read(data / "keypoints" / "R01.npz").sha256


def test_what_nobody_learns_from_is_told(data, tmp_path, caplog):
    caplog.set_level("INFO", "medvial_training")
    legs = pd.read_csv(data / "legs.csv", dtype=str, keep_default_na=False)
    legs.loc[legs["video"] == "R02", "used"] = "0"
    spoiled = shutil.copytree(data, tmp_path / "data")
    legs.to_csv(spoiled / "legs.csv", index=False)
    folds = pd.read_csv(data / "folds.csv", dtype=str)
    folds[folds["video"] != "R02"].to_csv(spoiled / "folds.csv", index=False)
    train_system(spoiled, tmp_path / "run", config_of(data), FIT, TRAINING, resume=False)
    count = len(folds)
    lost = (
        f"Not used: 2 legs with a clinician's score that cannot be rated (why: {spoiled}/legs.csv)"
    )
    assert f"{lost}, 1 of {count} recordings that are in no fold." in caplog.text
    rejected = len(pd.read_csv(data / "rejected.csv"))
    told = f"Recordings and legs that step 1 left out: {rejected} ({spoiled / 'rejected.csv'})."
    assert told in caplog.text


def test_a_forest_has_no_start(data, tmp_path):
    training = dataclasses.replace(TRAINING, weights="runs/gait/model")
    with pytest.raises(InputError, match=r"no --leg_agility_training\.weights .*kinematic"):
        train_system(data, tmp_path, config_of(data), FIT, training, resume=False)
    assert not list(tmp_path.iterdir())


def test_finished_folds_are_kept(data, run, monkeypatch):
    def never(*_, **__):
        raise AssertionError

    monkeypatch.setattr("medvial_training.tasks.gait.leg_agility.train.learn", never)
    folder = run / "leg_agility"
    before = (folder / "predictions.csv").read_bytes()
    train_system(data, folder, config_of(data), FIT, TRAINING, resume=True)
    assert (folder / "predictions.csv").read_bytes() == before
    other = LegTraining(trees=9, least_leaf=1, augment=TRAINING.augment)
    with pytest.raises(InputError, match="trees"):
        train_system(data, folder, config_of(data), FIT, other, resume=True)


def test_a_corrected_score_is_not_passed_over(data, run, tmp_path):
    """Also that of the better leg, which is not in the folds."""
    corrected = shutil.copytree(data, tmp_path / "data")
    legs = pd.read_csv(corrected / "legs.csv", dtype=str, keep_default_na=False)
    legs.loc[(legs["video"] == "R00") & (legs["leg"] == "left"), "score"] = "1"
    legs.to_csv(corrected / "legs.csv", index=False)
    folder = shutil.copytree(run / "leg_agility", tmp_path / "run")
    with pytest.raises(InputError, match="keypoints or scores of its videos have changed"):
        train_system(corrected, folder, config_of(data), FIT, TRAINING, resume=True)


def test_a_kept_system_stays_what_it_was_trained_on(data, run, tmp_path):
    """Whatever lies in the data's folder of the other system now."""
    kept = shutil.copytree(run, tmp_path / "run") / "walking" / "model"
    shutil.copytree(run / "leg_agility" / "model", kept)
    origin = json.loads((kept / "training.json").read_text())
    origin |= {"learned_from": {"train": ["a"], "valid": ["b"]}, "splits_sha256": {"folds": "c"}}
    (kept / "training.json").write_text(json.dumps(origin))

    def again():
        train(
            data.parent, tmp_path / "run", "leg_agility", leg_agility=config_of(data),
            leg_agility_fit=FIT, leg_agility_training=TRAINING, resume=True,
        )  # fmt: skip

    again()
    training = ModelFolder.open(tmp_path / "run" / "model", task="gait").manifest.training
    assert training["learned_from"]["walking"] == origin["learned_from"]
    assert training["splits_sha256"]["walking/folds"] == "c"
    assert training["splits_sha256"]["leg_agility/folds"] == sha256(data / "folds.csv")
    assert training["learned_from"]["leg_agility"]["train"]
    (kept / "training.json").unlink()
    with pytest.raises(InputError, match=r"--systems walking --resume"):
        again()


def test_step_3_scores_both_legs_and_shows_what_they_rest_on(data, run, tmp_path):
    model = ModelFolder.open(run / "model", task="gait")
    assert model.manifest.config["walking"] is None
    metrics, section = evaluate_system(
        *(data, run / "model", run / "leg_agility", tmp_path),
        split="cross_validation",
        pictures=3,
        bootstrap=Bootstrap(50),
        progress=False,
    )
    json.dumps(metrics, allow_nan=False)
    both = metrics["scores"]["both"]
    assert both["predicted"]["ratings"] == 23
    assert both["criteria"]["accuracy"]["value"] > both["majority"]["accuracy"]["value"]
    assert "drawn by a program" in section
    assert section.count("Knee heights through time with taps") == 3
    for text in ("interruptions", "trunk lengths", "scored 3 or 4", "never saw them"):
        assert text in section
    assert {p.name for p in tmp_path.iterdir()} == {
        *("predictions.csv", "kinematics.csv", "kinematics_definitions.csv"),
        *("figures", "recordings"),
    }
    kinematics = pd.read_csv(tmp_path / "kinematics.csv").set_index(["video", "leg"])
    assert kinematics.loc[("R04", "left"), "interruptions"] == 4
    assert kinematics.loc[("R04", "right"), "interruptions"] == 2


def test_the_model_itself_rates_a_part_or_other_data(data, run, source, tmp_path):
    def test(folder, split, of=run / "leg_agility"):
        return evaluate_system(
            *(folder, run / "model", of, tmp_path / "out"),
            split=split,
            pictures=0,
            bootstrap=Bootstrap(20),
            progress=False,
        )[0]

    seen = test(data, "valid")
    assert "not a test" in seen["tested"]
    other = read_before(data, tmp_path / "other")
    prepare(source, other, FoldOptions(2, seed=5))
    tested = test(other, "all", None)["tested"]  # the same files, dealt out anew
    assert re.search(r"among its \d+ recordings are \d+ that it was trained on, \d+ that", tested)
    with pytest.raises(InputError, match="--split all"):
        test(other, "cross_validation")


@pytest.mark.parametrize("split", ["cross_validation", "all"])
@pytest.mark.filterwarnings("error")
def test_recordings_of_which_no_leg_can_be_rated_count_as_not_rated(data, run, tmp_path, split):
    lost = shutil.copytree(data, tmp_path / "data")
    tables = {n: pd.read_csv(lost / n, dtype=str, keep_default_na=False) for n in LEG_TABLES}
    for name, table in tables.items():  # one recording more, as step 1 writes it
        more = table[table["video"] == "R03"].assign(video="SHORT", patient="P99")
        more = more.assign(**({"group": "P99", "label": ""} if "group" in more else SHORT))
        pd.concat([table, more]).to_csv(lost / name, index=False)
    shutil.copy(lost / "keypoints" / "R03.npz", lost / "keypoints" / "SHORT.npz")
    metrics, section = evaluate_system(
        *(lost, run / "model", run / "leg_agility", tmp_path / "out"),
        split=split,
        pictures=0,
        bootstrap=Bootstrap(20),
        progress=False,
    )
    predicted = metrics["scores"]["both"]["predicted"]
    assert (predicted["ratings"], predicted["without_prediction"]) == (23, 1)
    assert "SHORT, left (clinician: 0)" in section
    assert "the clip is 1.0 s long" in section


@pytest.mark.slow
def test_two_processes_leave_what_one_leaves(data, run, tmp_path):
    step = Path(__file__).parents[1] / "training" / "step3_test_and_visualize.py"
    given = [f"--data={data.parent}", f"--model={run / 'model'}", "--split=valid", "--pictures=0"]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--"]
    for name, launcher in (("one", []), ("two", torchrun)):
        command = [sys.executable, *launcher, str(step), "gait", *given, f"--out={tmp_path / name}"]
        result = subprocess.run(command, capture_output=True, text=True, timeout=240)
        assert result.returncode == 0, result.stderr[-3000:]
        assert result.stdout.count("Report: ") == 1
    one, two = (json.loads((tmp_path / n / "metrics.json").read_text()) for n in ("one", "two"))
    assert one == two
    assert one["leg_agility"]["scores"]["both"]["predicted"]["ratings"] > 2


def test_scores_of_a_table_with_a_known_answer():
    rows = [
        ("a", "P1", "left", 0, 0, 1, 0), ("a", "P1", "right", 1, 0, 1, 2),
        ("b", "P2", "left", 2, 0, 1, 2), ("b", "P2", "right", 3, 1, 1, None),
        ("c", "P3", "left", 1, None, 1, 1),
    ]  # fmt: skip
    columns = ["video", "patient", "leg", "score", "predicted", "majority", "criteria"]
    table = pd.DataFrame(rows, columns=columns)
    scores = all_scores(table, (0, 1, 2, 3), Bootstrap(20))
    both = scores["both"]
    assert both["predicted"]["ratings"] == 4
    assert both["predicted"]["without_prediction"] == 1
    assert both["predicted"]["accuracy"]["value"] == pytest.approx(1 / 4)
    assert both["predicted"]["mae"]["value"] == pytest.approx((0 + 1 + 2 + 2) / 4)
    assert both["predicted"]["within_one"]["value"] == pytest.approx(2 / 4)
    assert both["majority"]["accuracy"]["value"] == pytest.approx(2 / 5)
    assert both["criteria"]["accuracy"]["value"] == pytest.approx(3 / 4)
    assert scores["left"]["predicted"]["patients"] == 2


def test_repeats_of_a_leg_count_once():
    rows = [("a", "P1", "left", 1, p, 0, 1) for p in (1, 2, 2)]
    rows += [("b", "P2", "left", 0, 0, 0, 0)] * 3
    columns = ["video", "patient", "leg", "score", "predicted", "majority", "criteria"]
    scores = all_scores(pd.DataFrame(rows, columns=columns), (0, 1, 2), Bootstrap(20))
    assert scores["left"]["predicted"]["ratings"] == 2
    assert scores["left"]["predicted"]["accuracy"]["value"] == 0.5


def test_too_few_scores_or_patients_are_told_of(source, data, tmp_path):
    read_before(data, tmp_path / "out")
    rows = pd.read_csv(source / "labels.csv", dtype=str)
    few = tmp_path / "few.csv"
    rows.assign(mds_updrs_left="1", mds_updrs_right="X").to_csv(few, index=False)
    with pytest.raises(InputError, match=r"at least two different scores.*\[1\]"):
        prepare(source, tmp_path / "out", labels=few)
    assert not (tmp_path / "out" / "config.json").exists()
    rows.head(3).to_csv(few, index=False)
    with pytest.raises(InputError, match="patients"):
        prepare(source, tmp_path / "out", labels=few)
