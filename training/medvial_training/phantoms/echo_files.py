"""Phantom cines as files: AVI, MP4, MetaImage, DICOM."""

import io
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    UltrasoundMultiFrameImageStorage,
    generate_uid,
)

from medvial.errors import InputError
from medvial.metaimage_writer import ImageGeometry, MetaImageWriter

Box = tuple[int, int, int, int]
TISSUE, ECG = 0x0001, 0x000A  # RegionDataType, PS3.3 C.8.5.5.1.2
SPATIAL_2D, SPATIAL_WAVE = 0x0001, 0x0004  # RegionSpatialFormat, C.8.5.5.1.1
CENTIMETRES, SECONDS = 0x0003, 0x0004  # PhysicalUnits, C.8.5.5.1.15


def write_avi(path: Path, frames: NDArray[np.uint8], fps: float, *, quality: int = 90) -> None:
    """Write Motion JPEG in AVI, as EchoNet-Dynamic's videos are.

    Args:
        path: Ends with .avi.
        frames: (T, H, W) grey or (T, H, W, 3) RGB.
        fps: Frames per second; OpenCV's writer rounds them to whole ones.
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
        writer.write(np.ascontiguousarray(_rgb(frame)[..., ::-1]))
    writer.release()
    part.replace(path)


def write_mp4(path: Path, frames: NDArray[np.uint8], fps: float) -> None:
    """Write H.264 in MP4.

    Args:
        path: Ends with .mp4.
        frames: (T, H, W) grey or (T, H, W, 3) RGB; even sides.
        fps: Frames per second.

    Raises:
        InputError: A side is odd, which H.264 with shared colour cannot store.
    """
    height, width = frames.shape[1:3]
    if height % 2 or width % 2:
        raise InputError(f"Expected even sides for MP4, got {width} x {height} (width x height).")
    part = path.with_name(f"{path.stem}.part.mp4")
    with av.open(str(part), "w") as container:
        stream: Any = container.add_stream("libx264", Fraction(fps).limit_denominator(1000))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": "18"}
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(_rgb(frame), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    part.replace(path)


def write_mha(path: Path, frames: NDArray[np.uint8], fps: float, spacing_cm: float | None) -> None:
    """Write a MetaImage stack, one slice a frame; its z spacing is the frame time in ms.

    Args:
        path: Ends with .mha.
        frames: (T, H, W) grey or (T, H, W, 3) RGB.
        fps: Frames per second.
        spacing_cm: Side of a pixel; None writes 1 x 1 mm, which readers take for not calibrated.
    """
    count, height, width = frames.shape[:3]
    side = 10 * spacing_cm if spacing_cm else 1.0
    geometry = ImageGeometry((width, height, count), (side, side, 1000 / fps))
    channels = 1 if frames.ndim == 3 else 3
    with MetaImageWriter(path, geometry, channels=channels) as stack:
        for frame in frames:
            stack.write(frame)


def write_dicom(
    path: Path,
    frames: NDArray[np.uint8],
    fps: float,
    *,
    spacing_cm: float | None = None,
    region: Box | None = None,
    ecg: Box | None = None,
    heart_rate_bpm: float | None = None,
    compression: Literal["none", "jpeg"] = "jpeg",
) -> None:
    """Write an ultrasound multi-frame DICOM file with its regions.

    Args:
        path: The file.
        frames: (T, H, W) grey, stored as MONOCHROME2, or (T, H, W, 3) RGB, stored as RGB, or as
            YBR_FULL_422 in JPEG.
        fps: Frames per second; stored as frame time.
        spacing_cm: Side of a pixel of the ultrasound image; None writes no regions.
        region: Its first and last column and row (x0, y0, x1, y1), inclusive; all if None.
        ecg: The same of an ECG.
        heart_rate_bpm: Stored if given.
        compression: "jpeg" is JPEG baseline.
    """
    count, height, width = frames.shape[:3]
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = (
        UltrasoundMultiFrameImageStorage
    )
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid(
        entropy_srcs=[path.name, str(frames.shape), str(frames.sum())]
    )
    dataset.Modality, dataset.PatientName, dataset.PatientID = "US", "PHANTOM", "PHANTOM"
    dataset.ImageType = ["DERIVED", "PRIMARY"]
    dataset.Rows, dataset.Columns, dataset.NumberOfFrames = height, width, count
    dataset.FrameTime, dataset.CineRate = f"{1000 / fps:.6f}", round(fps)
    dataset.FrameIncrementPointer = 0x00181063  # FrameTime
    if heart_rate_bpm is not None:
        dataset.HeartRate = round(heart_rate_bpm)
    if spacing_cm is not None:
        boxes = [_region(region or (0, 0, width - 1, height - 1), spacing_cm)]
        dataset.SequenceOfUltrasoundRegions = boxes + ([_ecg(ecg, count / fps)] if ecg else [])
    _add_pixels(dataset, frames, compression)
    part = path.with_name(path.name + ".part")
    dataset.save_as(part, enforce_file_format=True)
    part.replace(path)


def _box(box: Box, data_type: int, spatial_format: int) -> Dataset:
    item = Dataset()
    item.RegionSpatialFormat, item.RegionDataType, item.RegionFlags = spatial_format, data_type, 0
    item.RegionLocationMinX0, item.RegionLocationMinY0 = box[:2]
    item.RegionLocationMaxX1, item.RegionLocationMaxY1 = box[2:]
    return item


def _region(box: Box, spacing_cm: float) -> Dataset:
    item = _box(box, TISSUE, SPATIAL_2D)
    item.PhysicalUnitsXDirection = item.PhysicalUnitsYDirection = CENTIMETRES
    item.PhysicalDeltaX = item.PhysicalDeltaY = float(spacing_cm)
    return item


def _ecg(box: Box, duration_s: float) -> Dataset:
    item = _box(box, ECG, SPATIAL_WAVE)
    item.PhysicalUnitsXDirection, item.PhysicalUnitsYDirection = SECONDS, 0
    item.PhysicalDeltaX, item.PhysicalDeltaY = duration_s / (box[2] - box[0] + 1), 0.0
    return item


def _add_pixels(dataset: Dataset, frames: NDArray[np.uint8], compression: str) -> None:
    colour = frames.ndim == 4
    dataset.SamplesPerPixel = 3 if colour else 1
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.PixelRepresentation = 0
    if colour:
        dataset.PlanarConfiguration = 0
    if compression == "none":
        dataset.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        content = frames.tobytes()
        dataset.PixelData = content + b"\0" * (len(content) % 2)
        return
    dataset.PhotometricInterpretation = "YBR_FULL_422" if colour else "MONOCHROME2"
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset.LossyImageCompression, dataset.LossyImageCompressionMethod = "01", "ISO_10918_1"
    dataset.PixelData = encapsulate([_jpeg(frame) for frame in frames])


def _jpeg(frame: NDArray[np.uint8], quality: int = 92) -> bytes:
    content = io.BytesIO()
    options = {"subsampling": "4:2:2"} if frame.ndim == 3 else {}
    Image.fromarray(frame).save(content, "JPEG", quality=quality, **options)
    return content.getvalue()


def _rgb(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if frame.ndim == 3:
        return np.ascontiguousarray(frame)
    return np.ascontiguousarray(np.broadcast_to(frame[..., None], (*frame.shape, 3)))
