"""The model folder: what training leaves, what the platform mounts, what inference loads."""

import dataclasses
import hashlib
import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from medvial.errors import InputError
from medvial.outputs import read_json, write_json

MANIFEST = "manifest.json"
ONNX = "model.onnx"
SAFETENSORS = "model.safetensors"
BACKEND_VARIABLE = "MEDVIAL_BACKEND"

Network = Callable[[NDArray[np.float32]], NDArray[np.float32]]
ConfigT = TypeVar("ConfigT")


@dataclass(frozen=True)
class Manifest:
    """What a model folder says of itself."""

    task: str
    config: dict[str, Any]
    """The task's Config, field by field."""
    files: dict[str, str]
    """sha256 (hex) of every other file, by its path in the folder: fold_0/model.onnx."""
    training: dict[str, Any] = field(default_factory=dict)
    """Data, licence, whether it is a phantom, git revision, versions."""
    metrics: dict[str, Any] = field(default_factory=dict)
    """Validation results of the weights."""


@dataclass(frozen=True)
class ModelFolder:
    """A verified model folder."""

    path: Path
    manifest: Manifest

    @classmethod
    def open(cls, path: Path, *, task: str | tuple[str, ...]) -> "ModelFolder":
        """Read the manifest and verify every file's sha256.

        Args:
            path: The folder.
            task: Whose model it must be; one of several where a program serves several tasks.

        Raises:
            InputError: The manifest or a file is missing or altered, a link leads out of the
                folder, or it is another task's.
        """
        if not (path / MANIFEST).is_file():
            found = sorted(p.name for p in path.iterdir())[:10] if path.is_dir() else []
            raise InputError(
                f"Expected a model folder with {MANIFEST} at {path}, got {found or 'nothing'}. "
                "Upload or mount the model tarball (export.sh writes it), or run steps 2 and 4."
            )
        manifest = read_manifest(path)
        tasks = (task,) if isinstance(task, str) else task
        if manifest.task not in tasks:
            raise InputError(
                f"Expected a model of {' or '.join(tasks)} in {path}, got one of {manifest.task}."
            )
        for name, digest in manifest.files.items():
            _verify(path, name, digest)
        return cls(path, manifest)

    @classmethod
    def seal(cls, path: Path, **fields: Any) -> "ModelFolder":
        """Write the manifest of the files that are in the folder and its subfolders now.

        Hidden and unfinished (.part) files and folders are left out.

        Args:
            path: The folder.
            fields: As in Manifest.

        Raises:
            InputError: A link leads to a folder, out of the model folder, or nowhere.
        """
        files = {name: sha256(listed_file(path, name)) for name in _names(path)}
        for name in files:  # the container's user is not the one who trained
            (path / name).chmod(0o644)
            for folder in PurePosixPath(name).parents:
                (path / folder).chmod(0o755)
        manifest = Manifest(files=files, **fields)
        write_json(path / MANIFEST, dataclasses.asdict(manifest))
        (path / MANIFEST).chmod(0o644)
        path.chmod(0o755)
        return cls(path, manifest)

    def config(self, config_type: type[ConfigT]) -> ConfigT:
        """The task's Config as it was in training.

        Raises:
            InputError: A field is missing or unknown: the model is of another version.
        """
        return config_from_dict(config_type, self.manifest.config, where=self.path / MANIFEST)

    def read_json(self, name: str) -> Any:
        """A JSON file that the manifest lists.

        Raises:
            InputError: It is not listed, hence not verified.
        """
        if name not in self.manifest.files:
            raise InputError(f"Expected {name} in {self.path / MANIFEST}, got no such entry.")
        return read_json(self.path / name)


def config_from_dict(config_type: type[ConfigT], values: Any, *, where: Path) -> ConfigT:
    """A Config from the fields of a JSON object; none may be missing or unknown."""
    expected = {f.name for f in dataclasses.fields(config_type)}  # type: ignore[arg-type]
    got = set(values) if isinstance(values, dict) else set()
    if expected != got:
        raise InputError(
            f"Expected the configuration of this version in {where}; missing: "
            f"{sorted(expected - got) or 'none'}, unknown: {sorted(got - expected) or 'none'}. "
            "Run the step that wrote it again."
        )
    return config_type(**values)


def load_network(
    folder: ModelFolder, build_model: Callable[[], Any], name: str = "model"
) -> Network:
    """A network of a model folder as a function of arrays.

    PyTorch on a CUDA device where there is one, else ONNX Runtime on the CPU, else PyTorch on the
    CPU; the environment variable MEDVIAL_BACKEND (torch or onnx) overrides. No pickle is loaded.

    Args:
        folder: The model folder.
        build_model: Makes the untrained network, for PyTorch.
        name: The network's name: its files are name.onnx and name.safetensors.

    Returns:
        A function of (N, ...) float32 to (N, ...) float32.

    Raises:
        InputError: No backend is installed for the files that the folder holds.
    """
    onnx, safetensors = f"{name}.onnx", f"{name}.safetensors"
    usable = {
        "onnx": onnx in folder.manifest.files and _installed("onnxruntime"),
        "torch": safetensors in folder.manifest.files and _installed("torch"),
    }
    choice = os.environ.get(BACKEND_VARIABLE, "")
    if choice not in ("", *usable):
        raise InputError(f"Expected {BACKEND_VARIABLE} to be onnx or torch, got {choice!r}.")
    if not choice:
        choice = "torch" if usable["torch"] and (_cuda() or not usable["onnx"]) else "onnx"
    if not usable[choice]:
        raise InputError(
            f"Expected {onnx} with ONNX Runtime, or {safetensors} with PyTorch, in {folder.path}; "
            f"got {sorted(folder.manifest.files)} and installed: "
            f"{[n for n in ('onnxruntime', 'torch') if _installed(n)]}. Run step 4 to write {onnx}."
        )
    if choice == "onnx":
        return _onnx_network(folder.path / onnx)
    from medvial.torch_network import torch_network

    return torch_network(folder.path / safetensors, build_model)


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _onnx_network(path: Path) -> Network:
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    session = onnxruntime.InferenceSession(
        path.read_bytes(), onnx_options(), providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name

    def run(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        output: NDArray[np.float32] = session.run(None, {name: batch})[0]
        return output

    return run


def onnx_options() -> Any:
    """ONNX Runtime's SessionOptions that leave standard error empty: it marks a platform job."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only
    usable = len(os.sched_getaffinity(0))
    if usable < (os.cpu_count() or usable):
        # By itself it ties a thread to every core, and errs about those that it may not use.
        options.intra_op_num_threads = usable
    return options


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a model folder; its files are not looked at.

    Raises:
        InputError: It is missing, or has another form.
    """
    path = folder / MANIFEST
    values = read_json(path)
    try:
        manifest = Manifest(**values)
    except TypeError as error:
        raise InputError(f"Expected the fields of a manifest in {path}: {error}.") from None
    types = dict.fromkeys(("config", "files", "training", "metrics"), dict) | {"task": str}
    wrong = [name for name, kind in types.items() if not isinstance(getattr(manifest, name), kind)]
    if wrong or not all(isinstance(digest, str) for digest in manifest.files.values()):
        raise InputError(
            f"Expected text as task and as sums, objects else, in {path}, got others in "
            f"{', '.join(wrong) or 'files'}. Copy the model folder again, or seal it."
        )
    unsafe = [name for name in manifest.files if not _is_plain(name)]
    if unsafe:
        raise InputError(
            f"Expected plain file names, such as w.bin or fold_0/w.bin, in {path}, got {unsafe}."
        )
    return manifest


def listed_file(folder: Path, name: str) -> Path:
    """Where a file lies that the manifest of a model folder lists.

    Raises:
        InputError: There is no such file, or a link leads out of the folder.
    """
    path = folder / name
    if not path.is_file():
        got = "a folder, or a link to one" if path.is_dir() else "no such file"
        raise InputError(
            f"Expected {path}, which the manifest lists, got {got}. Put the files themselves there "
            "and seal the folder again: step 4 does."
        )
    if not path.resolve().is_relative_to(folder.resolve()):
        raise InputError(
            f"Expected {path} in the model folder, got a link to {path.resolve()}. Put a copy in "
            "the link's place: the platform has this folder alone."
        )
    return path


def _names(folder: Path) -> list[str]:
    """The files to be listed, by their paths in the folder."""
    paths = [path.relative_to(folder) for path in sorted(folder.rglob("*"))]
    return [
        path.as_posix()
        for path in paths
        if path != Path(MANIFEST)
        and not any(part.startswith(".") or part.endswith(".part") for part in path.parts)
        and ((folder / path).is_symlink() or not (folder / path).is_dir())
    ]


def _is_plain(name: str) -> bool:
    """Whether a name stays below the folder, and is the only way to write it."""
    return {"", ".", ".."}.isdisjoint(name.split("/"))


def _verify(folder: Path, name: str, digest: str) -> None:
    path = folder / name
    try:
        got = sha256(listed_file(folder, name))
    except OSError as error:
        raise InputError(
            f"Expected to read {path}, got: {error.strerror}. Make the model folder readable for "
            "the container's user (chmod -R a+rX)."
        ) from None
    if got != digest:
        raise InputError(
            f"Expected {path} with sha256 {digest[:12]}…, got {got[:12]}…: the file was altered or "
            "is incomplete. Copy the model folder again."
        )


def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _cuda() -> bool:
    import torch

    return torch.cuda.is_available()
