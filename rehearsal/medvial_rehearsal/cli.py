"""Everything between an algorithm folder and its upload to Grand Challenge."""

import argparse
import importlib
import logging
import os
import sys
from collections.abc import Sequence

from medvial.errors import InputError
from medvial.program import INTERRUPTED, use_utf8
from medvial_rehearsal.command_line import Command, add_function, call

# Each is the function of its name in the module of its name, imported only when it is called.
COMMANDS = {
    "new": "start an algorithm folder from its inputs and outputs",
    "predict": "run a task on files of this machine",
    "serve": "answer for a task over HTTP, as on the platform",
    "rehearse": "run a task's image as the platform will",
    "check": "check an exported image and model before they are uploaded",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand.

    Args:
        arguments: Command line without the program's name; None takes the process's.

    Returns:
        Exit code: 0, 1 after one line that says what is wrong, 2 for a wrong command line.
    """
    use_utf8()
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(message)s", force=True)
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return call(_parser(words[:1]).parse_args(words))
    except BrokenPipeError:  # whoever read the output, as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED


def _parser(chosen: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="medvial", description=__doc__, epilog="medvial COMMAND --help explains a command."
    )
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=summary)
        if name in chosen:
            add_function(subparser, _command(name))
    return parser


def _command(name: str) -> Command:
    module = importlib.import_module(f"medvial_rehearsal.{name}")
    function: Command = getattr(module, name)
    return function


if __name__ == "__main__":
    raise SystemExit(main())
