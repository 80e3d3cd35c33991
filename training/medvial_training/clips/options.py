"""What can be chosen about the training of clip classification."""

from dataclasses import dataclass
from typing import Literal

from medvial.errors import InputError

FixLayer = Literal["none", "all", "head", "stem_head", "stage_head"]
Monitor = Literal["loss", "accuracy", "balanced_accuracy", "auroc"]


@dataclass(frozen=True)
class ClipTraining:
    """Start, balance and validation of a clip classifier."""

    weights: str | None = None
    """Where the network starts: a .pt, .pth, .pyth or .safetensors file, or a model folder;
    torchvision:NAME, which downloads the weights of that name, such as torchvision:KINETICS400_V1;
    inflate:FILE for a 2-D ResNet's weights, or inflate:torchvision:NAME, which downloads them."""

    fix_layer: FixLayer = "none"
    """Which parts are trained while the others stay as they start, batch normalisation included:
    head, the classifier alone; stem_head, the first layers and the classifier; stage_head, all but
    the first layers. none and all train the whole network."""

    label_smoothing: float = 0.0
    """Share of the truth that is spread evenly over all classes."""

    balance_sampling: float = 0.0
    """How often videos are drawn: 0 each alike, 1 each class alike, whatever its size."""

    balance_loss: float = 0.0
    """How much videos count in the loss: 0 each alike, 1 each class alike."""

    clips_per_epoch: int = 1
    """Random clips of each training video in an epoch."""

    validation_clips: int | None = None
    """Clips of each video in validation; as many as in the test when not given."""

    monitor: Monitor = "loss"
    """What the best epoch is chosen by: the cross-entropy of the videos' mean probabilities, or a
    score of their classes; of patients, where these are known."""

    pictures: int = 12
    """Validation videos that the tracked run shows after each validation; 0 shows none."""

    def __post_init__(self) -> None:
        """Refuse what cannot train.

        Raises:
            InputError: Names the field.
        """
        for name in ("label_smoothing", "balance_sampling", "balance_loss"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"Expected {name} from 0 to 1, got {getattr(self, name)}.")
        for name in ("clips_per_epoch", "validation_clips"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"Expected {name} of at least 1, got {value}.")
