"""Training by Lightning: what every task shares."""

import json
import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import (
    Callback,
    LightningDataModule,
    LightningModule,
    Trainer,
)
from lightning.pytorch.callbacks import (
    EarlyStopping,
    LearningRateMonitor,
    ModelCheckpoint,
    WeightAveraging,
)
from lightning.pytorch.loggers import MLFlowLogger
from torch.utils.data import Sampler

from medvial.errors import InputError
from medvial.outputs import read_json, write_json
from medvial_training.callbacks import (
    EpochLog,
    ProgressBar,
    SeedSteps,
    WholeCheckpoints,
    moving_average,
)

log = logging.getLogger(__name__)

FREE_ON_RESUME = (  # what does not change the result; tasks with two networks have two of each
    "fit.patience",
    "fit.workers",
    "fit.mlflow",
    "fit.tracking_uri",
    "fit.progress",
)


@dataclass(frozen=True)
class FitArgs:
    """How to train; the same for every task."""

    max_epochs: int = 80
    """Epochs at most; the learning rate falls to zero over them."""

    patience: int = 25
    """Epochs without a better validation score before training stops."""

    batch_size: int = 4
    """Samples per step and device."""

    learning_rate: float = 2e-3
    """Highest learning rate of the one-cycle schedule (AdamW)."""

    weight_decay: float = 1e-2
    """Decoupled weight decay of AdamW."""

    ema_decay: float = 0.998
    """Decay per step of the moving average of the weights, which is what is validated and kept;
    0 keeps the last weights instead."""

    gradient_clip: float = 5.0
    """Largest norm of the gradient; 0 does not clip."""

    validate_every: int = 1
    """Epochs between validations."""

    seed: int = 1
    """Seed of initial weights, sample order and augmentation."""

    workers: int | None = None
    """Processes that load samples; none on the CPU, up to 8 beside a GPU when not given."""

    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    """Device to train on."""

    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto"
    """Arithmetic of training; auto takes bfloat16 where the device computes in it, half precision
    on an older GPU, else single."""

    mlflow: bool = True
    """Track parameters and metrics with MLflow."""

    tracking_uri: str | None = None
    """MLflow server or store; the database file mlruns/mlflow.db when not given."""

    progress: bool | None = None
    """Show a progress bar, instead of one line per validation; on a terminal when not given."""

    def __post_init__(self) -> None:
        """Refuse what cannot train."""
        for name in ("max_epochs", "patience", "batch_size", "validate_every"):
            if getattr(self, name) < 1:
                raise InputError(f"Expected {name} of at least 1, got {getattr(self, name)}.")
        if not 0 <= self.ema_decay < 1:
            raise InputError(f"Expected ema_decay from 0 to below 1, got {self.ema_decay}.")
        if self.learning_rate <= 0:
            raise InputError(f"Expected a learning_rate above 0, got {self.learning_rate}.")


class EpochSampler(Sampler[tuple[int, int]]):
    """Yields (epoch, index) in an order that depends on seed and epoch only.

    The sample's own random numbers follow from the same pair, so that a resumed run sees what the
    uninterrupted one would have seen.
    """

    def __init__(self, size: int, seed: int) -> None:
        self.size, self.seed, self.epoch = size, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning at the start of every epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Any:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(self.size, generator=generator).tolist()
        return iter([(self.epoch, index) for index in order])


def fit_module(
    module: LightningModule,
    data: LightningDataModule,
    args: FitArgs,
    run: Path,
    *,
    task: str,
    monitor: str,
    mode: Literal["min", "max"],
    resume: bool,
    parameters: dict[str, Any],
) -> Path:
    """Train until the validation score stops improving.

    Args:
        module: Logs `monitor` in validation.
        data: Gives the training and validation loaders.
        args: How to train.
        run: Folder of the run; gets checkpoints/best.ckpt, checkpoints/last.ckpt, log.csv and
            settings.json.
        task: Name of the MLflow experiment.
        monitor: Metric that early stopping and the best checkpoint go by.
        mode: Whether a small or a large value of it is good.
        resume: Go on from checkpoints/last.ckpt.
        parameters: The options of the run, kept in settings.json and noted by MLflow.

    Returns:
        Path of the best checkpoint.

    Raises:
        InputError: There is nothing to resume, other options to resume with, or something to
            overwrite.
    """
    checkpoints = run / "checkpoints"
    last = checkpoints / "last.ckpt"
    if resume and not last.is_file():
        raise InputError(f"Expected {last} to resume from, got no such file. Leave out --resume.")
    if not resume and last.is_file():
        raise InputError(
            f"Expected a new run folder, got {run} with checkpoints of an earlier run. Go on with "
            "--resume, choose another --run, or delete the folder."
        )
    checkpoints.mkdir(parents=True, exist_ok=True)
    _keep_settings(run / "settings.json", parameters, resume=resume)
    best = ModelCheckpoint(
        checkpoints, "best", monitor=monitor, mode=mode, enable_version_counter=False
    )
    trainer = Trainer(
        default_root_dir=run,
        max_epochs=args.max_epochs,
        accelerator=args.accelerator,
        devices=1,
        precision=_precision(args),
        gradient_clip_val=args.gradient_clip or None,
        check_val_every_n_epoch=args.validate_every,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        logger=_logger(args, run, task, parameters),
        enable_progress_bar=_progress(args),
        enable_model_summary=False,
        use_distributed_sampler=False,
        plugins=[WholeCheckpoints()],
        # The best one first: the last one's file then knows of it, and a resumed run as well.
        callbacks=[best, *_callbacks(args, run, monitor, mode)],
    )
    trainer.fit(module, data, ckpt_path=last if resume else None, weights_only=False)
    if not Path(best.best_model_path).is_file():
        raise InputError(f"Training ended before its first validation; no model is in {run}.")
    log.info("Best %s: %.4f", monitor, float(best.best_model_score or float("nan")))
    return Path(best.best_model_path)


def _keep_settings(path: Path, parameters: dict[str, Any], *, resume: bool) -> None:
    """Note the run's options, in the form that --config reads; or compare them on resuming."""
    options = json.loads(json.dumps(parameters))  # tuples as JSON has them
    if not resume:
        write_json(path, options)
        return
    before, now = _flat(read_json(path)), _flat(options)
    changed = [
        f"{name} {before.get(name)} there, {now.get(name)} here"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name) and not name.endswith(FREE_ON_RESUME)
    ]
    if changed:
        raise InputError(
            f"Expected to resume with the options of {path}, got {'; '.join(changed)}. "
            f"Give them by --config {path}."
        )


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested options by dotted name."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        result |= _flat(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return result


def _callbacks(
    args: FitArgs, run: Path, monitor: str, mode: Literal["min", "max"]
) -> list[Callback]:
    callbacks: list[Callback] = [
        EarlyStopping(monitor, mode=mode, patience=_validations(args), check_finite=True),
        ModelCheckpoint(
            run / "checkpoints", "last", enable_version_counter=False, save_on_train_epoch_end=True
        ),
        EpochLog(run / "log.csv"),
        SeedSteps(args.seed),
    ]
    if args.mlflow:
        callbacks.append(LearningRateMonitor("epoch"))
    if _progress(args):
        callbacks.append(ProgressBar(refresh_rate=5))
    if args.ema_decay:
        callbacks.append(WeightAveraging(avg_fn=moving_average(args.ema_decay)))
    return callbacks


def _validations(args: FitArgs) -> int:
    return max(1, args.patience // args.validate_every)


def _progress(args: FitArgs) -> bool:
    return sys.stderr.isatty() if args.progress is None else args.progress


def _precision(args: FitArgs) -> Any:
    if args.precision != "auto":
        return args.precision
    if args.accelerator != "cpu" and torch.cuda.is_available():
        return (
            "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
        )
    native = getattr(torch._C._cpu, "_is_avx512_bf16_supported", lambda: False)
    return "bf16-mixed" if native() else "32-true"


def _logger(args: FitArgs, run: Path, task: str, parameters: dict[str, Any]) -> Any:
    if not args.mlflow:
        return False
    store = Path("mlruns").absolute()
    uri = args.tracking_uri
    if uri is None:
        store.mkdir(exist_ok=True)
        uri = f"sqlite:///{store / 'mlflow.db'}"
    logger = MLFlowLogger(
        experiment_name=task,
        run_name=run.name,
        tracking_uri=uri,
        artifact_location=None if args.tracking_uri else (store / "artifacts").as_uri(),
    )
    logger.log_hyperparams(parameters)
    return logger


def default_workers(args: FitArgs) -> int:
    """Loader processes: as given, else none on the CPU, whose cores the network needs."""
    if args.workers is not None:
        return args.workers
    gpu = args.accelerator != "cpu" and torch.cuda.is_available()
    return min(8, torch.get_num_threads()) if gpu else 0
