# mypy: disable-error-code="no-untyped-call"
"""DICOM files, written by SimpleITK."""

import locale
from pathlib import Path

import SimpleITK


def write_dicom(image: SimpleITK.Image, path: Path) -> None:
    """Write an image with the tags of its metadata, its identifiers among them.

    Raises:
        RuntimeError: SimpleITK cannot write such pixels as DICOM.
    """
    writer = SimpleITK.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    writer.SetFileName(str(path))
    before = locale.setlocale(locale.LC_ALL)
    try:
        writer.Execute(image)
    finally:  # it leaves the process in the C locale, where Python reads texts as ASCII
        locale.setlocale(locale.LC_ALL, before)
