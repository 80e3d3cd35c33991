"""Run an algorithm on files of this machine, by the code that the container runs."""

import logging
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.text import Text

from medvial.algorithm import Algorithm
from medvial.errors import InputError
from medvial.program import describe_failure
from medvial_rehearsal.case_input import CaseInput, check_named, check_slug, find_inputs, lay_out
from medvial_rehearsal.project import algorithm_class, algorithm_folder

log = logging.getLogger(__name__)

Say = Callable[[str, bool], None]


def predict(
    task: str,
    files: list[Path],
    *,
    out: Path = Path("predictions"),
    input: list[str] | None = None,
    as_input: str | None = None,
    model: Path | None = None,
    overwrite: bool = False,
) -> int:
    """Run a task on files of this machine, by the code that its container runs.

    Every file is a case of its own, and so is a folder with a DICOM series, or one that is laid out
    as /input. Which of the task's inputs a file is follows from its ending. The model is loaded
    once; a file that fails is reported, and the others go on.

    Args:
        task: Name of a task, or an algorithm folder.
        files: Files or folders, one case each.
        out: Folder for the results: a folder in it for every file, with its name.
        input: SLUG=FILE: a further input of every case; may be repeated.
        as_input: The input that the files are, by its slug, where their ending fits several.
        model: Model folder; the algorithm's own by default.
        overwrite: Replace the results of an earlier run.

    Returns:
        Exit code: 0 if every file went well, else 1.
    """
    folder = algorithm_folder(task)
    algorithm = algorithm_class(folder)(model_path=model or folder / "model")
    others = _named_files(input or [])
    check_named(algorithm.interfaces, others)
    check_slug(algorithm.interfaces, as_input)
    targets = _targets(files, out, overwrite=overwrite)
    for name in ("medvial", type(algorithm).__module__):
        logging.getLogger(name).setLevel(logging.WARNING)  # a line a file is enough
    algorithm.load()
    failed = 0
    with _progress(algorithm, len(files)) as say:
        for file, target in zip(files, targets, strict=True):
            started = time.monotonic()
            reason = _run(algorithm, file, others, as_input, target)
            failed += reason is not None
            seconds = time.monotonic() - started
            say(
                f"{file}: failed: {reason}" if reason else f"{file}: {seconds:.1f} s, {target}",
                reason is not None,
            )
    if failed:
        log.info("%d of %d failed", failed, len(files))
    return int(failed > 0)


def _run(
    algorithm: Algorithm, file: Path, others: dict[str, Path], slug: str | None, target: Path
) -> str | None:
    """Run one case; returns why it failed, None if it did not."""
    with tempfile.TemporaryDirectory(prefix="medvial-") as temporary:
        try:
            case = find_inputs(algorithm.interfaces, file, others, slug)
            algorithm.input_path = _input_folder(case, Path(temporary))
            algorithm.output_path = target
            algorithm.run()
        except Exception as error:
            with suppress(OSError):
                target.rmdir()  # only if it is empty
            return describe_failure(error).removeprefix("InputError: ").replace(temporary, "input")
    return None


def _input_folder(case: CaseInput, temporary: Path) -> Path:
    if case.folder is not None:
        return case.folder
    lay_out(case.files, temporary)
    return temporary


def _named_files(texts: Sequence[str]) -> dict[str, Path]:
    """Files by slug, of texts `SLUG=FILE`."""
    named: dict[str, Path] = {}
    for text in texts:
        slug, separator, file = text.partition("=")
        if not separator or not slug or not file or slug in named:
            raise InputError(f"Expected --input SLUG=FILE, once for each input, got {text!r}.")
        named[slug] = Path(file)
    return named


def _targets(files: Sequence[Path], out: Path, *, overwrite: bool) -> list[Path]:
    """A folder for the results of every file, by its name; numbered where names are equal.

    Raises:
        InputError: One of them holds results already.
    """
    targets: list[Path] = []
    for file in files:
        name = file.resolve().name if file.is_dir() else file.stem
        target, number = out / name, 1
        while target in targets:
            number += 1
            target = out / f"{name}-{number}"
        targets.append(target)
    taken = [str(t) for t in targets if t.is_file() or (t.is_dir() and any(t.iterdir()))]
    if taken and not overwrite:
        more = f" and {len(taken) - 3} more" if len(taken) > 3 else ""
        raise InputError(
            f"Expected no results yet, found {', '.join(taken[:3])}{more}. Choose another --out, "
            "or replace them with --overwrite."
        )
    return targets


@contextmanager
def _progress(algorithm: Algorithm, total: int) -> Iterator[Say]:
    """Show progress while there is a terminal; yields what to call with the line of every file."""
    console = Console()
    if not console.is_terminal:
        yield _say
        return
    with Progress(console=console, transient=True) as bars:
        whole = bars.add_task("files", total=total)
        part = bars.add_task("this file", total=None)

        def show(done: int, of: int) -> None:
            bars.update(part, completed=done, total=of)

        def say(line: str, failed: bool) -> None:
            bars.console.print(Text(line, style="red" if failed else ""))
            bars.advance(whole)
            bars.reset(part, total=None)

        algorithm.progress = show
        yield say


def _say(line: str, failed: bool) -> None:
    """Results to standard output, failures to standard error."""
    print(line, file=sys.stderr if failed else sys.stdout, flush=True)
