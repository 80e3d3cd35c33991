"""What is learned after training: how to read the networks, and how far off they may be."""

from dataclasses import asdict, dataclass
from typing import Any

from medvial.errors import InputError

POSTPROCESS = "postprocess.json"


@dataclass(frozen=True)
class Learned:
    """Numbers learned on validation videos; written into the model folder's postprocess.json."""

    threshold: float = 0.5
    """Probability above which a pixel belongs to the left ventricle."""

    slope: float = 1.0
    """Recalibration of the network's ejection fraction: slope * EF + intercept."""

    intercept: float = 0.0
    """Percent."""

    half_width: float | None = None
    """Half the width of the prediction interval of a video's ejection fraction, percent: the
    split-conformal quantile of the absolute errors on validation videos (Lei et al., J Am Stat
    Assoc 2018;113:1094-111). None where too few videos were there to learn it."""

    coverage: float = 0.9
    """Share of videos like the validation ones whose truth lies in the interval, at least."""

    videos: int = 0
    """Validation videos that the interval was learned on."""

    def __post_init__(self) -> None:
        """Refuse what no video could have taught.

        Raises:
            InputError: Names the field.
        """
        if not 0 < self.threshold < 1 or not 0 < self.coverage < 1:
            raise InputError(
                "Expected threshold and coverage between 0 and 1, got "
                f"{self.threshold} and {self.coverage}."
            )
        if self.half_width is not None and not self.half_width >= 0:
            raise InputError(f"Expected a half_width of at least 0, got {self.half_width}.")

    def recalibrate(self, ejection_fraction: Any) -> Any:
        """The network's ejection fraction(s), percent, corrected; not clipped."""
        return self.slope * ejection_fraction + self.intercept

    def interval(self, ejection_fraction: float) -> tuple[float, float] | None:
        """Prediction interval around a video's ejection fraction, within 0 to 100 percent."""
        if self.half_width is None:
            return None
        low, high = ejection_fraction - self.half_width, ejection_fraction + self.half_width
        return max(0.0, low), min(100.0, high)

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
            raise InputError(f"Expected the fields of {POSTPROCESS}: {error}.") from None
