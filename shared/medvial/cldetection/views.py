"""Test-time augmentation: the heatmaps of slightly changed versions of a film, averaged.

Every view is a small turn, change of size and shift about the film's centre. Mirrored views are
left out on purpose: the network only ever saw films that face right.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from medvial.cldetection.config import Config
from medvial.cldetection.decode import distributions
from medvial.cldetection.preprocess import to_tensor
from medvial.models import Network

Matrix = NDArray[np.float64]


def view_matrices(config: Config) -> list[Matrix]:
    """The (2, 3) matrix of each view, from (x, y) in network pixels of the film to the view's.

    The first view is the film itself. The others lie evenly on a circle, where rotation goes with
    the cosine and size with the sine, so that over all views neither leans to a side.
    """
    matrices = [np.eye(2, 3)]
    centre = np.array([(config.width - 1) / 2, (config.height - 1) / 2])
    for phase in 2 * np.pi * np.arange(config.views - 1) / max(1, config.views - 1):
        angle = np.deg2rad(config.view_rotation_deg) * np.cos(phase)
        scale = np.exp(config.view_log_scale * np.sin(phase))
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        # along the diagonal between the circle's axes, or a shift would go with one change only
        shift = config.view_shift_px * np.array(
            [np.cos(phase + np.pi / 4), np.sin(phase + np.pi / 4)]
        )
        linear = scale * turn
        matrices.append(np.hstack([linear, (centre - linear @ centre + shift)[:, None]]))
    return matrices


def predict_heatmaps(
    network: Network, grey: NDArray[np.uint8], config: Config
) -> NDArray[np.float32]:
    """The network's heatmaps of a film, averaged over its views.

    Args:
        network: (1, C, height, width) to (1, members L, h, w).
        grey: The film at the network's size, (height, width) uint8.
        config: Gives the views.

    Returns:
        (members L, h, w) of the same meaning as the network's output; with one view, that output.
    """
    if config.views == 1:
        return network(to_tensor(grey, config)[None])[0]
    total: NDArray[Any] | float = 0.0
    for matrix in view_matrices(config):  # one at a time: memory does not grow with the views
        heatmaps = network(to_tensor(warp_film(grey, matrix), config)[None])[0]
        total = total + warp_back(distributions(heatmaps, config), matrix, config.heatmap_stride)
    mean = np.clip(np.asarray(total) / config.views, 1e-12, 1 - 1e-6)
    logits = np.log(mean) if config.heatmap == "softmax" else np.log(mean) - np.log1p(-mean)
    return logits.astype(np.float32)


def warp_film(grey: NDArray[np.uint8], matrix: Matrix) -> NDArray[np.uint8]:
    """A view of a film (H, W); what it sees beyond the film is 0, as the padding is."""
    height, width = grey.shape
    view: NDArray[np.uint8] = cv2.warpAffine(  # type: ignore[assignment]
        grey, matrix, (width, height), flags=cv2.INTER_LINEAR
    )
    return view


def warp_back(maps: NDArray[np.float32], matrix: Matrix, stride: int) -> NDArray[np.float32]:
    """Maps of a view (L, h, w) in the pixels of the film's maps; 0 where the view saw nothing."""
    linear, shift = matrix[:, :2], matrix[:, 2]
    # pixel centres: network = (map + 0.5) * stride - 0.5
    offset = linear @ np.full(2, 0.5 - 0.5 / stride) + (shift + 0.5) / stride - 0.5
    inverse = np.hstack([linear, offset[:, None]])
    height, width = maps.shape[1:]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.stack([cv2.warpAffine(m, inverse, (width, height), flags=flags) for m in maps])
