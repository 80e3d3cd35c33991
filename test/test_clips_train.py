"""Training of clip classifiers: scores, fixed layers, exact resuming."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from clip_training import CONFIG, Dies, fit, items, make_store

from medvial.errors import InputError
from medvial.video_classification.classify import classify
from medvial.video_classification.model import build_model, parts
from medvial_training.clips.augment import ClipAugmentation
from medvial_training.clips.dataset import Item, ViewClips
from medvial_training.clips.module import ClipModule, fix_layers, monitored
from medvial_training.clips.options import ClipTraining
from medvial_training.clips.scores import MeanProbabilities, by_patient, scores
from medvial_training.fit import FitArgs


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="module")
def whole(store, tmp_path_factory):
    run = tmp_path_factory.mktemp("clips") / "whole"
    return run, fit(store, run)


def last(run):
    return torch.load(Path(run) / "checkpoints" / "last.ckpt", weights_only=False)


def assert_same(one, other):
    for key in ("state_dict", "current_model_state"):
        for name, value in last(one)[key].items():
            torch.testing.assert_close(last(other)[key][name], value, rtol=0, atol=0)
    logs = [(Path(run) / "log.csv").read_text() for run in (one, other)]
    assert logs[0] == logs[1]


@pytest.mark.parametrize("workers", [0, 1])  # 1 loads ahead
def test_a_resumed_run_ends_as_the_uninterrupted_one(store, whole, tmp_path, workers):
    with pytest.raises(RuntimeError, match="died"):
        fit(store, tmp_path, callback=Dies(1, 2))
    fit(store, tmp_path, resume=True, workers=workers)
    assert_same(tmp_path, whole[0])


def test_balanced_training_resumes_exactly_too(store, tmp_path):
    training = ClipTraining(balance_sampling=1.0, balance_loss=0.5, clips_per_epoch=2)
    fit(store, tmp_path / "whole", training=training)
    with pytest.raises(RuntimeError, match="died"):
        fit(store, tmp_path / "died", training=training, callback=Dies(2, 1))
    fit(store, tmp_path / "died", training=training, resume=True)
    assert_same(tmp_path / "died", tmp_path / "whole")


def test_the_log_holds_scores_of_videos_and_of_patients(whole):
    header, *rows = (whole[0] / "log.csv").read_text().splitlines()
    names = {"loss", "accuracy", "balanced_accuracy", "auroc"}
    expected = {f"valid/{n}" for n in names} | {f"valid/patient_{n}" for n in names}
    assert set(header.split(",")) == {"epoch", "step", "train/loss"} | expected
    assert len(rows) == 3


def test_validation_gives_the_numbers_of_inference(store):
    torch.manual_seed(0)
    config = replace(CONFIG, crops=3)
    valid = items(5)
    views = ViewClips(store, valid, config)
    module = ClipModule(
        config, FitArgs(), ClipAugmentation(), ClipTraining(), items(6), valid
    ).eval()
    batch = torch.utils.data.default_collate([views[i] for i in range(len(views))])
    with torch.no_grad():
        module.validation_step(batch, 0)

    def network(clips):
        with torch.no_grad():
            return module.net(torch.from_numpy(clips)).numpy()

    for number, mean in enumerate(module.pooled.compute().numpy()):
        frames = store.frames(f"v{number}")
        said = classify(frames.__getitem__, store.times_s(f"v{number}"), network, config)
        np.testing.assert_allclose(mean, said.probabilities, atol=1e-6)


def test_a_video_counts_once_however_many_views_it_has():
    pooled = MeanProbabilities(3, 2)
    pooled.update(torch.tensor([0, 2, 0]), torch.tensor([[0.2, 0.8], [0.9, 0.1], [0.6, 0.4]]))
    pooled.update(torch.tensor([1, 0]), torch.tensor([[0.5, 0.5], [0.1, 0.9]]))
    expected = [[0.3, 0.7], [0.5, 0.5], [0.9, 0.1]]
    np.testing.assert_allclose(pooled.compute(), expected, atol=1e-7)
    same = [Item("a", 1, "P"), Item("b", 1, "P"), Item("c", 0, "P")]
    means, labels = by_patient(pooled.compute(), same)
    np.testing.assert_allclose(means, [[0.4, 0.6], [0.9, 0.1]], atol=1e-7)
    assert labels.tolist() == [1, 0]
    assert by_patient(pooled.compute(), [*same[:2], Item("c", 0)]) is None


def test_scores_by_known_answers():
    p = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.55, 0.45], [0.2, 0.8]])
    got = scores(p, torch.tensor([0, 0, 0, 1, 1]), positive=1)
    assert got == pytest.approx(
        {
            "loss": -np.log([0.9, 0.6, 0.3, 0.45, 0.8]).mean(),
            "accuracy": 3 / 5,
            "balanced_accuracy": (2 / 3 + 1 / 2) / 2,
            "auroc": 5 / 6,
        }
    )
    assert scores(p, torch.tensor([0, 0, 0, 1, 1]), 0)["auroc"] == pytest.approx(5 / 6)
    assert "auroc" not in scores(p, torch.zeros(5, dtype=torch.long), 1)
    many = torch.full((3, 7), 0.1)
    many[0, 2], many[1, 0] = 0.4, 0.0
    got = scores(many, torch.tensor([2, 0, 0]), 1)
    assert got["accuracy"] == pytest.approx(2 / 3)  # the first of equal ones is taken
    assert got["top5"] == pytest.approx(2 / 3)


def test_the_best_epoch_is_chosen_by_what_the_videos_can_tell():
    known, unknown = items(6, patients=True), items(6)
    assert monitored("loss", CONFIG, known) == "valid/patient_loss"
    assert monitored("auroc", CONFIG, unknown) == "valid/auroc"
    with pytest.raises(InputError, match="two classes for the monitor auroc"):
        monitored("auroc", CONFIG, [items(1)[0]])
    with pytest.raises(InputError, match="Expected label_smoothing from 0 to 1, got 2"):
        ClipTraining(label_smoothing=2)


def test_fixed_layers_without_weights_are_warned_of(store, tmp_path, caplog):
    fit(store, tmp_path / "all", training=ClipTraining(fix_layer="all"))
    assert "fix_layer" not in caplog.text
    fit(store, tmp_path / "head", training=ClipTraining(fix_layer="head"))
    assert "fix_layer head keeps parts of the network as they start, and without" in caplog.text


@pytest.mark.parametrize(
    ("fix_layer", "trained"),
    [
        ("none", {"stem", "stages", "head"}),
        ("all", {"stem", "stages", "head"}),
        ("head", {"head"}),
        ("stem_head", {"stem", "head"}),
        ("stage_head", {"stages", "head"}),
    ],
)
def test_fixed_layers_stay_as_they_are(store, tmp_path, fix_layer, trained):
    before = build_model(CONFIG)
    fix_layers(before, fix_layer)
    for name, modules in parts(before).items():
        of_part = {p.requires_grad for m in modules for p in m.parameters()}
        assert of_part == {name in trained}
    nets = {}
    for epochs in (1, 2):
        run = tmp_path / str(epochs)
        training = ClipTraining(fix_layer=fix_layer)
        fit(store, run, training=training, max_epochs=epochs, ema_decay=0.0)
        net = build_model(CONFIG)
        state = last(run)["state_dict"]
        net.load_state_dict({k.removeprefix("net."): v for k, v in state.items()})
        nets[epochs] = parts(net)
    for name in ("stem", "stages", "head"):
        pairs = [
            (one, two)
            for a, b in zip(nets[1][name], nets[2][name], strict=True)
            for one, two in zip(a.state_dict().values(), b.state_dict().values(), strict=True)
        ]
        assert all(torch.equal(a, b) for a, b in pairs) == (name not in trained)


def test_label_smoothing_and_class_weights_are_in_the_loss(store):
    torch.manual_seed(0)
    options = ClipTraining(label_smoothing=0.1, balance_loss=1.0)
    train = [items(1)[0], *items(4, 1)]
    still = ClipAugmentation(0, 0, 0, 0, 0, 0, 0)
    config = replace(CONFIG, resize=16)
    module = ClipModule(config, FitArgs(), still, options, train, items(2)).eval()
    module.log = lambda *_, **__: None
    views = ViewClips(store, items(4), replace(config, clips=1))
    batch = torch.utils.data.default_collate([views[i] for i in range(4)])
    loss = float(module.training_step(batch, 0).detach())
    clips = batch["clip"].permute(0, 4, 1, 2, 3).float() / 255
    logits = module.net((clips - 0.45) / 0.225).log_softmax(1).detach().numpy()
    truth = np.array([[0.95, 0.05], [0.05, 0.95]])[[0, 1, 0, 1]]
    weights = np.array([5 / (2 * 3), 5 / (2 * 2)])[[0, 1, 0, 1]]
    assert loss == pytest.approx((-(truth * logits).sum(1) * weights).mean(), rel=1e-4)
