"""Peak memory and time of the cldetection container on short and long stacks.

    python benchmarks/container.py [--image medvial-cldetection:latest] [--runs 3]

Phantom films of the challenge's size are written as compressed stacks of 2, 6 and 60 slices and
predicted by process.py in the image, with the committed demo model. Prints medians: seconds from
`docker run` to its end, the program's own peak resident memory, and the ratio of 60 to 6 slices.
"""

import argparse
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from medvial_training.phantoms.cldetection import write_phantoms

ROOT = Path(__file__).parent.parent
MODEL = ROOT / "algorithms" / "cldetection" / "model"
PROGRAM = (
    "import resource, subprocess, sys\n"
    "subprocess.run([sys.executable, 'process.py'], check=True)\n"
    "print('PEAK', resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
)


def measure(image: str, stack: Path) -> tuple[float, float]:
    """Seconds and peak memory in MB of one run."""
    command = ["docker", "run", "--rm", "--network", "none", "--tmpfs", "/output:mode=1777"]
    mounts = {stack.parent: "/input/images/lateral-dental-x-rays", MODEL: "/opt/ml/model"}
    for source, target in mounts.items():
        command += ["--volume", f"{source}:{target}:ro"]
    command += ["--entrypoint", "python", image, "-c", PROGRAM]
    start = time.perf_counter()
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - start
    peak = next(line.split()[1] for line in result.stdout.splitlines() if line.startswith("PEAK"))
    return seconds, int(peak) / 1024


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image", default="medvial-cldetection:latest")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    peaks = {}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        stacks = {}
        for count in (2, 6, 60):
            write_phantoms(Path(folder) / str(count) / "raw", count=count)
            stacks[count] = Path(folder) / str(count) / "images" / "stack.mha"
            stacks[count].parent.mkdir()
            (Path(folder) / str(count) / "raw" / "train_stack.mha").rename(stacks[count])
        for count, stack in stacks.items():
            runs = [measure(options.image, stack) for _ in range(options.runs)]
            seconds, peaks[count] = (statistics.median(v) for v in zip(*runs, strict=True))
            print(f"{count:3d} slices: {seconds:6.1f} s, peak {peaks[count]:6.0f} MB", flush=True)
    print(f"peak memory, 60 slices to 6: {peaks[60] / peaks[6]:.3f}")


if __name__ == "__main__":
    main()
