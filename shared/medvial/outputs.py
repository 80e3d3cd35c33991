"""Writing results: whole files only, and JSON that every reader accepts."""

import contextlib
import json
import tempfile
from pathlib import Path
from typing import Any

from medvial.errors import InputError


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file under a temporary name beside it and rename it, so that no half file stays.

    Raises:
        InputError: The folder cannot be written.
    """
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise InputError(
            f"Expected to write {path}, got: {error.strerror or error}. Check the folder's "
            "permissions and free space."
        ) from None


def replace_folder(part: Path, target: Path) -> None:
    """Move a finished folder to its place; what was there is kept until the new one is."""
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as scratch:
        old = Path(scratch) / target.name
        if target.exists():
            target.rename(old)
        try:
            part.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise


def check_replaceable(target: Path) -> None:
    """Refuse to replace what is no model folder.

    Raises:
        InputError: The target is a file, or a folder with anything in it but no manifest.json.
    """
    target = target.resolve()
    if not target.exists() or (target / "manifest.json").is_file():
        return
    if not target.is_dir() or any(target.iterdir()):
        raise InputError(
            f"Expected a model folder (with manifest.json), an empty folder or none at {target}, "
            "which would be replaced, got other files. Name another folder, or move them away."
        )


def write_json(path: Path, value: Any, *, indent: int | None = 1) -> None:
    """Write strict JSON: UTF-8, no NaN or Infinity, NumPy numbers as plain ones.

    Raises:
        InputError: A value is not finite or of a type JSON lacks, or the folder is not writable.
    """
    try:
        text = json.dumps(value, indent=indent, allow_nan=False, ensure_ascii=False, default=_plain)
    except (TypeError, ValueError) as error:
        raise InputError(f"Cannot write {path.name} as JSON: {error}.") from None
    write_bytes(path, (text + "\n").encode())


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: It is missing or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"Expected the file {path}, got: {error.strerror}.") from None
    except ValueError as error:
        raise InputError(f"Expected JSON in {path}, got: {error}.") from None


def _plain(value: Any) -> Any:
    """NumPy scalars and arrays as Python numbers and lists."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no JSON form")
