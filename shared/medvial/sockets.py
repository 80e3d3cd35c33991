"""What an algorithm reads and writes: sockets.json, inputs.json, and the schemas of outputs.

The platform calls an input or output a socket. Its path is given in a table, never derived from
its slug; the sets of sockets an algorithm takes are its interfaces.
"""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jsonschema import Draft7Validator
from jsonschema.exceptions import best_match

from medvial.errors import InputError
from medvial.outputs import read_json


@dataclass(frozen=True)
class Socket:
    """One input or output of an algorithm."""

    slug: str
    kind: str
    """The platform's kind: Image, Multiple points, Float, Anything, ..."""
    relative_path: str
    """Below /input or /output: a folder for images, a file for everything else."""
    schema: dict[str, Any] | None = None
    """A JSON schema (draft 7) of its own, on top of the kind's."""


@dataclass(frozen=True)
class Interface:
    """A set of inputs and the outputs that they lead to."""

    inputs: tuple[Socket, ...]
    outputs: tuple[Socket, ...]

    def socket(self, slug: str) -> Socket | None:
        """The input or output of that slug; None where this interface has none."""
        return next((s for s in (*self.inputs, *self.outputs) if s.slug == slug), None)


def load_interfaces(path: Path) -> tuple[Interface, ...]:
    """Read sockets.json.

    Raises:
        InputError: A key is missing or unknown.
    """
    values = read_json(path)
    try:
        return tuple(
            Interface(
                inputs=tuple(Socket(**s) for s in interface["inputs"]),
                outputs=tuple(Socket(**s) for s in interface["outputs"]),
            )
            for interface in values["interfaces"]
        )
    except (KeyError, TypeError) as error:
        raise InputError(
            f"Expected interfaces of inputs and outputs with slug, kind, relative_path in {path}: "
            f"{error}."
        ) from None


def select_interface(interfaces: tuple[Interface, ...], input_path: Path) -> Interface:
    """The interface whose inputs the case has.

    By the slugs of inputs.json where there is one, else by the paths that exist.

    Raises:
        InputError: The case's inputs are none of the known sets.
    """
    known = " or ".join(str(sorted(s.slug for s in i.inputs)) for i in interfaces)
    listing = input_path / "inputs.json"
    if listing.is_file():
        slugs = _input_slugs(listing)
        for interface in interfaces:
            if {s.slug for s in interface.inputs} == slugs:
                return interface
        raise InputError(f"Expected the inputs {known} in {listing}, got {sorted(slugs)}.")
    present = [
        i for i in interfaces if all((input_path / s.relative_path).exists() for s in i.inputs)
    ]
    if present:
        return max(present, key=lambda interface: len(interface.inputs))
    found = sorted(str(p.relative_to(input_path)) for p in input_path.rglob("*"))[:20]
    paths = " or ".join(str([s.relative_path for s in i.inputs]) for i in interfaces)
    raise InputError(f"Expected {paths} in {input_path}, got {found or 'an empty folder'}.")


def validate(socket: Socket, value: Any) -> None:
    """Check an output against its kind's schema and its own.

    Raises:
        InputError: It is not valid; the message names the place.
    """
    for schema in (_kind_schemas().get(socket.kind), socket.schema):
        if schema is None:
            continue
        error = best_match(Draft7Validator(schema).iter_errors(value))
        if error is not None:
            raise InputError(
                f"Expected {socket.relative_path} to be valid {socket.kind}, got at "
                f"{error.json_path}: {error.message[:300]}"
            )


def _input_slugs(path: Path) -> set[str]:
    """Slugs of inputs.json, whose key was `interface`, then both, and is now `socket`."""
    entries = read_json(path)
    try:
        return {(entry.get("socket") or entry["interface"])["slug"] for entry in entries}
    except (AttributeError, KeyError, TypeError):
        raise InputError(
            f"Expected a list of entries with socket.slug or interface.slug in {path}."
        ) from None


@cache
def _kind_schemas() -> dict[str, dict[str, Any]]:
    text = files("medvial").joinpath("socket_kinds.json").read_text(encoding="utf-8")
    schemas: dict[str, dict[str, Any]] = json.loads(text)
    return schemas
