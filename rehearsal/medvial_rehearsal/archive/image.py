"""An image archive, as `docker save` writes it: its configuration, layers and file tree."""

import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from medvial.errors import InputError
from medvial_rehearsal.archive.layer import (
    ENTRIES_LIMIT,
    MANIFEST_PATH,
    Layer,
    is_tar,
    read_layer,
)
from medvial_rehearsal.archive.stream import compression_of, members, open_packed
from medvial_rehearsal.archive.tree import Tree
from medvial_rehearsal.gates import GateFailure

_METADATA_LIMIT = 8 << 20  # bytes; an image's JSON members are some kB
_METADATA_TOTAL = 64 << 20
_AGAIN = "Export it again: docker save NAME:TAG"


@dataclass
class ImageArchive:
    """What lies in an archive, before anything is said about it."""

    path: Path
    size: int = 0
    """Of the file, in bytes."""
    sha256: str = ""
    unpacked: int = 0
    """Bytes of the uncompressed archive."""
    metadata: dict[str, bytes] = field(default_factory=dict)
    """Content of small members, by name."""
    layers: dict[str, Layer] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    """Why a layer cannot be read, by name."""
    links: dict[str, str] = field(default_factory=dict)
    """Members that are another one, by name: older engines store a layer twice this way."""

    def layer(self, name: str) -> Layer | None:
        """A layer by its name, links followed."""
        seen: set[str] = set()
        while name in self.links and name not in seen:
            seen.add(name)
            name = self.links[name]
        return self.layers.get(name)


@dataclass(frozen=True)
class Image:
    """The one image of an archive."""

    tag: str
    image_id: str
    """sha256 (hex) of the configuration."""
    config: dict[str, Any]
    layers: tuple[Layer, ...]
    """Lowest first."""
    tree: Tree

    @property
    def settings(self) -> dict[str, Any]:
        """What the Dockerfile set: User, Env, Entrypoint, ..."""
        return _object(self.config.get("config"))

    @property
    def labels(self) -> dict[str, Any]:
        """The image's labels."""
        return _object(self.settings.get("Labels"))

    @property
    def variables(self) -> dict[str, str]:
        """The environment."""
        pairs = (text.partition("=") for text in self.strings("Env"))
        return {name: value for name, _, value in pairs}

    @property
    def workdir(self) -> str:
        """The program's working directory."""
        return str(self.settings.get("WorkingDir") or "/")

    @property
    def manifest(self) -> dict[str, Any] | None:
        """The image's own description, /opt/app/medvial.json; None where it has none."""
        content = self.tree.content(MANIFEST_PATH)
        return _object(parse_json(content, MANIFEST_PATH)) if content is not None else None

    @property
    def steps(self) -> list[str]:
        """The build steps, as the history tells them."""
        return [str(_object(step).get("created_by", "")) for step in self._history()]

    @property
    def layer_steps(self) -> list[str]:
        """The build step of every layer; "" where the history does not tell."""
        told = [
            str(_object(step).get("created_by", ""))
            for step in self._history()
            if not _object(step).get("empty_layer")
        ]
        return [*told, *[""] * len(self.layers)][: len(self.layers)]

    def findings(self, kind: str) -> list[str]:
        """Files with a finding of a kind, each with it, in any layer: also what a later removes."""
        return sorted(
            {
                f"/{entry.path} ({note.removeprefix(kind)})"
                for layer in self.layers
                for entry in layer.entries
                for note in entry.findings
                if note.startswith(kind)
            }
        )

    def strings(self, key: str) -> list[str]:
        """A list of strings of the settings, empty where there is none."""
        value = self.settings.get(key)
        return [str(text) for text in value] if isinstance(value, list) else []

    def _history(self) -> list[Any]:
        history = self.config.get("history")
        return history if isinstance(history, list) else []


def read_archive(path: Path) -> ImageArchive:
    """Read an image archive once, to its end.

    Raises:
        InputError: It cannot be read to its end, or is no .tar, .tar.gz or .tar.xz.
    """
    archive = ImageArchive(path)
    with open_packed(path, ("gzip", "xz", "none")) as (packed, unpacked):
        for member, content in members(unpacked):
            name = member.name.removeprefix("./")
            if content is not None:
                _keep(archive, name, member.size, content)
            elif member.issym() or member.islnk():
                archive.links[name] = _link_target(name, member.linkname, hard=member.islnk())
    archive.size, archive.sha256, archive.unpacked = packed.size, packed.sha256, unpacked.size
    return archive


def only_entry(archive: ImageArchive) -> dict[str, Any]:
    """The archive's one entry of manifest.json.

    Raises:
        GateFailure: There is no such file, it has another form or is a model's, or names more or
            less than one image.
    """
    if "manifest.json" not in archive.metadata:
        raise GateFailure(f"no manifest.json in {archive.path.name}", _AGAIN)
    entries = parse_json(archive.metadata["manifest.json"], "manifest.json")
    if isinstance(entries, dict) and {"task", "files"} <= entries.keys():
        raise GateFailure(
            f"{archive.path.name} is a model tarball, not an image",
            "Add --only-model, or name the image before it: medvial check IMAGE MODEL",
        )
    if not isinstance(entries, list) or not all(_is_entry(entry) for entry in entries):
        raise GateFailure(
            f"manifest.json is no list of objects with Config and Layers: {str(entries)[:60]}",
            _AGAIN,
        )
    if len(entries) != 1:
        tags = [tag for entry in entries for tag in entry.get("RepoTags") or ["untagged"]]
        raise GateFailure(
            f"{len(entries)} images: {', '.join(map(str, tags)) or 'none'}",
            "Save it by its name and tag: docker save NAME:TAG",
        )
    return dict(entries[0])


def load_image(archive: ImageArchive, entry: dict[str, Any]) -> Image:
    """The image of an entry of manifest.json, its digests verified.

    Raises:
        GateFailure: The configuration or a layer is missing, altered, or has another form.
    """
    name = entry["Config"]
    content = archive.metadata.get(name)
    if content is None:
        raise GateFailure(f"no configuration {name}", _AGAIN)
    image_id = hashlib.sha256(content).hexdigest()
    if re.findall(r"[0-9a-f]{64}", name) != [image_id]:
        raise GateFailure(f"{name} has the sha256 {image_id}: it was altered", _AGAIN)
    config = parse_json(content, name)
    if not isinstance(config, dict) or not isinstance(config.get("config") or {}, dict):
        raise GateFailure(f"{name} is no object with an object config", _AGAIN)
    layers = _layers(archive, entry["Layers"], config)
    tag = str((entry.get("RepoTags") or ["untagged"])[0])
    return Image(tag, image_id, config, layers, Tree(layers))


def parse_json(content: bytes, name: str) -> Any:
    """A JSON document.

    Raises:
        GateFailure: It is none.
    """
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise GateFailure(f"{name} is not JSON: {error}", _AGAIN) from None


def _keep(archive: ImageArchive, name: str, size: int, content: IO[bytes]) -> None:
    """A layer's entries, or a small member's content."""
    head = content.peek(512)[:512]  # type: ignore[attr-defined]
    kind = compression_of(head)
    if kind in ("gzip", "xz") or (kind == "none" and is_tar(head)):
        room = ENTRIES_LIMIT - sum(len(layer.entries) for layer in archive.layers.values())
        archive.layers[name] = read_layer(content, kind, room=room)
    elif kind != "none":
        archive.unreadable[name] = f"compressed by {kind}"
    elif size <= _METADATA_LIMIT:
        archive.metadata[name] = content.read()
        if sum(map(len, archive.metadata.values())) > _METADATA_TOTAL:
            raise InputError(f"Expected what `docker save` writes at {archive.path}, got a flood.")


def _link_target(name: str, target: str, *, hard: bool) -> str:
    """A link's target from the archive's root."""
    parts: list[str] = [] if hard else name.split("/")[:-1]
    for part in target.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def _layers(archive: ImageArchive, names: list[str], config: dict[str, Any]) -> tuple[Layer, ...]:
    odd = [f"{name} ({archive.unreadable[name]})" for name in names if name in archive.unreadable]
    if odd:
        raise GateFailure(
            f"layers that cannot be read: {', '.join(odd)}",
            "Turn off zstd compression of layers, or save with an engine that keeps them plain.",
        )
    layers = [archive.layer(name) for name in names]
    missing = [name for name, layer in zip(names, layers, strict=True) if layer is None]
    if missing:
        raise GateFailure(f"missing layers: {', '.join(missing)}", _AGAIN)
    found = tuple(layer for layer in layers if layer is not None)
    promised = _object(config.get("rootfs")).get("diff_ids")
    if promised != [f"sha256:{layer.diff_id}" for layer in found]:
        raise GateFailure("the layers are not those of the configuration (diff_ids)", _AGAIN)
    return found


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("Config"), str):
        return False
    layers, tags = entry.get("Layers"), entry.get("RepoTags") or []
    return all(
        isinstance(names, list) and all(isinstance(name, str) for name in names)
        for names in (layers, tags)
    )


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
