"""How well leg agility is rated on phantom subjects that no network has seen, from keypoints.

Phantoms: their scores follow the item's rule, so that this says nothing about clinical accuracy.
"""

import dataclasses

import pandas as pd
import pytest

from medvial.gait.leg_agility.config import LegConfig
from medvial.models import config_from_dict
from medvial.outputs import read_json
from medvial_training.metrics import Bootstrap
from medvial_training.phantoms.gait_agility_set import write_leg_agility
from medvial_training.tasks.gait.leg_agility.choices import LEG_FIT, LegTraining
from medvial_training.tasks.gait.leg_agility.options import LegOptions
from medvial_training.tasks.gait.leg_agility.prepare import prepare_system
from medvial_training.tasks.gait.leg_agility.scores import all_scores
from medvial_training.tasks.gait.leg_agility.train import train_system
from medvial_training.tasks.gait.systems import FoldOptions, about_source

pytestmark = pytest.mark.slow
SUBJECTS = 56  # with one or two visits


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    source = tmp_path_factory.mktemp("source")
    write_leg_agility(source, SUBJECTS, seed=1)
    out = tmp_path_factory.mktemp("data")
    options, about = LegOptions(fps=30.0), about_source(source, "", "unknown")
    prepare_system(
        source, out, LegConfig(), options=options, folds=FoldOptions(), about=about, workers=2
    )
    return out


def test_legs_of_subjects_never_seen(data, tmp_path):
    """By the forest: whether the network reaches this, too, depends on the folds."""
    known = read_json(data / "config.json") | {"kind": "kinematic"}
    config = config_from_dict(LegConfig, known, where=data)
    fit = dataclasses.replace(LEG_FIT, mlflow=False)
    train_system(data, tmp_path, config, fit, LegTraining(), resume=False)
    table = pd.read_csv(tmp_path / "predictions.csv")
    scores = all_scores(table, config.levels, Bootstrap(100))
    for leg in ("left", "right"):
        model, majority = scores[leg]["predicted"], scores[leg]["majority"]
        assert model["within_one"]["value"] >= 0.98
        assert model["accuracy"]["value"] >= 0.80 > majority["accuracy"]["value"]
        assert model["kappa"]["value"] >= 0.90
