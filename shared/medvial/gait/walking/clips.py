"""Clips of a walking video are cut out of square pictures of the patient, made alike everywhere."""

import numpy as np

from medvial.errors import InputError
from medvial.gait.blazepose import Image
from medvial.gait.crop import CropOptions
from medvial.video_classification.config import ClipConfig


def walking_crop(config: ClipConfig) -> CropOptions:
    """How the patient is cut out for a network: in step 1 and in the container alike.

    One size for the whole video, so that a stride is as long in its first picture as in its last.

    Raises:
        InputError: The configuration names no rate: pictures of a person need one.
    """
    if config.fps <= 0:
        raise InputError(
            f"Expected walking.fps above 0, got {config.fps:g}: pictures of the patient are cut "
            "out at an even rate, whatever the video's."
        )
    return CropOptions(fps=config.fps, size_px=config.resize)


def facing_right(pictures: Image, direction: str) -> Image:
    """Pictures of a walk (..., H, W, 3), mirrored where it goes to the left.

    A walk to the left is a walk to the right, seen in a mirror: a network that sees one kind learns
    from half as many patients what it would need both for.

    Args:
        pictures: One crop, or several.
        direction: Of the walk, `PersonQuality.direction`; one that is neither left nor right
            stays as it is.
    """
    return np.ascontiguousarray(pictures[..., ::-1, :]) if direction == "left" else pictures
