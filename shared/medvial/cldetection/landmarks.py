"""Landmark sets are data: which landmarks a film has, in which order, under which names."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medvial.errors import InputError
from medvial.outputs import read_json

_ADOPTED: dict[str, "LandmarkSet"] = {}

SHIPPED = Path(__file__).with_name("landmark_sets")

GROUPS = ("skull", "tooth", "soft", "vertebra", "ruler", "other")


@dataclass(frozen=True)
class LandmarkSet:
    """Landmarks in the order of the network's outputs. Index 0 is what a challenge calls 1."""

    name: str
    """isbi-19, cl-38, cl-53, or the name in a file of your own."""

    symbols: tuple[str, ...]
    """Short names, unique: S, N, Or, ... Measurements ask for landmarks by these."""

    titles: tuple[str, ...]
    """Full names: Sella, Nasion, Orbitale, ..."""

    groups: tuple[str, ...]
    """What each landmark is: skull, tooth, soft (tissue), vertebra, ruler, other."""

    mirror: tuple[int, ...]
    """Which landmark takes the place of each when a film is mirrored left to right. The identity
    for lateral films, where both sides of the head are one landmark."""

    source: str
    """Where names and order come from, and how certain they are."""

    def __len__(self) -> int:
        return len(self.symbols)

    @property
    def output_names(self) -> tuple[str, ...]:
        """What the CL-Detection challenges call the landmarks: "1", "2", ..."""
        return tuple(str(number) for number in range(1, len(self) + 1))

    def index(self, symbol: str) -> int:
        """The 0-based place of a landmark.

        Raises:
            InputError: The set has no such landmark; lists those it has.
        """
        if symbol not in self.symbols:
            raise InputError(
                f"Expected a landmark of the set {self.name}, got {symbol!r}. "
                f"Known: {', '.join(self.symbols)}."
            )
        return self.symbols.index(symbol)

    def indices_in(self, other: "LandmarkSet") -> list[int]:
        """Where `other` has the landmarks of this set, by symbol: `other_points[indices]`.

        Raises:
            InputError: `other` lacks some of them; names all that it lacks.
        """
        missing = [symbol for symbol in self.symbols if symbol not in other.symbols]
        if missing:
            raise InputError(
                f"Expected the set {other.name} to hold every landmark of {self.name}, but it "
                f"lacks {', '.join(missing)}."
            )
        return [other.index(symbol) for symbol in self.symbols]


def landmark_set_names() -> list[str]:
    """Names of the sets that come with the package, sorted."""
    return sorted(path.stem for path in SHIPPED.glob("*.json"))


def load_landmark_set(name: str) -> LandmarkSet:
    """A landmark set by the name of a shipped one, or from a JSON file of your own.

    Args:
        name: `isbi-19`, `cl-38`, `cl-53`, or a path that ends in `.json`. The file has `name`,
            `source`, `landmarks` (a list of `symbol`, `title` and, if you like, `group`) and,
            for films of paired structures, `mirror_pairs` (a list of two symbols each).

    Raises:
        InputError: No such set or file, or the file is not of that form.
    """
    if name in _ADOPTED:
        return _ADOPTED[name]
    path = landmark_set_path(name)
    return _parse(read_json(path), path)


def adopt_landmark_set(path: Path) -> LandmarkSet:
    """Make the set of a data or model folder known by its name, while the program runs.

    So a configuration holds a set's name, never a path, and works where the folder is.

    Raises:
        InputError: Another set of the same name is known, or the file is not of the form.
    """
    own = _parse(read_json(path), path)
    known = own.name in _ADOPTED or own.name in landmark_set_names()
    if known and load_landmark_set(own.name).symbols != own.symbols:
        raise InputError(
            f"Expected the landmarks of the set {own.name} in {path}, got others: give your own "
            "set another name."
        )
    _ADOPTED[own.name] = own
    return own


def landmark_set_path(name: str) -> Path:
    """The JSON file of a landmark set, shipped or your own.

    Raises:
        InputError: No such set or file.
    """
    if name in landmark_set_names():
        return SHIPPED / f"{name}.json"
    path = Path(name)
    if path.suffix != ".json" or not path.is_file():
        raise InputError(
            f"Expected the name of a landmark set or the path of its JSON file, got {name!r}. "
            f"Known: {', '.join(landmark_set_names())}."
        )
    return path


def _parse(content: Any, path: Path) -> LandmarkSet:
    if not isinstance(content, dict):
        raise InputError(
            f"Expected an object with name, source and landmarks in {path}, "
            f"got {type(content).__name__}."
        )
    landmarks = content.get("landmarks")
    if not isinstance(landmarks, list) or not landmarks:
        raise InputError(
            f"Expected a list of at least one landmark under 'landmarks' in {path}, "
            f"got {landmarks!r}. {_known()}"
        )
    symbols = tuple(_text(_entry(item, path), "symbol", path) for item in landmarks)
    repeated = sorted({symbol for symbol in symbols if symbols.count(symbol) > 1})
    if repeated:
        raise InputError(
            f"Expected every symbol once in {path}, got {', '.join(repeated)} repeatedly."
        )
    return LandmarkSet(
        name=_text(content, "name", path),
        symbols=symbols,
        titles=tuple(_text(item, "title", path) for item in landmarks),
        groups=tuple(_group(item, path) for item in landmarks),
        mirror=_mirror(content.get("mirror_pairs", []), symbols, path),
        source=_text(content, "source", path),
    )


def _entry(item: Any, path: Path) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise InputError(
            f"Expected each landmark in {path} to be an object with symbol and title, got {item!r}."
        )
    return item


def _text(content: dict[str, Any], field: str, path: Path) -> str:
    value = content.get(field)
    if not isinstance(value, str) or not value or value != value.strip():
        raise InputError(
            f"Expected {field!r} in {path} to be a text without blanks around it, got {value!r}. "
            f"{_known()}"
        )
    return value


def _group(item: dict[str, Any], path: Path) -> str:
    group = item.get("group", "other")
    if group not in GROUPS:
        raise InputError(f"Expected 'group' in {path} to be one of {GROUPS}, got {group!r}.")
    return str(group)


def _mirror(pairs: Any, symbols: Sequence[str], path: Path) -> tuple[int, ...]:
    mirror = list(range(len(symbols)))
    seen: set[str] = set()
    for pair in pairs if isinstance(pairs, list) else [pairs]:
        two = isinstance(pair, list) and len(pair) == 2 and all(s in symbols for s in pair)
        if not two or pair[0] == pair[1] or seen & set(pair):
            raise InputError(
                f"Expected 'mirror_pairs' in {path} to be pairs of two symbols of the set, each "
                f"symbol in one pair at most, got {pair!r}."
            )
        seen |= set(pair)
        left, right = symbols.index(pair[0]), symbols.index(pair[1])
        mirror[left], mirror[right] = right, left
    return tuple(mirror)


def _known() -> str:
    return f"Files to go by: {', '.join(f'{n}.json' for n in landmark_set_names())} in {SHIPPED}."
