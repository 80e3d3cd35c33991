"""From a file with an echocardiogram to its analysis: the path of the container."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medvial.echonet.analysis import Analysis, Progress, analyse
from medvial.echonet.beats import MIN_FRAMES
from medvial.echonet.config import Config
from medvial.echonet.networks import EchoNetworks
from medvial.echonet.postprocess import POSTPROCESS, Learned
from medvial.echonet.preprocess import Geometry, preprocess
from medvial.echonet.quality import Flag, movement_flags, quality_flags, source_flags
from medvial.echonet.sector import Sector
from medvial.errors import InputError
from medvial.models import ModelFolder
from medvial.video import CineInfo, open_cine

TASK = "echonet"


@dataclass(frozen=True)
class Study:
    """One cine: what it is, and what was found in it."""

    info: CineInfo
    times_s: NDArray[np.float64]
    """(T,) time of each frame that was read."""
    geometry: Geometry
    """From the network's pixels back to the file's."""
    spacing_cm: tuple[float, float] | None
    """Width and height (x, y) of a pixel of the network's frames; None = not calibrated."""
    sector_found: bool
    notes: tuple[str, ...]
    """What was done to the pixels or was odd about them."""
    analysis: Analysis
    flags: list[Flag]

    def masks(self) -> Iterator[NDArray[np.uint8]]:
        """The left ventricle in the file's own frames, (H, W) uint8 of 0 and 1, one at a time.

        As many as `info.geometry` has slices; empty where a frame could not be decoded.
        """
        empty = np.zeros(self.geometry.image_shape, np.uint8)
        read = dict(zip(self.info.frame_places or (), self.analysis.masks, strict=True))
        for place in range(self.info.slice_count):
            yield self.geometry.mask_to_image(read[place]) if place in read else empty


class Predictor:
    """A model folder, ready to predict."""

    def __init__(self, model_folder: Path) -> None:
        """Load and verify the model.

        Raises:
            InputError: The folder is incomplete, altered, or of another task.
        """
        folder = ModelFolder.open(model_folder, task=TASK)
        self.config: Config = folder.config(Config)
        self.learned = Learned.from_dict(folder.read_json(POSTPROCESS))
        self.trained_on: dict[str, Any] = folder.manifest.training.get("data") or {}
        self.networks = EchoNetworks.load(folder)
        missing = [
            name
            for name, network in (
                ("segmentation", self.networks.segmentation),
                ("ejection_fraction", self.networks.regression),
            )
            if network is None
        ]
        if missing:
            raise InputError(
                f"Expected a model with both networks in {model_folder}, got none for "
                f"{' and '.join(missing)}. Train it with step 2 (--networks {' '.join(missing)})."
            )

    def __call__(
        self, path: Path, *, fps: float | None = None, progress: Progress | None = None
    ) -> Study:
        """Analyse a file.

        Args:
            path: Video, image stack or DICOM file.
            fps: Frames per second, where the file does not say or is wrong.
            progress: Called with frames done and frames in all.

        Raises:
            InputError: The file is no usable cine, or has fewer than 3 frames.
        """
        with open_cine(path, fps=fps) as cine:
            frames, geometry, times_s, sector = preprocess(cine, self.config)
            info = cine.info
        if len(frames) < MIN_FRAMES:
            raise InputError(
                f"{path}: expected a cine of at least {MIN_FRAMES} frames, got {len(frames)}. A "
                "picture shows no beat: give the moving one."
            )
        x_y_mm = geometry.spacing_mm
        spacing_cm = None if x_y_mm is None else (x_y_mm[0] / 10, x_y_mm[1] / 10)
        analysis = analyse(
            frames,
            times_s,
            self.networks,
            self.learned,
            spacing_cm=spacing_cm,
            progress=progress,
        )
        if analysis.ejection_fraction is None:
            raise InputError(f"Expected a cine of a heart in {path}, got none that can be read.")
        return Study(
            info=info,
            times_s=times_s,
            geometry=geometry,
            spacing_cm=spacing_cm,
            sector_found=sector.found,
            notes=info.notes + sector.notes,
            analysis=analysis,
            flags=[
                *source_flags(info, sector),
                *movement_flags(frames),
                *quality_flags(
                    analysis, _network_sector(sector, geometry, self.config), self.config
                ),
            ],
        )


def _network_sector(sector: Sector, geometry: Geometry, config: Config) -> NDArray[np.bool_] | None:
    """(H, W) at the network's size: where the ultrasound is; None where that is not known."""
    if not sector.found:
        return None
    columns, rows = np.meshgrid(np.arange(config.width), np.arange(config.height))
    x, y = np.rint(geometry.to_image(np.stack([columns, rows], axis=-1))).astype(int).T
    height, width = geometry.image_shape
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    mask = sector.mask()[y.clip(0, height - 1), x.clip(0, width - 1)] > 0
    return np.asarray((mask & inside).T)
