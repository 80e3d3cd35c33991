"""Overlay pictures: the expert's marks, the predicted ones, and the line between them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from medvial.cldetection.preprocess import Geometry

RED, GREEN, YELLOW, WHITE, CYAN = (
    (255, 82, 82),
    (64, 224, 110),
    (255, 221, 51),
    (240, 243, 246),
    (90, 200, 255),
)
HEADER_RGB = (22, 28, 36)
HEADER_PX = 46
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
    grey: NDArray[np.uint8], geometry: Geometry, marks: FilmMarks, *, height: int = 1200
) -> NDArray[np.uint8]:
    """Draw the marks of a film on its network-size picture.

    Args:
        grey: Network-size film, (h, w) uint8.
        geometry: From `preprocess`.
        marks: What to draw.
        height: Height of the film in the picture, in pixels.

    Returns:
        RGB picture, (HEADER_PX + height, W, 3) uint8; padding is cut off.
    """
    film, zoom, origin = _enlarge(grey, geometry, height)
    expert, predicted = (
        (geometry.to_network(points) - origin + 0.5) * zoom - 0.5
        for points in (marks.expert, marks.predicted)
    )
    canvas = np.repeat(film[:, :, None], 3, axis=2)  # (H, W) => (H, W, 3)
    _draw_points(canvas, expert, predicted, marks.corrected)
    framed = np.full((film.shape[0] + HEADER_PX, film.shape[1], 3), HEADER_RGB, dtype=np.uint8)
    framed[HEADER_PX:] = canvas
    picture = Image.fromarray(framed)
    draw = ImageDraw.Draw(picture)
    down = np.array([0, HEADER_PX])
    _draw_symbols(draw, expert + down, predicted + down, marks.symbols, picture.size)
    _draw_header(draw, marks, picture.width)
    _draw_ruler(draw, marks.mm_per_px / geometry.scale_y, zoom, picture.size)
    return np.asarray(picture)


def encode(picture: NDArray[np.uint8], suffix: str) -> bytes:
    """An RGB picture (H, W, 3) as the bytes of a .png or .jpg file."""
    options = [cv2.IMWRITE_JPEG_QUALITY, 85] if suffix == ".jpg" else []
    done, content = cv2.imencode(suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), options)
    assert done  # an in-memory picture of a supported type always encodes
    return content.tobytes()


def _enlarge(
    grey: NDArray[np.uint8], geometry: Geometry, height: int
) -> tuple[NDArray[np.uint8], float, NDArray[np.float64]]:
    """The film without padding at the wanted height, the zoom, and its origin (x, y)."""
    left, top = geometry.offset_x, geometry.offset_y
    width_px = max(1, round(geometry.content_width * geometry.scale_x))
    height_px = max(1, round(geometry.content_height * geometry.scale_y))
    film = grey[top : top + height_px, left : left + width_px]
    zoom = height / film.shape[0]
    size = (max(1, round(film.shape[1] * zoom)), height)
    enlarged = cv2.resize(film, size, interpolation=cv2.INTER_CUBIC)
    return enlarged.astype(np.uint8), zoom, np.array([left, top], dtype=np.float64)


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
        _dot(canvas, point, RED)
    for point, moved in zip(predicted, corrected, strict=True):
        if np.isfinite(point).all():
            _dot(canvas, point, GREEN)
            if moved:
                corners = point + 10.0 * np.array([[0, -1], [1, 0], [0, 1], [-1, 0]])
                outline = np.array([_fixed(c) for c in corners], dtype=np.int32)
                cv2.polylines(canvas, [outline], True, CYAN, 2, cv2.LINE_AA, _SHIFT)


def _dot(canvas: NDArray[np.uint8], point: NDArray[np.float64], colour: Any) -> None:
    """A small disc with a dark rim, placed to 1/16 pixel."""
    cv2.circle(canvas, _fixed(point), 5 << _SHIFT, (0, 0, 0), -1, cv2.LINE_AA, _SHIFT)
    cv2.circle(canvas, _fixed(point), 4 << _SHIFT, colour, -1, cv2.LINE_AA, _SHIFT)


def _fixed(point: NDArray[np.float64]) -> tuple[int, int]:
    x, y = np.rint(np.clip(point, -1e4, 1e5) * (1 << _SHIFT)).astype(int)
    return int(x), int(y)


def _draw_symbols(
    draw: ImageDraw.ImageDraw,
    expert: NDArray[np.float64],
    predicted: NDArray[np.float64],
    symbols: tuple[str, ...],
    size: tuple[int, int],
) -> None:
    """Write each symbol beside its landmark, where it covers the least."""
    font = _font(LABEL_PX)
    points = np.concatenate([expert, predicted])
    points = points[np.isfinite(points).all(axis=1)]
    placed: list[tuple[float, float, float, float]] = []
    for index, symbol in enumerate(symbols):
        anchor = expert[index] if np.isfinite(expert[index]).all() else predicted[index]
        if not np.isfinite(anchor).all():
            continue
        width = draw.textlength(symbol, font=font)
        box = min(_label_boxes(anchor, width), key=lambda b: _covered(b, points, placed, size))
        placed.append(box)
        draw.text(box[:2], symbol, WHITE, font, stroke_width=2, stroke_fill=(0, 0, 0))


def _label_boxes(
    anchor: NDArray[np.float64], width: float
) -> list[tuple[float, float, float, float]]:
    """Places (left, top, right, bottom) for a label around a point, the preferred ones first."""
    height, boxes = LABEL_PX + 3, []
    for reach in (9, 18, 30):
        for x, y in ((1, -0.6), (1, 0.6), (-1, -0.6), (-1, 0.6), (1, 0), (-1, 0), (0, -1), (0, 1)):
            left = anchor[0] + x * reach - width * (1 - x) / 2
            top = anchor[1] + y * (reach + height / 2) - height / 2
            boxes.append((left, top, left + width, top + height))
    return boxes


def _covered(
    box: tuple[float, float, float, float],
    points: NDArray[np.float64],
    placed: list[tuple[float, float, float, float]],
    size: tuple[int, int],
) -> float:
    """How much a label there would hide: points, other labels, or itself beyond the picture."""
    left, top, right, bottom = box
    near = (points[:, 0] > left - 6) & (points[:, 0] < right + 6)
    hidden = float((near & (points[:, 1] > top - 6) & (points[:, 1] < bottom + 6)).sum())
    for other in placed:
        across = min(right, other[2]) - max(left, other[0])
        down = min(bottom, other[3]) - max(top, other[1])
        hidden += 2.0 if across > -2 and down > -2 else 0.0
    outside = left < 2 or right > size[0] - 2 or top < HEADER_PX or bottom > size[1] - 2
    return hidden + (5.0 if outside else 0.0)


def _draw_header(draw: ImageDraw.ImageDraw, marks: FilmMarks, width: int) -> None:
    """Title and mean error on the left, what the colours mean on the right."""
    error = np.linalg.norm(marks.predicted - marks.expert, axis=1)
    known = error[np.isfinite(error)]
    text = marks.title
    if known.size and np.isfinite(marks.mm_per_px):
        text += f"    MRE {known.mean() * marks.mm_per_px:.2f} mm"
    elif known.size:
        text += f"    MRE {known.mean():.1f} px (no scale)"
    middle = HEADER_PX // 2
    draw.text((14, middle), text, WHITE, _font(18), anchor="lm")
    legend = [("error", YELLOW), ("prediction", GREEN), ("expert", RED)]
    if marks.corrected.any():
        legend.insert(0, ("moved by shape prior", CYAN))
    right, font = width - 14.0, _font(14)
    for name, colour in legend:
        right -= draw.textlength(name, font=font)
        draw.text((right, middle), name, WHITE, font, anchor="lm")
        right -= 14
        draw.ellipse((right, middle - 5, right + 9, middle + 4), fill=colour)
        right -= 16


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
