"""Where the BlazePose networks lie, and which files they are. Nothing is downloaded here."""

import hashlib
import os
import sys
from pathlib import Path

from medvial.errors import InputError

FOLDER_VARIABLE = "MEDVIAL_BLAZEPOSE"
FILES = {
    "pose_detection.tflite": "9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c",
    "pose_landmark_full.tflite": "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f",
}
"""SHA-256 of the networks' files in the wheel mediapipe 0.10.21 (Google, Apache-2.0)."""


def default_folder() -> Path:
    """Folder of the networks: as the environment says, else one of this Python environment."""
    named = os.environ.get(FOLDER_VARIABLE)
    return Path(named) if named else Path(sys.prefix) / "share" / "medvial" / "blazepose"


def find_weights(folder: Path | None = None) -> dict[str, Path]:
    """Paths of the networks' files, checked.

    Args:
        folder: Where they are; None looks in `default_folder()`.

    Raises:
        InputError: A file is missing or not the one it should be.
    """
    folder = default_folder() if folder is None else Path(folder)
    for name, expected in FILES.items():
        found = sha256_of(folder / name)
        if found != expected:
            what = "none" if found is None else f"another (SHA-256 {found[:12]}…)"
            raise InputError(
                f"Expected the network {name} of mediapipe 0.10.21 in {folder}, found {what}. "
                f"Fetch it with `python -m medvial.gait.fetch_weights`, or set {FOLDER_VARIABLE} "
                "to the folder that has it."
            )
    return {name: folder / name for name in FILES}


def sha256_of(path: Path) -> str | None:
    """SHA-256 of a file in hexadecimal digits; None where there is no such file."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None
