"""Options of the step scripts: command line, files of settings, and what step 1 wrote."""

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
