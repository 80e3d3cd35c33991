"""The expected output of an algorithm: what its own process.py gives for its test case."""

import logging
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from medvial.errors import InputError
from medvial.models import MANIFEST, sha256
from medvial.outputs import read_json, write_json

log = logging.getLogger(__name__)


def write_expected_output(algorithm: Path) -> Path:
    """Run process.py on test/input and keep what it writes.

    expected_output.json holds the content of every output by its path below /output, and under
    `model_sha256` the sha256 of the model's manifest, so that a test can tell other weights from
    other results.

    Args:
        algorithm: The algorithm folder, with process.py, model/ and test/input/.

    Raises:
        InputError: process.py failed; its last line says why.
    """
    with tempfile.TemporaryDirectory() as output:
        command = [
            sys.executable,
            str(algorithm / "process.py"),
            f"--input={algorithm / 'test' / 'input'}",
            f"--output={output}",
            f"--model={algorithm / 'model'}",
        ]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode:
            last = (result.stderr.strip().splitlines() or ["no message"])[-1]
            raise InputError(f"Expected {algorithm / 'process.py'} to succeed, got: {last}")
        outputs: dict[str, Any] = {
            path.relative_to(output).as_posix(): read_json(path)
            for path in sorted(Path(output).rglob("*.json"))
        }
    outputs["model_sha256"] = sha256(algorithm / "model" / MANIFEST)
    expected = algorithm / "test" / "expected_output.json"
    write_json(expected, outputs)
    log.info("Expected output: %s", expected)
    return expected
