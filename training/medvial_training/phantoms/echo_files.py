"""Phantom cines as files: AVI, MP4, MetaImage, DICOM."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from medvial.errors import InputError


def write_avi(path: Path, frames: NDArray[np.uint8], fps: float, *, quality: int = 90) -> None:
    """Write Motion JPEG in AVI, as EchoNet-Dynamic's videos are.

    Args:
        path: Ends with .avi.
        frames: (T, H, W) grey or (T, H, W, 3) RGB.
        fps: Frames per second.
        quality: Of the JPEG frames, 0 to 100.

    Raises:
        InputError: The file cannot be written.
    """
    height, width = frames.shape[1:3]
    part = path.with_name(f"{path.stem}.part.avi")
    writer = cv2.VideoWriter(
        str(part), cv2.CAP_OPENCV_MJPEG, cv2.VideoWriter.fourcc(*"MJPG"), fps, (width, height)
    )
    if not writer.isOpened():
        raise InputError(f"Expected to write {path}. Check the folder's permissions.")
    writer.set(cv2.VIDEOWRITER_PROP_QUALITY, quality)
    for frame in frames:
        writer.write(_bgr(frame))
    writer.release()
    part.replace(path)


def _bgr(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if frame.ndim == 2:
        return np.ascontiguousarray(np.broadcast_to(frame[..., None], (*frame.shape, 3)))
    return np.ascontiguousarray(frame[..., ::-1])
