"""What the platform makes of an image output: the import by panimg, as after a job.

Runs in the client's own environment (Python 3.12), as a script: the output's folder is its one
argument; writes JSON to standard output.
"""

import json
import logging
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from panimg import convert
from panimg.image_builders.metaio_mhd_mha import image_builder_mhd
from panimg.image_builders.tiff import image_builder_tiff


def main() -> None:
    """Check the folder."""
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as work:
        print(json.dumps(check(Path(sys.argv[1]), Path(work))))


def check(folder: Path, work: Path) -> dict[str, Any]:
    """Import a copy of the folder; the platform takes .mha and .tif, and makes no thumbnails."""
    shutil.copytree(folder, work / "in")
    result = convert(
        input_directory=work / "in",
        output_directory=work / "out",
        builders=[image_builder_mhd, image_builder_tiff],
        post_processors=[],
    )
    errors = {
        path.relative_to(work / "in").as_posix(): [str(line) for line in lines]
        for path, lines in result.file_errors.items()
    }
    return {"images": [describe(image) for image in result.new_images], "errors": errors}


def describe(image: Any) -> dict[str, Any]:
    """The properties that the platform stores."""
    segments = image.segments
    return {
        "size": [n for n in (image.width, image.height, image.depth) if n is not None],
        "color_space": str(getattr(image.color_space, "value", image.color_space)),
        "segments": None if segments is None else sorted(segments),
    }


if __name__ == "__main__":
    main()
