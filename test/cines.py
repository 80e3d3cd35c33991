"""Tiny cines of every kind, written with the libraries that others write them with."""

from fractions import Fraction

import av
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, UltrasoundMultiFrameImageStorage

HEIGHT, WIDTH = 48, 64


def moving(count=6, height=HEIGHT, width=WIDTH, channels=3):
    """Frames (T, H, W, C): top left brightest; 100 + 7 t there, 10 + 5 t elsewhere."""
    frames = np.zeros((count, height, width, channels), np.uint8)
    for t in range(count):
        frames[t] = 10 + 5 * t
        frames[t, : height // 3, : width // 4] = 100 + 7 * t
    return frames if channels > 1 else frames[..., 0]


def write_video(path, frames, *, codec="ffv1", pix_fmt="bgr0", rate=25, pts=None, **options):
    """A video; `pts` in milliseconds for a variable frame rate."""
    rotation, aspect = options.pop("rotation", 0), options.pop("aspect", None)
    if codec == "libx264":  # mbtree gives other bytes from run to run
        options.setdefault("x264-params", "mbtree=0")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], pix_fmt
        if aspect:
            stream.codec_context.sample_aspect_ratio = Fraction(aspect)
        if rotation:
            stream.set_display_rotation(rotation)
        if pts is not None:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for number, pixels in enumerate(frames):
            form = {"uint8": "gray", "uint16": "gray16le"}[str(pixels.dtype)]
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24" if pixels.ndim == 3 else form)
            if pts is not None:
                frame.pts, frame.time_base = pts[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def region(**changes):
    item = Dataset()
    values = {
        "RegionSpatialFormat": 1,
        "RegionDataType": 1,
        "RegionFlags": 2,
        "RegionLocationMinX0": 4,
        "RegionLocationMinY0": 2,
        "RegionLocationMaxX1": 59,
        "RegionLocationMaxY1": 43,
        "PhysicalUnitsXDirection": 3,
        "PhysicalUnitsYDirection": 3,
        "PhysicalDeltaX": 0.05,
        "PhysicalDeltaY": 0.05,
    }
    for key, value in (values | changes).items():
        setattr(item, key, value)
    return item


def write_dicom(path, frames, *, encoded=None, syntax=ExplicitVRLittleEndian, regions=(), **tags):
    """A multi-frame ultrasound of `frames` (T, H, W[, 3]); `encoded` are their compressed bytes."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.SOPClassUID, dataset.SOPInstanceUID = UltrasoundMultiFrameImageStorage, "1.2.3.4"
    dataset.NumberOfFrames = len(frames)
    dataset.Rows, dataset.Columns = frames.shape[1:3]
    dataset.SamplesPerPixel = 3 if frames.ndim == 4 else 1
    dataset.PhotometricInterpretation = "RGB" if frames.ndim == 4 else "MONOCHROME2"
    if frames.ndim == 4:
        dataset.PlanarConfiguration = 0
    bits = 8 * frames.dtype.itemsize
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit, dataset.PixelRepresentation = bits - 1, 0
    dataset.FrameTime = "40"
    if regions:
        dataset.SequenceOfUltrasoundRegions = pydicom.Sequence(regions)
    for key, value in tags.items():
        if value is None:
            delattr(dataset, key)
        else:
            setattr(dataset, key, value)
    dataset.PixelData = encapsulate(encoded) if encoded else frames.tobytes()
    dataset["PixelData"].VR = "OB" if encoded or bits == 8 else "OW"
    dataset.save_as(path, enforce_file_format=True)
    return path
