"""The comparison behind test.sh: what is a difference, and what it says."""

import json
import math

import pytest

from medvial.compare import Tolerances, compare, main
from medvial.models import MANIFEST, sha256


def points(x=10.0, name="1", probability=0.9):
    return {
        "type": "Multiple points",
        "points": [{"name": name, "point": [x, 20.5, 3], "probability": probability}],
    }


def bad(expected, actual, tolerances=None):
    found = compare(expected, actual, tolerances or Tolerances())
    return [f"{d.where} {d.message}" for d in found if not d.tolerated]


@pytest.mark.parametrize(
    ("actual", "message"),
    [
        (points(x=10.6), r'points[0 "1"].point[0] expected 10, got 10.6: off by 0.6, tolerance'),
        (points(name="2"), "points[0 \"1\"].name expected '1', got '2'"),
        (points(x=None), 'points[0 "1"].point[0] expected 10.0, got None'),
        (points(x=True), 'points[0 "1"].point[0] expected 10.0, got True'),
        (points(x=math.nan), 'points[0 "1"].point[0] expected 10, got nan'),
        ({"type": "Multiple points", "points": []}, "points expected 1 items, got 0"),
        ({"points": points()["points"]}, "type is missing"),
        (points() | {"extra": 1}, "extra was not expected"),
        ([], "expected {'type': 'Multiple points'"),
    ],
)
def test_a_difference_names_its_place(actual, message):
    found = bad(points(), actual)
    assert len(found) == 1
    assert message in found[0]


def test_numbers_within_the_tolerance_are_the_same():
    found = compare(points(), points(x=10.4), Tolerances(0.5))
    assert [round(d.amount, 6) for d in found] == [0.4]
    assert found[0].tolerated


def test_whole_numbers_have_no_tolerance():
    assert bad({"image": 1}, {"image": 2}, Tolerances(5)) == [
        "image expected 1, got 2: off by 1, tolerance 0"
    ]
    assert not bad({"x": 1}, {"x": 1.2}, Tolerances(0.5))


def test_without_a_tolerance_a_thousandth_is_allowed():
    assert not bad({"score": 0.4, "volume": 80.0}, {"score": 0.4009, "volume": 80.07})
    assert bad({"score": 0.4}, {"score": 0.402}) == [
        "score expected 0.4, got 0.402: off by 0.002, tolerance 0.001"
    ]
    assert bad({"volume": 80.0}, {"volume": 80.09})


def test_a_tolerance_belongs_to_a_key():
    tolerances = Tolerances(0.5, {"probability": 0.02, "point": 2.0})
    assert not bad(points(), points(x=11.9, probability=0.91), tolerances)
    assert len(bad(points(), points(x=11.9, probability=0.93), tolerances)) == 1


def test_a_tolerance_can_depend_on_the_unit():
    tolerances = Tolerances(9, {"value": {"deg": 0.5, "mm": 0.1}})
    assert not bad({"value": 82.0, "unit": "deg"}, {"value": 82.4, "unit": "deg"}, tolerances)
    assert bad({"value": 82.0, "unit": "mm"}, {"value": 82.4, "unit": "mm"}, tolerances)
    assert not bad({"value": 82.0, "unit": "px"}, {"value": 82.4, "unit": "px"}, tolerances)


def test_numbers_in_a_text_have_the_tolerance_of_its_key():
    tolerances = Tolerances(0.5, {"found": 0.1})
    one = {"found": "2.02 taps a second, 1 pause", "other": "0.65 long"}
    (near,) = compare(one, one | {"found": "2.07 taps a second, 1 pause"}, tolerances)
    assert near.tolerated
    assert near.amount == pytest.approx(0.05)
    for text in ("2.2 taps a second, 1 pause", "2.02 taps a second, 2 pauses", "2.02 taps"):
        assert not compare(one, one | {"found": text}, tolerances)[0].tolerated
    assert not compare(one, one | {"other": "0.66 long"}, tolerances)[0].tolerated


def test_the_largest_difference_comes_first():
    found = compare([1.0, 2.0, 3.0], [1.1, 2.9, 3.3], Tolerances())
    assert [d.where for d in found] == ["[1]", "[2]", "[0]"]


@pytest.fixture
def run(tmp_path, capsys):
    """Write an expected file and an output folder, compare, and give (exit code, text)."""
    output = tmp_path / "output"
    output.mkdir()

    def run_main(expected, outputs, *arguments):
        (tmp_path / "expected_output.json").write_text(json.dumps(expected))
        for name, content in outputs.items():
            (output / name).write_text(content)
        code = main([str(tmp_path / "expected_output.json"), str(output), *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return run_main


def test_the_same_output_gives_0_and_the_largest_difference(run):
    code, text = run({"a.json": points()}, {"a.json": json.dumps(points(x=10.005))})
    assert code == 0
    assert 'same       a.json: largest difference 0.005 at points[0 "1"].point[0]' in text


def test_a_missing_and_a_surplus_file_are_differences(run):
    code, text = run({"a.json": 1}, {"b.json": "1"})
    assert code == 1
    assert "a.json was not written" in text
    assert "b.json is not an expected output" in text


def test_many_differences_are_counted(run):
    code, text = run({"a.json": [0.0] * 25}, {"a.json": json.dumps([7.0] * 25)})
    assert code == 1
    assert text.count("off by 7") == 10
    assert "and 15 places more" in text


@pytest.mark.parametrize(
    ("expected", "output", "message"),
    [
        ([1], "1", "Expected a JSON object with the content of every output"),
        ({}, "1", "Run step 4 to write it"),
        ({"model_sha256": "ab"}, "1", "Run step 4 to write it"),
        ({"a.json": 1}, "{", "Expected JSON in"),
    ],
)
def test_what_cannot_be_compared_gives_2(run, expected, output, message):
    code, text = run(expected, {"a.json": output})
    assert code == 2
    assert message in text


def test_a_folder_that_is_not_there_is_told(tmp_path, capsys):
    (tmp_path / "expected.json").write_text('{"a.json": 1}')
    assert main([str(tmp_path / "expected.json"), str(tmp_path / "none")]) == 2
    assert "Expected the output folder of a run, found none at" in capsys.readouterr().err


def test_tolerances_are_read_by_file(run, tmp_path):
    path = tmp_path / "tolerances.json"
    path.write_text('{"a.json": {"x": 3}}')
    assert run({"a.json": {"x": 1.0}}, {"a.json": '{"x": 3.5}'}, "--tolerances", path)[0] == 0
    values = ('"3"', "null", "[3]", "-1", "NaN", "true", '{"mm": "3"}')
    wrong_values = [f'{{"a.json": {{"x": {value}}}}}' for value in values]
    for wrong in ('{"other.json": {}}', '{"a.json": 3}', "[]", *wrong_values):
        path.write_text(wrong)
        code, text = run({"a.json": {"x": 1.0}}, {}, "--tolerances", path)
        assert code == 2
        assert "Expected an object of tolerances by key for some of ['a.json']" in text


def test_other_weights_are_told_from_other_results(run, tmp_path):
    (tmp_path / MANIFEST).write_text("{}")
    digest = sha256(tmp_path / MANIFEST)
    outputs = {"a.json": "1"}
    assert run({"a.json": 1, "model_sha256": digest}, outputs, "--model", tmp_path)[0] == 0
    code, text = run({"a.json": 1, "model_sha256": "0" * 64}, outputs, "--model", tmp_path)
    assert code == 1
    assert "expected_output.json was made with other weights: run step 4 again" in text
