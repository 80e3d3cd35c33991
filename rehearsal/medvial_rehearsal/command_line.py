"""Subcommands made of functions: their parameters are the command line, their docstrings the help.

A parameter that can be given by position is a positional argument, a keyword-only one is an option;
a list takes several values, or its option several times; a bool is a switch. A description that
begins with `SLUG=FILE: ` names the form of the value.
"""

import argparse
import inspect
import re
import typing
from collections.abc import Callable
from pathlib import Path
from types import NoneType
from typing import Any, Literal

import docstring_parser

Command = Callable[..., Any]

_FORM = re.compile(r"([A-Z]+[:=][A-Z]+): +")


def add_function(parser: argparse.ArgumentParser, function: Command) -> None:
    """Make a parser of a function.

    Args:
        parser: Of the subcommand.
        function: Called with its parameters by name; may return an exit code.
    """
    docs = docstring_parser.parse(inspect.getdoc(function) or "")
    parser.description = "\n\n".join(filter(None, (docs.short_description, docs.long_description)))
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    helps = {param.arg_name: param.description or "" for param in docs.params}
    hints = typing.get_type_hints(function)
    for parameter in inspect.signature(function).parameters.values():
        _add_parameter(parser, parameter, hints[parameter.name], helps.get(parameter.name, ""))
    parser.set_defaults(function=function)


def call(options: argparse.Namespace) -> int:
    """Call the function of the chosen subcommand.

    Returns:
        Its exit code; 0 where it returns none.
    """
    values = vars(options)
    function = values.pop("function")
    result = function(**values)
    return result if isinstance(result, int) else 0


def _add_parameter(
    parser: argparse.ArgumentParser, parameter: inspect.Parameter, hint: Any, text: str
) -> None:
    kind, many, choices = _unpack(hint)
    required = parameter.default is inspect.Parameter.empty
    default = None if required else parameter.default
    if not required and default not in (None, False, ()):
        text = f"{text.rstrip('.')} (default: {default})"
    form = _FORM.match(text)
    text = text[form.end() :] if form else text
    options: dict[str, Any] = {"help": " ".join(text.split()).replace("%", "%%")}
    if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
        nargs = ("+" if required else "*") if many else (None if required else "?")
        options |= {"type": kind, "nargs": nargs, "default": default, "choices": choices}
        name = parameter.name
        parser.add_argument(name, metavar=name.upper().removesuffix("S" if many else ""), **options)
        return
    flag = f"--{parameter.name.replace('_', '-')}"
    if kind is bool:
        parser.add_argument(flag, action="store_true", **options)
        return
    metavar = form[1] if form else None if choices else _METAVARS.get(kind, "TEXT")
    options |= {"type": kind, "default": default, "choices": choices, "required": required}
    if many:
        options |= {"action": "append", "default": None if default is None else list(default)}
    parser.add_argument(flag, metavar=metavar, **options)


_METAVARS = {int: "N", float: "NUMBER", Path: "PATH"}


def _unpack(hint: Any) -> tuple[Any, bool, list[Any] | None]:
    """What makes a value of a type hint, whether it takes several, and the only values it takes."""
    arguments = [a for a in typing.get_args(hint) if a is not NoneType]
    origin = typing.get_origin(hint)
    if origin is Literal:
        return type(arguments[0]), False, arguments
    if origin in (list, tuple):
        kind, _, choices = _unpack(arguments[0])
        return kind, True, choices
    if len(arguments) == 1:  # X | None
        return _unpack(arguments[0])
    return hint, False, None
