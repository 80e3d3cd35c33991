"""Steps 2 to 4 of walking on small videos: folds, predictions, report, the container's number."""

import dataclasses
import json
import shutil

import numpy as np
import pandas as pd
import pytest
from walking_data import CONFIG, read_rows, write_walks

from medvial.errors import InputError
from medvial.gait.config import TASK, Config
from medvial.gait.tracker import follow
from medvial.gait.walking import predictor as container
from medvial.models import ModelFolder
from medvial.outputs import read_json
from medvial.video_classification.config import ClipConfig
from medvial_training.cli import run_step
from medvial_training.fit import FitArgs
from medvial_training.tasks.gait.evaluate import evaluate
from medvial_training.tasks.gait.export import write_algorithm_model
from medvial_training.tasks.gait.prepare import prepare
from medvial_training.tasks.gait.systems import FoldOptions
from medvial_training.tasks.gait.train import train
from medvial_training.tasks.gait.walking import read_video
from medvial_training.tasks.gait.walking.choices import WALKING_FIT, WalkingTraining
from medvial_training.tasks.gait.walking.evaluate import read_learned

FIT = FitArgs(
    max_epochs=2, batch_size=4, learning_rate=5e-3, mlflow=False, progress=False, accelerator="cpu"
)
FOLD_FILES = {"walking.safetensors", "learned.json", "valid.csv", "predictions.csv", "done.json"}
FOLD_FILES |= {"checkpoints", "log.csv", "settings.json", "begun.json"}


def run_training(data, run, **options):
    values = read_json(data / "walking" / "config.json")
    train(data, run, walking=ClipConfig(**values), walking_fit=FIT, **options)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("walking")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(read_video, "_networks", lambda _: None)
        source = write_walks(folder / "raw", patients=12)
        prepare(source, folder / "data", walking=CONFIG, folds=FoldOptions(k=2), workers=1)
    return folder / "data"


@pytest.fixture(scope="module")
def trained(prepared):
    run_training(prepared, prepared.parent / "run")
    return prepared.parent / "run"


@pytest.fixture
def copied(prepared, tmp_path):
    """Prepared data whose manifest a test spoils."""
    shutil.copytree(prepared, tmp_path / "data")
    return tmp_path / "data"


def test_every_fold_is_trained_and_every_patient_tested_once(prepared, trained):
    walking = trained / "walking"
    assert {p.name for p in walking.iterdir()} == {
        *("fold_1", "fold_2", "final", "predictions.csv", "model")
    }
    assert {p.name for p in (walking / "fold_1").iterdir()} == FOLD_FILES
    assert {p.name for p in (walking / "final").iterdir()} == FOLD_FILES - {"predictions.csv"}
    table = pd.read_csv(walking / "predictions.csv")
    videos = {row["video"] for row in read_rows(prepared / "walking" / "videos.csv")}
    assert sorted(table["video"]) == sorted(videos)
    np.testing.assert_allclose(table[["p_ASD", "p_ASD_not"]].sum(axis=1), 1)
    assert set(table["fold"]) == {"fold_1", "fold_2"}


def test_the_model_folder_holds_the_final_network(prepared, trained):
    folder = ModelFolder.open(trained / "model", task=TASK)
    assert set(folder.manifest.files) == {"walking.safetensors", "postprocess.json"}
    config = Config.of(folder)
    assert config.leg_agility is None
    assert (config.walking.labels, config.walking.positive) == (("ASD", "ASD_not"), "ASD")
    final = (trained / "walking" / "final" / "walking.safetensors").read_bytes()
    assert (trained / "model" / "walking.safetensors").read_bytes() == final
    assert read_learned(folder).threshold == 0.5  # too few patients to learn another
    assert folder.manifest.metrics["walking"]["cross_validation"]["patients"] == 12


def test_a_finished_run_is_kept_and_other_options_are_refused(prepared, trained):
    before = (trained / "walking" / "fold_1" / "walking.safetensors").stat().st_mtime_ns
    run_training(prepared, trained, resume=True)
    assert (trained / "walking" / "fold_1" / "walking.safetensors").stat().st_mtime_ns == before
    choices = WalkingTraining(label_smoothing=0.1)
    with pytest.raises(InputError, match="label_smoothing"):
        run_training(prepared, trained, resume=True, walking_training=choices)


def test_what_the_error_advises_works(prepared, trained, capsys):
    options = ["gait", f"--data={prepared}", f"--run={trained}", "--resume"]
    assert run_step("train", None, options) == 1
    told, done = capsys.readouterr().err, trained / "walking" / "fold_1" / "done.json"
    assert f"walking_fit.max_epochs 2 there, {WALKING_FIT.max_epochs} here" in told
    assert f"Give them by --config {done}." in told
    for path in (done, done.with_name("settings.json")):
        assert run_step("train", None, [*options, f"--config={path}"]) == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"fps": 9.0}, r"--walking\.fps as in step 1 \(8\.0\), got 9\.0"), ({"resize": 48}, "resize")],
)
def test_other_pictures_than_those_prepared_are_refused(prepared, tmp_path, changes, message):
    values = read_json(prepared / "walking" / "config.json") | changes
    with pytest.raises(InputError, match=message):
        train(prepared, tmp_path / "run", walking=ClipConfig(**values), walking_fit=FIT)


def spoil(data, change):
    path = data / "walking" / "folds.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    change(table).to_csv(path, index=False)


def moved(table):
    """A test video's part becomes train, and it is said to be of another test patient."""
    test = table.index[table["fold_1"] == "test"]
    table.loc[test[0], "fold_1"] = "train"
    table.loc[test[0], ["patient", "group"]] = table.loc[test[1], ["patient", "group"]].tolist()
    return table


def respelled(table):
    table = moved(table)
    first = table.index[table["fold_1"] == "test"][0]
    table.loc[first, "patient"] = f" {table.loc[first, 'patient'].lower()} "
    return table


def numbered(table):
    """The other spelling of a manifest: the number of the fold that tests a video."""
    table["fold"] = [str(n % 2) for n in range(len(table))]
    table["patient"] = [f"Q{n // 2}" for n in range(len(table))]
    return table[["video", "patient", "label", "fold"]]


def copied_file(table):
    test, train_ = (table.index[table["fold_1"] == part][0] for part in ("test", "train"))
    table.loc[train_, "sha256"] = table.loc[test, "sha256"]
    return table


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (moved, r"fold_1.*patient 'P\d+' is in"),
        (respelled, r"fold_1.*patient 'P\d+' .*is in"),
        (numbered, "patient 'Q0' is in"),
        (copied_file, r"fold_1.*is in \w+ \(w\d+_0\) and in \w+ \(w\d+_0\)"),
    ],
)
def test_no_leak_gets_into_training(copied, tmp_path, change, message):
    spoil(copied, change)
    with pytest.raises(InputError, match=message):
        run_training(copied, tmp_path / "run")
    assert not (tmp_path / "run" / "walking" / "fold_1" / "checkpoints").exists()


def unknown_video(table):
    table.loc[0, "video"] = "w00_0.mp4"  # step 1 knows it without the ending
    return table


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (unknown_video, r"folds of the videos in .*videos\.csv, got w00_0\.mp4\."),
        (lambda table: table.replace("ASD_not", "control"), "labels of ASD, ASD_not .* control"),
    ],
)
def test_folds_of_another_hand_name_what_is_prepared(copied, tmp_path, change, message):
    spoil(copied, change)
    with pytest.raises(InputError, match=message):
        run_training(copied, tmp_path / "run")


def test_the_report_is_of_patients_never_seen(prepared, trained, tmp_path):
    out = tmp_path / "test"
    metrics = evaluate(prepared, trained / "model", out, pictures=2, resamples=50, progress=False)
    walking = metrics["walking"]
    assert walking["split"] == "cross_validation"
    assert walking["never_seen"]
    assert walking["patients"]["positive"] == "ASD"
    assert walking["patients"]["patients"] == 12
    assert set(walking["by_fold"]) == {"fold_1", "fold_2"}
    assert set(walking["by_site"]) == {"A", "B"}
    assert walking["quality"]["by_motion"]["videos"] == 12
    assert json.loads((out / "metrics.json").read_text())["walking"]["never_seen"]
    page = (out / "report.html").read_text()
    assert "whom the network never saw" in page
    assert "ASD is the positive class" in page
    assert len(read_rows(out / "walking" / "per_patient.csv")) == 12
    assert len(list((out / "walking" / "looks").glob("*.mp4"))) == 2
    figures = {path.stem for path in (out / "walking" / "figures").iterdir()}
    assert figures == {"roc", "reliability", "confusion", "training", "folds"}


def test_the_model_itself_on_its_own_patients_is_no_test(prepared, trained, tmp_path):
    arguments = {"pictures": 0, "resamples": 20, "progress": False}
    metrics = evaluate(prepared, trained / "model", tmp_path, split="train", **arguments)
    assert not metrics["walking"]["never_seen"]
    assert "not a test" in metrics["walking"]["tested"]
    assert "Not an independent test" in (tmp_path / "report.html").read_text()
    with pytest.raises(InputError, match="videos of final test"):
        evaluate(prepared, trained / "model", tmp_path, split="test", **arguments)


def on_others(trained, folder, first):
    """The model itself on six patients, of whom the first may be among the twelve it knows."""
    source = write_walks(folder / "raw", patients=6, site="C", first=first)
    prepare(source, folder / "data", walking=CONFIG, folds=FoldOptions(k=2), workers=1)
    shown = {"pictures": 2, "resamples": 20, "progress": False}
    return evaluate(folder / "data", trained / "model", folder / "test", **shown)["walking"]


def test_other_data_are_tested_whole(prepared, trained, tmp_path, monkeypatch):
    monkeypatch.setattr(read_video, "_networks", lambda _: None)
    metrics = on_others(trained, tmp_path, 20)
    assert (metrics["split"], metrics["never_seen"], metrics["unseen"]) == ("all", None, None)
    report = (tmp_path / "test" / "report.html").read_text()
    assert "none of these videos is a file that it was trained or chosen on" in report
    assert "patients whom the network never saw" not in report
    assert metrics["patients"]["patients"] == 6
    with pytest.raises(InputError, match=r"cross-validation of .* was made with, got others"):
        evaluate(
            tmp_path / "data", trained / "model", tmp_path / "test", split="cross_validation",
            resamples=20, progress=False,
        )  # fmt: skip


def test_files_that_the_model_learned_from_are_named(
    prepared, trained, tmp_path, monkeypatch, caplog
):
    """The same files in another collection, under other names of patients or not."""
    monkeypatch.setattr(read_video, "_networks", lambda _: None)
    metrics = on_others(trained, tmp_path, 9)
    folds = pd.read_csv(prepared / "walking" / "folds.csv").set_index("video")["final"]
    rows = {
        row["video"]: row["in_training"]
        for row in read_rows(tmp_path / "test/walking/per_video.csv")
    }
    known = ["w09_0", "w10_0", "w11_0"]
    assert rows == {**folds[known].to_dict(), "w12_0": "", "w13_0": "", "w14_0": ""}
    assert metrics["never_seen"] is False
    assert "among its 6 videos are " in metrics["tested"]
    assert metrics["tested"].endswith("(by SHA-256): not a test")
    assert (metrics["unseen"]["patients"], metrics["unseen"]["videos"]) == (3, 3)
    assert "3 of 6 videos are files that the model was trained or chosen on: w09_0" in caplog.text
    report = (tmp_path / "test" / "report.html").read_text()
    assert "Not an independent test: another selection" in report
    assert "3 patients, 3 videos are left" in report


def test_an_earlier_model_does_not_say_what_it_learned_from(prepared, trained, tmp_path):
    model = shutil.copytree(trained / "model", tmp_path / "model")
    manifest = read_json(model / "manifest.json")
    assert len(manifest["training"].pop("learned_from")["walking"]["train"]) == 9
    del manifest["training"]["splits_sha256"]
    (model / "manifest.json").write_text(json.dumps(manifest))
    shown = {"pictures": 0, "resamples": 20, "progress": False}
    metrics = evaluate(prepared, model, tmp_path / "test", **shown)["walking"]
    assert metrics["never_seen"] is None
    assert "trained on some of these patients is not recorded" in metrics["tested"]


def test_the_container_gives_the_number_of_the_report(prepared, trained, tmp_path, monkeypatch):
    """From the video file through ONNX Runtime, against the final network's own validation."""
    folder = ModelFolder.open(trained / "model", task=TASK)
    write_algorithm_model(folder, tmp_path / "model")
    exported = ModelFolder.open(tmp_path / "model", task=TASK)
    assert {"walking.onnx", "walking.safetensors"} <= set(exported.manifest.files)
    monkeypatch.setenv("MEDVIAL_BACKEND", "onnx")
    monkeypatch.setattr(container, "follow", lambda cine, _, **options: follow(cine, None))
    monkeypatch.setattr(container, "walk_landmarks", lambda *_: None)
    monkeypatch.setattr(container, "measure", lambda _: {})
    config = Config.of(exported).walking
    predict = container.WalkingPredictor(exported, config, read_learned(exported), None)
    for row in read_rows(trained / "walking" / "final" / "valid.csv"):
        result = predict(prepared.parent / "raw" / "videos" / f"{row['video']}.mp4")
        assert result.probability == pytest.approx(float(row["p_ASD"]), abs=1e-5)
        assert result.label == row["predicted"]


def test_a_system_that_is_not_prepared_is_refused(prepared, tmp_path):
    with pytest.raises(InputError, match=r"leg_agility as step 1 prepares it .* got none"):
        train(prepared, tmp_path / "run", systems="leg_agility")
    with pytest.raises(InputError, match="walking or leg_agility as step 1 prepares it"):
        train(tmp_path, tmp_path / "run")
    with pytest.raises(InputError, match="threshold_patients"):
        dataclasses.replace(WalkingTraining(), threshold_patients=1)
