"""What a cross-validation by patient cannot see: clothes that give the class, or the site, away.

Drawn people; the numbers say nothing about clinical accuracy. The margins hold for other seeds of
the phantoms, too: see each test.
"""

import pandas as pd
import pytest

from medvial.outputs import read_json
from medvial.video_classification.config import ClipConfig
from medvial_training.classification_scores import classification_scores
from medvial_training.clips.augment import ClipAugmentation
from medvial_training.fit import FitArgs
from medvial_training.metrics import Bootstrap
from medvial_training.phantoms.gait_walking_set import write_walking
from medvial_training.tasks.gait.evaluate import evaluate
from medvial_training.tasks.gait.prepare import prepare
from medvial_training.tasks.gait.systems import FoldOptions
from medvial_training.tasks.gait.train import train
from medvial_training.tasks.gait.walking import read_video
from medvial_training.tasks.gait.walking.choices import WalkingTraining
from medvial_training.tasks.gait.walking.train import TEXT, train_folds

pytestmark = pytest.mark.slow

SEED = 1
CONFIG = ClipConfig(
    widths=(6, 8, 12), clip_s=0.6, clip_frames=4, clips=1, resize=36, crop=32, fps=8.0, dropout=0.0
)
# The last epoch: a dozen validation patients would choose one by luck.
FIT = FitArgs(max_epochs=40, batch_size=6, learning_rate=6e-3, ema_decay=0.9, validate_every=40,
              mlflow=False, progress=False, accelerator="cpu", workers=0)  # fmt: skip
AS_THEY_ARE = ClipAugmentation(brightness=0, contrast=0, saturation=0, blur=0)


@pytest.fixture(autouse=True)
def by_motion(monkeypatch):
    """Who moves is followed, which is quicker than looking for people."""
    monkeypatch.setattr(read_video, "_networks", lambda _: None)


def drawn(folder, patients, seed, **shortcut):
    """Small phantoms, one video a patient."""
    size = {"height": 72, "width": 128, "clip_s": 1.0, "least_videos": 1, "most_videos": 1}
    write_walking(folder, patients, seed=seed, workers=1, **size, **shortcut)
    return folder


def prepared(source, out, **folds):
    prepare(source, out, walking=CONFIG, folds=FoldOptions(**folds), workers=1)
    return out


def config_of(data):
    return ClipConfig(**read_json(data / "walking" / "config.json"))


def test_clothes_pass_cross_validation_and_fail_without(tmp_path):
    """Seeds 1, 2, 3: AUROC 0.98, 0.95, 0.95 by patient; 0.56, 0.53, 0.47 on people who wear any."""
    source = drawn(tmp_path / "biased", 30, SEED, shortcut="clothes", shortcut_share=1.0)
    biased = prepared(source, tmp_path / "data", k=2)
    run = tmp_path / "run"
    options = {"walking_fit": FIT, "walking_augment": AS_THEY_ARE}
    train(biased, run, walking=config_of(biased), **options)
    shown = {"pictures": 0, "resamples": 100, "progress": False}
    inside = evaluate(biased, run / "model", tmp_path / "inside", **shown)["walking"]
    assert (inside["split"], inside["never_seen"]) == ("cross_validation", True)
    assert inside["patients"]["auroc"]["value"] > 0.9  # no patient is shared, and it looks great

    fair = prepared(drawn(tmp_path / "fair", 30, SEED + 100), tmp_path / "other", k=2)
    outside = evaluate(fair, run / "model", tmp_path / "outside", **shown)["walking"]
    assert (outside["split"], outside["never_seen"]) == ("all", None)
    assert outside["patients"]["auroc"]["value"] < 0.75


def cross_validated(source, out, **folds):
    """AUROC by patient, pooled over the folds."""
    data, run = prepared(source, out / "data", **folds) / "walking", out / "run"
    config = config_of(data.parent)
    train_folds(data, run, config, FIT, WalkingTraining(), AS_THEY_ARE, resume=False, final=False)
    table = pd.read_csv(run / "predictions.csv", dtype=TEXT, keep_default_na=False)
    few = Bootstrap(resamples=20)
    scores = classification_scores(table, config.labels, config.positive, bootstrap=few)
    return scores["auroc"]["value"]


def test_a_shortcut_of_the_site_is_caught_by_leaving_a_site_out(tmp_path):
    """Each site has shirts of its own; at one all have the deformity, at another none.

    Seeds 1, 2, 3: 0.86, 0.89, 0.84 by patient; 0.29, 0.09, 0.20 by site.
    """
    source = drawn(tmp_path / "raw", 45, SEED, shortcut="site", shortcut_share=1.0)
    by_patient = cross_validated(source, tmp_path / "by_patient", k=3)
    by_site = cross_validated(source, tmp_path / "by_site", by="site")
    assert by_patient > 0.75
    assert by_site < 0.5
