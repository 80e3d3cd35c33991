"""Checkpoints that are whole, whatever happens while they are written."""

import contextlib
import os
import shutil
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.plugins import TorchCheckpointIO
from torch import nn

from medvial.errors import InputError
from medvial_training.fit_args import FitArgs

BYTES_PER_WEIGHT = 16  # the weight, its average and two moments of Adam, single precision


class WholeCheckpoints(TorchCheckpointIO):
    """Checkpoints that are moved to their place when they are complete.

    A process that is killed while it writes one leaves the one before it.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write beside the place, wait for the disk, rename.

        Raises:
            InputError: The disk is full or the folder not writable; what was there stays.
        """
        part = Path(f"{path}.part")
        try:
            super().save_checkpoint(checkpoint, part, storage_options)
            with part.open("rb") as file:
                os.fsync(file.fileno())
            part.replace(path)
        except (OSError, RuntimeError) as error:  # PyTorch's writer raises RuntimeError
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            raise InputError(
                f"Expected to write {path}, got: {' '.join(str(error).split())[:200]}. Make space "
                "or the folder writable, then go on with --resume."
            ) from None


class KeepBest(ModelCheckpoint):
    """A checkpoint that is known again also when the run's folder has been moved."""

    @property
    def state_key(self) -> str:
        """As Lightning's own, so that runs from before this class resume."""
        return super().state_key.replace(type(self).__qualname__, ModelCheckpoint.__qualname__)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the paths as they would be here."""
        here = {key: self._here(value) for key, value in state.items() if key.endswith("_path")}
        best = {self._here(k): v for k, v in state.get("best_k_models", {}).items()}
        super().load_state_dict({**state, **here, "best_k_models": best, "dirpath": self.dirpath})
        self.current_score = state.get("current_score")  # Lightning keeps it and forgets it

    def _here(self, path: str) -> str:
        return str(Path(str(self.dirpath)) / Path(path).name) if path else path


class PatientStopping(EarlyStopping):
    """Early stopping that a run that was killed after it had stopped does not forget."""

    @property
    def state_key(self) -> str:
        """As Lightning's own, so that runs from before this class resume."""
        return super().state_key.replace(type(self).__qualname__, EarlyStopping.__qualname__)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The patience is the one given now."""
        super().load_state_dict({**state, "patience": self.patience})

    def on_train_start(self, trainer: Any, module: Any) -> None:
        """Called by Lightning."""
        if self.wait_count >= self.patience:
            trainer.should_stop = True


def checkpoint_callbacks(
    args: FitArgs, folder: Path, monitor: str, mode: str
) -> tuple[KeepBest, list[ModelCheckpoint]]:
    """The best one; then the last one, whose file knows of the best, and numbered ones."""
    best = KeepBest(folder, "best", monitor=monitor, mode=mode, enable_version_counter=False)
    further: list[ModelCheckpoint] = []
    if args.save_every:
        further.append(
            KeepBest(
                folder,
                "epoch-{epoch:04d}",
                monitor="epoch",
                mode="max",
                save_top_k=args.keep,
                every_n_epochs=args.save_every,
                auto_insert_metric_name=False,
                enable_version_counter=False,
                save_on_train_epoch_end=True,
            )
        )
    further.append(
        KeepBest(folder, "last", enable_version_counter=False, save_on_train_epoch_end=True)
    )
    return best, further


def open_folder(folder: Path, net: nn.Module, *, resume: bool, numbered: int) -> None:
    """Make the folder of checkpoints ready, or say at once that it will not do.

    Args:
        folder: Where checkpoints go; halves that a killed process left are deleted.
        net: Whose weights are going to be written.
        resume: Whether the best and the last checkpoint are there.
        numbered: Numbered checkpoints to be kept.

    Raises:
        InputError: It cannot be written, or has too little space.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for part in folder.glob("*.part"):
            part.unlink()
        probe = folder / "probe.part"
        probe.write_bytes(b"\0")
        probe.unlink()
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise InputError(
            f"Expected to write into {folder}, got: {error.strerror or error}. Check the folder's "
            "permissions and free space, or choose another --run."
        ) from None
    files = 1 + numbered + (0 if resume else 2)  # one more while it is written
    needed = files * (BYTES_PER_WEIGHT * sum(w.numel() for w in net.parameters()) + 2**16)
    if free < needed:
        raise InputError(
            f"Expected {needed / 2**20:.0f} MiB of space for the checkpoints in {folder}, got "
            f"{free / 2**20:.0f}. Make space, or choose another --run."
        )
