r"""Several trainings of one recipe, that differ in their seed or fold, as one table.

python -m medvial_training.tasks.cldetection.seeds --tests runs/isbi/seed1/test \
        --tests+ runs/isbi/seed2/test --tests+ runs/isbi/seed3/test --out runs/isbi/seeds.md
"""

import logging
from pathlib import Path
from typing import Any

import numpy as np

from medvial.errors import InputError
from medvial.outputs import read_json, write_bytes
from medvial_training.cli import run_command

log = logging.getLogger(__name__)

# What is shown: its name, where it is in metrics.json, what it is multiplied by, its decimals.
ROWS: tuple[tuple[str, tuple[str, ...], float, int], ...] = (
    ("MRE, mm", ("overall", "mre_mm", "value"), 1, 3),
    ("median error, mm", ("overall", "median_mm", "value"), 1, 3),
    ("SDR 2 mm, %", ("overall", "sdr_percent", "2", "value"), 1, 2),
    ("SDR 2.5 mm, %", ("overall", "sdr_percent", "2.5", "value"), 1, 2),
    ("SDR 3 mm, %", ("overall", "sdr_percent", "3", "value"), 1, 2),
    ("SDR 4 mm, %", ("overall", "sdr_percent", "4", "value"), 1, 2),
    ("ECE of probability", ("calibration", "ece"), 1, 3),
    ("coverage of 90 % regions, %", ("intervals", "coverage", "value"), 100, 1),
)


def seeds(tests: list[Path], out: Path | None = None) -> None:
    """Show mean and spread of several tests, one row a score, as a Markdown table.

    Args:
        tests: Folders that step 3 wrote, of models trained with different seeds or folds.
        out: .md file to write the table to as well.

    Raises:
        InputError: There are no tests, one has no metrics.json, or they are of other films.
    """
    if not tests:
        raise InputError("Expected folders that step 3 wrote, got none.")
    metrics = [_read(folder) for folder in tests]
    text = table(metrics)
    if out is not None:
        write_bytes(out, text.encode())
    log.info("%s", text)


def table(metrics: list[dict[str, Any]]) -> str:
    """Markdown of what several metrics.json hold: each test, mean, and standard deviation (n - 1).

    Raises:
        InputError: The tests are of other films.
    """
    films = {(m["split"], m["counts"]["films"], m["counts"]["points"]) for m in metrics}
    if len(films) > 1:
        raise InputError(f"Expected tests of the same films, got (split, films, points) {films}.")
    numbers = range(1, len(metrics) + 1)
    lines = [
        "| | " + " | ".join(f"test {n}" for n in numbers) + " | mean | SD |",
        "|---" * (len(metrics) + 3) + "|",
    ]
    for name, keys, factor, decimals in ROWS:
        values = [_value(m, keys, factor) for m in metrics]
        known = [v for v in values if v is not None]
        mean = float(np.mean(known)) if len(known) == len(values) else None
        sd = float(np.std(known, ddof=1)) if mean is not None and len(known) > 1 else None
        cells = ["–" if v is None else f"{v:.{decimals}f}" for v in (*values, mean, sd)]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    if any(m["phantom"] for m in metrics):
        lines += ["", "Phantoms: these numbers say nothing about clinical accuracy."]
    notices = sorted({m["notice"] for m in metrics if m.get("notice")})
    return "\n".join([*lines, *(f"\nNote: {text}." for text in notices)]) + "\n"


def _value(metrics: dict[str, Any], keys: tuple[str, ...], factor: float) -> float | None:
    found: Any = metrics
    for key in keys:
        found = found.get(key) if found is not None else None
    return None if found is None else factor * float(found)


def _read(folder: Path) -> dict[str, Any]:
    path = folder / "metrics.json"
    if not path.is_file():
        raise InputError(f"Expected {path}, which step 3 writes, got no such file.")
    metrics: dict[str, Any] = read_json(path)
    return metrics


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    return run_command(seeds, arguments, as_positional=False)


if __name__ == "__main__":
    raise SystemExit(main())
