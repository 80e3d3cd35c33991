"""One rehearsal: the image, the case, the model, and the runs that the gates look at."""

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from medvial.compare import MODEL_KEY, Tolerances, read_tolerances
from medvial.errors import InputError
from medvial.outputs import read_json
from medvial.sockets import Interface, load_interfaces, select_interface
from medvial_rehearsal.container.engine import Container, Limits, image_config, in_image
from medvial_rehearsal.container.memory import Memory
from medvial_rehearsal.container.staging import (
    Generation,
    copy_tree,
    fingerprint,
    stage_case,
)
from medvial_rehearsal.project import Case, tolerances

LABEL = "org.grand-challenge.api-method"
HEALTH_LIMIT_S = 300.0
"""The platform's for the start of a server: sagemaker-shim, START_AND_HEALTH_TIMEOUT_SECONDS."""


@dataclass(frozen=True)
class Run:
    """One case in one container, from its start to its end."""

    name: str
    folder: Path
    """input/, output/, stdout.txt, stderr.txt."""
    exit_code: int
    """The program's; of a server 0 if it answered 201 to the case, else the HTTP status."""
    seconds: float
    """From `docker create` to the end."""
    timed_out: bool = False
    out_of_memory: bool = False
    inputs_changed: tuple[str, ...] = ()
    memory: Memory = field(default_factory=lambda: Memory(0))

    @property
    def output(self) -> Path:
        """The output folder."""
        return self.folder / "output"

    @property
    def stdout(self) -> bytes:
        """What it wrote to standard output."""
        return (self.folder / "stdout.txt").read_bytes()

    @property
    def stderr(self) -> bytes:
        """What it wrote to standard error."""
        return (self.folder / "stderr.txt").read_bytes()

    @property
    def last_error_line(self) -> str:
        """The last line of standard error that is not empty: what the platform's user sees."""
        lines = self.stderr.decode("utf-8", "replace").splitlines()
        return next((line for line in reversed(lines) if line.strip()), "")


@dataclass
class Rehearsal:
    """What the gates are given. Runs are made when a gate first asks for them, and kept."""

    task: str
    image: str
    """Of the single cases."""
    server_image: str | None
    """For the `invoke` method; None if there is none to try."""
    algorithm: Path
    """Algorithm folder with sockets.json."""
    cases: tuple[Case, ...]
    """The main case first."""
    model: Path
    work: Path
    """Folder for all that the rehearsal writes."""
    limits: Limits = field(default_factory=Limits)
    time_limit_s: float = 600.0
    health_limit_s: float = HEALTH_LIMIT_S
    runs: list[Run] = field(default_factory=list)

    @cached_property
    def interfaces(self) -> tuple[Interface, ...]:
        """All sets of inputs and outputs of the algorithm."""
        return load_interfaces(self.algorithm / "sockets.json")

    @cached_property
    def interface(self) -> Interface:
        """The one of the main case."""
        return select_interface(self.interfaces, self.case.input)

    @property
    def case(self) -> Case:
        """The main case."""
        return self.cases[0]

    def interface_of(self, case: Case) -> Interface:
        """The one of some case."""
        return select_interface(self.interfaces, case.input)

    @cached_property
    def tolerances(self) -> dict[str, Tolerances]:
        """By the relative path of the output; of an image, that of the expected file."""
        path = tolerances(self.algorithm, self.case)
        outputs = {socket.relative_path: None for socket in self.interface.outputs}
        names = {**outputs, **self.expected(self.case)}
        return read_tolerances(path, names)

    def expected(self, case: Case) -> dict[str, object]:
        """A case's expected outputs by path, and under MODEL_KEY the model's digest.

        Raises:
            InputError: There is no expected_output.json, or it is empty.
        """
        path = case.expected_output
        if not path.is_file():
            raise InputError(f"Expected {path}, found none: run step 4.")
        values = read_json(path)
        if not isinstance(values, dict) or not set(values) - {MODEL_KEY}:
            raise InputError(f"Expected the outputs by their paths in {path}: run step 4.")
        return values

    @cached_property
    def method(self) -> str:
        """How the image is run: `exec` or `invoke`, by its label."""
        return api_label(self.image) or "exec"

    @cached_property
    def staged_model(self) -> Path:
        """The model folder as the image's user may read it."""
        target = self.work / "model"
        copy_tree(self.model, target)
        return target

    @cached_property
    def reference(self) -> Run:
        """The main case under all limits at once."""
        return self.run_case("reference")

    @cached_property
    def again(self) -> Run:
        """The main case once more, with the same inputs."""
        source = self.reference.folder / "input"
        return self.run("again", lambda target: copy_tree(source, target))

    def run_case(
        self,
        name: str,
        case: Case | None = None,
        *,
        generation: Generation = Generation.BOTH,
        change: Callable[[Path], None] | None = None,
        limits: Limits | None = None,
        model: Path | None = None,
        output: Sequence[str] = (),
    ) -> Run:
        """Run a case as the platform lays it out, changed by `change` afterwards."""
        case = case or self.case

        def stage(target: Path) -> None:
            interface = self.interface_of(case)
            stage_case(case.input, target, interface, generation)
            if change:
                change(target)

        return self.run(name, stage, limits=limits, model=model, output=output)

    def run(
        self,
        name: str,
        stage: Callable[[Path], None],
        *,
        limits: Limits | None = None,
        model: Path | None = None,
        output: Sequence[str] = (),
    ) -> Run:
        """Run one case in a container of its own; `stage` fills the input folder."""
        folder = self.new_folder(name)
        stage(folder / "input")
        before = fingerprint(folder / "input")
        if self.method == "invoke":
            from medvial_rehearsal.container.single import serve_one

            run = serve_one(self, name, folder, limits, model, output)
        else:
            run = self._execute(name, folder, limits or self.limits, model, output)
        after = fingerprint(folder / "input")
        changed = sorted(k for k in {*before, *after} if before.get(k) != after.get(k))
        self.open_up(folder / "output")
        run = replace(run, inputs_changed=tuple(changed))
        self.runs.append(run)
        return run

    def mounts(
        self,
        folder: Path,
        model: Path | None = None,
        *,
        with_input: bool = True,
        output: Sequence[str] = (),
    ) -> list[str]:
        """A run's volumes as arguments of `docker create`; `output` replaces that of /output."""
        model = model or self.staged_model
        result = list(output) or ["--volume", f"{folder / 'output'}:/output"]
        result += ["--volume", f"{model}:/opt/ml/model:ro"]
        return result + (["--volume", f"{folder / 'input'}:/input:ro"] if with_input else [])

    def _execute(
        self, name: str, folder: Path, limits: Limits, model: Path | None, output: Sequence[str]
    ) -> Run:
        arguments = [*limits.arguments(), *self.mounts(folder, model, output=output)]
        with Container(self.image, arguments, logs=folder) as container:
            container.start()
            seconds = container.wait(self.time_limit_s)
            timed_out = seconds is None
            if seconds is None:
                container.kill()
                seconds = container.wait(30) or time.monotonic() - container.started
            state = container.state()
            if state["Error"]:
                raise InputError(f"Docker could not start {self.image}: {state['Error']}")
            return Run(
                name,
                folder,
                state["ExitCode"],
                seconds,
                timed_out,
                state["OOMKilled"],
                memory=container.memory,
            )

    def new_folder(self, name: str) -> Path:
        """A new folder for a run, with an output folder that the image's user may write."""
        folder = self.work / f"{len(list(self.work.iterdir())):02d}-{name.replace(' ', '-')}"
        (folder / "output").mkdir(parents=True)
        folder.chmod(0o755)
        (folder / "output").chmod(0o777)
        return folder

    def open_up(self, folder: Path) -> None:
        """Let us read and remove what the image's user wrote."""
        try:
            for path in folder.rglob("*"):
                if path.is_dir():
                    list(path.iterdir())
                elif path.is_file():
                    path.open("rb").close()
        except PermissionError:
            in_image(self.image, folder, "chmod", "-R", "a+rwX", "/work")

    def remove_work(self) -> None:
        """Remove all that the rehearsal wrote: folders of the image's user are not always ours."""
        try:
            shutil.rmtree(self.work)
        except PermissionError:
            in_image(self.image, self.work, "chmod", "-R", "a+rwX", "/work")
            shutil.rmtree(self.work)


def api_label(image: str) -> str:
    """The label of an image that says how it is run; empty if it has none.

    Raises:
        InputError: There is no such image.
    """
    config = image_config(image)
    if config is None:
        raise InputError(f"Expected the image {image}, found none: run build.sh first.")
    return str((config["Config"].get("Labels") or {}).get(LABEL, ""))
