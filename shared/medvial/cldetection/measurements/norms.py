"""Norms to read measurements by. No measurement depends on them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from medvial.errors import InputError
from medvial.outputs import read_json

SHIPPED = Path(__file__).with_name("norms")
DEFAULT_PROFILE = "textbook-caucasian-adults"


@dataclass(frozen=True)
class Norm:
    """What is usual for one measurement, in its unit."""

    mean: float | None
    sd: float | None
    """Standard deviation between persons."""
    low: float | None
    high: float | None
    """A usual range, where the source gives one."""
    source: str
    certainty: Literal["abstract", "secondary", "unverified"]
    """abstract: read in the source's own abstract. secondary: read in a later publication.
    unverified: a usual textbook figure that was checked against no publication."""
    note: str | None = None

    def z_score(self, value: float) -> float | None:
        """Standard deviations above the mean; None where the norm has no mean or deviation."""
        if self.mean is None or self.sd is None:
            return None
        return (value - self.mean) / self.sd


@dataclass(frozen=True)
class NormProfile:
    """Norms of one population."""

    name: str
    title: str
    """Population and caveat, to be printed wherever a norm is."""
    norms: dict[str, Norm]
    """By the name of the measurement."""


def load_norms(name: str = DEFAULT_PROFILE) -> NormProfile:
    """Norms by the name of a shipped profile, or from a JSON file of your own.

    Args:
        name: `textbook-caucasian-adults`, or a path that ends in `.json`: an object with `name`,
            `title` and `norms`, which maps a measurement's name to an object with `source`,
            `certainty` and, as far as known, `mean`, `sd`, `low`, `high`, `note`.

    Raises:
        InputError: No such profile or file, or the file is not of that form.
    """
    shipped = SHIPPED / f"{name}.json"
    path = shipped if shipped.is_file() else Path(name)
    if path.suffix != ".json" or not path.is_file():
        known = ", ".join(sorted(p.stem for p in SHIPPED.glob("*.json")))
        raise InputError(
            f"Expected the name of a norm profile or the path of its JSON file, got {name!r}. "
            f"Known: {known}."
        )
    content = read_json(path)
    fields = ("name", "title", "norms")
    if not isinstance(content, dict) or any(field not in content for field in fields):
        raise InputError(f"Expected an object with {', '.join(fields)} in {path}.")
    if not isinstance(content["norms"], dict):
        raise InputError(f"Expected 'norms' in {path} to be an object by measurement.")
    return NormProfile(
        name=str(content["name"]),
        title=str(content["title"]),
        norms={key: _norm(key, value, path) for key, value in content["norms"].items()},
    )


def _norm(measurement: str, value: Any, path: Path) -> Norm:
    where = f"the norm of {measurement!r} in {path}"
    if not isinstance(value, dict) or not isinstance(value.get("source"), str):
        raise InputError(f"Expected {where} to be an object with a source, got {value!r}.")
    if value.get("certainty") not in ("abstract", "secondary", "unverified"):
        raise InputError(
            f"Expected the certainty of {where} to be abstract, secondary or unverified, "
            f"got {value.get('certainty')!r}."
        )
    numbers = {field: _number(field, value.get(field), where) for field in _NUMBERS}
    if numbers["sd"] is not None and numbers["sd"] <= 0:
        raise InputError(f"Expected sd of {where} above 0, got {numbers['sd']}.")
    note = value.get("note")
    return Norm(
        **numbers,
        source=value["source"],
        certainty=value["certainty"],
        note=None if note is None else str(note),
    )


_NUMBERS = ("mean", "sd", "low", "high")


def _number(field: str, value: Any, where: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"Expected {field} of {where} to be a number, got {value!r}.")
    return float(value)
