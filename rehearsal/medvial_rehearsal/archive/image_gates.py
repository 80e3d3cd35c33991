"""Gates A1 to A12: what the platform asks of an image archive, and what fails there later."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from medvial_rehearsal.archive.command import check_command
from medvial_rehearsal.archive.image import (
    Image,
    ImageArchive,
    load_image,
    only_entry,
    read_archive,
)
from medvial_rehearsal.archive.inspection import DOWNLOAD, LIBRARY_KEY, SECRET, secret_variables
from medvial_rehearsal.archive.ledger import read_ledger
from medvial_rehearsal.archive.users import resolve_user
from medvial_rehearsal.gates import GateFailure, GateNotRun, GateWarning, Outcome, gate

METHOD_LABEL = "org.grand-challenge.api-method"
METHOD_VARIABLE = "MEDVIAL_API_METHOD"
API_METHODS = ("exec", "invoke")

ENDINGS = (".tar", ".tar.gz", ".tar.xz")
WARN_BYTES, FAIL_BYTES = 2 * 10**9, 10 * 10**9  # unverified users may upload 2 GB
SLIM_BYTES = 300 * 10**6  # our own budget of an image for the CPU
WASTE_BYTES = 100 * 10**6  # files that a later layer removes or replaces
WEIGHTS = (".pt", ".pth", ".ckpt", ".onnx", ".safetensors", ".h5", ".tflite")
WEIGHTS_BYTES = 10**6  # smaller ones are a library's own examples
_CACHES = ("/.cache/torch/", "/.cache/huggingface/", "/.cache/pip/", "/.keras/")
_PLATFORM_FOLDERS = ("input", "output", "tmp", "opt/ml")
_SHOWN = 5  # names in a message


@dataclass
class ImageContext:
    """What the gates look at, one after the other."""

    path: Path
    ledger: Path
    archive: ImageArchive | None = None
    image: Image | None = None

    def need_archive(self) -> ImageArchive:
        """The archive; a gate that needs it does not run where it does not open."""
        if self.archive is None:
            raise GateNotRun("the archive does not open: see above")
        return self.archive

    def need_image(self) -> Image:
        """The image; a gate that needs it does not run where there is none."""
        if self.image is None:
            raise GateNotRun("there is no image to look at: see above")
        return self.image


def check_image(context: ImageContext) -> list[Outcome]:
    """Run gates A1 to A12."""
    return [run(context) for run in GATES]


@gate("A1", "the archive opens")
def opens(context: ImageContext) -> str:
    """Its name ends as the platform expects, and it can be read to its end."""
    context.archive = read_archive(context.path)
    if not context.path.name.removesuffix(".part").endswith(ENDINGS):
        raise GateFailure(
            f"named {context.path.name}", f"Give it a name that ends in {' or '.join(ENDINGS)}."
        )
    return f"{context.archive.size / 1e6:.1f} MB, sha256 {context.archive.sha256}"


@gate("A2", "exactly one image")
def one_image(context: ImageContext) -> str:
    """manifest.json names one image."""
    entry = only_entry(context.need_archive())
    return str((entry.get("RepoTags") or ["untagged"])[0])


@gate("A3", "configuration and layers have their digests")
def digests(context: ImageContext) -> str:
    """The configuration has the sha256 of its name, the layers those of the configuration."""
    archive = context.need_archive()
    try:
        entry = only_entry(archive)
    except GateFailure:
        raise GateNotRun("there is not exactly one image: see above") from None
    context.image = load_image(archive, entry)
    return f"image id {context.image.image_id}"


@gate("A4", "for linux/amd64")
def platform(context: ImageContext) -> None:
    """The platform runs nothing else."""
    config = context.need_image().config
    got = f"{config.get('os')}/{config.get('architecture')}"
    if got != "linux/amd64":
        raise GateFailure(f"built for {got}", "Build with --platform linux/amd64: build.sh does.")


@gate("A5", "run by a user with a home")
def user(context: ImageContext) -> str:
    """USER is not root, is in /etc/passwd, and has a home that exists."""
    image = context.need_image()
    found = resolve_user(str(image.settings.get("User") or ""), image.tree)
    home = image.tree.resolve(found.home)
    if home is None or home.kind != "folder":
        raise GateFailure(
            f"the home of {found.name}, {found.home}, is not in the image: caches fail there",
            "Make it: useradd --create-home.",
        )
    return f"{found.name} ({found.uid}:{found.gid}), home {found.home}"


@gate("A6", "a known API method, the same everywhere")
def api_method(context: ImageContext) -> str:
    """The label, the program's variable and the image's manifest agree."""
    image = context.need_image()
    label = image.labels.get(METHOD_LABEL)
    method = "exec" if label is None else str(label)
    if method not in API_METHODS:
        raise GateFailure(
            f"the label {METHOD_LABEL} is {method!r}: the platform refuses the image",
            f"Make it one of {', '.join(API_METHODS)}: build.sh does, --invoke for the latter.",
        )
    others = {METHOD_VARIABLE: image.variables.get(METHOD_VARIABLE)}
    if image.manifest is not None:
        others["medvial.json"] = image.manifest.get("api_method")
    wrong = [
        f"{name} says {value}" for name, value in others.items() if value not in (None, method)
    ]
    if wrong:
        raise GateFailure(
            f"the label says {method}, but {' and '.join(wrong)}",
            "Build again with build.sh, which sets all of them from one argument.",
        )
    return method if label is not None else "no label, which means exec"


@gate("A7", "an exec-form command that the user can run")
def command(context: ImageContext) -> str:
    """ENTRYPOINT and CMD are lists, and what they name is there."""
    image = context.need_image()
    found = resolve_user(str(image.settings.get("User") or ""), image.tree)
    return check_command(image, found)


@gate("A8", "no weights, nothing where the platform mounts")
def payload(context: ImageContext) -> str | None:
    """No undeclared weights or caches, nothing below /input, /output and /tmp."""
    image = context.need_image()
    hidden = [
        f"/{entry.path}"
        for entry in image.tree
        if entry.kind != "folder"
        and entry.path.startswith(tuple(f"{f}/" for f in _PLATFORM_FOLDERS))
    ]
    if hidden:
        raise GateFailure(
            f"files where the platform mounts its own folders: {_some(hidden)}",
            "They are not there when the program runs. Put them elsewhere, weights into the model "
            "tarball.",
        )
    weights = _undeclared_weights(image)
    if weights:
        raise GateFailure(
            f"weights or caches in the image: {_some(weights)}",
            "Ship weights in the model tarball, so that new ones need no new image; or list them "
            'under "weights" in the image\'s medvial.json.',
        )
    _warn_of_downloads(image)
    return None


@gate("A9", "size within the limits")
def size(context: ImageContext) -> str:
    """The archive can be uploaded, and no layer carries what a later one removes."""
    image, archive = context.need_image(), context.need_archive()
    layers = sum(layer.size for layer in image.layers)
    text = (
        f"{archive.size / 1e6:.0f} MB, unpacked {layers / 1e6:.0f} MB in {len(image.layers)} layers"
    )
    for limit, verdict in ((FAIL_BYTES, GateFailure), (WARN_BYTES, GateWarning)):
        if archive.size > limit:
            raise verdict(
                f"{text}: above {limit / 1e9:.0f} GB",
                "Drop packages, or take the image with ONNX Runtime instead of PyTorch.",
            )
    waste = sum(entry.size for layer in image.layers for entry in layer.entries) - image.tree.size
    if waste > WASTE_BYTES:
        raise GateWarning(
            f"{text}; {waste / 1e6:.0f} MB of it are removed or replaced by later layers",
            "Remove files in the RUN that makes them, and use COPY --chown instead of chown.",
        )
    compressed = archive.size < archive.unpacked
    if (image.manifest or {}).get("gpu") is False and compressed and archive.size > SLIM_BYTES:
        raise GateWarning(
            f"{text}: above the {SLIM_BYTES / 1e6:.0f} MB of an image without PyTorch",
            "See what the largest layer holds; drop what the program does not import.",
        )
    return text


@gate("A10", "no secrets")
def secrets(context: ImageContext) -> None:
    """No keys, tokens or histories in any layer, no settings that the platform strips."""
    image = context.need_image()
    found = image.findings(SECRET)
    if found:
        raise GateFailure(
            _some(found),
            "Keep it out by .dockerignore. Deleting it in a later layer leaves it in the archive. "
            "Take a key that was in an image for lost.",
        )
    named = secret_variables([*image.strings("Env"), *image.steps])
    if named:
        raise GateFailure(
            f"secrets in ENV or build arguments: {_some(named)}",
            "They are readable for everyone who gets the image: keep them out of the build.",
        )
    stripped = [name for name in image.variables if name.startswith("GRAND_CHALLENGE_")]
    if stripped:
        raise GateFailure(
            f"ENV sets {_some(stripped)}", "The platform strips GRAND_CHALLENGE_*: rename it."
        )
    keys = image.findings(LIBRARY_KEY)
    if keys:
        raise GateWarning(
            f"keys among the libraries: {_some(keys)}",
            "A library's own tests may have such; take any other key for lost.",
        )


@gate("A11", "not uploaded before")
def not_uploaded(context: ImageContext) -> str:
    """The ledger does not say that this image is on the platform already."""
    image = context.need_image()
    before = read_ledger(context.ledger).get(image.image_id)
    if before and before.uploaded:
        raise GateFailure(
            f"image {image.image_id[:12]} was uploaded on {before.uploaded}",
            "The platform refuses it a second time. A new model needs no new image: upload the "
            "model tarball alone.",
        )
    return f"first exported on {before.exported}" if before else "new"


@gate("A12", "unbuffered logs")
def unbuffered(context: ImageContext) -> None:
    """A program that is killed has told its last line."""
    if not context.need_image().variables.get("PYTHONUNBUFFERED"):
        raise GateFailure(
            "PYTHONUNBUFFERED is not set: the last log lines of a killed program are lost",
            "In the Dockerfile: ENV PYTHONUNBUFFERED=1",
        )


GATES: tuple[Callable[[ImageContext], Outcome], ...] = (
    *(opens, one_image, digests, platform, user, api_method),
    *(command, payload, size, secrets, not_uploaded, unbuffered),
)


def _undeclared_weights(image: Image) -> list[str]:
    """Weights and download caches above the budget, each with its size."""
    declared = (image.manifest or {}).get("weights", [])
    if not isinstance(declared, list):
        raise GateFailure(
            f'"weights" in the image\'s medvial.json is {str(declared)[:60]!r}, no list of paths',
            'Write "weights": ["/opt/…"] into sockets.json, and build again.',
        )
    return [
        f"/{entry.path} ({entry.size / 1e6:.1f} MB)"
        for entry in image.tree
        if entry.size > WEIGHTS_BYTES
        and (entry.path.endswith(WEIGHTS) or any(c in f"/{entry.path}" for c in _CACHES))
        and f"/{entry.path}" not in declared
    ]


def _warn_of_downloads(image: Image) -> None:
    found = [
        f"/{entry.path}:{note.removeprefix(DOWNLOAD)}"
        for entry in image.tree
        for note in entry.findings
        if note.startswith(DOWNLOAD)
    ]
    if found:
        raise GateWarning(
            f"code that may download when it runs: {_some(found)}",
            "There is no network on the platform: ship the weights in the model tarball.",
        )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
