"""The named recipes of cldetection: they are found, they load, and they train."""

import json
import os
import re
import shutil
import subprocess
from types import SimpleNamespace as Namespace

import numpy as np
import pandas as pd
import pytest
from films import ALGORITHM, empty_algorithm, everything, run, write_images

from medvial.cldetection.decode import decode
from medvial.cldetection.postprocess import Learned, find
from medvial.cldetection.predictor import Predictor
from medvial.errors import InputError
from medvial.models import sha256
from medvial.outputs import read_json
from medvial_training.cli import CONFIGS, _named_configs, run_step
from medvial_training.phantoms.cldetection import write_phantoms
from medvial_training.split_dealing import Fractions
from medvial_training.tasks.cldetection import ensemble, seeds
from medvial_training.tasks.cldetection.dataset import load_samples
from medvial_training.tasks.cldetection.fold import Fold, fold_of

TINY = ["--model.height", "128", "--model.width", "64"]
SHORT = [
    *("--fit.max_epochs", "1", "--fit.mlflow", "false", "--fit.accelerator", "cpu"),
    *("--model.widths", "[4,4,6,6]", "--fit.workers", "0"),
]


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantoms")
    write_phantoms(folder, count=20, height=200)
    return folder


def step(verb, *arguments):
    return run_step(verb, None, ["cldetection", *map(str, arguments)])


def test_a_name_stands_for_the_file_of_the_step():
    folder = CONFIGS / "cldetection"
    for verb, file in (("prepare", "isbi2015-step1.yaml"), ("train", "isbi2015.yaml")):
        expected = ["--config", str(folder / file), "--run", "isbi2015"]
        arguments = ["--config", "isbi2015", "--run", "isbi2015"]
        assert _named_configs(arguments, "cldetection", verb) == expected
        assert _named_configs(["--config=isbi2015"], "cldetection", verb) == [
            f"--config={folder / file}"
        ]


def test_files_stay_what_they_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "isbi2015").write_text("seed: 1")
    for name in ("isbi2015", "other.yaml", "a/b.json"):
        assert _named_configs(["--config", name], "cldetection", "train") == ["--config", name]


def test_an_unknown_name_says_which_there_are():
    with pytest.raises(InputError, match=r"one of demo-phantoms, .*isbi2015, .*got isbi2016"):
        _named_configs(["--config", "isbi2016"], "cldetection", "train")


@pytest.mark.parametrize("recipe", ["isbi2015", "isbi2015-cpu"])
def test_a_recipe_trains_and_tests(recipe, stack, tmp_path, capsys):
    data, run = tmp_path / "data", tmp_path / "run"
    # the recipe's landmark set gives way to that of the films, as for CL-38
    options = ["--source", stack, "--out", data, "--model.landmark_set", "cl-38", *TINY]
    assert step("prepare", "--config", recipe, *options, "--fractions.test", "0.2") == 0
    assert step("train", "--config", recipe, "--data", data, "--run", run, *SHORT) == 0
    predictor = Predictor(run / "model")
    assert predictor.config.landmark_set == "cl-38"
    assert predictor.config.views == (4 if recipe == "isbi2015" else 1)
    learned = Learned.from_dict(read_json(run / "model" / "postprocess.json"))
    assert learned.intervals is None or len(learned.intervals.factors) == 38
    assert step("evaluate", "--data", data, "--model", run / "model", "--out", run / "test") == 0
    metrics = read_json(run / "test" / "metrics.json")
    assert metrics["model"]["views"] == predictor.config.views
    assert "PHANTOMS" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["adaptive_wing", "soft_argmax", "nll"])
def test_every_loss_trains(kind, stack, tmp_path):
    data, run = tmp_path / "data", tmp_path / "run"
    step("prepare", "--source", stack, "--out", data, *TINY, "--fractions.test", "0.2")
    heatmap = "sigmoid" if kind == "adaptive_wing" else "softmax"
    options = ["--loss.kind", kind, "--model.heatmap", heatmap, *SHORT]
    assert step("train", "--data", data, "--run", run, *options) == 0
    settings = read_json(run / "settings.json")
    assert settings["loss"]["kind"] == kind
    points = Predictor(run / "model")(np.random.default_rng(0).integers(0, 255, (90, 70), "uint8"))
    assert np.isfinite(points.points).all()


def test_two_networks_become_one_model(stack, tmp_path, capsys):
    data, other = tmp_path / "data", tmp_path / "other"
    step("prepare", "--source", stack, "--out", data, *TINY, "--fractions.test", "0.2")
    step("prepare", "--source", stack, "--out", other, *TINY, "--fractions.test", "0.1")
    for seed in (1, 2):
        run = ["--run", tmp_path / f"seed{seed}", "--fit.seed", seed, "--model.views", "4"]
        assert step("train", "--data", data, *run, *SHORT) == 0
    folders = [tmp_path / f"seed{seed}" / "model" for seed in (1, 2)]
    members, out = f"[{folders[0]},{folders[1]}]", tmp_path / "both" / "model"

    def combine(*options):
        return ensemble.main([str(o) for o in ("--out", out, "--views", "1", *options)])

    assert combine("--data", data, "--members", members) == 0
    both, (one, two) = Predictor(out), map(Predictor, folders)
    assert (both.config.members, both.config.views, one.config.views) == (2, 1, 4)
    digests = [predictor.manifest.files["model.safetensors"] for predictor in (one, two)]
    assert both.manifest.training["members_sha256"] == digests
    film = np.random.default_rng(0).standard_normal((1, 1, 128, 64)).astype(np.float32)
    each = [p._networks["model"](film)[0] for p in (one, two)]
    np.testing.assert_allclose(both._networks["model"](film)[0], np.concatenate(each), atol=1e-5)
    assert np.abs(each[0] - each[1]).max() > 1e-5  # members that differ
    said = [decode(maps, one.config) for maps in each]
    together = find(np.concatenate(each), both.config, None).peaks
    np.testing.assert_allclose(together.points, (said[0].points + said[1].points) / 2)

    options = ["--data", data, "--model", out, "--out", tmp_path / "test"]
    assert step("evaluate", *options) == 0
    algorithm = empty_algorithm(tmp_path / "algorithm")
    assert step("export", "--run", out, "--algorithm", algorithm) == 0
    assert (algorithm / "test" / "expected_output.json").is_file()

    capsys.readouterr()
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    for options, reason in (
        (["--data", other, "--members", members], r"the data of .*other.train\.csv, got .*seed1"),
        (["--data", data, "--members", f"[{folders[0]}]"], "at least two .* --calibrate_by, got 1"),
        (["--data", data, "--members", f"[{folders[0]},{folders[0]}]"], "one of them twice"),
        (
            ["--data", data, "--members", f"[{folders[0]},{out}]", "--out", tmp_path / "new"],
            "members 1 and 2, views 4 and 1",
        ),
        (
            ["--data", data, "--members", f"[{out},{out}]", "--out", tmp_path / "new"],
            "models that are no ensembles, got 2",
        ),
        (["--data", data, "--members", members, "--out", tmp_path], "holds the model .*seed1"),
        (["--data", data, "--members", members, "--out", folders[1]], "holds the model .*seed2"),
        (
            ["--data", data, "--members", members, "--out", out.parent],
            r"which would be replaced, got other files. Name another folder",
        ),
    ):
        assert combine(*options) == 1
        assert re.search(reason, " ".join(capsys.readouterr().err.split()))
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before
    assert all((folder / "manifest.json").is_file() for folder in folders)
    run = ["--run", tmp_path / "refused", "--model.members", "2"]
    assert step("train", "--data", data, *run, *SHORT) == 1
    assert "Expected model.members 1 for training, got 2" in capsys.readouterr().err


def sample(name, group=None, patient=None):
    return Namespace(image_id=name, group=group or name, patient=patient or name)


def test_folds_keep_groups_whole_and_validate_on_every_film_once():
    films = [sample(f"{n:02d}", f"g{n // 2}") for n in range(22)]
    samples = {"train": films[:16], "valid": films[16:], "test": [sample("t")]}
    seen = []
    for number in (1, 2, 3, 4):
        dealt = Fold(number, 4).deal(samples)
        again = Fold(number, 4).deal({**samples, "train": films[15::-1], "valid": films[16:]})
        assert dealt == again  # of the films alone, whatever their order
        assert dealt["test"] == samples["test"]
        train, valid = ({film.image_id for film in dealt[split]} for split in ("train", "valid"))
        assert len(valid) in (4, 6)
        assert train | valid == {film.image_id for film in films}
        assert not {f.group for f in dealt["train"]} & {f.group for f in dealt["valid"]}
        seen += sorted(valid)
    assert sorted(seen) == [film.image_id for film in films]
    films = [sample(f"{n:02d}", patient=f"p{n // 3}") for n in range(12)]  # 4 patients
    for number in (1, 2, 3):
        dealt = Fold(number, 3).deal(
            {"train": films[:8], "valid": films[8:], "test": []}, [("00", "11"), ("05", "t")]
        )
        sides = {film.image_id: split for split, films_ in dealt.items() for film in films_}
        kept = [
            {sides[f"{n:02d}"] for n in block} for block in (range(3), range(3, 6), range(6, 9))
        ]
        assert [len(block) for block in kept] == [1, 1, 1]
        assert {sides[name] for name in ("00", "09", "11")} == kept[0]  # nearly the same picture
    assert Fold().deal(samples) is samples
    dealt = Fold(all=True).deal(samples)
    assert sorted(film.image_id for film in dealt["train"]) == sorted(seen)
    assert (dealt["valid"], dealt["test"]) == ([], samples["test"])
    with pytest.raises(InputError, match=r"fold.all true by itself, got fold 1 of 3"):
        Fold(1, 3, all=True)
    with pytest.raises(InputError, match=r"at least 12 groups .* got 11"):
        Fold(1, 12).deal(samples)
    for number, of in ((0, 3), (4, 3), (1, 1), (1, 101), (-1, 5), (1, 0)):
        with pytest.raises(InputError, match=rf"got {number} of {of}"):
            Fold(number, of)


def test_members_with_folds_of_their_own_become_one_model(stack, tmp_path, capsys):
    data = tmp_path / "data"
    step("prepare", "--source", stack, "--out", data, *TINY, "--fractions.test", "0.2")
    runs = {number: tmp_path / f"fold{number}" for number in (1, 2, 3)}
    for number, path in runs.items():
        fold = ["--fold.number", number, "--fold.of", 3, "--fit.seed", number]
        assert step("train", "--data", data, "--run", path, *fold, *SHORT) == 0
    folders = [path / "model" for path in runs.values()]
    out = tmp_path / "all" / "model"

    def combine(*members):
        chosen = f"[{','.join(map(str, members))}]"
        return ensemble.main(["--data", str(data), "--members", chosen, "--out", str(out)])

    assert combine(*folders) == 0
    whole, parts = Predictor(out), [Predictor(folder) for folder in folders]
    noted = whole.manifest.training
    counts = [p.manifest.training["films"] for p in parts]
    films = sum(count["valid"] for count in counts)  # every film is held out once
    assert [count["train"] for count in counts] == [films - c["valid"] for c in counts]
    assert noted["films"] == {"train": films, "valid": films, "test": counts[0]["test"]}
    assert noted["folds"] == [{"number": n, "of": 3, "all": False} for n in (1, 2, 3)]
    assert whole.learned.intervals.films == films
    # each film's error is that of the member that did not see it
    errors = [p.manifest.metrics["valid"]["mre_mm"] for p in parts]
    weights = [count["valid"] for count in counts]
    expected = np.average(errors, weights=weights)
    assert whole.manifest.metrics["valid"]["mre_mm"] == pytest.approx(expected, rel=1e-9)

    # step 3 knows the films that a member validated on, and that the whole has none
    for number in (1, 2):
        test = ["--model", runs[number] / "model", "--out", runs[number] / "valid"]
        assert step("evaluate", "--data", data, *test, "--split", "valid") == 0
        tested = pd.read_csv(runs[number] / "valid" / "predictions.csv", dtype=str)["image_id"]
        samples = load_samples(data, parts[0].config, Fold(number, 3))
        assert tested.tolist() == [film.image_id for film in samples["valid"]]
        metrics = read_json(runs[number] / "valid" / "metrics.json")
        assert metrics["overall"]["mre_mm"]["value"] == pytest.approx(errors[number - 1], rel=1e-9)
    capsys.readouterr()
    options = ["--data", data, "--model", out, "--out", tmp_path / "refused"]
    assert step("evaluate", *options, "--split", "valid") == 1
    assert "parts of it may have been trained on these" in capsys.readouterr().err
    assert step("evaluate", *options, "--resamples", "50") == 0

    # members of one fold validated on the same films
    twin = tmp_path / "twin"
    fold = ["--fold.number", 1, "--fold.of", 3, "--fit.seed", 9]
    assert step("train", "--data", data, "--run", twin, *fold, *SHORT) == 0
    assert combine(folders[0], twin / "model") == 0
    both = Predictor(out).manifest.training
    assert fold_of(Predictor(out).manifest) == Fold(1, 3)
    assert (both["films"], "folds" in both) == (counts[0], False)
    test = ["--model", out, "--out", tmp_path / "valid-of-both", "--resamples", "50"]
    assert step("evaluate", "--data", data, *test, "--split", "valid") == 0
    tested = pd.read_csv(tmp_path / "valid-of-both" / "predictions.csv", dtype=str)["image_id"]
    samples = load_samples(data, parts[0].config, Fold(1, 3))
    assert tested.tolist() == [film.image_id for film in samples["valid"]]

    # what one of them was trained on, another may not have been chosen by
    plain = tmp_path / "plain"
    assert step("train", "--data", data, "--run", plain, *SHORT) == 0
    capsys.readouterr()
    assert combine(folders[0], plain / "model") == 1
    assert "Expected models with the same fold.of, got 0, 3" in capsys.readouterr().err
    fold = ["--fold.number", 2, "--fold.of", 3, "--weights", folders[0]]
    assert step("train", "--data", data, "--run", tmp_path / "leak", *fold, *SHORT) == 1
    assert "with another --fold" in capsys.readouterr().err
    assert not (tmp_path / "leak").exists()

    # weights of other data leave a trace, also in what is made of them
    other = tmp_path / "other"
    step("prepare", "--source", stack, "--out", other, *TINY, "--fractions.test", "0.3")
    run = ["--run", tmp_path / "begun", "--weights", folders[0]]
    assert step("train", "--data", other, *run, *SHORT) == 0
    assert "validate or test here is not known" in capsys.readouterr().out
    begun = tmp_path / "begun" / "model"
    noted = Predictor(begun).manifest.training
    assert noted["weights_from_other_data"] is True
    assert noted["weights_from_sha256"] == parts[0].manifest.files["model.safetensors"]
    test = ["--model", begun, "--out", tmp_path / "begun" / "test", "--resamples", "50"]
    assert step("evaluate", "--data", other, *test) == 0
    tested = read_json(tmp_path / "begun" / "test" / "metrics.json")["model"]["trained_on"]
    assert tested.endswith("from weights of other data: overlap was not checked")

    # a film that a member was trained on may not be tested, though train.csv is as it was
    valid = (data / "valid.csv").read_text().splitlines(keepends=True)
    test_table = (data / "test.csv").read_text()
    (data / "valid.csv").write_text("".join(valid[:-1]))
    (data / "test.csv").write_text(test_table + valid[-1])
    for model in (out, folders[0]):
        assert step("evaluate", "--data", data, "--model", model, "--out", tmp_path / "no") == 1
        assert re.search(r"trained on the data of .*valid\.csv", capsys.readouterr().err)
    (data / "valid.csv").write_text("".join(valid))
    (data / "test.csv").write_text(test_table)

    # films that change sides after the training are noticed, by whoever asks for unseen ones
    rows = (data / "train.csv").read_text().splitlines(keepends=True)
    (data / "train.csv").write_text("".join(rows[:-1]))
    manifest = read_json(folders[0] / "manifest.json")
    manifest["training"]["splits_sha256"]["train"] = sha256(data / "train.csv")
    (folders[0] / "manifest.json").write_text(json.dumps(manifest))
    test = ["--model", folders[0], "--out", tmp_path / "refused", "--split", "valid"]
    assert step("evaluate", "--data", data, *test) == 1
    assert "Expected the films that the model was validated on" in capsys.readouterr().err
    assert combine(folders[0], folders[0]) == 1


def test_members_trained_on_all_films_are_calibrated_by_others(stack, tmp_path, capsys):
    data = tmp_path / "data"
    step("prepare", "--source", stack, "--out", data, *TINY, "--fractions.test", "0.2")
    everything = ["--fold.all", "true", "--fit.checkpoint", "last"]
    fold = {n: ["--fold.number", n, "--fold.of", 2] for n in (1, 2)}
    options = {"all1": everything, "all2": [*everything, "--fit.seed", 2]}
    options |= {"fold1": fold[1], "fold2": fold[2], "plain": []}
    for name, more in options.items():
        assert step("train", "--data", data, "--run", tmp_path / name, *more, *SHORT) == 0
        warned = "how well they are remembered" in capsys.readouterr().out
        assert warned is name.startswith("all")
    model = {name: tmp_path / name / "model" for name in options}
    parts = {name: Predictor(folder) for name, folder in model.items()}
    films = sum(parts["fold1"].manifest.training["films"][split] for split in ("train", "valid"))
    alone = parts["all1"]
    assert alone.manifest.training["films"] | {"test": 0} == {"train": films, "valid": 0, "test": 0}
    assert (alone.learned.calibration, alone.learned.intervals) == (None, None)
    assert alone.manifest.metrics == {}  # nothing was left to measure by
    fit = read_json(tmp_path / "all1" / "settings.json")["fit"]
    assert fit["patience"] == fit["max_epochs"]  # films that it knows do not stop it

    out = tmp_path / "whole" / "model"

    def combine(members, judges=()):
        chosen = {"--members": members, "--calibrate_by": judges}
        lists = [(k, f"[{','.join(str(model[n]) for n in v)}]") for k, v in chosen.items() if v]
        flat = [part for pair in lists for part in pair]
        return ensemble.main(["--data", str(data), "--out", str(out), *flat])

    # what is learned is that of the folds' own ensemble, the points are those of the members
    assert combine(["fold1", "fold2"]) == 0
    judged = Predictor(out)
    assert combine(["all1", "all2"], ["fold1", "fold2"]) == 0
    whole = Predictor(out)
    assert whole.learned.intervals == judged.learned.intervals
    assert whole.learned.calibration == judged.learned.calibration
    assert whole.manifest.metrics == judged.manifest.metrics
    noted = whole.manifest.training
    assert noted["films"] | {"test": 0} == {"train": films, "valid": films, "test": 0}
    weights = [parts[name].manifest.files["model.safetensors"] for name in options]
    assert (noted["members_sha256"], noted["calibrated_by_sha256"]) == (weights[:2], weights[2:4])
    film = load_samples(data, whole.config)["test"][0].as_given(whole.config)
    expected = np.mean([parts[name].from_prepared(*film).points for name in ("all1", "all2")], 0)
    found = whole.from_prepared(*film)
    assert found.points == pytest.approx(expected, abs=0.01)
    assert found.uncertainty is not None

    # one network alone is calibrated by others too
    assert combine(["all1"], ["fold1", "fold2"]) == 0
    single = Predictor(out)
    assert single.config.members == 1
    assert single.learned.intervals == judged.learned.intervals
    assert single.from_prepared(*film).points == pytest.approx(alone.from_prepared(*film).points)

    model["single"] = tmp_path / "single" / "model"
    shutil.copytree(out, model["single"])
    for members, judges, message in (
        (["single", "all2"], [], "Expected a model of step 2"),
        (["all1", "all2"], ["single"], "Expected a model of step 2"),
        (["all1", "all2"], [], "models with validation films to learn from, got .*all1"),
        (["all1", "fold1"], [], "models with validation films to learn from, got .*all1"),
        (["fold1", "fold2"], ["all1"], "models with validation films to learn from, got .*all1"),
        (["all1", "all2"], ["fold1", "plain"], "models with the same fold.of, got 0, 2"),
        (["all1", "all1"], ["fold1", "fold2"], "got one of them twice"),
    ):
        assert combine(members, judges) == 1
        assert re.search(message, capsys.readouterr().err)

    # no film of these is unseen but those of the test
    for folder, message in (
        (model["all1"], "model of --fold.all true"),
        (out, "model that learned"),
    ):
        test = ["--model", folder, "--out", tmp_path / "test", "--resamples", "50"]
        assert step("evaluate", "--data", data, *test, "--split", "valid") == 1
        assert f"Expected --split test or train for a {message}" in capsys.readouterr().err
        assert step("evaluate", "--data", data, *test) == 0
    run = ["--run", tmp_path / "leak", "--fold.number", 1, "--fold.of", 2]
    assert step("train", "--data", data, *run, "--weights", model["all1"], *SHORT) == 1
    assert "with another --fold" in capsys.readouterr().err
    for option in ("--weights", "--first"):  # though it is one network of no fold
        run = ["--run", tmp_path / "leak", option, model["single"]]
        assert step("train", "--data", data, *run, *SHORT) == 1
        assert "Expected a model of step 2" in capsys.readouterr().err
    run = ["--run", tmp_path / "chosen", "--fold.all", "true"]
    assert step("train", "--data", data, *run, *SHORT) == 1
    assert "Expected --fit.checkpoint last" in capsys.readouterr().err


def test_repeats_are_kept_only_where_asked_for(tmp_path):
    splits = ["test", "train", "train", "train", "train", "train"]
    raw = write_images(tmp_path / "raw", split=splits)
    shutil.copy(raw / "images" / "a.png", raw / "images" / "b.png")  # the test repeats b
    for keep, trained in ((False, 3), (True, 4)):
        out = tmp_path / str(keep)
        frames = run(raw, out, keep_repeats=keep)
        assert len(frames["train"]) == trained
        assert ("b" in everything(frames).index) is keep
        assert read_json(out / "source.json")["repeats_kept"] is keep
        assert (out / "kept_repeats.csv").is_file() is keep
    for name in "de":  # another pair, within training
        shutil.copy(raw / "images" / "f.png", raw / "images" / f"{name}.png")
    for seed in range(4):
        out = tmp_path / f"seed{seed}"
        frames = run(raw, out, keep_repeats=True, seed=seed, fractions=Fractions(valid=0.4))
        sides = {split for split, frame in frames.items() if set("def") & set(frame["image_id"])}
        assert len(sides) == 1
        assert len(everything(frames)) == 6


def script(*arguments, **environment):
    command = ["bash", ALGORITHM.parents[1] / "benchmarks" / "isbi2015.sh", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | environment
    )


def test_the_script_does_not_take_another_recipe_for_its_own(tmp_path):
    (tmp_path / "recipe.txt").write_text("films\nisbi2015\n")  # of before members saw all films
    result = script("films", tmp_path, "isbi2015")
    assert result.returncode == 1
    assert "of another one: films isbi2015 - name another OUT" in result.stderr
    assert (tmp_path / "recipe.txt").read_text() == "films\nisbi2015\n"


@pytest.mark.parametrize(
    ("out", "environment", "message"),
    [
        ("out", {"MEMBERS": "1"}, "expected MEMBERS from 2 to 8, got 1"),
        ("out", {"FOLDS": "5"}, "expected FOLDS from 1 to 4, got 5"),
        ("a,b", {}, "expected an OUT without commas and brackets, got .*a,b"),
        ("[a", {}, "expected an OUT without commas and brackets"),
        ("a]", {}, "expected an OUT without commas and brackets"),
    ],
)
def test_the_script_refuses_what_cannot_work(tmp_path, out, environment, message):
    result = script("films", tmp_path / out, **environment)
    assert result.returncode == 1
    assert re.search(message, result.stderr)
    assert list(tmp_path.iterdir()) == []


def metrics_of(mre, **more):
    return {
        "split": "test",
        "counts": {"films": 150, "points": 2850},
        "overall": {"mre_mm": {"value": mre}, "sdr_percent": {"2": {"value": 87.0}}},
        "calibration": None,
        "intervals": {"coverage": {"value": 0.9}},
        "phantom": False,
        "notice": None,
    } | more


def test_seeds_become_a_table(tmp_path, capsys):
    folders = []
    for number, mre in enumerate((1.0, 1.1, 1.2)):
        folders.append(tmp_path / str(number))
        folders[-1].mkdir()
        (folders[-1] / "metrics.json").write_text(json.dumps(metrics_of(mre)))
    tests = "[" + ",".join(map(str, folders)) + "]"
    assert seeds.main(["--tests", tests, "--out", str(tmp_path / "table.md")]) == 0
    lines = (tmp_path / "table.md").read_text().splitlines()
    assert lines[0] == "| | test 1 | test 2 | test 3 | mean | SD |"
    assert "| MRE, mm | 1.000 | 1.100 | 1.200 | 1.100 | 0.100 |" in lines
    assert "| ECE of probability | – | – | – | – | – |" in lines
    assert "| coverage of 90 % regions, % | 90.0 | 90.0 | 90.0 | 90.0 | 0.0 |" in lines
    assert seeds.main(["--tests", f"[{tmp_path / 'none'}]"]) == 1
    assert re.search(r"Expected .*metrics\.json", capsys.readouterr().err)


def test_a_table_says_what_its_numbers_are_worth():
    text = seeds.table([metrics_of(1.0, phantom=True, notice="repeats are kept")])
    assert "say nothing about clinical accuracy" in text
    assert "Note: repeats are kept." in text
    with pytest.raises(InputError, match="tests of the same films"):
        seeds.table([metrics_of(1.0), metrics_of(1.0, split="valid")])
