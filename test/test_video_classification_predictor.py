"""A model folder of video classification on files of any kind."""

import dataclasses

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 the library's customary name
import torch
from cines import write_video
from safetensors.torch import save_file

from medvial.errors import InputError
from medvial.models import ModelFolder
from medvial.outputs import write_json
from medvial.video import open_cine
from medvial.video_classification.config import ClipConfig
from medvial.video_classification.learned import Learned
from medvial.video_classification.model import build_model
from medvial.video_classification.predictor import TASK, VideoPredictor, read_clip_frames
from medvial.video_classification.preprocess import resize_frame
from medvial.video_classification.sampling import thinned_indices, view_indices

CONFIG = ClipConfig(
    labels=("left", "right"),
    positive="right",
    widths=(4, 6),
    clip_s=0.5,
    clip_frames=4,
    clips=3,
    resize=24,
    crop=20,
    fps=12.5,
)


def moving(count, height=48, width=64):
    """Frames (T, H, W, 3): a bar that wanders to the right and changes its grey."""
    frames = np.full((count, height, width, 3), (20, 40, 60), np.uint8)
    for t, frame in enumerate(frames):
        frame[: height // 2, t % width : t % width + 5] = (t * 37) % 251
    return frames


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    save_file(build_model(CONFIG).state_dict(), path / "model.safetensors")
    write_json(path / "postprocess.json", Learned(temperature=0.01, threshold=0.3).as_dict())
    config = dataclasses.asdict(CONFIG)
    return ModelFolder.seal(path, task=TASK, config=config, training={"data": {"phantom": True}})


@pytest.fixture(scope="module")
def predictor(folder):
    return VideoPredictor(ModelFolder.open(folder.path, task=TASK))


def test_a_video_is_classified_as_its_clips_are(predictor, tmp_path):
    frames = moving(60)  # 2.4 s at 25 a second
    result = predictor(write_video(tmp_path / "v.avi", frames))
    kept = frames[::2]
    times_s = np.arange(30) / 12.5
    starts_s, indices = view_indices(times_s, CONFIG)
    np.testing.assert_allclose(result.classified.starts_s, starts_s)
    # a frame of 64 x 48 becomes 32 x 24, of which the middle 20 x 20 is seen
    small = np.stack([resize_frame(frame, 24)[2:22, 6:26] for frame in kept])
    clips = (small[indices].astype(np.float32) / 255 - 0.45) / 0.225
    logits = predictor.network(np.ascontiguousarray(clips.transpose(0, 4, 1, 2, 3))) / 0.01
    expected = 1 / (1 + np.exp(logits[:, ::-1] - logits))
    np.testing.assert_allclose(result.classified.clip_probabilities, expected, atol=1e-3)
    np.testing.assert_allclose(result.classified.probabilities, expected.mean(axis=0), atol=1e-3)
    assert result.label == ("right" if expected[:, 1].mean() >= 0.3 else "left")
    assert result.info.frame_count == 60
    assert result.notes == ()


def test_frames_are_those_that_step_1_stores(tmp_path):
    """Of uneven times, on a rate that does not divide the video's."""
    times_ms = np.cumsum(np.random.default_rng(2).integers(15, 70, 80))
    path = write_video(tmp_path / "v.mkv", moving(80, height=40, width=30), pts=times_ms)
    with open_cine(path) as cine:
        everything = [resize_frame(frame, 24) for frame in cine]
        exact = np.array(cine.info.frame_times_s)
    kept = thinned_indices(exact, CONFIG.fps)
    with open_cine(path) as cine:
        times_s, frames = read_clip_frames(cine, CONFIG)
    np.testing.assert_array_equal(times_s, exact[kept])
    assert sorted(frames) == np.unique(view_indices(times_s, CONFIG)[1]).tolist()
    for number, frame in frames.items():
        np.testing.assert_array_equal(frame, everything[kept[number]])


@pytest.mark.parametrize("suffix", ["mkv", "avi", "mp4"])
def test_a_sound_file_is_read_once_and_few_frames_are_kept(tmp_path, suffix):
    codec = {"mp4": {"codec": "h264", "pix_fmt": "yuv420p"}}.get(suffix, {})
    path = write_video(tmp_path / f"v.{suffix}", moving(300), **codec)
    with open_cine(path) as cine:
        reader, readings = cine._reader, []
        cine._reader = lambda step: readings.append(step) or reader(step)
        _, frames = read_clip_frames(cine, CONFIG)
    assert readings == [1]
    assert len(frames) == 12
    assert {frame.shape for frame in frames.values()} == {(24, 32, 3)}


def test_a_file_whose_times_are_not_known_is_read_twice(tmp_path, monkeypatch):
    path = write_video(tmp_path / "v.avi", moving(60))
    with open_cine(path) as cine:
        times_s, frames = read_clip_frames(cine, CONFIG)
    with open_cine(path) as cine:
        cine.info = dataclasses.replace(cine.info, frame_times_s=None)
        again_s, again = read_clip_frames(cine, CONFIG)
    np.testing.assert_array_equal(times_s, again_s)
    assert sorted(frames) == sorted(again)


def test_a_file_that_is_cut_off_is_classified_as_far_as_it_goes(predictor, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (60, 48, 64, 3), np.uint8)
    whole = write_video(tmp_path / "v.avi", noise).read_bytes()
    path = tmp_path / "cut.avi"
    path.write_bytes(whole[: len(whole) * 2 // 3])
    result = predictor(path)
    read = result.info.frame_count
    assert 20 < read < 60
    np.testing.assert_allclose(result.classified.starts_s[-1], (read - 1) / 25 - 0.5, atol=0.09)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_one_to_three_frames_are_classified(predictor, tmp_path, count):
    result = predictor(write_video(tmp_path / "v.avi", moving(count)))
    assert result.classified.clip_probabilities.shape == (1, 2)
    assert result.classified.probabilities.sum() == pytest.approx(1)
    expected = "A single frame: nothing moves" if count == 1 else "its last frame was repeated"
    assert expected in result.notes[-1]


def test_five_thousand_frames_keep_as_few_as_sixty(predictor, tmp_path):
    frames = moving(5000, height=16, width=24)[..., 0]
    sitk.WriteImage(sitk.GetImageFromArray(frames), str(tmp_path / "stack.mha"))
    with open_cine(tmp_path / "stack.mha", fps=25) as cine:
        times_s, kept = read_clip_frames(cine, CONFIG)
    assert len(times_s) == 2500
    assert len(kept) == 12
    result = predictor(tmp_path / "stack.mha", fps=25)
    assert result.classified.starts_s[-1] == pytest.approx(199.5, abs=0.1)


def test_a_grey_stack_with_the_rate_given(predictor, tmp_path):
    image = sitk.GetImageFromArray(moving(30)[..., 0])
    sitk.WriteImage(image, str(tmp_path / "stack.mha"))
    result = predictor(tmp_path / "stack.mha", fps=10)
    assert result.info.fps == 10
    assert result.classified.starts_s[-1] == pytest.approx(2.5)
    seen = []
    predictor(tmp_path / "stack.mha", fps=10, progress=lambda *p: seen.append(p))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_a_model_of_another_task_and_no_video_are_refused(folder, predictor, tmp_path):
    with pytest.raises(InputError, match="a model of echonet"):
        ModelFolder.open(folder.path, task="echonet")
    (tmp_path / "v.mp4").write_bytes(b"nothing of the kind" * 50)
    with pytest.raises(InputError, match="expected a video"):
        predictor(tmp_path / "v.mp4")
