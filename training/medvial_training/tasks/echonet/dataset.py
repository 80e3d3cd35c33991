"""What step 1 wrote, as samples for training: read from memory maps, never decoded."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from medvial.echonet.clips import BEYOND, clip_indices, last_clip_start
from medvial.echonet.config import Config
from medvial.errors import InputError
from medvial.models import config_from_dict
from medvial.outputs import read_json
from medvial_training.fit import FitArgs, training_loader, validation_loader
from medvial_training.splits import load_splits
from medvial_training.tasks.echonet.recordings import Recording, Recordings, Trace

PREPARED_FIELDS = ("height", "width", "mean", "std")

Sample = dict[str, Any]


def load_config(data: Path) -> Config:
    """The configuration that step 1 prepared the data for."""
    path = data / "config.json"
    if not path.is_file():
        raise InputError(f"Expected prepared data in {data}, got no config.json. Run step 1 first.")
    return config_from_dict(Config, read_json(path), where=path)


def check_prepared(data: Path, config: Config) -> None:
    """Refuse a configuration that the prepared frames do not fit.

    Raises:
        InputError: Names the fields that differ, or what two splits share.
    """
    prepared = load_config(data)
    wrong = [
        f"{name} {getattr(prepared, name)} there, {getattr(config, name)} here"
        for name in PREPARED_FIELDS
        if getattr(prepared, name) != getattr(config, name)
    ]
    if wrong:
        raise InputError(
            f"{data} was prepared with other settings: {', '.join(wrong)}. Run step 1 with the "
            "settings wanted here, into this folder or into another one for --data."
        )
    load_splits(data)


class TracedFrames(Dataset[Sample]):
    """The traced frames: `frame` and `mask`, both (1, H, W) uint8."""

    def __init__(self, recordings: Recordings) -> None:
        self.recordings = recordings
        self.items: list[tuple[Recording, Trace]] = [
            (recording, trace) for recording in recordings.all for trace in recording.traces
        ]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, key: int | tuple[int, int]) -> Sample:
        """`key` is an index, or (epoch, index) as the sampler gives it."""
        recording, trace = self.items[key[1] if isinstance(key, tuple) else key]
        frame = np.array(self.recordings.frames(recording)[trace.frame])
        mask = self.recordings.mask(trace).astype(np.uint8)
        return {
            "frame": torch.from_numpy(frame)[None],
            "mask": torch.from_numpy(mask)[None],
            "large": trace.phase == "ED",
        }


class Clips(Dataset[Sample]):
    """Clips of the videos that have an ejection fraction.

    Keys: `clips` (K, T, H, W) uint8, `inside` (K, T) bool, False beyond the video's end, and `ef`,
    percent. K is 1 for a random clip, else `clips_per_video`, evenly spaced.
    """

    def __init__(
        self,
        recordings: Recordings,
        config: Config,
        *,
        clips_per_video: int | None = None,
        seed: int = 0,
    ) -> None:
        """Without `clips_per_video` a clip starts anywhere, by seed, epoch and index."""
        self.recordings, self.config, self.seed = recordings, config, seed
        self.clips_per_video = clips_per_video
        self.items = [r for r in recordings.all if r.is_cine and math.isfinite(r.ef)]

    def __len__(self) -> int:
        return len(self.items)

    @property
    def padded(self) -> int:
        """Number of videos that are shorter than a clip."""
        return sum(
            bool((clip_indices(0, r.rate, self.config, r.count) == BEYOND).any())
            for r in self.items
        )

    def __getitem__(self, key: int | tuple[int, int]) -> Sample:
        """`key` is an index, or (epoch, index) for a random clip."""
        epoch, index = key if isinstance(key, tuple) else (0, key)
        recording = self.items[index]
        frames = self.recordings.frames(recording)
        last = last_clip_start(recording.count, recording.rate, self.config)
        if self.clips_per_video is None:
            rng = np.random.default_rng((self.seed, epoch, index))
            starts = [int(rng.integers(last + 1))]
        else:
            starts = fixed_starts(last, self.clips_per_video)
        rows = [clip_indices(s, recording.rate, self.config, recording.count) for s in starts]
        indices = np.stack(rows)  # (K, T)
        inside = indices != BEYOND
        clips = np.zeros((*indices.shape, *frames.shape[1:]), np.uint8)
        clips[inside] = frames[indices[inside]]
        return {
            "clips": torch.from_numpy(clips),
            "inside": torch.from_numpy(inside),
            "ef": torch.tensor(recording.ef, dtype=torch.float32),
        }


def fixed_starts(last: int, count: int) -> list[int]:
    """`count` starts from 0 to `last`, evenly spaced; the middle for one."""
    if count == 1:
        return [last // 2]
    return [round(float(s)) for s in np.linspace(0, last, count)]


def normalise(frames: Tensor, config: Config) -> Tensor:
    """Grey values as the networks take them.

    Args:
        frames: (N, T, H, W) float32, 0 to 255.
        config: Gives mean and std.

    Returns:
        (N, C, T, H, W).
    """
    shape = (1, config.channels, 1, 1, 1)
    mean = torch.tensor(config.mean, device=frames.device).view(shape)
    std = torch.tensor(config.std, device=frames.device).view(shape)
    return (frames[:, None] - mean) / std


class EchoData(LightningDataModule):
    """Training and validation samples of one network."""

    def __init__(self, train: Dataset[Sample], valid: Dataset[Sample], fit: FitArgs) -> None:
        super().__init__()
        self.train, self.valid, self.fit_args = train, valid, fit

    def train_dataloader(self) -> DataLoader[Sample]:
        """The training samples, in random order."""
        return training_loader(self.train, self.fit_args)

    def val_dataloader(self) -> DataLoader[Sample]:
        """The validation samples, always the same."""
        return validation_loader(self.valid, self.fit_args)
