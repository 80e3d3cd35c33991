"""Values as Python source in the project's style."""

from typing import Any

_WIDTH = 100
_STEP = 4


def python_literal(value: Any, *, indent: int, used: int) -> str:
    """A JSON value as Python source, broken into lines where one is too short.

    Args:
        value: Numbers, texts, None, lists and objects.
        indent: Columns in front of the statement.
        used: Columns in front of the value on its first line, and behind it on its last.
    """
    line = _one_line(value)
    if used + len(line) <= _WIDTH or not isinstance(value, dict | list) or not value:
        return line
    inner = indent + _STEP
    rows = []
    for key, item in value.items() if isinstance(value, dict) else ((None, i) for i in value):
        name = "" if key is None else f"{_one_line(key)}: "
        text = python_literal(item, indent=inner, used=inner + len(name) + 1)
        rows.append(f"{' ' * inner}{name}{text},\n")
    start, end = ("{", "}") if isinstance(value, dict) else ("[", "]")
    return f"{start}\n{''.join(rows)}{' ' * indent}{end}"


def _one_line(value: Any) -> str:
    if isinstance(value, str):
        text = repr(value)
        plain = text[0] == "'" and '"' not in value
        return f'"{text[1:-1]}"' if plain else text
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_one_line(k)}: {_one_line(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_one_line(item) for item in value) + "]"
    return repr(value)
