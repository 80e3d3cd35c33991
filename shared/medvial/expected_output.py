"""The expected outputs of an algorithm: what its own process.py gives for its test cases.

python -m medvial.expected_output ALGORITHM_FOLDER
"""

import argparse
import logging
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from medvial.compare import MODEL_KEY, read_output
from medvial.errors import InputError
from medvial.models import MANIFEST, sha256
from medvial.outputs import write_json
from medvial.program import run_program

log = logging.getLogger(__name__)


def write_expected_output(algorithm: Path) -> Path:
    """Run process.py on every test case and keep what it writes.

    The cases are test/ and each folder in it that has an input/ of its own. expected_output.json of
    a case holds the content of every output by its path below /output, as `medvial.compare` reads
    it, and under `model_sha256` the sha256 of the model's manifest, so that a test can tell other
    weights from other results.

    Args:
        algorithm: The algorithm folder, with process.py, model/ and test/input/.

    Returns:
        The file of the main case.

    Raises:
        InputError: process.py failed; its last line says why.
    """
    main_case = algorithm / "test"
    for case in [main_case, *sorted(p.parent for p in main_case.glob("*/input"))]:
        outputs = _run(algorithm, case)
        outputs[MODEL_KEY] = sha256(algorithm / "model" / MANIFEST)
        write_json(case / "expected_output.json", outputs)
        log.info("Expected output: %s", case / "expected_output.json")
    return main_case / "expected_output.json"


def _run(algorithm: Path, case: Path) -> dict[str, Any]:
    """The outputs of one case by their path."""
    with tempfile.TemporaryDirectory() as output:
        command = [
            sys.executable,
            str(algorithm / "process.py"),
            "--method=exec",
            f"--input={case / 'input'}",
            f"--output={output}",
            f"--model={algorithm / 'model'}",
        ]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode:
            last = (result.stderr.strip().splitlines() or ["no message"])[-1]
            raise InputError(f"Expected {algorithm / 'process.py'} to succeed, got: {last}")
        return {
            path.relative_to(output).as_posix(): read_output(path)
            for path in sorted(Path(output).rglob("*"))
            if path.is_file()
        }


def main(arguments: list[str] | None = None) -> int:
    """Write the expected outputs of an algorithm folder; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m medvial.expected_output")
    parser.description = "Keep what process.py gives for its test cases as expected_output.json."
    parser.add_argument("algorithm", type=Path, help="the algorithm folder")
    algorithm = parser.parse_args(arguments).algorithm
    return run_program(lambda: write_expected_output(algorithm.resolve()))


if __name__ == "__main__":
    sys.exit(main())
