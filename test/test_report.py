"""Step 3 as a whole: what it leaves, what the report says, and what it refuses."""

import csv
import dataclasses
import json
import shutil
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from medvial.cldetection import Config
from medvial.cldetection.landmarks import landmark_set_path
from medvial.cldetection.postprocess import Film
from medvial.cldetection.preprocess import Geometry, preprocess
from medvial.errors import InputError
from medvial.models import Manifest
from medvial_training import report
from medvial_training.metrics import Bootstrap
from medvial_training.provenance import provenance
from medvial_training.tasks.cldetection.dataset import Sample, load_samples
from medvial_training.tasks.cldetection.evaluate import evaluate_predictor
from medvial_training.tasks.cldetection.labels import place_labels
from medvial_training.tasks.cldetection.overlays import GREEN, FilmMarks, draw_overlay
from medvial_training.tasks.cldetection.predictions import predict_samples
from medvial_training.tasks.cldetection.write_model import scores_of

CONFIG = Config(landmark_set="isbi-19", height=128, width=64)
MANIFEST = Manifest("cldetection", {}, {"model.onnx": "ab" * 32})
SIZES = [(150, 120), (200, 110), (131, 167), (96, 64), (180, 140)]  # (H, W), all unequal
BANNER = "PHANTOM DATA – says nothing about clinical accuracy"


class FakePredictor:
    """Is off by 6 px to the right, 8 px down; knows the truth by order of the films."""

    def __init__(self, truths, probability=True):
        self.truths, self.probability = iter(truths), probability

    def from_prepared(self, grey, geometry):
        assert grey.shape == (128, 64)
        points = next(self.truths) + np.array([6.0, 8.0])
        corrected = np.arange(19) == 2
        return Film(
            points=points,
            probability=np.linspace(0, 1, 19) if self.probability else None,
            corrected=corrected,
            mirrored=False,
            plausible=True,
            features=np.zeros((19, 4)),
        )


def write_data(folder, phantom=True, scale=0.1, config=CONFIG):
    """Five films for the test and one each to train and validate; returns the test's truths."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    geometry_fields = [f.name for f in dataclasses.fields(Geometry)]
    points_fields = [f"p{i}{axis}" for i in range(1, 20) for axis in "xy"]
    truths = []
    for split, sizes in (("train", SIZES[:1]), ("valid", SIZES[:1]), ("test", SIZES)):
        with (folder / f"{split}.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(
                ["image_id", "patient", "group", "scale", *geometry_fields, *points_fields]
            )
            for number, (height, width) in enumerate(sizes):
                name = f"{split}{number}"
                image = rng.integers(1, 255, (height, width), dtype=np.uint8)
                grey, geometry = preprocess(image, config)
                cv2.imwrite(str(folder / "images" / f"{name}.png"), grey)
                points = rng.uniform(5, (width - 15, height - 15), (19, 2))
                if split == "test":
                    truths.append(points)
                values = [getattr(geometry, field) for field in geometry_fields]
                table.writerow([name, f"<{name}>", name, scale, *values, *points.ravel()])
    (folder / "near_duplicates.csv").write_text("image_a,image_b,distance\n")
    shutil.copyfile(landmark_set_path(config.landmark_set), folder / "landmark_set.json")
    (folder / "config.json").write_text(json.dumps(dataclasses.asdict(config)))
    source = {"phantom": phantom, "description": "drawn & <small>", "source": "/secret/place"}
    (folder / "source.json").write_text(json.dumps(source))
    return truths


def run(folder, manifest=MANIFEST, probability=True, **data):
    truths = write_data(folder / "data", **data)
    return evaluate_predictor(
        FakePredictor(truths, probability),
        CONFIG,
        manifest,
        folder / "data",
        folder / "out",
        bootstrap=Bootstrap(resamples=40),
    )


@pytest.fixture(scope="module")
def tested(tmp_path_factory):
    folder = tmp_path_factory.mktemp("step3")
    return run(folder), folder / "out"


class Page(HTMLParser):
    """Counts elements and notes what the page links to and what it leaves open."""

    VOID = ("meta", "img", "br", "hr", "link")

    def __init__(self, html):
        super().__init__()
        self.links, self.open, self.tags, self.ids = [], [], [], set()
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.tags.append(tag)
        self.ids.add(values.get("id"))
        self.links += [values[k] for k in ("src", "href") if k in values]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_exact_set_of_files(tested):
    _, out = tested
    found = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert found == {
        "predictions.csv",
        "metrics.json",
        "per_landmark.csv",
        "per_image.csv",
        "measurements.csv",
        "report.html",
        *(f"overlays/test{i}.png" for i in range(5)),
        *(f"figures/{n}.png" for n in ("error_curve", "landmark_errors", "bias_map")),
        *(f"figures/{n}.png" for n in ("agreement", "calibration")),
    }


def test_metrics_are_those_of_the_predictions(tested):
    metrics, out = tested
    assert json.loads((out / "metrics.json").read_text()) == metrics
    assert metrics["overall"]["mre_mm"]["value"] == pytest.approx(1.0)  # 6, 8 px of 0.1 mm
    assert metrics["overall"]["bias_x_mm"]["value"] == pytest.approx(0.6)
    assert metrics["overall"]["sdr_percent"]["2"]["value"] == pytest.approx(100.0)
    assert metrics["counts"]["films"] == metrics["counts"]["patients"] == 5
    assert metrics["counts"]["points_corrected"] == 5
    assert metrics["phantom"] is True


def test_predictions_are_in_pixels_of_the_full_film(tested):
    _, out = tested
    with (out / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    truth = next(csv.DictReader((out.parent / "data" / "test.csv").open(newline="")))
    assert [row["image_id"] for row in rows] == [f"test{i}" for i in range(5)]
    assert float(rows[0]["p19y"]) == pytest.approx(float(truth["p19y"]) + 8)
    assert (rows[0]["prob19"], rows[0]["corrected"], rows[0]["mirrored"]) == ("1.0", "Or", "False")


def test_report_is_whole_and_self_contained(tested):
    _, out = tested
    html = (out / "report.html").read_text(encoding="utf-8")
    page = Page(html)
    assert not page.open
    assert page.tags.count("img") >= 5 + 5  # figures and films
    for link in page.links:
        assert link.startswith(("data:image/", "#"))
        assert not link.startswith("#") or link[1:] in page.ids
    assert "http" not in html
    assert "@import" not in html
    assert "url(" not in html


def test_report_says_that_films_are_phantoms(tested):
    _, out = tested
    assert BANNER in (out / "report.html").read_text(encoding="utf-8")


def test_report_on_real_films_has_no_banner_but_names_a_demo_model(tmp_path):
    training = {"data": {"phantom": True, "description": "drawn films"}}
    run(tmp_path, dataclasses.replace(MANIFEST, training=training), phantom=False)
    html = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "PHANTOM" not in html
    assert "The model was trained on phantoms" in html


def test_report_escapes_names_and_keeps_paths_to_itself(tested):
    _, out = tested
    html = (out / "report.html").read_text(encoding="utf-8")
    assert "drawn &amp; &lt;small&gt;" in html
    for name in ("report.html", "metrics.json"):
        assert "/secret/place" not in (out / name).read_text(encoding="utf-8")


def test_without_scale_and_probability_there_is_still_a_report(tmp_path):
    metrics = run(tmp_path, scale="", probability=False)
    assert metrics["overall"]["mre_mm"]["value"] is None
    assert metrics["overall"]["without_scale"]["mre_px"] == pytest.approx(10.0)
    assert metrics["calibration"] is None
    html = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "No film has a known scale" in html
    assert "5 of 5 films have no known scale" in html
    names = {path.name for path in (tmp_path / "out" / "figures").iterdir()}
    assert names == {"agreement.png"}


@pytest.mark.parametrize(
    ("field", "value"), [("height", 192), ("fit", "stretch"), ("landmark_set", "cl-38")]
)
def test_a_model_for_other_films_is_refused(tmp_path, field, value):
    write_data(tmp_path)
    other = dataclasses.replace(CONFIG, **{field: value})
    text = f"{field} {getattr(CONFIG, field)} there, {value} here. Run step 1"
    with pytest.raises(InputError, match=text):
        evaluate_predictor(
            FakePredictor([]), other, MANIFEST, tmp_path, tmp_path / "out", bootstrap=Bootstrap()
        )
    assert not (tmp_path / "out").exists()


def test_a_patient_on_both_sides_is_refused(tmp_path):
    write_data(tmp_path)
    table = tmp_path / "train.csv"
    table.write_text(table.read_text().replace("<train0>", "<test3>"))
    with pytest.raises(InputError, match="<test3>"):
        evaluate_predictor(
            FakePredictor([]), CONFIG, MANIFEST, tmp_path, tmp_path / "out", bootstrap=Bootstrap()
        )


def test_observers_are_read_before_films_are_predicted(tmp_path):
    write_data(tmp_path)
    missing = tmp_path / "senior.csv"
    with pytest.raises(InputError, match=r"observer's marks at .*senior\.csv, got no such file"):
        evaluate_predictor(
            FakePredictor([]),  # has no film to give
            CONFIG,
            MANIFEST,
            tmp_path,
            tmp_path / "out",
            observers=(missing, missing),
            bootstrap=Bootstrap(),
        )
    assert not (tmp_path / "out").exists()


def described(folder, data, split):
    """What step 3 says of a model that was trained on the data in `folder`."""
    about = provenance(folder)
    about["data"]["description"] = "Hospital films."
    truths = [sample.points for sample in load_samples(folder, CONFIG)[split]]
    return evaluate_predictor(
        FakePredictor(truths),
        CONFIG,
        dataclasses.replace(MANIFEST, training=about),
        data,
        folder.parent / "out",
        split=split,
        bootstrap=Bootstrap(resamples=20),
    )


@pytest.mark.parametrize(
    ("split", "text"),
    [
        ("train", "these very films: not a test"),
        ("valid", "the model, and what is learned after it, were chosen on these films"),
        ("test", "the training split of the same data, these films kept out"),
    ],
)
def test_the_report_says_what_the_films_were_to_the_model(tmp_path, split, text):
    write_data(tmp_path / "data", phantom=False)
    metrics = described(tmp_path / "data", tmp_path / "data", split)
    assert metrics["model"]["trained_on"].startswith(f"Hospital films: {text}")
    html = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    noticed = f'role="alert">{text[0].upper()}{text[1:]}' in html
    assert noticed == (split != "test")


def test_patients_are_named_only_where_they_are_known(tmp_path):
    truths = write_data(tmp_path / "data")
    table = tmp_path / "data" / "test.csv"
    text = table.read_text().replace("test1,<test1>,test1", "test1,<test1>,test0")
    table.write_text(text.replace("<", "").replace(">", ""))
    out = tmp_path / "out"
    metrics = evaluate_predictor(
        FakePredictor(truths), CONFIG, MANIFEST, table.parent, out, bootstrap=Bootstrap(20)
    )
    assert (metrics["counts"]["patients"], metrics["counts"]["clusters"]) == (None, 4)
    html = (out / "report.html").read_text(encoding="utf-8")
    assert "5 films; patients not known, repeated films count as one (4 independent" in html
    assert "5 lateral cephalograms, 19 landmarks" in html


def test_a_manifest_without_a_column_is_refused(tmp_path):
    write_data(tmp_path)
    table = tmp_path / "test.csv"
    table.write_text(table.read_text().replace(",p5x,", ",x5,").replace(",scale,", ",mm,"))
    with pytest.raises(
        InputError, match=r"column\(s\) scale, p5x in .*test\.csv.*or add the column"
    ):
        load_samples(tmp_path, CONFIG)


def turned(folder, shape):
    """A left-facing film as step 1 leaves it, and what `preprocess` makes of it unturned."""
    image = np.random.default_rng(1).integers(1, 255, shape, dtype=np.uint8)
    grey, geometry = preprocess(image, CONFIG, mirrored=True)
    cv2.imwrite(str(folder / "film.png"), grey)
    points = np.array([[3.0, 5.0], [40.5, 71.25]])
    sample = Sample("film", "film", folder / "film.png", geometry, points, 0.1, "film")
    return sample, *preprocess(image, CONFIG)


@pytest.mark.parametrize("shape", [(200, 77), (200, 80), (90, 120)])  # (H, W); padding 7 and 8
def test_a_left_facing_film_is_tested_as_it_was_given(tmp_path, shape):
    sample, expected, geometry = turned(tmp_path, shape)
    grey, found = sample.as_given(CONFIG)
    assert found == geometry
    assert np.abs(grey.astype(int) - expected).max() <= 1
    np.testing.assert_allclose(found.to_image(found.to_network(sample.points)), sample.points)
    assert sample.geometry.mirrored
    assert sample.read(CONFIG).any()


class Recorder(FakePredictor):
    """Keeps what it is given."""

    config = CONFIG

    def from_prepared(self, grey, geometry):
        self.given = (grey, geometry)
        return super().from_prepared(grey, geometry)


def test_validation_sees_the_film_as_it_was_given(tmp_path):
    sample, expected, geometry = turned(tmp_path, (200, 77))
    predictor = Recorder([sample.points])
    films = predict_samples([sample], CONFIG, predictor, progress=False)
    assert scores_of(films, [sample])["mre_mm"] == pytest.approx(1.0)
    assert predictor.given[1] == geometry
    assert np.abs(predictor.given[0].astype(int) - expected).max() <= 1
    unscaled = dataclasses.replace(sample, mm_per_px=float("nan"))
    assert scores_of(films, [unscaled]) == {}


def test_overlay_puts_marks_where_they_belong():
    """A film of 200 x 150 px reduced to the network's canvas, drawn at 4 px per film pixel."""
    config = Config(landmark_set="isbi-19", height=128, width=128)
    grey, geometry = preprocess(
        np.full((200, 150), 90, np.uint8) + np.eye(200, 150, dtype=np.uint8), config
    )
    point = np.array([[40.0, 160.0]])
    drawn = FilmMarks("x", ("S",), point + np.nan, point, np.array([False]), float("nan"))
    picture = draw_overlay(grey, geometry, drawn, height=800)
    green = np.all(np.abs(picture.astype(int) - GREEN) < 30, axis=2)
    header = picture.shape[0] - 800
    green[:header] = False  # the legend
    rows, columns = np.nonzero(green)
    centre = np.array([columns.mean(), rows.mean() - header])
    np.testing.assert_allclose(centre, (point[0] + 0.5) * 4 - 0.5, atol=1.0)
    assert picture.shape[1] == 600


def test_labels_avoid_points_and_each_other():
    anchors = np.array([[50.0, 50.0], [52.0, 50.0]])
    boxes = place_labels(anchors, [20, 20], 10, anchors, (0, 0, 100, 100))
    for left, top, right, bottom in boxes:
        assert not any(left < x < right and top < y < bottom for x, y in anchors)
        assert left >= 0
        assert bottom <= 100
    (a, b, c, d), (e, f, g, h) = boxes
    assert c < e or g < a or d < f or h < b


def test_a_mistyped_name_in_a_template_is_an_error(tmp_path):
    template = tmp_path / "x.html"
    template.write_text("{{ nothing }}")
    with pytest.raises(Exception, match="'nothing' is undefined"):
        report.write_report(tmp_path / "out.html", template, {})
    assert not (tmp_path / "out.html").exists()


@pytest.mark.parametrize(
    ("value", "fixed", "signed"),
    [
        (1.005, "1.00", "+1.00"),
        (-0.5, "−0.50", "−0.50"),
        (-0.001, "0.00", "0.00"),
        (None, "–", "–"),
    ],
)
def test_numbers(value, fixed, signed):
    assert report.fixed(value) == fixed
    assert report.signed(value) == signed
    assert report.interval({"low": value, "high": 2.0}) == (
        "–" if value is None else f"{fixed} to 2.00"
    )
