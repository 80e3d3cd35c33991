"""What a cross-validation by patient cannot see: clothes that give the class away.

Drawn people; the numbers say nothing about clinical accuracy.
"""

import pytest

from medvial.outputs import read_json
from medvial.video_classification.config import ClipConfig
from medvial_training.clips.augment import ClipAugmentation
from medvial_training.fit import FitArgs
from medvial_training.phantoms.gait_walking_set import write_walking
from medvial_training.tasks.gait.evaluate import evaluate
from medvial_training.tasks.gait.prepare import prepare
from medvial_training.tasks.gait.systems import FoldOptions
from medvial_training.tasks.gait.train import train
from medvial_training.tasks.gait.walking import read_video

CONFIG = ClipConfig(
    widths=(6, 8, 12), clip_s=0.6, clip_frames=4, clips=1, resize=36, crop=32, fps=8.0, dropout=0.0
)
FIT = FitArgs(max_epochs=30, batch_size=6, learning_rate=6e-3, ema_decay=0.9, validate_every=5,
              mlflow=False, progress=False, accelerator="cpu")  # fmt: skip
AS_THEY_ARE = ClipAugmentation(brightness=0, contrast=0, saturation=0, blur=0)


def prepared(folder, patients, seed, **shortcut):
    """Small phantoms, followed by motion: one video a patient."""
    size = {"height": 108, "width": 192, "clip_s": 1.2, "least_videos": 1, "most_videos": 1}
    write_walking(folder / "raw", patients, seed=seed, **size, **shortcut)
    prepare(folder / "raw", folder / "data", walking=CONFIG, folds=FoldOptions(k=2), workers=1)
    return folder / "data"


@pytest.mark.slow
def test_clothes_pass_cross_validation_and_fail_without(tmp_path, monkeypatch):
    monkeypatch.setattr(read_video, "_networks", lambda _: None)
    biased = prepared(tmp_path / "biased", 36, 1, shortcut="clothes", shortcut_share=1.0)
    config = ClipConfig(**read_json(biased / "walking" / "config.json"))
    run = tmp_path / "run"
    train(biased, run, walking=config, walking_fit=FIT, walking_augment=AS_THEY_ARE)
    shown = {"pictures": 0, "resamples": 100, "progress": False}
    inside = evaluate(biased, run / "model", tmp_path / "inside", **shown)["walking"]
    assert (inside["split"], inside["never_seen"]) == ("cross_validation", True)
    assert inside["patients"]["auroc"]["value"] > 0.9  # no patient is shared, and it looks great

    fair = prepared(tmp_path / "fair", 24, 2)
    outside = evaluate(fair, run / "model", tmp_path / "outside", **shown)["walking"]
    assert (outside["split"], outside["never_seen"]) == ("all", True)
    assert outside["patients"]["auroc"]["value"] < 0.75
    assert outside["patients"]["accuracy"]["value"] < inside["patients"]["accuracy"]["value"] - 0.2
