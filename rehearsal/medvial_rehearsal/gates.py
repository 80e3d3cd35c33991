"""The words of a gate: one thing that is looked at before an upload, and what came of it.

A gate is a function of a context (an archive that was read, a run that was made) which returns what
it found, or raises one of the exceptions below:

    @gate("A4", "for linux on amd64")
    def platform(image: Image) -> str:
        if image.architecture != "amd64":
            raise GateFailure(f"architecture {image.architecture}", "Build with --platform ...")
        return "linux/amd64"

    outcome = platform(image)   # never raises any of them
"""

import functools
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from rich.console import Console
from rich.table import Table
from rich.text import Text

from medvial.errors import InputError

ContextT = TypeVar("ContextT")


class Status(StrEnum):
    """What came of a gate."""

    PASSED = "passed"
    WARNING = "warning"
    FAILED = "failed"
    NOT_RUN = "not run"


@dataclass(frozen=True)
class Outcome:
    """One gate's result."""

    gate: str
    """The gate's short name, as in "A3"."""
    title: str
    status: Status
    found: str = ""
    """What was found; why the gate failed; why it did not run."""
    mend: str = ""
    """What to do about a failure or a warning."""
    required: bool = True
    """A required gate that did not run makes the whole fail."""


class _GateError(Exception):
    def __init__(self, found: str, mend: str = "") -> None:
        super().__init__(f"{found} {mend}".strip())
        self.found = found
        self.mend = mend


class GateFailure(_GateError):  # noqa: N818 - a verdict, not an error
    """The platform would refuse this, or it would fail there."""

    def __init__(self, found: str, mend: str) -> None:
        super().__init__(found, mend)


class GateWarning(_GateError):  # noqa: N818 - a verdict, not an error
    """It would work, but should be looked at."""

    def __init__(self, found: str, mend: str) -> None:
        super().__init__(found, mend)


class GateNotRun(_GateError):  # noqa: N818 - a verdict, not an error
    """The gate cannot be tried here."""

    def __init__(self, why: str) -> None:
        super().__init__(why)


_STATUS_OF: dict[type[_GateError], Status] = {
    GateFailure: Status.FAILED,
    GateWarning: Status.WARNING,
    GateNotRun: Status.NOT_RUN,
}
_STYLES = {
    Status.PASSED: "green",
    Status.WARNING: "yellow",
    Status.FAILED: "bold red",
    Status.NOT_RUN: "yellow",
}
_WIDTH = 100  # characters; where the output is no terminal, which has no width


def gate(
    name: str, title: str, *, required: bool = True
) -> Callable[[Callable[[ContextT], str | None]], Callable[[ContextT], Outcome]]:
    """Make a gate of a function that returns what it found, or raises.

    Args:
        name: Short name, as in "A3".
        title: What is looked at, in a few words.
        required: Whether the whole fails when this gate cannot run.

    Returns:
        A decorator. The decorated function returns an Outcome: passed with what the function
        returned; failed, warning or not run where it raised GateFailure, GateWarning or
        GateNotRun; failed with the message of an InputError. Other exceptions are bugs and pass.
    """

    def decorate(function: Callable[[ContextT], str | None]) -> Callable[[ContextT], Outcome]:
        @functools.wraps(function)
        def run(context: ContextT) -> Outcome:
            try:
                found = function(context) or ""
            except _GateError as stop:
                status = _STATUS_OF[type(stop)]
                return Outcome(name, title, status, stop.found, stop.mend, required)
            except InputError as error:
                return Outcome(name, title, Status.FAILED, str(error), "", required)
            return Outcome(name, title, Status.PASSED, found, "", required)

        return run

    return decorate


def show(outcomes: Iterable[Outcome], console: Console | None = None) -> None:
    """Print one line a gate, with reason and mend below the ones that need attention.

    Readable without a terminal: no colour there, and lines of at most 100 characters.
    """
    console = console or standard_console()
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for outcome in outcomes:
        status = Text(outcome.status.value, style=_STYLES[outcome.status])
        table.add_row(outcome.gate, status, _story(outcome))
    console.print(table)


def exit_code(outcomes: Iterable[Outcome]) -> int:
    """0 if no gate failed and every required one ran, else 1."""
    return int(any(_is_short_of_passed(outcome) for outcome in outcomes))


def _is_short_of_passed(outcome: Outcome) -> bool:
    left_out = outcome.status is Status.NOT_RUN and outcome.required
    return outcome.status is Status.FAILED or left_out


def _story(outcome: Outcome) -> Text:
    """Title and finding on one line if the gate passed, else the finding and the mend below."""
    # Text, not markup: a finding may hold brackets.
    if outcome.status is Status.PASSED:
        text = f"{outcome.title}: {outcome.found}" if outcome.found else outcome.title
        return Text(printable(text))
    lines = [
        outcome.title,
        *(textwrap.indent(text, "  ") for text in (outcome.found, outcome.mend) if text),
    ]
    return Text("\n".join(map(printable, lines)))


def printable(text: str) -> str:
    """A text with control characters, but for line feeds, as escapes: file names may hold any."""
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


def standard_console() -> Console:
    """Standard output; 100 characters wide where that is no terminal."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_WIDTH)
