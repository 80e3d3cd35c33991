"""The training engine on one process: resuming, checkpoints, disks, signals."""

import errno
import json
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
from toy_training import Dies, fit, state

from medvial.errors import InputError
from medvial.outputs import write_json
from medvial_training import checkpoints
from medvial_training.fit import FitArgs
from medvial_training.settings import compare_settings


def assert_same(one, other):
    for key in ("state_dict", "current_model_state"):
        for name, value in state(one)[key].items():
            torch.testing.assert_close(state(other)[key][name], value, rtol=0, atol=0)
    logs = [(Path(run) / "log.csv").read_text() for run in (one, other)]
    assert logs[0] == logs[1]


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


def test_the_model_may_be_made_of_the_last_weights(whole, tmp_path):
    last = fit(tmp_path, checkpoint="last")
    assert last == tmp_path / "checkpoints" / "last.ckpt"
    assert_same(tmp_path, whole)  # the training is no other one


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


def test_a_damaged_checkpoint_is_told(tmp_path):
    fit(tmp_path, max_epochs=1)
    last = tmp_path / "checkpoints" / "last.ckpt"
    whole = last.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes(255 - b for b in whole[middle : middle + 200])
    directory = whole.rindex(b"PK\x01\x02")  # of the last file in the list of contents
    name = whole[: directory + 46] + b"\xff" + whole[directory + 47 :]
    for damaged in (whole[:-1000], b"", flipped + whole[middle + 200 :], name):
        last.write_bytes(damaged)
        with pytest.raises(InputError, match=r"whole checkpoint in .*last\.ckpt.* delete .* anew"):
            fit(tmp_path, max_epochs=1, resume=True)
    last.write_bytes(whole)
    fit(tmp_path, max_epochs=1, resume=True)


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


def test_a_run_from_before_folds_resumes_unless_it_had_teachers(tmp_path):
    path, now = (
        tmp_path / "settings.json",
        {"fold": {"number": 0, "of": 0}, "loss": {"omega": 14.0}},
    )
    before = {"teachers": [], "loss": {"omega": 14.0, "teachers_weight": 0.5}}
    write_json(path, before)
    compare_settings(path, now)
    with pytest.raises(InputError, match=r"fold\.number 0 there, 2 here"):
        compare_settings(path, {**now, "fold": {"number": 2, "of": 8}})
    write_json(path, {**before, "teachers": ["runs/a/model"]})
    with pytest.raises(InputError, match="teachers"):
        compare_settings(path, now)


def test_a_run_from_before_second_networks_resumes(tmp_path):
    path, still = tmp_path / "settings.json", {"weights": None, "augment": {"shear": 0.1}}
    write_json(path, still | {"model": {"height": 704}})
    now = still | {
        "augment": {"shear": 0.1, "elastic": 0.0, "clip": True},
        "model": {"height": 704, "detail": 1, "upright": False, "upright_margin": 0.45},
        "first": None,
    }
    compare_settings(path, now)
    with pytest.raises(InputError, match=r"augment\.elastic 0\.0 there, 0\.01 here"):
        compare_settings(path, now | {"augment": {"shear": 0.1, "elastic": 0.01, "clip": True}})


@pytest.mark.parametrize("table", ["train.csv", "valid.csv"])
def test_a_run_does_not_go_on_with_other_splits(tmp_path, table):
    data, run = tmp_path / "data", tmp_path / "run"
    data.mkdir()
    for name in ("train.csv", "valid.csv", "test.csv"):
        (data / name).write_text(f"image_id\n{name}\n")
    with pytest.raises(RuntimeError, match="died"):
        fit(run, callback=Dies(1), data=data)
    (data / "test.csv").write_text("image_id\nnew\n")  # nothing is learned from it
    before = (data / table).read_text()
    (data / table).write_text("image_id\nother\n")
    with pytest.raises(InputError, match=rf"Expected {table} of .* dealt the samples out anew"):
        fit(run, resume=True, data=data)
    (data / table).write_text(before)
    fit(run, resume=True, data=data)
    assert len((run / "log.csv").read_text().splitlines()) == 5


def test_a_run_from_before_its_splits_were_noted_resumes(tmp_path):
    data, run = tmp_path / "data", tmp_path / "run"
    data.mkdir()
    (data / "train.csv").write_text("image_id\na\n")
    with pytest.raises(RuntimeError, match="died"):
        fit(run, callback=Dies(1), data=data)
    (run / "splits.json").unlink()
    (data / "train.csv").write_text("image_id\nb\n")
    fit(run, resume=True, data=data)


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


class Interrupts(Callback):
    """Ctrl-C in an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_train_epoch_start(self, trainer, module):
        if trainer.current_epoch == self.epoch:
            os.kill(os.getpid(), signal.SIGINT)


def interrupted(run, epoch):
    # a shell's background job ignores Ctrl-C, and so would what it starts
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt) as stop:
            fit(run, callback=Interrupts(epoch))
    finally:
        signal.signal(signal.SIGINT, before)  # Lightning ignores the next one, to end in peace
    return stop.value.args


def test_ctrl_c_says_how_to_go_on(whole, tmp_path):
    assert interrupted(tmp_path, epoch=2) == ("go on with --resume true",)
    fit(tmp_path, resume=True)
    assert_same(tmp_path, whole)


def test_ctrl_c_before_the_first_checkpoint_promises_nothing(tmp_path):
    assert interrupted(tmp_path, epoch=0) == ()


def test_settings_are_what_config_reads(whole):
    assert json.loads((whole / "settings.json").read_text())["fit"]["optimizer"] == "adamw"
