"""Scores of cldetection against tables worked out by hand."""

import dataclasses

import numpy as np
import pytest

from medvial.cldetection.landmarks import load_landmark_set
from medvial.errors import InputError
from medvial_training.metrics import Bootstrap
from medvial_training.tasks.cldetection.marks import Marks
from medvial_training.tasks.cldetection.measurement_scores import (
    measured_pairs,
    measurement_scores,
)
from medvial_training.tasks.cldetection.observers import observer_distances, observer_scores
from medvial_training.tasks.cldetection.scores import (
    calibration_scores,
    counts,
    image_scores,
    landmark_scores,
    overall_scores,
    worst_points,
)

SET = load_landmark_set("isbi-19")
FEW = Bootstrap(resamples=50)


def marks(offsets, scale, **more):
    """Films whose predictions are off by (N, K, 2) px at the first K landmarks, others unmarked."""
    offsets = np.asarray(offsets, dtype=float)
    films, marked = offsets.shape[:2]
    rng = np.random.default_rng(0)
    expert = np.full((films, len(SET), 2), np.nan)
    expert[:, :marked] = rng.uniform(100, 900, (films, marked, 2))
    predicted = rng.uniform(100, 900, (films, len(SET), 2))
    predicted[:, :marked] = expert[:, :marked] + offsets
    given = {
        "image_ids": [f"film{i}" for i in range(films)],
        "patient_ids": np.array([f"p{i}" for i in range(films)]),
        "mm_per_px": np.asarray(scale, dtype=float),
    }
    return Marks(SET, expert=expert, predicted=predicted, **(given | more))


def test_errors_by_hand():
    """Errors 0.5, 1.0 and, at another scale, 2.0 mm; nothing else is marked."""
    scores = overall_scores(marks([[[3, 4], [0, 10]], [[6, 8], [np.nan] * 2]], [0.1, 0.2]), FEW)
    assert scores["mre_mm"]["value"] == pytest.approx(3.5 / 3)
    assert scores["median_mm"]["value"] == pytest.approx(1.0)
    assert scores["sd_mm"] == pytest.approx(np.std([0.5, 1.0, 2.0], ddof=1))
    assert scores["max_mm"] == pytest.approx(2.0)
    assert scores["p90_mm"] == pytest.approx(1.8)


def test_detection_is_strictly_below():
    """Exact binary fractions: 1.5, 2, 2.5, 3 and 4 mm."""
    offsets = [[[12, 0], [16, 0], [0, 20], [-24, 0], [0, -32]]]
    sdr = overall_scores(marks(offsets, [0.125]), FEW)["sdr_percent"]
    assert {t: e["value"] for t, e in sdr.items()} == pytest.approx(
        {"2": 20.0, "2.5": 40.0, "3": 60.0, "4": 80.0}
    )


def test_a_missing_prediction_is_not_detected_but_has_no_error():
    tested = marks([[[1, 0], [2, 0], [np.nan, 0]]], [0.1])
    tested.expert[0, 2] = (50, 60)
    scores = overall_scores(tested, FEW)
    assert scores["sdr_percent"]["4"]["value"] == pytest.approx(200 / 3)
    assert scores["mre_mm"]["value"] == pytest.approx(0.15)
    assert counts(tested)["points_not_predicted"] == 1


def test_bias_has_a_sign_and_follows_the_face():
    """The second film faces left: its front is at smaller x."""
    tested = marks([[[10, -20]], [[-30, 40]]], [0.1, 0.1], faces_left=np.array([False, True]))
    scores = overall_scores(tested, FEW)
    assert scores["bias_x_mm"]["value"] == pytest.approx((1.0 + 3.0) / 2)
    assert scores["bias_y_mm"]["value"] == pytest.approx((-2.0 + 4.0) / 2)
    first = landmark_scores(tested, FEW)[0]
    assert (first["bias_x_mm"], first["bias_y_mm"]) == pytest.approx((2.0, 1.0))


def test_films_without_scale_count_in_pixels_only():
    tested = marks([[[3, 4]], [[30, 40]]], [0.1, np.nan])
    scores = overall_scores(tested, FEW)
    assert scores["mre_mm"]["value"] == pytest.approx(0.5)
    assert scores["without_scale"] == {
        "films": 1,
        "points": 1,
        "mre_px": pytest.approx(50.0),
        "median_px": pytest.approx(50.0),
    }
    assert counts(tested)["films_without_scale"] == 1
    assert counts(tested)["points"] == 1
    rows = image_scores(tested)
    assert (rows[1]["mre_mm"], rows[1]["sdr_2mm_percent"]) == (None, None)
    assert rows[1]["mre_px"] == pytest.approx(50.0)
    nothing = overall_scores(marks([[[3, 4]]], [np.nan]), FEW)
    assert nothing["mre_mm"]["value"] is None
    assert nothing["max_mm"] is None


def test_each_landmark_has_its_own_row():
    rows = landmark_scores(marks([[[10, 0], [0, 30]], [[0, 20], [0, 10]]], [0.1, 0.1]), FEW)
    assert [row["symbol"] for row in rows] == list(SET.symbols)
    assert (rows[0]["mre_mm"], rows[1]["mre_mm"]) == pytest.approx((1.5, 2.0))
    assert (rows[0]["sdr_2mm_percent"], rows[1]["sdr_2mm_percent"]) == pytest.approx((50, 50))
    assert rows[1]["sdr_4mm_percent"] == pytest.approx(100.0)
    assert rows[2]["points"] == 0
    assert rows[2]["mre_mm"] is None


def test_a_film_names_its_worst_landmark():
    row = image_scores(marks([[[10, 0], [0, 30], [5, 0]]], [0.1]))[0]
    assert (row["worst_landmark"], row["points"]) == (SET.symbols[1], 3)
    assert (row["max_mm"], row["mre_mm"], row["median_mm"]) == pytest.approx((3.0, 1.5, 1.0))


def test_worst_points_come_first():
    tested = marks(
        [[[10, 0], [0, 30]], [[50, 0], [np.nan, 0]], [[900, 0], [1, 1]]], [0.1, 0.1, np.nan]
    )
    found = [(r["image_id"], r["symbol"], round(r["error_mm"], 6)) for r in worst_points(tested, 3)]
    assert found == [("film1", "S", 5.0), ("film0", "N", 3.0), ("film0", "S", 1.0)]


@pytest.mark.parametrize("name", ["patient_ids", "clusters"])
def test_intervals_are_over_patients_or_groups(name):
    rng = np.random.default_rng(0)
    level = np.repeat(rng.uniform(5, 30, 8), 5)
    offsets = np.stack([level, np.zeros(40)], axis=1)[:, None] + rng.normal(0, 0.5, (40, 1, 2))
    same = {name: np.repeat([f"p{i}" for i in range(8)], 5)}
    by_patient = overall_scores(marks(offsets, np.full(40, 0.1), **same), Bootstrap())
    by_film = overall_scores(marks(offsets, np.full(40, 0.1)), Bootstrap())
    wide, narrow = (s["mre_mm"]["high"] - s["mre_mm"]["low"] for s in (by_patient, by_film))
    assert wide > 1.5 * narrow


def test_repeated_films_count_as_one():
    """Three films without patients, two of which are the same picture."""
    names, offsets = [f"film{i}" for i in range(3)], [[[1, 0]], [[1, 0]], [[30, 0]]]
    groups = np.array(["film0", "film0", "film2"])
    tested = marks(offsets, [0.1] * 3, patient_ids=np.array(names), clusters=groups)
    found = counts(tested)
    assert (found["films"], found["patients"], found["clusters"]) == (3, None, 2)
    assert counts(marks(offsets, [0.1] * 3, clusters=groups))["patients"] == 3
    with pytest.raises(InputError, match=r"clusters of shape \(3,\), got \(2,\)"):
        marks(offsets, [0.1] * 3, clusters=groups[:2])


def test_calibration_by_hand():
    """Stated 0.9 of four points of which three are within 2 mm."""
    probability = np.full((2, len(SET)), 0.9)
    tested = marks([[[1, 0], [2, 0]], [[3, 0], [40, 0]]], [0.1, 0.1], probability=probability)
    result = calibration_scores(tested, FEW)
    assert result["points"] == 4
    assert result["ece"] == pytest.approx(0.15)
    assert result["brier"]["value"] == pytest.approx((3 * 0.01 + 0.81) / 4)
    assert [b["count"] for b in result["bins"]] == [0] * 9 + [4]
    assert result["bins"][9]["observed"] == pytest.approx(0.75)
    assert calibration_scores(marks([[[1, 0]]], [0.1]), FEW) is None


def face():
    """S, N and A so that the angle S-N-A is 90 degrees; the rest unmarked."""
    points = np.full((len(SET), 2), np.nan)
    for symbol, xy in (("S", (100, 200)), ("N", (300, 200)), ("A", (300, 500))):
        points[SET.index(symbol)] = xy
    return points


@pytest.mark.parametrize("left", [False, True])
def test_measurement_differences_by_hand(left):
    """A moved back (by tan 5 degrees of 300 px) closes SNA by 5 degrees, whichever way it faces."""
    expert = np.stack([face(), face()])
    predicted = expert.copy()
    predicted[1, SET.index("A"), 0] -= 300 * np.tan(np.radians(5))
    if left:
        expert[..., 0], predicted[..., 0] = 999 - expert[..., 0], 999 - predicted[..., 0]
    tested = Marks(
        SET,
        ["a", "b"],
        np.array(["p", "q"]),
        np.array([0.1, np.nan]),
        expert,
        np.nan_to_num(predicted, nan=7.0),  # what the expert left out is not compared
        faces_left=np.array([left, left]),
    )
    pairs = measured_pairs(tested)
    rows = {row["name"]: row for row in measurement_scores(tested, pairs, FEW)}
    assert rows["SNA"]["expert_mean"] == pytest.approx(90.0)
    assert rows["SNA"]["bias"] == pytest.approx(-2.5)
    assert rows["SNA"]["mean_absolute"] == pytest.approx(2.5)
    assert rows["SNA"]["noticeable_percent"] == pytest.approx(50.0)
    sd = 5 / np.sqrt(2)
    assert rows["SNA"]["limit_low"] == pytest.approx(-2.5 - 1.96 * sd)
    assert (rows["SNA"]["films"], rows["SNA"]["films_not_measured"]) == (2, 0)
    assert "SNB" not in rows
    assert {pair.name for pair in pairs} >= {"SNA", "SNB", "ANB"}


def test_a_measurement_that_the_prediction_lacks_is_counted():
    expert = np.stack([face(), face()])
    predicted = expert.copy()
    predicted[1, SET.index("A")] = np.nan
    tested = Marks(SET, ["a", "b"], np.array(["p", "q"]), np.array([0.1, 0.1]), expert, predicted)
    row = measurement_scores(tested, measured_pairs(tested), FEW)[0]
    assert (row["name"], row["films"], row["films_not_measured"]) == ("SNA", 1, 1)


def observer_file(path, header, rows):
    names = [f"p{i}{axis}" for i in range(1, 20) for axis in "xy"]
    lines = [",".join([header, *names])]
    lines += [",".join([name, *map(str, points.ravel())]) for name, points in rows]
    path.write_text("\n".join(lines))
    return path


def distances_between(tested, first, second):
    return observer_distances(tested.image_ids, tested.mm_per_px, 19, first, second)


def test_observers_are_matched_by_film(tmp_path):
    tested = marks([[[1, 0]], [[1, 0]], [[1, 0]]], [0.1, 0.2, 0.1])
    points = np.arange(38.0).reshape(19, 2)
    one = observer_file(tmp_path / "a.csv", "image", [("film1.jpg", points), ("film0.jpg", points)])
    other = observer_file(
        tmp_path / "b.csv", "image_id", [("film0", points + 3), ("film1", points)]
    )
    distance = distances_between(tested, one, other)
    np.testing.assert_allclose(distance[0], np.hypot(0.3, 0.3))
    np.testing.assert_allclose(distance[1], 0.0)
    assert np.isnan(distance[2]).all()
    scores = observer_scores(tested, distance, FEW)
    assert scores["films"] == 2
    assert scores["mre_mm"]["value"] == pytest.approx(np.hypot(0.3, 0.3) / 2)
    assert scores["sdr_percent"]["2"]["value"] == pytest.approx(100.0)


def test_observers_of_other_films_are_refused(tmp_path):
    tested = marks([[[1, 0]]], [0.1])
    points = np.zeros((19, 2))
    path = observer_file(tmp_path / "a.csv", "image", [("other.jpg", points)])
    with pytest.raises(InputError, match=r"such as 'film0'; got none in .*a\.csv"):
        distances_between(tested, path, path)
    twice = observer_file(tmp_path / "b.csv", "image", [("film0", points), ("film0.png", points)])
    with pytest.raises(InputError, match="'film0' more than once"):
        distances_between(tested, twice, twice)
    (tmp_path / "c.csv").write_text("image,p1x,p1y\nfilm0,1,2\n")
    with pytest.raises(InputError, match=r"p1x to p19y in .* with 36 of them missing"):
        distances_between(tested, tmp_path / "c.csv", path)
    with pytest.raises(InputError, match="no such file"):
        distances_between(tested, tmp_path / "d.csv", path)
    for content in (b"", b'image,p1x\n"film0,1\n', "image\nä\n".encode("latin-1")):
        (tmp_path / "e.csv").write_bytes(content)
        with pytest.raises(InputError, match=r"Expected a table of marks in .*e\.csv"):
            distances_between(tested, tmp_path / "e.csv", path)


def test_observers_of_films_whose_names_have_dots(tmp_path):
    tested = dataclasses.replace(
        marks([[[1, 0]], [[1, 0]]], [0.1, 0.1]), image_ids=["1.2.1", "1.2.2x"]
    )
    points = np.zeros((19, 2))
    rows = [("1.2.1", points), ("1.2.2x.PNG", points)]
    path = observer_file(tmp_path / "a.csv", "image", rows)
    assert np.isfinite(distances_between(tested, path, path)).all()


def test_arrays_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match=r"probability of shape \(1, 19\), got \(1, 18\)"):
        marks([[[1, 0]]], [0.1], probability=np.zeros((1, 18)))
