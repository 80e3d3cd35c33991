"""Step 3 by several processes: each works on a share, the main one gathers, scores and writes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from torch import distributed
from tqdm import tqdm

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

_PATIENCE = timedelta(days=1)  # shares take unequal times, and the main process draws pictures


@dataclass(frozen=True)
class Shares:
    """Which part of the work is this process's."""

    rank: int = 0
    size: int = 1

    def map(
        self,
        work: Callable[[ItemT], ResultT],
        items: Sequence[ItemT],
        *,
        description: str,
        unit: str,
        progress: bool = False,
    ) -> list[ResultT] | None:
        """`[work(item) for item in items]`, every process doing each `size`th item.

        Args:
            work: Its results must be picklable where there are several processes.
            items: The same in all processes.
            description: What the progress bar says.
            unit: What it counts.
            progress: Whether to show it: for the main process's share, which stands for all.

        Returns:
            All results in the order of the items in the main process; None in the others.
        """
        hidden = None if progress and self.rank == 0 else True  # None: where there is a terminal
        bar = tqdm(items[self.rank :: self.size], desc=description, unit=unit, disable=hidden)
        own = [work(item) for item in bar]
        if self.size == 1:
            return own
        gathered: list[list[ResultT] | None] | None = [None] * self.size if not self.rank else None
        distributed.gather_object(own, gathered)
        if gathered is None:
            return None
        shares = [share or [] for share in gathered]
        return [shares[index % self.size][index // self.size] for index in range(len(items))]


ALONE = Shares()


def join_shares() -> Shares:
    """This process's share as torchrun or SLURM started it; the whole where neither did.

    Processes talk by gloo, each computes on the GPU of its local number where there are GPUs.
    """
    environment = _environment()
    if environment is None or environment.world_size() == 1:
        return ALONE
    rank, size = environment.global_rank(), environment.world_size()
    if torch.cuda.is_available():
        torch.cuda.set_device(environment.local_rank() % torch.cuda.device_count())
    if not distributed.is_initialized():
        distributed.init_process_group(
            "gloo",
            init_method=f"tcp://{environment.main_address}:{environment.main_port}"
            if isinstance(environment, SLURMEnvironment)
            else "env://",
            rank=rank,
            world_size=size,
            timeout=_PATIENCE,
        )
    return Shares(rank, size)


def _environment() -> TorchElasticEnvironment | SLURMEnvironment | None:
    if TorchElasticEnvironment.detect():
        return TorchElasticEnvironment()
    return SLURMEnvironment(auto_requeue=False) if SLURMEnvironment.detect() else None
