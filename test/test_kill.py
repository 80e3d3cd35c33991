"""The kill test on a few kills; benchmarks/kill_test.py does more."""

import subprocess
import sys
from pathlib import Path

import pytest

from medvial.gait.config import SYSTEMS
from medvial_training.tasks import TASKS

ROOT = Path(__file__).parent.parent
KILLS = 4
TRAININGS = len(TASKS) - 1 + len(SYSTEMS)  # gait has one a system

pytestmark = pytest.mark.slow


def test_killed_trainings_end_as_undisturbed_ones():
    command = [sys.executable, str(ROOT / "benchmarks" / "kill_test.py"), f"--kills={KILLS}"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("    killed") == KILLS * TRAININGS
    assert result.stdout.endswith("all as undisturbed\n")
