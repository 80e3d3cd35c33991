"""The gates G1 to G5, and D5 and D6, which need what the client stored."""

import socket as sockets
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from medvial.sockets import Interface, load_interfaces, select_interface
from medvial_rehearsal.archive.pack import pack_model
from medvial_rehearsal.client.forge import ForgeCase, run_forge
from medvial_rehearsal.client.image import run_image_session
from medvial_rehearsal.client.panimg import ImportedImage, panimg_check
from medvial_rehearsal.client.session import (
    CaseFiles,
    JobLimits,
    Session,
    host_start,
    run_session,
)
from medvial_rehearsal.client.verify import compare_case, verify_session
from medvial_rehearsal.container.staging import Generation, stage_case
from medvial_rehearsal.gates import GateFailure, GateNotRun, Outcome, gate
from medvial_rehearsal.project import Case, cases

SEGMENTATION = "Segmentation"
PROCESS_ARGUMENTS = ("--input={input}", "--output={output}", "--model={model}")
TOO_SHORT_S = 0.05
"""No algorithm is done by then: Python alone takes longer to start on most machines."""


@dataclass
class ClientRehearsal:
    """An algorithm, its images and a place to work; every session runs once."""

    algorithm: Path
    """Its folder."""
    model: Path
    """Its model folder."""
    images: Mapping[str, str]
    """The image of each method, `exec` and `invoke`; none for a method that is left out."""
    work: Path
    command: Sequence[str] = ()
    """The program; default .venv's Python with the algorithm's process.py."""
    limits: JobLimits = field(default_factory=JobLimits)
    test_cases: Sequence[Case] = ()
    """Which to run; default all that the algorithm has, the main one first."""
    _sessions: dict[str, Session] = field(default_factory=dict)
    _imported: dict[Path, ImportedImage] = field(default_factory=dict)

    @cached_property
    def cases(self) -> list[Case]:
        """The cases to run."""
        return list(self.test_cases) or cases(self.algorithm)

    @cached_property
    def interfaces(self) -> list[Interface]:
        """The interface of each case."""
        known = load_interfaces(self.algorithm / "sockets.json")
        return [select_interface(known, case.folder / "input") for case in self.cases]

    @cached_property
    def archive(self) -> Path:
        """model.tar.gz, as ./export.sh makes it for the upload."""
        target = self.work / "model.tar.gz"
        pack_model(self.model, target)
        return target

    def image(self, method: str) -> str:
        """The image of a method.

        Raises:
            GateNotRun: There is none to try.
        """
        if method not in self.images:
            option = " --invoke" if method == "invoke" else ""
            raise GateNotRun(f"there is no image for {method}: ./build.sh TASK{option} makes it")
        return self.images[method]

    def imported(self, folder: Path) -> ImportedImage:
        """What panimg makes of an image output."""
        if folder not in self._imported:
            self._imported[folder] = panimg_check(folder)
        return self._imported[folder]

    def staged(self, index: int, generation: Generation = Generation.BOTH) -> Path:
        """A case laid out as the platform does."""
        target = self.work / "cases" / f"{index}-{generation.name.lower()}"
        if not target.exists():
            source = self.cases[index].folder / "input"
            stage_case(source, target, self.interfaces[index], generation)
        return target

    def files(self, generation: Generation = Generation.BOTH) -> list[CaseFiles]:
        """Every case as the files that the platform puts into S3."""
        return [
            _files(case.name, self.staged(index, generation))
            for index, case in enumerate(self.cases)
        ]

    def host(self, method: str) -> Session:
        """All cases with the client as a process of this host."""
        if method not in self._sessions:
            self._sessions[method] = self.host_session(f"host-{method}", method, self.files())
        return self._sessions[method]

    def host_session(
        self, name: str, method: str, files: Sequence[CaseFiles], limits: JobLimits | None = None
    ) -> Session:
        """Cases with the client as a process of this host."""
        command = self.command or [sys.executable, str(self.algorithm / "process.py")]
        arguments = [*PROCESS_ARGUMENTS, f"--method={method}", "--port={port}"]
        # Unix domain names of folders are short: the client works below the system's own.
        with tempfile.TemporaryDirectory(prefix="medvial-client-") as place:
            start = host_start(command, arguments, work=Path(place), port=_free_port())
            return run_session(
                start,
                method,
                files,
                model=self.archive,
                work=self.work / name,
                limits=limits or self.limits,
            )

    def compare(self, session: Session) -> str:
        """Compare every case of a session with its expected outputs; what was found in words."""
        main = self.algorithm / "test"
        found = ""
        for case, result in zip(self.cases, session.cases, strict=True):
            found = compare_case(result.folder, case.folder, main)
        count = len(session.cases)
        return f"{count} case{'s' if count != 1 else ''} signed and as expected; {found}"


def run_gates(context: ClientRehearsal) -> list[Outcome]:
    """Every gate that needs the platform's client."""
    return [g(context) for g in (*HOST_GATES, *IMAGE_GATES)]


def _judged(context: ClientRehearsal, session: Session) -> str:
    verify_session(session, context.interfaces)
    return context.compare(session)


@gate("G1 exec", "the platform's client runs process.py as a command")
def host_exec(context: ClientRehearsal) -> str:
    """Recipe A, exec."""
    return _judged(context, context.host("exec"))


@gate("G1 invoke", "the platform's client runs process.py as a server")
def host_invoke(context: ClientRehearsal) -> str:
    """Recipe A, invoke."""
    return _judged(context, context.host("invoke"))


@gate("G3", "the platform's client stops what takes too long")
def time_limit(context: ClientRehearsal) -> str:
    """A time limit that no algorithm meets."""
    limits = replace(context.limits, time_limit_s=TOO_SHORT_S)
    session = context.host_session("time-limit", "exec", context.files()[:1], limits)
    (case,) = session.cases
    message = case.result and case.result["user_safe_error_message"]
    if message != "Time limit exceeded" or case.stored:
        raise GateFailure(
            f"expected 'Time limit exceeded' and no outputs after {TOO_SHORT_S} s, got "
            f"{message!r} and {list(case.stored)}",
            "End at SIGTERM, and write outputs only when all are there.",
        )
    return f"{message!r}, no outputs"


@gate("G5", "inputs.json of all three generations")
def generations(context: ClientRehearsal) -> str:
    """The main case, with inputs.json as forge, the platform and the starter kit write it."""
    wanted = (Generation.INTERFACE, Generation.BOTH, Generation.SOCKET)
    files = [_files(g.value, context.staged(0, g)) for g in wanted]
    session = context.host_session("generations", "exec", files)
    verify_session(session, [context.interfaces[0]] * len(files))
    main = context.cases[0].folder
    for case in session.cases:
        compare_case(case.folder, main, main)
    return ", ".join(g.value for g in wanted)


@gate("D5", "panimg imports one image of each image output")
def one_image(context: ClientRehearsal) -> str:
    """The platform's importer on what the client stored."""
    count = 0
    for result, interface in zip(context.host("exec").cases, context.interfaces, strict=True):
        for socket in interface.outputs:
            if socket.kind_info.is_image:
                context.imported(result.folder / socket.relative_path)
                count += 1
    return f"{count} imported" if count else "no image outputs"


@gate("D6", "panimg lists the segments of each segmentation")
def segments(context: ClientRehearsal) -> str:
    """A job whose segments cannot be listed fails there."""
    found = []
    for result, interface in zip(context.host("exec").cases, context.interfaces, strict=True):
        for socket in interface.outputs:
            if socket.kind != SEGMENTATION:
                continue
            image = context.imported(result.folder / socket.relative_path)
            if image.segments is None:
                raise GateFailure(
                    f"{socket.slug}: Image segments could not be determined",
                    "Write unsigned 8 bit voxels, at most 64 values without a gap.",
                )
            undeclared = set(image.segments) - {0, *(socket.segments or image.segments)}
            if undeclared:
                raise GateFailure(
                    f"{socket.slug} has the undeclared segments {sorted(undeclared)}",
                    "Declare them in sockets.json, as the socket on the platform does.",
                )
            found.append(f"{socket.slug} {list(image.segments)}")
    return "; ".join(found) or "no segmentations"


@gate("G2 exec", "the platform's client inside the image, no network, as a command", required=False)
def image_exec(context: ClientRehearsal) -> str:
    """Recipes B and C, exec."""
    return _in_image(context, "exec")


@gate("G2 invoke", "the platform's client inside the image, no network, a server", required=False)
def image_invoke(context: ClientRehearsal) -> str:
    """Recipes B and C, invoke."""
    return _in_image(context, "invoke")


@gate("G4", "the challenge kit's own test script, twice, and its readers", required=False)
def kit(context: ClientRehearsal) -> str:
    """grand-challenge-forge on the exec image, one case for each interface that has one."""
    chosen: dict[frozenset[str], ForgeCase] = {}  # by the inputs, which tell interfaces apart
    for index, interface in enumerate(context.interfaces):
        inputs = frozenset(socket.slug for socket in interface.inputs)
        chosen.setdefault(inputs, ForgeCase(interface, context.staged(index)))
    return run_forge(
        context.image("exec"),
        list(chosen.values()),
        model=context.model,
        work=context.work / "forge",
        time_limit_s=context.limits.time_limit_s,
    )


HOST_GATES = (host_exec, host_invoke, time_limit, generations, one_image, segments)
IMAGE_GATES = (image_exec, image_invoke, kit)


def _in_image(context: ClientRehearsal, method: str) -> str:
    session = run_image_session(
        context.image(method),
        method,
        context.files(),
        model=context.archive,
        work=context.work / f"image-{method}",
        limits=context.limits,
    )
    return _judged(context, session)


def _files(name: str, folder: Path) -> CaseFiles:
    paths = sorted(p for p in folder.rglob("*") if p.is_file())
    return CaseFiles(name, {p.relative_to(folder).as_posix(): p for p in paths})


def _free_port() -> int:
    with closing(sockets.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
