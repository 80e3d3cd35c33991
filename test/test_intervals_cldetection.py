"""Regions of landmarks and intervals of measurements, against distributions that are known."""

import dataclasses

import numpy as np
import pytest

from medvial.cldetection import Config
from medvial.cldetection.decode import decode
from medvial.cldetection.intervals import RADIUS_90, Intervals, Uncertainty, uncalibrated
from medvial.cldetection.landmarks import load_landmark_set
from medvial.cldetection.measurements import measure, with_intervals
from medvial.cldetection.postprocess import Film, Learned, find, postprocess
from medvial.cldetection.preprocess import Geometry
from medvial.cldetection.results import ImageResult, measurement_report
from medvial.errors import InputError
from medvial_training.metrics import Bootstrap
from medvial_training.phantoms.cldetection import make_phantom
from medvial_training.tasks.cldetection.dataset import Sample
from medvial_training.tasks.cldetection.figures import coverage_plot
from medvial_training.tasks.cldetection.interval_scores import interval_scores
from medvial_training.tasks.cldetection.learn_intervals import conformal_factors, fit_intervals
from medvial_training.tasks.cldetection.marks import Marks
from medvial_training.tasks.cldetection.measurement_scores import (
    measured_pairs,
    measurement_scores,
)

CL38 = load_landmark_set("cl-38")
CONFIG = Config(landmark_set="isbi-19", height=256, width=192, widths=(4, 4, 4))
COVARIANCE = np.array([[9.0, 4.0], [4.0, 16.0]])  # heatmap pixels squared
TRUTH = make_phantom(3, height=600, width=480)[1]


def heatmap(x, y, covariance, height=128, width=96):
    """Logits of a normal distribution about (x, y) in heatmap pixels."""
    rows, columns = np.mgrid[:height, :width]
    offset = np.stack([columns - x, rows - y], axis=-1)
    squared = np.einsum("hwi,ij,hwj->hw", offset, np.linalg.inv(covariance), offset)
    return (-squared / 2).astype(np.float32)


def test_the_covariance_of_a_gaussian_heatmap_is_its_own():
    config = dataclasses.replace(CONFIG, sigma_px=5.0)  # a window of 20 heatmap pixels
    peaks = decode(heatmap(40.3, 70.8, COVARIANCE)[None], config)
    np.testing.assert_allclose(peaks.covariance_px2[0], 4 * COVARIANCE, rtol=0.02)  # stride 2


def test_the_targets_own_width_is_no_doubt():
    blur = 2.5**2
    seen = COVARIANCE + blur * np.eye(2)
    np.testing.assert_allclose(uncalibrated(seen[None], blur, 0.0)[0], COVARIANCE, atol=1e-9)
    narrow = uncalibrated(0.5 * blur * np.eye(2)[None], blur, 0.3)
    np.testing.assert_allclose(narrow[0], 0.3 * np.eye(2), atol=1e-9)


@pytest.mark.parametrize("facing_left", [False, True])
def test_regions_lie_as_the_film_does(facing_left):
    """A doubt along one diagonal of the film stays there, whichever way the network saw it."""
    config = dataclasses.replace(CONFIG, landmark_set="isbi-19", sigma_px=5.0)
    geometry = Geometry(0.5, 0.25, 0, 0, 384, 1024)
    learned = Learned(intervals=Intervals((2.0,) * 19, blur_px2=0.0, floor_px2=0.0))
    maps = np.stack([heatmap(40.3, 70.8, COVARIANCE)] * 19)
    film = postprocess(find(maps, config, None), geometry, config, learned, mirrored=facing_left)
    sign = -1 if facing_left else 1
    expected = 4 * 4 * COVARIANCE / np.outer([0.5, 0.25], [0.5, 0.25])  # factor and stride squared
    expected[0, 1] *= sign
    expected[1, 0] *= sign
    np.testing.assert_allclose(film.uncertainty.covariance_px2[0], expected, rtol=0.02)
    longer, shorter = film.uncertainty.half_axes_px()[0]
    assert longer == pytest.approx(RADIUS_90 * np.sqrt(np.linalg.eigvalsh(expected)[1]), rel=0.02)
    assert shorter < longer


def simulated(rng, films, scales):
    """Scores of films whose errors are `scales` times what the heatmaps say, per landmark."""
    errors = rng.normal(size=(films, len(scales), 2)) * scales[:, None]
    return np.linalg.norm(errors, axis=-1) / RADIUS_90


@pytest.mark.parametrize("films", [20, 60])
def test_nine_in_ten_new_errors_are_held(films):
    rng = np.random.default_rng(0)
    scales = np.exp(rng.normal(0.2, 0.3, 19))
    held = []
    for _ in range(40):
        factors = conformal_factors(simulated(rng, films, scales))
        held.append(simulated(rng, 400, scales) <= factors)
    assert 0.87 <= np.mean(held) <= 0.93
    each = np.mean(held, axis=(0, 1))  # no landmark pays for another one
    assert (each > 0.8).all(), each.round(2)


def test_factors_do_not_need_every_mark():
    scores = simulated(np.random.default_rng(1), 30, np.ones(6))
    scores[:, 2] = np.nan
    scores[3:7, 4] = np.nan
    assert np.isfinite(conformal_factors(scores)).all()


def spread(films, scales, mm=0.1):
    """Validation: phantoms, marks that are off by known amounts, heatmaps that say half of it."""
    rng = np.random.default_rng(5)
    geometry = Geometry(0.5, 0.4, 0, 0, 480, 600)
    samples, found = [], []
    nothing = find(np.zeros((38, 240, 240), np.float32), Config(), None)
    blank = postprocess(nothing, geometry, Config(), Learned())
    for index in range(films):
        truth = make_phantom(index, height=600, width=480)[1]
        points = truth + rng.normal(size=(38, 2)) * scales[:, None]
        said = (scales[:, None, None] / 2) ** 2 * np.eye(2) * np.outer([0.5, 0.4], [0.5, 0.4])
        samples.append(Sample(str(index), str(index), None, geometry, truth, mm))
        found.append(dataclasses.replace(blank, points=points, spread_px2=said))
    return samples, found


def with_regions(samples, films, learned):
    result = []
    for sample, film in zip(samples, films, strict=True):
        scale = np.array([sample.geometry.scale_x, sample.geometry.scale_y])
        covariance = learned.covariances(film.spread_px2) / np.outer(scale, scale)
        result.append(Uncertainty(covariance, learned.measurements))
    return result


def test_what_is_learned_on_some_films_holds_on_others():
    scales = np.linspace(2.0, 6.0, 38)
    samples, films = spread(40, scales)
    learned = fit_intervals(samples[:20], films[:20], Config(sigma_px=0.1), blur_px2=0.0)
    assert learned.films == 20
    np.testing.assert_allclose(learned.factors, 2.0, rtol=0.25)
    rest = slice(20, None)
    marks = Marks(
        CL38,
        [s.image_id for s in samples[rest]],
        np.array([s.patient for s in samples[rest]]),
        np.full(20, 0.1),
        np.stack([s.points for s in samples[rest]]),
        np.stack([f.points for f in films[rest]]),
        uncertainty=with_regions(samples[rest], films[rest], learned),
    )
    scores = interval_scores(marks, Bootstrap(100, 0))
    assert 0.86 <= scores["coverage"]["value"] <= 0.94
    assert scores["coverage"]["low"] < scores["coverage"]["value"] < scores["coverage"]["high"]
    assert scores["points"] == 20 * 38
    rows = {r["name"]: r for r in measurement_scores(marks, measured_pairs(marks), Bootstrap(9, 0))}
    covered = [rows[name]["interval_coverage_percent"] for name in rows]
    assert 84 <= np.mean(covered) <= 96
    assert 1.0 < rows["SNA"]["half_width_median"] < 8.0


def test_few_marks_give_no_intervals():
    samples, films = spread(2, np.full(38, 2.0))
    assert fit_intervals(samples, films, Config(), 0.0) is None


@pytest.mark.parametrize("facing", ["right", "left"])
def test_intervals_of_measurements_are_those_of_sampling(facing):
    rng = np.random.default_rng(2)
    points = TRUTH if facing == "right" else TRUTH * [-1, 1] + [479, 0]
    roots = rng.normal(size=(38, 2, 2)) * 1.2
    covariance = roots @ np.swapaxes(roots, -1, -2)
    measured = with_intervals(
        measure(points, CL38, 0.2, facing=facing),
        points,
        Uncertainty(covariance),
        CL38,
        0.2,
        facing=facing,
    )
    noise = np.einsum("lij,slj->sli", roots, rng.normal(size=(600, 38, 2)))
    samples = [
        [m.value for m in measure(points + shift, CL38, 0.2, facing=facing)] for shift in noise
    ]
    sd = np.std(np.array(samples, float), axis=0)
    got = {m.name: m.half_width / 1.645 for m in measured}
    expected = dict(zip(got, sd, strict=True))
    for name in ("SNA", "SNB", "ANB", "FMA", "IMPA", "Wits", "FHI", "Co-Gn"):
        assert got[name] == pytest.approx(expected[name], rel=0.12), name


def test_a_factor_widens_its_measurement_only():
    covariance = np.tile(np.eye(2), (38, 1, 1))
    plain, wider = (
        with_intervals(measure(TRUTH, CL38, None), TRUTH, Uncertainty(covariance, f), CL38, None)
        for f in ({}, {"SNA": 2.0})
    )
    widths = {a.name: (a.half_width, b.half_width) for a, b in zip(plain, wider, strict=True)}
    assert widths["SNA"][1] == pytest.approx(2 * widths["SNA"][0])
    assert widths["SNB"][0] == widths["SNB"][1]
    assert widths["Wits"] == (None, None)  # no calibration, no value, no interval
    entry = next(m for m in wider if m.name == "SNA").as_dict()
    low, high = entry["interval_90"]
    assert (low + high) / 2 == pytest.approx(entry["value"], abs=1e-3)
    assert "interval_90" not in measure(TRUTH, CL38, None)[0].as_dict()


def test_a_case_carries_regions_and_intervals_where_the_model_has_them():
    film = Film(
        TRUTH, None, np.zeros(38, bool), False, True, np.zeros((38, 4)),
        uncertainty=Uncertainty(np.tile(np.diag([4.0, 9.0]), (38, 1, 1))),
    )  # fmt: skip
    plain = dataclasses.replace(film, uncertainty=None)
    results = [ImageResult(1, 0, None, 0.1, f) for f in (film, plain)]
    with_them, without = measurement_report(results, CL38)["images"]
    assert with_them["landmark_regions"]["level"] == 0.9
    assert with_them["landmark_regions"]["regions"][1] == {
        "landmark": "N",
        "half_axes_px": pytest.approx([3 * RADIUS_90, 2 * RADIUS_90], abs=1e-3),
    }
    values = {m["name"]: m for m in with_them["measurements"]}
    low, high = values["LAFH"]["interval_90"]
    assert low < values["LAFH"]["value"] < high
    assert "landmark_regions" not in without
    assert not any("interval_90" in m for m in without["measurements"])


def test_coverage_is_drawn_per_landmark():
    estimate = {"value": 0.93, "low": None, "high": None}
    known = {"coverage": estimate, "half_axis_mm": 2.0}
    unknown = {"coverage": {"value": None, "low": None, "high": None}, "half_axis_mm": None}
    figure = coverage_plot({"level": 0.9, "landmarks": {"S": known, "N": unknown, "A": known}})
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["S", "A"]


def test_intervals_survive_their_file():
    intervals = Intervals((1.0, 2.5), 25.0, 1.5, {"SNA": 1.2}, films=16)
    learned = Learned.from_dict(Learned(intervals=intervals).as_dict())
    assert learned.intervals == intervals
    assert Learned.from_dict({"shape_prior": None, "calibration": None}).intervals is None
    with pytest.raises(InputError, match=r"level 0\.9, got 0\.8"):
        Intervals.from_dict({**intervals.as_dict(), "level": 0.8})
    with pytest.raises(InputError, match="fields of intervals"):
        Intervals.from_dict({"blur_px2": 1.0})
