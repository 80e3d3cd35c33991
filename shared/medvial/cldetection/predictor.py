"""From a film to its landmarks with a trained model: the path of container and evaluation."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medvial.cldetection.config import UPRIGHT, Config
from medvial.cldetection.landmarks import LandmarkSet, adopt_landmark_set
from medvial.cldetection.postprocess import Film, Found, Learned, find, postprocess
from medvial.cldetection.preprocess import Geometry, at_network_size, preprocess
from medvial.cldetection.upright import both, see_upright, upright_matrix
from medvial.cldetection.views import predict_heatmaps
from medvial.errors import InputError
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
        if self.config.upright and self.learned.shape_prior is None:
            raise InputError(
                f"Expected a shape prior in postprocess.json of {model_folder}, whose second "
                "network sees the anatomy upright, got none. Copy the model folder again."
            )
        self._networks = {
            name: load_network(folder, self._build, name) for name in self.config.networks
        }

    def __call__(self, image: NDArray[Any]) -> Film:
        """Predict a film of any size, (H, W) or (H, W, C), uint8 or uint16.

        Raises:
            InputError: The image holds no film; see `preprocess`.
        """
        return self.from_prepared(*preprocess(image, self.config))

    def from_prepared(self, grey: NDArray[np.uint8], geometry: Geometry) -> Film:
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
        found = self._find("model", at_network_size(seen, self.config))
        prior = self.learned.shape_prior
        if self.config.upright and found.plausible and prior is not None:
            matrix = upright_matrix(found.peaks.points, prior, self.config)
            second = self._find(UPRIGHT, see_upright(seen, matrix, self.config))
            found = both(found, second, matrix)
        film = postprocess(found, geometry, self.config, self.learned, mirrored=mirrored)
        return _swap_sides(film, self.landmark_set) if mirrored else film

    def _find(self, network: str, seen: NDArray[np.uint8]) -> Found:
        heatmaps = predict_heatmaps(self._networks[network], seen, self.config)
        return find(heatmaps, self.config, self.learned.shape_prior)

    def _build(self) -> Any:
        from medvial.cldetection.model import build_model  # torch is absent from slim images

        return build_model(self.config)


def _swap_sides(film: Film, landmark_set: LandmarkSet) -> Film:
    """Landmarks of a mirrored film under the names they have in the film as it is."""
    return film.reordered(list(landmark_set.mirror))
