"""Every number of clip classification, once."""

from dataclasses import dataclass
from typing import Literal, get_args

from medvial.errors import InputError

NetworkName = Literal[
    "compact_r2plus1d",
    "gradients",
    "r3d_18",
    "mc3_18",
    "r2plus1d_18",
    "s3d",
    "resnet",
    "csn",
    "x3d",
    "r2plus1d",
    "slowfast",
    "c2d",
    "i3d",
]


@dataclass(frozen=True)
class ClipConfig:
    """Settings that training and inference share; written into the model's manifest.

    Inference reads it from there, never from these defaults.
    """

    labels: tuple[str, ...] = ()
    """Names of the classes, in the order of the network's outputs; step 1 fills them in."""

    positive: str | None = None
    """The class that counts as positive where there are two."""

    network: NetworkName = "compact_r2plus1d"
    """compact_r2plus1d trains on a CPU. gradients, a linear layer on oriented gradients, is for
    people who are cut out and face one way, and learns from about a hundred. r3d_18, mc3_18,
    r2plus1d_18 and s3d are torchvision's; resnet (slow), csn, x3d, r2plus1d, slowfast, c2d and i3d
    are pytorchvideo's."""

    widths: tuple[int, ...] = (16, 32, 64, 128)
    """Channels of compact_r2plus1d; each entry halves the frame's size, each but the first the
    number of frames."""

    depth: Literal[18, 50, 101, 152] = 50
    """Of pytorchvideo's networks but x3d, and of the 2-D networks of `fusion`; 18 for the latter
    alone. The published csn has 101."""

    fusion: Literal["slow", "single_frame", "early", "late"] = "slow"
    """slow: the 3-D network. The others are a 2-D ResNet: on the clip's middle frame, on all its
    frames stacked as channels, or on its first and last frame, whose features are joined."""

    clip_s: float = 1.0
    """Length of a clip in seconds, from its first frame's beginning to its last frame's end; 0 is
    the whole video."""

    clip_frames: int = 16
    """Frames of a clip, at even times."""

    clips: int = 10
    """Clips of a video in validation, test and inference, spread evenly over it."""

    crops: Literal[1, 3] = 1
    """Squares of a clip in test and inference: the middle, or three along the longer side."""

    resize: int = 128
    """Shorter side of the frames in pixels, before the square is cut out."""

    crop: int = 112
    """Side of the square that the network sees, in pixels."""

    mean: tuple[float, float, float] = (0.45, 0.45, 0.45)
    """Red, green and blue, 0 to 1, subtracted from the input. These are pytorchvideo's; weights of
    torchvision want .43216 .394666 .37645, and as std .22803 .22145 .216989 (Kinetics)."""

    std: tuple[float, float, float] = (0.225, 0.225, 0.225)
    """Divides the input."""

    dropout: float = 0.5
    """Share of the features before the last layer that training leaves out at random."""

    fps: float = 30.0
    """Frames per second at which videos are stored, by their time stamps; 0 keeps every frame."""

    def __post_init__(self) -> None:
        """Refuse what the networks cannot take.

        Raises:
            InputError: Names the field.
        """
        for name in ("labels", "widths", "mean", "std"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # lists, read from JSON
        if self.network not in get_args(NetworkName):
            known = ", ".join(get_args(NetworkName))
            raise InputError(f"Expected network to be one of {known}, got {self.network}.")
        self._check_labels()
        self._check_clips()
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise InputError(
                f"Expected mean and std of three values, std above 0, got {self.mean}, {self.std}."
            )
        if not self.widths or min(self.widths) < 1:
            raise InputError(f"Expected widths of at least 1, got {self.widths}.")

    def _check_labels(self) -> None:
        if len(set(self.labels)) != len(self.labels):
            raise InputError(f"Expected labels that differ from each other, got {self.labels}.")
        if self.positive is not None and self.labels and self.positive not in self.labels:
            raise InputError(f"Expected positive to be one of {self.labels}, got {self.positive}.")

    def _check_clips(self) -> None:
        for name in ("clip_frames", "clips", "crop"):
            if getattr(self, name) < 1:
                raise InputError(f"Expected {name} of at least 1, got {getattr(self, name)}.")
        if self.resize < self.crop:
            raise InputError(
                f"Expected resize of at least crop ({self.crop}), got {self.resize}: the square is "
                "cut out of the resized frame."
            )
        if self.network == "gradients" and self.crop < 16:
            raise InputError(f"Expected crop of at least 16 for gradients, got {self.crop}.")
        if not 0 <= self.clip_s < 3600 or not 0 <= self.fps <= 1000 or not 0 <= self.dropout < 1:
            raise InputError(
                "Expected clip_s and fps of at least 0 and dropout from 0 to below 1, got "
                f"{self.clip_s}, {self.fps}, {self.dropout}."
            )
