"""Reading one video for step 1."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medvial.echonet.clips import is_even, time_gaps
from medvial.echonet.config import Config
from medvial.echonet.preprocess import preprocess
from medvial.video import open_cine
from medvial_training.tasks.echonet.sources import Clip


def read_clip(path: Path, config: Config) -> Clip:
    """A video file as the networks see it, by the container's own code.

    Raises:
        InputError: The file is no usable video.
    """
    with open_cine(path) as cine:
        frames, geometry, times_s, _sector = preprocess(cine, config)
        info = cine.info
    return Clip(
        frames,
        to_network=_matrix(geometry.to_network),
        fps=info.fps,
        spacing_mm=math.nan if geometry.spacing_mm is None else geometry.spacing_mm[0],
        times_s=None if is_even(times_s) else times_s,
        notes=tuple(note for note in info.notes if note.startswith("Damaged")) + _gap(times_s),
    )


def _gap(times_s: NDArray[np.float64]) -> tuple[str, ...]:
    gaps = time_gaps(times_s)
    return (f"Its frame times jump after frame {gaps[0]}.",) if len(gaps) else ()


def _matrix(
    to_network: Callable[[NDArray[np.float64]], NDArray[np.float64]],
) -> NDArray[np.float64]:
    """The (2, 3) matrix of an affine function of (x, y)."""
    origin, x, y = to_network(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    return np.stack([x - origin, y - origin, origin], axis=1)
