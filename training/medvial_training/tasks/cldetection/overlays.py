"""Overlay pictures: the expert's marks, the predicted ones, and the line between them."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from medvial.cldetection.preprocess import Geometry
from medvial_training.tasks.cldetection.labels import place_labels

RED, GREEN, YELLOW, WHITE, CYAN = (
    (255, 82, 82),
    (64, 224, 110),
    (255, 221, 51),
    (240, 243, 246),
    (90, 200, 255),
)
HEADER_RGB = (22, 28, 36)
HEADER_PX = 40
LABEL_PX = 15
_SHIFT = 4  # fractional bits of OpenCV's drawing coordinates


@dataclass(frozen=True)
class FilmMarks:
    """What to draw on one film; points (L, 2) as (x, y) in full-resolution pixels, NaN = none."""

    title: str
    symbols: tuple[str, ...]
    expert: NDArray[np.float64]
    predicted: NDArray[np.float64]
    corrected: NDArray[np.bool_]
    """(L,) landmarks that the shape prior moved."""
    mm_per_px: float
    """Of the full film; NaN = unknown."""


def draw_overlay(
    grey: NDArray[np.uint8],
    geometry: Geometry,
    marks: FilmMarks,
    *,
    height: int = 1200,
    margin: float | None = None,
) -> NDArray[np.uint8]:
    """Draw the marks of a film on a picture of it at the network's size.

    Args:
        grey: Network-size film, (h, w) uint8.
        geometry: From `preprocess`.
        marks: What to draw.
        height: Height of the film in the picture, in pixels.
        margin: Show only the landmarks and this much around them, as a fraction of the film's
            height; None shows the whole film.

    Returns:
        RGB picture, (header + height, W, 3) uint8; padding is cut off.
    """
    points = [geometry.to_network(xy) for xy in (marks.expert, marks.predicted)]
    box = _content_box(geometry, None if margin is None else np.concatenate(points), margin)
    film, zoom = _enlarge(grey, box, height)
    expert, predicted = ((xy - box[:2] + 0.5) * zoom - 0.5 for xy in points)
    canvas = np.repeat(film[:, :, None], 3, axis=2)  # (H, W) => (H, W, 3)
    _draw_points(canvas, expert, predicted, marks.corrected)
    header = _header(marks, film.shape[1])
    picture = Image.fromarray(np.concatenate([header, canvas]))
    draw = ImageDraw.Draw(picture)
    down, top = np.array([0, len(header)]), len(header)
    bounds = (2, top, picture.width - 2, picture.height - 2)
    _draw_symbols(draw, expert + down, predicted + down, marks.symbols, bounds)
    _draw_ruler(draw, marks.mm_per_px / geometry.scale_y, zoom, picture.size)
    return np.asarray(picture)


def encode(picture: NDArray[np.uint8], suffix: str) -> bytes:
    """An RGB picture (H, W, 3) as the bytes of a .png or .jpg file."""
    options = [cv2.IMWRITE_JPEG_QUALITY, 85] if suffix == ".jpg" else []
    done, content = cv2.imencode(suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), options)
    assert done  # an in-memory picture of a supported type always encodes
    return content.tobytes()


def _content_box(
    geometry: Geometry, points: NDArray[np.float64] | None, margin: float | None
) -> NDArray[np.intp]:
    """Left, top, right, bottom of what to show, in network pixels; right and bottom exclusive."""
    left, top = geometry.offset_x, geometry.offset_y
    width = max(1, round(geometry.content_width * geometry.scale_x))
    height = max(1, round(geometry.content_height * geometry.scale_y))
    box = np.array([left, top, left + width, top + height])
    known = None if points is None else points[np.isfinite(points).all(axis=1)]
    if known is None or margin is None or not len(known):
        return box
    low = np.clip(np.floor(known.min(axis=0) - margin * height), box[:2], box[2:] - 2)
    high = np.clip(np.ceil(known.max(axis=0) + margin * height), low + 2, box[2:])
    return np.concatenate([low, high]).astype(np.intp)


def _enlarge(
    grey: NDArray[np.uint8], box: NDArray[np.intp], height: int
) -> tuple[NDArray[np.uint8], float]:
    """The part of a film at the wanted height, and the zoom."""
    left, top, right, bottom = box
    film = grey[top:bottom, left:right]
    zoom = height / film.shape[0]
    size = (max(1, round(film.shape[1] * zoom)), height)
    return cv2.resize(film, size, interpolation=cv2.INTER_CUBIC).astype(np.uint8), zoom


def _draw_points(
    canvas: NDArray[np.uint8],
    expert: NDArray[np.float64],
    predicted: NDArray[np.float64],
    corrected: NDArray[np.bool_],
) -> None:
    for one, other in zip(expert, predicted, strict=True):
        if np.isfinite([one, other]).all():
            cv2.line(canvas, _fixed(one), _fixed(other), YELLOW, 2, cv2.LINE_AA, _SHIFT)
    for point in expert[np.isfinite(expert).all(axis=1)]:
        _ring(canvas, point)
    for point, moved in zip(predicted, corrected, strict=True):
        if np.isfinite(point).all():
            _dot(canvas, point)
            if moved:
                corners = point + 10.0 * np.array([[0, -1], [1, 0], [0, 1], [-1, 0]])
                outline = np.array([_fixed(c) for c in corners], dtype=np.int32)
                cv2.polylines(canvas, [outline], True, CYAN, 2, cv2.LINE_AA, _SHIFT)


def _ring(canvas: NDArray[np.uint8], point: NDArray[np.float64]) -> None:
    """The expert's mark: a red ring, so that a prediction inside it stays visible."""
    for colour, width in (((0, 0, 0), 3), (RED, 2)):
        cv2.circle(canvas, _fixed(point), 6 << _SHIFT, colour, width, cv2.LINE_AA, _SHIFT)


def _dot(canvas: NDArray[np.uint8], point: NDArray[np.float64]) -> None:
    """The prediction: a small green disc with a dark rim."""
    cv2.circle(canvas, _fixed(point), 4 << _SHIFT, (0, 0, 0), -1, cv2.LINE_AA, _SHIFT)
    cv2.circle(canvas, _fixed(point), 3 << _SHIFT, GREEN, -1, cv2.LINE_AA, _SHIFT)


def _fixed(point: NDArray[np.float64]) -> tuple[int, int]:
    x, y = np.rint(np.clip(point, -1e4, 1e5) * (1 << _SHIFT)).astype(int)
    return int(x), int(y)


def _draw_symbols(
    draw: ImageDraw.ImageDraw,
    expert: NDArray[np.float64],
    predicted: NDArray[np.float64],
    symbols: tuple[str, ...],
    bounds: tuple[float, float, float, float],
) -> None:
    """Write each symbol beside its landmark, where it covers the least."""
    font = _font(LABEL_PX)
    anchors = np.where(np.isfinite(expert).all(axis=1, keepdims=True), expert, predicted)
    known: NDArray[np.bool_] = np.isfinite(anchors[:, 0])
    names = [symbol for symbol, is_known in zip(symbols, known, strict=True) if is_known]
    points = np.concatenate([expert, predicted])
    points = points[np.isfinite(points).all(axis=1)]
    widths = [draw.textlength(name, font=font) for name in names]
    boxes = place_labels(anchors[known], widths, LABEL_PX + 3, points, bounds)
    for name, box in zip(names, boxes, strict=True):
        draw.text(box[:2], name, WHITE, font, stroke_width=2, stroke_fill=(0, 0, 0))


def _header(marks: FilmMarks, width: int) -> NDArray[np.uint8]:
    """Title and mean error, and what the colours mean; on two lines if one is too narrow.

    Returns:
        (HEADER_PX or twice that, width, 3) uint8.
    """
    legend = [("expert", RED), ("prediction", GREEN), ("error", YELLOW)]
    if marks.corrected.any():
        legend.append(("moved by shape prior", CYAN))
    title, title_font, font = _title(marks), _font(18), _font(14)
    widths = [23 + font.getlength(name) + 16 for name, _ in legend]
    one_line = 14 + title_font.getlength(title) + 30 + sum(widths) <= width
    lines = 1 if one_line else 2
    picture = Image.new("RGB", (width, lines * HEADER_PX), HEADER_RGB)
    draw = ImageDraw.Draw(picture)
    draw.text((14, HEADER_PX // 2), title, WHITE, title_font, anchor="lm")
    x, y = (width - sum(widths) if one_line else 14.0), (lines - 1) * HEADER_PX + HEADER_PX // 2
    for (name, colour), step in zip(legend, widths, strict=True):
        draw.ellipse((x, y - 5, x + 9, y + 4), fill=colour)
        draw.text((x + 15, y), name, WHITE, font, anchor="lm")
        x += step
    return np.asarray(picture)


def _title(marks: FilmMarks) -> str:
    """The film's name and mean error."""
    error = np.linalg.norm(marks.predicted - marks.expert, axis=1)
    known = error[np.isfinite(error)]
    if not known.size:
        return marks.title
    if not np.isfinite(marks.mm_per_px):
        return f"{marks.title}    MRE {known.mean():.1f} px (no scale)"
    return f"{marks.title}    MRE {known.mean() * marks.mm_per_px:.2f} mm"


def _draw_ruler(
    draw: ImageDraw.ImageDraw, mm_per_network_px: float, zoom: float, size: tuple[int, int]
) -> None:
    """A bar of 10 mm at the bottom left, if the film has a scale."""
    if not np.isfinite(mm_per_network_px):
        return
    length = 10 / mm_per_network_px * zoom
    x, y = 16, size[1] - 18
    draw.line((x, y, x + length, y), fill=(0, 0, 0), width=5)
    draw.line((x, y, x + length, y), fill=WHITE, width=2)
    place = (x + length / 2, y - 5)
    draw.text(place, "10 mm", WHITE, _font(13), "mb", stroke_width=2, stroke_fill=(0, 0, 0))


def _font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which Matplotlib ships."""
    return ImageFont.truetype(
        str(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"), size
    )
