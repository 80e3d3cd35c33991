"""What is noted about a run elsewhere: MLflow and TensorBoard."""

import logging
import os
from collections.abc import Callable
from functools import partial
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger

from medvial.errors import InputError
from medvial.outputs import read_json, write_json
from medvial_training.distributed import is_main
from medvial_training.fit_args import FitArgs
from medvial_training.provenance import provenance

log = logging.getLogger(__name__)

RUN_FILE = "mlflow.json"
MLFLOW_DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # its own patience would let training wait for minutes
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_LOGGING_LEVEL": "ERROR",  # not the tables that it creates
}


class Tracker(MLFlowLogger):
    """MLflow that never stops training: what cannot be noted is left out, with one warning."""

    away = False

    def log_hyperparams(self, *arguments: Any, **options: Any) -> None:
        """Called by Lightning."""
        self.attempt(lambda: super(Tracker, self).log_hyperparams(*arguments, **options))

    def log_metrics(self, *arguments: Any, **options: Any) -> None:
        """Called by Lightning."""
        self.attempt(lambda: super(Tracker, self).log_metrics(*arguments, **options))

    def finalize(self, status: str = "success") -> None:
        """Called by Lightning."""
        self.attempt(lambda: super(Tracker, self).finalize(status))

    def note_file(self, path: Path) -> None:
        """Keep a copy of a file with the run."""
        self.experiment.log_artifact(self.run_id, str(path))

    def note_figure(self, figure: Any, name: str) -> None:
        """Keep a figure of Matplotlib as a picture: `name` is its path among the artifacts."""
        self.attempt(lambda: self.experiment.log_figure(self.run_id, figure, name))

    def attempt(self, job: Callable[[], Any]) -> Any:
        """Do it unless the store is away; None if it is."""
        if self.away or not is_main():
            return None
        try:
            return job()
        except Exception as error:  # any: a server, a database and a folder fail in many ways
            self.away = True
            log.warning("Tracking stops, training goes on: MLflow says %s", _one_line(error))
            return None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def make_loggers(args: FitArgs, run: Path, task: str, parameters: dict[str, Any]) -> list[Logger]:
    """The loggers that the options ask for, with the run's parameters noted.

    Raises:
        InputError: TensorBoard is wanted and not installed.
    """
    loggers: list[Logger] = []
    if args.tensorboard:
        if not (find_spec("tensorboard") or find_spec("tensorboardX")):
            raise InputError(
                "Expected the package tensorboard for --fit.tensorboard, got none. Install it by "
                "pip install tensorboard, or leave the option out."
            )
        loggers.append(TensorBoardLogger(run, name=None, version="tensorboard"))
    tracker = _tracker(args, run, task) if args.mlflow and is_main() else None
    if tracker is not None:
        tracker.log_hyperparams(parameters)
        tracker.attempt(lambda: _note_origin(tracker, parameters))
        if not tracker.away:
            loggers.append(tracker)
    return loggers


def _tracker(args: FitArgs, run: Path, task: str) -> Tracker | None:
    """Goes on with the MLflow run that this run folder began, if there is one."""
    for name, value in MLFLOW_DEFAULTS.items():
        os.environ.setdefault(name, value)
    try:
        store = Path("mlruns").absolute()
        if args.tracking_uri is None:
            store.mkdir(exist_ok=True)
        uri = args.tracking_uri or f"sqlite:///{store / 'mlflow.db'}"
        artifacts = None if args.tracking_uri else (store / "artifacts").as_uri()
        noted = read_json(run / RUN_FILE) if (run / RUN_FILE).is_file() else {}
        tracker = Tracker(
            experiment_name=task,
            run_name=run.name,
            tracking_uri=uri,
            artifact_location=artifacts,
            run_id=noted.get("run_id") if noted.get("tracking_uri") == uri else None,
        )
        run_id = tracker.run_id
        tracker.experiment.update_run(run_id, status="RUNNING")
    except Exception as error:  # any: a server, a database and a folder fail in many ways
        log.warning("Training without tracking: MLflow says %s", _one_line(error))
        return None
    write_json(run / RUN_FILE, {"tracking_uri": uri, "run_id": run_id})
    return tracker


def _note_origin(tracker: Tracker, parameters: dict[str, Any]) -> None:
    """Data, code and environment: tags to search by, and the list of installed packages."""
    origin = provenance(Path(parameters["data"])) if "data" in parameters else {}
    for split, digest in origin.pop("splits_sha256", {}).items():
        tracker.experiment.set_tag(tracker.run_id, f"data.{split}.sha256", digest)
    for name in ("git_revision", "python"):
        tracker.experiment.set_tag(tracker.run_id, name, origin.get(name, "unknown"))
    if parameters.get("description"):  # where MLflow shows it
        note = str(parameters["description"])
        tracker.experiment.set_tag(tracker.run_id, "mlflow.note.content", note)
    installed = sorted({f"{d.metadata['Name']}=={d.version}" for d in distributions()})
    tracker.experiment.log_text(tracker.run_id, "\n".join(installed) + "\n", "environment.txt")


def note_checkpoint(loggers: list[Logger], path: Path) -> None:
    """Keep the checkpoint that the model is made of with the tracked run."""
    for tracker in loggers:
        if isinstance(tracker, Tracker):
            tracker.attempt(partial(tracker.note_file, path))
