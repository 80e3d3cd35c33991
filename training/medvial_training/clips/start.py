"""Where the weights of a clip classifier start."""

import re
from collections import Counter
from pathlib import Path
from typing import Any, cast

from torch import nn

from medvial.errors import InputError
from medvial.models import MANIFEST, ModelFolder, read_manifest
from medvial.video_classification.config import ClipConfig
from medvial.video_classification.image_networks import FusedFrames
from medvial_training.weights import (
    TORCHVISION,
    State,
    load_fitting,
    read_weights,
    torchvision_weights,
)

INFLATE = "inflate:"
INFLATED = ("r3d_18", "mc3_18", "resnet", "c2d", "i3d")  # 3-D ResNets that have a 2-D one
WRAPPERS = ("module.", "net.", "model.", "backbone.")  # what training programs put before names
NETWORK_FILES = ("walking.safetensors", "model.safetensors")

_TO_IMAGE = (  # names in 3-D ResNets of torchvision and pytorchvideo, and in the 2-D one
    (r"^stem\.0\.", "conv1."),
    (r"^stem\.1\.", "bn1."),
    (r"\.conv(\d)\.0\.", r".conv\1."),
    (r"\.conv(\d)\.1\.", r".bn\1."),
    (r"^blocks\.0\.conv\.", "conv1."),
    (r"^blocks\.0\.norm\.", "bn1."),
    (r"\.res_blocks\.(\d+)\.", r".\1."),
    (r"\.branch1_conv\.", ".downsample.0."),
    (r"\.branch1_norm\.", ".downsample.1."),
    *((rf"\.branch2\.conv_{a}\.", f".conv{n}.") for n, a in enumerate("abc", 1)),
    *((rf"\.branch2\.norm_{a}\.", f".bn{n}.") for n, a in enumerate("abc", 1)),
)


def start_clips_from(net: nn.Module, source: str, config: ClipConfig) -> None:
    """Load what fits of some weights; the last layer stays new where the classes are others.

    Args:
        net: A network of `build_model`.
        source: As ClipTraining.weights says.
        config: What the network was made of.

    Raises:
        InputError: There are no such weights, or they are another network's.
    """
    if isinstance(net, FusedFrames):
        state = _read(source.removeprefix(INFLATE), net.torchvision_name)
        if not any(key.startswith("trunks.") for key in state):
            state = _for_trunks(net, state)
    elif source.startswith(INFLATE):
        state = inflated(net, _read(source.removeprefix(INFLATE), _image_network(config)), config)
    else:
        state = _read(source, getattr(net, "torchvision_name", None))
    name = config.network if config.fusion == "slow" else f"The {config.fusion} network"
    load_fitting(net, _named(state, net), source=source, name=name)


def inflated(net: nn.Module, images: State, config: ClipConfig) -> State:
    """Weights of a 2-D ResNet for a 3-D one: repeated over time and divided by its length.

    So a clip of one repeated frame gives what the frame gave (Carreira and Zisserman, CVPR 2017).

    Args:
        net: The 3-D network.
        images: The 2-D network's tensors, by torchvision's names.
        config: What the 3-D network was made of.

    Returns:
        Tensors by the 3-D network's names.

    Raises:
        InputError: The network is no 3-D form of a 2-D ResNet.
    """
    _image_network(config)
    stages: dict[str, int] = {}  # pytorchvideo's number of a block => the ResNet's of a layer
    state: State = {}
    for key, own in net.state_dict().items():
        name = key
        block = re.match(r"^blocks\.(\d+)\.res_blocks\.", key)
        if block:
            layer = stages.setdefault(block[1], len(stages) + 1)
            name = re.sub(r"^blocks\.\d+\.", f"layer{layer}.", key)
        for pattern, replacement in _TO_IMAGE:
            name = re.sub(pattern, replacement, name)
        if name not in images:
            continue
        value = images[name]
        if value.dim() == 4 and own.dim() == 5:
            length = own.shape[2]
            value = value[:, :, None].expand(-1, -1, length, -1, -1) / length
        state[key] = value
    return state


def _for_trunks(net: FusedFrames, images: State) -> State:
    """A 2-D ResNet's weights for each trunk; the first layer sees frames as channels in `early`."""
    state: State = {}
    for number, trunk in enumerate(net.trunks):
        frames = cast(Any, trunk).conv1.in_channels // 3
        for key, value in images.items():
            if key == "conv1.weight":
                value = value.repeat(1, frames, 1, 1) / frames
            state[f"trunks.{number}.{key}"] = value
    return state


def _image_network(config: ClipConfig) -> str:
    """Torchvision's name of the 2-D ResNet that a network is the 3-D form of."""
    if config.network not in INFLATED:
        raise InputError(
            f"Expected a network of {', '.join(INFLATED)} for image weights, got {config.network}. "
            "Choose one of them, or weights of this network."
        )
    return f"resnet{18 if config.network.endswith('_18') else config.depth}"


def _read(source: str, architecture: str | None) -> State:
    if source.startswith(TORCHVISION):
        name = source.removeprefix(TORCHVISION)
        if architecture is None:
            raise InputError(
                f"Expected a network of torchvision to start from {source}, got one that it does "
                "not have: choose r3d_18, mc3_18, r2plus1d_18 or s3d, or give a file's path."
            )
        return torchvision_weights(architecture, name)
    path = Path(source)
    return read_weights(_network_file(path) if path.is_dir() else path)


def _network_file(folder: Path) -> Path:
    """The network of a model folder of gait or video."""
    if not (folder / MANIFEST).is_file():
        raise InputError(f"Expected weights or a model folder at {folder}, got no {MANIFEST}.")
    task = read_manifest(folder).task
    files = ModelFolder.open(folder, task=task).manifest.files
    name = next((name for name in NETWORK_FILES if name in files), None)
    if name is None:
        raise InputError(
            f"Expected {' or '.join(NETWORK_FILES)} in {folder}, got {', '.join(files)}."
        )
    return folder / name


def _named(state: State, net: nn.Module) -> State:
    """Tensors without what a training program put before the network's names."""
    own = net.state_dict()
    while state and not any(key in own for key in state):
        first = Counter(f"{key.partition('.')[0]}." for key in state).most_common(1)[0][0]
        if first not in WRAPPERS:
            break
        state = {key.removeprefix(first): value for key, value in state.items()}
    return state
