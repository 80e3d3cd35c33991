"""One server and what it is asked in a rehearsal; the gates F look at the answers."""

import time
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from medvial.sockets import Interface
from medvial_rehearsal.container import broken_inputs as broken
from medvial_rehearsal.container import broken_videos as videos
from medvial_rehearsal.container.context import Rehearsal
from medvial_rehearsal.container.server import CREATED, Health, Reply, Server
from medvial_rehearsal.container.staging import copy_tree, is_image, stage_case
from medvial_rehearsal.gates import GateFailure, GateNotRun

ROUNDS = 2
_MIRRORED = {"mirrored in x": 0, "mirrored in y": 1}


@dataclass(frozen=True)
class StagedCase:
    """One of the different cases that a server is given one after the other."""

    name: str
    folder: Path
    interface: Interface


@dataclass(frozen=True)
class Answer:
    """What the server made of a case."""

    case: StagedCase
    reply: Reply
    output: Path
    memory: int | None
    """Bytes that the server held afterwards."""


@dataclass(frozen=True)
class First:
    """The first case, while the model folder was empty, and if that failed, with it."""

    without_model: Reply
    reply: Reply


class Serving:
    """A server from its start to its end; every question is asked once, when a gate needs it."""

    def __init__(self, context: Rehearsal) -> None:
        self.context = context
        self._stack = ExitStack()
        self._failure: GateFailure | None = None
        self._alone: dict[str, tuple[bool, Path]] = {}
        self.not_tried: list[str] = []
        """Which of the cases could not be made, and why."""

    def close(self) -> None:
        """Stop the server."""
        self._stack.close()

    @property
    def image(self) -> str:
        """The image to serve from.

        Raises:
            GateNotRun: There is none.
        """
        image, task = self.context.server_image, self.context.task
        if image is None:
            raise GateNotRun(f"no image medvial-{task}:invoke: ./build.sh {task} --invoke makes it")
        return image

    @cached_property
    def model(self) -> Path:
        """A copy of the model folder, for this server only."""
        target = self.context.work / "served-model"
        copy_tree(self.context.staged_model, target)
        return target

    @cached_property
    def server(self) -> Server:
        """The running server; its /input is empty, and leads to a new folder for every case."""
        image, folder = self.image, self.context.new_folder("server")
        server = Server(self.context, image, folder, linked=True, model=self.model)
        return self._stack.enter_context(server)

    @cached_property
    def health(self) -> Health:
        """How the server became ready.

        Raises:
            GateFailure: It did not.
        """
        if self._failure:
            raise self._failure
        try:
            return self.server.wait_until_healthy(self.context.health_limit_s)
        except GateFailure as failure:
            self._failure = failure
            raise

    def need_health(self) -> Server:
        """The server, ready for cases.

        Raises:
            GateNotRun: It is not.
        """
        try:
            self.health  # noqa: B018  # asks
        except GateFailure as failure:
            raise GateNotRun(f"the server is not ready, see F3: {failure.found}") from None
        return self.server

    @cached_property
    def cases(self) -> list[StagedCase]:
        """Three different cases if possible: the task's own, and its main one mirrored."""
        context = self.context
        given = [(case.name or "main case", case, None) for case in context.cases]
        made = [(name, context.case, axis) for name, axis in _MIRRORED.items()]
        result = []
        for name, case, axis in [*given, *made][: max(3, len(given))]:
            folder = context.new_folder(f"case {name}") / "case"
            interface = context.interface_of(case)
            stage_case(case.input, folder, interface)
            try:
                if axis is not None:
                    _mirror(folder, interface, axis)
            except broken.UnchangeableError as error:
                self.not_tried.append(f"{name} not tried ({error})")
                continue
            result.append(StagedCase(name, folder, interface))
        return result

    @cached_property
    def first(self) -> First:
        """The first case, with the model folder emptied after /health was 200."""
        server = self.need_health()
        away = self.context.work / "model-away"
        away.mkdir()
        _move(self.model, away)
        try:
            without = self.answer(self.cases[0]).reply
        finally:
            _move(away, self.model)
        reply = without
        if without.status != CREATED:
            server.place(self.cases[0].folder)
            reply = server.invoke()
        return First(without, reply)

    @cached_property
    def rounds(self) -> list[list[Answer]]:
        """The cases one after the other, twice."""
        self.first  # noqa: B018  # must come before
        return [[self.answer(case) for case in self.cases] for _ in range(ROUNDS)]

    def answer(self, case: StagedCase) -> Answer:
        """Give the server a case and take what it writes."""
        server = self.need_health()
        server.place(case.folder)
        reply = server.invoke()
        output = server.take_output(self.context.new_folder(f"served {case.name}") / "taken")
        return Answer(case, reply, output, server.memory())

    def alone(self, case: StagedCase) -> tuple[bool, Path]:
        """Whether a container of its own takes a case, and what it writes there."""
        if case.name not in self._alone:
            run = self.context.run(f"alone {case.name}", lambda t: copy_tree(case.folder, t))
            self._alone[case.name] = run.exit_code == 0, run.output
        return self._alone[case.name]

    def wait_for_listener(self) -> dict[int, str]:
        """Addresses that something listens at by port, once there is one or the time is up."""
        found: dict[int, str] = {}
        server = self.server
        while time.monotonic() - server.container.started < self.context.health_limit_s:
            found = server.listeners()
            if found:
                break
            server.check_running()
            time.sleep(0.2)
        return found


def _mirror(case: Path, interface: Interface, axis: int) -> None:
    changes = [(is_image, broken.mirrored(axis))]
    if axis == 0:
        changes.append((broken.is_video, videos.mirrored_video))
    broken.each(interface, *changes)(case)


def _move(source: Path, target: Path) -> None:
    for entry in source.iterdir():
        entry.rename(target / entry.name)
