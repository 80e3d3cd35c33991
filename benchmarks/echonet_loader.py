"""Clips per second for training: from step 1's memory map, against decoding the AVI per item.

    python benchmarks/echonet_loader.py [--videos 16] [--seconds 5]

Makes phantom cines of 176 frames on average in the layout of EchoNet-Dynamic, prepares them with
step 1, and draws random clips of 32 frames from both, in one process and one thread. The plain way
is what EchoNet-Dynamic's dataset does for every item: OpenCV decodes the whole video, which becomes
float32 and is normalised, and a clip is taken out of it. Ours ends with the same normalised float32
clip. It fails below 50 times.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "shared"), str(ROOT / "training")]
LEAST_RATIO = 50.0
CLIP_FRAMES, PERIOD = 32, 2
MEAN, STD = 32.5, 50.0


def main() -> int:
    """Make the videos, time both ways, print a table; exit code 1 below the limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--videos", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=5.0, help="time for each way")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="echonet_loader.") as folder:
        raw, data = Path(folder) / "raw", Path(folder) / "data"
        write_and_prepare(raw, data, options.videos)
        plain = rate(plain_clip(sorted((raw / "Videos").glob("*.avi"))), options.seconds)
        ours = rate(prepared_clip(data), options.seconds)
    print(f"{'way':<28}{'clips/s':>10}{'times':>8}")
    print(f"{'decode the AVI per item':<28}{plain:10.1f}{1:8.1f}")
    print(f"{'memory map of step 1':<28}{ours:10.1f}{ours / plain:8.1f}")
    good = ours / plain >= LEAST_RATIO
    print(f"at least {LEAST_RATIO:g} times: {'yes' if good else 'NO'}")
    return 0 if good else 1


def write_and_prepare(raw: Path, data: Path, videos: int) -> None:
    """Phantom cines as AVI, and what step 1 makes of them."""
    from medvial_training.phantoms.echonet import write_echonet
    from medvial_training.tasks.echonet.prepare import prepare

    write_echonet(raw, count=videos)
    prepare(raw, data)


def rate(clip: Callable[[int], object], seconds: float) -> float:
    """Clips per second, after one that does not count."""
    clip(0)
    start, number = time.perf_counter(), 0
    while (passed := time.perf_counter() - start) < seconds:
        number += 1
        clip(number)
    return number / passed


def plain_clip(paths: list[Path]) -> Callable[[int], object]:
    """A random clip by decoding a whole file."""
    import cv2
    import numpy as np

    rng = np.random.default_rng(0)
    cv2.setNumThreads(1)

    def clip(number: int) -> object:
        capture = cv2.VideoCapture(str(paths[number % len(paths)]))
        frames = []
        while (read := capture.read())[0]:
            frames.append(cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB))
        video = np.stack(frames).transpose(3, 0, 1, 2).astype(np.float32)  # (C, T, H, W)
        video = (video - MEAN) / STD
        short = CLIP_FRAMES * PERIOD - video.shape[1]
        if short > 0:
            video = np.pad(video, ((0, 0), (0, short), (0, 0), (0, 0)))
        start = rng.integers(video.shape[1] - (CLIP_FRAMES - 1) * PERIOD)
        return video[:, start + PERIOD * np.arange(CLIP_FRAMES)]

    return clip


def prepared_clip(data: Path) -> Callable[[int], object]:
    """A random clip of the training dataset, normalised."""
    import torch

    from medvial_training.tasks.echonet.dataset import Clips, load_config, normalise
    from medvial_training.tasks.echonet.recordings import Recordings

    torch.set_num_threads(1)
    config = load_config(data)
    clips = Clips(Recordings(data, "train"), config)

    def clip(number: int) -> object:
        sample = clips[(number // len(clips), number % len(clips))]
        return normalise(sample["clips"].float(), config)

    return clip


if __name__ == "__main__":
    raise SystemExit(main())
