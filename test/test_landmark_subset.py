"""A model of many landmarks on data with fewer."""

import numpy as np

from medvial.cldetection import Config
from medvial.cldetection.landmarks import load_landmark_set
from medvial.cldetection.postprocess import Film
from medvial_training.tasks.cldetection.predictions import with_landmarks_of

CL38, ISBI19 = load_landmark_set("cl-38"), load_landmark_set("isbi-19")


class Numbered:
    """Puts landmark i at (i, -i), with probability i / 100."""

    def __init__(self, count):
        self.count = count

    def from_prepared(self, grey, geometry):
        number = np.arange(self.count, dtype=float)
        points = np.stack([number, -number], axis=1)
        none = np.zeros(self.count, bool)
        features = np.zeros((self.count, 4))
        return Film(points, number / 100, none, False, True, features)


def test_a_larger_set_is_cut_down_by_symbol():
    predictor, config = with_landmarks_of(ISBI19, Numbered(38), CL38, Config(landmark_set="cl-38"))
    film = predictor.from_prepared(None, None)
    expected = [CL38.index(symbol) for symbol in ISBI19.symbols]
    np.testing.assert_array_equal(film.points[:, 0], expected)
    np.testing.assert_allclose(film.probability, np.array(expected) / 100)
    assert film.features.shape == (19, 4)
    assert config.landmark_set == "isbi-19"


def test_a_set_that_the_model_lacks_changes_nothing():
    config = Config(landmark_set="isbi-19")
    whole = Numbered(19)
    assert with_landmarks_of(CL38, whole, ISBI19, config) == (whole, config)
    assert with_landmarks_of(ISBI19, whole, ISBI19, config) == (whole, config)
