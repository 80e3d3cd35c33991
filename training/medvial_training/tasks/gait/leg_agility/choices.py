"""What can be chosen about the training of leg agility."""

from dataclasses import dataclass, field

from medvial.errors import InputError
from medvial_training.fit_args import FitArgs
from medvial_training.tasks.gait.leg_agility.augment import LegAugmentation

LEG_FIT = FitArgs(
    batch_size=16,
    learning_rate=1e-2,
    max_epochs=12,
    patience=6,
    ema_decay=0.98,
    precision="32-true",  # half of it saves nothing on so small a network
    workers=0,  # they would each work out all inputs again
)
"""For the temporal network; an epoch sees each leg as it is and in every changed copy."""


@dataclass(frozen=True)
class LegTraining:
    """Start, balance and random changes; and the forest, which has no epochs."""

    balance: float = 0.5
    """How much more legs of rare scores count: 0 each leg alike, 1 each score alike."""

    weights: str | None = None
    """Where the network starts: a model folder of gait or leg_agility.safetensors; for rendered a
    video network's .pt, .pth or .safetensors file, for resnet18_lstm a ResNet-18's; or
    torchvision:NAME, which downloads the weights of that name. A forest has no start."""

    augment: LegAugmentation = field(default_factory=LegAugmentation)
    """Random changes of the keypoints."""

    trees: int = 300
    """Of the forest."""

    least_leaf: int = 4
    """Fewest legs in a leaf of a tree, changed copies included."""

    def __post_init__(self) -> None:
        """Refuse what cannot train.

        Raises:
            InputError: Names the field.
        """
        if not 0 <= self.balance <= 1:
            raise InputError(f"Expected balance from 0 to 1, got {self.balance}.")
        if self.trees < 1 or self.least_leaf < 1:
            raise InputError(
                f"Expected trees and least_leaf of at least 1, got {self.trees}, {self.least_leaf}."
            )
