"""Training clips per second: from step 1's memory map, against decoding the MP4 per item.

    python benchmarks/clip_loader.py [--videos 8] [--seconds 2] [--rounds 5]

Makes phantom walking videos (H.264, 640 x 360, 4 s: as many pixels as the person crops of 512 x 512
that the source system trains on), keeps them as training does (shorter side 128 pixels), and draws
random clips of 1 s as 16 frames of 128 x 128 from both, in one process and one thread. The plain
way is what pytorchvideo's dataset does for every item: PyAV seeks to the keyframe before the clip
and decodes up to its end; the 16 frames are resized. Both end as batches of 8 clips, uint8: what is
left, normalisation, is the same for both and the device's work. Seconds are those of the CPU, which
other programs do not change; the two ways take turns, and medians of the rounds count. It fails
below 20 times.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "shared"), str(ROOT / "training")]

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch.utils.data import default_collate  # noqa: E402

from medvial.video_classification.config import ClipConfig  # noqa: E402
from medvial.video_classification.preprocess import resize_frame  # noqa: E402
from medvial_training.clips.dataset import Item, TrainClips  # noqa: E402
from medvial_training.clips.store import ClipStore, Frames, Source  # noqa: E402

LEAST_RATIO = 20.0
BATCH = 8
CONFIG = ClipConfig(labels=("ASD", "non-ASD"), positive="ASD")
HEIGHT, WIDTH, SECONDS = 360, 640, 4.0


def main() -> int:
    """Make the videos, time both ways, print a table; exit code 1 below the limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--videos", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=2.0, help="time for each way and round")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="clip_loader.") as folder:
        paths = write_videos(Path(folder), options.videos)
        store, items = keep(paths, Path(folder) / "store")
        decoded = Decoded(paths, CONFIG.resize)
        kept = TrainClips(store, items, CONFIG, seed=0)
        ways = {"decode the MP4 per item": decoded, "memory map of step 1": kept}
        rates: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(options.rounds):
            for name, clips in ways.items():
                rates[name].append(rate(partial(batch, clips), options.seconds))
    plain, ours = (statistics.median(values) for values in rates.values())
    print(f"{'way':<28}{'clips/CPU s':>12}{'times':>8}")
    for name, value in zip(ways, (plain, ours), strict=True):
        print(f"{name:<28}{value:12.1f}{value / plain:8.1f}")
    good = ours / plain >= LEAST_RATIO
    print(f"at least {LEAST_RATIO:g} times: {'yes' if good else 'NO'}")
    return 0 if good else 1


def write_videos(folder: Path, count: int) -> list[Path]:
    """Phantom walking videos."""
    from medvial_training.phantoms.gait_walking_set import write_walking

    write_walking(
        folder / "raw",
        count,
        height=HEIGHT,
        width=WIDTH,
        clip_s=SECONDS,
        least_videos=1,
        most_videos=1,
    )
    return sorted((folder / "raw").rglob("*.mp4"))


def keep(paths: list[Path], folder: Path) -> tuple[ClipStore, list[Item]]:
    """What training reads: all frames of the videos at the size of the configuration."""
    store = ClipStore(folder)
    store.make([Source(path.stem, "1", partial(read, path)) for path in paths])
    return store, [Item(path.stem, number % 2) for number, path in enumerate(paths)]


def read(path: Path) -> Frames:
    """All frames of a video, their shorter side at the size of the configuration."""
    import av

    frames, times_s = [], []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            frames.append(resize_frame(frame.to_ndarray(format="rgb24"), CONFIG.resize))
            times_s.append(float(frame.time))
    return Frames(np.stack(frames), np.array(times_s))


@dataclass
class Decoded:
    """A dataset like TrainClips that decodes what it needs of a file for every item."""

    paths: list[Path]
    resize: int
    copies: int = 1

    def __len__(self) -> int:
        return len(self.paths) * self.copies

    def __getitem__(self, key: tuple[int, int]) -> dict[str, object]:
        import av

        number = key[1] % len(self.paths)
        rng = np.random.default_rng(key)
        with av.open(str(self.paths[number])) as container:
            stream = container.streams.video[0]
            stream.thread_type = "NONE"
            length = float(stream.duration * stream.time_base)
            start = rng.uniform(0, max(0.0, length - CONFIG.clip_s))
            container.seek(int(start / stream.time_base), stream=stream)
            frames = []
            for frame in container.decode(stream):
                if frame.time > start + CONFIG.clip_s:
                    break
                if frame.time >= start:
                    frames.append(frame)
            chosen = np.linspace(0, len(frames) - 1, CONFIG.clip_frames).astype(int)
            pixels = [frames[i].to_ndarray(format="rgb24") for i in chosen]
        squares = [self._square(frame) for frame in pixels]
        clip = torch.from_numpy(np.stack(squares))
        return {"clip": clip, "label": number % 2, "item": number}

    def _square(self, frame: np.ndarray) -> np.ndarray:
        side = min(frame.shape[:2])
        x = (frame.shape[1] - side) // 2
        return resize_frame(np.ascontiguousarray(frame[:side, x : x + side]), self.resize)


def batch(clips: Decoded | TrainClips, number: int) -> torch.Tensor:
    """The next batch as it goes to the device, (N, T, resize, resize, 3) uint8."""
    first = number * BATCH
    keys = [(i // len(clips), i % len(clips)) for i in range(first, first + BATCH)]
    return default_collate([clips[key] for key in keys])["clip"]


def rate(make: Callable[[int], object], seconds: float) -> float:
    """Clips per second of CPU time, after a batch that does not count."""
    make(0)
    start, number = time.process_time(), 0
    while (passed := time.process_time() - start) < seconds:
        number += 1
        make(number)
    return number * BATCH / passed


if __name__ == "__main__":
    raise SystemExit(main())
