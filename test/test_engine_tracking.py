"""The training engine and its trackers: there, away, going away."""

import csv
import logging
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.loggers import Logger
from toy_training import Dies, fit, state

from medvial.errors import InputError
from medvial.outputs import read_json
from medvial_training import fit as engine


@pytest.mark.slow  # MLflow makes its database
def test_mlflow_notes_one_run_with_its_origin(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RuntimeError, match="died"):
        fit("run", mlflow=True, callback=Dies(1))
    best = fit("run", mlflow=True, resume=True)
    from mlflow.tracking import MlflowClient

    noted = read_json(Path("run/mlflow.json"))
    client = MlflowClient(noted["tracking_uri"])
    experiment = client.get_experiment_by_name("toy")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_id == noted["run_id"]
    assert run.info.status == "FINISHED"
    assert run.data.params["fit/optimizer"] == "adamw"
    assert run.data.tags["git_revision"]
    history = client.get_metric_history(noted["run_id"], "valid/mae")
    with Path("run/log.csv").open() as file:
        assert len(history) == len(list(csv.DictReader(file))) == 4
    for name in ("step/loss", "step/learning_rate"):
        (metric,) = client.get_metric_history(noted["run_id"], name)  # of 12 steps
        assert metric.step == 10
        assert metric.value > 0
    names = {a.path for a in client.list_artifacts(noted["run_id"])}
    assert names == {"best.ckpt", "environment.txt"}
    environment = client.download_artifacts(noted["run_id"], "environment.txt")
    assert f"torch=={torch.__version__.split('+')[0]}" in Path(environment).read_text()
    kept = client.download_artifacts(noted["run_id"], "best.ckpt")
    assert Path(kept).read_bytes() == best.read_bytes()


def test_a_server_that_is_away_does_not_stop_training(tmp_path, caplog):
    fit(tmp_path, mlflow=True, tracking_uri="http://127.0.0.1:9", max_epochs=1)
    assert "Training without tracking: MLflow says" in caplog.text
    assert state(tmp_path)["epoch"] == 0


@pytest.mark.slow  # MLflow makes its database
def test_a_server_that_goes_away_does_not_stop_training(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    from mlflow.tracking import MlflowClient

    def gone(*_arguments, **_options):
        raise ConnectionError("gone away")

    class Leaves(Callback):
        def on_train_epoch_start(self, trainer, module):
            monkeypatch.setattr(MlflowClient, "log_batch", gone)

    with caplog.at_level(logging.WARNING):
        fit("run", mlflow=True, max_epochs=2, callback=Leaves())
    assert caplog.text.count("Tracking stops, training goes on: MLflow says gone away") == 1


class Notes(Logger):
    """Keeps what it is given, by name."""

    name, version = "notes", "0"

    def __init__(self):
        super().__init__()
        self.steps = []

    def log_metrics(self, metrics, step=None):
        if "step/loss" in metrics:
            self.steps.append((step, metrics["step/loss"]))

    def log_hyperparams(self, *arguments, **options):
        pass


def test_losses_by_step_are_those_of_whole_batches(tmp_path, monkeypatch):
    notes = {}

    def run(name, **options):
        notes[name] = Notes()
        monkeypatch.setattr(engine, "make_loggers", lambda *_: [notes[name]])
        monkeypatch.setattr(engine.StepMetrics.__init__, "__defaults__", (2,))
        fit(tmp_path / name, max_epochs=2, ema_decay=0.0, mlflow=True, **options)
        return notes[name].steps

    whole, parts = run("whole"), run("parts", batch_size=2, accumulate=4)
    assert [step for step, _ in whole] == [step for step, _ in parts] == [2, 4, 6]
    assert [loss for _, loss in parts] == pytest.approx([loss for _, loss in whole], rel=1e-5)


def test_tensorboard_is_an_option(tmp_path):
    try:
        import tensorboard  # noqa: F401
    except ImportError:
        with pytest.raises(InputError, match="pip install tensorboard"):
            fit(tmp_path, tensorboard=True)
        return
    fit(tmp_path, tensorboard=True, max_epochs=1)
    assert list(tmp_path.glob("tensorboard/events.out.tfevents.*"))
