"""The configuration of clip classification."""

import dataclasses
import json
from pathlib import Path

import pytest

from medvial.errors import InputError
from medvial.models import config_from_dict
from medvial.video_classification import ClipConfig


def test_it_survives_json():
    config = ClipConfig(labels=("ASD", "other"), positive="ASD", widths=(3, 5), depth=101)
    values = json.loads(json.dumps(dataclasses.asdict(config)))
    assert config_from_dict(ClipConfig, values, where=Path("manifest.json")) == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"network": "gradients", "crop": 15}, "crop of at least 16 for gradients, got 15"),
        ({"network": "vgg"}, "network to be one of compact_r2plus1d, gradients, r3d_18.*got vgg"),
        ({"labels": ("a", "a")}, "labels that differ"),
        ({"labels": ("a", "b"), "positive": "c"}, r"positive to be one of \('a', 'b'\), got c"),
        ({"mean": (0.5,)}, "mean and std of three values"),
        ({"std": (0.5, 0.0, 0.5)}, "std above 0"),
        ({"clip_frames": 0}, "clip_frames of at least 1, got 0"),
        ({"clips": 0}, "clips of at least 1"),
        ({"resize": 100, "crop": 112}, r"resize of at least crop \(112\), got 100"),
        ({"clip_s": -1.0}, "clip_s and fps of at least 0"),
        ({"dropout": 1.0}, "dropout from 0 to below 1"),
        ({"widths": ()}, "widths of at least 1"),
    ],
)
def test_what_no_network_can_take_is_refused(values, message):
    with pytest.raises(InputError, match=message):
        ClipConfig(**values)
