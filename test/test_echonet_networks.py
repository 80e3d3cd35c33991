"""The two networks as functions of frames, with stubs in place of trained ones."""

import numpy as np
import pytest

from medvial.echonet.config import Config
from medvial.echonet.networks import FRAMES_PER_BATCH, EchoNetworks, clip_tensor
from medvial.errors import InputError
from medvial.models import ModelFolder

CONFIG = Config(height=32, width=48, mean=(10.0,), std=(2.0,), clip_frames=8, frame_interval_s=0)


def frames(count):
    """(T, 32, 48), every pixel of a frame its number."""
    return np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None], (count, 32, 48))


def test_segmentation_sees_every_frame_once_in_batches():
    sizes = []

    def network(batch):
        sizes.append(batch.shape)
        return batch

    networks = EchoNetworks(CONFIG, network, None)
    parts = list(networks.segment(frames(FRAMES_PER_BATCH + 5)))
    assert sizes == [(FRAMES_PER_BATCH, 1, 32, 48), (5, 1, 32, 48)]
    probability = np.concatenate(parts)
    logits = (np.arange(FRAMES_PER_BATCH + 5) - 10) / 2
    np.testing.assert_allclose(probability[:, 3, 40], 1 / (1 + np.exp(-logits)), atol=1e-6)


def test_clip_is_normalised_and_mean_grey_beyond_the_end():
    clip = clip_tensor(frames(12), 5, 50.0, CONFIG)
    assert clip.shape == (1, 8, 32, 48)
    # every second frame from 5 on; 11 is the last
    np.testing.assert_allclose(clip[0, :, 0, 0], [-2.5, -1.5, -0.5, 0.5, 0, 0, 0, 0])


def test_three_channels_repeat_the_grey_frame():
    config = Config(height=32, width=48, mean=(10.0, 11.0, 12.0), std=(1.0, 2.0, 4.0))
    clip = clip_tensor(frames(90), 0, 50.0, config)
    assert clip.shape == (3, 32, 32, 48)
    np.testing.assert_allclose(clip[:, 1, 0, 0], [-8, -4.5, -2.5])


def test_ejection_fraction_of_every_clip_in_order():
    def network(batch):
        return batch[:, 0, 0, 0, :1] * 2 + 10  # first grey value of the clip

    networks = EchoNetworks(CONFIG, None, network)
    starts = [0, 3, 9, 1, 5, 2]
    np.testing.assert_allclose(networks.ejection_fraction(frames(60), starts, 50.0), starts)
    assert networks.ejection_fraction(frames(60), [], 50.0).shape == (0,)


def test_extreme_logits_are_no_overflow():
    networks = EchoNetworks(CONFIG, lambda b: np.full_like(b, -1e4), None)
    with np.errstate(over="raise"):
        (probability,) = networks.segment(frames(2))
    assert (probability == 0).all()


def test_a_missing_network_is_named():
    networks = EchoNetworks(CONFIG, None, None)
    with pytest.raises(InputError, match="a network for segmentation, got one without"):
        next(networks.segment(frames(3)))
    with pytest.raises(InputError, match="a network for ejection_fraction"):
        networks.ejection_fraction(frames(3), [0], 50.0)


def test_a_folder_without_networks_is_refused(tmp_path):
    folder = ModelFolder.seal(tmp_path, task="echonet", config=vars(CONFIG))
    with pytest.raises(InputError, match=r"segmentation or ejection_fraction as \.onnx"):
        EchoNetworks.load(folder)
