"""The ledger: which images were exported, and which of them were uploaded.

The platform refuses an image that was uploaded before, by anyone. It does not tell in advance, so
every export is written down here; `medvial check IMAGE.tar.gz --uploaded` marks one as uploaded.
"""

import contextlib
import dataclasses
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from medvial.errors import InputError
from medvial.outputs import read_json, write_json


@dataclass(frozen=True)
class Export:
    """One image that was exported."""

    image_id: str
    """sha256 (hex) of its configuration: what the platform tells images apart by."""
    tag: str
    archive: str
    """The file's name."""
    archive_sha256: str
    tree_sha256: str
    """Digest of the file tree, the same for two builds of the same files."""
    revision: str
    exported: str
    """UTC time, ISO 8601."""
    uploaded: str | None = None
    """UTC time it was marked as uploaded; None before."""


def now() -> str:
    """UTC time to the second, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def read_ledger(path: Path) -> dict[str, Export]:
    """The exports by image id; none where there is no ledger yet.

    Raises:
        InputError: The file is no ledger.
    """
    if not path.exists():
        return {}
    try:
        return {values["image_id"]: Export(**values) for values in read_json(path)["exports"]}
    except (KeyError, TypeError) as error:
        raise InputError(
            f"Expected a ledger of exports at {path}, got: {error}. Move it away and export again."
        ) from None


def record(path: Path, export: Export) -> None:
    """Add an export, or bring it up to date; an upload once marked stays marked.

    Raises:
        InputError: The ledger cannot be read or written.
    """
    with _alone(path):
        exports = read_ledger(path)
        before = exports.get(export.image_id)
        if before and before.uploaded and not export.uploaded:
            export = dataclasses.replace(export, uploaded=before.uploaded)
        exports[export.image_id] = export
        write_json(path, {"exports": [dataclasses.asdict(e) for e in exports.values()]})


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep other processes, which may export other tasks, from writing the ledger meanwhile."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(path.parent, os.O_RDONLY)
    except OSError as error:
        raise InputError(f"Expected to write {path}, got: {error.strerror}.") from None
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)
