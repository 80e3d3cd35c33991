"""Step 3 of echonet on films made by hand, by networks whose answers are known."""

import csv
import json
from unittest import mock

import av
import echo_data
import numpy as np
import pandas as pd
import pytest
from echo_data import write_echonet
from safetensors.torch import save_file

from medvial.echonet.config import Config
from medvial.echonet.model import build_ejection_fraction, build_segmentation
from medvial.echonet.networks import EchoNetworks
from medvial.echonet.postprocess import Learned
from medvial.errors import InputError
from medvial.models import Manifest, ModelFolder
from medvial_training.metrics import Bootstrap
from medvial_training.tasks.echonet import beat_by_beat, report
from medvial_training.tasks.echonet import evaluate as step
from medvial_training.tasks.echonet.evaluate import evaluate, evaluate_networks
from medvial_training.tasks.echonet.overlay_video import Film, pictures, still
from medvial_training.tasks.echonet.prepare import prepare
from medvial_training.tasks.echonet.source_logs import write_source_logs

HEIGHT, WIDTH = 64, 80
PERIOD = 40  # frames of a beat: .8 s at 50 frames a second
CONFIG = Config(
    height=HEIGHT,
    width=WIDTH,
    mean=(0.0,),
    std=(1.0,),
    segmentation_widths=(4, 8),
    ejection_fraction_widths=(4, 8),
)
MANIFEST = Manifest("echonet", {}, {"x.onnx": "0"}, {"data": {"description": "discs"}})
FEW = Bootstrap(resamples=20)
PNG = b"\x89PNG"


def film(count, radius):
    """A bright ellipse that beats; its first pixel is the frame's number."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    sides = radius * (1 - 0.15 * (1 - np.cos(2 * np.pi * np.arange(count) / PERIOD)) / 2)
    inside = ((x - 40) / sides[:, None, None]) ** 2 + ((y - 32) / 25) ** 2 < 1
    frames = np.where(inside, 250, 20).astype(np.uint8)
    frames[:, 0, 0] = np.minimum(np.arange(count), 240)
    return frames, inside


def write_data(folder, videos, phantom=False, patient=None):
    """Films (name, frames, masks, ef, fps) as step 1 leaves them, all of them in the test split.

    Each is of its own patient, or all of `patient`.
    """
    folder.mkdir()
    np.save(folder / "frames.npy", np.concatenate([v[1] for v in videos]))
    first, rows, traces, masks = 0, [], [], []
    for name, frames, inside, ef, fps in videos:
        rows.append([name, patient or f"p-{name}", first, len(frames), fps, ef, "", "", ""])
        first += len(frames)
        for phase, frame in (("ED", 0), ("ES", min(PERIOD // 2, len(frames) - 1))):
            traces.append([name, frame, phase, len(masks)])
            masks.append(inside[frame].astype(np.uint8))
    np.save(folder / "masks.npy", np.stack(masks))
    names = ["video", "patient", "first", "count", "fps", "ef", "esv", "edv", "spacing_mm"]
    write_csv(folder / "videos.csv", names, rows)
    write_csv(folder / "traces.csv", ["video", "frame", "phase", "mask"], traces)
    members = [[r[0], r[1], r[1]] for r in rows]
    other = {"train": [["t", "pt", "pt"]], "valid": [["v", "pv", "pv"]], "test": members}
    for split, listed in other.items():
        write_csv(folder / f"{split}.csv", ["image_id", "patient", "group"], listed)
    write_csv(folder / "near_duplicates.csv", ["image_a", "image_b", "distance"], [])
    (folder / "source.json").write_text(json.dumps({"phantom": phantom, "description": "discs"}))
    return folder


def write_csv(path, header, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    videos = [
        ("long", *film(230, 20), 61.0, 50),
        ("middle", *film(140, 18), 55.0, 50),
        ("short", *film(30, 16), 48.0, 25),
    ]
    return write_data(tmp_path_factory.mktemp("prepared") / "echonet", videos, phantom=True)


def sees_bright(batch):
    """Segmentation that is right."""
    return np.where(batch > 245, 3.0, -3.0).astype(np.float32)


def says_start(batch):
    """EF of a clip: 50 and a tenth of its first frame's number."""
    assert batch.shape[1:] == (1, 32, HEIGHT, WIDTH)
    return (50 + batch[:, 0, 0, 0, 0] / 10)[:, None]


def run(data, out, segmentation=sees_bright, regression=says_start, **options):
    networks = EchoNetworks(CONFIG, segmentation, regression)
    learned = Learned(half_width=6.0, videos=30)
    if "overlays" in options:
        return evaluate_networks(networks, learned, MANIFEST, data, out, bootstrap=FEW, **options)
    with mock.patch.object(step, "write_pictures"):  # figures take seconds
        return evaluate_networks(networks, learned, MANIFEST, data, out, bootstrap=FEW, **options)


@pytest.fixture(scope="module")
def tested(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    return run(data, out, overlays=2), out


def test_leaves_exactly_these_files(tested):
    _, out = tested
    files = {str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()}
    overlays = {f for f in files if f.startswith("overlays/")}
    assert len(overlays) == 4  # two films, each with a picture
    assert files - overlays == {
        "metrics.json",
        "report.html",
        "size.csv",
        "test_dice.csv",
        "test_predictions.csv",
        "per_video.csv",
        "beats.csv",
        "figures/agreement.png",
        "figures/beats.png",
        "figures/dice.png",
        "figures/roc.png",
    }


def test_right_masks_have_dice_one(tested):
    metrics, _ = tested
    assert metrics["dice"]["pooled"]["overall"] == {"value": 1.0, "low": 1.0, "high": 1.0}


def test_size_is_the_sources_table(tested):
    _, out = tested
    lines = (out / "size.csv").read_text().splitlines()
    assert lines[0] == "Filename,Frame,Size,HumanLarge,HumanSmall,ComputerSmall"
    size = pd.read_csv(out / "size.csv")
    own = size[size["Filename"] == "long.avi"]
    assert own["Frame"].tolist() == list(range(230))
    np.testing.assert_array_equal(own["Size"], film(230, 20)[1].sum(axis=(1, 2)))
    assert own.loc[own["HumanLarge"] == 1, "Frame"].tolist() == [0]
    assert own.loc[own["HumanSmall"] == 1, "Frame"].tolist() == [20]
    computed = own.loc[own["ComputerSmall"] == 1, "Frame"].to_numpy()
    np.testing.assert_allclose(computed, [20, 60, 100, 140, 180, 220], atol=3)


def test_only_needed_clips_are_computed_each_once(data, tmp_path):
    asked = []

    def counting(batch):
        asked.extend(batch[:, 0, 0, 0, 0].tolist())
        return says_start(batch)

    metrics = run(data, tmp_path, regression=counting)
    assert len(asked) == metrics["counts"]["clips_computed"]
    rows = [r.split(",") for r in (tmp_path / "test_predictions.csv").read_text().splitlines()]
    assert len(rows) == len({(name, start) for name, start, _ in rows}) == len(asked)
    assert metrics["counts"]["clips_possible"] == (230 - 62) + (140 - 62) + 1
    assert len(asked) < metrics["counts"]["clips_possible"] / 10


def test_predictions_are_the_sources_rows(tested):
    _, out = tested
    rows = [r.split(",") for r in (out / "test_predictions.csv").read_text().splitlines()]
    assert rows[0] == ["long.avi", "0", "50.0000"]
    for _, start, ef in rows:
        assert float(ef) == pytest.approx(50 + int(start) / 10)


def test_r_script_on_the_written_files_gives_the_same(tested, data, tmp_path):
    """What R would make of size.csv and the predictions is what metrics.json says."""
    metrics, out = tested
    videos = pd.read_csv(data / "videos.csv").rename(columns={"video": "FileName", "ef": "EF"})
    videos.to_csv(tmp_path / "FileList.csv", index=False)
    files = (out / "size.csv", out / "test_predictions.csv", tmp_path / "FileList.csv")
    got = beat_by_beat.analyse(*files)["beat_by_beat"]
    expected = metrics["ejection_fraction"]["r_script"]
    assert got["files"] == expected["videos"]
    assert got["mae"] == pytest.approx(expected["mae"]["value"])
    assert got["rmse"] == pytest.approx(expected["rmse"]["value"])


def test_result_is_the_mean_over_the_beats(tested):
    _, out = tested
    beats = pd.read_csv(out / "beats.csv")
    own = beats[beats["video"] == "long"]
    # end-systoles at 20, 60, ..., 220: clips start 32 earlier, within 0 to 230 - 63
    np.testing.assert_allclose(own["clip_start"], [0, 28, 68, 108, 148, 167], atol=2)
    table = pd.read_csv(out / "per_video.csv").set_index("video")
    assert table.loc["long", "ef_result"] == pytest.approx(own["ef"].mean(), abs=1e-4)
    assert table.loc["long", "ef_high"] == pytest.approx(own["ef"].mean() + 6, abs=1e-4)


def test_all_clips_are_averaged_when_asked_for(data, tmp_path):
    metrics = run(data, tmp_path, all_clips=True)
    assert metrics["counts"]["clips_computed"] == metrics["counts"]["clips_possible"]
    table = pd.read_csv(tmp_path / "per_video.csv").set_index("video")
    assert table.loc["middle", "ef_all_clips"] == pytest.approx(50 + 77 / 20, abs=1e-4)


def test_coverage_of_the_interval(tested):
    metrics, _ = tested
    assert metrics["interval"]["videos"] == 3
    assert metrics["interval"]["width"]["value"] == pytest.approx(12)


def test_masks_give_an_ejection_fraction_beside_the_network(tested):
    metrics, _ = tested
    by_masks, by_traces = (
        metrics["ejection_fraction"][name]["mae"]["value"]
        for name in ("masks_traced_frames", "traces")
    )
    assert by_masks == pytest.approx(by_traces)
    assert metrics["masks_and_network"]["videos"] == 2  # no whole beat in the short film


def test_phantoms_are_called_so(tested, caplog):
    metrics, out = tested
    assert metrics["phantom"]
    html = (out / "report.html").read_text()
    assert "PHANTOM DATA – says nothing about clinical accuracy" in html
    assert "None of these numbers says anything about accuracy on patients" in html
    assert "http" not in html.replace("http://www.w3.org", "")  # one file, no network


def test_every_figure_says_phantom_and_films_show_what_was_seen(data, tmp_path):
    titles, films = [], []
    with (
        mock.patch.object(report, "figure_png", lambda f: titles.append(f.get_suptitle()) or PNG),
        mock.patch.object(report, "write_still", lambda path, film: path.write_bytes(PNG)),
        mock.patch.object(report, "write_video", lambda path, film: films.append(film) or path),
    ):
        (tmp_path / "overlays").mkdir()
        run(data, tmp_path, overlays=3)
    assert titles == ["Phantoms: says nothing about clinical accuracy"] * 4
    beats = pd.read_csv(tmp_path / "beats.csv")
    for film_ in films:
        own = beats[beats["video"] == film_.title]
        assert film_.end_diastoles == own.loc[own["ed_seen"], "ed_frame"].tolist()
        assert film_.end_systoles == own.loc[own["es_seen"], "es_frame"].tolist()
    assert not beats["ed_seen"].all()  # all films begin at end-diastole


def test_metrics_file_is_what_is_returned(tested):
    metrics, out = tested
    assert json.loads((out / "metrics.json").read_text()) == json.loads(json.dumps(metrics))


def test_overlay_plays_at_the_films_own_speed(tested):
    _, out = tested
    found = sorted(out.glob("overlays/*.mp4")) or sorted(out.glob("overlays/*.avi"))
    rates = {}
    for path in found:
        with av.open(str(path)) as video:
            rates[path.stem] = (float(video.streams.video[0].average_rate), video.duration)
    fps = {"long": 50, "middle": 50, "short": 25}
    assert {name: rate for name, (rate, _) in rates.items()} == {n: fps[n] for n in rates}


def test_what_was_learned_is_applied_to_every_clip(data, tmp_path):
    networks = EchoNetworks(CONFIG, sees_bright, says_start)
    learned = Learned(slope=0.5, intercept=20.0)
    with mock.patch.object(step, "write_pictures"):
        evaluate_networks(
            networks, learned, MANIFEST, data, tmp_path, bootstrap=FEW, all_clips=True
        )
    table = pd.read_csv(tmp_path / "test_predictions.csv", names=["video", "start", "ef"])
    np.testing.assert_allclose(table["ef"], 0.5 * (50 + table["start"] / 10) + 20, atol=1e-3)


def test_films_of_one_patient_give_no_interval(tmp_path):
    """Intervals are over patients: one patient says nothing about others."""
    videos = [(name, *film(90, radius), 50.0, 50) for name, radius in (("a", 20), ("b", 17))]
    data = write_data(tmp_path / "data", videos, patient="one")
    metrics = run(data, tmp_path / "out")
    assert (metrics["counts"]["videos"], metrics["counts"]["patients"]) == (2, 1)
    assert metrics["ejection_fraction"]["result"]["mae"]["low"] is None
    assert metrics["dice"]["pooled"]["overall"]["low"] is None
    assert metrics["dice"]["per_video"]["overall"]["low"] is None
    assert metrics["interval"]["coverage"]["low"] is None
    assert metrics["auc"]["50"]["sensitivity"]["low"] is None


def test_one_network_alone_is_tested_alone(data, tmp_path):
    metrics = run(data, tmp_path / "a", regression=None)
    assert metrics["main_method"] == "masks"
    assert "result" not in metrics["ejection_fraction"]
    metrics = run(data, tmp_path / "b", segmentation=None)
    assert metrics["dice"] is None
    assert metrics["ejection_fraction"]["one_clip"]["videos"] == 3


def test_a_model_that_finds_nothing_is_no_crash(data, tmp_path):
    metrics = run(data, tmp_path, segmentation=lambda b: np.full_like(b, -5), overlays=2)
    assert metrics["dice"]["pooled"]["overall"]["value"] == 0
    assert metrics["counts"]["videos_without_beats"] == 3
    assert metrics["ejection_fraction"]["result"]["videos"] == 3


def test_single_frames_are_segmented_only(tmp_path):
    """CAMUS: end-diastole and end-systole, no film and no frame rate."""
    frames, inside = film(PERIOD, 20)
    pair = [0, PERIOD // 2]
    videos = [(f"c{i}", frames[pair], inside[pair], 40.0 + i, "") for i in range(3)]
    metrics = run(write_data(tmp_path / "data", videos), tmp_path / "out", overlays=2)
    assert metrics["main_method"] == "masks_traced_frames"
    assert metrics["counts"]["cines"] == 0
    assert not (tmp_path / "out/beats.csv").exists()
    assert sorted(p.suffix for p in (tmp_path / "out/overlays").iterdir()) == [".png", ".png"]


def test_real_networks_of_a_model_folder(data, tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    for name, build in (
        ("segmentation", build_segmentation),
        ("ejection_fraction", build_ejection_fraction),
    ):
        save_file(build(CONFIG).state_dict(), model / f"{name}.safetensors")
    (model / "postprocess.json").write_text(json.dumps(Learned().as_dict()))
    for name, score in (("segmentation", "valid/dice"), ("ejection_fraction", "valid/mae")):
        (tmp_path / name).mkdir()
        log = f"epoch,step,train/loss,{score}\n0,5,2.0,\n1,10,1.5,0.8\n"
        (tmp_path / name / "log.csv").write_text(log)
    training = {"data": {"phantom": True}}
    ModelFolder.seal(model, task="echonet", config=vars(CONFIG), training=training)
    metrics = evaluate(data, model, tmp_path / "out", overlays=1, resamples=20, progress=False)
    assert metrics["model"]["trained_on_phantoms"]
    assert metrics["counts"]["videos"] == 3
    assert metrics["interval"] is None
    assert (tmp_path / "out/figures/training.png").is_file()
    logs = tmp_path / "out/source_logs"
    assert (logs / "segmentation/log.csv").read_text().splitlines()[2:] == [
        "1,train,1.5,,,,,,,,",
        "1,val,nan,0.8,,,,,,,",
    ]
    assert (logs / "video/log.csv").read_text().splitlines()[:2] == [
        "0,train,2.0,,,,,,",
        "0,val,nan,,,,,,",
    ]


def test_training_curves_in_the_sources_form(tmp_path):
    rows = {
        "segmentation": "train/loss,valid/loss,valid/dice,valid/dice_large,valid/dice_small\n"
        "0,3,0.9,0.8,0.7,0.75,0.65\n1,6,0.5,0.4,0.9,0.92,0.88\n",
        "ejection_fraction": "train/loss,valid/mae,valid/rmse\n0,3,0.6,4.0,5.0\n",
    }
    for name, text in rows.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "log.csv").write_text("epoch,step," + text)
    settings = json.dumps({"segmentation_fit": {"batch_size": 16}})
    (tmp_path / "segmentation/settings.json").write_text(settings)
    write_source_logs(tmp_path / "out", tmp_path)
    log = (tmp_path / "out/source_logs/segmentation/log.csv").read_text()
    assert log.splitlines()[1:3] == ["0,val,0.8,0.7,0.75,0.65,,,,,16", "1,train,0.5,,,,,,,,16"]
    log = (tmp_path / "out/source_logs/video/log.csv").read_text()
    assert log == "0,train,0.6,,,,,,\n0,val,25,,,,,,\n"
    (tmp_path / "ejection_fraction/log.csv").unlink()
    write_source_logs(tmp_path / "out", tmp_path)
    assert not (tmp_path / "out/source_logs/video/log.csv").exists()


def test_validation_files_have_the_sources_names(tmp_path):
    frames, inside = film(60, 20)
    folder = write_data(tmp_path / "data", [("a", frames, inside, 50.0, 50)])
    (folder / "test.csv").rename(folder / "old.csv")
    (folder / "valid.csv").rename(folder / "test.csv")
    (folder / "old.csv").rename(folder / "valid.csv")
    run(folder, tmp_path / "out", split="valid", overlays=0)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"val_dice.csv", "val_predictions.csv"} < names
    assert not {name for name in names if name.startswith(("valid_", "test_"))}


def test_a_model_is_tested_on_videos_of_another_hospital(tmp_path):
    source = write_echonet(tmp_path / "raw", count=3, splits=("TEST",), frames=50)
    prepare(source, tmp_path / "data", model=echo_data.CONFIG, workers=1)
    config = echo_data.changed(mean=(70.0,), std=(30.0,))
    model = tmp_path / "model"
    model.mkdir()
    net = build_ejection_fraction(config)
    save_file(net.state_dict(), model / "ejection_fraction.safetensors")
    ModelFolder.seal(model, task="echonet", config=vars(config))
    metrics = evaluate(
        tmp_path / "data", model, tmp_path / "out", overlays=0, resamples=20, progress=False
    )
    assert (metrics["counts"]["videos"], metrics["notice"]) == (3, None)
    with (tmp_path / "out/per_video.csv").open() as file:
        assert all(row["ef_one_clip"] for row in csv.DictReader(file))


def test_frames_of_another_size_are_refused(data, tmp_path):
    networks = EchoNetworks(Config(), sees_bright, None)
    with pytest.raises(InputError, match=r"frames of 112 x 112.* got 80 x 64"):
        evaluate_networks(networks, Learned(), MANIFEST, data, tmp_path, bootstrap=FEW)


def test_fewer_than_no_overlays_are_refused(data, tmp_path):
    with pytest.raises(InputError, match="--overlays of 0 or more, got -3"):
        run(data, tmp_path, overlays=-3)


def test_missing_frames_are_refused(data, tmp_path):
    frames, inside = film(50, 20)
    folder = write_data(tmp_path / "data", [("a", frames, inside, 50.0, 50)])
    np.save(folder / "frames.npy", frames[:30])
    with pytest.raises(InputError, match="frames and masks of a in"):
        run(folder, tmp_path / "out")
    for damaged in (b"", b"no array", (folder / "frames.npy").read_bytes()[:-1]):
        (folder / "frames.npy").write_bytes(damaged)
        with pytest.raises(InputError, match=r"frames\.npy as step 1 writes it, got a damaged"):
            run(folder, tmp_path / "out")
    (folder / "frames.npy").unlink()
    with pytest.raises(InputError, match=r"frames\.npy, which step 1 writes, got: No such file"):
        run(folder, tmp_path / "out")


def test_pictures_are_fit_to_encode_and_mark_phases():
    frames, inside = film(12, 20)
    drawn = Film("a", "EF 50 %", frames, inside, 25.0, [0], [6], {6: inside[6]}, {6: "ES"})
    shown = list(pictures(drawn))
    assert len(shown) == 12
    assert {p.shape for p in shown} == {shown[0].shape}
    assert not any(side % 2 for side in shown[0].shape[:2])
    assert (shown[0][100, 400] != shown[0][100, 160]).any()  # tinted on the right only
    assert still(drawn).shape[1] == shown[0].shape[1]
