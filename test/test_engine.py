"""The training engine on one process: order, schedules, checkpoints, resuming, tracking."""

import csv
import errno
import json
import logging
import math
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.plugins import TorchCheckpointIO
from toy_training import FIT, fit

from medvial.errors import InputError
from medvial.outputs import read_json, write_json
from medvial_training import checkpoints, distributed, loaders
from medvial_training.fit import EpochSampler, FitArgs
from medvial_training.optimize import make_optimizer, make_schedule
from medvial_training.settings import compare_settings


def as_rank(monkeypatch, rank, processes):
    monkeypatch.setattr(loaders, "rank_and_size", lambda: (rank, processes))


def steps(monkeypatch, processes, batch, size=29, accumulate=1, epoch=3):
    """The set of samples of each step, over all processes."""
    shares = []
    for rank in range(processes):
        as_rank(monkeypatch, rank, processes)
        sampler = EpochSampler(size, 5, batch=batch, accumulate=accumulate)
        sampler.set_epoch(epoch)
        indices = [index for _, index in sampler]
        assert len(indices) == len(sampler)
        width = batch * accumulate
        shares.append([indices[i : i + width] for i in range(0, len(indices), width)])
    return [set().union(*step) for step in zip(*shares, strict=True)]


def test_a_step_sees_the_same_samples_whatever_the_number_of_processes(monkeypatch):
    alone = steps(monkeypatch, 1, 8)
    assert [len(step) for step in alone] == [8, 8, 8]
    assert alone == steps(monkeypatch, 2, 4) == steps(monkeypatch, 4, 2)
    assert alone == steps(monkeypatch, 2, 2, accumulate=2)
    assert alone != steps(monkeypatch, 1, 8, epoch=4)


def test_a_small_set_still_gives_every_process_as_many_samples(monkeypatch):
    assert [len(s) for s in steps(monkeypatch, 2, 8, size=7)] == [6]
    as_rank(monkeypatch, 0, 3)
    with pytest.raises(InputError, match="one training sample for each of 3 processes, got 2"):
        EpochSampler(2, 1)


def test_validation_sees_each_sample_once(monkeypatch):
    seen = []
    for rank in range(3):
        as_rank(monkeypatch, rank, 3)
        for batch in loaders.validation_loader(list(range(10)), FitArgs(**FIT)):
            seen += batch.tolist()
    assert sorted(seen) == list(range(10))
    with pytest.raises(InputError, match="one validation sample for each of 3 processes, got 2"):
        loaders.validation_loader([1, 2], FitArgs(**FIT))


def rates(steps=20, per_epoch=5, **options):
    args = FitArgs(**{**FIT, "learning_rate": 0.1, **options})
    optimizer = make_optimizer(torch.nn.Linear(2, 1), args)
    schedule = make_schedule(optimizer, args, steps, per_epoch)
    result = []
    for _ in range(steps):
        result.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return result


def test_schedules_have_known_values():
    assert rates(schedule="constant") == [0.1] * 20
    step = rates(schedule="step", step_epochs=2, step_factor=0.5)
    assert step == pytest.approx([0.1] * 10 + [0.05] * 10)
    cosine = rates(schedule="cosine", warmup=0.2)
    assert cosine[:5] == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.1])
    assert cosine[12] == pytest.approx(0.05)  # half of the 16 falling steps
    assert cosine[-1] == pytest.approx(0.05 * (1 + math.cos(math.pi * 15 / 16)))
    cycle = rates()
    assert max(cycle) == pytest.approx(0.1, rel=0.02)
    assert cycle.index(max(cycle)) in (2, 3)
    assert cycle[-1] < 1e-5


@pytest.mark.parametrize(
    ("options", "kind", "expected"),
    [
        ({}, torch.optim.AdamW, {"weight_decay": 0.01}),
        ({"optimizer": "adam", "weight_decay": 0.0}, torch.optim.Adam, {"weight_decay": 0.0}),
        (
            {"optimizer": "sgd", "momentum": 0.8, "nesterov": True},
            torch.optim.SGD,
            {"momentum": 0.8, "nesterov": True},
        ),
    ],
)
def test_optimizers_get_their_options(options, kind, expected):
    net = torch.nn.Linear(2, 1)
    net.bias.requires_grad_(False)
    optimizer = make_optimizer(net, FitArgs(**options))
    assert type(optimizer) is kind
    (group,) = optimizer.param_groups
    assert [id(p) for p in group["params"]] == [id(net.weight)]
    assert expected.items() <= group.items()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"accumulate": 0}, "Expected accumulate of at least 1, got 0"),
        ({"devices": 0}, "Expected devices of at least 1, got 0"),
        ({"momentum": 1.0}, "Expected momentum from 0 to below 1, got 1.0"),
        ({"warmup": -0.1}, "Expected warmup from 0 to below 1"),
        ({"save_every": -1}, "Expected save_every of at least 0"),
        ({"nesterov": True, "momentum": 0.0}, "Expected a momentum above 0 with nesterov"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        FitArgs(**options)


def state(run, name="last.ckpt"):
    return torch.load(Path(run) / "checkpoints" / name, weights_only=False)


def assert_same(one, other):
    for key in ("state_dict", "current_model_state"):
        for name, value in state(one)[key].items():
            torch.testing.assert_close(state(other)[key][name], value, rtol=0, atol=0)
    logs = [(Path(run) / "log.csv").read_text() for run in (one, other)]
    assert logs[0] == logs[1]


class Dies(Callback):
    """Ends training at the start of an epoch, or in the middle of its checkpoint."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_train_epoch_start(self, trainer, module):
        if trainer.current_epoch == self.epoch:
            raise RuntimeError("died")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    run = tmp_path_factory.mktemp("engine") / "whole"
    fit(run, save_every=1, keep=2)
    return run


@pytest.mark.parametrize("workers", [0, 1])  # 1 loads ahead
def test_a_resumed_run_ends_as_the_uninterrupted_one(whole, tmp_path, workers):
    with pytest.raises(RuntimeError, match="died"):
        fit(tmp_path, callback=Dies(2))
    fit(tmp_path, resume=True, workers=workers)
    assert_same(tmp_path, whole)


def test_a_run_whose_folder_was_moved_knows_its_best(whole, tmp_path):
    with pytest.raises(RuntimeError, match="died"):
        fit(tmp_path / "there", callback=Dies(3))
    (tmp_path / "there").rename(tmp_path / "here")
    best = fit(tmp_path / "here", resume=True)
    assert best == tmp_path / "here" / "checkpoints" / "best.ckpt"
    assert_same(tmp_path / "here", whole)
    again = fit(tmp_path / "here", resume=True)  # nothing is left to do
    assert again == best


def test_numbered_checkpoints_are_pruned(whole):
    names = sorted(p.name for p in (whole / "checkpoints").iterdir())
    assert names == ["best.ckpt", "epoch-0002.ckpt", "epoch-0003.ckpt", "last.ckpt"]


def test_a_run_that_had_stopped_early_stays_stopped(tmp_path):
    fit(tmp_path, patience=1, learning_rate=1e-12, ema_decay=0.0, max_epochs=9)
    before = (tmp_path / "log.csv").read_text()
    assert len(before.splitlines()) == 3
    fit(tmp_path, resume=True, patience=1, learning_rate=1e-12, ema_decay=0.0, max_epochs=9)
    assert (tmp_path / "log.csv").read_text() == before


def test_accumulated_batches_are_one_large_batch(tmp_path):
    fit(tmp_path / "large", ema_decay=0.0, max_epochs=2)
    fit(tmp_path / "small", ema_decay=0.0, max_epochs=2, batch_size=2, accumulate=4)
    large, small = (state(tmp_path / name) for name in ("large", "small"))
    assert large["global_step"] == small["global_step"] == 6
    for name, value in large["state_dict"].items():
        torch.testing.assert_close(small["state_dict"][name], value, rtol=0, atol=1e-5)


def test_resuming_needs_as_many_samples_per_step(tmp_path):
    with pytest.raises(RuntimeError, match="died"):
        fit(tmp_path, callback=Dies(1))
    with pytest.raises(InputError, match=r"resume with 8 samples per step .* got 4"):
        fit(tmp_path, resume=True, batch_size=4)
    fit(tmp_path, resume=True, batch_size=4, accumulate=2)


def test_settings_of_an_older_run_resume(tmp_path):
    now = {"data": "d", "fit": vars(FitArgs()), "b_fit": vars(FitArgs(max_epochs=3))}
    older = {
        "data": "d",
        "fit": {"max_epochs": 80, "patience": 9},
        "b_fit": {"max_epochs": 3},
    }
    write_json(tmp_path / "settings.json", older)
    compare_settings(tmp_path / "settings.json", now)
    now["b_fit"] = vars(FitArgs(max_epochs=3, optimizer="sgd"))
    with pytest.raises(InputError, match=r"b_fit\.optimizer adamw there, sgd here"):
        compare_settings(tmp_path / "settings.json", now)


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(whole, tmp_path, monkeypatch):
    original, count = TorchCheckpointIO.save_checkpoint, []

    def full(self, checkpoint, path, options=None):
        count.append(path)
        original(self, checkpoint, path, options)
        if len(count) == 6:  # of the third epoch
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(TorchCheckpointIO, "save_checkpoint", full)
    with pytest.raises(InputError, match=r"No space left on device\. Make space .* --resume"):
        fit(tmp_path)
    monkeypatch.undo()
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == [
        "best.ckpt",
        "last.ckpt",
    ]
    fit(tmp_path, resume=True)
    assert_same(tmp_path, whole)


def test_too_little_space_is_said_at_the_start(tmp_path, monkeypatch):
    monkeypatch.setattr(
        checkpoints.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(9, 8, 1000)
    )
    with pytest.raises(InputError, match=r"Expected \d+ MiB of space for the checkpoints in .*0"):
        fit(tmp_path)


@pytest.mark.parametrize("options", ["size=64k", "size=1m,ro"])
def test_a_full_or_read_only_disk_is_said_at_the_start(options, tmp_path):
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(tmp_path)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        with pytest.raises(InputError, match=r"MiB of space|Read-only file system"):
            fit(tmp_path / "run")
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_file_in_the_way_is_said_at_the_start(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(InputError, match=r"Expected to write into .*Not a directory"):
        fit(tmp_path / "run")


def test_halves_of_a_killed_process_are_deleted(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.ckpt.part").write_text("half")
    fit(tmp_path, max_epochs=1)
    assert not list(tmp_path.rglob("*.part"))


class Terminates(Callback):
    def on_validation_start(self, trainer, module):
        if trainer.current_epoch == 2:
            self.sent = time.monotonic()
            os.kill(os.getpid(), signal.SIGTERM)


def test_sigterm_leaves_at_once_with_143(whole, tmp_path):
    terminates, before = Terminates(), signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as left:
        fit(tmp_path, callback=terminates)
    assert left.value.code == 143
    assert time.monotonic() - terminates.sent < 5
    assert signal.getsignal(signal.SIGTERM) == before
    assert state(tmp_path)["epoch"] == 1
    fit(tmp_path, resume=True)
    assert_same(tmp_path, whole)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, (1, 1)),
        ({"TORCHELASTIC_RUN_ID": "1", "LOCAL_WORLD_SIZE": "2", "WORLD_SIZE": "6"}, (2, 3)),
        (
            {
                "SLURM_JOB_NAME": "train",
                "SLURM_NTASKS": "8",
                "SLURM_NTASKS_PER_NODE": "4",
                "SLURM_NNODES": "2",
                "SLURM_STEP_ID": "0",
            },
            (4, 2),
        ),
    ],
)
def test_processes_are_as_the_launcher_started_them(environment, expected, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert distributed.layout(FitArgs(**FIT)) == expected
    if environment:
        with pytest.raises(InputError, match="Expected the devices and num_nodes that"):
            distributed.layout(FitArgs(**{**FIT, "devices": 5}))


def test_what_needs_a_gpu_says_so():
    with pytest.raises(InputError, match="Expected sync_batchnorm with GPUs, got the CPU"):
        distributed.layout(FitArgs(**FIT, sync_batchnorm=True))
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="a GPU for each of 2 processes, got 0"):
            distributed.layout(FitArgs(**{**FIT, "accelerator": "gpu", "devices": 2}))


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


def test_tensorboard_is_an_option(tmp_path):
    try:
        import tensorboard  # noqa: F401
    except ImportError:
        with pytest.raises(InputError, match="pip install tensorboard"):
            fit(tmp_path, tensorboard=True)
        return
    fit(tmp_path, tensorboard=True, max_epochs=1)
    assert list(tmp_path.glob("tensorboard/events.out.tfevents.*"))


def test_settings_are_what_config_reads(whole):
    assert json.loads((whole / "settings.json").read_text())["fit"]["optimizer"] == "adamw"
