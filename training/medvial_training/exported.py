"""A model folder made of another one, for step 4."""

import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medvial.models import ModelFolder
from medvial.outputs import check_replaceable, replace_folder

log = logging.getLogger(__name__)


@contextmanager
def exported(folder: ModelFolder, target: Path) -> Iterator[Path]:
    """A copy of a model folder to add files to and to seal; then it is moved to its place whole.

    Nothing is left of it, and the target stays as it was, where the block ends in an error.

    Args:
        folder: The model; files that its manifest does not name are not copied.
        target: The place; a model folder that is there is replaced.

    Yields:
        The copy, without a manifest.

    Raises:
        InputError: The target holds something else.
    """
    check_replaceable(target)
    target = target.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as scratch:
        part = Path(scratch) / target.name
        part.mkdir()
        for name in folder.manifest.files:
            (part / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder.path / name, part / name)
        yield part
        replace_folder(part, target)
    log.info("Model folder: %s", target)
