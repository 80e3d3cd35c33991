"""Where the weights of a leg agility network start."""

from pathlib import Path
from typing import cast

from torch import nn

from medvial.errors import InputError
from medvial.gait.leg_agility.config import LegConfig
from medvial.gait.leg_agility.model import FrameLSTM, Rater
from medvial.gait.leg_agility.rating import NAME
from medvial_training.clips.start import start_clips_from
from medvial_training.weights import (
    TORCHVISION,
    State,
    load_fitting,
    read_weights,
    torchvision_weights,
)

IMAGE_NETWORK = "resnet18"
_KNOWN = "layer1.0.conv1.weight"  # of a ResNet


def start_from(net: nn.Module, source: str, config: LegConfig) -> None:
    """Load what fits of some weights; what rates stays new where the levels are others.

    Args:
        net: A network of `build_model`.
        source: A model folder of gait or a file of a leg agility network of the same kind, or as
            LegTraining.weights says: a video network's weights for rendered, a ResNet's for
            resnet18_lstm.
        config: What the network was made of.

    Raises:
        InputError: There are no such weights, or they are another network's.
    """
    own = _leg_agility(source)
    if own is not None:
        load_fitting(net, own, source=source, name=NAME)
        return
    bodies = [part.body for part in net.modules() if isinstance(part, Rater)]
    if config.kind == "temporal":
        raise InputError(
            f"Expected weights of a leg agility network to start temporal from, got {source}. Give "
            "a model folder of gait, or leg_agility.safetensors."
        )
    for body in bodies:
        if config.kind == "rendered":
            start_clips_from(body, source, config.clip)
        else:
            image = cast(FrameLSTM, body).image
            load_fitting(image, _image_state(source), source=source, name=IMAGE_NETWORK)


def _leg_agility(source: str) -> State | None:
    """The tensors of a leg agility network; None where the source is something else."""
    path = Path(source)
    if (path / f"{NAME}.safetensors").is_file():
        path = path / f"{NAME}.safetensors"
    if not path.is_file():
        return None
    state = read_weights(path)
    return state if any("head.linear.weight" in key for key in state) else None


def _image_state(source: str) -> State:
    """A ResNet's tensors, without what a training program put before their names."""
    if source.startswith(TORCHVISION):
        return torchvision_weights(IMAGE_NETWORK, source.removeprefix(TORCHVISION))
    state = read_weights(Path(source))
    known = next((key for key in state if key.endswith(_KNOWN)), _KNOWN)
    return {key.removeprefix(known.removesuffix(_KNOWN)): value for key, value in state.items()}
