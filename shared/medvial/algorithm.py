"""The base of every algorithm container: load, predict, save.

The platform mounts the case at /input and the model at /opt/ml/model, runs the program once, and
reads /output. Only standard output is used for logs, because anything on standard error marks the
job with a warning; a failure ends with one line there, which is what the platform's user sees.
"""

import argparse
import contextlib
import inspect
import logging
import signal
import sys
import traceback
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from medvial.errors import InputError
from medvial.outputs import write_json
from medvial.sockets import Interface, load_interfaces, select_interface, validate

log = logging.getLogger(__name__)


class Algorithm(ABC):
    """One case: `process` = `load`, `predict`, `save`.

    A subclass lives in its algorithm folder's process.py, beside sockets.json.
    """

    def __init__(
        self,
        *,
        input_path: Path = Path("/input"),
        output_path: Path = Path("/output"),
        model_path: Path = Path("/opt/ml/model"),
    ) -> None:
        self.input_path = input_path
        self.output_path = output_path
        self.model_path = model_path
        self.interfaces = load_interfaces(Path(inspect.getfile(type(self))).parent / "sockets.json")
        self._staged: dict[Path, Any] = {}

    @abstractmethod
    def load(self) -> None:
        """Load the model from `model_path`; done once, before the first case."""

    @abstractmethod
    def predict(self) -> None:
        """Read the case by `input_for` and compute its results."""

    @abstractmethod
    def save(self) -> None:
        """Hand every output to `write_output`."""

    def process(self) -> None:
        """Load the model and run the case."""
        self.load()
        self.run()

    def run(self) -> None:
        """Run the case in `input_path`; either all outputs are written or none."""
        self._staged = {}
        self.interface: Interface = select_interface(self.interfaces, self.input_path)
        self.predict()
        self.save()
        missing = [
            s.slug
            for s in self.interface.outputs
            if self.output_path / s.relative_path not in self._staged
        ]
        if missing:
            raise RuntimeError(f"save() wrote no output for {missing}")
        self._publish()

    def input_for(self, slug: str) -> Path | None:
        """Path of an input of this case; None where the case's interface has no such input."""
        socket = self.interface.socket(slug)
        return self.input_path / socket.relative_path if socket else None

    def write_output(self, slug: str, value: Any) -> None:
        """Check a JSON output against its schemas and keep it until all outputs are there.

        Raises:
            InputError: The value is not valid.
        """
        socket = self.interface.socket(slug)
        if socket is None or socket not in self.interface.outputs:
            known = [s.slug for s in self.interface.outputs]
            raise ValueError(f"Expected one of the outputs {known}, got {slug!r}")
        validate(socket, value)
        self._staged[self.output_path / socket.relative_path] = value

    def _publish(self) -> None:
        """Write every output beside its place, then move them all."""
        staged = {path.with_name(path.name + ".staged"): path for path in self._staged}
        try:
            for staging, path in staged.items():
                write_json(staging, self._staged[path])
            for staging, path in staged.items():
                staging.replace(path)
        finally:
            for staging in staged:
                with contextlib.suppress(OSError):
                    staging.unlink()

    @classmethod
    def main(cls, arguments: Sequence[str] | None = None) -> int:
        """Run one case from the command line; returns the exit code."""
        parser = argparse.ArgumentParser(description=inspect.getdoc(cls))
        for name, default in (
            ("input", "/input"),
            ("output", "/output"),
            ("model", "/opt/ml/model"),
        ):
            parser.add_argument(
                f"--{name}", type=Path, default=Path(default), help=f"{name} folder"
            )
        paths = parser.parse_args(arguments)
        logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(message)s", force=True)
        signal.signal(signal.SIGTERM, _stop)
        return _report(
            lambda: cls(
                input_path=paths.input, output_path=paths.output, model_path=paths.model
            ).process()
        )


def _stop(number: int, _frame: FrameType | None) -> None:
    """End on SIGTERM, which a process with the id 1 would otherwise ignore."""
    raise SystemExit(128 + number)


def _report(job: Any) -> int:
    """Run a job; a failure becomes one line on standard error and an exit code of 1."""
    try:
        job()
    except InputError as error:
        message = f"InputError: {error}"
    except Exception as error:
        traceback.print_exc(file=sys.stdout)
        message = f"{type(error).__name__}: {error}"
    else:
        return 0
    sys.stdout.flush()
    print(" ".join(message.split()), file=sys.stderr)
    return 1
