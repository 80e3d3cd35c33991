"""The base of every algorithm container: load, predict, save.

The platform mounts the case at /input and the model at /opt/ml/model, and reads /output. By the
method `exec` it runs the program once a case; by `invoke` the program is a server that is asked
once a case. Only standard output is used for logs, because anything on standard error marks the
job with a warning; a failure ends with one line there, which is what the platform's user sees.
"""

import argparse
import inspect
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from medvial.case_outputs import CaseOutputs, remove_outputs
from medvial.errors import InputError
from medvial.metaimage_writer import ImageGeometry, MetaImageWriter
from medvial.output_checks import only_image
from medvial.program import run_program
from medvial.server import PORT, serve
from medvial.sockets import Interface, load_interfaces, select_interface

METHODS = ("exec", "invoke")
METHOD_VARIABLE = "MEDVIAL_API_METHOD"


class Algorithm(ABC):
    """One case: `process` = `load`, `predict`, `save`.

    A subclass lives in its algorithm folder's process.py, beside sockets.json.
    """

    progress: Callable[[int, int], None] | None = None
    """Told of what is done and how much there is; None in a container."""

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
        self._outputs: CaseOutputs | None = None
        self._kept: set[str] | None = None

    @abstractmethod
    def load(self) -> None:
        """Load the model from `model_path`; done once, before the first case."""

    @abstractmethod
    def predict(self) -> None:
        """Read the case by `input_for` and compute its results."""

    @abstractmethod
    def save(self) -> None:
        """Hand every output to `write_output`, `image_output` or `file_output`."""

    def process(self) -> None:
        """Load the model and run the case."""
        self.load()
        self.run()

    def run(self) -> None:
        """Run the case in `input_path`; either all outputs are written or none.

        What an earlier case left, on this object and at the places of its outputs, is removed
        first.
        """
        self._forget_case()
        declared = [socket for i in self.interfaces for socket in i.outputs]
        remove_outputs(self.output_path, declared)
        self.interface: Interface = select_interface(self.interfaces, self.input_path)
        outputs = self.interface.outputs
        likes = {s.slug: path for s in outputs if s.like and (path := self.input_for(s.like))}
        with CaseOutputs(self.output_path, outputs, likes) as self._outputs:
            self.process_cases()
            self.save()
            self._outputs.publish()

    def process_cases(self) -> None:
        """Compute the results of the case: a base class may call `predict` once an image."""
        self.predict()

    def input_for(self, slug: str) -> Path | None:
        """Path of an input of this case; None where the case's interface has no such input.

        Raises:
            ValueError: No interface has it.
        """
        known = {s.slug for interface in self.interfaces for s in interface.inputs}
        if slug not in known:
            raise ValueError(f"Expected one of the inputs {sorted(known)}, got {slug!r}")
        socket = self.interface.socket(slug)
        return self.input_path / socket.relative_path if socket else None

    def image_for(self, slug: str) -> Path | None:
        """The one file of an image input; None where the case's interface has no such input.

        Raises:
            InputError: There is none, or more than one.
        """
        folder = self.input_for(slug)
        return folder and only_image(folder)

    def write_output(self, slug: str, value: Any) -> None:
        """Check a JSON output against its schemas and keep it until all outputs are there.

        Raises:
            InputError: The value is not valid.
        """
        self._case_outputs().write_json(slug, value)

    def image_output(
        self, slug: str, geometry: ImageGeometry, *, dtype: DTypeLike = np.uint8
    ) -> MetaImageWriter:
        """A writer of an image output, slice by slice, as a context manager.

        Args:
            slug: The output.
            geometry: Of the input that the image belongs to: `open_stack(path).info.geometry`.
            dtype: Of the slices, (H, W) each; a Segmentation is uint8.

        Raises:
            InputError: The kind of output cannot have such pixels.
        """
        return self._case_outputs().image(slug, geometry, dtype)

    def file_output(self, slug: str) -> Path:
        """A path to write an output file to; it is moved to its place with all the others."""
        return self._case_outputs().file(slug)

    def report_progress(self, done: int, total: int) -> None:
        """Say how far the case is, to whoever wants to know."""
        if self.progress is not None:
            self.progress(done, total)

    def discard_outputs(self) -> None:
        """Remove what a case that is given up has written so far."""
        if self._outputs is not None:
            self._outputs.discard()

    @classmethod
    def main(cls, arguments: Sequence[str] | None = None) -> int:
        """Run one case, or serve cases, from the command line; returns the exit code."""
        options = _parser(inspect.getdoc(cls)).parse_args(arguments)
        started: list[Algorithm] = []

        def discard() -> None:
            for algorithm in started:
                algorithm.discard_outputs()

        def job() -> None:
            method = options.method or os.environ.get(METHOD_VARIABLE) or METHODS[0]
            if method not in METHODS:
                raise InputError(
                    f"Expected {METHOD_VARIABLE} to be {' or '.join(METHODS)}, got {method!r}."
                )
            paths = {f"{name}_path": getattr(options, name) for name in _FOLDERS}
            algorithm = cls(**paths)
            started.append(algorithm)
            if method == "invoke":
                serve(algorithm, port=options.port)
            else:
                algorithm.process()

        return run_program(job, on_kill=discard)

    def _case_outputs(self) -> CaseOutputs:
        if self._outputs is None:
            raise RuntimeError("Expected an output to be written by predict() or save(), in a run")
        return self._outputs

    def _forget_case(self) -> None:
        """Remove every attribute that is not the model's: a case never sees another's."""
        self._outputs = None
        if self._kept is None:
            self._kept = set(vars(self))
        for name in set(vars(self)) - self._kept:
            delattr(self, name)


_FOLDERS = {
    "input": Path("/input"),
    "output": Path("/output"),
    "model": Path("/opt/ml/model"),
}


def _parser(description: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--method",
        choices=METHODS,
        help="run one case, or serve cases over HTTP (default: the environment variable "
        f"{METHOD_VARIABLE}, else {METHODS[0]})",
    )
    for name, default in _FOLDERS.items():
        parser.add_argument(
            f"--{name}", type=Path, default=default, help=f"{name} folder (default: %(default)s)"
        )
    parser.add_argument(
        "--port", type=int, default=PORT, help="of the server (default: %(default)s)"
    )
    return parser
