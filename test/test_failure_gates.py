"""The gates of broken inputs, on fresh algorithms of every form of input."""

import pytest
import SimpleITK
from local_rehearsal import LocalRehearsal

from medvial.socket_kinds import DICOM_IMAGE_SET, all_kinds
from medvial.sockets import Interface, Socket
from medvial_rehearsal.container import broken_inputs, failure_gates, run_gates, server_gates
from medvial_rehearsal.container.serving import Serving
from medvial_rehearsal.examples import SIZE_XYZ, write_example
from medvial_rehearsal.gates import Status
from medvial_rehearsal.new import new

NOT_TRIED = "not tried (there is no such input)"
SERIES = Socket("series", DICOM_IMAGE_SET, "images/series")


@pytest.fixture
def fresh(tmp_path):
    """The rehearsal of a new algorithm with inputs of some kinds."""

    def make(*kinds):
        inputs = [f"{kind}:input-{number}" for number, kind in enumerate(kinds)]
        new("fresh", input=inputs, output=["Float:score"], into=tmp_path)
        return LocalRehearsal.of(tmp_path / "fresh", tmp_path / "work")

    return make


@pytest.fixture
def series(tmp_path):
    """A case with a DICOM image set."""
    write_example(all_kinds()[DICOM_IMAGE_SET], tmp_path / SERIES.relative_path)
    return tmp_path


def pixels(case):
    folder = str(case / SERIES.relative_path)
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(folder))
    return SimpleITK.GetArrayFromImage(reader.Execute())


@pytest.mark.parametrize(
    ("kind", "e3", "e4"),
    [
        (
            DICOM_IMAGE_SET,
            f"missing input refused, two images {NOT_TRIED}, stray file handled",
            "cut in the header refused, empty file refused, cut in half refused",
        ),
        (
            "CSV file",
            f"missing input refused, two images {NOT_TRIED}, stray file {NOT_TRIED}",
            f"cut in the header {NOT_TRIED}, empty file refused, cut in half handled",
        ),
        (
            "Float",
            f"missing input refused, two images {NOT_TRIED}, stray file {NOT_TRIED}",
            f"cut in the header refused, empty file refused, cut in half {NOT_TRIED}",
        ),
    ],
)
def test_a_new_algorithm_refuses_broken_inputs_of_any_kind(fresh, kind, e3, e4):
    context = fresh(kind)
    outcomes = failure_gates.wrong_number(context), failure_gates.cut_off(context)
    assert [(o.status, o.found) for o in outcomes] == [(Status.PASSED, e3), (Status.PASSED, e4)]


def test_an_input_that_is_not_looked_at_fails(fresh):
    context = fresh("CSV file")
    program = context.algorithm / "process.py"
    program.write_text(program.read_text().replace("if not input_0:", "if False:"))
    outcome = failure_gates.cut_off(context)
    assert outcome.status is Status.FAILED
    assert "empty file: exit code 0 with score.json" in outcome.found


def test_what_no_input_can_be_is_not_run(fresh):
    outcome = failure_gates.all_black(fresh("Float"))
    assert (outcome.status, outcome.required) == (Status.NOT_RUN, False)
    assert outcome.found == "no image or video input"


def test_inputs_are_unchanged_after_a_run_only(fresh):
    context = fresh("Float")
    assert run_gates.inputs_unchanged(context).status is Status.PASSED
    assert [run.name for run in context.runs] == ["reference"]


def test_every_slice_of_a_dicom_image_set_is_changed_and_stays_in_its_series(series):
    before = pixels(series)
    interface = Interface((SERIES,), ())
    broken_inputs.each(interface, (broken_inputs.is_any, broken_inputs.mirrored(0)))(series)
    assert (pixels(series) == before[:, :, ::-1]).all()
    broken_inputs.each(interface, (broken_inputs.is_any, broken_inputs.black))(series)
    assert pixels(series).shape == SIZE_XYZ[::-1]
    assert not pixels(series).any()
    broken_inputs.each(interface, (broken_inputs.is_any, broken_inputs.remove))(series)
    assert not list((series / SERIES.relative_path).iterdir())


def test_a_server_is_given_different_cases_only(fresh):
    serving = Serving(fresh("MP4 file"))
    assert [case.name for case in serving.cases] == ["main case", "mirrored in x"]
    assert serving.not_tried == [f"mirrored in y {NOT_TRIED}"]


def test_a_single_case_tells_little_of_a_server(fresh):
    serving = Serving(fresh("CSV file"))
    serving.rounds = []
    outcome = server_gates.no_state(serving)
    assert outcome.status is Status.WARNING
    assert "Put a second case into test/NAME/" in outcome.mend
