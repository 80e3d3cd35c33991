"""Raw leg agility recordings, and which row of the sheet of scores each belongs to."""

import hashlib
import logging
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

from medvial.errors import InputError
from medvial.gait.blazepose import BlazePose
from medvial.gait.keypoint_patient import select_patient
from medvial.gait.openpose import People, read_openpose
from medvial.gait.video_keypoints import body25_of_video
from medvial.video import VIDEO_SUFFIXES
from medvial_training.tasks.gait.leg_agility.labels import Rated, label_sheets
from medvial_training.tasks.gait.leg_agility.options import FLAG, LegOptions
from medvial_training.tasks.gait.leg_agility.recordings import Stored

log = logging.getLogger(__name__)

FORMAT = 1  # count up when the same files and settings give other keypoints
MAX_DEPTH = 4
_FRAME = re.compile(r".*\d(_keypoints)?\.json", re.IGNORECASE)
_ENDINGS = re.compile(
    "(" + "|".join(map(re.escape, (*VIDEO_SUFFIXES, ".zip", ".json"))) + "|_?keypoints|_?json)$"
)
_ORDER = {"folder": 0, "zip": 1, "video": 2}  # what is read first where a recording is twice there


@dataclass(frozen=True)
class Recording:
    """One raw recording."""

    path: Path
    kind: Literal["folder", "zip", "video"]

    @property
    def name(self) -> str:
        """Of its files, without endings."""
        return self.path.name if self.kind == "folder" else self.path.stem

    @property
    def keys(self) -> tuple[str, ...]:
        """What it may be called in a sheet: its own name, then its folder's."""
        return name_of(self.name), name_of(self.path.parent.name)

    def version(self, options: LegOptions) -> str:
        """Changes with its files, and with the settings that they are read with."""
        files = sorted(self.path.iterdir()) if self.kind == "folder" else [self.path]
        states = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
        settings = () if self.kind == "video" else (options.order, options.fps)
        return hashlib.sha256(repr((FORMAT, self.kind, settings, states)).encode()).hexdigest()


@dataclass
class Matched:
    """What a source holds, put together."""

    pairs: list[tuple[Rated, Recording]] = field(default_factory=list)
    rejected: list[tuple[str, str]] = field(default_factory=list)
    """(recording or row, reason) of everything that is not used."""


def holds(source: Path) -> bool:
    """Whether a folder is raw data of this system: a sheet of scores, or OpenPose's folders."""
    if label_sheets(source, LegOptions()):
        return True
    return any(recording.kind == "folder" for recording in _found(source, 0))


def find_recordings(source: Path, options: LegOptions) -> list[Recording]:
    """All recordings below a folder, of the kinds that are asked for.

    A folder with JSON files one a frame, a ZIP archive of such, or a video.

    Raises:
        InputError: There is none.
    """
    wanted = {"openpose": ("folder", "zip"), "video": ("video",)}.get(options.input, tuple(_ORDER))
    found = [recording for recording in _found(source, 0) if recording.kind in wanted]
    if not found:
        names = {"folder": "folders", "zip": "ZIP archives", "video": "videos"}
        raise InputError(
            f"Expected {', '.join(names[kind] for kind in wanted)} of leg agility below {source}, "
            f"found none. Folders and archives hold OpenPose's JSON files; {FLAG}.input says what "
            "is read."
        )
    return sorted(found, key=lambda recording: (_ORDER[recording.kind], str(recording.path)))


def match(rated: Sequence[Rated], recordings: Sequence[Recording]) -> Matched:
    """Put rows and recordings together by their names.

    Names are compared without case, blanks, endings (.zip, .mp4, Json, _keypoints) and kinds of
    hyphens. A recording that is called otherwise belongs to the one row whose name its own ends
    with ("LACG1_07" to "CG1_07"), if no other recording's does.

    Args:
        rated: Rows of the sheet.
        recordings: The preferred kind first: of one that is there as several, that one is read.
    """
    by_key: dict[str, list[Recording]] = defaultdict(list)
    rows = _by_name(rated)
    for recording in recordings:
        by_key[_key(recording, rows)].append(recording)
    result = Matched()
    used: set[str] = set()
    for key, found in by_key.items():
        row = rows.get(key)
        first = [r for r in found if r.kind == found[0].kind]
        if row is None:
            result.rejected += [(r.name, "no row of the sheet of scores names it") for r in first]
        elif len(first) > 1:
            names = " and ".join(str(r.path.name) for r in first[:3])
            result.rejected.append((row.video, f"several recordings of that name: {names}"))
        else:
            result.pairs.append((row, first[0]))
        used.add(key)
    result.rejected += [
        (row.video, f"no recording of the name that stands in row {row.row}")
        for key, row in rows.items()
        if key not in used
    ]
    _check_matched(result, rated, recordings)
    return result


def name_of(text: str) -> str:
    """A recording's name as it is compared: folded, its parts joined alike, without endings."""
    key = unicodedata.normalize("NFKC", text).casefold().strip()
    while (shorter := _ENDINGS.sub("", key)) not in (key, ""):
        key = shorter
    return re.sub(r"[\W_]+", "_", key).strip("_")


def read_recording(recording: Recording, options: LegOptions) -> tuple[Stored, People | None]:
    """The patient's keypoints of one recording, all its frames, and everybody's where known.

    Raises:
        InputError: The files cannot be used; says why.
    """
    version = recording.version(options)
    if recording.kind == "video":
        found = body25_of_video(recording.path, _blazepose())
        return Stored(found.points, found.times_s, version, 1, found.notes), None
    people = read_openpose(recording.path, order=options.order, fps=options.fps)
    patient = select_patient(people)
    most = int(people.counts.max())
    return Stored(patient.points, patient.times_s, version, most, patient.notes), people


@cache
def _blazepose() -> BlazePose:
    """One a process: several work side by side."""
    return BlazePose(threads=1)


def _by_name(rated: Sequence[Rated]) -> dict[str, Rated]:
    rows: dict[str, Rated] = {}
    for row in rated:
        other = rows.setdefault(name_of(row.video), row)
        if other is not row:
            raise InputError(
                f"Expected names that differ by more than endings and hyphens, got {other.video!r} "
                f"(row {other.row}) and {row.video!r} (row {row.row})."
            )
    return rows


def _key(recording: Recording, rows: dict[str, Rated]) -> str:
    """The key of the row it belongs to, or else its own."""
    for key in recording.keys:
        if key in rows:
            return key
    own = recording.keys[0]
    ends = [key for key in rows if own.endswith(key) and not _within_number(own, key)]
    return ends[0] if len(ends) == 1 else own


def _within_number(name: str, end: str) -> bool:
    """Whether an end begins amid a number: "12_LA" ends with "2_LA", but is not it."""
    before = name[: len(name) - len(end)][-1:]
    return before.isdigit() and end[:1].isdigit()


def _check_matched(
    matched: Matched, rated: Sequence[Rated], recordings: Sequence[Recording]
) -> None:
    if not matched.pairs:
        raise InputError(
            "Expected recordings that the sheet of scores names, got none: it has "
            f"{rated[0].video!r}, for example, the folder {recordings[0].name!r}."
        )


def _found(folder: Path, depth: int) -> Iterator[Recording]:
    """Recordings below a folder; a folder of frames is one, whatever else it holds."""
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    files = [entry for entry in found if entry.is_file() and not entry.name.startswith(".")]
    if any(_FRAME.fullmatch(entry.name) for entry in files) and depth:
        yield Recording(folder, "folder")
        return
    for entry in files:
        path = Path(entry.path)
        if path.suffix.lower() == ".zip":
            yield Recording(path, "zip")
        elif path.suffix.lower() in VIDEO_SUFFIXES:
            yield Recording(path, "video")
    for entry in found:
        if depth < MAX_DEPTH and entry.is_dir(follow_symlinks=False) and entry.name[0] != ".":
            yield from _found(Path(entry.path), depth + 1)
