"""The options of a run, kept beside its checkpoints and compared when it goes on."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from medvial.errors import InputError
from medvial.outputs import read_json, write_json
from medvial_training.fit_args import FitArgs

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
        "batch_size",  # these two as long as a step has as many samples: GlobalBatch looks
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
    younger = {name: value for name, value in asdict(FitArgs()).items()}
    for name in now.keys() - before.keys():
        section, _, option = name.rpartition(".")
        if section.endswith("fit") and option in younger:
            before[name] = younger[option]
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
