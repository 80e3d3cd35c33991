"""Pins of single packages out of a lock file: same versions, same hashes, no resolver."""

import re
from collections.abc import Iterable
from pathlib import Path

from medvial.errors import InputError

_NAME = re.compile(r"([a-z0-9][a-z0-9._-]*)==")


def add_pins(lock: str, source: Path, packages: Iterable[str]) -> str:
    """A lock with the pins of more packages, which need no others, out of a larger lock.

    Args:
        lock: Content of a requirements.txt with hashes.
        source: Another one, from which the packages are taken.
        packages: Their names.

    Raises:
        InputError: A package is not in the source.
    """
    more = _pins(source.read_text(encoding="utf-8"))
    if missing := sorted(set(packages) - set(more)):
        raise InputError(f"Expected {', '.join(missing)} in {source}, got no such pins.")
    pins = _pins(lock) | {name: more[name] for name in packages}
    return "".join(pin for name in sorted(pins) for pin in pins[name])


def _pins(lock: str) -> dict[str, list[str]]:
    """Every pin with its hashes, by package; several where the version depends on the machine."""
    found: dict[str, list[str]] = {}
    for block in re.split(r"^(?=[a-z0-9])", lock, flags=re.MULTILINE):
        if match := _NAME.match(block):
            found.setdefault(match[1], []).append(block)
    return found
