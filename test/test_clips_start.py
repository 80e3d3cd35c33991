"""Weights that clip classifiers start from, and where the trained ones looked."""

import argparse
import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from clip_training import CONFIG, items, make_store
from safetensors.torch import save_file
from torchvision.models import resnet18, resnet50

from medvial.errors import InputError
from medvial.models import ModelFolder
from medvial.video_classification.config import ClipConfig
from medvial.video_classification.gradient_network import GradientNetwork
from medvial.video_classification.model import build_model
from medvial_training.clips.dataset import ViewClips
from medvial_training.clips.gradcam import look, overlay
from medvial_training.clips.pictures import ClipPictures
from medvial_training.clips.start import INFLATE, start_clips_from
from medvial_training.tracking import Tracker

IMAGES = replace(CONFIG, network="r3d_18", resize=32, crop=32)


def same_but_the_head(net, state, head="fc."):
    own = net.state_dict()
    for name, value in state.items():
        if not name.startswith(head):
            assert torch.equal(own[name], value), name


@pytest.mark.parametrize(
    ("suffix", "kept_as"),
    [
        (".pt", lambda state: state),
        (".pth", lambda state: {"state_dict": {f"module.{k}": v for k, v in state.items()}}),
        (".pyth", lambda state: {"model_state": state, "epoch": 3}),
        (".pth", lambda state: {"model": state, "args": argparse.Namespace(lr=0.1)}),
        (".ckpt", lambda state: {"state_dict": {f"net.{k}": v for k, v in state.items()}}),
    ],
)
def test_files_of_many_programs_are_read(tmp_path, suffix, kept_as, caplog):
    other = build_model(replace(CONFIG, labels=tuple("abcde"), positive=None))
    torch.save(kept_as(other.state_dict()), tmp_path / f"w{suffix}")
    net = build_model(CONFIG)
    head = net.fc.weight.clone()
    with caplog.at_level(logging.INFO):
        start_clips_from(net, str(tmp_path / f"w{suffix}"), CONFIG)
    same_but_the_head(net, other.state_dict())
    assert torch.equal(net.fc.weight, head)
    assert f"compact_r2plus1d starts from {tmp_path}" in caplog.text


@pytest.mark.parametrize(("task", "name"), [("gait", "walking"), ("video", "model")])
def test_a_model_folder_is_a_start(tmp_path, task, name):
    other = build_model(CONFIG)
    save_file(other.state_dict(), tmp_path / f"{name}.safetensors")
    ModelFolder.seal(tmp_path, task=task, config={})
    net = build_model(CONFIG)
    start_clips_from(net, str(tmp_path), CONFIG)
    same_but_the_head(net, other.state_dict(), head="nothing")


def test_what_is_no_start_is_said(tmp_path):
    net = build_model(CONFIG)
    torch.save({"a": torch.zeros(2)}, tmp_path / "other.pt")
    for source, message in (
        (str(tmp_path / "other.pt"), r"weights of this network in .*other\.pt, got 0 of \d+"),
        (str(tmp_path / "none.pt"), "weights at .*No such file"),
        (str(tmp_path), "weights or a model folder at .*, got no manifest.json"),
        ("torchvision:KINETICS400_V1", "a network of torchvision .* choose r3d_18"),
        (f"{INFLATE}{tmp_path}/x.pt", "Expected a network of r3d_18, .*, got compact_r2plus1d"),
    ):
        with pytest.raises(InputError, match=message):
            start_clips_from(net, source, CONFIG)
    with pytest.raises(InputError, match=r"r3d_18 of the names KINETICS400_V1, got IMAGENET"):
        start_clips_from(build_model(IMAGES), "torchvision:IMAGENET", IMAGES)


def features_of_a_still(net, image, frames):
    """What the stages make of a clip of one repeated frame, at its middle."""
    x = image[:, :, None].expand(-1, -1, frames, -1, -1)
    for part in (net.stem, net.layer1, net.layer2):
        x = part(x)
    return x[:, :, x.shape[2] // 2]


def test_an_inflated_network_sees_in_a_still_what_the_image_network_sees(tmp_path):
    torch.manual_seed(0)
    images = resnet18(weights=None)
    torch.save(images.state_dict(), tmp_path / "r18.pth")
    config = replace(IMAGES, clip_frames=33)
    net = build_model(config).eval()
    start_clips_from(net, f"{INFLATE}{tmp_path / 'r18.pth'}", config)
    image = torch.randn(2, 3, 32, 32)
    images.eval()
    with torch.no_grad():
        expected = images.relu(images.bn1(images.conv1(image)))  # video networks do not pool here
        expected = images.layer2(images.layer1(expected))
        got = features_of_a_still(net, image, 33)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("network", ["resnet", "c2d", "i3d"])
def test_image_weights_fit_pytorchvideos_networks(tmp_path, network):
    config = ClipConfig(labels=("a", "b"), network=network, clip_frames=8, crop=64, resize=64)
    images = resnet50(weights=None)
    torch.save(images.state_dict(), tmp_path / "r50.pth")
    net = build_model(config)
    start_clips_from(net, f"{INFLATE}{tmp_path / 'r50.pth'}", config)
    own = net.state_dict()
    stages = [b for b in net.blocks if hasattr(b, "res_blocks")]
    second = stages[1].res_blocks[2].branch2
    assert torch.equal(second.norm_b.bias, images.layer2[2].bn2.bias)
    inflated = second.conv_a.weight.sum(dim=2)
    torch.testing.assert_close(inflated, images.layer2[2].conv1.weight)
    down = stages[3].res_blocks[0].branch1_conv.weight[:, :, 0]
    assert torch.equal(down, images.layer4[0].downsample[0].weight)
    torch.testing.assert_close(own["blocks.0.conv.weight"].sum(dim=2), images.conv1.weight)


@pytest.mark.parametrize("fusion", ["single_frame", "early", "late"])
def test_fusions_start_from_a_network_of_images(tmp_path, fusion):
    images = resnet18(weights=None)
    save_file(images.state_dict(), tmp_path / "r18.safetensors")
    config = replace(CONFIG, fusion=fusion, depth=18, clip_frames=4, resize=32, crop=32)
    net = build_model(config)
    start_clips_from(net, str(tmp_path / "r18.safetensors"), config)
    for trunk in net.trunks:
        assert torch.equal(trunk.layer3[1].conv2.weight, images.layer3[1].conv2.weight)
        frames = trunk.conv1.in_channels // 3
        summed = trunk.conv1.weight.unflatten(1, (frames, 3)).sum(dim=1)
        torch.testing.assert_close(summed, images.conv1.weight)
    assert len(net.trunks) == (2 if fusion == "late" else 1)


class Corner(torch.nn.Module):
    """Says yes to bright pixels in the corner of the last frames."""

    def __init__(self):
        super().__init__()
        self.stem = torch.nn.Identity()
        self.layer1 = self.layer2 = self.layer3 = torch.nn.Identity()
        self.layer4 = torch.nn.Conv3d(3, 2, 1, bias=False)
        torch.nn.init.constant_(self.layer4.weight, 1.0)
        self.fc = torch.nn.Identity()

    def forward(self, x):
        seen = self.layer4(x)[:, :, 4:, :5, 9:]
        return seen.mean(dim=(2, 3, 4)) * torch.tensor([1.0, -1.0])


def test_a_network_that_weighs_places_shows_the_place():
    config = replace(CONFIG, network="gradients", crop=32, resize=32)
    net = GradientNetwork(32, 2).eval()
    with torch.no_grad():
        net.fc.weight.zero_()
        net.fc.weight[1, : 36 * 9].view(36, 3, 3)[:, 0, 2] = 1.0  # mean of the upper right
    clip = np.random.default_rng(0).integers(0, 255, (4, 32, 32, 3), np.uint8)
    heat = look(net, clip, config, 1)
    assert heat.shape == (4, 32, 32)
    assert heat[:, 0, 31].min() > 0.9
    assert heat[:, 16:].max() == heat[:, :, :16].max() == 0
    assert look(net, clip, config, 0).max() == 0


def test_grad_cam_finds_what_spoke_for_the_class():
    clip = np.full((6, 12, 14, 3), 115, np.uint8)
    clip[4:, :5, 9:] = 250
    config = replace(CONFIG, crop=12, resize=12)
    heat = look(Corner(), clip, config, 0)
    assert heat.shape == (6, 12, 14)
    bright = np.zeros(heat.shape, bool)
    bright[4:, :5, 9:] = True
    assert heat[bright].min() > 0.99
    assert heat[~bright].max() < 0.01
    assert look(Corner(), clip, config, 1).max() == 0  # nothing spoke for it
    shown = overlay(clip, heat)
    np.testing.assert_array_equal(shown[~bright], clip[~bright])
    assert (shown[bright][:, 0].astype(int) > shown[bright][:, 2] + 30).all()  # red


def test_pictures_show_where_videos_went(tmp_path):
    store = make_store(tmp_path, 9)
    pictures = ClipPictures(ViewClips(store, items(9), CONFIG), 5)
    assert pictures.shown == [0, 2, 4, 6, 8]
    p = np.tile([0.7, 0.3], (9, 1))
    figures = pictures.draw(p)
    texts = [t.get_text() for t in figures["confusion"].axes[0].texts]
    assert texts == ["5", "0", "4", "0"]
    titles = [axes.title for axes in figures["samples"].axes]
    assert titles[0].get_text() == "right 70%"
    assert {t.get_color() for t in titles[:5]} == {"#1a7f37"}
    one = ClipPictures(ViewClips(store, items(2), CONFIG), 5).draw(p[:2])["samples"].axes[1]
    assert one.title.get_text() == "right 70%\ntrue: left"
    assert one.title.get_color() == "#c62828"


class Fake(Tracker):
    """Keeps the names of pictures."""

    def __init__(self):
        self.names = []

    def note_figure(self, figure, name):
        self.names.append(name)


class Training:
    sanity_checking, current_epoch = False, 12

    def __init__(self):
        self.loggers = [Fake()]


class Module:
    probabilities = torch.full((4, 2), 0.5)


def test_a_picture_that_cannot_be_drawn_does_not_stop_training(tmp_path, caplog, monkeypatch):
    pictures = ClipPictures(ViewClips(make_store(tmp_path, 4), items(4), CONFIG), 2)
    training = Training()
    pictures.on_validation_end(training, Module())
    names = ["confusion/epoch-0012.png", "samples/epoch-0012.png"]
    assert training.loggers[0].names == names
    monkeypatch.setattr(ClipPictures, "draw", lambda *_: 1 / 0)
    for _ in range(2):
        pictures.on_validation_end(training, Module())
    assert caplog.text.count("Training goes on without pictures: ZeroDivisionError") == 1
    assert training.loggers[0].names == names
