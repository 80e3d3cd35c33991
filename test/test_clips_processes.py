"""A clip classifier trained by two processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from clip_training import make_store

pytestmark = pytest.mark.slow  # each process imports Lightning

PROGRAM = Path(__file__).parent / "clip_training.py"
TOLERANCE = 1e-5  # of weights around 1: sums of single precision in another order


def train(store, run, *options, processes=1):
    launcher = ["-m", "torch.distributed.run", f"--nproc-per-node={processes}", "--standalone"]
    result = subprocess.run(
        [sys.executable, *(launcher if processes > 1 else []), PROGRAM, store, run, *options],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]


def rows(run):
    header, *lines = (run / "log.csv").read_text().splitlines()
    return [
        dict(zip(header.split(","), map(float, line.split(",")), strict=True)) for line in lines
    ]


def test_two_processes_end_as_one_with_the_same_global_batch(tmp_path):
    """21 views: 11 and 10, each counted once; the scores of their videos are those of one."""
    make_store(tmp_path)
    train(tmp_path, tmp_path / "alone", "batch_size=4")
    train(tmp_path, tmp_path / "pair", "batch_size=2", processes=2)
    alone, pair = (
        torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=False)
        for name in ("alone", "pair")
    )
    for name, value in alone["state_dict"].items():
        torch.testing.assert_close(pair["state_dict"][name], value, rtol=0, atol=TOLERANCE)
    pairs = list(zip(rows(tmp_path / "alone"), rows(tmp_path / "pair"), strict=True))
    assert len(pairs) == 3
    for one, two in pairs:
        assert one == pytest.approx(two, abs=20 * TOLERANCE)
