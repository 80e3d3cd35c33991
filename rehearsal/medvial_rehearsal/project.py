"""Where a project keeps its algorithms and their test cases."""

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path

from medvial.algorithm import Algorithm
from medvial.errors import InputError

PROGRAM = "process.py"


@dataclass(frozen=True)
class Case:
    """A test case of an algorithm."""

    name: str
    """Empty for the main case, which is test/ itself."""
    folder: Path
    """Holds input/, expected_output.json and, if its outputs have their own, tolerances.json."""

    @property
    def input(self) -> Path:
        """What the container sees as /input."""
        return self.folder / "input"

    @property
    def expected_output(self) -> Path:
        """The outputs of the shipped model, written by step 4."""
        return self.folder / "expected_output.json"


def project_root() -> Path:
    """The folder with algorithms/ and shared/ that this program was installed from."""
    return Path(__file__).resolve().parents[2]


def algorithm_folder(task: str | Path) -> Path:
    """The folder of an algorithm.

    Args:
        task: A folder with process.py, or a name below algorithms/ of this folder, one above it, or
            the project.

    Raises:
        InputError: There is none; names those that there are.
    """
    named = [folder / "algorithms" / task for folder in _roots()]
    for folder in (Path(task), *named):
        if (folder / PROGRAM).is_file():
            return folder.resolve()
    known = sorted({p.parent.name for r in _roots() for p in r.glob(f"algorithms/*/{PROGRAM}")})
    raise InputError(
        f"Expected a task of {', '.join(known) or 'algorithms/'} or a folder with {PROGRAM}, got "
        f"{task}."
    )


def cases(algorithm: Path) -> list[Case]:
    """The test cases of an algorithm: test/, and every folder in it that has an input/."""
    return cases_in(algorithm / "test")


def cases_in(test: Path) -> list[Case]:
    """The test cases of a test folder: itself, and every folder in it that has an input/."""
    found = [Case("", test)] if (test / "input").is_dir() else []
    return found + [Case(p.parent.name, p.parent) for p in sorted(test.glob("*/input"))]


def tolerances(algorithm: Path, case: Case) -> Path | None:
    """The case's tolerances.json, else the main case's, else None."""
    files = (case.folder / "tolerances.json", algorithm / "test" / "tolerances.json")
    return next((file for file in files if file.is_file()), None)


def algorithm_class(folder: Path) -> type[Algorithm]:
    """The algorithm that an algorithm folder's process.py defines.

    Raises:
        InputError: It cannot be imported, or defines none or several.
    """
    path = folder / PROGRAM
    name = f"medvial_process_{folder.name}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(folder))  # as for a program: modules beside it
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise InputError(
            f"Expected to import {path}, got {type(error).__name__}: {error}."
        ) from error
    finally:
        sys.path.remove(str(folder))
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Algorithm) and value.__module__ == name
    ]
    if len(found) != 1:
        raise InputError(
            f"Expected one subclass of Algorithm in {path}, got {[c.__name__ for c in found]}."
        )
    return found[0]


def _roots() -> list[Path]:
    here = Path.cwd()
    return [here, *here.parents, project_root()]
