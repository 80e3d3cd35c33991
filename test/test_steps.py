"""Steps 1 to 4 as a user runs them, on a few small phantoms."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from films import empty_algorithm

from medvial.cldetection.landmarks import load_landmark_set
from medvial.outputs import read_json, write_json

ROOT = Path(__file__).parent.parent
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100"}
SMALL = ["--model.height=128", "--model.width=96", "--model.widths=[4,6,8,8]"]
FIT = ["--fit.mlflow=false", "--fit.max_epochs=3", "--fit.batch_size=5", "--fit.accelerator=cpu"]
STEPS = {
    1: "step1_preprocess.py",
    2: "step2_train_and_valid.py",
    3: "step3_test_and_visualize.py",
    4: "step4_predict_expected_output.py",
}


def step(number, *arguments, cwd=ROOT, task=("cldetection",)):
    command = [sys.executable, str(ROOT / "training" / STEPS[number]), *task, *arguments]
    return subprocess.run(
        [str(c) for c in command], capture_output=True, text=True, env=ENVIRONMENT, cwd=cwd
    )


def done(result):
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    return result


def tree(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("steps")
    command = [sys.executable, "-m", "medvial_training.phantoms.cldetection", "--count=30"]
    command += ["--height=200", f"--out={folder / 'phantoms'}"]
    subprocess.run(command, check=True, capture_output=True, env=ENVIRONMENT)
    done(step(1, f"--source={folder / 'phantoms'}", f"--out={folder / 'data'}", *SMALL))
    return folder / "data"


@pytest.fixture(scope="module")
def run(data):
    folder = data.parent / "run"
    done(step(2, f"--data={data}", f"--run={folder}", *FIT))
    return folder


def test_step2_leaves_exactly_its_files(run):
    assert tree(run) == [
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
        "log.csv",
        "model/landmark_set.json",
        "model/manifest.json",
        "model/model.safetensors",
        "model/postprocess.json",
        "settings.json",
        "splits.json",
    ]
    with (run / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    assert all(float(row["valid/mre_mm"]) > 0 for row in rows)


def test_the_manifest_says_where_the_model_comes_from(run, data):
    manifest = read_json(run / "model" / "manifest.json")
    assert manifest["task"] == "cldetection"
    assert manifest["training"]["data"]["phantom"] is True
    assert manifest["training"]["films"] == {"train": 22, "valid": 4, "test": 4}
    assert manifest["config"]["widths"] == [4, 6, 8, 8]
    assert manifest["config"]["mean"] == read_json(data / "config.json")["mean"]
    assert manifest["metrics"]["valid"]["mre_mm"] > 0
    assert str(data.parent) not in json.dumps(manifest)


def test_step2_does_not_overwrite_a_run(run, data):
    result = step(2, f"--data={data}", f"--run={run}", *FIT)
    assert result.returncode == 1
    assert "with checkpoints of an earlier run. Go on with --resume" in result.stderr
    assert "These are phantoms: no score says anything about clinical accuracy." in result.stdout
    assert "Traceback" not in result.stderr


def killed(folder, *options):
    """Start step 2 and kill it without mercy once it has written a checkpoint."""
    command = [sys.executable, str(ROOT / "training" / STEPS[2]), *options]
    process = subprocess.Popen(
        command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    while not (folder / "checkpoints" / "last.ckpt").is_file():
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def test_a_killed_and_resumed_run_ends_as_the_uninterrupted_one(data):
    options = [f"--data={data}", *FIT, "--fit.max_epochs=5", "--fit.precision=32-true"]
    whole, resumed = data.parent / "whole", data.parent / "resumed"
    done(step(2, *options, f"--run={whole}"))
    killed(resumed, *options, f"--run={resumed}")
    done(step(2, *options, f"--run={resumed}", "--resume"))
    expected, got = (
        torch.load(folder / "checkpoints" / "last.ckpt", weights_only=False)["state_dict"]
        for folder in (whole, resumed)
    )
    for name, value in expected.items():
        torch.testing.assert_close(got[name], value, rtol=0, atol=0, msg=name)
    assert (resumed / "log.csv").read_text() == (whole / "log.csv").read_text()


def test_a_run_resumes_with_its_own_options_only(run, data):
    options = [f"--data={data}", f"--run={run}", *FIT, "--resume"]
    result = step(2, *options, "--fit.max_epochs=9", "--model.widths=[4,6,8,12]")
    assert result.returncode == 1
    assert "fit.max_epochs 3 there, 9 here; model.widths [4, 6, 8, 8] there" in result.stderr
    settings = run / "settings.json"
    assert f"--config {settings}" in result.stderr
    done(step(2, f"--config={settings}", f"--run={run}", "--resume"))


def test_ones_own_landmark_set_goes_along(data, tmp_path):
    symbols = load_landmark_set("cl-38").symbols
    own = {"name": "mine", "source": "a test", "landmarks": []}
    own["landmarks"] = [{"symbol": f"{s}-", "title": s} for s in symbols]
    write_json(tmp_path / "own.json", own)
    phantoms = data.parent / "phantoms"
    mine = [*SMALL, f"--model.landmark_set={tmp_path / 'own.json'}"]
    done(step(1, f"--source={phantoms}", f"--out={tmp_path / 'data'}", *mine))
    (tmp_path / "own.json").unlink()
    fit = [*FIT, "--fit.max_epochs=1"]
    done(step(2, f"--data={tmp_path / 'data'}", f"--run={tmp_path / 'run'}", *fit))
    manifest = (tmp_path / "run" / "model" / "manifest.json").read_text()
    assert json.loads(manifest)["config"]["landmark_set"] == "mine"
    assert str(tmp_path) not in manifest
    out = f"--out={tmp_path / 'test'}"
    done(step(3, f"--data={tmp_path / 'data'}", f"--model={tmp_path / 'run' / 'model'}", out))
    assert "S-" in (tmp_path / "test" / "per_landmark.csv").read_text()


def test_training_stops_early_when_validation_no_longer_improves(data):
    still = ["--fit.learning_rate=1e-12", "--fit.ema_decay=0", "--fit.patience=2"]
    folder = data.parent / "early"
    done(step(2, f"--data={data}", f"--run={folder}", *FIT, "--fit.max_epochs=40", *still))
    with (folder / "log.csv").open() as file:
        assert len(list(csv.DictReader(file))) < 12


def test_step3_leaves_a_report_that_says_phantom(run, data):
    out = run.parent / "tested"
    done(step(3, f"--data={data}", f"--model={run / 'model'}", f"--out={out}"))
    names = set(tree(out))
    assert {"metrics.json", "per_landmark.csv", "per_image.csv", "report.html"} <= names
    assert len([n for n in names if n.startswith("overlays/")]) == 4
    assert "PHANTOM" in (out / "report.html").read_text().upper()
    assert read_json(out / "metrics.json")["overall"]["mre_mm"]["value"] > 0


@pytest.fixture(scope="module")
def algorithm(run):
    folder = empty_algorithm(run.parent / "algorithm")
    done(step(4, f"--run={run}", f"--algorithm={folder}"))
    return folder


def test_step4_leaves_a_model_with_onnx_and_the_expected_output(algorithm):
    assert tree(algorithm / "model") == [
        "landmark_set.json",
        "manifest.json",
        "model.onnx",
        "model.safetensors",
        "postprocess.json",
    ]
    expected = read_json(algorithm / "test" / "expected_output.json")
    assert set(expected) == {
        "cephalometric-measurements.json",
        "model_sha256",
        "orthodontic-landmarks.json",
    }
    assert len(expected["orthodontic-landmarks.json"]["points"]) == 2 * 38


@pytest.mark.parametrize("backend", ["onnx", "torch"])
def test_both_backends_give_the_expected_output(algorithm, backend, tmp_path):
    command = [sys.executable, str(algorithm / "process.py"), f"--output={tmp_path}"]
    command += [f"--input={algorithm / 'test' / 'input'}", f"--model={algorithm / 'model'}"]
    environment = ENVIRONMENT | {"MEDVIAL_BACKEND": backend}
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (result.returncode, result.stderr) == (0, "")
    name = "orthodontic-landmarks.json"
    got = read_json(tmp_path / name)["points"]
    expected = read_json(algorithm / "test" / "expected_output.json")[name]["points"]
    np.testing.assert_allclose([p["point"] for p in got], [p["point"] for p in expected], atol=0.02)


@pytest.mark.parametrize(
    ("number", "arguments", "message"),
    [
        (1, ["--source=nowhere"], "nowhere"),
        (2, ["--data=nowhere"], "Expected prepared data in nowhere, got no config.json"),
        (2, ["--fit.max_epochs=0"], "Expected max_epochs of at least 1, got 0"),
        (2, ["--model.height=100"], "Expected height to be a positive multiple of 64"),
        (2, ["--model.heatmap=sigmoid"], "Expected model.heatmap softmax for the loss"),
        (3, ["--model=nowhere"], "Expected a model folder with manifest.json at nowhere"),
        (4, ["--run=nowhere"], "Expected a model folder with manifest.json at nowhere"),
    ],
)
def test_a_users_mistake_is_one_clear_message(number, arguments, message, tmp_path):
    result = step(number, *arguments, cwd=tmp_path)
    assert result.returncode != 0
    assert message in result.stderr
    assert "Traceback" not in result.stderr + result.stdout


def test_an_unknown_task_is_named(tmp_path):
    result = step(1, task=("gaits",), cwd=tmp_path)
    assert result.returncode == 1
    assert "expected a task of cldetection, echonet, gait, video, got gaits" in result.stderr


def test_step2_refuses_data_of_another_size(data):
    result = step(2, f"--data={data}", "--model.height=256", *FIT)
    assert result.returncode == 1
    assert "prepared with other settings: height 128 there, 256 here" in result.stderr


def test_mlflow_notes_the_run(data, tmp_path):
    done(
        step(2, f"--data={data}", "--run=run", "--fit.max_epochs=1", "--fit.batch_size=8",
             cwd=tmp_path)
    )  # fmt: skip
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{tmp_path / 'mlruns' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("cldetection")
    (noted,) = client.search_runs([experiment.experiment_id])
    assert noted.info.run_name == "run"
    assert noted.data.params["fit/max_epochs"] == "1"
    assert noted.data.metrics["valid/mre_mm"] > 0
