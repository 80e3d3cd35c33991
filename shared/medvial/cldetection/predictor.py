"""From a film to its landmarks with a trained model: the path of container and evaluation."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medvial.cldetection.config import Config
from medvial.cldetection.landmarks import LandmarkSet, adopt_landmark_set
from medvial.cldetection.postprocess import Film, Learned, postprocess
from medvial.cldetection.preprocess import Geometry, preprocess
from medvial.cldetection.views import predict_heatmaps
from medvial.models import ModelFolder, load_network

TASK = "cldetection"
LANDMARKS = "landmark_set.json"


class Predictor:
    """A model folder, ready to predict."""

    def __init__(self, model_folder: Path) -> None:
        """Load and verify the model.

        Raises:
            InputError: The folder is incomplete, altered, or of another task.
        """
        folder = ModelFolder.open(model_folder, task=TASK)
        self.manifest = folder.manifest
        self.config: Config = folder.config(Config)
        folder.read_json(LANDMARKS)  # listed, hence verified
        self.landmark_set: LandmarkSet = adopt_landmark_set(folder.path / LANDMARKS)
        self.learned = Learned.from_dict(folder.read_json("postprocess.json"))
        self._network = load_network(folder, self._build)

    def __call__(self, image: NDArray[Any]) -> Film:
        """Predict a film of any size, (H, W) or (H, W, C), uint8 or uint16.

        Raises:
            InputError: The image holds no film; see `preprocess`.
        """
        return self.from_network_input(*preprocess(image, self.config))

    def from_network_input(self, grey: NDArray[np.uint8], geometry: Geometry) -> Film:
        """Predict what `preprocess` made of a film; points are in the film's pixels.

        A film whose landmarks form no plausible shape is tried mirrored: left-facing films are
        rare, the others do not pay for them.
        """
        film = self._predict(grey, geometry, mirrored=False)
        if film.plausible:
            return film
        mirrored = self._predict(grey, geometry, mirrored=True)
        return mirrored if mirrored.plausible else film

    def _predict(self, grey: NDArray[np.uint8], geometry: Geometry, *, mirrored: bool) -> Film:
        seen = np.ascontiguousarray(grey[:, ::-1]) if mirrored else grey
        heatmaps = predict_heatmaps(self._network, seen, self.config)
        film = postprocess(heatmaps, geometry, self.config, self.learned, mirrored=mirrored)
        return _swap_sides(film, self.landmark_set) if mirrored else film

    def _build(self) -> Any:
        from medvial.cldetection.model import build_model  # torch is absent from slim images

        return build_model(self.config)


def _swap_sides(film: Film, landmark_set: LandmarkSet) -> Film:
    """Landmarks of a mirrored film under the names they have in the film as it is."""
    return film.reordered(list(landmark_set.mirror))
