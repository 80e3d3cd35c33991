"""Compare the outputs of a run with the expected ones, within tolerances.

    python -m medvial.compare EXPECTED_JSON OUTPUT_FOLDER [--tolerances FILE] [--model FOLDER]

`expected_output.json` is one JSON object: the content of every output file by its path in the
output folder, and under `model_sha256` the sha256 of the manifest of the model that made them.
The content of an image is its geometry and how many voxels of which value lie where; of any
other file that is not JSON, its sha256.
"""

import argparse
import math
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medvial.errors import InputError
from medvial.image_description import describe_image
from medvial.models import MANIFEST, sha256
from medvial.outputs import read_json
from medvial.stacks import STACK_SUFFIXES

MODEL_KEY = "model_sha256"
VOXEL_COUNTS = "labels"  # measured, not counted off: the only whole numbers that have a tolerance
BY_VALUE = (VOXEL_COUNTS, "centroids")  # objects whose keys are values: their own key counts
DEFAULT = 1e-3  # what another CPU may change; more is for tolerances.json to say
SHOWN = 10  # differences printed per file
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


@dataclass(frozen=True)
class Difference:
    """One place where the actual value is not the expected one."""

    where: str
    """Path in the file, such as `points[3 "4"].point[0]`."""
    message: str
    amount: float
    """Distance of two numbers; infinite for everything else."""
    allowed: float = 0.0

    @property
    def tolerated(self) -> bool:
        """Whether the distance is within the tolerance (a NaN never is)."""
        return self.amount <= self.allowed


@dataclass(frozen=True)
class Tolerances:
    """How far apart two numbers may be, in the unit of the output."""

    default: float = DEFAULT
    """Of numbers that no key names; times their size, where that is above 1."""
    by_key: Mapping[str, float | Mapping[str, float]] = field(default_factory=dict)
    """By the key nearest to the number; a mapping chooses by the `unit` beside that key. A text
    whose key is here may differ in its numbers by as much."""

    def of(self, key: str, siblings: Mapping[str, Any], expected: Any = 0.0) -> float:
        """How far from `expected` a number under `key` may be, whose object is `siblings`."""
        tolerance = self.by_key.get(key)
        if isinstance(tolerance, Mapping):
            tolerance = tolerance.get(str(siblings.get("unit")))
        if tolerance is None:
            size = abs(expected) if _is_number(expected) else 0.0
            tolerance = self.default * max(1.0, size)
        return float(tolerance)


def compare(expected: Any, actual: Any, tolerances: Tolerances) -> list[Difference]:
    """Compare two JSON values.

    Objects must have the same keys, lists the same lengths, strings and whole numbers be equal;
    other numbers, and those in texts whose key has a tolerance, may differ by it.

    Returns:
        Every difference, the tolerated ones too, largest first.
    """
    found = _walk(expected, actual, tolerances, where="", key="", siblings={})
    return sorted(found, key=lambda d: (d.tolerated, -_rank(d.amount)))


def compare_folder(
    expected: Mapping[str, Any], folder: Path, tolerances: Mapping[str, Tolerances]
) -> dict[str, list[Difference]]:
    """Compare every file of an output folder.

    Args:
        expected: Content by path in the folder.
        folder: What the run wrote.
        tolerances: By path in the folder; the default ones otherwise.

    Returns:
        Every difference by path; a file too many or too few is one too.

    Raises:
        InputError: There is no such folder, or an output cannot be read.
    """
    if not folder.is_dir():
        raise InputError(f"Expected the output folder of a run, found none at {folder}.")
    names = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    result: dict[str, list[Difference]] = {}
    for name in sorted(names | set(expected)):
        if name not in names:
            result[name] = [Difference("", "was not written", math.inf)]
        elif name not in expected:
            result[name] = [Difference("", "is not an expected output", math.inf)]
        else:
            content = read_output(folder / name)
            result[name] = compare(expected[name], content, tolerances.get(name, Tolerances()))
    return result


def read_output(path: Path) -> Any:
    """The content of an output file as JSON: itself, or what `describe_image` says, or a sha256.

    Raises:
        InputError: It cannot be read.
    """
    if path.suffix == ".json":
        return read_json(path)
    if path.suffix in STACK_SUFFIXES:
        return describe_image(path)
    return {"file": {"sha256": sha256(path)}}


def read_tolerances(
    path: Path | None, names: Mapping[str, Any], default: float = DEFAULT
) -> dict[str, Tolerances]:
    """The tolerances of each output from `tolerances.json`: {output: {key: number}}.

    Raises:
        InputError: The file is not of that form, or names a file that is no output.
    """
    by_file = read_json(path) if path else {}
    well_formed = isinstance(by_file, dict) and all(map(_are_tolerances, by_file.values()))
    if not well_formed or set(by_file) - set(names):
        raise InputError(
            f"Expected an object of tolerances by key for some of {sorted(names)} in {path}, each "
            f"a number from 0 on or an object of such by unit, got {_short(by_file)}."
        )
    return {name: Tolerances(default, by_file.get(name, {})) for name in names}


def main(arguments: list[str] | None = None) -> int:
    """Print the differences.

    Returns:
        The exit code: 0 within the tolerances, 1 different, 2 not comparable.
    """
    options = _parser().parse_args(arguments)
    try:
        expected = _read_expected(options.expected)
        made_with = expected.pop(MODEL_KEY, None)
        if options.model and made_with and made_with != sha256(options.model / MANIFEST):
            print(f"{options.expected.name} was made with other weights: run step 4 again")
            return 1
        tolerances = read_tolerances(options.tolerances, expected, options.tolerance)
        result = compare_folder(expected, options.actual, tolerances)
    except (InputError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    for name, differences in result.items():
        print("\n".join(report(name, differences)))
    return int(any(not d.tolerated for found in result.values() for d in found))


def report(name: str, differences: list[Difference]) -> Iterator[str]:
    """The lines that tell how one output compares."""
    bad = [d for d in differences if not d.tolerated]
    if not bad:
        worst = differences[0] if differences else None
        detail = f"largest difference {worst.amount:.3g} at {worst.where}" if worst else "identical"
        yield f"  same       {name}: {detail}"
    for difference in bad[:SHOWN]:
        where = f"{name}: {difference.where}" if difference.where else name
        yield f"  DIFFERENT  {where} {difference.message}"
    if len(bad) > SHOWN:
        yield f"  DIFFERENT  {name}: and {len(bad) - SHOWN} places more"


def _walk(
    expected: Any,
    actual: Any,
    tolerances: Tolerances,
    *,
    where: str,
    key: str,
    siblings: Mapping[str, Any],
) -> Iterator[Difference]:
    if isinstance(expected, dict) and isinstance(actual, dict):
        for name in sorted(set(expected) | set(actual)):
            inside = f"{where}.{name}" if where else name
            if name not in actual or name not in expected:
                what = "is missing" if name in expected else "was not expected"
                yield Difference(inside, what, math.inf)
                continue
            inner = key if key in BY_VALUE else name
            yield from _walk(
                expected[name], actual[name], tolerances, where=inside, key=inner, siblings=expected
            )
    elif isinstance(expected, list) and isinstance(actual, list):
        if len(expected) != len(actual):
            message = f"expected {len(expected)} items, got {len(actual)}"
            yield Difference(where, message, math.inf)
        for index, (left, right) in enumerate(zip(expected, actual, strict=False)):
            inside = f"{where}[{_label(index, left)}]"
            yield from _walk(left, right, tolerances, where=inside, key=key, siblings=siblings)
    else:
        # Two whole numbers are a count or an index, of which "nearly" means nothing.
        whole = isinstance(expected, int) and isinstance(actual, int) and key != VOXEL_COUNTS
        tolerance = 0.0 if whole else tolerances.of(key, siblings, expected)
        if isinstance(expected, str) and isinstance(actual, str) and key in tolerances.by_key:
            yield from _text(expected, actual, tolerance, where)
        else:
            yield from _leaf(expected, actual, tolerance, where)


def _text(expected: str, actual: str, tolerance: float, where: str) -> Iterator[Difference]:
    """Two texts that may differ in the numbers that they tell."""
    if _NUMBER.sub("", expected) != _NUMBER.sub("", actual):
        yield from _leaf(expected, actual, tolerance, where)
        return
    numbers = (map(float, _NUMBER.findall(text)) for text in (expected, actual))
    for left, right in zip(*numbers, strict=True):
        yield from _leaf(left, right, tolerance, where)


def _leaf(expected: Any, actual: Any, tolerance: float, where: str) -> Iterator[Difference]:
    if _is_number(expected) and _is_number(actual):
        amount = abs(expected - actual)
        if amount != 0:
            message = (
                f"expected {expected:.6g}, got {actual:.6g}: off by {amount:.3g}, "
                f"tolerance {tolerance:g}"
            )
            yield Difference(where, message, amount, tolerance)
    elif type(expected) is not type(actual) or expected != actual:
        yield Difference(where, f"expected {_short(expected)}, got {_short(actual)}", math.inf)


def _label(index: int, item: Any) -> str:
    name = item.get("name") if isinstance(item, dict) else None
    return f'{index} "{name}"' if isinstance(name, str) else str(index)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _are_tolerances(by_key: Any) -> bool:
    """Whether it is an object of distances, or of objects of them by unit."""
    if not isinstance(by_key, dict):
        return False
    values = [v.values() if isinstance(v, dict) else [v] for v in by_key.values()]
    return all(_is_number(v) and v >= 0 for each in values for v in each)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _rank(amount: float) -> float:
    return math.inf if math.isnan(amount) else amount


def _read_expected(path: Path) -> dict[str, Any]:
    expected = read_json(path)
    if not isinstance(expected, dict) or not set(expected) - {MODEL_KEY}:
        raise InputError(
            f"Expected a JSON object with the content of every output by its path in {path}, got "
            f"{_short(expected)}. Run step 4 to write it."
        )
    return expected


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m medvial.compare", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("expected", type=Path, help="expected_output.json")
    parser.add_argument("actual", type=Path, help="the output folder of a run")
    parser.add_argument(
        "--tolerance",
        type=float,
        default=DEFAULT,
        help="of numbers that no tolerance names, times their size where that is above 1",
    )
    parser.add_argument("--tolerances", type=Path, help="JSON file: {output: {key: tolerance}}")
    parser.add_argument("--model", type=Path, help="the model folder that the run used")
    return parser


if __name__ == "__main__":
    sys.exit(main())
