"""Weights of the CL-Detection 2023 baseline become a model folder."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from medvial.cldetection.model import build_model
from medvial.cldetection.predictor import Predictor
from medvial.errors import InputError
from medvial_training.phantoms.cldetection import make_phantom
from medvial_training.tasks.cldetection.import_baseline import (
    baseline_config,
    baseline_key,
    import_baseline,
    read_state,
)

# (block, layer channels in -> middle -> out) of the published state dict
ENCODER = {"down_tr64": (3, 32, 64), "down_tr128": (64, 64, 128)}
ENCODER |= {"down_tr256": (128, 128, 256), "down_tr512": (256, 256, 512)}
DECODER = {"up_tr256": (768, 256, 256), "up_tr128": (384, 128, 128), "up_tr64": (192, 64, 64)}


def published_state(landmarks=38):
    """Random weights under the names and in the shapes of the published file."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape):
        return torch.randn(shape, generator=generator) / max(1, np.prod(shape[1:])) ** 0.5

    state = {}
    for block, (inputs, middle, outputs) in (ENCODER | DECODER).items():
        for layer, (a, b) in enumerate([(inputs, middle), (middle, outputs)]):
            state[f"{block}.ops.{layer}.conv1.weight"] = random(b, a, 3, 3)
            state[f"{block}.ops.{layer}.conv1.bias"] = random(b)
            norm = f"{block}.ops.{layer}.bn1"
            state[f"{norm}.weight"] = 1 + 0.1 * random(b)
            state[f"{norm}.bias"] = random(b)
            state[f"{norm}.running_mean"] = random(b)
            state[f"{norm}.running_var"] = 1 + random(b).abs()
            state[f"{norm}.num_batches_tracked"] = torch.tensor(7)
    for block, channels in {"up_tr256": 512, "up_tr128": 256, "up_tr64": 128}.items():
        state[f"{block}.up_conv.weight"] = random(channels, channels, 2, 2)
        state[f"{block}.up_conv.bias"] = random(channels)
    state["out_tr.final_conv.weight"] = random(landmarks, 64, 1, 1)
    state["out_tr.final_conv.bias"] = random(landmarks)
    return state


def published_forward(state, x):
    """The baseline's U-Net straight from its tensors' names: (N, 3, H, W) to logits."""

    def block(name, x):
        for layer in (0, 1):
            conv, norm = f"{name}.ops.{layer}.conv1", f"{name}.ops.{layer}.bn1"
            x = functional.conv2d(x, state[f"{conv}.weight"], state[f"{conv}.bias"], padding=1)
            mean, var = state[f"{norm}.running_mean"], state[f"{norm}.running_var"]
            x = functional.batch_norm(x, mean, var, state[f"{norm}.weight"], state[f"{norm}.bias"])
            x = functional.relu(x)
        return x

    skips = []
    for name in ENCODER:
        x = block(name, x)
        skips.append(x)
        x = functional.max_pool2d(x, 2)
    x = skips.pop()  # the coarsest level is not pooled
    for name in DECODER:
        up = f"{name}.up_conv"
        x = functional.conv_transpose2d(x, state[f"{up}.weight"], state[f"{up}.bias"], stride=2)
        x = block(name, torch.cat([x, skips.pop()], dim=1))
    return functional.conv2d(x, state["out_tr.final_conv.weight"], state["out_tr.final_conv.bias"])


@pytest.mark.parametrize("prefix", ["", "module."])
def test_every_tensor_finds_its_place(prefix):
    state = published_state()
    renamed = {baseline_key(prefix + key): value for key, value in state.items()}
    net = build_model(baseline_config(renamed)).eval()
    net.load_state_dict(renamed)
    x = torch.rand(1, 3, 64, 32)
    with torch.inference_mode():
        expected, got = published_forward(state, x), net(x)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


def test_the_model_folder_predicts_without_onnx(tmp_path):
    torch.save(published_state(), tmp_path / "best_model.pt")
    import_baseline(tmp_path / "best_model.pt", tmp_path / "run")
    predictor = Predictor(tmp_path / "run" / "model")
    assert predictor.config.fit == "stretch"
    film = predictor(make_phantom(1, height=300, width=240)[0])
    assert film.points.shape == (38, 2)
    assert film.probability is None


class Malicious:
    def __reduce__(self):
        return (exec, ("raise SystemExit('code ran')",))


def test_a_pickle_with_code_is_refused_unrun(tmp_path):
    torch.save({"a": Malicious()}, tmp_path / "evil.pt")
    with pytest.raises(InputError, match=r"Expected a PyTorch state dict in .*evil\.pt"):
        read_state(tmp_path / "evil.pt")


@pytest.mark.parametrize("content", [b"", b"not a checkpoint" * 20])
def test_what_is_no_checkpoint_is_refused(tmp_path, content):
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(InputError, match=r"Expected a PyTorch state dict in .*w\.pt"):
        read_state(tmp_path / "w.pt")


def test_other_weights_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"tensors of the CL-Detection 2023 UNet, got 'fc.weight'"):
        baseline_key("fc.weight")
    torch.save({"model": {}}, tmp_path / "nested.pt")
    with pytest.raises(InputError, match="a state dict of tensors"):
        read_state(tmp_path / "nested.pt")
    torch.save(published_state(landmarks=7), tmp_path / "seven.pt")
    with pytest.raises(
        InputError, match=r"Expected \[19, 38, 53\] landmarks in the weights, got 7"
    ):
        import_baseline(tmp_path / "seven.pt", tmp_path / "run")
    with pytest.raises(InputError, match="Expected weights at"):
        read_state(tmp_path / "none.pt")
