"""What the platform makes of image outputs: panimg, its importer."""

from dataclasses import dataclass
from pathlib import Path

from medvial_rehearsal.client.environment import run_script
from medvial_rehearsal.gates import GateFailure


@dataclass(frozen=True)
class ImportedImage:
    """An image as the platform stores it."""

    size: tuple[int, ...]
    """(width, height) or (width, height, depth)."""
    color_space: str
    segments: tuple[int, ...] | None
    """The voxel values, of a Segmentation needed; None where panimg cannot list them."""


def panimg_check(path: Path) -> ImportedImage:
    """Import an image output's folder as the platform does after a job.

    Raises:
        GateFailure: It is not exactly one image, or panimg refuses it; in the platform's words.
        GateNotRun: The client's environment cannot be made here.
    """
    result = run_script("panimg_check", str(path))
    images = result["images"]
    if not images:
        reasons = "; ".join(f"{name}: {' '.join(why)}" for name, why in result["errors"].items())
        raise GateFailure(
            f"No output images could be imported from '{path.name}': {reasons or 'no files'}",
            "Write one .mha or .tif.",
        )
    if len(images) > 1:
        raise GateFailure(
            f"Only 1 image should be produced in '{path.name}', got {len(images)}",
            "Write one image for each socket.",
        )
    (image,) = images
    segments = image["segments"]
    return ImportedImage(
        tuple(image["size"]),
        image["color_space"],
        None if segments is None else tuple(segments),
    )
