"""Training by several processes: who they are, and what they share."""

import os
from collections.abc import Iterable
from typing import Any

import torch
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor, distributed
from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]

from medvial.errors import InputError
from medvial_training.fit_args import FitArgs

AGENT_STORE = "TORCHELASTIC_USE_AGENT_STORE"


def is_main() -> bool:
    """Whether this is the process that writes."""
    return getattr(rank_zero_only, "rank", 0) in (0, None)


def rank_and_size() -> tuple[int, int]:
    """This process's number and the number of processes, once they know each other."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def restarted() -> bool:
    """Whether torchrun or SLURM started this training again after a failure."""
    counts = ("TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT")
    return any(int(os.environ.get(name, 0)) > 0 for name in counts)


def join_again(args: FitArgs, nodes: int) -> None:
    """Let processes that torchrun started again meet where the dead ones left no addresses.

    torchrun gives all attempts one store, and gloo would connect to the addresses that it finds
    there: the dead processes'. An attempt of several nodes has no number that all of them know;
    there torchrun itself has to be told (TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1).
    """
    if not (restarted() and nodes == 1 and os.environ.get(AGENT_STORE) == "True"):
        return
    rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    store = TCPStore(
        os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), world_size, is_master=False
    )
    attempt = PrefixStore(f"attempt{os.environ['TORCHELASTIC_RESTART_COUNT']}", store)
    backend = "nccl" if _on_gpu(args) else "gloo"
    distributed.init_process_group(backend, store=attempt, rank=rank, world_size=world_size)


def layout(args: FitArgs) -> tuple[int, int]:
    """Processes per node and nodes: the launcher's, else the options', else one.

    Raises:
        InputError: Options and launcher disagree, or there are not as many GPUs.
    """
    started, by = _launched()
    wanted = (args.devices, args.num_nodes)
    if started and any(w is not None and w != s for w, s in zip(wanted, started, strict=True)):
        raise InputError(
            f"Expected the devices and num_nodes that {by} started, {started[0]} and {started[1]}, "
            f"got {wanted[0]} and {wanted[1]}. Leave the options out."
        )
    devices, nodes = started or (args.devices or 1, args.num_nodes or 1)
    available, on_gpu = torch.cuda.device_count(), _on_gpu(args)
    if on_gpu and devices > available:
        raise InputError(
            f"Expected a GPU for each of {devices} processes, got {available}. Start fewer, or "
            "train on the CPU with --fit.accelerator cpu."
        )
    if args.sync_batchnorm and not on_gpu:
        raise InputError(
            "Expected sync_batchnorm with GPUs, got the CPU: PyTorch has it for GPUs only. Leave "
            "the option out."
        )
    return devices, nodes


def _on_gpu(args: FitArgs) -> bool:
    return args.accelerator == "gpu" or (
        args.accelerator == "auto" and torch.cuda.device_count() > 0
    )


def _launched() -> tuple[tuple[int, int] | None, str]:
    """Processes per node and nodes as a launcher started them, and its name."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        local = int(os.environ["LOCAL_WORLD_SIZE"])
        return (local, int(os.environ["WORLD_SIZE"]) // local), "torchrun"
    if SLURMEnvironment.detect() and "SLURM_NTASKS_PER_NODE" in os.environ:
        local = int(os.environ["SLURM_NTASKS_PER_NODE"])
        return (local, int(os.environ.get("SLURM_NNODES", 1))), "SLURM"
    return None, ""


class ShardedValidation(DDPStrategy):
    """Data-parallel training whose processes may validate unequal numbers of batches.

    The wrapper of the network exchanges buffers in every forward pass, so that a process with one
    batch more would wait for ever; validation therefore calls the network itself.
    """

    def validation_step(self, *args: Any, **kwargs: Any) -> Any:
        """Called by Lightning."""
        assert self.lightning_module is not None
        with self.precision_plugin.val_step_context():
            return self.lightning_module.validation_step(*args, **kwargs)


def plugins_of() -> list[Any]:
    """SLURM without Lightning's own requeueing, which would go on in the middle of an epoch."""
    return [SLURMEnvironment(auto_requeue=False)] if SLURMEnvironment.detect() else []


def strategy_of(args: FitArgs, processes: int) -> Any:
    """What Lightning takes as strategy."""
    if processes > 1 and args.strategy in ("auto", "ddp"):
        return ShardedValidation()
    return args.strategy


class SameBuffers(Callback):
    """Validates one network: the main process's running statistics count on all processes."""

    def on_validation_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Called by Lightning, before the averaged weights take their place."""
        if trainer.world_size == 1:
            return
        self._send(module.buffers())
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, WeightAveraging) and callback._average_model is not None:
                self._send(callback._average_model.module.buffers())

    @staticmethod
    def _send(buffers: Iterable[Tensor]) -> None:
        for buffer in buffers:
            distributed.broadcast(buffer, src=0)


def samples_per_step(args: FitArgs) -> int:
    """Of all processes together.

    Raises:
        InputError: As in `layout`.
    """
    devices, nodes = layout(args)
    return args.batch_size * args.accumulate * devices * nodes


class GlobalBatch(Callback):
    """Refuses to resume with another number of samples per step than training began with."""

    def __init__(self, samples: int) -> None:
        self.samples = samples

    def state_dict(self) -> dict[str, Any]:
        """Kept in the checkpoint."""
        return {"samples": self.samples}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Compare with the checkpoint."""
        if state["samples"] != self.samples:
            raise InputError(
                f"Expected to resume with {state['samples']} samples per step (batch_size x "
                f"accumulate x processes), got {self.samples}. Change batch_size or accumulate."
            )
