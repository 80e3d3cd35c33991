"""Where a model comes from: data, code, versions."""

import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from medvial.errors import InputError
from medvial.models import Manifest, sha256
from medvial.outputs import read_json

DATA_FIELDS = ("phantom", "description", "licence")
PACKAGES = ("medvial", "torch", "lightning", "numpy", "opencv-python-headless")


def provenance(data: Path) -> dict[str, Any]:
    """What a manifest says of a model's training: source of the data, splits, code, versions."""
    source = read_json(data / "source.json") if (data / "source.json").is_file() else {}
    known = {key: source[key] for key in DATA_FIELDS if key in source}  # no path of a machine
    return {
        "data": known,
        "splits_sha256": {p.stem: sha256(p) for p in sorted(data.glob("*.csv"))},
        "git_revision": git_revision(),
        "date": datetime.now(UTC).date().isoformat(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
    }


def check_trained_on(manifest: Manifest, data: Path, where: object) -> None:
    """Refuse a model that may have seen what it is to be validated or tested on.

    Raises:
        InputError: The tables of its training and validation samples are not those of `data`.
    """
    known = manifest.training.get("splits_sha256", {})
    for table in (data / "train.csv", data / "valid.csv"):
        if not table.is_file() or known.get(table.stem) != sha256(table):
            raise InputError(
                f"Expected a model that was trained on the data of {table}, got {where}: it "
                "may have seen films of the validation or of the test. Train it on this data."
            )


def git_revision() -> str:
    """The working tree's revision, with -dirty after changes; unknown outside git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    folder = Path(__file__).parent
    try:
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return result.stdout.strip()
