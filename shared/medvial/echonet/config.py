"""Every number of the echocardiography task, once."""

from dataclasses import dataclass
from typing import Literal

from medvial.errors import InputError

NETWORKS = ("segmentation", "ejection_fraction")


@dataclass(frozen=True)
class Config:
    """Settings that training and inference share; written into the model's manifest.

    Inference reads it from there, never from these defaults.
    """

    height: int = 112
    """Height of the networks' frames, in pixels (EchoNet-Dynamic: 112)."""

    width: int = 112
    """Width of the networks' frames, in pixels (EchoNet-Dynamic: 112)."""

    mean: tuple[float, ...] = (32.5,)
    """Mean grey value of the training frames, 0 to 255, subtracted from the input. One value:
    networks of one channel; three: of three, to which the grey frame is repeated."""

    std: tuple[float, ...] = (50.0,)
    """Standard deviation of the training frames' grey values; divides the input. As many values
    as `mean`."""

    segmentation: Literal["compact_unet", "deeplabv3_resnet50"] = "compact_unet"
    """Network that finds the left ventricle. compact_unet: 1.0 M parameters;
    deeplabv3_resnet50: the network of EchoNet-Dynamic, 39.6 M."""

    segmentation_widths: tuple[int, ...] = (24, 48, 96, 128)
    """Channels of compact_unet from the finest level, which is half the frame's size, to the
    coarsest."""

    segmentation_dropout: float = 0.2
    """Share of compact_unet's coarsest channels that training leaves out at random."""

    ejection_fraction: Literal["compact_r2plus1d", "r2plus1d_18", "r3d_18", "mc3_18"] = (
        "compact_r2plus1d"
    )
    """Network that reads the ejection fraction off a clip. compact_r2plus1d trains on a CPU;
    r2plus1d_18 is the network of EchoNet-Dynamic, 31.3 M parameters."""

    ejection_fraction_widths: tuple[int, ...] = (16, 32, 64, 96)
    """Channels of compact_r2plus1d; each entry halves the frame's size, each but the first the
    number of frames."""

    clip_frames: int = 32
    """Frames of a clip (EchoNet-Dynamic: 32)."""

    frame_interval_s: float = 0.04
    """Time between the frames of a clip, in seconds, whatever the frame rate; 0.04 is every second
    frame at 50 frames per second. 0 takes every `frame_period`th frame (EchoNet-Dynamic)."""

    frame_period: int = 2
    """Frames from one frame of a clip to the next; where `frame_interval_s` is 0, or the frame
    rate is not known."""

    beat_smoothing_s: float = 0.12
    """Window that smooths the area curve before beats are sought, in seconds."""

    beat_min_distance_s: float = 0.30
    """Shortest time from one end-systole to the next, in seconds (200 beats per minute)."""

    beat_prominence: float = 0.4
    """Least prominence of an end-systole, as a share of the area's range (5th to 95th
    percentile)."""

    def __post_init__(self) -> None:
        """Refuse what the networks cannot take.

        Raises:
            InputError: Names the field.
        """
        for name in ("mean", "std", "segmentation_widths", "ejection_fraction_widths"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # lists, read from JSON
        if len(self.mean) not in (1, 3) or len(self.std) != len(self.mean):
            raise InputError(
                "Expected mean and std of one value each, or of three, got "
                f"{len(self.mean)} and {len(self.std)}."
            )
        if min(self.std) <= 0:
            raise InputError(f"Expected std above 0, got {min(self.std)}.")
        if self.clip_frames < 1 or self.frame_period < 1 or self.frame_interval_s < 0:
            raise InputError(
                "Expected clip_frames and frame_period of at least 1 and frame_interval_s of at "
                f"least 0, got {self.clip_frames}, {self.frame_period}, {self.frame_interval_s}."
            )
        if not (
            self.beat_smoothing_s >= 0
            and self.beat_min_distance_s > 0
            and 0 < self.beat_prominence < 1
        ):
            raise InputError(
                "Expected beat_smoothing_s of at least 0, beat_min_distance_s above 0 and "
                f"beat_prominence between 0 and 1, got {self.beat_smoothing_s}, "
                f"{self.beat_min_distance_s}, {self.beat_prominence}."
            )
        self._check_size()

    def _check_size(self) -> None:
        halvings = {
            "segmentation": len(self.segmentation_widths)
            if self.segmentation == "compact_unet"
            else 3,
            "ejection_fraction": 4,
        }
        if min(halvings.values()) < 1 or not self.ejection_fraction_widths:
            raise InputError("Expected at least one entry in the networks' widths, got none.")
        factor = 2 ** max(halvings.values())
        for name in ("height", "width"):
            size = getattr(self, name)
            if size < factor or size % factor:
                raise InputError(
                    f"Expected {name} to be a positive multiple of {factor}, which the networks "
                    f"halve, got {size}."
                )

    @property
    def channels(self) -> int:
        """Input channels of the networks: 1 or 3."""
        return len(self.mean)
