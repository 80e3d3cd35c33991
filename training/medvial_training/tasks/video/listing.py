"""Videos and what is known of them, whatever form they are listed in."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from medvial.errors import InputError
from medvial.video import CINE_SUFFIXES
from medvial_training.split_dealing import Fractions

FRAME_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
FILM_SUFFIXES = tuple(suffix for suffix in CINE_SUFFIXES if suffix not in FRAME_SUFFIXES)


@dataclass(frozen=True)
class RawVideo:
    """One video, or a stretch of one, as its source lists it."""

    name: str
    """No two share one."""
    path: Path
    """A video file, or a folder of frames."""
    label: str
    patient: str
    """Whose videos stay on one side and are scored together; `name` where nobody is named."""
    group: str = ""
    """More that stays on one side: pieces of one film, a recording session."""
    split: str = ""
    segment: tuple[int, int] | None = None
    """First and last frame, from 0; None is the whole video."""
    share: tuple[float, float] = (0.0, 1.0)
    """The stretch of these frames that is meant, from and to, 0 to 1."""


@dataclass(frozen=True)
class RawData:
    """What a source holds."""

    videos: list[RawVideo]
    labels: tuple[str, ...]
    """The classes, in the order of the network's outputs."""
    rejected: list[tuple[str, str]] = field(default_factory=list)
    """(video, reason) of what is listed and cannot be used."""


@dataclass(frozen=True)
class Places:
    """The folders below which listed videos may lie."""

    roots: tuple[Path, ...]

    @classmethod
    def around(cls, listing: Path, videos: Path | None) -> "Places":
        """The folder that was named; else the listing's own and those in it.

        Raises:
            InputError: It is no folder.
        """
        if videos is not None:
            if not videos.is_dir():
                raise InputError(f"Expected a folder of videos for --videos, got {videos}.")
            return cls((videos,))
        home = listing.parent
        return cls((home, *sorted(p for p in home.iterdir() if p.is_dir())))

    def find(self, listed: str) -> Path | None:
        """A video by its listed path, with or without its extension; None if it is nowhere."""
        for root in self.roots:
            path = root / listed
            with contextlib.suppress(OSError):  # no file can have such a name
                if path.is_dir() or path.is_file():
                    return path
                for suffix in FILM_SUFFIXES:
                    film = path.with_name(path.name + suffix)
                    if film.is_file():
                        return film
        return None

    def __str__(self) -> str:
        return str(self.roots[0])


def frame_files(folder: Path) -> list[Path]:
    """The pictures of a folder in the order of their numbers: frame2 before frame10."""
    files = [p for p in folder.iterdir() if p.suffix.lower() in FRAME_SUFFIXES and p.is_file()]
    return sorted((p for p in files if not p.name.startswith(".")), key=_by_number)


def _by_number(path: Path) -> list[tuple[int, int, str]]:
    """Runs of digits as numbers, other characters as text."""
    parts: list[tuple[int, int, str]] = []
    digits = ""
    for character in [*path.stem, ""]:
        if character.isdecimal():
            digits += character
            continue
        if digits:
            parts.append((0, int(digits), ""))
        digits = ""
        parts.append((1, 0, character))
    return [*parts, (2, 0, path.name)]


def within_videos(raw: RawData, fractions: Fractions) -> RawData:
    """Each video as three, its beginning for training, then validation and test.

    Frames of one video are alike, so scores on such parts say nothing about other videos.
    """
    first, second = 1 - fractions.valid - fractions.test, 1 - fractions.test
    parts = {"train": (0.0, first), "valid": (first, second), "test": (second, 1.0)}
    videos = [
        replace(v, name=f"{v.name}#{part}", patient=f"{v.name}#{part}", split=part, share=share)
        for v in raw.videos
        for part, share in parts.items()
        if share[0] < share[1]
    ]
    return RawData([replace(v, group="") for v in videos], raw.labels, raw.rejected)


def check_names(videos: Sequence[RawVideo]) -> None:
    """Refuse videos that share a name.

    Raises:
        InputError: Names it.
    """
    seen: set[str] = set()
    for video in videos:
        if video.name in seen:
            raise InputError(
                f"Expected each video to be listed once, got {video.name} twice. Leave one out."
            )
        seen.add(video.name)
