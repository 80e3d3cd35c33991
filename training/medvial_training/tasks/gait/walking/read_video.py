"""From a walking video to pictures of its patient, with what is known of how well that went."""

import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from medvial.cine import Cine
from medvial.errors import InputError
from medvial.gait.blazepose import BlazePose
from medvial.gait.contact_sheet import contact_sheet
from medvial.gait.crop import CropOptions, crops
from medvial.gait.person_quality import assess
from medvial.gait.rcnn import RcnnPeople
from medvial.gait.tracker import Person, follow
from medvial.gait.walking.clips import facing_right
from medvial.models import sha256
from medvial.outputs import write_bytes
from medvial.video import open_cine
from medvial_training.clips.spool import spooled
from medvial_training.clips.store import Frames, Source
from medvial_training.tasks.gait.walking.sources import WalkingVideo

FORMAT = 3  # count up when the same file and settings give another person or other pixels
SHEETS = "sheets"
_JPEG_QUALITY = 85


def walking_source(
    video: WalkingVideo, crop: CropOptions, sheets: Path | None, rcnn: str | None = None
) -> Source:
    """What the store needs to read a video.

    Args:
        video: The video.
        crop: How its patient is cut out; belongs to the store's settings.
        sheets: Folder of the contact sheets; None draws none.
        rcnn: Weights of the R-CNN that finds people, if it is not BlazePose.
    """
    status = video.path.stat()
    changing: list[Any] = [status.st_size, status.st_mtime_ns, video.box, video.box_time_s]
    if rcnn is not None:
        changing.append(rcnn)
    version = hashlib.sha256(repr(changing).encode()).hexdigest()[:16]
    sheet = None if sheets is None else sheet_of(video, sheets)
    return Source(video.name, version, functools.partial(read_walker, video, crop, sheet, rcnn))


def read_walker(
    video: WalkingVideo, crop: CropOptions, sheet: Path | None = None, rcnn: str | None = None
) -> Frames:
    """Follow the patient of a video and cut them out.

    Returns:
        Pictures (T, size, size, 3) RGB of a walk to the right, their times, and notes: `quality`
        (PersonQuality), `fps`, `frames`, `seconds` and size of the file's frames, and its sha256.

    Raises:
        InputError: The file is no usable video, or nobody is on it or at the patient's box.
    """
    with open_cine(video.path) as cine:
        person = _person(cine, video, rcnn)
        _check(person)
        frames, times_s = _cut_out(cine, person, crop)
        if sheet is not None:
            _write_sheet(sheet, cine, person, crop)
        notes = _notes(video.path, cine, person)
        return Frames(frames, times_s, notes)


def draw_sheet(crop: CropOptions, sheets: Path, rcnn: str | None, video: WalkingVideo) -> None:
    """Draw the contact sheet of a video that was read without.

    Args:
        crop: As it was cut out.
        sheets: Folder of the contact sheets.
        rcnn: As it was read with.
        video: The video.

    Raises:
        InputError: The file is not there any more.
    """
    with open_cine(video.path) as cine:
        person = _person(cine, video, rcnn)
        _write_sheet(sheet_of(video, sheets), cine, person, crop)


def sheet_of(video: WalkingVideo, sheets: Path) -> Path:
    """Where its contact sheet lies."""
    return sheets / f"{video.name}.jpg"


def _cut_out(
    cine: Cine, person: Person, crop: CropOptions
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Pictures (T, size, size, 3) of a walk to the right and their times (T,) in seconds."""
    direction = assess(person, cine.info.notes).direction
    times_s = []

    def pictures() -> Iterator[NDArray[np.uint8]]:
        for time_s, picture in crops(cine, person, crop):
            times_s.append(time_s)
            yield facing_right(picture, direction)

    return spooled(pictures()), np.array(times_s)


def _person(cine: Cine, video: WalkingVideo, rcnn: str | None) -> Person:
    """The patient, followed through the video."""
    networks = _networks(rcnn)
    return follow(cine, networks, patient_box=video.box, patient_time_s=video.box_time_s)


def _check(person: Person) -> None:
    """Refuse what the container refuses, too."""
    if len(person.frame_times_s) < 2:
        raise InputError("expected a walking video, got a single frame")
    if person.method == "frame":
        raise InputError("expected a person who walks, found nobody and nothing that moves")


def _notes(path: Path, cine: Cine, person: Person) -> dict[str, Any]:
    return {
        "quality": assess(person, cine.info.notes).as_json(),
        "fps": round(float(cine.info.fps), 3),
        "frames": len(person.frame_times_s),
        "seconds": round(float(person.frame_times_s[-1]), 3),
        "width": cine.info.width,
        "height": cine.info.height,
        "sha256": sha256(path),
    }


def _write_sheet(path: Path, cine: Cine, person: Person, crop: CropOptions) -> None:
    sheet = contact_sheet(cine, person, margin=crop.margin)
    _, content = cv2.imencode(
        ".jpg", np.ascontiguousarray(sheet[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    )
    write_bytes(path, content.tobytes())


@functools.cache
def _networks(rcnn: str | None) -> BlazePose:
    """One pair of networks a process; several processes read videos, so one thread each."""
    cv2.setNumThreads(1)
    return BlazePose(threads=1) if rcnn is None else RcnnPeople(rcnn, threads=1)
