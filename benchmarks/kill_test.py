"""Kills step 2 of every task again and again, resumes it, and compares it with an undisturbed run.

    python benchmarks/kill_test.py [NAME ...] [--kills 20] [--seed 0]

A name is a task's, or a system's of gait: walking, leg_agility.

Trains a toy network on phantoms once in peace, then in fresh run folders with SIGKILL at random
moments and, every second time, at a place that is named: in a step, in validation, in the middle of
a checkpoint's write, before its renaming, after it, before log.csv is written. The run goes on with
--resume until it ends; then its weights must be those of the peaceful run bit for bit, and so must
log.csv, the averaged weights, the optimizer, the schedule, and what early stopping and the best
checkpoint remember. Exit code 1 if anything differs.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from io import BytesIO
from itertools import chain, cycle
from multiprocessing import get_context
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "shared"), str(ROOT / "training")]
os.environ.setdefault("OMP_NUM_THREADS", "1")
COMMON = ("max_epochs=6", "patience=3", "batch_size=4", "accelerator=cpu", "mlflow=false")
PATIENCE_S = 300


@dataclass(frozen=True)
class Recipe:
    """A toy training, as options of a task's programs."""

    task: str
    phantoms: tuple[str, ...]
    prepare: tuple[str, ...]
    train: tuple[str, ...]


RECIPES = {
    "cldetection": Recipe(
        "cldetection",
        ("--count=30", "--height=160"),
        ("--model.height=128", "--model.width=96", "--model.widths=[4,6,8,8]"),
        tuple(f"--fit.{option}" for option in COMMON),
    ),
    "echonet": Recipe(
        "echonet",
        ("--count=12",),
        ("--model.height=64", "--model.width=64"),
        (
            "--model.segmentation_widths=[4,6]",
            "--model.ejection_fraction_widths=[4,6]",
            "--model.clip_frames=4",
            *(f"--segmentation_fit.{option}" for option in COMMON),
            *(f"--ejection_fraction_fit.{option}" for option in COMMON),
        ),
    ),
    "walking": Recipe(
        "gait",
        (
            *("--subjects=0", "--patients=9", "--least_videos=1", "--most_videos=2"),
            *("--height=108", "--width=160", "--clip_s=1", "--workers=1"),
        ),
        ("--folds.k=2", "--walking.resize=40", "--walking.crop=32", "--walking.fps=10"),
        (
            "--walking.widths=[4,6]",
            "--walking.clip_s=0.5",
            "--walking.clip_frames=4",
            "--walking.clips=2",
            "--walking_training.balance_sampling=0.5",
            *(f"--walking_fit.{option}" for option in COMMON),
        ),
    ),
    "leg_agility": Recipe(
        "gait",
        ("--patients=0", "--subjects=14", "--most_visits=1", "--workers=1"),
        ("--folds.k=2",),
        (
            "--leg_agility.widths=[4,6]",
            "--leg_agility.seconds=6",
            "--leg_agility.rate_hz=8",
            "--leg_agility_training.augment.variants=1",
            *(f"--leg_agility_fit.{option}" for option in COMMON),
        ),
    ),
    "video": Recipe(
        "video",
        ("--count=36", "--frames=12"),
        ("--model.resize=40", "--model.crop=32"),
        (
            "--model.widths=[4,6]",
            "--model.clip_s=0",
            "--model.clip_frames=4",
            "--model.clips=1",
            "--training.balance_sampling=0.5",
            *(f"--fit.{option}" for option in COMMON),
        ),
    ),
}


def main() -> int:
    """Kill, resume and compare; exit code 1 if a run ends otherwise than in peace."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[[], *RECIPES], metavar="NAME")
    parser.add_argument("--kills", type=int, default=20, help="for each name")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    _import_all()
    good = True
    for name in options.names or RECIPES:
        with tempfile.TemporaryDirectory(prefix=f"kill_test.{name}.") as folder:
            good &= KillTest(name, Path(folder), random.Random(options.seed)).run(options.kills)
    print("all as undisturbed" if good else "NOT as undisturbed")
    return 0 if good else 1


def _import_all() -> None:
    """Import what training needs before the processes are forked, so that they start at once."""
    import torch

    torch.set_num_threads(1)
    for task in {recipe.task for recipe in RECIPES.values()}:
        for module in (f"tasks.{task}.prepare", f"tasks.{task}.train", f"phantoms.{task}"):
            import_module(f"medvial_training.{module}")


class KillTest:
    """One training's runs, peaceful and disturbed."""

    def __init__(self, name: str, folder: Path, rng: random.Random) -> None:
        self.name, self.folder, self.rng = name, folder, rng
        self.recipe, self.places = RECIPES[name], cycle(PLACES)
        self.task = self.recipe.task

    def run(self, kills: int) -> bool:
        """Whether every disturbed run ended as the peaceful one."""
        peace = self.folder / "peace"
        self._prepare()
        start = time.monotonic()
        assert self._train(peace) == 0, "the peaceful run failed"
        duration = time.monotonic() - start
        log_lines = {p.parent.name: len(_lines(p)) - 1 for p in peace.rglob("log.csv")}
        print(f"{self.name}: undisturbed {duration:.1f} s, epochs {log_lines}", flush=True)
        killed, runs, good = 0, 0, True
        while killed < kills:
            runs += 1
            run = self.folder / f"run{runs}"
            killed += self._disturb(run, kills - killed, duration)
            differences = compare(peace, run)
            good &= not differences
            print(f"  run {runs} ended, {killed} kills so far:", differences or "identical")
        return good

    def _disturb(self, run: Path, kills: int, duration: float) -> int:
        """Kill and resume until the training has ended; the number of kills."""
        killed = 0
        while True:
            place = None
            delay: float = PATIENCE_S
            if killed < kills and self.rng.random() < 0.5:
                place = next(self.places), self.rng.randint(1, 3)
            elif killed < kills:
                delay = self.rng.uniform(0.02, duration)
            code = self._train(run, place, delay)
            if code == 0:
                return killed
            assert code == -signal.SIGKILL, f"training ended with {code}"
            killed += 1
            where = f"{place[0]}, time {place[1]}" if place else f"after {delay:.2f} s"
            print(f"    killed {where}; checkpoints {_checkpoints(run)}", flush=True)

    def _train(self, run: Path, place: Any = None, delay: float = PATIENCE_S) -> int:
        options = [self.task, f"--data={self.folder / 'data'}", f"--run={run}", *self.recipe.train]
        if any(run.rglob("last.ckpt")):
            options.append("--resume")

        def job() -> int:
            if place is not None:
                _die_at(*place)
            return _step("train", options)

        return _in_child(job, delay)

    def _prepare(self) -> None:
        phantoms = self.folder / "phantoms"
        options = [f"--source={phantoms}", f"--out={self.folder / 'data'}", "--workers=1"]

        def job() -> int:
            module = import_module(f"medvial_training.phantoms.{self.task}")
            code = module.main([f"--out={phantoms}", *self.recipe.phantoms])
            return int(code) or _step("prepare", [self.task, *options, *self.recipe.prepare])

        assert _in_child(job, PATIENCE_S) == 0, "preparing failed"


def _step(verb: str, options: list[str]) -> int:
    from medvial_training.cli import run_step

    return run_step(verb, None, options)


def _in_child(job: Callable[[], int], delay: float) -> int:
    """Exit code of a forked process that is killed after a while; its words go to a file."""
    with tempfile.TemporaryFile() as words:

        def child() -> None:
            for stream in (1, 2):
                os.dup2(words.fileno(), stream)
            raise SystemExit(job())

        process = get_context("fork").Process(target=child)
        process.start()
        process.join(delay)
        if process.is_alive():
            process.kill()
            process.join()
        if process.exitcode not in (0, -signal.SIGKILL):
            words.seek(0)
            print(words.read().decode()[-3000:])
        return int(process.exitcode or 0)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _half_a_checkpoint(_io: Any, checkpoint: Any, path: Any, _options: Any = None) -> None:
    import torch

    buffer = BytesIO()
    torch.save(checkpoint, buffer)
    Path(path).write_bytes(buffer.getvalue()[: buffer.tell() // 2])
    _die()


# Place: module, class (or none), attribute, whether to die after it rather than before.
ENGINE = "medvial_training"
PLACES: dict[str, tuple[str, str, str, bool]] = {
    "in a step": ("torch.autograd", "", "backward", True),
    "in validation": (f"{ENGINE}.distributed", "SameBuffers", "on_validation_batch_end", False),
    "in a checkpoint": ("lightning.pytorch.plugins", "TorchCheckpointIO", "save_checkpoint", False),
    "before its renaming": ("os", "", "fsync", False),
    "after its renaming": (f"{ENGINE}.checkpoints", "WholeCheckpoints", "save_checkpoint", True),
    "before log.csv": (f"{ENGINE}.callbacks", "", "write_bytes", False),
    "before the model folder": ("medvial.models", "ModelFolder", "seal", False),
}


def _die_at(place: str, time_: int) -> None:
    """Make this process kill itself the n-th time that it comes to a place."""
    module, owner, name, after = PLACES[place]
    holder = getattr(import_module(module), owner) if owner else import_module(module)
    original, left = getattr(holder, name), [time_]

    def deadly(*arguments: Any, **options: Any) -> Any:
        left[0] -= 1
        if left[0] == 0 and place == "in a checkpoint":
            _half_a_checkpoint(*arguments)
        if left[0] == 0 and not after:
            _die()
        result = original(*arguments, **options)
        if left[0] == 0:
            _die()
        return result

    setattr(holder, name, deadly)


def compare(peace: Path, run: Path) -> list[str]:
    """What differs between two runs: names of files, and of parts of checkpoints."""
    names = {p.relative_to(f) for f in (peace, run) for p in f.rglob("*") if p.is_file()}
    exact = [
        n for n in names if n.suffix in (".safetensors", ".csv") or n.name == "postprocess.json"
    ]
    different = [str(n) for n in sorted(exact) if _bytes(peace / n) != _bytes(run / n)]
    for name in sorted(n for n in names if n.suffix == ".ckpt"):
        if not ((peace / name).is_file() and (run / name).is_file()):
            different.append(str(name))
            continue
        different += _differences(_load(peace / name), _load(run / name), str(name))
    different += [str(n) for n in sorted(names) if n.suffix == ".part"]
    return different


def _load(path: Path) -> dict[str, Any]:
    import torch

    state: dict[str, Any] = torch.load(path, weights_only=False)
    del state["loops"]  # counts of this process's own batches
    return state


def _differences(one: Any, other: Any, where: str) -> list[str]:
    """Where two states differ in a bit, but for the folder in which the run lies."""
    import torch

    if isinstance(one, torch.Tensor):
        same = isinstance(other, torch.Tensor) and torch.equal(one, other)
    elif isinstance(one, dict):
        mine, theirs = _named(one), _named(other)
        parts = [_differences(mine[k], theirs.get(k), f"{where} {k}") for k in mine]
        return [*chain(*parts), *([] if mine.keys() == theirs.keys() else [f"{where}: names"])]
    elif isinstance(one, list | tuple) and len(one) == len(other):
        return [*chain(*(_differences(a, b, where) for a, b in zip(one, other, strict=True)))]
    elif isinstance(one, str) and "/" in one:
        same = Path(one).name == Path(other).name
    else:
        same = bool(one == other) or one != one
    return [] if same else [f"{where}: {one} in peace, {other} here"]


def _named(values: dict[Any, Any]) -> dict[Any, Any]:
    return {Path(k).name if isinstance(k, str) and "/" in k else k: v for k, v in values.items()}


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def _checkpoints(run: Path) -> list[str]:
    return sorted(str(p.relative_to(run)) for p in run.rglob("*.ckpt*"))


if __name__ == "__main__":
    raise SystemExit(main())
