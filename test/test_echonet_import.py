"""The published weights of EchoNet-Dynamic become a model folder with the same outputs."""

import numpy as np
import pytest
import torch
import torchvision

from medvial.echonet import Config
from medvial.echonet.networks import EchoNetworks
from medvial.errors import InputError
from medvial.models import ModelFolder
from medvial_training.tasks.echonet.import_source import (
    PUBLISHED_MEAN,
    PUBLISHED_STD,
    import_source,
)


def published_segmentation():
    """As github.com/echonet/dynamic builds it, with random weights."""
    torch.manual_seed(1)
    net = torchvision.models.segmentation.deeplabv3_resnet50(
        weights=None, weights_backbone=None, aux_loss=False
    )
    net.classifier[-1] = torch.nn.Conv2d(
        net.classifier[-1].in_channels, 1, kernel_size=net.classifier[-1].kernel_size
    )
    return with_statistics(net)


def published_ejection_fraction(name="r2plus1d_18"):
    torch.manual_seed(2)
    net = getattr(torchvision.models.video, name)(weights=None)
    net.fc = torch.nn.Linear(net.fc.in_features, 1)
    net.fc.bias.data[0] = 55.6
    return with_statistics(net)


def with_statistics(net):
    """Batch norms that are not the identity."""
    for module in net.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.8, 1.2)
    return net.eval()


def checkpoint(net, *, parallel):
    """As the source's training saves it: tensors beside numbers of NumPy."""
    prefix = "module." if parallel else ""
    state = {prefix + key: value for key, value in net.state_dict().items()}
    return {"epoch": 3, "state_dict": state, "best_loss": np.float64(0.25), "r2": np.float64(0.8)}


def source_input(video):
    """(T, H, W) grey to the source's (3, T, H, W): RGB, standardised by channel."""
    rgb = np.repeat(video[None].astype(np.float32), 3, axis=0)
    mean, std = (np.array(v).reshape(3, 1, 1, 1) for v in (PUBLISHED_MEAN, PUBLISHED_STD))
    return torch.from_numpy(((rgb - mean) / std).astype(np.float32))


@pytest.mark.parametrize("parallel", [True, False])
def test_the_output_is_that_of_the_sources_code(tmp_path, parallel):
    nets = published_segmentation(), published_ejection_fraction()
    paths = tmp_path / "deeplab.pt", tmp_path / "r2plus1d.pt"
    for net, path in zip(nets, paths, strict=True):
        torch.save(checkpoint(net, parallel=parallel), path)
    import_source(*paths, tmp_path / "run", clip_frames=4)
    folder = ModelFolder.open(tmp_path / "run" / "model", task="echonet")
    networks = EchoNetworks.load(folder)
    video = np.random.default_rng(0).integers(0, 255, (10, 112, 112)).astype(np.uint8)
    x = source_input(video)
    with torch.inference_mode():
        logits = nets[0](x[:, :1].transpose(0, 1))["out"]
        clips = torch.stack([x[:, start + 2 * np.arange(4)] for start in (0, 3)])
        ef = nets[1](clips).view(-1).numpy()
    got = next(networks.segment(video[:1]))
    np.testing.assert_allclose(got, logits.sigmoid()[:, 0].numpy(), atol=1e-5)
    np.testing.assert_allclose(
        networks.ejection_fraction(video, [0, 3], 50.0), ef, atol=1e-4, rtol=1e-5
    )


@pytest.mark.parametrize("name", ["r3d_18", "mc3_18"])
def test_the_architecture_is_told_by_its_tensors(tmp_path, name):
    torch.save(published_ejection_fraction(name).state_dict(), tmp_path / "w.pt")
    import_source(None, tmp_path / "w.pt", tmp_path / "run", mean=(30, 31, 32), std=(50, 50, 51))
    config = ModelFolder.open(tmp_path / "run" / "model", task="echonet").config(Config)
    assert config.ejection_fraction == name
    assert (config.mean, config.std) == ((30, 31, 32), (50, 50, 51))
    assert (config.frame_interval_s, config.frame_period, config.clip_frames) == (0, 2, 32)


class Malicious:
    def __reduce__(self):
        return (exec, ("raise SystemExit('code ran')",))


def test_bad_weights_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"--segmentation, --ejection_fraction or both"):
        import_source(out=tmp_path / "run")
    torch.save({"state_dict": Malicious()}, tmp_path / "evil.pt")
    with pytest.raises(InputError, match=r"a PyTorch state dict in .*evil\.pt"):
        import_source(tmp_path / "evil.pt", out=tmp_path / "run")
    (tmp_path / "text.pt").write_text("not weights " * 30)
    with pytest.raises(InputError, match=r"a PyTorch state dict in .*text\.pt"):
        import_source(tmp_path / "text.pt", out=tmp_path / "run")
    torch.save({"fc.weight": torch.zeros(3)}, tmp_path / "other.pt")
    with pytest.raises(InputError, match=r"EchoNet-Dynamic's deeplabv3_resnet50 in .*other\.pt"):
        import_source(tmp_path / "other.pt", out=tmp_path / "run")
    with pytest.raises(InputError, match=r"r2plus1d_18, r3d_18 or mc3_18 in .* such as fc\.weight"):
        import_source(None, tmp_path / "other.pt", out=tmp_path / "run")
    with pytest.raises(InputError, match="three values of --mean"):
        import_source(tmp_path / "other.pt", out=tmp_path / "run", mean=[1.0], std=[1.0])
    assert not (tmp_path / "run" / "model").exists()
