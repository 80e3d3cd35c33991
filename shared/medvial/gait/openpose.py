"""Reads OpenPose's output: one JSON file a frame, everybody in it."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medvial.errors import InputError
from medvial.gait.frame_files import FrameFiles, open_frames
from medvial.gait.skeletons import (
    BODY_25,
    SKELETONS,
    Keypoints,
    Skeleton,
    clean,
    find_skeleton,
)

__all__ = ["DEFAULT_FPS", "People", "read_openpose"]

DEFAULT_FPS = 30.0
MAX_FPS = 1000.0
MAX_PEOPLE = 20  # a frame; of more, the surest are kept
MAX_BROKEN = 0.2  # share of the frames that may be unreadable
MAX_COORDINATE = 1e5  # pixels
NORMALISED = 2.0  # largest coordinate that pixels of a person cannot have
_KEYS = ("pose_keypoints_2d", "pose_keypoints")  # since version 1.2, and before
_BONES = (
    ("eye", "ear"),
    ("shoulder", "elbow"),
    ("elbow", "wrist"),
    ("shoulder", "hip"),
    ("hip", "knee"),
    ("knee", "ankle"),
    ("ankle", "big_toe"),
)


@dataclass(frozen=True)
class People:
    """Everybody in a clip; places within a frame mean nothing from one frame to the next."""

    points: Keypoints
    """(T, P, K, 3): x and y in pixels, confidence 0 to 1; NaN, NaN, 0 where a joint is missing,
    and for all joints where a frame has fewer than P people."""
    frames: NDArray[np.int64]
    """(T,) numbers of the frames, increasing; those without a file are not there."""
    fps: float
    """Frames per second of the video: frame numbers over it are times in s."""
    skeleton: Skeleton
    notes: tuple[str, ...] = ()
    """What a reader should know: gaps, unreadable frames, a guessed order of joints."""

    @property
    def times_s(self) -> NDArray[np.float64]:
        """(T,) in s from the first frame, gaps between frames included."""
        return (self.frames - self.frames[0]) / self.fps

    @property
    def counts(self) -> NDArray[np.intp]:
        """(T,) people in each frame."""
        return (self.points[..., 2] > 0).any(axis=2).sum(axis=1)


def read_openpose(path: Path, *, order: str | None = None, fps: float | None = None) -> People:
    """Read a clip's keypoints.

    A frame that cannot be read, or has another number of joints than the rest, counts as one
    without anybody and is told of in the notes; too many of them are an error.

    Args:
        path: Folder or ZIP archive of one JSON file a frame (see `frame_files`).
        order: Name of the skeleton; None finds it by the number of joints, and of those with 25
            by which one makes bodies out of them.
        fps: Of the video; its JSON does not say. None takes 30, and notes it.

    Raises:
        InputError: Files, frames or joints cannot be used; the message says which and why.
    """
    if fps is not None and not 0 < fps <= MAX_FPS:
        raise InputError(f"Expected a frame rate above 0 and up to {MAX_FPS:g}, got {fps:g}.")
    named = None if order is None else find_skeleton(order)
    with open_frames(path) as files:
        frames, broken = _read_frames(files)
        notes = list(files.notes)
    count = _joint_count(path, frames, named)
    broken |= {
        name: f"{len(person) // 3} joints, not {count}"
        for name, people in frames.items()
        for person in people
        if len(person) != 3 * count
    }
    _check_broken(path, broken, len(files.names))
    notes += _broken_notes(broken, len(files.names))
    kept = [[] if name in broken else frames[name] for name in files.names]
    points = clean(_stack(kept, count, notes))
    _check_coordinates(path, points)
    skeleton = named or _find_order(count, points, notes)
    if fps is None:
        notes.append(f"the frame rate is not known, {DEFAULT_FPS:g} per second was taken")
    numbers = np.array(files.numbers, np.int64)
    return People(points, numbers, fps or DEFAULT_FPS, skeleton, tuple(notes))


def parse_frame(data: bytes) -> list[list[float]]:
    """The joints of everybody in one file, as flat lists of x, y, confidence of each.

    Raises:
        ValueError: This is not OpenPose's JSON; the message says what is wrong.
    """
    try:
        content = json.loads(data, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except UnicodeDecodeError:
        raise ValueError("not text in UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON, or cut off: {error}") from None
    people = content.get("people") if isinstance(content, dict) else None
    if not isinstance(people, list):
        raise ValueError("no list of 'people'")
    parsed = (_parse_person(person) for person in people)
    return [values for values in parsed if values]


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} where a number is expected")


def _parse_person(person: Any) -> list[float]:
    if not isinstance(person, dict):
        raise ValueError("a person that is no object")
    values: Any = next((person[key] for key in _KEYS if key in person), [])
    if not isinstance(values, list) or len(values) % 3:
        raise ValueError("keypoints that are no list of x, y, confidence")
    for value in values:
        if type(value) not in (int, float):
            raise ValueError(f"{json.dumps(value)[:20]} where a number is expected")
        if not abs(value) <= MAX_COORDINATE:  # infinity, too: 1e999 is read as that
            raise ValueError(f"a coordinate beyond {MAX_COORDINATE:g} pixels")
    return values


def _read_frames(files: FrameFiles) -> tuple[dict[str, list[list[float]]], dict[str, str]]:
    """People of each file that can be read, and the reason for each that cannot."""
    frames, broken = {}, {}
    for name in files.names:
        try:
            frames[name] = parse_frame(files.read(name))
        except InputError:
            raise
        except (ValueError, OSError) as error:
            broken[name] = str(error)
    return frames, broken


def _joint_count(path: Path, frames: dict[str, list[list[float]]], named: Skeleton | None) -> int:
    """How many joints a person has here."""
    counts = Counter(len(person) // 3 for people in frames.values() for person in people)
    known = {len(skeleton.joints) for skeleton in SKELETONS.values()}
    common = counts.most_common(1)[0][0] if counts else None
    if named is not None:
        known = {len(named.joints)}
    if common is not None and common not in known:
        name = next(n for n, people in frames.items() for p in people if len(p) == 3 * common)
        orders = [named.name] if named else list(SKELETONS)
        raise InputError(
            f"{path}: expected people with {' or '.join(map(str, sorted(known)))} joints "
            f"({', '.join(orders)}), got {common} in {name}. Run OpenPose with --model_pose "
            "BODY_25."
        )
    return common or len((named or BODY_25).joints)


def _check_broken(path: Path, broken: dict[str, str], count: int) -> None:
    if len(broken) > MAX_BROKEN * count:
        name, reason = next(iter(broken.items()))
        raise InputError(
            f"{path}: expected OpenPose's JSON in at least {1 - MAX_BROKEN:.0%} of the files, "
            f"{len(broken)} of {count} cannot be read. The first is {name}: {reason}."
        )


def _broken_notes(broken: dict[str, str], count: int) -> list[str]:
    if not broken:
        return []
    name, reason = next(iter(broken.items()))
    return [f"{len(broken)} of {count} frames cannot be read; the first is {name}: {reason}"]


def _stack(
    frames: Sequence[list[list[float]]], count: int, notes: list[str]
) -> NDArray[np.float64]:
    """(T, P, K, 3) with zeros where a frame has fewer people than the fullest."""
    most = max(len(people) for people in frames)
    if most > MAX_PEOPLE:
        notes.append(f"up to {most} people a frame; the {MAX_PEOPLE} surest of each were kept")
    points = np.zeros((len(frames), min(most, MAX_PEOPLE), count, 3))
    for index, people in enumerate(frames):
        surest = sorted(people, key=lambda person: -sum(person[2::3]))[:MAX_PEOPLE]
        for place, person in enumerate(surest):
            points[index, place] = np.reshape(person, (count, 3))
    return points


def _check_coordinates(path: Path, points: Keypoints) -> None:
    seen = points[points[..., 2] > 0]
    if len(seen) == 0:
        raise InputError(f"{path}: expected a patient, found nobody in {len(points)} frames.")
    if np.abs(seen[:, :2]).max() <= NORMALISED:
        raise InputError(
            f"{path}: expected coordinates in pixels, got none above {NORMALISED:g}. Run OpenPose "
            "without --keypoint_scale."
        )


def _find_order(count: int, points: Keypoints, notes: list[str]) -> Skeleton:
    """The skeleton with that many joints whose bones are shortest in these people."""
    candidates = [s for s in SKELETONS.values() if len(s.joints) == count]
    if len(candidates) == 1:
        return candidates[0]
    lengths = {skeleton.name: _bone_length(points, skeleton) for skeleton in candidates}
    if not all(np.isfinite(length) for length in lengths.values()):
        notes.append(f"too few joints to tell the order apart, {BODY_25.name} was taken")
        return BODY_25
    return min(candidates, key=lambda skeleton: lengths[skeleton.name])


def _bone_length(points: Keypoints, skeleton: Skeleton) -> float:
    """Mean length of the bones between neighbouring joints over the size of the body.

    In a wrong order, lines join shoulders to knees and left to right: they are longer.
    """
    people = points[(points[..., 2] > 0).any(axis=-1)]  # (N, K, 3)
    xy = people[..., :2]
    size = np.linalg.norm(np.nanmax(xy, axis=1) - np.nanmin(xy, axis=1), axis=1)
    bones = [
        [skeleton.indices[f"{side}_{part}"] for part in bone]
        for bone in _BONES
        for side in ("left", "right")
    ]
    lengths = np.linalg.norm(np.diff(xy[:, bones], axis=2)[:, :, 0], axis=-1)  # (N, bones)
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = lengths / size[:, None]
    return float(np.nanmean(relative)) if np.isfinite(relative).any() else float("nan")
