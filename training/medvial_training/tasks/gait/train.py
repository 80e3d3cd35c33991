"""Step 2 of gait: cross-validation of both systems, and a model folder of their final networks."""

import importlib
import logging
from pathlib import Path

from medvial.gait.leg_agility.config import LegConfig
from medvial.outputs import read_json
from medvial.video_classification.config import ClipConfig
from medvial_training.clips.augment import ClipAugmentation
from medvial_training.distributed import is_main, restarted
from medvial_training.fit import FitArgs
from medvial_training.tasks.gait.leg_agility.choices import LEG_FIT, LegTraining
from medvial_training.tasks.gait.systems import SOURCE, Which, prepared
from medvial_training.tasks.gait.walking.choices import (
    WALKING_AUGMENT,
    WALKING_FIT,
    WalkingTraining,
)
from medvial_training.tasks.gait.write_model import check_kept, write_model

log = logging.getLogger(__name__)


def train(
    data: Path = Path("data/gait"),
    run: Path = Path("runs/gait"),
    systems: Which = "all",
    walking: ClipConfig = ClipConfig(),
    walking_fit: FitArgs = WALKING_FIT,
    walking_training: WalkingTraining = WalkingTraining(),
    walking_augment: ClipAugmentation = WALKING_AUGMENT,
    leg_agility: LegConfig = LegConfig(),
    leg_agility_fit: FitArgs = LEG_FIT,
    leg_agility_training: LegTraining = LegTraining(),
    resume: bool = False,
) -> None:
    """Train and test a network for every fold, then the final one, and write the model folder.

    The pooled predictions of RUN/SYSTEM/predictions.csv are of patients whom the network that
    made them never saw. RUN/model holds the final networks, of both systems where both are
    trained; one that this run has trained before is kept.

    Args:
        data: Folder that step 1 wrote.
        run: Folder of the run.
        systems: Which to train, of those that are prepared.
        walking: Configuration of the walking network; starts from what step 1 wrote.
        walking_fit: How to train it.
        walking_training: Its start, which layers are trained, balance, and what is learned after.
        walking_augment: Random changes of the training clips.
        leg_agility: Configuration of the rating; starts from what step 1 wrote.
        leg_agility_fit: How to train it.
        leg_agility_training: Its start, balance and random changes.
        resume: Go on from the last checkpoints; folds that are finished stay.
    """
    going_on = resume or restarted()
    names = prepared(data, systems)
    check_kept(run, names)
    if any(read_json(data / name / SOURCE).get("phantom") for name in names):
        log.info("These are phantoms: no score says anything about clinical accuracy.")
    for name in names:
        log.info("%s.", name.replace("_", " ").capitalize())
        train_system = importlib.import_module(f"{__package__}.{name}.train").train_system
        own = data / name, run / name
        if name == "walking":
            train_system(
                *(*own, walking, walking_fit, walking_training, walking_augment), resume=going_on
            )
        else:
            train_system(*own, leg_agility, leg_agility_fit, leg_agility_training, resume=going_on)
    if is_main():
        write_model(run)
