"""The container's test cases: a small phantom for each form that it takes."""

import logging
import shutil
from pathlib import Path

from medvial.metaimage_writer import ImageGeometry, MetaImageWriter
from medvial.outputs import write_json
from medvial_training.phantoms.gait_files import write_openpose_zip, write_video
from medvial_training.phantoms.gait_openpose import AgilityPhantom, make_leg_agility
from medvial_training.phantoms.gait_video import WalkingPhantom, make_walker

log = logging.getLogger(__name__)

SEED = 20_260
WALKING_VIDEO = Path("walking-video.mp4")
WALKING_STACK = Path("images/walking")
AGILITY_VIDEO = Path("leg-agility-video.mp4")
AGILITY_ZIP = Path("leg-agility-openpose.zip")
FRAME_RATE = Path("frames-per-second.json")


def write_missing_test_cases(test: Path) -> None:
    """Write the inputs that are not there, each a folder of the test folder.

    test/ is a walking video with somebody else in the picture; test/stack a short walk as an image
    stack; test/leg-agility OpenPose's files of both legs; test/leg-agility-one-leg those of one
    leg with their frame rate; test/leg-agility-video a video.

    Args:
        test: The test folder of the algorithm.
    """
    _walking_video(test / "input")
    _walking_stack(test / "stack" / "input")
    _agility_zip(test / "leg-agility" / "input", make_leg_agility(SEED, 1, 2))
    one_leg = make_leg_agility(SEED + 1, None, 0, fps=25.0, second_person=False)
    _agility_zip(test / "leg-agility-one-leg" / "input", one_leg, tell_rate=True)
    _agility_video(test / "leg-agility-video" / "input")


def _walking_video(folder: Path) -> None:
    if (folder / WALKING_VIDEO).is_file():
        return
    walk = make_walker(SEED, asd=True, clip_s=3.0, bystander=True)
    write_video(_made(folder) / WALKING_VIDEO, walk.frames, walk.fps, walk.frames.shape[1:3])


def _walking_stack(folder: Path) -> None:
    if (folder / WALKING_STACK).is_dir():
        return
    walk = make_walker(SEED + 1, asd=False, height=108, width=192, fps=10.0, bystander=False)
    _write_stack(_made(folder / WALKING_STACK) / "walk.mha", walk)


def _agility_zip(folder: Path, phantom: AgilityPhantom, *, tell_rate: bool = False) -> None:
    if (folder / AGILITY_ZIP).is_file():
        return
    write_openpose_zip(_made(folder) / AGILITY_ZIP, "phantom", phantom.people)
    if tell_rate:
        write_json(folder / FRAME_RATE, phantom.fps)


def _agility_video(folder: Path) -> None:
    if (folder / AGILITY_VIDEO).is_file():
        return
    phantom = make_leg_agility(SEED + 2, 0, 2, height=320, width=180, second_person=False)
    write_video(_made(folder) / AGILITY_VIDEO, phantom.film(), phantom.fps, phantom.shape)


def _write_stack(path: Path, walk: WalkingPhantom) -> None:
    """One slice a frame in colour; the spacing of the slices is milliseconds, as that of cines."""
    count, height, width, channels = walk.frames.shape
    geometry = ImageGeometry((width, height, count), (1.0, 1.0, 1000 / walk.fps))
    with MetaImageWriter(path, geometry, channels=channels) as writer:
        for frame in walk.frames:
            writer.write(frame)


def _made(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    log.info("Test case: %s", folder)
    return folder
