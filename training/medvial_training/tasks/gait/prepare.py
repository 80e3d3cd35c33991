"""Step 1 of gait: walking videos and leg agility recordings to what networks train on."""

import importlib
import logging
from pathlib import Path
from typing import Any

from medvial.errors import InputError
from medvial.gait.config import SYSTEMS
from medvial.gait.leg_agility.config import LegConfig
from medvial.video_classification.config import ClipConfig
from medvial_training.tasks.gait.leg_agility.options import LegOptions
from medvial_training.tasks.gait.systems import FoldOptions, Which, about_source, chosen
from medvial_training.tasks.gait.walking.sources import WalkingOptions

log = logging.getLogger(__name__)


def prepare(
    source: Path,
    out: Path = Path("data/gait"),
    systems: Which = "all",
    walking: ClipConfig = ClipConfig(),
    walking_options: WalkingOptions = WalkingOptions(),
    leg_agility: LegConfig = LegConfig(),
    leg_agility_options: LegOptions = LegOptions(),
    folds: FoldOptions = FoldOptions(),
    workers: int | None = None,
    description: str = "",
    licence: str = "unknown",
) -> None:
    """Prepare the data of one system or both, and deal the patients out for cross-validation.

    Walking: follows the patient of every video and cuts them out. Leg agility: reads keypoints.
    Leaves OUT/walking and OUT/leg_agility, each with folds.csv and config.json. A run that was
    interrupted goes on where it stopped.

    Args:
        source: Folder with walking/ or leg_agility/ or both, or itself raw data of one system.
        out: Folder to write.
        systems: Which to prepare, of those that the source has.
        walking: fps and resize are used here; classes are found in the data.
        walking_options: What is not in the walking videos: patients, boxes.
        leg_agility: Configuration of the rating.
        leg_agility_options: How recordings and their scores are read.
        folds: How patients are dealt out, in both systems.
        workers: Processes that read videos; one per core if not given.
        description: What the data are; goes into the manifest of models trained on them.
        licence: Terms of the data; goes into the manifest of models trained on them.
    """
    if workers is not None and workers < 1:
        raise InputError(f"Expected at least 1 of --workers, got {workers}.")
    if not source.is_dir():
        raise InputError(f"Expected a folder for --source, got {source}.")
    if out.exists() and not out.is_dir():
        raise InputError(f"Expected a folder for --out, got the file {out}.")
    if out.resolve() == source.resolve():
        raise InputError(f"Expected another folder than that of the raw data for --out: {out}.")
    settings: dict[str, tuple[Any, Any]] = {
        "walking": (walking, walking_options),
        "leg_agility": (leg_agility, leg_agility_options),
    }
    for name, folder in _sources(source, systems).items():
        config, options = settings[name]
        log.info("%s: reading %s.", name.replace("_", " ").capitalize(), folder)
        importlib.import_module(f"{__package__}.{name}.prepare").prepare_system(
            folder,
            out / name,
            config,
            options=options,
            folds=folds,
            about=about_source(folder, description, licence),
            workers=workers,
        )


def _sources(source: Path, which: Which) -> dict[str, Path]:
    """The raw data of each system: a folder of its name, or the source itself.

    Raises:
        InputError: There is nothing of what is asked for.
    """
    below = {name: source / name for name in SYSTEMS if (source / name).is_dir()}
    found = below or {name: source for name in SYSTEMS if _holds(name, source)}
    wanted = {name: path for name, path in found.items() if name in chosen(which)}
    if not wanted:
        names = sorted(path.name for path in source.iterdir())[:8]
        raise InputError(
            f"Expected {' or '.join(chosen(which))} in {source}: a folder of that name; or "
            "labels.csv with video, patient and label, or a folder of videos a class; or a sheet "
            f"of scores with recordings. Got {', '.join(names) or 'nothing'}."
        )
    return wanted


def _holds(name: str, source: Path) -> bool:
    module = importlib.import_module(f"{__package__}.{name}.sources")
    return bool(module.holds(source))
