"""What is learned on validation videos after training: how to read the network."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medvial.errors import InputError
from medvial.video_classification.config import ClipConfig


@dataclass(frozen=True)
class Learned:
    """Numbers learned on validation videos; written into the model folder's postprocess.json."""

    temperature: float = 1.0
    """Divides the logits, so that probabilities are as often right as they say (Guo et al., ICML
    2017, arXiv 1706.04599)."""

    threshold: float = 0.5
    """Probability of `ClipConfig.positive` from which on a video is called so; of two classes."""

    videos: int = 0
    """Validation videos that they were learned on; 0 = these are defaults."""

    def __post_init__(self) -> None:
        """Refuse what no video could have taught.

        Raises:
            InputError: Names the field.
        """
        if not 0 < self.temperature < np.inf or not 0 <= self.threshold <= 1:
            raise InputError(
                "Expected a temperature above 0 and a threshold from 0 to 1, got "
                f"{self.temperature} and {self.threshold}."
            )

    def label(self, probabilities: NDArray[np.float64], config: ClipConfig) -> str:
        """The class that a video, or a patient, is called.

        Of two classes of which one is the positive one, that one from `threshold` on; else the
        most probable one.

        Args:
            probabilities: (C,) in the order of `config.labels`.
            config: Gives the names of the classes.
        """
        if config.positive is not None and len(config.labels) == 2:
            positive = config.labels.index(config.positive)
            chosen = positive if probabilities[positive] >= self.threshold else 1 - positive
        else:
            chosen = int(np.argmax(probabilities))
        return config.labels[chosen]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Any) -> "Learned":
        """Read what `as_dict` gave.

        Raises:
            InputError: A field is unknown or of another type.
        """
        try:
            return cls(**values)
        except TypeError as error:
            raise InputError(
                f"Expected temperature, threshold and videos of a classifier: {error}."
            ) from None
