"""The model tarball: the same content gives the same bytes.

python -m medvial_rehearsal.archive.pack MODEL_FOLDER MODEL.tar.gz
"""

import contextlib
import gzip
import sys
import tarfile
from pathlib import Path

from medvial.errors import InputError
from medvial.models import MANIFEST


def pack_model(model: Path, out: Path) -> None:
    """Write a model folder as a .tar.gz.

    Root-relative, sorted, without the host's owners, modes and times; links become files.

    Args:
        model: The model folder.
        out: The tarball; written under a temporary name first.

    Raises:
        InputError: There is no model folder, or it cannot be read or written.
    """
    if not (model / MANIFEST).is_file():
        raise InputError(f"Expected a model folder with {MANIFEST} at {model}: run step 4.")
    part = out.with_name(out.name + ".part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with (
            part.open("wb") as file,
            gzip.GzipFile("", "wb", 6, file, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            for path in sorted(p for p in model.rglob("*") if p.is_file()):
                _add(archive, path, path.relative_to(model).as_posix())
        part.replace(out)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise InputError(f"Expected to pack {model} as {out}, got: {error}.") from None


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
