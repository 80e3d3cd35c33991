"""What an algorithm reads and writes: sockets.json, and the inputs.json of a case.

The platform calls an input or output a socket. Its path is given in a table, never derived from
its slug; the sets of sockets an algorithm takes are its interfaces.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from jsonschema import Draft7Validator
from jsonschema.exceptions import SchemaError, best_match
from jsonschema.protocols import Validator
from jsonschema.validators import validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable

from medvial.errors import InputError
from medvial.outputs import read_json
from medvial.socket_kinds import DICOM_IMAGE_SET, SEGMENTATION, Kind, SuperKind, kind_named

INPUTS_JSON = "inputs.json"

_SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True)
class Socket:
    """One input or output of an algorithm."""

    slug: str
    kind: str
    """The platform's kind: Image, Multiple points, Float, Anything, ..."""
    relative_path: str
    """Below /input or /output: a folder for images, a file for everything else."""
    schema: dict[str, Any] | None = None
    """A JSON schema of its own (draft 3 to 7), on top of the kind's."""
    segments: tuple[int, ...] | None = None
    """Of a Segmentation: the voxel values that the platform has for it; 0 is always one."""
    like: str | None = None
    """Of an image output: the image input whose geometry it has, in the cases with that input."""

    @property
    def kind_info(self) -> Kind:
        """Where the platform stores it, its file extension and schema."""
        return kind_named(self.kind)

    @property
    def super_kind(self) -> SuperKind:
        """Image, File or Value."""
        return self.kind_info.super_kind


@dataclass(frozen=True)
class Interface:
    """A set of inputs and the outputs that they lead to."""

    inputs: tuple[Socket, ...]
    outputs: tuple[Socket, ...]

    def socket(self, slug: str) -> Socket | None:
        """The input or output of that slug; None where this interface has none."""
        return next((s for s in (*self.inputs, *self.outputs) if s.slug == slug), None)


def load_interfaces(path: Path) -> tuple[Interface, ...]:
    """Read sockets.json: every set of inputs of the algorithm with its outputs.

    Raises:
        InputError: A key is missing or unknown, or the platform could have no such sockets: an
            unknown kind, a path that does not fit the kind, one slug or path for two sockets, two
            interfaces of the same inputs.
    """
    values = read_json(path)
    try:
        interfaces = tuple(
            Interface(
                inputs=tuple(_socket(s) for s in interface["inputs"]),
                outputs=tuple(_socket(s) for s in interface["outputs"]),
            )
            for interface in values["interfaces"]
        )
        _check_interfaces(interfaces)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (AttributeError, KeyError, TypeError) as error:
        raise InputError(
            f"Expected interfaces of inputs and outputs with slug, kind, relative_path in {path}: "
            f"{error}."
        ) from None
    return interfaces


def select_interface(interfaces: tuple[Interface, ...], input_path: Path) -> Interface:
    """The interface whose inputs the case has.

    By the slugs of inputs.json where there is one, else by the paths that exist.

    Raises:
        InputError: The case's inputs are none of the known sets.
    """
    known = " or ".join(str(sorted(s.slug for s in i.inputs)) for i in interfaces)
    listing = input_path / INPUTS_JSON
    if listing.is_file():
        slugs = _input_slugs(listing)
        for interface in interfaces:
            if {s.slug for s in interface.inputs} == slugs:
                return interface
        raise InputError(
            f"Expected the inputs {known} in {listing}, got {sorted(map(str, slugs))}."
        )
    present = [
        i for i in interfaces if all((input_path / s.relative_path).exists() for s in i.inputs)
    ]
    if present:
        return max(present, key=lambda interface: len(interface.inputs))
    some = islice(input_path.rglob("*"), 20)  # it may be anything, as a whole disk
    found = sorted(str(p.relative_to(input_path)) for p in some)
    paths = " or ".join(str([s.relative_path for s in i.inputs]) for i in interfaces)
    raise InputError(f"Expected {paths} in {input_path}, got {found or 'an empty folder'}.")


def validate(socket: Socket, value: Any) -> None:
    """Check a JSON output against its kind's schema and its own.

    Raises:
        InputError: It is not valid; the message names the place.
    """
    validators = [socket.kind_info.validator]
    if socket.schema is not None:
        validators.append(_own_validator(socket.schema))
    for validator in validators:
        try:
            error = best_match(validator.iter_errors(value))
        except Unresolvable as unresolved:
            raise InputError(
                f"Expected the schema of {socket.slug} to refer to its own parts only, got "
                f"{unresolved}."
            ) from None
        if error is not None:
            raise InputError(
                f"Expected {socket.relative_path} to be valid {socket.kind}, got at "
                f"{error.json_path}: {error.message[:300]}"
            )


def _own_validator(schema: dict[str, Any]) -> Validator:
    """Of the draft that the schema names; never fetches one that it refers to."""
    draft: type[Validator] = validator_for(schema, default=Draft7Validator)
    return draft(schema, registry=Registry())


def _socket(values: dict[str, Any]) -> Socket:
    segments = values.get("segments")
    return Socket(**(values | {"segments": None if segments is None else tuple(segments)}))


def _check_interfaces(interfaces: tuple[Interface, ...]) -> None:
    if not interfaces:
        raise InputError("Expected at least one interface, got none.")
    seen: set[frozenset[str]] = set()
    for interface in interfaces:
        for sockets in (interface.inputs, interface.outputs):
            _check_unique(sockets)
            for socket in sockets:
                _check_socket(socket)
        if not interface.inputs or not interface.outputs:
            raise InputError("Expected inputs and outputs in every interface, got none of one.")
        for socket in interface.outputs:
            if socket.kind == DICOM_IMAGE_SET:
                raise InputError(
                    f"Expected {socket.slug} to be an input: the platform takes no "
                    f"{DICOM_IMAGE_SET} as output. Write an Image."
                )
        slugs = frozenset(s.slug for s in interface.inputs)
        if slugs in seen:
            raise InputError(
                f"Expected each set of inputs in one interface, got {sorted(slugs)} in two: the "
                "case would not tell which is meant."
            )
        seen.add(slugs)
    _check_same_everywhere(interfaces)
    _check_likes(interfaces)


def _check_likes(interfaces: tuple[Interface, ...]) -> None:
    """Only an image output is like something, and that is a single file with a geometry."""
    inputs = {s.slug: s for i in interfaces for s in i.inputs}
    images = [s.slug for s in inputs.values() if s.kind_info.is_image and s.kind != DICOM_IMAGE_SET]
    for socket in (*inputs.values(), *(s for i in interfaces for s in i.outputs)):
        if socket.like is not None and (socket.slug in inputs or not socket.kind_info.is_image):
            raise InputError(f"Expected like of image outputs only, got one of {socket.slug}.")
        if socket.like is not None and socket.like not in images:
            raise InputError(
                f"Expected {socket.slug} to be like one of the image inputs {images}, got "
                f"{socket.like!r}."
            )


def _check_unique(sockets: Iterable[Socket]) -> None:
    seen: dict[str, Socket] = {}
    for socket in sockets:
        for value in (f"slug {socket.slug}", f"path {socket.relative_path}"):
            if value in seen:
                raise InputError(f"Expected the {value} once among the sockets, got it twice.")
            seen[value] = socket


def _check_same_everywhere(interfaces: tuple[Interface, ...]) -> None:
    """A slug is one socket, with one path and kind, in whichever interface it is."""
    known: dict[str, Socket] = {}
    for interface in interfaces:
        for socket in (*interface.inputs, *interface.outputs):
            if known.setdefault(socket.slug, socket) != socket:
                raise InputError(
                    f"Expected {socket.slug} to be the same socket everywhere, got another kind, "
                    "path, schema, segments or like."
                )


def _check_socket(socket: Socket) -> None:
    if not all(isinstance(v, str) for v in (socket.slug, socket.kind, socket.relative_path)):
        raise InputError(f"Expected slug, kind and relative_path to be texts, got {socket}.")
    if not _SLUG.fullmatch(socket.slug):
        raise InputError(
            f"Expected a slug of lower-case letters, digits and single hyphens, got {socket.slug!r}"
        )
    kind = socket.kind_info
    _check_path(socket, kind)
    if socket.segments is not None and socket.kind != SEGMENTATION:
        raise InputError(f"Expected segments of a {SEGMENTATION} only, got some of {socket.slug}.")
    if socket.segments is not None:
        values = {0, *socket.segments}
        if values != set(range(len(values))):
            raise InputError(
                f"Expected the segments of {socket.slug} to be 1, 2, ... without a gap, as the "
                f"platform does, got {list(socket.segments)}."
            )
    if socket.schema is not None:
        _check_own_schema(socket, socket.schema)


def _check_path(socket: Socket, kind: Kind) -> None:
    path = PurePosixPath(socket.relative_path)
    what = f"Expected the path of {socket.slug} ({socket.kind})"
    got = f"got {socket.relative_path!r}."
    if path.is_absolute() or ".." in path.parts or str(path) != socket.relative_path:
        raise InputError(f"{what} to be a plain one below the input or output folder, {got}")
    if socket.relative_path == INPUTS_JSON:
        raise InputError(f"{what} to be another than the platform's own {INPUTS_JSON}, {got}")
    below_images = len(path.parts) > 1 and path.parts[0] == "images"
    if kind.is_image and (not below_images or path.suffix):
        raise InputError(f"{what} to be a folder below images/, {got}")
    if not kind.is_image and path.parts[0] == "images":
        raise InputError(f"{what} not to be below images/, where only images are, {got}")
    if not socket.relative_path.endswith(kind.extension) or path.name == kind.extension:
        raise InputError(f"{what} to end with {kind.extension}, {got}")


def _check_own_schema(socket: Socket, schema: dict[str, Any]) -> None:
    if not socket.kind_info.is_json:
        raise InputError(f"Expected a schema of JSON kinds only, got one of {socket.slug}.")
    if not isinstance(schema, dict):
        raise InputError(f"Expected the schema of {socket.slug} to be an object, got {schema!r}.")
    try:
        validator_for(schema, default=Draft7Validator).check_schema(schema)
    except SchemaError as error:
        raise InputError(
            f"Expected the schema of {socket.slug} to be a JSON schema, got at {error.json_path}: "
            f"{error.message[:200]}"
        ) from None


def _input_slugs(path: Path) -> set[str]:
    """Slugs of inputs.json, whose key was `interface`, then both, and is now `socket`."""
    entries = read_json(path)
    try:
        return {(entry.get("socket") or entry["interface"])["slug"] for entry in entries}
    except (AttributeError, KeyError, TypeError):
        raise InputError(
            f"Expected a list of entries with socket.slug or interface.slug in {path}."
        ) from None
