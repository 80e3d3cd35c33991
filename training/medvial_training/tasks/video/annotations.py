"""annotations.json: classes by number, and per split its videos with segment and class.

The form is that of the public video-ml-training pipeline:
`{"categories": {name: number}, "train": [{"video", "segment": [first, last], "target"}], …}`, with
the parts train, val and test.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medvial.errors import InputError
from medvial.outputs import read_json, write_json
from medvial_training.tasks.video.listing import Places, RawData, RawVideo

ANNOTATIONS = "annotations.json"
NAMES = {"train": "train", "val": "valid", "valid": "valid", "test": "test"}


def read_annotations(path: Path, videos: Path | None) -> RawData:
    """List the videos of an annotations.json.

    Args:
        path: The file.
        videos: Folder that its `video` entries are relative to; looked for beside it if None.

    Raises:
        InputError: It is not of that form.
    """
    content = read_json(path)
    labels = _labels(content, path)
    places = Places.around(path, videos)
    listed: list[RawVideo] = []
    rejected: list[tuple[str, str]] = []
    for key, split in NAMES.items():
        for entry in _entries(content, key, path):
            video, reason = _video(entry, labels, places, split, f"{path}, {key}")
            if reason:
                rejected.append((video.name, reason))
            else:
                listed.append(video)
    return RawData(listed, labels, rejected)


def _labels(content: Any, path: Path) -> tuple[str, ...]:
    categories = content.get("categories") if isinstance(content, dict) else None
    if not isinstance(categories, dict) or not categories:
        raise InputError(
            f"Expected {path} to hold categories (name: number) and train, val, test, got "
            f"{sorted(content)[:5] if isinstance(content, dict) else type(content).__name__}."
        )
    numbers = list(categories.values())
    if any(type(n) is not int for n in numbers) or sorted(numbers) != list(range(len(numbers))):
        raise InputError(
            f"Expected the categories of {path} to be numbered from 0 without gaps, got "
            f"{numbers[:10]!r:.200}."
        )
    return tuple(sorted(categories, key=categories.__getitem__))


def _entries(content: dict[str, Any], key: str, path: Path) -> list[Any]:
    """The videos of a part; none where it is missing or null."""
    entries = content.get(key)
    if not isinstance(entries, list | None):
        raise InputError(
            f"Expected a list of videos as {key} in {path}, got {type(entries).__name__}."
        )
    return entries or []


def _video(
    entry: Any, labels: tuple[str, ...], places: Places, split: str, where: str
) -> tuple[RawVideo, str]:
    """A video, and why it cannot be used: empty if it can."""
    try:
        listed, target = str(entry["video"]), int(entry["target"])
        segment = entry.get("segment")
        pair = None if segment is None else (int(segment[0]), int(segment[1]))
        label = labels[target] if target >= 0 else labels[len(labels)]
    except (KeyError, TypeError, ValueError, IndexError):
        raise InputError(
            f"Expected entries with video, segment [first, last] and target below {len(labels)} in "
            f"{where}, got {entry!r:.200}."
        ) from None
    if pair is not None and not 0 <= pair[0] <= pair[1]:
        raise InputError(f"Expected a segment [first, last] from 0 in {where}, got {entry!r:.200}.")
    path = places.find(listed)
    name = listed if pair is None or pair[0] == 0 else f"{listed}#{pair[0]}-{pair[1]}"
    video = RawVideo(name, path or Path(listed), label, name, listed, split, pair)
    return video, "" if path else f"no such file or folder of frames below {places}"


def write_annotations(
    path: Path,
    labels: Sequence[str],
    rows: Sequence[tuple[RawVideo, str, list[int]]],
    root: Path,
) -> None:
    """Write the split in the same form, the videos relative to a folder where they lie below it.

    Args:
        path: The file.
        labels: The classes in order.
        rows: Video, split (train, valid, test), and its first and last frame.
        root: The folder.
    """
    content: dict[str, Any] = {"categories": {name: number for number, name in enumerate(labels)}}
    for key in ("train", "val", "test"):
        content[key] = [
            {
                "video": relative(video.path, root),
                "segment": segment,
                "target": labels.index(video.label),
            }
            for video, split, segment in rows
            if split == NAMES[key]
        ]
    write_json(path, content)


def relative(path: Path, root: Path) -> str:
    """A path below the folder, else its name alone: no path of a machine."""
    inside = path.is_relative_to(root)
    return path.relative_to(root).as_posix() if inside else path.name
