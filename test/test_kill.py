"""The kill test on a few kills; benchmarks/kill_test.py does more."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.slow


def test_killed_trainings_end_as_undisturbed_ones():
    command = [sys.executable, str(ROOT / "benchmarks" / "kill_test.py"), "--kills=4"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("    killed") == 8
    assert result.stdout.endswith("all as undisturbed\n")
