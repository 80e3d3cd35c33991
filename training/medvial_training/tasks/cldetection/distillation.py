"""Several trained networks distilled into one: their mean heatmap is part of what it is trained to.

After Hinton, Vinyals and Dean, arXiv 1503.02531, with a heatmap in the place of the classes.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from medvial.cldetection.config import Config
from medvial.cldetection.model import build_model
from medvial.cldetection.predictor import TASK
from medvial.errors import InputError
from medvial.models import SAFETENSORS, ModelFolder
from medvial_training.provenance import check_trained_on
from medvial_training.tasks.cldetection.losses import Loss

_ALIKE = ("landmark_set", "height", "width", "fit", "channels", "mean", "std", "heatmap")


class Teachers:
    """Trained networks; no module, so that checkpoints and moving averages leave them out."""

    def __init__(self, folders: Sequence[Path], config: Config, data: Path, loss: Loss) -> None:
        """Load the teachers.

        Args:
            folders: Their model folders.
            config: Of the network that is trained.
            data: Folder of its films. A teacher that was trained on other films may have seen
                those that the network is validated or tested on.
            loss: What the network is trained to.

        Raises:
            InputError: The loss compares no distributions, or a teacher sees other inputs, gives
                other heatmaps, or was trained on other films.
        """
        if folders and loss.kind != "cross_entropy":
            raise InputError(f"Expected the loss cross_entropy with teachers, got {loss.kind}.")
        self.networks = [_open(folder, config, data) for folder in folders]

    def __call__(self, images: Tensor) -> Tensor | None:
        """The mean of their heatmaps, (N, L, h, w) float32, each of sum 1; None without teachers.

        Args:
            images: (N, C, height, width), normalised.
        """
        if not self.networks:
            return None
        with torch.no_grad():
            heatmaps = [network.to(images.device)(images) for network in self.networks]
            each = [h.float().flatten(2).softmax(dim=-1).view_as(h) for h in heatmaps]
            return torch.stack(each).mean(dim=0)


def _open(path: Path, config: Config, data: Path) -> nn.Module:
    folder = ModelFolder.open(path, task=TASK)
    check_trained_on(folder, data)
    teacher = folder.config(Config)
    wrong = [
        f"{name} {getattr(teacher, name)} there, {getattr(config, name)} here"
        for name in (*_ALIKE, "heatmap_stride")
        if getattr(teacher, name) != getattr(config, name)
    ]
    if wrong:
        raise InputError(f"Expected a teacher like the network, got {path}: {', '.join(wrong)}.")
    net = build_model(teacher)
    net.load_state_dict(load_file(folder.path / SAFETENSORS))
    return net.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
