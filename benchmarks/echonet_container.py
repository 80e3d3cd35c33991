"""Peak memory and time of the echonet container on short and long cines.

    ./build.sh echonet
    python benchmarks/echonet_container.py [--image medvial-echonet:latest] [--runs 3]

A phantom of four beats on a scanner's screen, enlarged to 528 x 432 pixels and repeated, is written
as H.264 in MP4 and as a compressed stack of 90, 1002 (the longest of EchoNet-Dynamic) and 5000
frames, and measured by process.py in the image, with the committed demo model. Prints medians:
seconds from `docker run` to its end, and the program's own peak resident memory. Exit code 1 where
1002 frames take more than 1 GB.
"""

import argparse
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from medvial.metaimage_writer import ImageGeometry, MetaImageWriter
from medvial_training.phantoms.echo_cine import make_cine
from medvial_training.phantoms.echo_screen import on_screen

ROOT = Path(__file__).parent.parent
MODEL = ROOT / "algorithms" / "echonet" / "model"
PLACES = {"mp4": "echocardiogram-video.mp4", "mha": "images/echocardiogram/cine.mha"}
SIZE = (528, 432)  # width, height: twice the phantom's screen
FPS, BEATS_FRAMES = 50, 200  # four beats at 60 per minute
COUNTS, LONGEST, MOST_MB = (90, 1002, 5000), 1002, 1000
PROGRAM = (
    "import resource, subprocess, sys\n"
    "subprocess.run([sys.executable, 'process.py'], check=True)\n"
    "print('PEAK', resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
)


def measure(image: str, case: Path) -> tuple[float, float]:
    """Seconds and peak memory in MB of one run."""
    command = ["docker", "run", "--rm", "--network", "none", "--tmpfs", "/output:mode=1777"]
    for source, target in {case: "/input", MODEL: "/opt/ml/model"}.items():
        command += ["--volume", f"{source}:{target}:ro"]
    command += ["--entrypoint", "python", image, "-c", PROGRAM]
    start = time.perf_counter()
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - start
    peak = next(line.split()[1] for line in result.stdout.splitlines() if line.startswith("PEAK"))
    return seconds, int(peak) / 1024


def write_mp4(path: Path, frames: Iterator[NDArray[np.uint8]]) -> None:
    """Write RGB frames as H.264, one in memory at a time."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        container.mux(stream.encode())


def write_mha(path: Path, frames: Iterator[NDArray[np.uint8]], count: int) -> None:
    """Write RGB frames as a compressed stack of that many slices."""
    geometry = ImageGeometry((*SIZE, count), (0.33, 0.33, 1000 / FPS))
    with MetaImageWriter(path, geometry, channels=3, level=1) as writer:
        for pixels in frames:
            writer.write(pixels)


def repeated(screen: NDArray[np.uint8], count: int) -> Iterator[NDArray[np.uint8]]:
    """So many frames, enlarged."""
    for number in range(count):
        small = screen[number % len(screen)]
        yield np.asarray(cv2.resize(small, SIZE), dtype=np.uint8)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image", default="medvial-echonet:latest")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    cine = make_cine(1, frames=BEATS_FRAMES, fps=FPS, heart_rate_bpm=60.0, rhythm="sinus")
    screen, longest = on_screen(cine).frames, 0.0
    for form, place in PLACES.items():
        for count in COUNTS:
            with tempfile.TemporaryDirectory(prefix="echonet_container.") as folder:
                path = Path(folder) / place
                path.parent.mkdir(parents=True, exist_ok=True)
                if form == "mp4":
                    write_mp4(path, repeated(screen, count))
                else:
                    write_mha(path, repeated(screen, count), count)
                subprocess.run(["chmod", "-R", "a+rX", folder], check=True)
                runs = [measure(options.image, Path(folder)) for _ in range(options.runs)]
            seconds, peak = (statistics.median(values) for values in zip(*runs, strict=True))
            print(f"{form} {count:5d} frames: {seconds:6.1f} s, peak {peak:5.0f} MB", flush=True)
            longest = max(longest, peak if count == LONGEST else 0.0)
    print(f"{LONGEST} frames in at most {MOST_MB} MB: {'yes' if longest <= MOST_MB else 'NO'}")
    return int(longest > MOST_MB)


if __name__ == "__main__":
    raise SystemExit(main())
