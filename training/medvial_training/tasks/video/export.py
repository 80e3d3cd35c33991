"""Step 4 of video: the model folder with its ONNX file, for the gait container or any program."""

import dataclasses
import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medvial.models import MANIFEST, ONNX, ModelFolder
from medvial.outputs import check_replaceable, write_json
from medvial.video_classification import ClipConfig
from medvial.video_classification.predictor import TASK
from medvial.video_classification.preprocess import to_tensor
from medvial_training.clips.dataset import ViewClips
from medvial_training.exported import exported
from medvial_training.onnx_export import export_onnx
from medvial_training.tasks.video.finished import finished_network
from medvial_training.tasks.video.prepare import CONFIG
from medvial_training.tasks.video.videos import Prepared

log = logging.getLogger(__name__)

COMPARED = 4  # clips
IDS = "id_by_label.json"  # as the public video-ml-training pipeline names it


def export(
    run: Path = Path("runs/video"),
    out: Path | None = None,
    data: Path = Path("data/video"),
) -> None:
    """Write the model folder of the best epoch with an ONNX file that agrees with PyTorch.

    There is no container of this task alone: the one of gait serves the folder,
    `./export.sh gait --model runs/video/export`.

    Args:
        run: Run folder of step 2, or a model folder itself.
        out: Folder to write: new, empty, or an earlier export, which is replaced whole; RUN/export
            if not given.
        data: Prepared videos whose clips the two are compared on; random clips if there are none.
    """
    source = run / "model" if (run / "model" / MANIFEST).is_file() else run
    write_export(source, out or run / "export", data)


def write_export(source: Path, target: Path, data: Path) -> None:
    """Copy a model folder, add its ONNX file and its labels, and seal it.

    Args:
        source: The model folder.
        target: The folder to write.
        data: Prepared videos to compare on.

    Raises:
        InputError: It is no model folder, the target holds something else (`check_replaceable`), or
            ONNX Runtime and PyTorch disagree.
    """
    check_replaceable(target)
    folder = ModelFolder.open(source, task=TASK)
    config = folder.config(ClipConfig)
    net = finished_network(str(source), config).net
    with exported(folder, target) as part:
        difference = export_onnx(net, _examples(config, data), part / ONNX)
        write_json(part / IDS, {label: number for number, label in enumerate(config.labels)})
        ModelFolder.seal(
            part,
            task=TASK,
            config=dataclasses.asdict(config),
            training=folder.manifest.training,
            metrics=folder.manifest.metrics | {"onnx_difference": difference},
        )


def _examples(config: ClipConfig, data: Path) -> NDArray[np.float32]:
    """(N, 3, T, h, w): clips of the prepared videos, where they fit the network."""
    if (data / CONFIG).is_file():
        prepared = Prepared.open(data)
        if prepared.config.resize == config.resize and len(prepared.config.labels):
            items = [
                item
                for split in ("valid", "test", "train")
                for item in prepared.items(split, prepared.config.labels)
            ]
            views = ViewClips(prepared.store, items[:COMPARED], config)
            clips = [views[n]["clip"].numpy() for n in range(min(COMPARED, len(views)))]
            log.info("Comparing ONNX Runtime and PyTorch on %d clips of %s.", len(clips), data)
            return to_tensor(np.stack(clips), config)
    log.info("Comparing ONNX Runtime and PyTorch on random clips: no videos in %s fit.", data)
    shape = (2, 3, config.clip_frames, config.crop, config.crop)
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)
