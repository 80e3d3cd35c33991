"""The order in which training and validation see their samples."""

import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from medvial.errors import InputError
from medvial_training.distributed import rank_and_size
from medvial_training.fit_args import FitArgs

BEYOND_TRAINING = 1_000_000  # epochs


class EpochSampler(Sampler[tuple[int, int]]):
    """Yields (epoch, index) in an order that depends on seed and epoch only.

    The sample's own random numbers follow from the same pair, so that a resumed run sees what the
    uninterrupted one would have seen. Several processes take turns: a step sees the same samples
    whether one process loads them or many.
    """

    def __init__(
        self,
        size: int,
        seed: int,
        *,
        batch: int = 1,
        accumulate: int = 1,
        weights: Tensor | None = None,
    ) -> None:
        """Samples that do not fill a step of all processes are left out for the epoch.

        Args:
            size: Number of samples.
            seed: Of the order.
            batch: Samples per batch of one process.
            accumulate: Batches per step.
            weights: (size,) how often each sample is drawn in an epoch, relative to the others;
                None draws each once.
        """
        self.size, self.seed, self.epoch, self.weights = size, seed, 0, weights
        self.rank, self.processes = rank_and_size()
        if size < self.processes:
            raise _too_few("training", size, self.processes)
        one_each = self.processes
        whole = [
            n for n in (accumulate * batch * one_each, batch * one_each, one_each) if n <= size
        ]
        self.used = size // whole[0] * whole[0]

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning at the start of every epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.used // self.processes

    def __iter__(self) -> Iterator[tuple[int, int]]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(self.size, generator=generator)
        if self.weights is None:
            keys = [(self.epoch, index) for index in order.tolist()]
        else:
            keys = _numbered(_draw(order, self.weights, generator).tolist(), self.epoch)
        return iter(keys[self.rank : self.used : self.processes])


def _draw(order: Tensor, weights: Tensor, generator: torch.Generator) -> Tensor:
    """As many samples as there are, each as often as its weight says, give or take one.

    Systematic sampling (Madow and Madow, 1944): even steps along the weights' cumulative sum, with
    samples of equal weight side by side, so that their sum is met as well.

    Args:
        order: (N,) a random order of all samples.
        weights: (N,) by sample.
        generator: Where chance comes from.

    Returns:
        (N,) samples, shuffled.
    """
    order = order[weights[order].argsort(stable=True)]
    sums = weights.double()[order].cumsum(0)
    start = torch.rand(1, generator=generator, dtype=torch.float64)
    points = (torch.arange(len(order)) + start) / len(order) * sums[-1]
    drawn = order[torch.searchsorted(sums, points, right=True).clamp(max=len(order) - 1)]
    return drawn[torch.randperm(len(order), generator=generator)]


class FirstEpoch(Callback):
    """Lets a resumed run begin in the order of the epoch that it goes on with.

    Lightning asks the loader for its batches before it says which epoch it is, and processes that
    load ahead have taken them in the order of the very first epoch by then.
    """

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Called by Lightning once it knows the epoch."""
        loader, fetcher = trainer.train_dataloader, trainer.fit_loop._data_fetcher
        if trainer.current_epoch and fetcher is not None and loader is not None:
            loader.sampler.set_epoch(trainer.current_epoch)
            iter(fetcher)


def _numbered(order: list[int], epoch: int) -> list[tuple[int, int]]:
    """Keys of samples; one that comes again is of an epoch that never comes: a different clip."""
    drawn: Counter[int] = Counter()
    keys = []
    for index in order:
        keys.append((epoch + drawn[index] * BEYOND_TRAINING, index))
        drawn[index] += 1
    return keys


def training_loader(
    samples: Dataset[Any], args: FitArgs, weights: Tensor | None = None
) -> DataLoader[Any]:
    """Batches in random order; the dataset is asked for (epoch, index).

    Args:
        samples: The training samples.
        args: How to train.
        weights: As in EpochSampler.
    """
    size = len(samples)  # type: ignore[arg-type]
    sampler = EpochSampler(
        size, args.seed, batch=args.batch_size, accumulate=args.accumulate, weights=weights
    )
    return _loader(samples, args, sampler)


def validation_loader(samples: Dataset[Any], args: FitArgs) -> DataLoader[Any]:
    """Batches in order, each sample once: no process repeats what another one has."""
    size = len(samples)  # type: ignore[arg-type]
    rank, processes = rank_and_size()
    if size < processes:
        raise _too_few("validation", size, processes)
    return _loader(samples, args, range(rank, size, processes))


def _too_few(split: str, size: int, processes: int) -> InputError:
    return InputError(
        f"Expected at least one {split} sample for each of {processes} processes, got {size}. "
        "Start fewer processes."
    )


def _loader(samples: Dataset[Any], args: FitArgs, sampler: Any) -> DataLoader[Any]:
    workers = default_workers(args)
    return DataLoader(
        samples,
        batch_size=args.batch_size,
        sampler=sampler,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=args.accelerator != "cpu" and torch.cuda.is_available(),
    )


def default_workers(args: FitArgs) -> int:
    """Loader processes: as given, else none on the CPU, whose cores the network needs."""
    if args.workers is not None:
        return args.workers
    if args.accelerator == "cpu" or not torch.cuda.is_available():
        return 0
    local = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    return max(1, min(8, len(os.sched_getaffinity(0)) // local))
