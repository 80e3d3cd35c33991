"""The two networks of a model folder as functions of frames: container and evaluation use these."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medvial.echonet.clips import BEYOND, Rate, clip_indices
from medvial.echonet.config import Config
from medvial.echonet.preprocess import to_tensor
from medvial.errors import InputError
from medvial.models import ModelFolder, Network, load_network

SEGMENTATION = "segmentation"
EJECTION_FRACTION = "ejection_fraction"
FRAMES_PER_BATCH = 32
CLIPS_PER_BATCH = 4


@dataclass(frozen=True)
class EchoNetworks:
    """Segmentation and regression of one model; either may be None."""

    config: Config
    segmentation: Network | None
    """(N, C, H, W) float32 normalised to logits (N, 1, H, W)."""
    regression: Network | None
    """(N, C, T, H, W) float32 normalised to ejection fractions (N, 1), percent."""

    @classmethod
    def load(cls, folder: ModelFolder) -> "EchoNetworks":
        """The networks that a verified model folder holds.

        Raises:
            InputError: It holds none, or no backend for one is installed.
        """
        config: Config = folder.config(Config)
        loaded = {
            name: load_network(folder, _builder(name, config), name)
            for name in (SEGMENTATION, EJECTION_FRACTION)
            if any(file.startswith(f"{name}.") for file in folder.manifest.files)
        }
        if not loaded:
            raise InputError(
                f"Expected {SEGMENTATION} or {EJECTION_FRACTION} as .onnx or .safetensors in "
                f"{folder.path}, got {sorted(folder.manifest.files)}. Run step 2."
            )
        return cls(config, loaded.get(SEGMENTATION), loaded.get(EJECTION_FRACTION))

    def segment(self, frames: NDArray[np.uint8]) -> Iterator[NDArray[np.float32]]:
        """Probability of left ventricle, a batch of frames at a time.

        Args:
            frames: (T, H, W) uint8 at the network's size; may be a memory map.

        Yields:
            (B, H, W), 0 to 1; all batches together have T frames, in order.

        Raises:
            InputError: The model has no segmentation.
        """
        network = _needed(self.segmentation, SEGMENTATION)
        for start in range(0, len(frames), FRAMES_PER_BATCH):
            batch = np.asarray(frames[start : start + FRAMES_PER_BATCH])
            yield _sigmoid(network(to_tensor(batch, self.config))[:, 0])

    def ejection_fraction(
        self, frames: NDArray[np.uint8], starts: Sequence[int] | NDArray[np.intp], rate: Rate
    ) -> NDArray[np.float64]:
        """Ejection fraction of each clip of a video.

        Args:
            frames: (T, H, W) uint8 at the network's size; may be a memory map.
            starts: (N,) where the clips start, 0-based.
            rate: Frames per second, or uneven times, as in `clips`.

        Returns:
            (N,) percent.

        Raises:
            InputError: The model has no regression.
        """
        network = _needed(self.regression, EJECTION_FRACTION)
        values = [np.empty(0)]
        for first in range(0, len(starts), CLIPS_PER_BATCH):
            batch = starts[first : first + CLIPS_PER_BATCH]
            clips = [clip_tensor(frames, int(start), rate, self.config) for start in batch]
            values.append(network(np.stack(clips))[:, 0].astype(np.float64))
        return np.concatenate(values)


def clip_tensor(
    frames: NDArray[np.uint8], start: int, rate: Rate, config: Config
) -> NDArray[np.float32]:
    """One clip as the network takes it: (C, clip_frames, H, W) float32, 0 beyond the video's end.

    Args:
        frames: (T, H, W) uint8 at the network's size; may be a memory map.
        start: Its first frame, 0-based.
        rate: Frames per second of the video, or uneven times, as in `clips`.
        config: How clips are sampled and frames normalised.
    """
    indices = clip_indices(start, rate, config, len(frames))
    inside = indices != BEYOND
    clip = np.zeros((len(indices), config.channels, *frames.shape[1:]), np.float32)
    clip[inside] = to_tensor(np.asarray(frames[indices[inside]]), config)
    return np.ascontiguousarray(clip.transpose(1, 0, 2, 3))  # (T, C, H, W) => (C, T, H, W)


def _builder(name: str, config: Config) -> Callable[[], Any]:
    def build() -> Any:
        from medvial.echonet import model  # torch is absent from slim images

        return getattr(model, f"build_{name}")(config)

    return build


def _needed(network: Network | None, name: str) -> Network:
    if network is None:
        raise InputError(
            f"Expected a model with a network for {name}, got one without. Train it with step 2 "
            f"(--networks {name})."
        )
    return network


def _sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 / (1 + exp(-x)) without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * logits)), dtype=np.float32)
