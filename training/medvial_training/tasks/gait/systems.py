"""What the steps of gait share, and what they ask of each of the two systems.

A system is a package here, `walking` or `leg_agility`, with

- `sources.holds(source)`: whether a folder is raw data of the system;
- `prepare.prepare_system(source, out, config, *, options, folds, about, workers)`: step 1, leaves
  OUT/config.json last; `about` are description, licence and phantom, for OUT/source.json;
- `train.train_system(data, run, config, fit, training, *, resume)`: step 2, leaves RUN/fold_1 … and
  RUN/final, the pooled RUN/predictions.csv, and RUN/model with SYSTEM.safetensors (or SYSTEM.onnx),
  config.json, learned.json, metrics.json and training.json (of `overlap.origin_of`);
- `evaluate.evaluate_system(data, model, run, out, *, split, pictures, bootstrap, progress)`: step
  3, gives metrics and a section of the report in HTML, None in processes beside the main one; `run`
  is the system's folder of the run that made the model, None where that is not known; `split` is
  cross_validation (the pooled predictions), or the part to test the model itself on: train, valid,
  test, all.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from medvial.errors import InputError
from medvial.gait.config import SYSTEMS
from medvial.models import ModelFolder, sha256
from medvial.outputs import read_json

Which = Literal["all", "walking", "leg_agility"]
CROSS_VALIDATION = "cross_validation"
PHANTOM_MARKER = "PHANTOM.json"
CONFIG, SOURCE, LEARNED, METRICS = "config.json", "source.json", "learned.json", "metrics.json"
TRAINING = "training.json"


@dataclass(frozen=True)
class FoldOptions:
    """How patients are dealt out for cross-validation."""

    k: int = 5
    """Folds; each patient is tested once, by a network that never saw them."""

    by: Literal["patient", "site"] = "patient"
    """patient: whole patients, classes in even shares. site: one site is left out at a time."""

    valid_share: float = 0.2
    """Of the patients that are not tested in a fold, those who choose its best epoch; the log says
    where whole patients and even classes make it more or fewer."""

    seed: int = 0
    """Same seed, same folds."""

    def __post_init__(self) -> None:
        """Refuse what makes no folds.

        Raises:
            InputError: Names the field.
        """
        if self.k < 2:
            raise InputError(f"Expected folds.k of at least 2, got {self.k}.")
        if not 0 <= self.seed < 2**32:
            raise InputError(f"Expected folds.seed from 0 to below 2**32, got {self.seed}.")
        if not 0 < self.valid_share <= 0.5:
            raise InputError(
                f"Expected folds.valid_share above 0 and at most 0.5, got {self.valid_share}."
            )


def chosen(which: Which) -> tuple[str, ...]:
    """Names of the systems that an option asks for."""
    return SYSTEMS if which == "all" else (which,)


def prepared(data: Path, which: Which) -> tuple[str, ...]:
    """The systems that step 1 has prepared in a folder.

    Raises:
        InputError: There is none of those asked for.
    """
    found = tuple(name for name in chosen(which) if (data / name / CONFIG).is_file())
    if not found or (which != "all" and which not in found):
        raise InputError(
            f"Expected {' or '.join(chosen(which))} as step 1 prepares it in {data}, got "
            f"{', '.join(found) or 'none'}. Run step 1 with --out {data}."
        )
    return found


def about_source(source: Path, description: str, licence: str) -> dict[str, Any]:
    """Where data come from; phantoms say so in a file beside them."""
    marker = source / PHANTOM_MARKER
    known = read_json(marker) if marker.is_file() else {}
    return {
        "phantom": bool(known.get("phantom", False)),
        "description": description or known.get("description", ""),
        "licence": licence if licence != "unknown" else known.get("licence", licence),
        "source": str(source),
    }


def same_folds(folder: ModelFolder, data: Path, system: str) -> bool | None:
    """Whether a model was trained with the folds of these data; None if not recorded.

    Args:
        folder: The model folder.
        data: The system's folder of step 1.
        system: Its name.
    """
    recorded = folder.manifest.training.get("splits_sha256", {}).get(f"{system}/folds")
    return None if recorded is None else recorded == sha256(data / "folds.csv")


def default_split(folder: ModelFolder, data: Path, run: Path | None, system: str) -> str:
    """What there is to test: the cross-validation, the held-out test part, or other data whole."""
    if not same_folds(folder, data, system):
        return "all"
    if run is not None and (run / "predictions.csv").is_file():
        return CROSS_VALIDATION
    return "test"
