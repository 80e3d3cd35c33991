"""The platform's kinds of inputs and outputs: where each is stored, and what form it has.

Kinds and forms are those of the platform's component interfaces (grand-challenge.org).
"""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from jsonschema import Draft7Validator
from jsonschema.protocols import Validator

from medvial.errors import InputError

SuperKind = Literal["Image", "File", "Value"]

SEGMENTATION = "Segmentation"
DICOM_IMAGE_SET = "DICOM Image Set"


@dataclass(frozen=True)
class Kind:
    """One kind of socket."""

    name: str
    """As the platform shows it, such as `Multiple points`."""
    super_kind: SuperKind
    """Image: a folder with one image. Value: JSON. File: any other file, or JSON too large for
    the platform's database."""
    extension: str
    """With which the socket's path ends; empty for images, whose path is a folder."""
    schema: dict[str, Any] | None
    """JSON schema (draft 7) of a JSON kind; None for images and other files."""

    @property
    def is_json(self) -> bool:
        """Whether its content is JSON, wherever the platform stores it."""
        return self.schema is not None

    @property
    def is_image(self) -> bool:
        """Whether it is a folder with an image."""
        return self.super_kind == "Image"

    @property
    def validator(self) -> Validator:
        """What checks a value against the kind's schema."""
        return _validator(self.name)


def kind_named(name: str) -> Kind:
    """The kind of that name.

    Raises:
        InputError: The platform has no such kind; names those it has.
    """
    kinds = all_kinds()
    if name not in kinds:
        raise InputError(f"Expected a kind of {', '.join(kinds)}; got {name!r}.")
    return kinds[name]


@cache
def all_kinds() -> dict[str, Kind]:
    """Every kind by its name."""
    table = json.loads(files("medvial").joinpath("socket_kinds.json").read_text(encoding="utf-8"))
    schemas: dict[str, tuple[SuperKind, dict[str, Any]]] = {
        name: ("Value", schema) for name, schema in table["values"].items()
    }
    for name, geometry in table["geometries"].items():
        one, many = _annotation_schemas(name, geometry)
        schemas[name] = ("Value", one)
        # They can be large: the platform stores them as files.
        schemas[geometry["many"]["kind"]] = ("File", many)
    kinds = [
        Kind(name, super_kind, ".json", schema | {"definitions": table["definitions"]})
        for name, (super_kind, schema) in schemas.items()
    ]
    kinds += [Kind(name, "Image", "", None) for name in table["images"]]
    kinds += [Kind(name, "File", extension, None) for name, extension in table["files"].items()]
    return {kind.name: kind for kind in kinds}


def _annotation_schemas(
    name: str, geometry: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Schema of one annotation, and of the kind that holds several of them."""
    required = list(geometry["properties"])
    properties = {
        "name": {"$ref": "#/definitions/name"},
        "type": {"enum": [name]},
        "probability": {"$ref": "#/definitions/probability"},
        **geometry["properties"],
    }
    version = {"$ref": "#/definitions/version"}
    many, key = geometry["many"]["kind"], geometry["many"]["key"]
    items = {"type": "array", "items": _closed_object(properties, required)}
    return (
        _closed_object(properties | {"version": version}, ["type", "version", *required]),
        _closed_object(
            {"name": properties["name"], "type": {"enum": [many]}, "version": version, key: items},
            ["type", "version", key],
        ),
    )


def _closed_object(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": required,
        "additionalProperties": False,
        "properties": properties,
    }


@cache
def _validator(name: str) -> Validator:
    return Draft7Validator(all_kinds()[name].schema or {})
