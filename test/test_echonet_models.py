"""The networks of echonet, and weights that they start from."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from medvial.echonet import Config
from medvial.echonet.model import build_ejection_fraction, build_segmentation, final_layer
from medvial.errors import InputError
from medvial.models import ModelFolder, load_network
from medvial_training.onnx_export import export_onnx
from medvial_training.tasks.echonet.weights import start_from

SMALL = Config(
    height=32, width=48, segmentation_widths=(4, 6), ejection_fraction_widths=(4, 6), clip_frames=6
)


def config(**values):
    fields = {**vars(SMALL), **values}
    if fields["segmentation"] != "compact_unet":
        fields["mean"] = fields["std"] = (1.0,) * 3
    return Config(**fields)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["compact_unet", "deeplabv3_resnet50"])
def test_segmentation_has_the_frames_size(name, channels):
    ones = (1.0,) * channels
    net = build_segmentation(
        Config(**{**vars(SMALL), "segmentation": name, "mean": ones, "std": ones})
    )
    with torch.inference_mode():
        assert net.eval()(torch.zeros(2, channels, 32, 48)).shape == (2, 1, 32, 48)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["compact_r2plus1d", "r3d_18"])
def test_a_clip_becomes_one_number(name, channels):
    ones = (1.0,) * channels
    values = {**vars(SMALL), "ejection_fraction": name, "mean": ones, "std": ones}
    net = build_ejection_fraction(Config(**values)).eval()
    assert final_layer(net).bias.item() == pytest.approx(55.6)
    with torch.inference_mode():
        assert net(torch.zeros(2, channels, 5, 32, 48)).shape == (2, 1)


def test_the_sources_networks_have_their_parameters():
    values = {"mean": (1.0,) * 3, "std": (1.0,) * 3, "segmentation": "deeplabv3_resnet50"}
    count = sum(p.numel() for p in build_segmentation(Config(**values)).parameters())
    assert count == 39_633_729
    values["ejection_fraction"] = "r2plus1d_18"
    count = sum(p.numel() for p in build_ejection_fraction(Config(**values)).parameters())
    assert count == 31_300_638


def test_weights_are_not_downloaded(monkeypatch):
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", None)
    build_segmentation(config(segmentation="deeplabv3_resnet50"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mean": (1.0, 2.0), "std": (1.0, 2.0)}, "one value each, or of three, got 2 and 2"),
        ({"std": (1.0, 1.0, 1.0)}, "got 1 and 3"),
        ({"std": (0.0,)}, "std above 0"),
        ({"height": 40}, "height to be a positive multiple of 16.*got 40"),
        ({"clip_frames": 0}, "at least 1"),
        ({"segmentation_widths": ()}, "at least one entry"),
    ],
)
def test_a_bad_configuration_is_refused(values, message):
    with pytest.raises(InputError, match=message):
        Config(**{**vars(SMALL), **values})


def test_a_model_folder_holds_two_networks(tmp_path, monkeypatch):
    torch.manual_seed(0)
    nets = {
        "segmentation": build_segmentation(SMALL),
        "ejection_fraction": build_ejection_fraction(SMALL),
    }
    shapes = {"segmentation": (2, 1, 32, 48), "ejection_fraction": (2, 1, 6, 32, 48)}
    for name, net in nets.items():
        save_file(net.state_dict(), tmp_path / f"{name}.safetensors")
        example = np.random.default_rng(0).standard_normal(shapes[name]).astype(np.float32)
        export_onnx(net, example, tmp_path / f"{name}.onnx")
    folder = ModelFolder.seal(tmp_path, task="echonet", config=vars(SMALL))
    builders = {"segmentation": build_segmentation, "ejection_fraction": build_ejection_fraction}
    for name, build in builders.items():
        batch = np.random.default_rng(1).standard_normal((3, *shapes[name][1:])).astype(np.float32)
        results = []
        for backend in ("onnx", "torch"):
            monkeypatch.setenv("MEDVIAL_BACKEND", backend)
            results.append(load_network(folder, lambda b=build: b(SMALL), name)(batch))
        np.testing.assert_allclose(results[0], results[1], rtol=1e-4, atol=1e-4)
    with pytest.raises(InputError, match=r"Expected other\.onnx with ONNX Runtime"):
        load_network(folder, lambda: None, "other")


def test_grey_networks_start_from_weights_for_colour(tmp_path):
    ones = {"mean": (0.0,) * 3, "std": (1.0,) * 3, "ejection_fraction": "r3d_18"}
    colour = build_ejection_fraction(Config(**{**vars(SMALL), **ones})).eval()
    torch.save({f"module.{k}": v for k, v in colour.state_dict().items()}, tmp_path / "w.pt")
    grey = build_ejection_fraction(Config(**{**vars(SMALL), "ejection_fraction": "r3d_18"})).eval()
    start_from(grey, str(tmp_path / "w.pt"), "ejection_fraction")
    x = torch.rand(1, 1, 4, 32, 48)
    with torch.inference_mode():
        torch.testing.assert_close(grey(x), colour(x.expand(1, 3, 4, 32, 48)), rtol=1e-4, atol=1e-4)


def test_weights_of_classes_leave_the_last_layer_new(tmp_path):
    from torchvision.models.video import mc3_18

    torch.save(mc3_18(weights=None).state_dict(), tmp_path / "kinetics.pt")
    net = build_ejection_fraction(Config(**{**vars(SMALL), "ejection_fraction": "mc3_18"}))
    last = final_layer(net).weight.clone()
    start_from(net, str(tmp_path / "kinetics.pt"), "ejection_fraction")
    assert torch.equal(final_layer(net).weight, last)
    state = torch.load(tmp_path / "kinetics.pt", weights_only=True)
    assert torch.equal(
        net.state_dict()["layer1.0.conv1.0.weight"], state["layer1.0.conv1.0.weight"]
    )


def test_weights_that_do_not_fit(tmp_path):
    net = build_segmentation(SMALL)
    torch.save(nn.Linear(3, 4).state_dict(), tmp_path / "other.pt")
    with pytest.raises(InputError, match=r"weights of this network in .*other\.pt, got 0 of"):
        start_from(net, str(tmp_path / "other.pt"), "segmentation")
    with pytest.raises(InputError, match=r"Expected weights at .*none\.pt"):
        start_from(net, str(tmp_path / "none.pt"), "segmentation")
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"Expected weights in .*bad\.safetensors"):
        start_from(net, str(tmp_path / "bad.safetensors"), "segmentation")
    with pytest.raises(InputError, match=r"network of torchvision .* got FrameUNet"):
        start_from(net, "torchvision:DEFAULT", "segmentation")
    video = build_ejection_fraction(Config(**{**vars(SMALL), "ejection_fraction": "mc3_18"}))
    with pytest.raises(InputError, match=r"of the names KINETICS400_V1, got IMAGENET"):
        start_from(video, "torchvision:IMAGENET", "ejection_fraction")
