"""What networks see of a leg, the networks, and how their outputs become scores."""

import dataclasses

import numpy as np
import pytest
import torch
from keypoint_clips import FPS, clip, taps

from medvial.errors import InputError
from medvial.gait.leg_agility.config import LegConfig
from medvial.gait.leg_agility.inputs import (
    LEAD_S,
    MISSING,
    QUANTITY_NAMES,
    SIGNALS,
    SPEED_SCALE,
    drawn_clip,
    input_shape,
    leg_input,
)
from medvial.gait.leg_agility.model import build_model
from medvial.gait.leg_agility.rating import expected_scores, probabilities, rate, scores
from medvial.gait.skeletons import BODY_25, mirror
from medvial.models import config_from_dict

SMALL = {"seconds": 6.0, "rate_hz": 20.0, "frames": 12, "size": 40, "widths": (4, 6)}
SMALL |= {"network_widths": (4, 6)}
KINDS = ("temporal", "rendered", "resnet18_lstm", "kinematic")


def config(**options):
    return LegConfig(**(SMALL | options))


def two_legs():
    """Ten taps of the left leg, then seven smaller and slower ones of the right."""
    left, right = taps([0.4] * 10), taps([0.25] * 7, cycle_s=0.8)
    points = clip(
        np.concatenate([left, 0 * right, 0 * left[:20]]),
        np.concatenate([0 * left, right, 0 * left[:20]]),
    )
    return points, np.arange(len(points)) / FPS


def mirrored(points):
    return mirror(points, BODY_25, width=540)


@pytest.mark.parametrize("both", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_input_has_the_shape_that_is_said(kind, both):
    c = config(kind=kind, one_network_for_both=both)
    for leg, plane in (("left", 0), ("right", 1)):
        values = leg_input(*two_legs(), leg, c)
        assert values.shape == input_shape(c)
        assert values.dtype == np.float32
        if not both:
            assert (values[-1] == plane).all()


@pytest.mark.parametrize("kind", ["temporal", "rendered", "kinematic"])
def test_a_right_leg_is_seen_as_a_left_one_of_the_mirrored_clip(kind):
    points, times_s = two_legs()
    c = config(kind=kind)
    right = leg_input(points, times_s, "right", c)
    assert leg_input(mirrored(points), times_s, "left", c) == pytest.approx(right, abs=1e-4)
    assert np.abs(leg_input(points, times_s, "left", c) - right).max() > 0.1


def test_two_networks_see_legs_as_they_are():
    points, times_s = two_legs()
    one, two = config(kind="rendered"), config(kind="rendered", one_network_for_both=False)
    left = leg_input(points, times_s, "left", one)
    assert leg_input(points, times_s, "left", two)[:3] == pytest.approx(left)
    right = leg_input(points, times_s, "right", one)
    assert np.abs(leg_input(points, times_s, "right", two)[:3] - right).max() > 1


def test_signals_begin_before_the_first_tap_and_end_after_the_last():
    c = config(seconds=8.0)
    height, speed, seen, other, *_ = leg_input(*two_legs(), "left", c)[: len(SIGNALS)]
    at_s = np.arange(c.steps) / c.rate_hz - LEAD_S  # from when the knee has risen by a fifth
    assert (height > 0.1).argmax() / c.rate_hz == pytest.approx(LEAD_S, abs=0.1)
    assert height.max() == pytest.approx(0.4, rel=0.06)
    assert speed.max() * SPEED_SCALE == pytest.approx(0.2 * 2 * np.pi / 0.5, rel=0.1)
    assert seen[at_s < 4.8].all()
    assert not seen[at_s > 5.5].any()
    assert not height[at_s > 5.5].any()
    assert np.abs(other).max() < 0.02
    slow = leg_input(*two_legs(), "right", c)
    assert slow[0].max() == pytest.approx(0.25, rel=0.06)
    assert slow[2].sum() / c.rate_hz == pytest.approx(7 * 0.8 + 2 * LEAD_S, abs=0.4)


def test_stretches_without_a_knee_are_unseen():
    points, times_s = two_legs()
    points[60:80] = np.nan, np.nan, 0
    height, _, seen = leg_input(points, times_s, "left", config())[:3]
    assert 8 <= (seen[:90] == 0).sum() <= 16  # two thirds of a second at 20 Hz
    assert not height[seen == 0].any()
    assert np.isfinite(height).all()


def test_quantities_that_need_more_taps_are_missing():
    height = taps([0.4], lead_s=1.5)
    values = leg_input(clip(height), np.arange(len(height)) / FPS, "left", config(kind="kinematic"))
    told = dict(zip(QUANTITY_NAMES, values.tolist(), strict=True))
    assert (told["taps"], told["amplitude"]) == (1, pytest.approx(0.4, rel=0.06))
    assert told["frequency"] == told["decrement"] == told["slowing_level"] == MISSING
    temporal = leg_input(clip(height), np.arange(len(height)) / FPS, "left", config())
    assert (temporal[len(SIGNALS) :] == values[:, None]).all()


def test_a_clip_without_taps_has_an_input_too():
    points = clip(np.zeros(90))
    for kind in KINDS:
        assert np.isfinite(leg_input(points, np.arange(90) / FPS, "right", config(kind=kind))).all()


def test_drawings_are_scaled_before_they_are_normalised():
    """0 to 255 become 0 to 1 first: else inputs would be a thousand times what networks expect."""
    c = config(kind="rendered", mean=(0.45, 0.4, 0.35), std=(0.225, 0.2, 0.25))
    values = leg_input(*two_legs(), "left", c)
    mean, std = np.array(c.mean), np.array(c.std)
    assert values.min(axis=(1, 2, 3)) == pytest.approx(-mean / std, rel=1e-5)  # black
    assert (values.max(axis=(1, 2, 3)) <= (1 - mean) / std + 1e-5).all()
    assert (values.max(axis=(1, 2, 3)) > 1).all()


def test_drawings_are_at_even_times_of_the_attempt():
    c = config(kind="rendered", seconds=6.0, frames=12)
    points, times_s = two_legs()
    frames = drawn_clip(points, times_s, "left", c)
    assert frames.shape == (12, 40, 40, 3)
    assert frames.dtype == np.uint8
    assert (frames.max(axis=(1, 2, 3)) > 100).all()  # the clip is longer than the window
    short = drawn_clip(points[:90], times_s[:90], "left", c)
    assert short[:5].any(axis=(1, 2, 3)).all()
    assert not short[-5:].any()  # nothing beyond the clip's end


@pytest.mark.parametrize("levels", [(0, 1), (0, 1, 2, 3), (1, 2, 4)])
@pytest.mark.parametrize("loss", ["coral", "cumulative", "cross_entropy"])
def test_a_network_rates_the_levels_that_there_are(loss, levels):
    """Not the 400 classes that a video network comes with."""
    for kind in ("temporal", "rendered"):
        c = config(kind=kind, loss=loss, levels=levels)
        outputs = build_model(c).eval()(torch.zeros(2, *input_shape(c)))
        assert outputs.shape == (2, c.outputs)
        assert c.outputs == len(levels) - (loss != "cross_entropy")
        told = probabilities(outputs.detach().numpy(), c)
        assert told.shape == (2, len(levels))
        assert set(scores(told, c).tolist()) <= set(levels)


def test_a_video_network_of_torchvision_rates_too():
    c = config(kind="rendered", network="r3d_18", frames=8)
    net = build_model(c).eval()
    assert net(torch.zeros(1, *input_shape(c))).shape == (1, 3)
    assert not [name for name, value in net.state_dict().items() if 400 in value.shape]


def test_the_lstm_sees_time_pass():
    """The same drawings in another order are another movement."""
    c = config(kind="resnet18_lstm", frames=5, size=32)
    torch.manual_seed(0)
    net = build_model(c).eval()
    x = torch.randn(1, *input_shape(c))
    with torch.no_grad():
        features, reversed_features = net.body(x), net.body(x.flip(2))
        one_step = net.body(x[:, :, :1])
    assert features.shape == (1, 32)
    assert (features - reversed_features).abs().max() > 1e-3
    assert (features - one_step).abs().max() > 1e-3


def test_each_leg_has_its_own_network():
    c = config(one_network_for_both=False, levels=(0, 1, 2))
    net = build_model(c).eval()
    x = torch.randn(4, *input_shape(c))
    x[:, -1] = torch.tensor([0.0, 1.0, 1.0, 0.0])[:, None]
    with torch.no_grad():
        got = net(x)
        left, right = net.left(x[:, :-1]), net.right(x[:, :-1])
        trained = net.train()._routed(x, torch.tensor([False, True, True, False]))
    assert (left - right).abs().max() > 1e-4
    assert torch.equal(got[[0, 3]], left[[0, 3]])
    assert torch.equal(got[[1, 2]], right[[1, 2]])
    assert trained.shape == got.shape
    net.left(x[:, :-1])[0, 0].backward()
    assert all(p.grad is None for p in net.right.parameters())


def test_time_after_the_attempt_hardly_matters():
    points, times_s = two_legs()
    torch.manual_seed(1)
    short, long = config(seconds=8.0), config(seconds=12.0)
    net = build_model(short).eval()
    with torch.no_grad():
        a, b = (
            net(torch.from_numpy(leg_input(points, times_s, "left", c)[None]))
            for c in (short, long)
        )
    assert a.numpy() == pytest.approx(b.numpy(), abs=0.02)


def test_quantities_count_by_their_spread_and_missing_ones_as_none():
    net = build_model(config()).body
    values = torch.full((3, len(QUANTITY_NAMES)), 5.0)
    values[:, 0] = torch.tensor([8.0, 10.0, 12.0])
    values[2, 1] = MISSING
    values[:, 2] = MISSING
    net.learn_scale(values)
    told = net._told(values)
    assert told[:, 0].tolist() == pytest.approx([-1.2247, 0, 1.2247], abs=1e-3)
    assert told[2, [1, 2]].tolist() == [0, 0]
    assert told[2, len(QUANTITY_NAMES) :][:4].tolist() == [0, 1, 1, 0]


def test_probabilities_of_exceeding_become_those_of_levels():
    c = config(levels=(0, 1, 3))
    logit = np.log([[0.8 / 0.2, 0.3 / 0.7]])
    assert probabilities(logit, c) == pytest.approx(np.array([[0.2, 0.5, 0.3]]))
    assert scores(probabilities(logit, c), c).tolist() == [1]
    assert expected_scores(probabilities(logit, c), c) == pytest.approx(0.5 + 0.9)
    forest = dataclasses.replace(c, kind="kinematic")
    assert probabilities([[0.8, 0.3]], forest) == pytest.approx(np.array([[0.2, 0.5, 0.3]]))
    sharper = probabilities(logit, c, temperature=0.5)
    assert sharper[0, 0] == pytest.approx(1 / 17)


def test_outputs_that_contradict_each_other():
    c = config(loss="cumulative")
    told = probabilities(np.array([[1.0, -2.0, 3.0]]), c)
    assert (told >= 0).all()
    assert told.sum() == pytest.approx(1)
    assert told[0, 2] == 0
    assert scores(told, c).tolist() == [1]


def test_probabilities_of_unordered_levels():
    c = config(loss="cross_entropy", levels=(0, 2, 4))
    told = probabilities(np.log([[0.1, 0.2, 0.7], [0.4, 0.3, 0.3]]), c)
    assert told == pytest.approx(np.array([[0.1, 0.2, 0.7], [0.4, 0.3, 0.3]]))
    assert scores(told, c).tolist() == [4, 2]  # the median, not the most probable one


def surely(c, score):
    """A network that gives every leg one score, and keeps what it was asked."""
    asked = []

    def network(batch):
        asked.append(batch.shape)
        above = np.array(c.levels[:-1]) < score
        return np.tile(np.where(above, 9.0, -9.0), (len(batch), 1)).astype(np.float32)

    return network, asked


def test_both_legs_are_rated():
    c = config()
    network, asked = surely(c, 2)
    ratings = rate(*two_legs(), network, c)
    assert asked == [(2, *input_shape(c))]
    for leg, count in (("left", 10), ("right", 7)):
        rating = ratings[leg]
        assert (rating.leg, rating.score, rating.reasons) == (leg, 2, ())
        assert rating.expected == pytest.approx(2, abs=0.01)
        assert rating.probabilities[2] == pytest.approx(1, abs=0.01)
        assert len(rating.analysis.movement.taps) == count
        shown = rating.as_dict()
        assert (shown["score"], list(shown["probabilities"])) == (2, ["0", "1", "2", "3"])


def test_a_leg_without_taps_is_not_rated():
    c = config()
    network, asked = surely(c, 1)
    height = taps([0.4] * 10)
    ratings = rate(clip(height), np.arange(len(height)) / FPS, network, c, {"temperature": 2.0})
    assert asked[0][0] == 1
    assert (ratings["left"].score, ratings["right"].score) == (1, None)
    assert [reason.name for reason in ratings["right"].reasons] == ["no-taps"]
    assert ratings["right"].probabilities is None
    assert ratings["left"].probabilities[1] == pytest.approx(0.978, abs=0.01)
    shown = ratings["right"].as_dict()
    assert (shown["score"], shown["expected"], shown["probabilities"]) == (None, None, None)
    assert shown["unrated"][0]["name"] == "no-taps"


def test_legs_that_nobody_sees_are_not_rated_and_no_network_is_asked():
    points, times_s = two_legs()
    points[:, [BODY_25.indices[f"{leg}_knee"] for leg in ("left", "right")]] = np.nan, np.nan, 0
    network, asked = surely(config(), 1)
    ratings = rate(points, times_s, network, config())
    assert asked == []
    assert {r.score for r in ratings.values()} == {None}
    assert [reason.name for reason in ratings["left"].reasons] == ["knee-not-seen"]


def test_one_frame_is_not_rated():
    network, _ = surely(config(), 1)
    ratings = rate(clip(np.zeros(1)), np.zeros(1), network, config())
    assert "short" in {reason.name for reason in ratings["right"].reasons}


def test_a_forest_is_no_network_of_pytorch():
    with pytest.raises(InputError, match=r"kind kinematic: a forest.*leg_agility\.onnx"):
        build_model(config(kind="kinematic"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"levels": (1,)}, "at least two rising levels"),
        ({"levels": (2, 1)}, "at least two rising levels"),
        ({"levels": (0, 5)}, "at least two rising levels"),
        ({"seconds": 0.0}, "8 time steps"),
        ({"frames": 1}, "at least 2 frames"),
        ({"widths": ()}, "widths of at least 1"),
        ({"std": (0.2, 0.2, 0.0)}, "std above 0"),
    ],
)
def test_configurations_that_make_no_sense(options, message):
    with pytest.raises(InputError, match=message):
        config(**options)


def test_configuration_survives_the_manifest(tmp_path):
    c = config(levels=(0, 2), kind="rendered")
    values = {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(c).items()}
    assert config_from_dict(LegConfig, values, where=tmp_path) == c
