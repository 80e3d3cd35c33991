"""Every number of the cephalometric landmark task, once."""

from dataclasses import dataclass
from typing import Literal

from medvial.errors import InputError

UPRIGHT = "upright"
"""Name of the second network: its files are upright.safetensors and upright.onnx."""
MOST_DETAIL = 4
MOST_MARGIN = 4.0


@dataclass(frozen=True)
class Config:
    """Settings that training and inference share; written into the model's manifest.

    Inference reads it from there, never from these defaults.
    """

    landmark_set: str = "cl-38"
    """Landmark set: isbi-19, cl-38, cl-53, or, for step 1, the path of a .json file of your own."""

    height: int = 704
    """Height of the network input, in pixels; a multiple of what the network halves, 64 by
    default."""

    width: int = 576
    """Width of the network input, in pixels; a multiple of what the network halves, 64 by
    default."""

    detail: int = 1
    """How many times finer than the network input, along each side, films are prepared: for a
    second network that sees the anatomy larger (`upright`)."""

    upright: bool = False
    """Whether a second network sees the anatomy upright: turned, scaled and cut out by the
    landmarks that the first one found in the whole film. Step 2 trains it with `--first`."""

    upright_margin: float = 0.45
    """Room around the mean shape in what the second network sees, both sides together, as a share
    of the shape's own width and height."""

    fit: Literal["letterbox", "stretch"] = "letterbox"
    """How a film is brought to the network's size: aspect ratio kept and the rest padded with
    zeros, or stretched (the CL-Detection 2023 baseline)."""

    channels: Literal[1, 3] = 1
    """Input channels of the network; 3 repeats the grey film (the CL-Detection 2023 baseline)."""

    mean: float = 0.4
    """Mean grey value of the training films, 0 to 1; subtracted from the input."""

    std: float = 0.25
    """Standard deviation of the grey values of the training films; divides the input."""

    architecture: Literal["compact_unet", "unet"] = "compact_unet"
    """compact_unet: strided stem and half-resolution heatmaps, 1.8 M parameters; unet: the
    network of the CL-Detection 2023 baseline, 6.8 M parameters."""

    widths: tuple[int, ...] = (16, 32, 64, 96, 128, 160)
    """Channels of compact_unet from the finest level to the coarsest."""

    dropout: float = 0.2
    """Share of compact_unet's coarsest channels that training leaves out at random."""

    members: int = 1
    """Networks of this form whose points are averaged: an ensemble in one model. Step 2 trains
    one; `medvial_training.tasks.cldetection.ensemble` makes one model of several runs."""

    heatmap: Literal["softmax", "sigmoid"] = "softmax"
    """What the network's output means: logits of one spatial distribution per landmark, or of an
    independent heatmap value per pixel (imported CL-Detection 2023 weights, and networks trained
    with the adaptive wing loss)."""

    half_pixel_centres: bool = True
    """Whether a landmark moves with the film's pixel centres when it is resized; False multiplies
    its coordinates by the scale alone (imported CL-Detection 2023 weights only)."""

    sigma_px: float = 2.5
    """Standard deviation of the Gaussian training target, in heatmap pixels."""

    decode_radius_px: int = 5
    """Half-width of the window around the peak whose centre of mass is the landmark, in heatmap
    pixels."""

    views: int = 1
    """Versions of a film whose heatmaps are averaged: 1 is the film as it is, 4 or more adds that
    many less one that are slightly turned, scaled and shifted. None is mirrored."""

    view_rotation_deg: float = 2.0
    """Largest rotation of a view either way, in degrees."""

    view_log_scale: float = 0.03
    """Largest change of a view's size either way, as a natural logarithm."""

    view_shift_px: float = 1.0
    """How far every view but the first is shifted, in pixels of the network input; odd numbers
    of pixels fall between the pixels of a half-resolution heatmap."""

    coordinates: Literal["pixel-stack", "world"] = "pixel-stack"
    """Coordinates of the output points: pixels of the padded slice with a 1-based image index
    (CL-Detection 2023), or the image header's world millimetres (the platform's viewer)."""

    def __post_init__(self) -> None:
        """Refuse sizes that the network cannot halve as often as it does.

        Raises:
            InputError: A size does not fit the network, a number that has to be positive is not,
                or the views would not balance.
        """
        object.__setattr__(self, "widths", tuple(self.widths))  # a list, when read from JSON
        if not self.widths or min(self.widths) < 1:
            raise InputError(f"Expected widths of at least 1, one or more, got {self.widths}.")
        if not 0 <= self.dropout < 1:
            raise InputError(f"Expected dropout from 0 to below 1, got {self.dropout}.")
        if self.decode_radius_px < 0:
            raise InputError(
                f"Expected decode_radius_px of at least 0, got {self.decode_radius_px}."
            )
        self._check_sizes()
        if not self.std > 0:
            raise InputError(f"Expected std above 0, got {self.std}.")
        if not self.sigma_px > 0:
            raise InputError(f"Expected sigma_px above 0, got {self.sigma_px}.")
        if self.members < 1:
            raise InputError(f"Expected members of at least 1, got {self.members}.")
        if self.views != 1 and self.views < 4:  # fewer would lean to one side
            raise InputError(f"Expected views to be 1, or at least 4, got {self.views}.")

    def _check_sizes(self) -> None:
        factor = 2 ** len(self.widths) if self.architecture == "compact_unet" else 8
        for name in ("height", "width"):
            size = getattr(self, name)
            if size < factor or size % factor:
                raise InputError(
                    f"Expected {name} to be a positive multiple of {factor}, which "
                    f"{self.architecture} halves, got {size}."
                )
        if not 1 <= self.detail <= MOST_DETAIL:
            raise InputError(f"Expected detail from 1 to {MOST_DETAIL}, got {self.detail}.")
        if not 0 <= self.upright_margin <= MOST_MARGIN:
            raise InputError(
                f"Expected upright_margin from 0 to {MOST_MARGIN:g}, got {self.upright_margin}."
            )

    @property
    def networks(self) -> tuple[str, ...]:
        """The names of the model's networks, which are those of their files."""
        return ("model", UPRIGHT) if self.upright else ("model",)

    @property
    def film_size(self) -> tuple[int, int]:
        """Height and width of a prepared film, in pixels."""
        return self.detail * self.height, self.detail * self.width

    @property
    def heatmap_stride(self) -> int:
        """Network input pixels per heatmap pixel."""
        return 2 if self.architecture == "compact_unet" else 1
