"""Training by Lightning: what every task shares."""

import logging
import math
import sys
import zlib
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile, ZipFile

import torch
from lightning.pytorch import Callback, LightningDataModule, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint, WeightAveraging

from medvial.errors import InputError
from medvial_training.callbacks import (
    EpochLog,
    LeaveOnSigterm,
    ProgressBar,
    SeedSteps,
    StepMetrics,
    moving_average,
)
from medvial_training.checkpoints import (
    PatientStopping,
    WholeCheckpoints,
    checkpoint_callbacks,
    open_folder,
)
from medvial_training.distributed import (
    GlobalBatch,
    SameBuffers,
    is_main,
    join_again,
    layout,
    plugins_of,
    restarted,
    samples_per_step,
    strategy_of,
)
from medvial_training.fit_args import FitArgs
from medvial_training.loaders import (
    EpochSampler,
    FirstEpoch,
    default_workers,
    training_loader,
    validation_loader,
)
from medvial_training.optimize import TrainedModule
from medvial_training.settings import (
    SETTINGS,
    compare_settings,
    compare_splits,
    keep_settings,
    keep_splits,
)
from medvial_training.tracking import make_loggers, note_checkpoint

__all__ = [
    "EpochSampler",
    "FitArgs",
    "TrainedModule",
    "default_workers",
    "fit_module",
    "training_loader",
    "validation_loader",
]

log = logging.getLogger(__name__)


def fit_module(
    module: TrainedModule,
    data: LightningDataModule,
    args: FitArgs,
    run: Path,
    *,
    task: str,
    monitor: str,
    mode: Literal["min", "max"],
    resume: bool,
    parameters: dict[str, Any],
    notes: dict[str, Any] | None = None,
) -> Path:
    """Train until the validation score stops improving.

    Args:
        module: Logs `monitor` in validation.
        data: Gives the training and validation loaders.
        args: How to train.
        run: Folder of the run; gets checkpoints/best.ckpt, checkpoints/last.ckpt, log.csv,
            settings.json and, where the data have tables of their splits, splits.json.
        task: Name of the MLflow experiment.
        monitor: Metric that early stopping and the best checkpoint go by.
        mode: Whether a small or a large value of it is good.
        resume: Go on from checkpoints/last.ckpt; so does a training that torchrun or SLURM started
            again.
        parameters: The options of the run, kept in settings.json and noted by MLflow.
        notes: What else MLflow is to note: no options, so that --config reads settings.json.

    Returns:
        Path of the checkpoint that the model is to be made of, `args.checkpoint`.

    Raises:
        InputError: There is nothing to resume, other options or splits to resume with, something
            to overwrite, or no place to write to.
        KeyboardInterrupt: Ctrl-C, with what to do if there is something to go on from.
    """
    last = run / "checkpoints" / "last.ckpt"
    resume = _check_run(run, last, resume)
    devices, nodes = layout(args)
    join_again(args, nodes)
    _open_run(run, module, args, parameters, resume=resume)
    best, further = checkpoint_callbacks(args, last.parent, monitor, mode)
    loggers = make_loggers(args, run, task, parameters | (notes or {}))
    if args.compile:
        module.net.compile()  # type: ignore[no-untyped-call]
    trainer = Trainer(
        default_root_dir=run,
        max_epochs=args.max_epochs,
        accelerator=args.accelerator,
        devices=devices,
        num_nodes=nodes,
        strategy=strategy_of(args, devices * nodes),
        sync_batchnorm=args.sync_batchnorm,
        precision=_precision(args, module.cpu_bfloat16),
        accumulate_grad_batches=args.accumulate,
        gradient_clip_val=args.gradient_clip or None,
        check_val_every_n_epoch=args.validate_every,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        logger=loggers or False,
        enable_progress_bar=_progress(args) and is_main(),
        enable_model_summary=False,
        use_distributed_sampler=False,
        plugins=[WholeCheckpoints(), *plugins_of()],
        callbacks=[
            GlobalBatch(samples_per_step(args)),
            best,
            *_callbacks(args, run, monitor, mode, tracked=bool(loggers)),
            *further,
        ],
    )
    try:
        trainer.fit(module, data, ckpt_path=last if resume else None, weights_only=False)
    except SystemExit as end:
        if isinstance(end.__context__, KeyboardInterrupt):  # Lightning makes it a silent exit
            words = ["go on with --resume true"] if last.is_file() else []
            raise KeyboardInterrupt(*words) from None
        raise
    return _finish(trainer, best, run, args, monitor)


def _check_run(run: Path, last: Path, resume: bool) -> bool:
    """Whether to go on from the last checkpoint."""
    if restarted():
        resume = last.is_file()
    elif resume and not last.is_file():
        raise InputError(f"Expected {last} to resume from, got no such file. Leave out --resume.")
    elif not resume and last.is_file():
        raise InputError(
            f"Expected a new run folder, got {run} with checkpoints of an earlier run. Go on with "
            "--resume, choose another --run, or delete the folder."
        )
    if resume:
        _check_whole(last)
    return resume


def _check_whole(checkpoint: Path) -> None:
    """A checkpoint is an archive with a checksum of each of its files.

    Raises:
        InputError: It was cut off, or changed within.
    """
    try:
        with ZipFile(checkpoint) as archive:
            damaged = archive.testzip()
    except (BadZipFile, OSError, RuntimeError, ValueError, EOFError, zlib.error) as error:
        damaged = str(error) or type(error).__name__
    if damaged:
        raise InputError(
            f"Expected a whole checkpoint in {checkpoint}, got a damaged file ({damaged}). Restore "
            f"it from a copy, or delete {checkpoint.parent.parent} and train it anew."
        )


def _open_run(
    run: Path, module: TrainedModule, args: FitArgs, parameters: dict[str, Any], *, resume: bool
) -> None:
    if resume:
        compare_settings(run / SETTINGS, parameters)
        if "data" in parameters:
            compare_splits(run, Path(parameters["data"]))
    if not is_main():
        return
    numbered = args.keep if args.save_every else 0
    open_folder(run / "checkpoints", module.net, resume=resume, numbered=numbered)
    if not resume:
        if "data" in parameters:
            keep_splits(run, Path(parameters["data"]))
        keep_settings(run / SETTINGS, parameters)


def _finish(
    trainer: Trainer, best: ModelCheckpoint, run: Path, args: FitArgs, monitor: str
) -> Path:
    trainer.strategy.barrier("best checkpoint")
    path = Path(best.best_model_path)
    if not path.is_file():
        raise InputError(f"Training ended before its first validation; no model is in {run}.")
    score = best.best_model_score
    log.info("Best %s: %.4f", monitor, float("nan") if score is None else float(score))
    if args.checkpoint == "last":
        log.info("The model is made of the last weights.")
        path = path.with_name("last.ckpt")
    note_checkpoint(trainer.loggers, path)
    return path


def _callbacks(
    args: FitArgs, run: Path, monitor: str, mode: Literal["min", "max"], *, tracked: bool
) -> list[Callback]:
    patience = math.ceil(args.patience / args.validate_every)
    callbacks: list[Callback] = [
        FirstEpoch(),
        SameBuffers(),
        PatientStopping(monitor, mode=mode, patience=patience, check_finite=True),
        EpochLog(run / "log.csv"),
        SeedSteps(args.seed),
        LeaveOnSigterm(),
    ]
    if tracked:
        callbacks.append(LearningRateMonitor("epoch"))
    if args.mlflow or args.tensorboard:  # on every process: they add up their losses
        callbacks.append(StepMetrics())
    if _progress(args) and is_main():
        callbacks.append(ProgressBar(refresh_rate=5))
    if args.ema_decay:
        callbacks.append(WeightAveraging(avg_fn=moving_average(args.ema_decay)))
    return callbacks


def _progress(args: FitArgs) -> bool:
    return sys.stderr.isatty() if args.progress is None else args.progress


def _precision(args: FitArgs, cpu_bfloat16: bool) -> Any:
    if args.precision != "auto":
        return args.precision
    if args.accelerator != "cpu" and torch.cuda.is_available():
        return (
            "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
        )
    native = getattr(torch._C._cpu, "_is_avx512_bf16_supported", lambda: False)
    return "bf16-mixed" if cpu_bfloat16 and native() else "32-true"
