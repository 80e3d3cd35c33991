"""The model folder of a run: the final networks of both systems, and what was learned after."""

import logging
import shutil
from pathlib import Path
from typing import Any

from medvial.errors import InputError
from medvial.gait.config import SYSTEMS, TASK
from medvial.models import ModelFolder
from medvial.outputs import read_json, replace_folder, write_json
from medvial_training.provenance import provenance
from medvial_training.tasks.gait.overlap import LEARNED_FROM, learned_from
from medvial_training.tasks.gait.systems import CONFIG, LEARNED, METRICS

log = logging.getLogger(__name__)

MODEL, POSTPROCESS = "model", "postprocess.json"
_NOT_COPIED = (CONFIG, LEARNED, METRICS)


def write_model(run: Path, data: Path) -> Path:
    """Write run/model of what lies in run/walking/model and run/leg_agility/model.

    The folder is made beside its place and moved there whole.

    Args:
        run: Folder of the run.
        data: Folder that step 1 wrote; each system's part is named in the manifest.

    Raises:
        InputError: No system is trained.
    """
    trained = [name for name in SYSTEMS if (run / name / MODEL / CONFIG).is_file()]
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
    training = _training(data, trained)
    ModelFolder.seal(part, task=TASK, config=config, training=training, metrics=metrics)
    replace_folder(part, run / MODEL)
    log.info("Model folder: %s (%s)", run / MODEL, ", ".join(trained))
    return run / MODEL


def _training(data: Path, trained: list[str]) -> dict[str, Any]:
    """Data, code and versions; each system's data under its own name, phantoms if either's are."""
    parts = {name: provenance(data / name) for name in trained}
    first = parts[trained[0]]
    described = [part["data"].get("description", "") for part in parts.values()]
    licences = [part["data"].get("licence", "") for part in parts.values()]
    return first | {
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
        LEARNED_FROM: {name: learned_from(data / name) for name in trained},
    }
