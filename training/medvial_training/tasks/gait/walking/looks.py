"""What a network looked at in a clip of a walk: a film and a still of it."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from medvial.outputs import write_bytes
from medvial.video_classification.config import ClipConfig
from medvial.video_classification.model import build_model
from medvial.video_classification.preprocess import spatial_crops
from medvial.video_classification.sampling import view_indices
from medvial_training.clips.gradcam import look, overlay
from medvial_training.clips.store import ClipStore

SIDE = 240  # pixels of a picture in the film
STILLS = 6  # frames of the still
_REPEATS = 4  # of the clip in the film, at half speed: one is over too soon to be seen

ENCODER = {"crf": "20", "x264-params": "mbtree=0"}  # mbtree gives other bytes from run to run

Frames = NDArray[np.uint8]


@dataclass(frozen=True)
class Look:
    """A clip and what spoke for the class that it was called."""

    clip: Frames
    """(T, crop, crop, 3) RGB as the network sees it."""
    shown: Frames
    """The same with warm colours where most spoke for the class."""


def load_net(weights: Path, config: ClipConfig) -> torch.nn.Module:
    """A trained network of a run or a model folder."""
    net = build_model(config)
    net.load_state_dict(load_file(weights))
    return net.eval()


def look_at(
    store: ClipStore, video: str, net: torch.nn.Module, config: ClipConfig, target: int
) -> Look:
    """Grad-CAM on the middle clip of a video.

    Args:
        store: Holds the video.
        video: Its name.
        net: The network that classified it.
        config: Its configuration.
        target: Number of the class that it was called.
    """
    indices = view_indices(store.times_s(video), config)[1]
    middle = np.asarray(store.frames(video)[indices[len(indices) // 2]])
    squares = spatial_crops(middle, config)
    clip = squares[len(squares) // 2]
    return Look(clip, overlay(clip, look(net, clip, config, target)))


def write_film(path: Path, seen: Look, config: ClipConfig) -> None:
    """Write the clip and what spoke for its class, side by side at half speed, as MP4."""
    import av

    rate = Fraction(0.5 * len(seen.clip) / (config.clip_s or 1.0)).limit_denominator(1001)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.stem}.part.mp4")
    with av.open(str(part), "w") as container:
        stream: Any = container.add_stream("libx264", max(rate, Fraction(1)))
        stream.pix_fmt, stream.options = "yuv420p", ENCODER
        stream.height, stream.width = SIDE, 2 * SIDE
        for pair in [*zip(seen.clip, seen.shown, strict=True)] * _REPEATS:
            picture = np.hstack([_enlarged(frame) for frame in pair])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    part.replace(path)


def write_still(path: Path, seen: Look) -> bytes:
    """Write some frames side by side, the clip above and what spoke for its class below, as PNG."""
    places = np.linspace(0, len(seen.clip) - 1, min(STILLS, len(seen.clip))).round().astype(int)
    rows = [np.hstack([frames[n] for n in places]) for frames in (seen.clip, seen.shown)]
    picture = np.ascontiguousarray(np.vstack(rows)[..., ::-1])
    content = cv2.imencode(".png", picture)[1].tobytes()
    write_bytes(path, content)
    return content


def _enlarged(frame: Frames) -> Frames:
    return cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR).astype(np.uint8)
