"""Legs of prepared recordings as training samples."""

import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from medvial.errors import InputError
from medvial.gait.leg_agility.config import LegConfig
from medvial.gait.leg_agility.inputs import Input, analyse_both, leg_input
from medvial.gait.leg_agility.signals import LEGS, Leg
from medvial.gait.skeletons import BODY_25, Keypoints, mirror
from medvial_training.fit import FitArgs, training_loader, validation_loader
from medvial_training.tasks.gait.leg_agility.augment import LegAugmentation, Times, augment
from medvial_training.tasks.gait.leg_agility.recordings import LegSample

CACHED = ("temporal", "kinematic")
"""Kinds whose inputs take longer to work out than to train on, and are small."""
OTHER: dict[Leg, Leg] = {"left": "right", "right": "left"}

Sample = dict[str, Any]
ClipOf = Callable[[str], tuple[Keypoints, Times]]


class LegInputs:
    """What a network sees of each leg, as it is and changed; shared by all folds of a run."""

    def __init__(
        self, clip_of: ClipOf, config: LegConfig, changes: LegAugmentation, seed: int
    ) -> None:
        """Small inputs are kept once they are worked out.

        Args:
            clip_of: Gives points (T, 25, 3) and times (T,) of a recording by its name.
            config: Says what kind of input.
            changes: Of the changed copies.
            seed: Same seed, same changes, whatever fold a recording is in.
        """
        self.clip_of, self.config, self.changes, self.seed = clip_of, config, changes, seed
        self._kept: dict[tuple[str, int], dict[Leg, Input]] = {}

    def get(self, sample: LegSample, variant: int = 0) -> Input:
        """One leg's input, of `inputs.input_shape`; variant 0 is the recording as it is."""
        if self.config.kind not in CACHED:
            return self._make(sample.video, variant, [sample.leg])[sample.leg]
        key = (sample.video, variant)
        if key not in self._kept:
            self._kept[key] = self._make(sample.video, variant, LEGS)
        return self._kept[key][sample.leg]

    def stack(self, samples: Sequence[LegSample], variant: int = 0) -> Input:
        """(N, ...) of several legs."""
        return np.stack([self.get(sample, variant) for sample in samples])

    def _make(self, video: str, variant: int, legs: Sequence[Leg]) -> dict[Leg, Input]:
        points, times_s = self.clip_of(video)
        shown: dict[Leg, Leg] = {leg: leg for leg in legs}
        if variant:
            rng = np.random.default_rng([self.seed, zlib.crc32(video.encode()), variant])
            points, times_s = augment(points, times_s, self.changes, rng)
            swap = self.changes.mirror and not self.config.one_network_for_both
            if swap and rng.random() < 0.5:
                points = mirror(points, BODY_25, width=0)
                shown = {leg: OTHER[leg] for leg in legs}
        agility = analyse_both(points, times_s)
        return {
            leg: leg_input(points, times_s, seen, self.config, agility)
            for leg, seen in shown.items()
        }


class Legs(Dataset[Sample]):
    """`input`, of `inputs.input_shape`, and `target`, the place of the score in `levels`."""

    def __init__(self, inputs: LegInputs, samples: Sequence[LegSample], copies: int = 1) -> None:
        """Each leg as it is, and with more than one copy changed ones: leg by leg in each copy."""
        self.inputs, self.samples, self.copies = inputs, samples, copies
        self.targets = targets_of([s.score for s in samples], inputs.config)

    def __len__(self) -> int:
        return len(self.samples) * self.copies

    def __getitem__(self, key: int | tuple[int, int]) -> Sample:
        """`key` is an index, or (epoch, index): drawings change anew in each epoch."""
        epoch, index = key if isinstance(key, tuple) else (0, key)
        copy, place = divmod(index, len(self.samples))
        variant = copy
        if self.copies > 1 and self.inputs.config.kind not in CACHED:
            variant += epoch * self.copies
        values = self.inputs.get(self.samples[place], variant)
        return {"input": torch.from_numpy(values), "target": int(self.targets[place])}


class LegData(LightningDataModule):
    """Training and validation legs of one fold."""

    def __init__(
        self,
        inputs: LegInputs,
        train: Sequence[LegSample],
        valid: Sequence[LegSample],
        fit: FitArgs,
    ) -> None:
        super().__init__()
        self.train = Legs(inputs, train, copies=inputs.changes.variants + 1)
        self.valid, self.fit_args = Legs(inputs, valid), fit

    def train_dataloader(self) -> DataLoader[Sample]:
        """The training legs, in random order."""
        return training_loader(self.train, self.fit_args)

    def val_dataloader(self) -> DataLoader[Sample]:
        """The validation legs, as they are."""
        return validation_loader(self.valid, self.fit_args)


def targets_of(scores: Sequence[int], config: LegConfig) -> NDArray[np.int64]:
    """(N,) the place of each score in `levels`.

    Raises:
        InputError: A score is no level of the configuration.
    """
    places = {level: place for place, level in enumerate(config.levels)}
    strange = sorted(set(scores) - set(places))
    if strange:
        raise InputError(
            f"Expected scores of the levels {list(config.levels)}, got {strange}. Run step 1 "
            "again, which finds the levels, or give --leg_agility.levels."
        )
    return np.array([places[score] for score in scores], np.int64)
