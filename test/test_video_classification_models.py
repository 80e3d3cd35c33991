"""The networks of clip classification: shapes, parts, names of weights, the same as ONNX."""

import builtins
import importlib.util
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from medvial.errors import InputError
from medvial.video_classification.config import ClipConfig
from medvial.video_classification.gradient_network import OrientedGradients
from medvial.video_classification.model import build_model, parts
from medvial_training.onnx_export import export_onnx

TORCHVISION = ("r3d_18", "mc3_18", "r2plus1d_18", "s3d")
PYTORCHVIDEO = ("resnet", "csn", "x3d", "r2plus1d", "slowfast", "c2d", "i3d")
FUSIONS = ("single_frame", "early", "late")


def config(name, **values):
    """Of a network or a fusion, for the smallest clips that all take."""
    fusion = name if name in FUSIONS else "slow"
    network = "compact_r2plus1d" if name in FUSIONS else name
    small = {"clip_frames": 8, "resize": 32, "crop": 32, "depth": 50 if fusion == "slow" else 18}
    return ClipConfig(
        **{"labels": ("a", "b", "c"), "network": network, "fusion": fusion} | small | values
    )


def used(net):
    """The network as after some training: batch norm with statistics of its own."""
    torch.manual_seed(1)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return net.eval()


def clips(settings, count=2):
    shape = (count, 3, settings.clip_frames, settings.crop, settings.crop)
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def rest_slow(names):
    return [
        n if n in ("compact_r2plus1d", "gradients") else pytest.param(n, marks=pytest.mark.slow)
        for n in names
    ]


ALL = rest_slow(("compact_r2plus1d", "gradients", *TORCHVISION, *PYTORCHVIDEO, *FUSIONS))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_the_network_and_its_onnx_agree_for_any_batch(name, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    settings = config(name)
    net = build_model(settings)
    assert net.training
    used(net)
    difference = export_onnx(net, clips(settings), tmp_path / "net.onnx", tolerance=1e-4)
    assert difference < 1e-4
    five = clips(settings, count=5)
    five[0] = 0.0  # black beyond the frame, where no edge has a direction
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    got = session.run(None, {"input": five})[0]
    with torch.inference_mode():
        expected = net(torch.from_numpy(five)).numpy()
    assert got.shape == (5, 3)
    np.testing.assert_allclose(got, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_clips_that_do_not_halve_evenly_are_exported_too(tmp_path):
    settings = config("compact_r2plus1d", clip_frames=9, resize=47, crop=47)
    net = used(build_model(settings))
    assert export_onnx(net, clips(settings), tmp_path / "net.onnx", tolerance=1e-4) < 1e-4


@pytest.mark.parametrize("name", ALL)
def test_every_weight_is_in_one_of_the_parts(name):
    net = build_model(config(name))
    found = parts(net)
    assert list(found) == ["stem", "stages", "head"]
    names = [id(p) for modules in found.values() for m in modules for p in m.parameters()]
    assert sorted(names) == sorted(id(p) for p in net.parameters())
    (head,) = found["head"]
    assert list(head.parameters())[-1].shape == (3,)


@pytest.mark.parametrize("name", rest_slow(("compact_r2plus1d", "r3d_18", "s3d", "x3d", "late")))
def test_dropout_is_in_training_alone(name):
    settings = config(name, dropout=0.9)
    net = build_model(settings)
    for module in net.modules():  # its own chance aside
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            module.eval()
    batch = torch.from_numpy(clips(settings))
    assert not torch.equal(net(batch), net(batch))
    net.eval()
    assert torch.equal(net(batch), net(batch))


@pytest.mark.parametrize("name", ["single_frame", "late"])
def test_2d_networks_see_the_frames_they_name(name):
    settings = config(name, clip_frames=5)
    net = used(build_model(settings))
    batch = torch.from_numpy(clips(settings, count=1))
    seen = []
    for frame in range(5):
        changed = batch.clone()
        changed[:, :, frame] += 1
        with torch.inference_mode():
            seen.append(not torch.equal(net(batch), net(changed)))
    assert seen == ([0, 0, 1, 0, 0] if name == "single_frame" else [1, 0, 0, 0, 1])


def stripes(degrees, side=32):
    """A clip of one frame whose grey values are a sine wave that runs in one direction."""
    y, x = np.mgrid[:side, :side]
    angle = np.deg2rad(degrees)
    wave = np.sin(0.8 * (x * np.cos(angle) + y * np.sin(angle)))
    return torch.from_numpy(np.broadcast_to(wave, (1, 3, 1, side, side)).astype(np.float32))


@pytest.mark.parametrize("number", range(9))
def test_oriented_gradients_know_the_direction_and_not_the_contrast(number):
    layer = OrientedGradients()
    blocks = layer(stripes(20 * number))[0, :, 0]  # bins are 20 degrees apart
    assert blocks.shape == (36, 3, 3)
    corners = blocks.reshape(4, 9, 3, 3)
    assert (corners.argmax(dim=1) == number).all()
    torch.testing.assert_close(blocks.square().sum(dim=0), torch.ones(3, 3), rtol=0.02, atol=0)
    other = layer(3 * stripes(20 * number) - 5)[0, :, 0]
    torch.testing.assert_close(blocks, other, rtol=0.02, atol=0.01)


def test_between_two_directions_both_count_alike():
    corners = OrientedGradients()(stripes(70, side=16))[0, :, 0, 0, 0].reshape(4, 9)
    torch.testing.assert_close(corners[:, 3], corners[:, 4], rtol=0.1, atol=0)


def test_oriented_gradients_know_places():
    clip = torch.zeros(1, 3, 2, 40, 24)
    clip[0, :, :, 2:6, 2:6] = 1.0  # within the first cell
    blocks = OrientedGradients()(clip)
    assert blocks.shape == (1, 36, 2, 4, 2)
    corners = blocks[0, :, 0].reshape(4, 9, 4, 2).sum(dim=1)
    assert corners[0, 0, 0] > 1  # of the first block the upper left cell
    corners[0, 0, 0] = 0
    assert corners.max() < 0.01


def test_early_fusion_stacks_frames_as_channels():
    net = build_model(config("early", clip_frames=5))
    assert net.trunks[0].conv1.weight.shape == (64, 15, 7, 7)
    seen = []
    net.trunks[0].conv1.register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    batch = torch.from_numpy(clips(config("early", clip_frames=5)))
    net(batch)
    torch.testing.assert_close(seen[0][:, 3:6], batch[:, :, 1])  # the second frame's colours


def test_names_of_torchvision():
    assert build_model(config("mc3_18")).torchvision_name == "mc3_18"
    assert build_model(config("late", depth=50)).torchvision_name == "resnet50"
    assert not hasattr(build_model(config("compact_r2plus1d")), "torchvision_name")


def test_weights_of_torchvision_fit_by_name():
    from torchvision.models.video import mc3_18, s3d

    for name, published in (("mc3_18", mc3_18(num_classes=3)), ("s3d", s3d(num_classes=3))):
        build_model(config(name)).load_state_dict(published.state_dict())


def checkpoint_of(name, depth):
    """The network of pytorchvideo's model zoo, untrained, with the names of its checkpoint."""
    from pytorchvideo.models import hub

    names = {"resnet": f"slow_r{depth}", "x3d": "x3d_m"}
    return getattr(hub, names.get(name, f"{name}_r{depth}"))(pretrained=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "depth", "frames", "side"),
    [
        ("resnet", 50, 8, 224),
        ("csn", 101, 32, 224),
        ("x3d", 50, 16, 224),
        ("r2plus1d", 50, 16, 224),
        ("slowfast", 50, 32, 224),
        ("slowfast", 101, 32, 224),
        ("c2d", 50, 8, 224),
        ("i3d", 50, 8, 224),
    ],
)
def test_checkpoints_of_the_model_zoo_fit_and_give_the_same(name, depth, frames, side):
    """At the size they were trained on, ours is the zoo's network, but for a softmax at the end."""
    zoo = used(checkpoint_of(name, depth))
    settings = config(
        name,
        labels=tuple(map(str, range(400))),
        depth=depth,
        clip_frames=frames,
        crop=side,
        resize=side,
    )
    net = build_model(settings)
    net.load_state_dict(zoo.state_dict())
    net.eval()
    batch = torch.from_numpy(clips(settings, count=1))
    slow = torch.linspace(0, frames - 1, frames // 4).long()  # PySlowFast's pack_pathway_output
    with torch.inference_mode():
        expected = zoo([batch[:, :, slow], batch] if name == "slowfast" else batch)
        got = net(batch)
    if name in ("x3d", "r2plus1d"):
        got = got.softmax(dim=1)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("depth", [101, 152])
@pytest.mark.slow
def test_deeper_networks(depth):
    net = build_model(config("resnet", depth=depth))
    assert len(parts(net)["stages"][2].res_blocks) == {101: 23, 152: 36}[depth]


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("compact_r2plus1d", {"labels": ()}, "at least two classes.*Run step 1"),
        ("s3d", {"clip_frames": 4, "crop": 64, "resize": 64}, r"s3d can take, got clip_frames 4"),
        ("compact_r2plus1d", {"clip_frames": 1}, "Choose more or larger frames"),
        ("slowfast", {"clip_frames": 10}, "multiple of 4 for slowfast, got 10"),
        ("csn", {"depth": 18}, "depth of 50, 101, 152 for csn, got 18"),
    ],
)
def test_what_a_network_cannot_take_is_refused(name, values, message):
    with pytest.raises(InputError, match=message):
        build_model(config(name, **values))


def test_without_pytorchvideo_it_says_so(monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n, *a: None if n == "pytorchvideo" else real(n, *a)
    )
    with pytest.raises(InputError, match="the package pytorchvideo for the network x3d"):
        build_model(config("x3d"))


def test_the_broken_transforms_of_pytorchvideo_are_not_imported(monkeypatch):
    imported, real = [], builtins.__import__
    monkeypatch.setattr(
        builtins, "__import__", lambda name, *rest: imported.append(name) or real(name, *rest)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        build_model(config("x3d"))
    assert not [name for name in imported if name.startswith("pytorchvideo.transforms")]
