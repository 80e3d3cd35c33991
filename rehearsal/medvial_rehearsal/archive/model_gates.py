"""Gates B1 to B5: whether the platform can unpack a model tarball, and the program can load it."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from medvial.errors import InputError
from medvial.models import MANIFEST
from medvial_rehearsal.archive.loading import load_on_cpu
from medvial_rehearsal.archive.stream import members, open_packed
from medvial_rehearsal.archive.tar import tarfile
from medvial_rehearsal.gates import GateFailure, GateNotRun, Outcome, gate

_MANIFEST_LIMIT = 8 << 20  # bytes
_PACK = "Pack the folder's content, not the folder: export.sh does."


@dataclass
class ModelContext:
    """What the gates look at, one after the other."""

    path: Path
    read: bool = False
    unsafe: list[str] = field(default_factory=list)
    """Members that the platform refuses to unpack, each with the reason."""
    names: list[str] = field(default_factory=list)
    """Every member but folders, in the archive's order."""
    digests: dict[str, str] = field(default_factory=dict)
    """sha256 (hex) of every file."""
    sizes: dict[str, int] = field(default_factory=dict)
    links: list[str] = field(default_factory=list)
    manifest: bytes | None = None

    def need_content(self) -> None:
        """A gate does not run where the archive could not be read."""
        if not self.read:
            raise GateNotRun("the archive does not open: see above")

    @property
    def task(self) -> str:
        """The task that the model is for; "" where the manifest does not say."""
        try:
            return str(json.loads(self.manifest or b"{}").get("task", ""))
        except (ValueError, RecursionError, AttributeError):
            return ""


def check_model(context: ModelContext) -> list[Outcome]:
    """Run gates B1 to B5."""
    return [run(context) for run in GATES]


@gate("B1", "a complete .tar.gz")
def opens(context: ModelContext) -> str:
    """The model tarball is compressed by gzip and can be read to its end."""
    with open_packed(context.path, ("gzip",)) as (packed, unpacked):
        for member, content in members(unpacked):
            _note(context, member, content)
    if not context.path.name.removesuffix(".part").endswith((".tar.gz", ".tgz")):
        raise GateFailure(f"named {context.path.name}", "Give it a name that ends in .tar.gz.")
    context.read = True
    return f"{packed.size / 1e6:.1f} MB, sha256 {packed.sha256}"


@gate("B2", "every member can be unpacked")
def safe(context: ModelContext) -> str:
    """The platform unpacks with tarfile's data filter; we ship no links at all."""
    context.need_content()
    if context.unsafe:
        raise GateFailure(
            f"the platform refuses to unpack {'; '.join(context.unsafe[:5])}",
            "The job dies before the program starts. Pack plain files: export.sh does.",
        )
    if context.links:
        raise GateFailure(
            f"links: {', '.join(context.links[:5])}",
            "Pack the files themselves: export.sh does, or tar --dereference.",
        )
    twice = sorted(name for name, count in Counter(context.names).items() if count > 1)
    if twice:
        raise GateFailure(f"more than once: {', '.join(twice[:5])}", "Pack every file once.")
    return f"{len(context.names)} files, {sum(context.sizes.values()) / 1e6:.1f} MB unpacked"


@gate("B3", "no folder around the model")
def no_wrapper(context: ModelContext) -> None:
    """The platform strips nothing: what lies in a folder ends one folder too deep."""
    context.need_content()
    tops = {name.split("/")[0] for name in context.names}
    if not context.names:
        raise GateFailure("the archive holds no file", "Run step 4, then export again.")
    if len(tops) == 1 and all("/" in name for name in context.names):
        raise GateFailure(f"everything lies in the folder {tops.pop()}/", _PACK)


@gate("B4", "the files and sums of its manifest")
def complete(context: ModelContext) -> str:
    """Exactly the files that manifest.json lists, each with its sha256."""
    context.need_content()
    declared = _declared(context)
    found = {name: digest for name, digest in context.digests.items() if name != MANIFEST}
    missing, extra = sorted(set(declared) - set(found)), sorted(set(found) - set(declared))
    if missing or extra:
        raise GateFailure(
            f"missing: {', '.join(missing) or 'none'}; not listed: {', '.join(extra) or 'none'}",
            "Run step 4, or seal the model folder, and export again.",
        )
    altered = sorted(name for name, digest in declared.items() if found[name] != digest)
    if altered:
        raise GateFailure(
            f"other sha256 sums than in {MANIFEST}: {', '.join(altered)}",
            "The model folder was altered after it was sealed: run step 4, or seal it, and export "
            "again.",
        )
    return f"a model of {context.task}: {', '.join(sorted(found))}"


@gate("B5", "loads on the CPU", required=False)
def loads(context: ModelContext) -> str:
    """The algorithm's own program loads it, where it is an algorithm of this project."""
    context.need_content()
    if context.unsafe or context.links or not context.task:
        raise GateNotRun("the tarball is not fit to be unpacked: see above")
    return load_on_cpu(context.path, context.task)


GATES: tuple[Callable[[ModelContext], Outcome], ...] = (opens, safe, no_wrapper, complete, loads)


def _note(context: ModelContext, member: tarfile.TarInfo, content: IO[bytes] | None) -> None:
    try:
        tarfile.data_filter(member, "/opt/ml/model")
    except tarfile.FilterError as error:
        context.unsafe.append(str(error))
    name = member.name.removeprefix("./")
    if member.issym() or member.islnk():
        context.links.append(name)
    if member.isdir():
        return
    context.names.append(name)
    if len(context.names) > 100_000:
        raise InputError(f"Expected a model of at most 100000 files at {context.path}, got more.")
    if content is None:
        return
    context.sizes[name] = member.size
    if name == MANIFEST:
        context.manifest = content.read(_MANIFEST_LIMIT)
        context.digests[name] = hashlib.sha256(context.manifest).hexdigest()
    else:
        context.digests[name] = hashlib.file_digest(content, "sha256").hexdigest()  # type: ignore[arg-type]


def _declared(context: ModelContext) -> dict[str, Any]:
    if context.manifest is None:
        raise GateFailure(f"no {MANIFEST} at the top of the archive", _PACK)
    try:
        values = json.loads(context.manifest)
        files = values["files"]
    except (ValueError, KeyError, TypeError, RecursionError):
        files = None
    if not isinstance(files, dict):
        raise GateFailure(
            f"{MANIFEST} is no object with an object files",
            "Run step 4, or seal the model folder, and export again.",
        )
    return files
