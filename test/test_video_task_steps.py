"""Steps 2 to 4 of video, as a user runs them, on a few small phantoms."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from medvial.errors import InputError
from medvial.models import ModelFolder
from medvial.outputs import read_json
from medvial.video_classification import ClipConfig
from medvial.video_classification.model import build_model
from medvial.video_classification.predictor import VideoPredictor
from medvial_training import fit
from medvial_training.cli import run_step
from medvial_training.clips.module import ClipModule
from medvial_training.fit import FitArgs
from medvial_training.phantoms.gait_files import write_video
from medvial_training.phantoms.video import CLASSES, make_video, write_videos
from medvial_training.tasks.video import finished
from medvial_training.tasks.video.evaluate import _log_result, evaluate
from medvial_training.tasks.video.finished import finished_network

K400TINY = Path(__file__).parents[2] / "shared" / "data" / "k400tiny"
SMALL = ["--model.resize=32", "--model.crop=24", "--model.clip_s=0", "--model.clip_frames=4"]
TRAIN = [
    *("--model.widths=[4,6]", "--fit.max_epochs=3", "--fit.batch_size=6", "--fit.mlflow=false"),
    *("--fit.accelerator=cpu", "--fit.progress=false", "--fit.learning_rate=0.01"),
]


def step(verb, *arguments):
    assert run_step(verb, None, ["video", *map(str, arguments)]) == 0


def tree(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("video")
    write_videos(folder / "phantoms", count=24, frames=8)
    options = ["--fractions.valid=0.25", "--fractions.test=0.25", "--workers=1"]
    step("prepare", f"--source={folder / 'phantoms'}", f"--out={folder / 'data'}", *SMALL, *options)
    return folder / "data"


@pytest.fixture(scope="module")
def run(data):
    folder = data.parent / "run"
    step("train", f"--data={data}", f"--run={folder}", "--description=first try", *TRAIN)
    return folder


def test_training_leaves_a_model_folder(run, data):
    assert tree(run / "model") == ["manifest.json", "model.safetensors", "postprocess.json"]
    manifest = ModelFolder.open(run / "model", task="video").manifest
    assert tuple(manifest.config["labels"]) == CLASSES
    assert manifest.training["data"]["phantom"]
    assert manifest.training["description"] == "first try"
    assert set(manifest.training["splits_sha256"]) >= {"train", "valid", "test"}
    assert set(manifest.metrics["valid"]) >= {"accuracy", "top5_accuracy", "balanced_accuracy"}
    assert len(rows_of(run / "log.csv")) == 3
    assert "step" in rows_of(run / "log.csv")[0]


def test_training_again_and_resuming_what_has_ended_give_the_same(run, data):
    again = data.parent / "again"
    common = [f"--data={data}", f"--run={again}", "--description=first try", *TRAIN]
    for options in ([], ["--resume"]):
        step("train", *common, *options)
    same = [f / "model" / "model.safetensors" for f in (run, again)]
    assert same[0].read_bytes() == same[1].read_bytes()


def test_testing_writes_a_report(run, data):
    out = data.parent / "test"
    step("evaluate", f"--data={data}", f"--model={run / 'model'}", f"--out={out}")
    assert tree(out) == [
        *("figures/confusion.png", "figures/reliability.png", "figures/training.png"),
        *("metrics.json", "predictions.csv", "report.html"),
    ]
    metrics = read_json(out / "metrics.json")
    assert metrics["patients"] is None
    assert metrics["notice"] is None
    assert metrics["videos"]["cases"] == 6
    page = (out / "report.html").read_text()
    assert "PHANTOM" in page
    assert "http" not in page.replace("https://", "http").split("<style>")[0]
    rows = rows_of(out / "predictions.csv")
    right = np.mean([row["label"] == row["predicted"] for row in rows])
    assert metrics["videos"]["accuracy"]["value"] == pytest.approx(right)
    order = [sorted(CLASSES, key=lambda name, r=r: -float(r[f"p_{name}"])) for r in rows]
    top5 = np.mean([row["label"] in names[:5] for row, names in zip(rows, order, strict=True)])
    assert metrics["videos"]["top5_accuracy"]["value"] == pytest.approx(top5)


def test_more_views_and_other_splits(run, data):
    out = data.parent / "views"
    options = {"clips": 2, "crops": 3, "resamples": 50, "progress": False}
    metrics = evaluate(data, run / "model", out, "valid", **options)
    assert metrics["model"]["views"] == [2, 3]
    assert "not an independent test" in metrics["notice"]
    one = evaluate(data, run / "model", out, "valid", resamples=50, progress=False)
    assert one["model"]["views"] == [10, 1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pictures": -1}, "--pictures of 0 or more, got -1"),
        ({"clips": 0}, "--clips of at least 1, got 0"),
        ({"resamples": 0}, "at least 1 bootstrap resample"),
    ],
)
def test_nonsense_options_are_refused_before_the_work(run, tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        evaluate(tmp_path, run / "model", tmp_path / "out", **options)


def test_the_result_line_says_that_nothing_was_right(caplog):
    caplog.set_level("INFO")
    videos = {"cases": 3, "unit": "video", "accuracy": {"value": 0.0}, "auroc": {"value": None}}
    metrics = {"patients": None, "videos": videos, "phantom": False, "notice": None}
    _log_result(metrics, Path("out"))
    assert "accuracy 0.0000 (3 videos)" in caplog.text


def test_export_agrees_with_the_report(run, data, tmp_path):
    """The number of step 3 is the number that the container's predictor gives for the file."""
    step("export", f"--run={run}", f"--data={data}")
    assert tree(run / "export") == [
        *("id_by_label.json", "manifest.json", "model.onnx", "model.safetensors"),
        "postprocess.json",
    ]
    labels = read_json(run / "export" / "id_by_label.json")
    assert labels == {name: number for number, name in enumerate(CLASSES)}
    assert ModelFolder.open(run / "export", task="video").manifest.metrics["onnx_difference"] < 1e-3
    session = onnxruntime.InferenceSession(str(run / "export" / "model.onnx"))
    for count in (1, 3):
        clip = np.zeros((count, 3, 4, 24, 24), np.float32)
        assert session.run(None, {"input": clip})[0].shape == (count, 6)
    for place, label in enumerate(("rises", "grows")):
        for number in range(3):
            film = tmp_path / "films" / label / f"{number}.mp4"
            film.parent.mkdir(parents=True, exist_ok=True)
            write_video(film, make_video(label, [place, number], 9), 30, (96, 128))
    source, prepared = f"--source={tmp_path / 'films'}", tmp_path / "data"
    everything = ["--fractions.valid=0", "--fractions.test=1", "--workers=1"]
    step("prepare", source, f"--out={prepared}", *SMALL, *everything)
    evaluate(prepared, run / "export", tmp_path / "test", resamples=20, progress=False)
    predictor = VideoPredictor(ModelFolder.open(run / "export", task="video"))
    for row in rows_of(tmp_path / "test" / "predictions.csv"):
        found = predictor(tmp_path / "films" / f"{row['video']}.mp4")
        told = [float(row[f"p_{name}"]) for name in CLASSES]
        np.testing.assert_allclose(found.classified.probabilities, told, atol=1e-5)


def test_export_keeps_subfolders(run, data, tmp_path):
    model = shutil.copytree(run / "model", tmp_path / "model")
    (model / "notes").mkdir()
    (model / "notes" / "film.txt").write_text("seen")
    fields = vars(ModelFolder.open(model, task="video").manifest)
    ModelFolder.seal(model, **{key: value for key, value in fields.items() if key != "files"})
    step("export", f"--run={model}", f"--data={data}", f"--out={tmp_path / 'out'}")
    assert "notes/film.txt" in ModelFolder.open(tmp_path / "out", task="video").manifest.files


def test_validate_and_export_without_training(run, data):
    again = data.parent / "finished"
    weights = run / "checkpoints" / "best.ckpt"
    common = [f"--data={data}", f"--run={again}", f"--training.weights={weights}"]
    step("train", *common, "--validate_only")
    step("train", *common, "--export_only")
    assert (again / "export" / "model.onnx").is_file()
    same = [f / "model" / "model.safetensors" for f in (run, again)]
    assert same[0].read_bytes() == same[1].read_bytes()
    step("train", f"--data={data}", f"--run={run}", "--validate_only")
    told = [read_json(f / "valid" / "metrics.json")["videos"]["accuracy"] for f in (run, again)]
    assert told[0]["value"] == told[1]["value"]


def test_finished_networks_must_be_whole(run, data, tmp_path):
    config = ModelFolder.open(run / "model", task="video").config(ClipConfig)
    state = build_model(config).state_dict()
    torch.save({"model": {f"module.{k}": v for k, v in state.items()}}, tmp_path / "a.pth")
    found = finished_network(str(tmp_path / "a.pth"), config)
    torch.testing.assert_close(found.net.state_dict()["fc.weight"], state["fc.weight"])
    other = ClipConfig(labels=("a", "b"), widths=config.widths, clip_frames=4, crop=24, resize=32)
    with pytest.raises(InputError, match="with 2 classes"):
        finished_network(str(tmp_path / "a.pth"), other)
    with pytest.raises(InputError, match=r"a run with checkpoints/best\.ckpt"):
        finished_network(str(tmp_path), config)


@pytest.mark.slow
def test_named_weights_bring_their_own_classes(data, monkeypatch, tmp_path):
    """A network of Kinetics' 400 classes tells two of them, without any label map."""
    for place, label in enumerate(("archery", "abseiling")):
        film = tmp_path / "films" / label / "a.mp4"
        film.parent.mkdir(parents=True)
        write_video(film, make_video("falls", place, 6), 30, (96, 128))
    source, prepared = f"--source={tmp_path / 'films'}", tmp_path / "data"
    everything = ["--fractions.valid=0", "--fractions.test=1", "--workers=1"]
    step("prepare", source, f"--out={prepared}", *everything)
    config = ClipConfig(network="mc3_18", labels=tuple(map(str, range(400))), clip_frames=4)
    state = build_model(config).state_dict()
    monkeypatch.setattr(finished, "torchvision_weights", lambda *_: state)
    found = finished_network("torchvision:KINETICS400_V1", config)
    assert found.config.labels[:2] == ("abseiling", "air drumming")
    assert (found.config.crop, found.config.resize, found.config.mean[0]) == (112, 128, 0.43216)
    run = tmp_path / "run"
    options = ["--model.network=mc3_18", "--model.clip_frames=4", "--model.clips=1"]
    weights = "--training.weights=torchvision:KINETICS400_V1"
    step("train", f"--data={prepared}", f"--run={run}", weights, "--export_only", *options)
    metrics = evaluate(prepared, run / "export", tmp_path / "test", resamples=20, progress=False)
    assert len(metrics["videos"]["confusion"]["labels"]) == 400
    assert "398 more classes" in (tmp_path / "test" / "report.html").read_text()


def test_mistakes_are_told_in_one_line(run, data, capsys, tmp_path):
    def said(*arguments):
        assert run_step("train", None, ["video", *map(str, arguments)]) == 1
        return capsys.readouterr().err

    assert "Run step 1 first" in said(f"--data={tmp_path}")
    assert "earlier run" in said(f"--data={data}", f"--run={run}", *TRAIN)
    assert "resize 32 there, 40 here" in said(
        f"--data={data}", f"--run={tmp_path}", "--model.resize=40", *TRAIN
    )
    assert "another network" in said(
        *(f"--data={data}", f"--run={run}", "--export_only"),
        f"--training.weights={run / 'checkpoints' / 'last.ckpt'}",
    )


@pytest.mark.parametrize(("fits", "precision"), [(True, "bf16-mixed"), (False, "32-true")])
def test_clips_do_not_train_in_bfloat16_on_a_cpu(monkeypatch, fits, precision):
    supported = torch._C._cpu
    monkeypatch.setattr(supported, "_is_avx512_bf16_supported", lambda: True, raising=False)
    assert fit._precision(FitArgs(accelerator="cpu"), fits) == precision
    assert not ClipModule.cpu_bfloat16


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.skipif(not K400TINY.is_dir(), reason=f"no real frames at {K400TINY}")
def test_real_frames_of_k400_tiny(tmp_path, capsys):
    """Six videos of six classes: by video they cannot be split, in time they can."""
    source, out, run = f"--source={K400TINY}", tmp_path / "data", tmp_path / "run"
    assert run_step("prepare", None, ["video", source, f"--out={out}"]) == 1
    assert "at least 2 videos" in capsys.readouterr().err
    whole = ["--model.clip_s=0", "--model.clip_frames=8", "--model.clips=1"]
    step("prepare", source, f"--out={out}", "--within_video", *whole)
    content = json.loads((out / "annotations.json").read_text())
    assert next(iter(content["categories"])) == "abseiling"
    assert [len(content[part]) for part in ("train", "val", "test")] == [6, 6, 6]
    options = ["--fit.max_epochs=4", "--training.clips_per_epoch=8", *TRAIN[3:]]
    options += ["--fit.learning_rate=0.003", "--model.widths=[8,16,32]"]
    step("train", f"--data={out}", f"--run={run}", *options)
    metrics = evaluate(out, run / "model", run / "test", resamples=50, progress=False)
    assert metrics["videos"]["accuracy"]["value"] >= 0.5  # chance: 0.17
    assert "parts of the same videos" in metrics["notice"]
    step("export", f"--run={run}", f"--data={out}")
