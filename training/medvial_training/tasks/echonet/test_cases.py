"""The container's test cases: one phantom in each form that it takes."""

import logging
import shutil
from pathlib import Path

from medvial_training.phantoms.echo_cine import make_cine
from medvial_training.phantoms.echo_files import write_dicom, write_mha, write_mp4
from medvial_training.phantoms.echo_screen import on_screen

log = logging.getLogger(__name__)

SEED = 20_260
FRAMES, FPS = 90, 40.0  # three beats at 80 per minute
STACK = Path("images/echocardiogram")
VIDEO = Path("echocardiogram-video.mp4")
DICOM = Path("images/echocardiogram-dicom")


def write_missing_test_cases(test: Path) -> None:
    """Write the inputs that are not there: test/ (a stack), test/mp4 and test/dicom.

    The stack is the bare cine; the others are a scanner's screen with text and ECG around it, and
    the DICOM file alone says how large a pixel is.

    Args:
        test: The test folder of the algorithm.
    """
    cine = make_cine(
        SEED, frames=FRAMES, fps=FPS, heart_rate_bpm=80.0, rhythm="sinus", ef_percent=58.0
    )
    if not (test / "input" / STACK).is_dir():
        folder = _new_folder(test / "input" / STACK)
        write_mha(folder / "cine.mha", cine.frames, cine.fps, cine.spacing_cm)
    screen = None
    if not (test / "mp4" / "input" / VIDEO).is_file():
        screen = on_screen(cine)
        folder = _new_folder(test / "mp4" / "input")
        write_mp4(folder / VIDEO, screen.frames, cine.fps)
    if not (test / "dicom" / "input" / DICOM).is_dir():
        screen = screen or on_screen(cine)
        folder = _new_folder(test / "dicom" / "input" / DICOM)
        write_dicom(
            folder / "cine.dcm",
            screen.frames,
            cine.fps,
            spacing_cm=cine.spacing_cm,
            region=screen.region,
            ecg=screen.ecg,
        )


def _new_folder(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    log.info("Test case: %s", folder)
    return folder
