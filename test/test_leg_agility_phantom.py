"""From the files of a phantom recording to the level of each criterion, against its truth."""

import numpy as np
import pytest

from medvial.gait.keypoint_patient import select_patient
from medvial.gait.leg_agility import LEGS, analyse
from medvial.gait.openpose import read_openpose
from medvial.gait.skeletons import clean
from medvial_training.phantoms.gait_files import write_openpose_zip
from medvial_training.phantoms.gait_openpose import make_leg_agility

SCORES = [(0, 3), (1, 2), (4, 1), (2, None)]


@pytest.fixture(scope="module", params=range(len(SCORES)), ids=lambda i: str(SCORES[i]))
def recording(request, tmp_path_factory):
    """A phantom, its patient as read from its files, and the analysis."""
    phantom = make_leg_agility([11, request.param], *SCORES[request.param])
    path = tmp_path_factory.mktemp("phantom") / "a.zip"
    write_openpose_zip(path, "a", phantom.people)
    patient = select_patient(read_openpose(path, fps=phantom.fps))
    asked = {leg: trial is not None for leg, trial in phantom.trials.items()}
    return phantom, patient, analyse(patient.points, patient.times_s, asked=asked)


def test_the_patient_is_followed(recording):
    phantom, patient, _ = recording
    assert len(patient.points) == len(phantom.people)
    for place, people, points in zip(phantom.patient, phantom.people, patient.points, strict=True):
        if place >= 0:
            np.testing.assert_allclose(points, clean(people[place]), atol=6e-4)
        else:
            assert (points[:, 2] == 0).all()


def test_taps_are_at_their_times_and_heights(recording):
    phantom, _, result = recording
    for leg in LEGS:
        trial, found = phantom.trials[leg], result.of(leg).movement.taps
        if trial is None or trial.score == 4:
            continue
        assert [tap.peak_s for tap in found] == pytest.approx(trial.peaks_s, abs=0.1)
        # thigh over trunk, from level; the knee is nearer to the camera than the trunk
        heights = 0.245 / 0.288 * np.sin(np.radians(trial.amplitudes_deg))
        ratios = np.array([tap.amplitude for tap in found]) / heights
        assert 0.95 < np.median(ratios) < 1.4
        assert ratios == pytest.approx(np.full(len(found), np.median(ratios)), rel=0.2)


def test_criteria_read_as_they_were_made(recording):
    phantom, _, result = recording
    for leg in LEGS:
        trial, analysis = phantom.trials[leg], result.of(leg)
        if trial is None:
            assert not analysis.quality.rateable
            continue
        levels = {reading.criterion: reading.level for reading in analysis.readings}
        if trial.score == 4:
            assert levels["ability"] == 4
            continue
        assert analysis.values["interruptions"] == trial.interruptions
        assert analysis.values["arrests"] == trial.arrests
        assert levels["interruptions"] == trial.interruptions_level
        assert abs(levels["slowing"] - trial.slowing_level) <= 1
        assert abs(levels["decrement"] - trial.decrement_level) <= 1
