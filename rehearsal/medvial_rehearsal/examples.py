"""A small valid example of every kind of input and output, to start an algorithm with."""

import io
import json
import sqlite3
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import SimpleITK
from numpy.typing import NDArray

from medvial.socket_kinds import DICOM_IMAGE_SET, SEGMENTATION, Kind
from medvial_rehearsal.dicom_writer import write_dicom

SIZE_XYZ = (32, 24, 5)
"""Of the example images: unequal, so that a swapped axis shows."""
SPACING_MM = (0.5, 0.75, 2.0)
ORIGIN_MM = (-8.0, 4.0, 10.0)
FRAMES = 10
FRAMES_PER_SECOND = 25

_VERSION = {"major": 1, "minor": 0}
_A, _B, _C, _D = [1.0, 2.0, 0.5], [7.0, 2.0, 0.5], [7.0, 5.0, 0.5], [1.0, 5.0, 0.5]

_VALUES: dict[str, Any] = {
    "String": "example",
    "Integer": 3,
    "Float": 0.75,
    "Bool": True,
    "Anything": {"probability": 0.75},
    "Choice": "example",
    "Multiple choice": ["example"],
    "Chart": {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "data": {"values": [{"day": 1, "volume_ml": 12.5}, {"day": 2, "volume_ml": 11.0}]},
        "mark": "point",
        "encoding": {
            "x": {"field": "day", "type": "quantitative"},
            "y": {"field": "volume_ml", "type": "quantitative"},
        },
    },
    "Affine transform registration": {
        "3d_affine_transform": [
            [1.0, 0.0, 0.0, 2.5],
            [0.0, 1.0, 0.0, -1.5],
            [0.0, 0.0, 1.0, 0.0],
            [0.0, 0.0, 0.0, 1.0],
        ]
    },
}

_ANNOTATIONS: dict[str, dict[str, Any]] = {
    "Point": {"point": _A},
    "2D bounding box": {"corners": [_A, _B, _C, _D]},
    "Distance measurement": {"start": _A, "end": _B},
    "Polygon": {"seed_point": _A, "path_points": [_A, _B, _C], "sub_type": "brush", "groups": []},
    "Line": {"seed_points": [_A], "path_point_lists": [[_A, _B]]},
    "Angle": {"lines": [[_A, _B], [_A, _C]]},
    "Ellipse": {"major_axis": [_A, _B], "minor_axis": [_A, _D]},
    "Three-point angle": {"angle": [_B, _A, _D]},
}

_MANY = {
    "Multiple points": ("Point", "points"),
    "Multiple 2D bounding boxes": ("2D bounding box", "boxes"),
    "Multiple distance measurements": ("Distance measurement", "lines"),
    "Multiple polygons": ("Polygon", "polygons"),
    "Multiple lines": ("Line", "lines"),
    "Multiple angles": ("Angle", "angles"),
    "Multiple ellipses": ("Ellipse", "ellipses"),
    "Multiple three-point angles": ("Three-point angle", "angles"),
}

_TEXTS = {
    ".csv": "name,volume_ml\nexample,12.5\n",
    ".newick": "(A:0.1,B:0.2,(C:0.3,D:0.4):0.5);\n",
    ".obj": "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n",
}


def example_value(kind: Kind) -> Any:
    """A valid value of a JSON kind; coordinates are world millimetres (x, y, z)."""
    if kind.name in _VALUES:
        return _VALUES[kind.name]
    if kind.name in _ANNOTATIONS:
        return {"type": kind.name, **_ANNOTATIONS[kind.name], "version": _VERSION}
    one, key = _MANY[kind.name]
    items = [{"name": "1", **_ANNOTATIONS[one]}]
    return {"type": kind.name, key: items, "version": _VERSION}


def write_example(kind: Kind, path: Path) -> None:
    """Write an example to an input's path: a file, or the folder of an image."""
    folder = path if kind.is_image else path.parent
    folder.mkdir(parents=True, exist_ok=True)
    if kind.name == DICOM_IMAGE_SET:
        _write_dicom(folder)
    elif kind.is_image:
        SimpleITK.WriteImage(example_image(kind), str(folder / "example.mha"), True)
    elif kind.is_json:
        path.write_text(json.dumps(example_value(kind), indent=1) + "\n", encoding="utf-8")
    else:
        path.write_bytes(_file_content(kind.extension))


def example_image(kind: Kind) -> SimpleITK.Image:
    """A bright box in the dark: a mask of {0, 1}, grey levels, or displacements in millimetres."""
    width, height, slices = SIZE_XYZ
    box: NDArray[np.uint8] = np.zeros((slices, height, width), np.uint8)
    box[1:4, 6:18, 8:24] = 1
    if kind.name == SEGMENTATION:
        image = SimpleITK.GetImageFromArray(box)
    elif kind.name == "Heat Map":
        image = SimpleITK.GetImageFromArray(box.astype(np.float32) * 0.75)
    elif kind.name == "Displacement field":
        shifts = np.stack([box * 0.5, box * 0.0, box * -1.0], axis=-1).astype(np.float32)
        image = SimpleITK.GetImageFromArray(shifts, isVector=True)  # (z, y, x, 3)
    else:
        image = SimpleITK.GetImageFromArray(box * np.uint8(150) + np.uint8(50))
    image.SetSpacing(SPACING_MM)
    image.SetOrigin(ORIGIN_MM)
    return image


def _write_dicom(folder: Path) -> None:
    """One file a slice, named by its instance."""
    image = example_image(Kind("Image", "Image", "", None))
    series = "1.2.826.0.1.3680043.8.498.1"
    for index in range(SIZE_XYZ[2]):
        one = image[:, :, index]
        position = image.TransformIndexToPhysicalPoint((0, 0, index))
        tags = {
            "0008|0016": "1.2.840.10008.5.1.4.1.1.7",  # secondary capture
            "0008|0018": f"{series}.{index + 1}",
            "0008|0060": "OT",
            "0020|000d": f"{series}.100",
            "0020|000e": f"{series}.200",
            "0020|0013": str(index + 1),
            "0020|0032": "\\".join(f"{value:g}" for value in position),
            "0020|0037": "1\\0\\0\\0\\1\\0",
        }
        for tag, value in tags.items():
            one.SetMetaData(tag, value)
        write_dicom(one, folder / f"{series}.{index + 1}.dcm")


def _file_content(extension: str) -> bytes:
    """A small file that its readers accept."""
    if extension in _TEXTS:
        return _TEXTS[extension].encode()
    return {
        ".mp4": _mp4,
        ".pdf": _pdf,
        ".zip": _zip,
        ".png": lambda: _encoded(".png"),
        ".jpeg": lambda: _encoded(".jpg"),
        ".sqreg": _sqlite,
        ".biom": _biom,
    }[extension]()


def _mp4() -> bytes:
    """A bright bar that moves to the right, H.264."""
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FRAMES_PER_SECOND)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(FRAMES):
            picture = np.full((48, 64, 3), 40, np.uint8)
            picture[8:40, 4 * index : 4 * index + 12] = 220
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def _encoded(extension: str) -> bytes:
    picture = np.full((24, 32, 3), 40, np.uint8)
    picture[6:18, 8:24] = (60, 120, 220)
    return bytes(cv2.imencode(extension, picture)[1])


def _pdf() -> bytes:
    """One empty page."""
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 100]>>",
    ]
    content, offsets = b"%PDF-1.4\n", []
    for number, value in enumerate(objects, start=1):
        offsets.append(len(content))
        content += b"%d 0 obj%sendobj\n" % (number, value)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    head = b"xref\n0 4\n0000000000 65535 f \n" + table
    tail = b"trailer<</Size 4/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % len(content)
    return content + head + tail


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo("example.csv"), _TEXTS[".csv"])
    return buffer.getvalue()


def _sqlite() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "example.sqreg"
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE example (name TEXT)")
        connection.close()
        return path.read_bytes()


def _biom() -> bytes:
    """A table of one observation and one sample, BIOM 1.0 (https://biom-format.org)."""
    table = {
        "id": None,
        "format": "Biological Observation Matrix 1.0.0",
        "format_url": "http://biom-format.org",
        "type": "OTU table",
        "generated_by": "medvial",
        "date": "2026-01-01T00:00:00",
        "rows": [{"id": "a", "metadata": None}],
        "columns": [{"id": "sample", "metadata": None}],
        "matrix_type": "dense",
        "matrix_element_type": "int",
        "shape": [1, 1],
        "data": [[3]],
    }
    return json.dumps(table).encode()
