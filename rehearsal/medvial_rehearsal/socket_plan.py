"""What is asked of `medvial new`: inputs and outputs, by kind, slug and path."""

import builtins
import itertools
import keyword
import re
from collections.abc import Sequence
from dataclasses import dataclass

from medvial.algorithm import Algorithm
from medvial.errors import InputError
from medvial.socket_kinds import Kind, all_kinds

_TAKEN = {*dir(Algorithm), "folder", "parameters", "interface", "interfaces", "count", "reader"}
_TAKEN |= {
    "input_path",
    "output_path",
    "model_path",
    "log",
    "logging",
    "shutil",
    "self",
    "path",
    "image_path",
    "series",
    "size",
    "bright",
}
_TAKEN |= {*dir(builtins), "read_json", "open_cine"}
_VARIABLE_LENGTH = 18


@dataclass(frozen=True)
class SocketPlan:
    """An input or output as the templates need it."""

    slug: str
    kind: str
    relative_path: str
    variable: str
    is_image: bool
    is_json: bool
    example: str = ""
    """Of an output: its value as source, or the name of a file in the model folder."""
    example_lines: tuple[str, ...] = ()
    """Of an image output: the statements that make it."""


def plan_sockets(texts: Sequence[str]) -> list[SocketPlan]:
    """Parse KIND:SLUG or KIND:SLUG:PATH, with a name for Python of its own for each.

    Raises:
        InputError: It is something else, or there is no such kind.
    """
    taken = set(_TAKEN)
    plans = []
    for text in texts:
        plans.append(_plan(text, taken))
        taken.add(plans[-1].variable)
    return plans


def _plan(text: str, taken: set[str]) -> SocketPlan:
    """Parse KIND:SLUG or KIND:SLUG:PATH."""
    kind_name, _, rest = text.partition(":")
    slug, _, path = rest.partition(":")
    if not slug:
        raise InputError(f'Expected KIND:SLUG, as in "Multiple points:lesions", got {text!r}.')
    kind = _find_kind(kind_name)
    default = f"images/{slug}" if kind.is_image else f"{slug}{kind.extension}"
    variable = _variable(slug, taken)
    return SocketPlan(slug, kind.name, path or default, variable, kind.is_image, kind.is_json)


def _variable(slug: str, taken: set[str]) -> str:
    """A name for Python, short enough for the lines that it is in."""
    name = re.sub(r"\W", "_", slug)[:_VARIABLE_LENGTH].rstrip("_")
    if keyword.iskeyword(name) or not name.isidentifier() or name in _TAKEN:
        name = f"the_{name}"
    numbered = (f"{name}_{number}" for number in itertools.count(2))
    return next(choice for choice in itertools.chain([name], numbered) if choice not in taken)


def _find_kind(name: str) -> Kind:
    """A kind by its name, whatever its case; hyphens and underscores stand for spaces."""
    wanted = _simple(name)
    for kind in all_kinds().values():
        if wanted in (_simple(kind.name), _simple(kind.name).removesuffix(" file")):
            return kind
    raise InputError(f"Expected a kind of {', '.join(all_kinds())}; got {name!r}.")


def _simple(name: str) -> str:
    return re.sub(r"[-_ ]+", " ", name).strip().lower()
