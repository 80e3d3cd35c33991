"""What is trained and learned, beside the networks themselves."""

from dataclasses import dataclass
from typing import Literal

from medvial.errors import InputError

SegmentationLoss = Literal["bce_dice", "sum_bce"]
EfLoss = Literal["huber", "mse"]


@dataclass(frozen=True)
class Choices:
    """Losses, validation, and what is learned after training."""

    segmentation_loss: SegmentationLoss = "bce_dice"
    """Mean cross-entropy plus 1 - Dice; or cross-entropy summed over pixels and frames, as
    EchoNet-Dynamic does."""

    ejection_fraction_loss: EfLoss = "huber"
    """Of the error in standard deviations of the training videos' ejection fraction."""

    balance: float = 0.0
    """How much more rare ejection fractions count: 0 (all alike) to 1."""

    validation_clips: int = 3
    """Clips per validation video, always the same ones; their mean is the video's prediction."""

    recalibrate: bool = False
    """Correct the ejection fraction by a straight line learned on the validation videos."""

    coverage: float = 0.9
    """Share of videos whose truth the prediction interval shall hold."""

    def __post_init__(self) -> None:
        """Refuse what means nothing."""
        if not 0 <= self.balance <= 1:
            raise InputError(f"Expected choices.balance from 0 to 1, got {self.balance}.")
        if self.validation_clips < 1:
            raise InputError(
                f"Expected choices.validation_clips of at least 1, got {self.validation_clips}."
            )
        if not 0 < self.coverage < 1:
            raise InputError(f"Expected choices.coverage between 0 and 1, got {self.coverage}.")
