"""The model folder of a run: the final networks of both systems, and what was learned after."""

import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medvial.errors import InputError
from medvial.gait.config import SYSTEMS, TASK
from medvial.models import ModelFolder
from medvial.outputs import read_json, replace_folder, write_json
from medvial_training.tasks.gait.overlap import LEARNED_FROM
from medvial_training.tasks.gait.systems import CONFIG, LEARNED, METRICS, TRAINING

log = logging.getLogger(__name__)

MODEL, POSTPROCESS = "model", "postprocess.json"
_NOT_COPIED = (CONFIG, LEARNED, METRICS, TRAINING)


def check_kept(run: Path, names: Sequence[str]) -> None:
    """Refuse, before training, to keep a system of which nobody noted what it was trained on.

    Args:
        run: Folder of the run.
        names: The systems that are trained now; the others are kept.

    Raises:
        InputError: An earlier version trained one of these.
    """
    for name in set(_trained(run)) - set(names):
        if not (run / name / MODEL / TRAINING).is_file():
            raise InputError(
                f"Expected {run / name / MODEL / TRAINING} with what {name} was trained on, found "
                f"none: an earlier version trained it. First note it by --systems {name} --resume "
                "on the same data, or choose another --run."
            )


def write_model(run: Path) -> Path:
    """Write run/model of what lies in run/walking/model and run/leg_agility/model.

    The folder is made beside its place and moved there whole.

    Raises:
        InputError: No system is trained.
    """
    trained = _trained(run)
    if not trained:
        raise InputError(f"Expected a trained system in {run}, got none. Run step 2.")
    part = run / f"{MODEL}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    config: dict[str, Any] = dict.fromkeys(SYSTEMS)
    learned: dict[str, Any] = dict.fromkeys(SYSTEMS)
    metrics: dict[str, Any] = {}
    for name in trained:
        folder = run / name / MODEL
        config[name] = read_json(folder / CONFIG)
        learned[name] = read_json(folder / LEARNED)
        metrics[name] = read_json(folder / METRICS)
        for file in sorted(folder.iterdir()):
            if file.name not in _NOT_COPIED:
                shutil.copyfile(file, part / file.name)
    write_json(part / POSTPROCESS, learned)
    training = _training({name: read_json(run / name / MODEL / TRAINING) for name in trained})
    ModelFolder.seal(part, task=TASK, config=config, training=training, metrics=metrics)
    replace_folder(part, run / MODEL)
    log.info("Model folder: %s (%s)", run / MODEL, ", ".join(trained))
    return run / MODEL


def _trained(run: Path) -> list[str]:
    return [name for name in SYSTEMS if (run / name / MODEL / CONFIG).is_file()]


def _training(parts: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Data, code and versions; each system's data under its own name, phantoms if either's are."""
    last = max(parts.values(), key=lambda part: part["date"])
    revisions = [part["git_revision"] for part in parts.values()]
    described = [part["data"].get("description", "") for part in parts.values()]
    licences = [part["data"].get("licence", "") for part in parts.values()]
    return last | {
        "data": {
            "phantom": any(part["data"].get("phantom") for part in parts.values()),
            "description": " ".join(dict.fromkeys(filter(None, described))),
            "licence": "; ".join(dict.fromkeys(filter(None, licences))),
        },
        "splits_sha256": {
            f"{name}/{table}": digest
            for name, part in parts.items()
            for table, digest in part["splits_sha256"].items()
        },
        "git_revision": "; ".join(dict.fromkeys(revisions)),
        LEARNED_FROM: {name: part[LEARNED_FROM] for name, part in parts.items()},
    }
