"""Step 1 on a film of ten minutes, in a process of its own: prints its peak memory in MiB."""

import re
import sys
from functools import partial
from pathlib import Path

import av
import numpy as np

from medvial.gait.walking.clips import walking_crop
from medvial.video_classification.config import ClipConfig
from medvial_training.clips.store import ClipStore, Source
from medvial_training.tasks.gait.walking import read_video
from medvial_training.tasks.gait.walking.sources import WalkingVideo
from medvial_training.tasks.video.prepare import prepare

FPS, HEIGHT, WIDTH = 30, 64, 96
CONFIG = ClipConfig(resize=128, fps=30.0)


def write_long(path, seconds):
    """A bright block that goes to and fro on a grey ground; encoded as it is drawn."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=FPS, options={"preset": "ultrafast"})
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        for number in range(seconds * FPS):
            left = abs(number % 120 - 60)
            picture[:] = 90
            picture[12:52, left : left + 20] = 210
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(stream.encode())


def prepare_video(source, out):
    """All of step 1."""
    prepare(source, out, model=CONFIG, workers=1, within_video=True)
    return sum(record.count for record in ClipStore(out).records.values())


def prepare_walking(source, out):
    """What step 1 does with one video; what moves is followed."""
    read_video._networks = lambda _: None
    video = WalkingVideo("long", next(source.rglob("long.mp4")), "P", "ASD")
    read = partial(read_video.read_walker, video, walking_crop(CONFIG))
    return ClipStore(out).make([Source("long", "1", read)], 1)[0].count


if __name__ == "__main__":
    done = {"video": prepare_video, "walking": prepare_walking}[sys.argv[1]]
    frames = done(Path(sys.argv[2]), Path(sys.argv[3]))
    # Not ru_maxrss: that begins with the memory of the process which started this one.
    peak = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    assert peak
    print(frames, int(peak[1]) // 1024)
