"""The words of a gate."""

import io

import pytest
from rich.console import Console

from medvial.errors import InputError
from medvial_rehearsal.gates import (
    GateFailure,
    GateNotRun,
    GateWarning,
    Outcome,
    Status,
    exit_code,
    gate,
    show,
)


@gate("X1", "a number above 3")
def above_three(value):
    """Documented."""
    if value == 13:
        raise GateWarning("got 13", "Take 12.")
    if value == 0:
        raise GateNotRun("no number")
    if value == -1:
        raise InputError("Expected a number, got -1.")
    if value <= 3:
        raise GateFailure(f"got {value}", "Add 4.")
    return f"got {value}" if value != 5 else None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (4, (Status.PASSED, "got 4", "")),
        (5, (Status.PASSED, "", "")),
        (13, (Status.WARNING, "got 13", "Take 12.")),
        (0, (Status.NOT_RUN, "no number", "")),
        (2, (Status.FAILED, "got 2", "Add 4.")),
        (-1, (Status.FAILED, "Expected a number, got -1.", "")),
    ],
)
def test_a_gate_returns_its_outcome(value, expected):
    assert above_three(value) == Outcome("X1", "a number above 3", *expected)


def test_a_gate_keeps_its_name_and_lets_bugs_through():
    assert (above_three.__name__, above_three.__doc__) == ("above_three", "Documented.")
    with pytest.raises(TypeError):
        above_three("x")


@pytest.mark.parametrize(
    ("status", "required", "expected"),
    [
        (Status.PASSED, True, 0),
        (Status.WARNING, True, 0),
        (Status.FAILED, True, 1),
        (Status.FAILED, False, 1),
        (Status.NOT_RUN, True, 1),
        (Status.NOT_RUN, False, 0),
    ],
)
def test_the_exit_code(status, required, expected):
    good = Outcome("A", "a", Status.PASSED)
    assert exit_code([good, Outcome("B", "b", status, required=required), good]) == expected


def test_a_gate_that_is_not_required_says_so():
    @gate("Y", "a luxury", required=False)
    def luxury(context):
        raise GateNotRun("no money")

    assert not luxury(None).required


def test_the_table_has_one_line_a_gate_and_the_mend_below(capsys):
    long = "found " + "many words " * 20
    show([above_three(4), above_three(2), above_three(0), Outcome("X2", "x", Status.FAILED, long)])
    text = capsys.readouterr().out
    lines = [line.rstrip() for line in text.splitlines()]
    assert lines[:3] == [
        "X1  passed   a number above 3: got 4",
        "X1  failed   a number above 3",
        "               got 2",
    ]
    assert lines[3:6] == [
        "               Add 4.",
        "X1  not run  a number above 3",
        " " * 15 + "no number",
    ]
    assert max(map(len, lines)) <= 100
    assert "\x1b" not in text


def test_a_finding_in_brackets_is_printed_as_it_is():
    console = Console(file=io.StringIO(), width=60)
    show([Outcome("X1", "x", Status.FAILED, "got ['a'] [/red]", "[b]mend[/b]")], console)
    assert "got ['a'] [/red]" in console.file.getvalue()
    assert "[b]mend[/b]" in console.file.getvalue()
