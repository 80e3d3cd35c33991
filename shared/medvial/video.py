"""Cines of any kind: video files, image stacks over time, multi-frame DICOM.

The kind is told by what is in the file; a wrong extension does no harm.
"""

import importlib.util
from pathlib import Path

from medvial.cine import FPS_RANGE, Cine, CineInfo, plausible_fps
from medvial.errors import InputError

__all__ = ["CINE_SUFFIXES", "Cine", "CineInfo", "open_cine"]

VIDEO_SUFFIXES = (".avi", ".mp4", ".mov", ".m4v", ".mkv", ".webm", ".mpg", ".wmv", ".gif")
CINE_SUFFIXES = (*VIDEO_SUFFIXES, ".mha", ".tif", ".tiff", ".dcm", ".dicom")
_DICOM_SUFFIXES = (".dcm", ".dicom", "")

_HEAD_BYTES = 512
_IMAGES = {b"\x89PNG": "PNG", b"\xff\xd8\xff": "JPEG", b"BM": "BMP"}
_OTHERS = {
    b"PK\x03\x04": "a ZIP archive (is it packed or encrypted? unpack it first)",
    b"7z\xbc\xaf": "a 7z archive (unpack it first)",
    b"%PDF": "a PDF document",
    b"\x1f\x8b": "a gzip file (unpack it first)",
    b"\x89HDF": "an HDF5 file (export it as DICOM, .mp4 or .mha)",
}
_META_KEYS = (b"ObjectType", b"NDims", b"Comment", b"ID", b"Name", b"ParentID", b"ObjectSubType")


def open_cine(path: Path, *, fps: float | None = None) -> Cine:
    """Open a cine: reads what describes it and its first frame.

    Reads video files that FFmpeg knows (AVI, MP4, MOV, MKV, WebM, …), MetaImage stacks
    (`.mha`, one slice a frame), TIFF stacks, and multi-frame DICOM.

    Args:
        path: The file.
        fps: Frames per second, instead of what the file says.

    Returns:
        The cine, a context manager and iterable as often as needed.

    Raises:
        InputError: There is no cine in the file that can be read; the message says why.
    """
    path = Path(path)
    if fps is not None and plausible_fps(fps) is None:
        raise InputError(f"Expected fps from {FPS_RANGE[0]:g} to {FPS_RANGE[1]:g}, got {fps}.")
    head = _read_head(path)
    for magic, name in _IMAGES.items():
        if head.startswith(magic):
            raise InputError(f"{path}: expected a cine, got a single {name} picture.")
    for magic, name in _OTHERS.items():
        if head.startswith(magic):
            raise InputError(f"{path}: expected a cine, got {name}.")
    try:
        return _open(path, head, fps)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}.") from error


def _open(path: Path, head: bytes, fps: float | None) -> Cine:
    if head[128:132] == b"DICM" or (path.suffix.lower() in _DICOM_SUFFIXES and _bare_dicom(head)):
        _need("pydicom", path, "DICOM files")
        from medvial.dicom_cine import open_dicom

        return open_dicom(path, fps)
    if head.split(b"=")[0].strip() in _META_KEYS and b"=" in head:
        from medvial.stack_cine import open_mha

        return open_mha(path, fps)
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        from medvial.stack_cine import open_tiff

        return open_tiff(path, fps)
    if importlib.util.find_spec("av") is not None:
        from medvial.av_cine import open_video

        return open_video(path, fps)
    from medvial.opencv_cine import open_video as open_video_by_opencv

    return open_video_by_opencv(path, fps)


def _read_head(path: Path) -> bytes:
    if not path.is_file():
        what = "a folder" if path.is_dir() else "nothing"
        raise InputError(f"Expected a video, image stack or DICOM file at {path}, found {what}.")
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}.") from error
    if not head:
        raise InputError(f"{path}: expected a cine, got an empty file.")
    return head


def _bare_dicom(head: bytes) -> bool:
    """Whether it begins with a data element of group 0002 or 0008: DICOM without its preamble."""
    return head[:4] in (b"\x02\0\0\0", b"\x02\0\1\0", b"\x02\0\x10\0") or (
        head[:2] == b"\x08\0" and head[3:4] == b"\0"
    )


def _need(module: str, path: Path, what: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise InputError(
            f"{path}: expected the package {module} to read {what}, it is not installed. "
            f"Install {module}."
        )
