"""Speed and memory of reading a cine and bringing it to the networks' frames.

    python benchmarks/cine_memory.py [--height 480] [--width 640] [--counts 500 1002 5000]

Writes cines of 500, 1002 and 5000 frames (a flickering sector) in four forms to the temporary
folder. Every run is a fresh process; peak resident memory includes Python and all imports. Fails
where 1002 frames take more than 1 GB, or where the memory without the 112 x 112 frames that are
the result (12.5 kB each) grows by more than a tenth from the smallest count.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "shared"))
FORMS = {"mp4": ("libx264", "yuv420p"), "avi": ("mjpeg", "yuvj420p"), "mha": None, "dcm": None}
MOST_MB, MOST_GROWTH = 1000, 1.1
KEPT_MB = 112 * 112 / 2**20  # of a prepared frame


def main() -> int:
    """Write, read, print a table; exit code 1 beyond the limits."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--counts", type=int, nargs="+", default=[500, 1002, 5000])
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        print(json.dumps(read(options.read)))
        return 0
    good = True
    print(
        f"{'form':<6}{'frames':>8}{'read f/s':>10}{'prepared f/s':>14}{'peak MB':>9}{'growth':>8}"
    )
    for form in FORMS:
        first = None
        for count in options.counts:
            with tempfile.TemporaryDirectory(prefix="cine_memory.") as folder:
                path = Path(folder) / f"cine.{form}"
                write(path, count, options.height, options.width)
                command = [sys.executable, __file__, "--read", str(path)]
                run = subprocess.run(command, capture_output=True, text=True, check=True)
            result = json.loads(run.stdout)
            beyond_mb = result["peak_mb"] - count * KEPT_MB
            first = first or beyond_mb
            growth = beyond_mb / first
            print(
                f"{form:<6}{count:8}{count / result['read_s']:10.0f}"
                f"{count / result['prepare_s']:14.0f}{result['peak_mb']:9.0f}{growth:8.2f}"
            )
            good = good and growth <= MOST_GROWTH and (count > 1002 or result["peak_mb"] <= MOST_MB)
    print(f"at most {MOST_MB} MB for 1002, growth of {MOST_GROWTH}: {'yes' if good else 'NO'}")
    return 0 if good else 1


def read(path: Path) -> dict[str, float]:
    """Seconds to read all frames, and to prepare them; peak memory in MB."""
    from medvial.echonet.config import Config
    from medvial.echonet.preprocess import preprocess
    from medvial.video import open_cine

    start = time.perf_counter()
    with open_cine(path, fps=50) as cine:
        count = sum(1 for _ in cine)
        read_s = time.perf_counter() - start
        start = time.perf_counter()
        frames, _, _, sector = preprocess(cine, Config())
        prepare_s = time.perf_counter() - start
    assert sector.found
    assert len(frames) == count
    # Not getrusage: its peak is that of the parent, which wrote the file, where that was larger.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak_mb = int(status.split("VmHWM:")[1].split()[0]) / 1024
    return {"read_s": read_s, "prepare_s": prepare_s, "peak_mb": peak_mb}


def write(path: Path, count: int, height: int, width: int) -> None:
    """A cine of a sector whose speckle repeats every 25 frames."""
    import numpy as np

    rng = np.random.default_rng(1)
    y, x = np.mgrid[:height, :width]
    angle = np.degrees(np.arctan2(x - width / 2, y - 10))
    inside = (np.abs(angle) < 38) & (np.hypot(x - width / 2, y - 10) < 0.9 * height)
    frames = [
        np.where(inside, rng.integers(0, 120, inside.shape), 0).astype(np.uint8) for _ in range(25)
    ]
    {"mp4": write_video, "avi": write_video, "mha": write_stack, "dcm": write_dicom}[
        path.suffix[1:]
    ](path, frames, count)


def write_video(path, frames, count):
    """As a video file."""
    import av

    codec, pix_fmt = FORMS[path.suffix[1:]]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=50, options={"preset": "ultrafast"})
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape, pix_fmt
        for number in range(count):
            pixels = frames[number % len(frames)]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="gray")))
        container.mux(stream.encode())


def write_stack(path, frames, count):
    """As a compressed MetaImage."""
    from medvial.metaimage_writer import ImageGeometry, MetaImageWriter

    height, width = frames[0].shape
    with MetaImageWriter(path, ImageGeometry((width, height, count)), level=1) as stack:
        for number in range(count):
            stack.write(frames[number % len(frames)])


def write_dicom(path, frames, count):
    """As JPEG-compressed multi-frame DICOM."""
    import cv2
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEGBaseline8Bit, UltrasoundMultiFrameImageStorage

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset.SOPClassUID, dataset.SOPInstanceUID = UltrasoundMultiFrameImageStorage, "1.2.3.4"
    dataset.NumberOfFrames, (dataset.Rows, dataset.Columns) = count, frames[0].shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    encoded = [cv2.imencode(".jpg", frame)[1].tobytes() for frame in frames]
    dataset.PixelData = encapsulate([encoded[i % len(encoded)] for i in range(count)])
    dataset["PixelData"].VR = "OB"
    dataset.save_as(path, enforce_file_format=True)


if __name__ == "__main__":
    sys.exit(main())
