"""Step 3 and the container give a video the same ejection fraction."""

from pathlib import Path

import numpy as np
import pytest
from cines import write_video

from medvial.echonet.networks import EchoNetworks
from medvial.echonet.postprocess import POSTPROCESS, Learned
from medvial.models import ModelFolder
from medvial.outputs import read_json
from medvial.video import open_cine
from medvial_rehearsal.project import algorithm_class
from medvial_training.phantoms.echonet import write_echonet
from medvial_training.tasks.echonet.measure import measure
from medvial_training.tasks.echonet.prepare import prepare
from medvial_training.tasks.echonet.recordings import Recordings

ALGORITHM = Path(__file__).parent.parent / "algorithms" / "echonet"


def in_container(video, folder):
    """The container's outputs for a video, of any format, in the place of the MP4."""
    (folder / "input").mkdir(parents=True)
    (folder / "input" / "echocardiogram-video.mp4").symlink_to(video)
    algorithm_class(ALGORITHM)(
        input_path=folder / "input",
        output_path=folder / "output",
        model_path=ALGORITHM / "model",
    ).process()
    report = read_json(folder / "output" / "echocardiogram-report.json")
    return read_json(folder / "output" / "ejection-fraction.json"), report


def with_uneven_times(video, target):
    """Leave out every other frame of the video's second half: one heart, two frame rates."""
    with open_cine(video) as cine:
        frames, times_s = np.stack(list(cine)), np.array(cine.info.frame_times_s)
    half = len(frames) // 2
    kept = [*range(half), *range(half, len(frames), 2)]
    codec = {".mkv": "ffv1", ".mp4": "mpeg4"}[target.suffix]
    form = {".mkv": "bgr0", ".mp4": "yuv420p"}[target.suffix]
    pts = np.rint(times_s[kept] * 1000).astype(int).tolist()
    write_video(target, frames[kept], codec=codec, pix_fmt=form, pts=pts)
    video.unlink()


@pytest.mark.parametrize("suffix", [".avi", ".mkv", ".mp4"])
def test_a_video_has_one_ejection_fraction(tmp_path, suffix):
    write_echonet(tmp_path / "raw", count=3, seed=3, mean_frames=60)
    if suffix != ".avi":
        for path in sorted((tmp_path / "raw" / "Videos").iterdir()):
            with_uneven_times(path, path.with_suffix(suffix))
    prepare(tmp_path / "raw", tmp_path / "data", workers=1)
    model = ModelFolder.open(ALGORITHM / "model", task="echonet")
    networks = EchoNetworks.load(model)
    learned = Learned.from_dict(model.read_json(POSTPROCESS))
    compared = 0
    for split in ("train", "valid", "test"):
        recordings = Recordings(tmp_path / "data", split)
        for recording in recordings.all:
            assert (recording.times_s is None) == (suffix == ".avi")
            measured, _ = measure(networks, learned, recordings, recording)
            video = tmp_path / "raw" / "Videos" / f"{recording.video}{suffix}"
            value, report = in_container(video, tmp_path / recording.video)
            assert value == pytest.approx(measured.result, abs=0.006)  # rounded to 0.01
            assert [beat["end_systole_frame"] - 1 for beat in report["beats"]] == [
                result.beat.es for result in measured.analysis.beats
            ]
            compared += 1
    assert compared == 3  # of the .avi one at another rate than 50 frames per second
