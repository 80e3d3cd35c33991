"""How two methods of measuring agree on the same subjects."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Agreement:
    """How two methods agree on the same subjects; differences are second minus first.

    Source: J. M. Bland and D. G. Altman, Statistical methods for assessing agreement between two
    methods of clinical measurement, Lancet 1986; limits are bias -/+ 1.96 SD.
    """

    count: int
    bias: float
    sd: float
    """Standard deviation of the differences (n - 1); NaN below two subjects."""
    mean_absolute: float

    @property
    def limits(self) -> tuple[float, float]:
        """The 95 % limits of agreement."""
        return self.bias - 1.96 * self.sd, self.bias + 1.96 * self.sd


def agreement(difference: ArrayLike) -> Agreement:
    """Agreement from the differences (N,), second method minus first; NaN is left out."""
    values = np.asarray(difference, dtype=np.float64)
    values = values[np.isfinite(values)]
    if not values.size:
        return Agreement(0, np.nan, np.nan, np.nan)
    sd = float(values.std(ddof=1)) if values.size > 1 else np.nan
    return Agreement(values.size, float(values.mean()), sd, float(np.abs(values).mean()))


def intraclass_correlation(first: ArrayLike, second: ArrayLike) -> float:
    """Absolute agreement of two methods on the same subjects, single rater: ICC(2,1).

    Args:
        first: (N,) values of the first method.
        second: (N,) values of the second; subjects with a NaN in either are left out.

    Returns:
        At most 1; NaN below three subjects or if nothing varies.

    Source: P. E. Shrout and J. L. Fleiss, Intraclass correlations, Psychological Bulletin 1979.
    """
    pairs = np.column_stack([np.asarray(first, float), np.asarray(second, float)])
    pairs = pairs[np.isfinite(pairs).all(axis=1)]
    subjects, raters = pairs.shape
    if subjects < 3:
        return float("nan")
    deviations = pairs - pairs.mean()
    between_subjects = raters * (deviations.mean(axis=1) ** 2).sum() / (subjects - 1)
    between_raters = subjects * (deviations.mean(axis=0) ** 2).sum() / (raters - 1)
    total = (deviations**2).sum()
    error = total - (subjects - 1) * between_subjects - (raters - 1) * between_raters
    error /= (subjects - 1) * (raters - 1)
    spread = between_subjects + (raters - 1) * error + raters * (between_raters - error) / subjects
    return float((between_subjects - error) / spread) if spread > 0 else float("nan")
