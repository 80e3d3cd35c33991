"""The model tarball: the same content gives the same bytes.

python -m medvial_rehearsal.archive.pack MODEL_FOLDER MODEL.tar.gz
"""

import contextlib
import gzip
import logging
import sys
import tarfile
from pathlib import Path

from medvial.errors import InputError
from medvial.models import MANIFEST, listed_file, read_manifest

log = logging.getLogger(__name__)


def pack_model(model: Path, out: Path) -> None:
    """Write a model folder as a .tar.gz: its manifest, and the files that this lists.

    Root-relative, sorted, without the host's owners, modes and times; links become files.

    Args:
        model: The model folder.
        out: The tarball; written under a temporary name first.

    Raises:
        InputError: There is no model folder, a file of it is missing or a link out of it, or it
            cannot be read or written.
    """
    if not (model / MANIFEST).is_file():
        raise InputError(f"Expected a model folder with {MANIFEST} at {model}: run step 4.")
    names = sorted({MANIFEST, *read_manifest(model).files})
    files = {name: listed_file(model, name) for name in names}
    _tell_unlisted(model, names)
    part = out.with_name(out.name + ".part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with (
            part.open("wb") as file,
            gzip.GzipFile("", "wb", 6, file, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            for name, path in files.items():
                _add(archive, path, name)
        part.replace(out)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise InputError(f"Expected to pack {model} as {out}, got: {error}.") from None


def _tell_unlisted(model: Path, names: list[str]) -> None:
    found = (path.relative_to(model).as_posix() for path in model.rglob("*") if path.is_file())
    unlisted = sorted(set(found) - set(names))
    if unlisted:
        log.warning("Not packed, as %s does not list them: %s", MANIFEST, ", ".join(unlisted))


def _add(archive: tarfile.TarFile, path: Path, name: str) -> None:
    info = tarfile.TarInfo(f"./{name}")
    info.size = path.stat().st_size  # of what a link points to
    info.mode = 0o644
    with path.open("rb") as content:
        archive.addfile(info, content)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -m medvial_rehearsal.archive.pack MODEL_FOLDER MODEL.tar.gz")
    try:
        pack_model(Path(sys.argv[1]), Path(sys.argv[2]))
    except InputError as error:
        sys.exit(f"error: {error}")
