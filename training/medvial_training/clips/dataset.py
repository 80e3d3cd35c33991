"""What step 1 stored, as clips for training and validation: read from a memory map, never decoded.

The samples are uint8 frames; normalisation and random changes are the module's work, on the device
and for whole batches.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from medvial.errors import InputError
from medvial.video_classification.config import ClipConfig
from medvial.video_classification.preprocess import resize_frame, spatial_crops
from medvial.video_classification.sampling import random_indices, view_indices
from medvial_training.clips.store import ClipStore
from medvial_training.fit import FitArgs, training_loader, validation_loader

Sample = dict[str, Any]


@dataclass(frozen=True)
class Item:
    """A video and what is known of it."""

    video: str
    """Its name in the store."""
    label: int
    """Number of its class, in the order of the configuration's labels."""
    patient: str = ""
    """Whose videos are scored together; empty where nobody knows."""


class TrainClips(Dataset[Sample]):
    """A random clip of each video, by seed, epoch and index.

    Keys: `clip` (T, resize, resize, 3) uint8 RGB, a random square of the frames where they are no
    squares, `label`, and `item`, the video's number.
    """

    def __init__(
        self,
        store: ClipStore,
        items: Sequence[Item],
        config: ClipConfig,
        seed: int,
        *,
        clips: int = 1,
        log_speed: float = 0.0,
    ) -> None:
        """Of a store that holds all videos.

        Args:
            store: Gives frames and times.
            items: The training videos.
            config: Says what a clip is.
            seed: Of the random choices.
            clips: Samples of each video in an epoch.
            log_speed: Largest change of a clip's speed either way, as a natural logarithm.
        """
        self.store, self.items, self.config, self.seed = store, list(items), config, seed
        self.clips, self.log_speed = clips, log_speed

    def __len__(self) -> int:
        return len(self.items) * self.clips

    @property
    def labels(self) -> NDArray[np.int64]:
        """(N,) number of each sample's class."""
        return np.array([item.label for item in self.items] * self.clips, dtype=np.int64)

    def __getitem__(self, key: int | tuple[int, int]) -> Sample:
        """`key` is (epoch, index) as the sampler gives it, or an index of epoch 0."""
        epoch, index = key if isinstance(key, tuple) else (0, key)
        rng = np.random.default_rng((self.seed, epoch, index))
        number = index % len(self.items)
        item = self.items[number]
        config = self.config
        if self.log_speed and config.clip_s:
            factor = float(np.exp(rng.uniform(-self.log_speed, self.log_speed)))
            config = replace(config, clip_s=config.clip_s * factor)
        indices = random_indices(self.store.times_s(item.video), config, rng)
        clip = _random_square(self.store.frames(item.video), indices, config.resize, rng)
        return {"clip": torch.from_numpy(clip), "label": item.label, "item": number}


class ViewClips(Dataset[Sample]):
    """The fixed views of each video: `config.clips` clips, each of `config.crops` squares.

    Keys: `clip` (T, crop, crop, 3) uint8 RGB, `label`, and `item`, the video's number. One sample
    is one view: a video that is shorter than others may have fewer.
    """

    def __init__(self, store: ClipStore, items: Sequence[Item], config: ClipConfig) -> None:
        """Of a store that holds all videos."""
        self.store, self.items, self.config = store, list(items), config
        self.indices = [view_indices(store.times_s(i.video), config)[1] for i in self.items]
        self.views = [
            (number, clip, square)
            for number, clips in enumerate(self.indices)
            for clip in range(len(clips))
            for square in range(config.crops)
        ]

    def __len__(self) -> int:
        return len(self.views)

    def __getitem__(self, index: int) -> Sample:
        number, clip, square = self.views[index]
        item = self.items[number]
        frames = resized(self.store.frames(item.video), self.indices[number][clip], self.config)
        pixels = spatial_crops(frames, self.config)[square]
        pixels = np.require(pixels, requirements=["C", "W", "O"])
        return {"clip": torch.from_numpy(pixels), "label": item.label, "item": number}

    def middle_frame(self, number: int) -> NDArray[np.uint8]:
        """The middle frame of a video's middle clip, (H, W, 3): to look at."""
        clips = self.indices[number]
        index = clips[len(clips) // 2][clips.shape[1] // 2]
        return np.array(self.store.frames(self.items[number].video)[index])


def resized(
    frames: NDArray[np.uint8], indices: NDArray[np.intp], config: ClipConfig
) -> NDArray[np.uint8]:
    """Some of a video's frames at the network's size, (T, h, w, 3) uint8, min(h, w) = resize."""
    if min(frames.shape[1:3]) == config.resize:
        return np.asarray(frames[indices])
    return np.stack([resize_frame(frames[i], config.resize) for i in indices])


def _random_square(
    frames: NDArray[np.uint8], indices: NDArray[np.intp], resize: int, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """(T, resize, resize, 3): as wide as the frames' shorter side, anywhere along the longer."""
    height, width = frames.shape[1:3]
    side = min(height, width)
    y, x = (int(rng.integers(length - side + 1)) for length in (height, width))
    squares = frames[indices, y : y + side, x : x + side]
    if side == resize:
        return squares
    return np.stack([resize_frame(square, resize) for square in squares])


class ClipData(LightningDataModule):
    """Training and validation clips."""

    def __init__(
        self, train: TrainClips, valid: ViewClips, fit: FitArgs, *, balance: float = 0.0
    ) -> None:
        """Loaders as the options say.

        Args:
            train: The training clips.
            valid: The validation clips.
            fit: How to train.
            balance: 0 samples every video alike, 1 every class alike, whatever its size.

        Raises:
            InputError: There is no video to train or to validate on.
        """
        super().__init__()
        for name, videos in (("train", train.items), ("validate", valid.items)):
            if not videos:
                raise InputError(f"Expected videos to {name} on, got none. See the splits' tables.")
        self.train, self.valid, self.fit_args, self.balance = train, valid, fit, balance

    def train_dataloader(self) -> DataLoader[Sample]:
        """The training clips, in random order."""
        weights = sample_weights(self.train.labels, self.balance) if self.balance else None
        return training_loader(self.train, self.fit_args, weights)

    def val_dataloader(self) -> DataLoader[Sample]:
        """The validation clips, always the same."""
        return validation_loader(self.valid, self.fit_args)


def class_weights(labels: NDArray[np.int64], classes: int, balance: float) -> NDArray[np.float64]:
    """Weight of each class: its share of the samples to the power of -balance.

    Args:
        labels: (N,) classes of the training samples.
        classes: How many there are.
        balance: 0 (each sample counts alike) to 1 (each class does).

    Returns:
        (classes,) with a mean of 1 over the samples; 0 for a class without samples.
    """
    counts = np.bincount(labels, minlength=classes).astype(np.float64)
    weights = np.where(counts > 0, np.maximum(counts, 1) ** -balance, 0.0)
    return np.asarray(weights * counts.sum() / (weights * counts).sum())


def sample_weights(labels: NDArray[np.int64], balance: float) -> Tensor:
    """(N,) how often each sample is drawn in an epoch on average; the mean is 1."""
    return torch.from_numpy(class_weights(labels, int(labels.max()) + 1, balance)[labels])
