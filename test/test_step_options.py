"""Options of the step scripts: command line, files of settings, and what step 1 wrote."""

import errno
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from medvial.outputs import write_json
from medvial_training import cli


@dataclass(frozen=True)
class Model:
    """A model."""

    size: int = 1
    """Its size."""

    depth: int = 1
    """Its depth."""


@pytest.fixture
def step(tmp_path, monkeypatch):
    """Runs a step on data that were prepared for size 5; gives what it was called with."""
    called = {}

    def train(data: Path = Path("data"), model: Model = Model(), resume: bool = False) -> None:
        called.update(data=data, model=model, resume=resume)

    def run(*arguments):
        assert cli.run_step("train", None, list(arguments)) == 0
        return called

    monkeypatch.setattr(cli, "_function", lambda *_: train)
    monkeypatch.chdir(tmp_path)
    write_json(tmp_path / "prepared" / "config.json", {"size": 5})
    (tmp_path / "own.yaml").write_text("data: prepared\nmodel:\n  depth: 3\n")
    return run


@pytest.mark.parametrize(
    ("arguments", "size", "depth"),
    [
        ([], 1, 1),
        (["--data", "prepared"], 5, 1),
        (["--data=prepared", "--model.size", "7"], 7, 1),
        (["--config", "own.yaml"], 5, 3),
        (["--config=own.yaml", "--resume"], 5, 3),
        (["--config", "own.yaml", "--data", "elsewhere"], 1, 3),
        (["--data", "elsewhere", "--config", "own.yaml"], 5, 3),
    ],
)
def test_the_model_starts_from_what_step_1_wrote(step, arguments, size, depth):
    assert step(*arguments)["model"] == Model(size, depth)


@pytest.mark.parametrize("asking", ["--help", "--print_config"])
def test_help_shows_what_step_1_wrote(step, capsys, asking):
    with pytest.raises(SystemExit):
        step("--config", "own.yaml", asking)
    shown = capsys.readouterr().out
    assert "size: 5" in shown or "default: 5" in shown


def test_what_a_disk_refuses_is_one_line_and_other_errors_are_not_hidden(tmp_path, capsys):
    (tmp_path / "file").write_text("")

    def write() -> None:
        """Write below a file."""
        (tmp_path / "file" / "folder").mkdir()

    def fill() -> None:
        """Write to a full disk."""
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def read() -> None:
        """Read what a program should have made itself."""
        (tmp_path / "none").read_text()

    assert cli.run_command(write, []) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: Expected files that can be read and written, got: Not a dir")
    assert error.endswith(
        f"at {tmp_path}/file/folder. Check the permissions and the free space there.\n"
    )
    assert cli.run_command(fill, []) == 1
    assert "got: No space left on device. Check" in capsys.readouterr().err
    with pytest.raises(FileNotFoundError):
        cli.run_command(read, [])
