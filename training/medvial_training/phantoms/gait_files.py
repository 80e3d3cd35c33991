"""Gait phantoms as files: MP4, OpenPose JSON in folders and zips, tables."""

import csv
import io
import json
import shutil
import zipfile
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from medvial.errors import InputError
from medvial.outputs import replace_folder, write_bytes

# x264's macroblock trees, which this preset would use, read memory that was not set
# where a side is no multiple of 16: other bytes in every run.
OPTIONS = {"crf": "22", "preset": "veryfast", "x264-params": "mbtree=0"}
ZIP_DATE = (2000, 1, 1, 0, 0, 0)  # the same in every run
OTHER_PARTS = ("face_keypoints_2d", "hand_left_keypoints_2d", "hand_right_keypoints_2d",
               "pose_keypoints_3d", "face_keypoints_3d", "hand_left_keypoints_3d",
               "hand_right_keypoints_3d")  # fmt: skip


def write_video(
    path: Path, frames: Iterable[NDArray[np.uint8]], fps: float, shape: tuple[int, int]
) -> None:
    """Write H.264 in MP4, one picture in memory at a time.

    Args:
        path: Ends with .mp4.
        frames: (H, W, 3) RGB each.
        fps: Frames per second.
        shape: Rows and columns of a frame.

    Raises:
        InputError: A side is odd, which H.264 with shared colour cannot store.
    """
    height, width = shape
    if height % 2 or width % 2:
        raise InputError(f"Expected even sides for MP4, got {width} x {height} (width x height).")
    part = path.with_name(f"{path.stem}.part.mp4")
    with av.open(str(part), "w") as container:
        stream: Any = container.add_stream("libx264", Fraction(fps).limit_denominator(1001))
        stream.pix_fmt, stream.options = "yuv420p", OPTIONS
        stream.thread_count = 1  # same bytes on any machine; several videos are written at once
        stream.height, stream.width = shape
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    part.replace(path)


def openpose_json(people: NDArray[np.float64]) -> bytes:
    """One frame in OpenPose's form.

    Args:
        people: (P, 25, 3) x, y, confidence; missing joints 0, 0, 0.
    """
    values = np.round(people, 3).reshape(len(people), people.shape[1] * 3).tolist()
    found = [
        {"person_id": [-1], "pose_keypoints_2d": own, **{part: [] for part in OTHER_PARTS}}
        for own in values
    ]
    return json.dumps({"version": 1.3, "people": found}, separators=(",", ":")).encode()


def frame_name(video: str, frame: int) -> str:
    """The name that OpenPose gives a frame's file."""
    return f"{video}_{frame:012d}_keypoints.json"


def write_openpose_folder(path: Path, video: str, frames: Sequence[NDArray[np.float64]]) -> None:
    """Write one JSON file a frame into a folder, which is replaced as a whole."""
    part = path.with_name(path.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for number, people in enumerate(frames):
        (part / frame_name(video, number)).write_bytes(openpose_json(people))
    replace_folder(part, path)


def write_openpose_zip(path: Path, video: str, frames: Sequence[NDArray[np.float64]]) -> None:
    """Write the same files into a zip, below a folder of the zip's name."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for number, people in enumerate(frames):
            entry = zipfile.ZipInfo(f"{path.stem}/{frame_name(video, number)}", ZIP_DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, openpose_json(people))
    write_bytes(path, content.getvalue())


def write_table(path: Path, fields: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(fields)
    writer.writerows(rows)
    write_bytes(path, text.getvalue().encode())


def spaced(values: Iterable[float], digits: int = 3) -> str:
    """Numbers in one cell of a table, with a space between them."""
    return " ".join(f"{value:.{digits}f}" for value in values)
