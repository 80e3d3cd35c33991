"""Step 3 by two processes of torchrun leaves what one leaves, for every task and system."""

import json
import os
import subprocess
import sys
from importlib import import_module, util
from pathlib import Path

import pytest

from medvial_training.cli import run_step
from medvial_training.shares import Shares

ROOT = Path(__file__).resolve().parents[1]
STEP3 = ROOT / "training" / "step3_test_and_visualize.py"
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--"]


def kill_test():
    spec = util.spec_from_file_location("kill_test", ROOT / "benchmarks" / "kill_test.py")
    module = util.module_from_spec(spec)
    sys.modules["kill_test"] = module
    spec.loader.exec_module(module)
    return module


RECIPES = kill_test().RECIPES


def test_one_process_does_everything_in_order():
    seen = []
    result = Shares().map(lambda x: seen.append(x) or -x, [3, 1, 2], description="", unit="")
    assert (result, seen) == ([-3, -1, -2], [3, 1, 2])


@pytest.fixture(scope="module", params=RECIPES)
def trained(request, tmp_path_factory):
    recipe = RECIPES[request.param]
    task, folder = recipe.task, tmp_path_factory.mktemp(request.param)
    phantoms, data = folder / "phantoms", folder / "data"
    program = import_module(f"medvial_training.phantoms.{task}")
    assert not program.main([f"--out={phantoms}", *recipe.phantoms])
    options = [f"--source={phantoms}", f"--out={data}", "--workers=1"]
    assert run_step("prepare", None, [task, *options, *recipe.prepare]) == 0
    options = [f"--data={data}", f"--run={folder / 'run'}"]
    assert run_step("train", None, [task, *options, *recipe.train]) == 0
    return task, folder


def evaluate(task, folder, out, launcher, options):
    options = [
        *options,
        f"--data={folder / 'data'}",
        f"--model={folder / 'run' / 'model'}",
        f"--out={out}",
    ]
    result = subprocess.run(
        [sys.executable, *launcher, STEP3, task, *options],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


def content(folder, name):
    """What a file says, but for the revision of the code, which may change meanwhile."""
    revision = json.loads((folder / "metrics.json").read_text())["git_revision"]
    return (folder / name).read_bytes().replace(str(revision).encode(), b"")


@pytest.mark.slow
def test_two_processes_leave_what_one_leaves(trained):
    """By default gait scores what its cross-validation left; of all, it classifies anew."""
    task, folder = trained
    for options in [[], ["--split=all"]] if task == "gait" else [[]]:
        one, two = (folder / f"{number}{''.join(options)}" for number in ("one", "two"))
        said = [evaluate(task, folder, *how, options) for how in ((one, []), (two, TORCHRUN))]
        names = sorted(str(p.relative_to(one)) for p in one.rglob("*") if p.is_file())
        assert names == sorted(str(p.relative_to(two)) for p in two.rglob("*") if p.is_file())
        assert "metrics.json" in names
        assert [n for n in names if content(one, n) != content(two, n)] == []
        assert said[0].replace(str(one), "") == said[1].replace(str(two), "")
