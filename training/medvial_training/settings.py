"""The options of a run, kept beside its checkpoints and compared when it goes on."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from medvial.errors import InputError
from medvial.models import sha256
from medvial.outputs import read_json, write_json
from medvial_training.fit_args import FitArgs

SETTINGS, BEGUN_WITH = "settings.json", "splits.json"
LEARNED_FROM = ("train.csv", "valid.csv")  # who trains, and who chooses the best epoch
EARLIER = ("data", "fold", "videos_of_fold")  # in settings of folds; now noted elsewhere
YOUNGER = {  # options beside those of `fit`, and what was before
    "fold.number": 0,
    "fold.of": 0,
    "fold.all": False,
    "weights": None,
    "first": None,
    "augment.elastic": 0.0,
    "augment.clip": True,
    "model.detail": 1,
    "model.upright": False,
    "model.upright_margin": 0.45,
}
GONE = ("teachers", "loss.teachers_weight")  # options that are no more, unless the first was used
FREE_ON_RESUME = tuple(  # what does not change the result; tasks with two networks have two of each
    f"fit.{name}"
    for name in (
        "patience",
        "workers",
        "mlflow",
        "tracking_uri",
        "tensorboard",
        "progress",
        "save_every",
        "keep",
        "devices",
        "num_nodes",
        "strategy",
        "batch_size",  # these two as long as a step has as many samples: it is compared
        "accumulate",
        "compile",
    )
)


def keep_settings(path: Path, parameters: dict[str, Any]) -> None:
    """Note the run's options, in the form that --config reads."""
    write_json(path, _plain(parameters))


def compare_settings(path: Path, parameters: dict[str, Any]) -> None:
    """Refuse to resume with options that would change the result.

    An option that is younger than the run counts as it was before there was one: its default.

    Raises:
        InputError: Names the options that differ.
    """
    before, now = _flat(read_json(path)), _flat(_plain(parameters))
    for name in EARLIER:
        if name not in now:
            before.pop(name, None)
    if before.get(GONE[0]) == []:
        before = {name: value for name, value in before.items() if name not in GONE}
    younger = {name: value for name, value in asdict(FitArgs()).items()}
    for name in now.keys() - before.keys():
        section, _, option = name.rpartition(".")
        if section.endswith("fit") and option in younger:
            before[name] = younger[option]
        elif name in YOUNGER:
            before[name] = YOUNGER[name]
    changed = [
        f"{name} {before.get(name)} there, {now.get(name)} here"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name) and not name.endswith(FREE_ON_RESUME)
    ]
    if changed:
        raise InputError(
            f"Expected to resume with the options of {path}, got {'; '.join(changed)}. "
            f"Give them by --config {path}."
        )


def keep_splits(run: Path, data: Path) -> None:
    """Note which samples a training learns from; nothing where the data have no such tables.

    Args:
        run: Folder with settings.json; the digests lie beside it, as --config reads that one.
        data: Folder that step 1 wrote.
    """
    if tables := _tables(data):
        write_json(run / BEGUN_WITH, tables)


def compare_splits(run: Path, data: Path) -> None:
    """Refuse to go on with other samples to learn from than those a training was begun with.

    Its weights may have seen who is now on the other side. A run from before the digests were kept
    goes on.

    Raises:
        InputError: Names the tables that differ.
    """
    path = run / BEGUN_WITH
    if not path.is_file():
        return
    before, now = read_json(path), _tables(data)
    if changed := [name for name in LEARNED_FROM if before.get(name) != now.get(name)]:
        raise InputError(
            f"Expected {' and '.join(changed)} of {data} as the training in {run} was begun with, "
            "got others: step 1 has dealt the samples out anew since, and what was trained on may "
            "be validated or tested on now. Choose another --run, or run step 1 as before."
        )


def _tables(data: Path) -> dict[str, str]:
    """SHA-256 of the tables that say who is on which side, those that are there."""
    return {name: sha256(data / name) for name in LEARNED_FROM if (data / name).is_file()}


def _plain(parameters: dict[str, Any]) -> dict[str, Any]:
    """Tuples as JSON has them."""
    options: dict[str, Any] = json.loads(json.dumps(parameters))
    return options


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested options by dotted name."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        result |= _flat(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return result
