"""Command lines made of functions: the step scripts, and the programs of a task."""

import importlib
import logging
import os
import sys
import warnings
from argparse import RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from errno import EACCES, EDQUOT, EISDIR, ENAMETOOLONG, ENOSPC, ENOTDIR, EPERM, EROFS
from pathlib import Path
from typing import Any

from jsonargparse import (
    ArgumentParser,
    DefaultHelpFormatter,
    Namespace,
    auto_cli,
    set_parsing_settings,
)

from medvial.errors import InputError
from medvial.outputs import read_json
from medvial_training.tasks import TASKS

log = logging.getLogger(__name__)

INTERRUPTED = 130  # a shell's exit code for Ctrl-C
PLACE = (EACCES, EPERM, EROFS, ENOSPC, EDQUOT, EISDIR, ENOTDIR, ENAMETOOLONG)  # no bug: the disk's
VERBS = ("prepare", "train", "evaluate", "export")  # of steps 1 to 4
CONFIG_HELP = "YAML or JSON file with options, or the name of one in training/configs/TASK."
ASKING = ("-h", "--help", "--print_config")  # options that end the program when they are parsed
CONFIGS = Path(__file__).parents[1] / "configs"


def run_step(verb: str, description: str | None, arguments: Sequence[str] | None = None) -> int:
    """Run one step of a task: `[task] [options]`, the first task by default.

    Args:
        verb: prepare, train, evaluate or export.
        description: The script's docstring, shown by --help.
        arguments: Command line without the program's name; None takes the process's.

    Returns:
        Exit code: 0, or 1 after one line that says what is wrong.
    """
    task, rest = _task_of(sys.argv[1:] if arguments is None else list(arguments))

    def step() -> None:
        function = _function(task, verb)
        rest[:] = _named_configs(rest, task, verb)
        _quiet_libraries()
        parser = _parser(function, task, description)
        given = _with_values(rest, parser)
        _defaults_of_data(parser, given)
        options = parser.instantiate_classes(parser.parse_args(given))
        options.pop("config", None)
        function(**options)

    return _report(step)


def run_command(
    function: Callable[..., Any],
    arguments: list[str] | None = None,
    *,
    as_positional: bool = True,
) -> int:
    """Run one function as a program, its parameters as the command line.

    Args:
        function: What the program does.
        arguments: Command line without the program's name; None takes the process's.
        as_positional: Take parameters without a default by position, not by name.

    Returns:
        Exit code: 0, or 1 after one line that says what is wrong.
    """

    def job() -> None:
        _quiet_libraries()
        auto_cli(function, args=arguments, as_positional=as_positional)

    return _report(job)


def _report(job: Callable[[], Any]) -> int:
    """Run a job; a user's mistake becomes one line on standard error."""
    level = logging.WARNING if _is_helper() else logging.INFO
    logging.basicConfig(level=level, format="%(message)s", stream=sys.stdout, force=True)
    try:
        job()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        if error.errno not in PLACE:
            raise
        place = f" at {error.filename}" if error.filename else ""
        print(
            f"error: Expected files that can be read and written, got: {error.strerror}{place}. "
            "Check the permissions and the free space there.",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt as stop:
        print(": ".join(["interrupted", *map(str, stop.args)]), file=sys.stderr)
        return INTERRUPTED
    return 0


def _is_helper() -> bool:
    """Whether torchrun, SLURM or Lightning started this process beside the one that reports."""
    return any(int(os.environ.get(name, 0)) for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))


def _task_of(arguments: list[str]) -> tuple[str, list[str]]:
    if arguments and not arguments[0].startswith("-"):
        task, rest = arguments[0], arguments[1:]
        if task not in TASKS:
            print(f"error: expected a task of {', '.join(TASKS)}, got {task}.", file=sys.stderr)
            raise SystemExit(1)
        return task, rest
    return TASKS[0], arguments


def _function(task: str, verb: str) -> Callable[..., Any]:
    module = importlib.import_module(f"medvial_training.tasks.{task}.{verb}")
    function: Callable[..., Any] = getattr(module, verb)
    return function


def _parser(function: Callable[..., Any], task: str, description: str | None) -> ArgumentParser:
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    parser = ArgumentParser(
        prog=f"{Path(sys.argv[0]).name} {task}",
        description=description,
        formatter_class=_Formatter,
        default_env=False,
    )
    parser.add_argument("--config", action="config", help=CONFIG_HELP)
    parser.add_function_arguments(function)
    return parser


def _named_configs(arguments: list[str], task: str, verb: str) -> list[str]:
    """Let `--config NAME` stand for a file of training/configs/TASK: NAME-stepN.yaml or NAME.yaml.

    A value that is a file, or has the suffix of one, stays what it is.

    Raises:
        InputError: No settings of this name are there; says which are.
    """
    result = list(arguments)
    for position, argument in enumerate(arguments):
        if argument.startswith("--config="):
            name = argument.removeprefix("--config=")
            result[position] = f"--config={_config_file(name, task, verb)}"
        elif position and arguments[position - 1] == "--config":
            result[position] = _config_file(argument, task, verb)
    return result


def _config_file(name: str, task: str, verb: str) -> str:
    if Path(name).is_file() or Path(name).suffix in (".yaml", ".yml", ".json"):
        return name
    folder = CONFIGS / task
    for file in (folder / f"{name}-step{VERBS.index(verb) + 1}.yaml", folder / f"{name}.yaml"):
        if file.is_file():
            return str(file)
    known = ", ".join(sorted(file.stem for file in folder.glob("*.yaml"))) or "none"
    raise InputError(f"Expected a file, or one of {known}, for --config, got {name}.")


class _Formatter(DefaultHelpFormatter, RawDescriptionHelpFormatter):
    """Help that keeps the lines of the script's docstring."""


def _with_values(arguments: list[str], parser: ArgumentParser) -> list[str]:
    """Let a switch stand alone: `--resume` for `--resume true`."""
    switches = {
        option
        for action in parser._actions
        if "bool" in str(getattr(action, "_typehint", ""))
        for option in action.option_strings
    }
    result: list[str] = []
    for argument, following in zip(arguments, [*arguments, "--"][1:], strict=True):
        result.append(argument)
        if argument in switches and following.startswith("--"):
            result.append("true")
    return result


def _defaults_of_data(parser: ArgumentParser, arguments: list[str]) -> None:
    """Start the model's options from what step 1 wrote, so that every number is set in one place.

    `--model.*` from config.json; where a task has several systems, `--SYSTEM.*` from
    SYSTEM/config.json. Where that lies, the command line says, or a file that it names.
    """
    defaults = parser.get_defaults()
    if "data" not in defaults:
        return
    data = Path(parser.parse_args([a for a in arguments if not a.startswith(ASKING)])["data"])
    for name, values in vars(defaults).items():
        path = data / ("." if name == "model" else name) / "config.json"
        if isinstance(values, Namespace) and path.is_file():
            noted = read_json(path)
            known = {key: noted[key] for key in vars(values) if key in noted}
            parser.set_defaults({f"{name}.{key}": value for key, value in known.items()})


def _quiet_libraries() -> None:
    """Silence notes that a user can do nothing about; once imported: they set their own levels."""
    for name in ("lightning.pytorch", "lightning.fabric", "mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
