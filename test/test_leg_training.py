"""Training of leg agility: changed keypoints, losses, schedule, networks and forests."""

import dataclasses
from itertools import combinations

import numpy as np
import onnxruntime
import pytest
import torch
from keypoint_clips import FPS, TRUNK_PX, clip, taps
from lightning.pytorch import Callback, Trainer
from safetensors.torch import save_file

from medvial.errors import InputError
from medvial.gait.leg_agility.config import LegConfig
from medvial.gait.leg_agility.inputs import (
    MISSING,
    QUANTITY_NAMES,
    analyse_both,
    input_shape,
    leg_input,
)
from medvial.gait.leg_agility.model import build_model
from medvial.gait.leg_agility.rating import probabilities, rate, scores
from medvial.gait.skeletons import BODY_25
from medvial_training.fit import FitArgs
from medvial_training.onnx_export import export_onnx
from medvial_training.tasks.gait.leg_agility.augment import LegAugmentation, augment
from medvial_training.tasks.gait.leg_agility.choices import LegTraining
from medvial_training.tasks.gait.leg_agility.dataset import LegData, LegInputs, Legs, targets_of
from medvial_training.tasks.gait.leg_agility.forest import train_forest
from medvial_training.tasks.gait.leg_agility.learn import learn, open_weights, predict
from medvial_training.tasks.gait.leg_agility.module import LegModule
from medvial_training.tasks.gait.leg_agility.ordinal import (
    fit_temperature,
    level_weights,
    ordinal_loss,
)
from medvial_training.tasks.gait.leg_agility.recordings import LegSample
from medvial_training.tasks.gait.leg_agility.start import start_from

SMALL = LegConfig(
    levels=(0, 2), seconds=5.0, rate_hz=12.0, widths=(4, 6), frames=8, size=32, dropout=0.0
)
FIT = FitArgs(
    max_epochs=5,
    batch_size=4,
    learning_rate=3e-2,
    ema_decay=0.0,
    precision="32-true",
    mlflow=False,
    progress=False,
)
NONE = LegAugmentation(0, 0.0, 0.0, 0.0, 0.0, 0, 0.0, mirror=False)
KNEES = [BODY_25.indices[f"{side}_knee"] for side in ("left", "right")]


def recording(name):
    """Even numbers: the left leg is fast, the right one slow; odd numbers: the other way round."""
    number = int(name)
    fast, slow = taps([0.4 + 0.01 * number] * 7, cycle_s=0.5), taps([0.4] * 5, cycle_s=0.9)
    left, right = (fast, slow) if number % 2 == 0 else (slow, fast)
    still = np.zeros(len(right)), np.zeros(len(left))
    points = clip(np.concatenate([left, still[0]]), np.concatenate([still[1], right]))
    return points, np.arange(len(points)) / FPS


def samples(numbers):
    """Both legs of some recordings: fast is 0, slow is 2."""
    return [
        LegSample(str(n), f"patient {n}", leg, 2 * ((n + place) % 2))
        for n in numbers
        for place, leg in enumerate(("left", "right"))
    ]


def inputs(changes=NONE, **options):
    return LegInputs(recording, dataclasses.replace(SMALL, **options), changes, seed=3)


def test_changes_are_the_same_for_the_same_seed():
    points, times_s = recording("2")
    before = points.copy()
    one, two, other = (
        augment(points, times_s, LegAugmentation(), np.random.default_rng(s)) for s in (1, 1, 2)
    )
    assert np.array_equal(one[0], two[0], equal_nan=True)
    assert np.array_equal(one[1], two[1])
    assert np.abs(one[1] - other[1]).max() > 1e-3
    assert np.array_equal(points, before)


def test_no_changes():
    points, times_s = recording("2")
    got, at_s = augment(points, times_s, NONE, np.random.default_rng(1))
    assert got == pytest.approx(points)
    assert at_s == pytest.approx(times_s)


def test_changes_stay_below_what_the_item_would_notice():
    points, times_s = recording("2")
    points[10:14] = np.nan, np.nan, 0
    changes = LegAugmentation(jitter=0.0, gaps=0, amplitude=0.1, time_scale=0.03, time_warp=0.05)
    before = analyse_both(points, times_s).left
    for seed in range(6):
        got, at_s = augment(points, times_s, changes, np.random.default_rng(seed))
        assert (np.diff(at_s) > 0).all()
        assert np.array_equal(np.isnan(got), np.isnan(points))
        after = analyse_both(got, at_s).left
        assert len(after.movement.taps) == len(before.movement.taps) == 7
        assert after.values["tempo"] == pytest.approx(before.values["tempo"], rel=0.09)
        assert after.values["amplitude"] == pytest.approx(before.values["amplitude"], rel=0.12)
        assert after.readings[0].level == 0
    assert after.values["amplitude"] != pytest.approx(before.values["amplitude"], rel=1e-3)


def test_noise_and_gaps():
    points, times_s = recording("3")
    noisy, _ = augment(
        points, times_s, dataclasses.replace(NONE, jitter=0.01), np.random.default_rng(1)
    )
    assert (noisy - points)[..., :2].std() == pytest.approx(0.01 * TRUNK_PX, rel=0.1)
    hidden = [
        np.isnan(
            augment(
                points,
                times_s,
                dataclasses.replace(NONE, gaps=2, gap_s=0.5),
                np.random.default_rng(s),
            )[0][:, KNEES[0], 0]
        ).sum()
        for s in range(8)
    ]
    assert max(hidden) > 5
    assert max(hidden) <= 2 * 0.5 * FPS + 2


@pytest.mark.parametrize(
    ("options", "message"), [({"amplitude": 0.6}, "amplitude"), ({"variants": -1}, "variants")]
)
def test_changes_that_tear_recordings(options, message):
    with pytest.raises(InputError, match=message):
        LegAugmentation(**options)


def test_recordings_are_worked_out_once_for_all_folds():
    asked = []

    def clip_of(name):
        asked.append(name)
        return recording(name)

    kept = LegInputs(clip_of, SMALL, LegAugmentation(variants=2), seed=3)
    first, second = Legs(kept, samples([0, 1]), copies=3), Legs(kept, samples([1, 2]), copies=3)
    for epoch in range(2):
        for legs in (first, second):
            assert [legs[epoch, index]["target"] for index in range(len(legs))] == 3 * [
                s.score // 2 for s in legs.samples
            ]
    assert sorted(asked) == sorted(["0", "1", "2"] * 3)  # as they are, and two changed copies
    assert torch.equal(first[1, 4 + 2]["input"], second[0, 4 + 0]["input"])
    assert not torch.equal(first[0, 2]["input"], first[0, 4 + 2]["input"])
    assert torch.equal(first[2]["input"], torch.from_numpy(kept.get(first.samples[2])))


def test_drawings_change_anew_in_each_epoch():
    drawn = Legs(inputs(LegAugmentation(variants=1), kind="rendered"), samples([0]), copies=2)
    seen = [drawn[epoch, index]["input"] for epoch in range(2) for index in (0, 2)]
    as_it_is = torch.from_numpy(drawn.inputs.get(samples([0])[0]))
    assert torch.equal(seen[0], as_it_is)
    assert not any(torch.equal(a, b) for a, b in combinations(seen, 2))


def test_validation_sees_legs_as_they_are():
    changed = inputs(LegAugmentation(variants=3))
    data = LegData(changed, samples([0, 1]), samples([2, 3]), FIT)
    got = torch.cat([batch["input"] for batch in data.val_dataloader()])
    want = [leg_input(*recording(s.video), s.leg, SMALL) for s in samples([2, 3])]
    assert got.numpy() == pytest.approx(np.stack(want))
    assert torch.cat([batch["target"] for batch in data.val_dataloader()]).tolist() == [0, 1, 1, 0]


def test_each_network_learns_from_the_other_leg_too():
    """Mirrored, a right leg is a left one: its plane says so, and its signal is the right leg's."""
    two = inputs(dataclasses.replace(NONE, variants=8, mirror=True), one_network_for_both=False)
    planes = {float(two.get(samples([0])[1], variant)[-1, 0]) for variant in range(9)}
    assert planes == {0.0, 1.0}
    for variant in range(9):
        left, right = (two.get(sample, variant) for sample in samples([0]))
        assert {left[-1, 0], right[-1, 0]} == {0.0, 1.0}
        assert left[0] == pytest.approx(two.get(samples([0])[0])[0], abs=1e-4)


def test_scores_that_are_no_levels():
    assert targets_of([2, 0, 2], SMALL).tolist() == [1, 0, 1]
    with pytest.raises(InputError, match=r"levels \[0, 2\], got \[1, 3\].*step 1"):
        targets_of([0, 3, 1], SMALL)


def test_ordinal_losses_by_hand():
    c = LegConfig(levels=(0, 1, 2))
    outputs = torch.tensor([[1.0, -1.0]])
    near, far = np.log(1 + np.exp(-1)), np.log(1 + np.exp(1))
    want = {0: far + near, 1: 2 * near, 2: near + far}
    for place, value in want.items():
        assert ordinal_loss(outputs, torch.tensor([place]), c).item() == pytest.approx(value)
    both = ordinal_loss(outputs.repeat(2, 1), torch.tensor([0, 1]), c, torch.tensor([2.0, 0.5, 9]))
    assert both.item() == pytest.approx((2 * want[0] + 0.5 * want[1]) / 2)


def test_two_points_off_costs_more_than_one():
    surely = {"coral": [9.0, 9.0, 9.0], "cross_entropy": [0.0, 0.0, 0.0, 9.0]}
    for loss, outputs in surely.items():
        c = LegConfig(loss=loss)
        costs = [
            ordinal_loss(torch.tensor([outputs]), torch.tensor([place]), c).item()
            for place in (3, 2, 1, 0)
        ]
        assert costs[0] < 0.01
        if loss == "coral":
            assert costs[1:] == pytest.approx([9, 18, 27], abs=0.01)
        else:
            assert costs[1:] == pytest.approx([9, 9, 9], abs=0.01)


def test_level_weights():
    c = LegConfig(levels=(0, 1, 2))
    targets = np.array([0] * 4 + [1] * 16)
    assert level_weights(targets, c, 0.0).tolist() == [1, 1, 1]
    equal = level_weights(targets, c, 1.0)
    assert equal[0] * 4 == pytest.approx(equal[1] * 16)
    assert equal[0] * 4 + equal[1] * 16 == pytest.approx(20)
    assert level_weights(targets, c, 0.5)[0] == pytest.approx(2 * level_weights(targets, c, 0.5)[1])


def test_temperature_of_outputs_that_are_too_sure():
    rng = np.random.default_rng(0)
    c = LegConfig(levels=(0, 1))
    logits = rng.normal(0, 1.5, (4000, 1))
    truth = (rng.random(4000) < 1 / (1 + np.exp(-logits[:, 0]))).astype(int)
    assert fit_temperature(2.5 * logits, truth.tolist(), c) == pytest.approx(2.5, rel=0.12)


class Rates(Callback):
    """Learning rate in each epoch's steps."""

    def __init__(self):
        self.seen = []

    def on_train_batch_start(self, trainer, module, batch, index):
        self.seen.append((trainer.current_epoch, trainer.optimizers[0].param_groups[0]["lr"]))


def test_the_learning_rate_steps_by_epochs_not_by_batches():
    """The source's fell by the batch: to a hundredth within its first epoch."""
    fit = dataclasses.replace(
        FIT, max_epochs=5, batch_size=2, schedule="step", step_epochs=2, learning_rate=0.01
    )
    data = LegData(inputs(), samples([0, 1, 2]), samples([3]), fit)
    rates = Rates()
    module = LegModule.of(data.train, fit, balance=0.5)
    Trainer(
        **dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar"), False),
        **{"max_epochs": 5, "callbacks": [rates], "accelerator": "cpu"},
        enable_model_summary=False,
    ).fit(module, data)
    assert len(rates.seen) == 5 * 3
    want = [0.01, 0.01, 0.001, 0.001, 0.0001]
    assert [rate for _, rate in rates.seen] == pytest.approx(
        [want[epoch] for epoch, _ in rates.seen]
    )


def test_quantities_are_scaled_by_the_training_legs():
    module = LegModule.of(Legs(inputs(), samples([0, 1])), FIT, balance=0.5)
    values = inputs(kind="kinematic").stack(samples([0, 1]))
    tempo = QUANTITY_NAMES.index("tempo")
    assert module.net.body.centre[tempo].item() == pytest.approx(values[:, tempo].mean(), rel=1e-4)
    assert module.net.body.scale[tempo].item() == pytest.approx(values[:, tempo].std(), rel=1e-3)


@pytest.mark.parametrize("both", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_network_learns_fast_from_slow(tmp_path, both):
    legs = inputs(LegAugmentation(variants=1), one_network_for_both=both)
    weights = learn(legs, samples(range(4)), samples([6, 7]), FIT, LegTraining(), tmp_path)
    assert weights.name == "leg_agility.safetensors"
    network = open_weights(weights, legs.config)
    unseen = samples([8, 9])
    told = probabilities(predict(legs, unseen, network), legs.config)
    assert scores(told, legs.config).tolist() == [s.score for s in unseen]
    ratings = rate(*recording("9"), network, legs.config)
    assert {leg: r.score for leg, r in ratings.items()} == {"left": 2, "right": 0}
    assert (tmp_path / "log.csv").is_file()


@pytest.mark.parametrize("kind", ["temporal", "rendered"])
@pytest.mark.parametrize("both", [True, False])
def test_onnx_gives_the_same_numbers(tmp_path, kind, both):
    c = dataclasses.replace(
        SMALL, kind=kind, one_network_for_both=both, network_widths=(4, 6), loss="cumulative"
    )
    example = np.random.default_rng(0).standard_normal((3, *input_shape(c))).astype(np.float32)
    export_onnx(build_model(c), example, tmp_path / "leg_agility.onnx")
    network = open_weights(tmp_path / "leg_agility.onnx", c)
    assert network(example[:1]).shape == (1, 1)
    assert network(np.tile(example, (2, *[1] * (example.ndim - 1)))).shape == (6, 1)


@pytest.mark.slow  # a ResNet-18
def test_onnx_of_the_lstm_gives_the_same_numbers_for_any_batch(tmp_path):
    c = dataclasses.replace(SMALL, kind="resnet18_lstm", levels=(0, 1, 2))
    net = build_model(c).eval()
    example = np.random.default_rng(0).standard_normal((3, *input_shape(c))).astype(np.float32)
    export_onnx(net, example, tmp_path / "leg_agility.onnx")
    got = open_weights(tmp_path / "leg_agility.onnx", c)(example[:1])
    assert got == pytest.approx(net(torch.from_numpy(example[:1])).detach().numpy(), abs=1e-4)


def test_nothing_to_learn_from(tmp_path):
    with pytest.raises(InputError, match="legs to train on"):
        learn(inputs(), [], samples([1]), FIT, LegTraining(), tmp_path)
    with pytest.raises(InputError, match="best epoch"):
        learn(inputs(), samples([1]), [], FIT, LegTraining(), tmp_path)


def test_a_resnet_that_was_trained_on_photographs(tmp_path):
    from torchvision.models import resnet18

    torch.manual_seed(5)
    images = resnet18(weights=None)
    save_file(
        {f"module.{k}": v for k, v in images.state_dict().items()}, tmp_path / "r.safetensors"
    )
    c = dataclasses.replace(SMALL, kind="resnet18_lstm")
    net = build_model(c)
    start_from(net, str(tmp_path / "r.safetensors"), c)
    assert torch.equal(net.body.image.layer2[0].conv1.weight, images.layer2[0].conv1.weight)


def test_a_leg_agility_network_goes_on_with_other_levels(tmp_path):
    before, after = SMALL, dataclasses.replace(SMALL, levels=(0, 1, 2))
    first, second = build_model(before), build_model(after)
    save_file(first.state_dict(), tmp_path / "leg_agility.safetensors")
    start_from(second, str(tmp_path), after)
    assert torch.equal(second.body.stem[0].weight, first.body.stem[0].weight)
    assert second.head.limits.shape == (2,)


def test_weights_of_something_else(tmp_path):
    save_file({"a": torch.zeros(3)}, tmp_path / "a.safetensors")
    with pytest.raises(InputError, match=r"leg_agility\.safetensors"):
        start_from(build_model(SMALL), str(tmp_path / "a.safetensors"), SMALL)


def forest_data(rng, both=True, levels=(0, 1, 3)):
    c = LegConfig(kind="kinematic", levels=levels, one_network_for_both=both)
    values = rng.normal(0, 1, (90, *input_shape(c))).astype(np.float32)
    values[rng.random(values.shape) < 0.1] = MISSING
    if not both:
        values[:, -1] = rng.integers(0, 2, 90)
    severity = values[:, 2] * (1 if both else np.where(values[:, -1] == 1, -1, 1))
    return c, values, np.digitize(severity, np.arange(1, len(levels)) - 1.2)


@pytest.mark.parametrize("levels", [(0, 2), (0, 1, 3)])
@pytest.mark.parametrize("both", [True, False])
def test_a_forest_rates_in_onnx(tmp_path, both, levels):
    c, values, targets = forest_data(np.random.default_rng(0), both, levels)
    path = tmp_path / "leg_agility.onnx"
    train_forest(values, targets, c, LegTraining(trees=12, least_leaf=1), 0, path)
    outputs = open_weights(path, c)(values)
    assert outputs.shape == (90, len(levels) - 1)
    assert (np.diff(outputs, axis=1) <= 1e-6).all()  # further levels are exceeded less often
    got = scores(probabilities(outputs, c), c)
    assert (got == np.array(levels)[targets]).mean() > 0.9
    assert onnxruntime.InferenceSession(path.read_bytes()).get_inputs()[0].name == "input"


def test_a_forest_without_one_of_the_legs(tmp_path):
    c, values, targets = forest_data(np.random.default_rng(0), both=False)
    left = values[:, -1] == 0
    with pytest.raises(InputError, match="scored right legs"):
        train_forest(values[left], targets[left], c, LegTraining(trees=3), 0, tmp_path / "f.onnx")


def test_learning_a_forest(tmp_path):
    legs = inputs(LegAugmentation(variants=2), kind="kinematic")
    training = LegTraining(trees=9, least_leaf=1)
    weights = learn(legs, samples(range(4)), [], FIT, training, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["leg_agility.onnx"]
    network = open_weights(weights, legs.config)
    assert predict(legs, [], network).shape == (0, 1)
    ratings = rate(*recording("5"), network, legs.config)
    assert {leg: r.score for leg, r in ratings.items()} == {"left": 2, "right": 0}
