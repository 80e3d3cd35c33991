"""Every number of the rating of leg agility, once."""

from dataclasses import dataclass
from typing import Literal

from medvial.errors import InputError
from medvial.video_classification.config import ClipConfig, NetworkName

Kind = Literal["temporal", "rendered", "resnet18_lstm", "kinematic"]
Loss = Literal["coral", "cumulative", "cross_entropy"]


@dataclass(frozen=True)
class LegConfig:
    """Settings that training and inference share; written into the model's manifest.

    Inference reads it from there, never from these defaults.
    """

    levels: tuple[int, ...] = (0, 1, 2, 3)
    """The scores of the item that a network can give, rising; step 1 keeps those with data."""

    kind: Kind = "temporal"
    """temporal: a small network on the knees' height and speed. rendered: a video network on drawn
    skeletons. resnet18_lstm: the source's, on the same. kinematic: a forest on quantities."""

    loss: Loss = "coral"
    """How scores follow from outputs. coral: one severity against rising limits; cumulative: one
    output for each limit between two levels; cross_entropy: one for each level, in no order. A
    forest is cumulative whatever this says."""

    one_network_for_both: bool = True
    """One network, which sees the right leg mirrored as a left one; else one network a leg."""

    seconds: float = 16.0
    """Length of what the network sees: from just before the leg's first tap."""

    rate_hz: float = 20.0
    """Of the signals of temporal."""

    with_quantities: bool = True
    """temporal: the kinematic quantities and criteria beside the signals."""

    widths: tuple[int, ...] = (16, 24, 32)
    """Channels of temporal; each but the first halves the time steps."""

    network: NetworkName = "compact_r2plus1d"
    """Of rendered; the names are those of video classification."""

    network_widths: tuple[int, ...] = (8, 16, 32, 64)
    """Channels of rendered's compact_r2plus1d."""

    depth: Literal[18, 50, 101, 152] = 50
    """Of rendered's networks where they come in several."""

    frames: int = 96
    """Drawings of a clip, at even times: six a second, as a tap takes half a second."""

    size: int = 64
    """Side of a drawing in pixels."""

    mean: tuple[float, float, float] = (0.45, 0.45, 0.45)
    """Red, green and blue, 0 to 1, subtracted from the drawings."""

    std: tuple[float, float, float] = (0.225, 0.225, 0.225)
    """Divides them."""

    dropout: float = 0.3
    """Share of the features before the last layer that training leaves out at random."""

    def __post_init__(self) -> None:
        """Refuse what cannot be rated.

        Raises:
            InputError: Names the field.
        """
        for name in ("levels", "widths", "network_widths", "mean", "std"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # lists, read from JSON
        rising = list(self.levels) == sorted(set(self.levels))
        if len(self.levels) < 2 or not rising or not set(self.levels) <= set(range(5)):
            raise InputError(
                f"Expected at least two rising levels of 0 to 4, got {list(self.levels)}."
            )
        self._check_sizes()

    @property
    def steps(self) -> int:
        """Time steps of temporal."""
        return round(self.seconds * self.rate_hz)

    @property
    def outputs(self) -> int:
        """Numbers that a network gives for a leg."""
        one_a_level = self.loss == "cross_entropy" and self.kind != "kinematic"
        return len(self.levels) - (not one_a_level)

    @property
    def clip(self) -> ClipConfig:
        """Of the drawings, as video classification says it; without labels."""
        return ClipConfig(
            network=self.network,
            widths=self.network_widths,
            depth=self.depth,
            clip_s=self.seconds,
            clip_frames=self.frames,
            clips=1,
            resize=self.size,
            crop=self.size,
            mean=self.mean,
            std=self.std,
            dropout=self.dropout,
        )

    def _check_sizes(self) -> None:
        for name in ("widths", "network_widths"):
            if not getattr(self, name) or min(getattr(self, name)) < 1:
                raise InputError(f"Expected {name} of at least 1, got {list(getattr(self, name))}.")
        if not 0 < self.seconds <= 600 or not 0 < self.rate_hz <= 240 or self.steps < 8:
            raise InputError(
                "Expected seconds up to 600, rate_hz up to 240 and at least 8 time steps in all, "
                f"got {self.seconds:g} s at {self.rate_hz:g} Hz."
            )
        if self.frames < 2 or self.size < 16 or not 0 <= self.dropout < 1:
            raise InputError(
                "Expected at least 2 frames, a size of at least 16 and dropout from 0 to below 1, "
                f"got {self.frames}, {self.size}, {self.dropout:g}."
            )
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise InputError(
                f"Expected mean and std of three values, std above 0, got {self.mean}, {self.std}."
            )
