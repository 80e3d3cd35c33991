"""Training of echonet: augmentation, losses, what is learned, and tiny real runs."""

import csv
import dataclasses
import json

import numpy as np
import pytest
import torch
from echo_data import CONFIG, changed, write_echonet

from medvial.echonet import Config
from medvial.echonet.postprocess import Learned
from medvial.errors import InputError
from medvial.models import ModelFolder, config_from_dict
from medvial_training.fit import FitArgs
from medvial_training.tasks.echonet.augment import Augmentation, augment
from medvial_training.tasks.echonet.choices import Choices
from medvial_training.tasks.echonet.dataset import Clips, fixed_starts
from medvial_training.tasks.echonet.export import export, write_algorithm_model
from medvial_training.tasks.echonet.learn import (
    best_threshold,
    conformal_half_width,
    recalibration,
)
from medvial_training.tasks.echonet.modules import (
    EjectionFractionModule,
    ef_weights,
    segmentation_loss,
)
from medvial_training.tasks.echonet.prepare import prepare
from medvial_training.tasks.echonet.recordings import Recordings
from medvial_training.tasks.echonet.train import train

STILL = Augmentation(*[0.0] * 10)
FIT = FitArgs(
    max_epochs=2, batch_size=4, mlflow=False, progress=False, accelerator="cpu", ema_decay=0.5
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("echo")
    prepare(write_echonet(folder / "raw"), folder / "data", model=CONFIG, workers=1)
    return folder / "data"


@pytest.fixture(scope="module")
def config(data):
    values = json.loads((data / "config.json").read_text())
    return config_from_dict(Config, values, where=data)


def fit(data, run, config, **options):
    options = {"segmentation_fit": FIT, "ejection_fraction_fit": FIT} | options
    train(data, run, model=config, **options)


def test_masks_move_with_their_frames():
    frames = torch.zeros(3, 2, 64, 48)
    frames[:, :, 20:40, 10:30] = 200
    settings = Augmentation(log_gamma=0, contrast=0, brightness=0, attenuation=0, shadow=0, noise=0)
    torch.manual_seed(0)
    moved, masks = augment(frames, frames / 200, settings)
    torch.testing.assert_close(moved / 200, masks, atol=1e-4, rtol=0)
    assert (moved[0] - frames[0]).abs().max() > 50
    torch.testing.assert_close(moved[:, 0], moved[:, 1])  # a clip moves as one


def test_no_change_is_no_change():
    frames = torch.randint(0, 255, (2, 3, 16, 32)).float()
    same, none = augment(frames, None, STILL)
    torch.testing.assert_close(same, frames, atol=1e-2, rtol=0)
    assert none is None


def test_black_stays_black_and_values_stay_in_range():
    frames = torch.zeros(4, 1, 32, 48)
    frames[..., 24:] = 120
    torch.manual_seed(1)
    changed_, _ = augment(
        frames, None, Augmentation(rotation_deg=0, log_scale=0, shift=0, log_aspect=0)
    )
    assert changed_[..., :23].max() == 0
    assert 0 <= changed_.min() <= changed_.max() <= 255
    assert (changed_[..., 25:] - 120).abs().max() > 5


def test_segmentation_losses_have_known_values():
    logits = torch.tensor([0.0, 0.0, 50.0, -50.0]).view(1, 1, 2, 2)
    masks = torch.tensor([1.0, 0.0, 1.0, 0.0]).view(1, 1, 2, 2)
    assert segmentation_loss(logits, masks, "sum_bce").item() == pytest.approx(2 * np.log(2))
    dice = (2 * 1.5 + 1) / (2 + 2 + 1)
    expected = 2 * np.log(2) / 4 + 1 - dice
    assert segmentation_loss(logits, masks, "bce_dice").item() == pytest.approx(expected)


def test_rare_ejection_fractions_count_more():
    ef = np.array([60.0] * 30 + [25.0] * 3)
    alike, balanced = ef_weights(ef, 0.0), ef_weights(ef, 1.0)
    np.testing.assert_allclose(alike, 1)
    assert balanced[12] > 5 * balanced[30]  # bins of 2 points
    counts = np.histogram(ef, np.arange(0, 102, 2))[0]
    assert (balanced * counts).sum() / counts.sum() == pytest.approx(1, rel=1e-5)


def test_the_network_starts_at_the_mean_of_the_training_videos():
    module = EjectionFractionModule(CONFIG, FIT, STILL, "huber", [40.0, 60.0])
    assert module.net.fc.bias.item() == 50
    assert module.scale == 10


def test_fixed_clips_are_spread_evenly():
    assert fixed_starts(90, 3) == [0, 45, 90]
    assert fixed_starts(9, 1) == [4]
    assert fixed_starts(0, 3) == [0, 0, 0]


def test_clips_follow_seed_and_epoch(data, config):
    recordings = Recordings(data, "train")
    clips, same = Clips(recordings, config, seed=3), Clips(recordings, config, seed=3)
    for key in [(0, 1), (7, 1)]:
        assert torch.equal(clips[key]["clips"], same[key]["clips"])
    several = [clips[epoch, 1]["clips"] for epoch in range(8)]
    assert any(not torch.equal(several[0], other) for other in several)
    item = clips[0, 1]
    assert item["clips"].shape == (1, 4, 64, 64)
    assert item["ef"] == recordings.all[1].ef


def test_short_videos_end_in_mean_grey(data, config):
    long = changed(config, clip_frames=32)
    clips = Clips(Recordings(data, "train"), long, clips_per_video=2)
    item = clips[0]
    assert clips.padded == 4
    assert item["inside"][0].tolist() == [True] * 10 + [False] * 22  # 20 frames, every second
    module = EjectionFractionModule(long, FIT, STILL, "mse", [50.0, 60.0])
    seen = []
    module.net.stem.register_forward_pre_hook(lambda _m, x: seen.append(x[0]))
    module.eval()
    module.predict_videos({"clips": item["clips"][None], "inside": item["inside"][None]})
    assert (seen[0][0, :, 10:] == 0).all()
    assert seen[0][0, :, :10].abs().min() >= 0
    assert seen[0][0, :, :10].abs().max() > 0


def test_the_interval_is_the_conformal_quantile():
    errors = np.array([-9.0, 1, 2, -3, 4, 5, -6, 7, 8])
    assert conformal_half_width(errors, 0.9) == 9  # ceil(10 * .9) = 9th of 9
    assert conformal_half_width(errors, 0.5) == 5
    assert conformal_half_width(errors[:8], 0.9) is None


def test_the_recalibration_is_a_line():
    truth = np.linspace(20, 70, 20)
    slope, intercept, errors = recalibration((truth - 5) / 0.8, truth)
    assert (slope, intercept) == (pytest.approx(0.8), pytest.approx(5))
    np.testing.assert_allclose(errors, 0, atol=1e-9)


def test_the_threshold_moves_only_where_it_helps():
    mask = np.zeros((1, 10, 12), bool)
    mask[0, 2:8, 3:9] = True
    sure = np.where(mask, 0.9, 0.1).astype(np.float32)
    assert best_threshold(sure, mask) == 0.5
    shy = np.where(mask, 0.42, 0.1).astype(np.float32)
    assert best_threshold(shy, mask) < 0.42


def test_a_run_leaves_a_model_of_two_networks(data, config, tmp_path):
    run = tmp_path / "run"
    splits = (data / "valid.csv").read_bytes()
    fit(data, run, config, choices=Choices(coverage=0.6, recalibrate=True))
    assert {p.relative_to(run).as_posix() for p in run.rglob("*") if p.is_file()} == {
        *(
            f"{n}/{f}"
            for n in ("segmentation", "ejection_fraction")
            for f in (
                "checkpoints/best.ckpt",
                "checkpoints/last.ckpt",
                "log.csv",
                "settings.json",
                "splits.json",
                f"{n}.safetensors",
            )
        ),
        "model/segmentation.safetensors",
        "model/ejection_fraction.safetensors",
        "model/postprocess.json",
        "model/manifest.json",
    }
    folder = ModelFolder.open(run / "model", task="echonet")
    assert set(folder.manifest.metrics["valid"]) == {"segmentation", "ejection_fraction"}
    learned = Learned.from_dict(folder.read_json("postprocess.json"))
    assert learned.videos == 2
    assert learned.coverage == 0.6
    write_algorithm_model(folder, tmp_path / "algorithm" / "model")
    exported = ModelFolder.open(tmp_path / "algorithm" / "model", task="echonet")
    assert {"segmentation.onnx", "ejection_fraction.onnx"} <= set(exported.manifest.files)
    with pytest.raises(InputError, match="Expected a new run folder, got"):
        fit(data, run, config)
    fit(data, run, config, choices=Choices(coverage=0.5), resume=True)
    learned = ModelFolder.open(run / "model", task="echonet").read_json("postprocess.json")
    assert learned["coverage"] == 0.5
    with (data / "valid.csv").open("a") as file:
        file.write("\n")  # as good as another seed of step 1
    for options in ({"resume": True}, {"networks": "segmentation"}):
        with pytest.raises(InputError, match=r"Expected valid\.csv of .* dealt the samples out"):
            fit(data, run, config, choices=Choices(coverage=0.5), **options)
    (data / "valid.csv").write_bytes(splits)
    longer = dataclasses.replace(FIT, max_epochs=3)
    with pytest.raises(InputError, match=r"segmentation_fit\.max_epochs 2 there, 3 here"):
        fit(data, run, config, choices=Choices(coverage=0.6), resume=True, segmentation_fit=longer)


def weights_of(run, name):
    return (run / name / f"{name}.safetensors").read_bytes()


@pytest.mark.parametrize("name", ["segmentation", "ejection_fraction"])
def test_a_resumed_run_is_an_uninterrupted_one(data, config, tmp_path, monkeypatch, name):
    fit(data, tmp_path / "whole", config, networks=name)
    from medvial_training.callbacks import EpochLog

    original = EpochLog.on_train_epoch_start

    def dies(self, trainer, module):
        if trainer.current_epoch == 1:
            raise KeyboardInterrupt
        original(self, trainer, module)

    monkeypatch.setattr(EpochLog, "on_train_epoch_start", dies)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        fit(data, tmp_path / "killed", config, networks=name)
    monkeypatch.setattr(EpochLog, "on_train_epoch_start", original)
    fit(data, tmp_path / "killed", config, networks=name, resume=True)
    assert weights_of(tmp_path / "killed", name) == weights_of(tmp_path / "whole", name)
    with (tmp_path / "killed" / name / "log.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["0", "1"]


def test_training_starts_from_another_model(data, config, tmp_path):
    fit(data, tmp_path / "first", config, networks="segmentation")
    start = str(tmp_path / "first" / "model")
    fit(data, tmp_path / "second", config, networks="segmentation", segmentation_weights=start)
    settings = json.loads((tmp_path / "second" / "segmentation" / "settings.json").read_text())
    assert settings["segmentation_weights"] == start
    wider = changed(config, ejection_fraction_widths=(4, 8))
    with pytest.raises(InputError, match="another ejection_fraction_widths than in"):
        fit(data, tmp_path / "first", wider, networks="ejection_fraction")
    assert not (tmp_path / "first" / "ejection_fraction").exists()  # told before it is trained
    algorithm = tmp_path / "algorithm"
    algorithm.mkdir()
    with pytest.raises(InputError, match=r"algorithm folder with process\.py"):
        export(tmp_path / "first", algorithm)
    (algorithm / "process.py").touch()
    with pytest.raises(InputError, match=r"both networks .* got none for ejection_fraction"):
        export(tmp_path / "first", algorithm)


def test_what_cannot_be_trained(data, config, tmp_path):
    with pytest.raises(InputError, match=r"prepared with other settings: mean"):
        fit(data, tmp_path / "run", CONFIG)
    with pytest.raises(InputError, match=r"got no config\.json\. Run step 1"):
        fit(tmp_path, tmp_path / "run", CONFIG)
    source = write_echonet(tmp_path / "raw")
    (source / "VolumeTracings.csv").unlink()
    prepare(source, tmp_path / "untraced", model=CONFIG, workers=1)
    with pytest.raises(InputError, match=r"traced frames in train\.csv, got none\. Give VolumeTra"):
        fit(tmp_path / "untraced", tmp_path / "run", config)
    with pytest.raises(InputError, match=r"choices\.balance from 0 to 1, got 2"):
        Choices(balance=2)
    with pytest.raises(InputError, match=r"choices\.coverage between 0 and 1"):
        Choices(coverage=1)
    with pytest.raises(InputError, match="validation_clips of at least 1"):
        Choices(validation_clips=0)
    with (data / "valid.csv").open() as file:
        leak = file.read().splitlines()[1]
    bad = tmp_path / "bad"
    bad.mkdir()
    for path in data.iterdir():
        (bad / path.name).write_bytes(path.read_bytes())
    with (bad / "train.csv").open("a") as file:
        file.write(leak + "\n")
    with pytest.raises(InputError, match=r"train\.csv and valid\.csv share image_id 0X"):
        fit(bad, tmp_path / "run", config)


def test_videos_for_the_test_alone_are_not_trained_on(tmp_path):
    prepare(write_echonet(tmp_path / "raw", 2, ("TEST",)), tmp_path / "data", model=CONFIG)
    with pytest.raises(InputError, match=r"to train on .*the test alone\. .* with step 3, --data"):
        fit(tmp_path / "data", tmp_path / "run", CONFIG)


@pytest.mark.parametrize("networks", ["both", "ejection_fraction"])
def test_single_frames_have_no_ejection_fraction(tmp_path, networks):
    source = write_echonet(tmp_path / "raw", frames=2, count=4)
    (source / "VolumeTracings.csv").unlink()
    prepare(source, tmp_path / "data", model=CONFIG, workers=1)
    config = config_from_dict(
        Config, json.loads((tmp_path / "data" / "config.json").read_text()), where=tmp_path
    )
    with pytest.raises(InputError, match=r"single frames only: .* --networks segmentation\.$"):
        fit(tmp_path / "data", tmp_path / "run", config, networks=networks)
