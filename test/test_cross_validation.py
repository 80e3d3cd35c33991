"""The K-fold run: everybody is tested once, by a network that never saw them."""

import numpy as np
import pandas as pd
import pytest

from medvial.errors import InputError
from medvial.outputs import read_json, write_json
from medvial_training.classification_scores import classification_scores
from medvial_training.cross_validation import run_folds
from medvial_training.folds import Folds, make_folds
from medvial_training.metrics import Bootstrap

SETTINGS = {"fit": {"learning_rate": 0.1, "workers": 2}, "model": {"clip_s": 1.0}}


def folds_of(patients=12, k=3):
    rows = [
        (f"v{p}_{v}", f"P{p}", "ASD" if p % 2 else "ASD_not")
        for p in range(patients)
        for v in range(2)
    ]
    table = make_folds(pd.DataFrame(rows, columns=["video", "patient", "label"]), k=k)
    return Folds(table, (*(f"fold_{n + 1}" for n in range(k)), "final"))


class Learner:
    """Knows the patients that it was shown, guesses at others; may fail at a fold."""

    def __init__(self, fail_at=None, test_on="test"):
        self.fail_at, self.test_on, self.trained = fail_at, test_on, []

    def __call__(self, fold, train, valid, test, folder):
        if fold == self.fail_at:
            raise RuntimeError("out of memory")
        self.trained.append(fold)
        shown = {"train": train, "valid": valid, "test": test}[self.test_on]
        known = set(train["patient"]) | set(valid["patient"])
        rows = [
            (
                row.video,
                p := 1.0 * (row.label == "ASD") if row.patient in known else 0.5,
                1 - p,
                "x",
            )
            for row in shown.itertuples()
            for _ in range(2)  # two clips
        ]
        columns = ["video", "p_ASD", "p_ASD_not", "label"]
        if fold != "final":
            pd.DataFrame(rows, columns=columns).to_csv(folder / "predictions.csv", index=False)


def test_every_patient_is_tested_once_by_a_network_that_never_saw_them(tmp_path):
    folds, learner = folds_of(), Learner()
    run_folds(folds, tmp_path, learner, SETTINGS)
    assert learner.trained == ["fold_1", "fold_2", "fold_3", "final"]
    pooled = pd.read_csv(tmp_path / "predictions.csv")
    assert list(pooled)[:6] == ["fold", "video", "patient", "group", "site", "label"]
    assert pooled["video"].value_counts().to_dict() == dict.fromkeys(folds.table["video"], 2)
    assert set(pooled["label"]) == {"ASD", "ASD_not"}  # the manifest's, not the network's
    assert (pooled["p_ASD"] == 0.5).all()  # it knows nobody
    scores = classification_scores(pooled, ("ASD", "ASD_not"), bootstrap=Bootstrap(10))
    assert (scores["cases"], scores["videos"], scores["auroc"]["value"]) == (12, 24, 0.5)


def test_finished_folds_are_kept_after_a_failure(tmp_path):
    folds = folds_of()
    with pytest.raises(RuntimeError):
        run_folds(folds, tmp_path, Learner(fail_at="fold_2"), SETTINGS)
    assert not (tmp_path / "predictions.csv").exists()
    again = Learner()
    other = SETTINGS | {"fit": {"learning_rate": 0.1, "workers": 0}}  # free to change
    run_folds(folds, tmp_path, again, other, resume=True)
    assert again.trained == ["fold_2", "fold_3", "final"]
    assert len(pd.read_csv(tmp_path / "predictions.csv")) == 48
    with pytest.raises(InputError, match="fold_1, fold_2, fold_3, final trained already"):
        run_folds(folds, tmp_path, Learner(), SETTINGS)
    assert len(list(tmp_path.rglob("done.json"))) == 4


def test_going_on_with_other_options_or_folds_is_refused(tmp_path):
    folds = folds_of()
    run_folds(folds, tmp_path, Learner(), SETTINGS)
    with pytest.raises(InputError, match=r"model\.clip_s 1\.0 there, 2\.0 here"):
        run_folds(folds, tmp_path, Learner(), SETTINGS | {"model": {"clip_s": 2.0}}, resume=True)
    table = folds.table.assign(label=np.where(folds.table["patient"] == "P1", "ASD_not", "ASD"))
    with pytest.raises(InputError, match="the folds have changed since"):
        run_folds(Folds(table, folds.names), tmp_path, Learner(), SETTINGS, resume=True)


@pytest.mark.parametrize("done", [True, False])
def test_going_on_with_other_content_is_refused(tmp_path, done):
    folds = folds_of()
    first = dict.fromkeys(folds.table["video"], "a score")
    run_folds(folds, tmp_path, Learner(), SETTINGS, content=first)
    if not done:
        for file in tmp_path.rglob("done.json"):
            file.unlink()
    corrected = first | {"v3_0": "another"}
    with pytest.raises(InputError, match="keypoints or scores of its videos have changed since"):
        run_folds(folds, tmp_path, Learner(), SETTINGS, content=corrected, resume=True)
    more = first | {"not in these folds": "a score"}
    run_folds(folds, tmp_path, Learner(), SETTINGS, content=more, resume=True)


def test_folds_are_not_mixed_of_other_steps(tmp_path):
    folds = folds_of()
    with pytest.raises(RuntimeError):
        run_folds(folds, tmp_path, Learner(fail_at="fold_2"), SETTINGS, samples_per_step=8)
    with pytest.raises(InputError, match=r"with 8 samples per step .* as in .*fold_1, got 16"):
        run_folds(folds, tmp_path, Learner(), SETTINGS, samples_per_step=16, resume=True)
    again = Learner()
    run_folds(folds, tmp_path, again, SETTINGS, samples_per_step=8, resume=True)
    assert again.trained == ["fold_2", "fold_3", "final"]


def test_a_fold_that_did_not_fit_into_memory_may_take_smaller_steps(tmp_path):
    with pytest.raises(RuntimeError):
        run_folds(folds_of(), tmp_path, Learner(fail_at="fold_1"), SETTINGS, samples_per_step=64)
    run_folds(folds_of(), tmp_path, Learner(), SETTINGS, samples_per_step=8)
    assert read_json(tmp_path / "fold_1" / "begun.json")["samples_per_step"] == 8


def test_folds_of_an_earlier_version_are_kept_and_guarded(tmp_path):
    """Their videos were noted in done.json, their names in settings."""
    folds, settings = folds_of(), SETTINGS | {"data": "somewhere"}
    run_folds(folds, tmp_path, Learner(), settings)
    for done in tmp_path.rglob("done.json"):
        begun = done.with_name("begun.json")
        noted = {"videos_of_fold": read_json(begun)["videos_of_fold"], "fold": done.parent.name}
        write_json(done, read_json(done) | noted)
        begun.unlink()
    for _ in range(2):
        with pytest.raises(InputError, match="the folds have changed since"):
            run_folds(folds_of(patients=14), tmp_path, Learner(), SETTINGS, resume=True)
    again = Learner()
    run_folds(folds, tmp_path, again, SETTINGS, resume=True)
    run_folds(folds, tmp_path, again, SETTINGS, content={"v0_0": "not noted"}, resume=True)
    assert not again.trained


@pytest.mark.parametrize("resume", [True, False])
def test_an_interrupted_fold_does_not_go_on_with_other_patients(tmp_path, resume):
    with pytest.raises(RuntimeError):
        run_folds(folds_of(), tmp_path, Learner(fail_at="fold_1"), SETTINGS)
    others, learner = folds_of(patients=14), Learner()
    for _ in range(2):  # refused once is not forgotten
        with pytest.raises(InputError, match="the folds have changed since"):
            run_folds(others, tmp_path, learner, SETTINGS, resume=resume)
    assert not learner.trained


@pytest.mark.parametrize("part", ["train", "valid"])
def test_predictions_of_other_videos_are_refused(tmp_path, part):
    with pytest.raises(InputError, match="which fold_1 does not test"):
        run_folds(folds_of(), tmp_path, Learner(test_on=part), SETTINGS)


def test_several_machines_share_the_folds(tmp_path, caplog):
    folds = folds_of()
    run_folds(folds, tmp_path, Learner(), SETTINGS, only=["fold_2"])
    assert "no predictions yet of fold_1, fold_3" in caplog.text
    assert set(pd.read_csv(tmp_path / "predictions.csv")["fold"]) == {"fold_2"}
    run_folds(folds, tmp_path, Learner(), SETTINGS, only=["fold_1", "fold_3"])
    assert set(pd.read_csv(tmp_path / "predictions.csv")["fold"]) == {"fold_1", "fold_2", "fold_3"}
    with pytest.raises(InputError, match="got fold_9"):
        run_folds(folds, tmp_path, Learner(), SETTINGS, only=["fold_9"])


def test_a_fold_that_leaves_no_predictions_is_not_done(tmp_path):
    with pytest.raises(InputError, match="Expected the predictions"):
        run_folds(folds_of(), tmp_path, lambda *_: None, SETTINGS)
    assert not list(tmp_path.rglob("done.json"))
