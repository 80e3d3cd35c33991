"""Clips out of the store: which frames, which squares, which order, how balanced."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from clip_training import CONFIG, items, make_store

from medvial.errors import InputError
from medvial.video_classification.preprocess import spatial_crops
from medvial.video_classification.sampling import view_indices
from medvial_training.clips.dataset import (
    ClipData,
    TrainClips,
    ViewClips,
    class_weights,
    sample_weights,
)
from medvial_training.fit import EpochSampler, FitArgs

FIT = FitArgs(batch_size=4, accelerator="cpu")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("clips"), 6)


def test_a_training_clip_is_a_square_of_frames_in_order(store):
    clips = TrainClips(store, items(6), CONFIG, seed=3)
    for index in range(6):
        sample = clips[(1, index)]
        assert sample["clip"].shape == (6, 20, 20, 3)
        assert sample["clip"].dtype == torch.uint8
        assert (sample["label"], sample["item"]) == (index % 2, index)
        frames = store.frames(f"v{index}")
        starts = [
            (t, x)
            for t in range(len(frames) - 5)
            for x in range(7)
            if (frames[t : t + 6, :, x : x + 20] == sample["clip"].numpy()).all()
        ]
        assert len(starts) == 1


def test_a_clip_follows_from_seed_epoch_and_index(store):
    one, same, other = (TrainClips(store, items(6), CONFIG, seed) for seed in (3, 3, 4))
    for index in range(6):
        torch.testing.assert_close(one[(5, index)]["clip"], same[(5, index)]["clip"])
    assert any((one[(5, i)]["clip"] != one[(6, i)]["clip"]).any() for i in range(6))
    assert any((one[(5, i)]["clip"] != other[(5, i)]["clip"]).any() for i in range(6))


def test_several_clips_of_a_video_differ(store):
    clips = TrainClips(store, items(6), CONFIG, 1, clips=4)
    assert len(clips) == 24
    of_v2 = [clips[(0, index)] for index in (2, 8, 14, 20)]
    assert {s["item"] for s in of_v2} == {2}
    assert len({s["clip"].numpy().tobytes() for s in of_v2}) > 1
    np.testing.assert_array_equal(clips.labels, [0, 1, 0, 1, 0, 1] * 4)


def different(sample):
    return len(np.unique(sample["clip"].numpy(), axis=0))


def test_other_speeds_take_other_frames(store):
    slow = TrainClips(store, items(6), replace(CONFIG, clip_s=0.2), 1)
    changed = TrainClips(store, items(6), CONFIG, 1, log_speed=0.7)
    even = TrainClips(store, items(6), CONFIG, 1)
    assert {different(even[(e, 4)]) for e in range(9)} == {6}
    assert {different(slow[(e, 4)]) for e in range(9)} <= {3, 4}  # each about twice
    assert min(different(changed[(e, 4)]) for e in range(20)) < 6


@pytest.mark.parametrize("crops", [1, 3])
def test_views_are_those_of_inference(store, crops):
    config = replace(CONFIG, crops=crops)
    views = ViewClips(store, items(6), config)
    expected = []
    for number in range(6):
        _, indices = view_indices(store.times_s(f"v{number}"), config)
        for clip in indices:
            for square in spatial_crops(store.frames(f"v{number}")[clip], config):
                expected.append((number, square))
    assert len(views) == len(expected) == 6 * 3 * crops
    for index, (number, square) in enumerate(expected):
        sample = views[index]
        assert sample["item"] == number
        np.testing.assert_array_equal(sample["clip"].numpy(), square)


def test_stored_frames_of_another_size_are_resized(store):
    config = replace(CONFIG, resize=30, crop=24)
    assert TrainClips(store, items(6), config, 1)[0]["clip"].shape == (6, 30, 30, 3)
    assert ViewClips(store, items(6), config)[0]["clip"].shape == (6, 24, 24, 3)


def test_a_video_shorter_than_a_clip_has_one_view(store):
    views = ViewClips(store, items(6), replace(CONFIG, clip_s=5.0))
    assert len(views) == 6


def test_classes_are_balanced_as_far_as_asked():
    labels = np.array([0] * 8 + [1] * 2)
    np.testing.assert_allclose(class_weights(labels, 3, 0.0), [1, 1, 0])
    np.testing.assert_allclose(class_weights(labels, 2, 1.0), [10 / 16, 10 / 4])
    half = class_weights(labels, 2, 0.5)
    assert half[1] / half[0] == pytest.approx(2.0)
    assert half[labels].mean() == pytest.approx(1.0)


@pytest.mark.parametrize(("balance", "rare"), [(0.0, 10), (0.5, 25), (1.0, 50)])
def test_rare_classes_are_drawn_more_often(balance, rare):
    labels = np.array([0] * 90 + [1] * 10)
    sampler = EpochSampler(100, 7, weights=sample_weights(labels, balance))
    seen = Counter()
    for epoch in range(3):
        sampler.set_epoch(epoch)
        keys = list(sampler)
        assert len(keys) == len(set(keys)) == 100  # no clip twice
        counts = Counter(index for _, index in keys)
        assert sum(counts[i] for i in range(90, 100)) == pytest.approx(rare, abs=1)
        assert max(counts.values()) - min(counts[i] for i in range(90, 100)) <= 1
        assert list(sampler) == keys
        seen.update(counts)
    assert len(seen) > 75


def test_the_loaders_give_every_view_once(store):
    train, valid = TrainClips(store, items(6), CONFIG, 1), ViewClips(store, items(6), CONFIG)
    data = ClipData(train, valid, FIT, balance=1.0)
    batches = list(data.val_dataloader())
    assert Counter(torch.cat([b["item"] for b in batches]).tolist()) == dict.fromkeys(range(6), 3)
    first = next(iter(data.train_dataloader()))
    assert first["clip"].shape == (4, 6, 20, 20, 3)
    with pytest.raises(InputError, match="Expected videos to validate on, got none"):
        ClipData(train, ViewClips(store, [], CONFIG), FIT)
