"""Read exported archives back and check what the platform checks when they are uploaded.

    python -m medvial.archive [--image IMAGE.tar.gz] [--model MODEL.tar.gz]

Needs no Docker engine.
"""

import argparse
import gzip
import hashlib
import json
import re
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from medvial.errors import InputError
from medvial.models import MANIFEST, sha256

API_METHODS = ("exec", "invoke")
METHOD_LABEL = "org.grand-challenge.api-method"

_CHUNK = 1 << 20
_METADATA_LIMIT = 8 << 20  # bytes; an image's JSON members are some kB, its layers are larger
_ROOT = re.compile(r"(root|0+)?(:.*)?")
_USER = re.compile(r"([A-Za-z][\w.-]*|\d+)(:[\w.-]+)?")


@dataclass(frozen=True)
class ImageArchive:
    """What is in a `docker save` archive."""

    tag: str
    image_id: str
    """sha256 (hex) of the image's configuration."""
    user: str
    api_method: str
    layers: tuple[int, ...]
    """Uncompressed size of every layer in bytes, lowest first."""


@dataclass(frozen=True)
class ModelArchive:
    """What is in a model tarball."""

    task: str
    files: dict[str, int]
    """Size in bytes of every file, the manifest included."""


def check_image(path: Path) -> ImageArchive:
    """Check an image archive.

    Raises:
        InputError: It cannot be read to its end, holds more or less than one image, its
            configuration is not the one its name promises, or the platform would refuse it:
            another architecture than amd64, root as its user, an unknown API method.
    """
    metadata, sizes = _read_image(path)
    entry = _only_image(metadata, path)
    name = str(entry["Config"])
    if name not in metadata:
        raise InputError(f"Expected the image's configuration {name} in {path}, got no such file.")
    image_id = hashlib.sha256(metadata[name]).hexdigest()
    if image_id not in name:
        raise InputError(
            f"Expected {name} in {path} to have the sha256 of its name, got {image_id}: the "
            "archive was altered. Export it again."
        )
    missing = [layer for layer in entry["Layers"] if layer not in sizes]
    if missing:
        raise InputError(f"Expected every layer in {path}, got none of {missing}. Export again.")
    image = _parse_object(metadata[name], name, path)
    _check_platform(image, path)
    settings = image.get("config") or {}
    if not isinstance(settings, dict) or not isinstance(settings.get("Labels") or {}, dict):
        raise InputError(f"Expected config and its Labels in {name} of {path} to be objects.")
    return ImageArchive(
        tag=str((entry.get("RepoTags") or ["untagged"])[0]),
        image_id=image_id,
        user=_checked_user(settings, path),
        api_method=_checked_method(settings, path),
        layers=tuple(sizes[layer] for layer in entry["Layers"]),
    )


def check_model(path: Path) -> ModelArchive:
    """Check a model tarball.

    Raises:
        InputError: It cannot be read to its end, has a member that the platform refuses to
            extract, a folder around the model, or files that its manifest does not list so.
    """
    digests: dict[str, str] = {}
    sizes: dict[str, int] = {}
    manifest = b""
    with _tar_stream(path) as archive:
        for member in archive:
            name = _checked_member(member, path)
            content = archive.extractfile(member)
            if content is None:  # a folder
                continue
            if name in digests:
                raise InputError(f"Expected {name} once in {path}, got it twice.")
            if name == MANIFEST:
                manifest = content.read(_METADATA_LIMIT)
                digests[name] = hashlib.sha256(manifest).hexdigest()
            else:
                digests[name] = hashlib.file_digest(content, "sha256").hexdigest()  # type: ignore[arg-type]
            sizes[name] = member.size
    if MANIFEST not in digests:
        raise InputError(
            f"Expected {MANIFEST} at the top of {path}, got {sorted(digests) or 'nothing'}. "
            "Pack the folder's content, not the folder: tar -C model -czf model.tar.gz ."
        )
    declared = _parse_object(manifest, MANIFEST, path)
    files = declared.get("files") or {}
    if not isinstance(files, dict):
        raise InputError(f"Expected files in {MANIFEST} of {path} to be an object, got {files!r}.")
    _check_digests(files, digests, path)
    return ModelArchive(task=str(declared.get("task")), files=sizes)


def main(arguments: list[str] | None = None) -> int:
    """Check the archives and print what is in them; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m medvial.archive", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--image", type=Path, help="what `docker save` wrote, compressed by gzip")
    parser.add_argument("--model", type=Path, help="the model tarball")
    options = parser.parse_args(arguments)
    try:
        if options.image:
            print("\n".join(_image_report(options.image, check_image(options.image))))
        if options.model:
            print("\n".join(_model_report(options.model, check_model(options.model))))
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


@contextmanager
def _tar_stream(path: Path) -> Iterator[tarfile.TarFile]:
    """A gzip-compressed tar archive, read once from front to back, to the checksum at its end."""
    try:
        with gzip.open(path) as content:
            with tarfile.open(fileobj=content, mode="r|") as archive:
                yield archive
            while content.read(_CHUNK):
                pass
    except (OSError, EOFError, tarfile.TarError) as error:
        raise InputError(
            f"Expected a complete .tar.gz at {path}, got: {error}. Export it again."
        ) from None


def _read_image(path: Path) -> tuple[dict[str, bytes], dict[str, int]]:
    """The small members' content and all members' sizes in bytes, by name."""
    metadata: dict[str, bytes] = {}
    sizes: dict[str, int] = {}
    with _tar_stream(path) as archive:
        for member in archive:
            sizes[member.name] = member.size
            content = archive.extractfile(member) if member.isfile() else None
            if content is not None and member.size <= _METADATA_LIMIT:
                metadata[member.name] = content.read()
    return metadata, sizes


def _only_image(metadata: dict[str, bytes], path: Path) -> dict[str, Any]:
    if "manifest.json" not in metadata:
        raise InputError(f"Expected what `docker save` writes in {path}, got no manifest.json.")
    entries = _parse_json(metadata["manifest.json"], "manifest.json", path)
    if not isinstance(entries, list) or not all(_is_entry(entry) for entry in entries):
        raise InputError(
            f"Expected manifest.json of {path} to be a list of objects with Config and Layers, got "
            f"{str(entries)[:60]}. Export it again."
        )
    if len(entries) != 1:
        tags = [entry.get("RepoTags") for entry in entries]
        raise InputError(
            f"Expected exactly one image in {path}, got {len(entries)}: {tags}. "
            "Save it by its name and tag: docker save NAME:TAG"
        )
    return dict(entries[0])


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("Config"), str):
        return False
    layers, tags = entry.get("Layers"), entry.get("RepoTags") or []
    return all(
        isinstance(names, list) and all(isinstance(name, str) for name in names)
        for names in (layers, tags)
    )


def _check_platform(image: dict[str, Any], path: Path) -> None:
    got = f"{image.get('os')}/{image.get('architecture')}"
    if got != "linux/amd64":
        raise InputError(
            f"Expected an image for linux/amd64 in {path}, got {got}. "
            "Build with --platform linux/amd64, as build.sh does."
        )


def _checked_user(settings: dict[str, Any], path: Path) -> str:
    user = str(settings.get("User") or "")
    if _ROOT.fullmatch(user) or not _USER.fullmatch(user):
        raise InputError(
            f"Expected a user other than root in {path}, got {user!r}. Set USER in the Dockerfile."
        )
    return user


def _checked_method(settings: dict[str, Any], path: Path) -> str:
    method = str((settings.get("Labels") or {}).get(METHOD_LABEL, "exec"))
    if method not in API_METHODS:
        raise InputError(
            f"Expected the label {METHOD_LABEL} of {path} to be one of {API_METHODS}, "
            f"got {method!r}."
        )
    return method


def _checked_member(member: tarfile.TarInfo, path: Path) -> str:
    """The member's path below the model folder."""
    # Stricter than the platform, which extracts with tarfile's "data" filter: no links at all.
    parts = PurePosixPath(member.name).parts
    if member.name.startswith("/") or ".." in parts:
        raise InputError(f"Expected paths inside the model folder in {path}, got {member.name!r}.")
    if not (member.isfile() or member.isdir()):
        raise InputError(f"Expected only files and folders in {path}, got {member.name!r}: a link.")
    return member.name.removeprefix("./")


def _check_digests(declared: dict[str, str], got: dict[str, str], path: Path) -> None:
    found = {name: digest for name, digest in got.items() if name != MANIFEST}
    missing = sorted(set(declared) - set(found))
    extra = sorted(set(found) - set(declared))
    if missing or extra:
        raise InputError(
            f"Expected the files that {MANIFEST} lists in {path}; missing: "
            f"{missing or 'none'}, not listed: {extra or 'none'}. Run step 4 and export again."
        )
    altered = sorted(name for name, digest in declared.items() if found[name] != digest)
    if altered:
        raise InputError(
            f"Expected the sha256 sums of {MANIFEST} in {path}, got others for {altered}: "
            "the model folder was altered after step 4. Run step 4 and export again."
        )


def _parse_json(content: bytes, name: str, path: Path) -> Any:
    try:
        return json.loads(content)
    except ValueError as error:
        raise InputError(f"Expected JSON in {name} of {path}, got: {error}.") from None


def _parse_object(content: bytes, name: str, path: Path) -> dict[str, Any]:
    value = _parse_json(content, name, path)
    if not isinstance(value, dict):
        raise InputError(f"Expected a JSON object in {name} of {path}, got {str(value)[:60]}.")
    return value


def _image_report(path: Path, image: ImageArchive) -> list[str]:
    layers = " + ".join(f"{size / 1e6:.1f}" for size in image.layers)
    return [
        _file_line(path),
        f"    one image, {image.tag}, id {image.image_id[:12]}, user {image.user}, "
        f"method {image.api_method}",
        f"    unpacked {sum(image.layers) / 1e6:.1f} MB in layers of {layers}",
    ]


def _model_report(path: Path, model: ModelArchive) -> list[str]:
    files = ", ".join(f"{name} {size / 1e6:.2f}" for name, size in sorted(model.files.items()))
    return [_file_line(path), f"    a model of {model.task}: {files} (MB)"]


def _file_line(path: Path) -> str:
    size = path.stat().st_size / 1e6
    return f"  {path.name.removesuffix('.part')}: {size:.1f} MB, sha256 {sha256(path)}"


if __name__ == "__main__":
    sys.exit(main())
