"""From what a heatmap looks like to the probability that its landmark is right."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medvial.cldetection.decode import Peaks
from medvial.errors import InputError

FEATURES = ("log mass", "log spread", "log shape distance", "corrected")


@dataclass(frozen=True)
class Calibration:
    """Logistic regression of P(error < `within_mm`), learned on validation films.

    A heatmap's maximum is not a probability (its height depends on the training target's width);
    this is one, as far as the validation films are like the ones it is used on.
    """

    coefficients: tuple[float, ...]
    """One per feature, for features as they are (not standardised)."""
    intercept: float
    within_mm: float = 2.0
    points: int = 0
    """Validation landmarks it was learned from."""
    landmarks: tuple[float, ...] = ()
    """One per landmark: what is added for it, for some are harder to mark, also for the experts,
    than their heatmaps say. Empty in models from before there were any."""
    features: tuple[str, ...] = FEATURES

    def __post_init__(self) -> None:
        """Refuse what an other version wrote."""
        if tuple(self.features) != FEATURES or len(self.coefficients) != len(FEATURES):
            raise InputError(
                f"Expected a calibration on the features {FEATURES}, got {self.features}. Run "
                "step 2 again."
            )

    def probability(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Features (L, 4) of all landmarks in their order to P(error < within_mm), (L,) in 0..1."""
        logit = features @ np.asarray(self.coefficients) + self.intercept
        if self.landmarks:
            logit = logit + np.asarray(self.landmarks)
        return 1.0 / (1.0 + np.exp(-np.clip(logit, -30, 30)))

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Calibration":
        """Read what `as_dict` wrote."""
        try:
            return cls(
                **{
                    **values,
                    "coefficients": tuple(values["coefficients"]),
                    "features": tuple(values.get("features", FEATURES)),
                    "landmarks": tuple(values.get("landmarks", ())),
                }
            )
        except (KeyError, TypeError) as error:
            raise InputError(f"Expected the fields of a calibration: {error}.") from None


def calibration_features(
    peaks: Peaks, distance: NDArray[np.float64], corrected: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """What the probability is learned from, (L, 4) in the order of `FEATURES`."""
    columns = (
        np.log(np.clip(peaks.mass, 1e-6, None)),
        np.log(np.clip(peaks.spread_px, 1e-3, None)),
        np.log(np.clip(distance, 1e-2, 1e3)),
        corrected.astype(np.float64),
    )
    return np.stack(columns, axis=1)
