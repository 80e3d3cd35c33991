"""What is trained and learned about walking, beside the network itself."""

from dataclasses import dataclass

from medvial.errors import InputError
from medvial_training.clips.augment import ClipAugmentation
from medvial_training.clips.options import ClipTraining
from medvial_training.fit_args import FitArgs

WALKING_FIT = FitArgs(batch_size=8, learning_rate=2e-3, max_epochs=40, patience=15, ema_decay=0.99)
"""For the small network."""

WALKING_AUGMENT = ClipAugmentation(flip=0.0)
"""No mirroring: step 1 and the container turn all walks to the right."""


@dataclass(frozen=True)
class WalkingTraining(ClipTraining):
    """Start, balance and validation, and what is learned after training."""

    threshold_patients: int = 20
    """Validation patients that it takes to learn a threshold of the positive class; with fewer it
    stays 0.5."""

    def __post_init__(self) -> None:
        """Refuse what cannot be learned.

        Raises:
            InputError: Names the field.
        """
        super().__post_init__()
        if self.threshold_patients < 2:
            raise InputError(
                f"Expected threshold_patients of at least 2, got {self.threshold_patients}."
            )
