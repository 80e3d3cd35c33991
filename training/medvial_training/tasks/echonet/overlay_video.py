"""Overlay videos: the film beside itself with the found ventricle, and its area over time below."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from medvial.outputs import write_bytes

Picture = NDArray[np.uint8]

FOUND, TRACED, DOT, MARKER = (64, 224, 110), (255, 96, 96), (255, 221, 51), (120, 200, 255)
INK, SOFT, GROUND = (236, 240, 244), (150, 160, 172), (18, 22, 28)
ZOOM = 3  # network pixels to picture pixels
HEADER_PX, TRACE_PX = 44, 190
FILL = 0.22  # opacity of the found ventricle


@dataclass(frozen=True)
class Film:
    """What to draw of one video."""

    title: str
    subtitle: str
    frames: NDArray[np.uint8]
    """(T, H, W) grey; may be a memory map."""
    masks: NDArray[np.bool_]
    """(T, H, W) left ventricle as found."""
    fps: float
    end_diastoles: list[int]
    """Found frames, from 0."""
    end_systoles: list[int]
    traced: dict[int, NDArray[np.bool_]] = field(default_factory=dict)
    """The expert's masks (H, W), by frame."""
    traced_phases: dict[int, str] = field(default_factory=dict)
    """ED or ES, by frame."""


def write_video(path: Path, film: Film) -> Path:
    """Write the overlay video at the film's own speed, whole or not at all.

    Args:
        path: Without extension: H.264 is written as .mp4, Motion JPEG as .avi where the installed
            PyAV cannot encode H.264.
        film: What to draw.

    Returns:
        The file that was written.
    """
    encoder, suffix = ("libx264", ".mp4") if _can_encode("libx264") else ("mjpeg", ".avi")
    target = path.with_name(path.name + suffix)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    _encode(part, pictures(film), film.fps, encoder, suffix.removeprefix("."))
    part.replace(target)
    return target


def write_still(path: Path, film: Film) -> None:
    """Write `still` as a PNG file."""
    done, content = cv2.imencode(".png", cv2.cvtColor(still(film), cv2.COLOR_RGB2BGR))
    assert done  # an in-memory picture of a supported type always encodes
    write_bytes(path, content.tobytes())


def pictures(film: Film) -> Iterator[Picture]:
    """Every picture of the video, (H, W, 3) RGB uint8 with even sides, one in memory at a time."""
    width = 2 * ZOOM * film.frames.shape[2]
    trace, points = area_trace(film, width)
    header = _header(film, width)
    for index, frame in enumerate(film.frames):
        raw = np.repeat(_enlarge(frame)[..., None], 3, axis=2)  # (H, W) => (H, W, 3)
        drawn = _overlay(frame, film.masks[index], film.traced.get(index))
        _label(drawn, film, index)
        below = trace.copy()
        cv2.circle(below, points[index], 5, DOT, -1, cv2.LINE_AA)
        yield np.concatenate([header, np.concatenate([raw, drawn], axis=1), below])


def still(film: Film) -> Picture:
    """One picture of a video: end-diastole and end-systole with both outlines, and the trace.

    The traced frames are shown where there are any, else those of the first beat that was found.
    """
    frames = sorted(film.traced_phases, key=lambda f: film.traced_phases[f])[:2]
    if not frames:
        frames = [*film.end_diastoles[:1], *film.end_systoles[:1]]
    frames = [*frames, 0, len(film.frames) - 1][:2]
    panels = []
    for index in frames:
        panel = _overlay(film.frames[index], film.masks[index], film.traced.get(index))
        _label(panel, film, index)
        panels.append(panel)
    width = sum(panel.shape[1] for panel in panels)
    rows = [_header(film, width), np.concatenate(panels, axis=1)]
    if len(film.frames) > len(film.traced):
        rows.append(area_trace(film, width)[0])
    return np.concatenate(rows)


def area_trace(film: Film, width: int) -> tuple[Picture, list[tuple[int, int]]]:
    """The area of the ventricle over time, with its found and traced ED and ES.

    Returns:
        Picture (TRACE_PX, width, 3), and where each frame's value lies in it, (x, y).
    """
    times = np.arange(len(film.frames)) / film.fps
    areas = film.masks.sum(axis=(1, 2))
    dark: Any = {"text.color": _web(INK), "font.family": ["DejaVu Sans"], "font.size": 8}
    with matplotlib.rc_context(dark):
        figure = Figure(figsize=(width / 100, TRACE_PX / 100), dpi=100, facecolor=_web(GROUND))
        canvas: Any = FigureCanvasAgg(figure)
        axes = figure.add_axes((0.085, 0.25, 0.895, 0.6))
        _plot_trace(axes, film, times, areas)
        canvas.draw()
        pixels = np.asarray(canvas.buffer_rgba())[..., :3].copy()
        points = axes.transData.transform(np.column_stack([times, areas]))
    height = pixels.shape[0]
    return pixels, [(round(float(x)), round(float(height - y))) for x, y in points]


def _plot_trace(axes: Any, film: Film, times: NDArray[Any], areas: NDArray[Any]) -> None:
    axes.set_facecolor(_web(GROUND))
    axes.plot(times, areas, color=_web(INK), linewidth=1.3)
    named: set[str] = set()
    for name, frames in (("ED", film.end_diastoles), ("ES", film.end_systoles)):
        style = {"ED": (0, (1, 2)), "ES": "-"}[name]
        for frame in frames:
            label = None if name in named else f"{name} found"
            named.add(name)
            axes.axvline(
                times[frame], color=_web(FOUND), linewidth=1.1, linestyle=style, label=label
            )
    for frame, phase in film.traced_phases.items():
        axes.plot(
            times[frame],
            areas[frame],
            marker={"ED": "^", "ES": "v"}[phase],
            color=_web(TRACED),
            markersize=7,
            linestyle="",
            label=f"{phase} traced by the expert",
        )
    axes.set_xlim(0, max(times[-1], 1e-3))
    reach = max(1.0, float(areas.max()))
    axes.set_ylim(0, 1.12 * reach)
    axes.set_xlabel("time (s)", color=_web(SOFT), labelpad=1)
    axes.set_ylabel("LV area (px)", color=_web(SOFT))
    axes.tick_params(colors=_web(SOFT), labelsize=7.5)
    for name, spine in axes.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_color(_web(SOFT))
    if axes.get_legend_handles_labels()[0]:
        axes.legend(
            loc="lower right", bbox_to_anchor=(1, 0.98), ncols=4, frameon=False, fontsize=7.5
        )


def _overlay(frame: Picture, found: NDArray[np.bool_], traced: Any) -> Picture:
    """The enlarged frame with the found ventricle, and the expert's outline where there is one."""
    picture = np.repeat(_enlarge(frame)[..., None], 3, axis=2)
    inside = _enlarge_mask(found)
    tint = np.array(FOUND, np.float32)
    picture[inside] = ((1 - FILL) * picture[inside] + FILL * tint).astype(np.uint8)
    _outline(picture, inside, FOUND)
    if traced is not None:
        _outline(picture, _enlarge_mask(traced), TRACED)
    return picture


def _label(picture: Picture, film: Film, index: int) -> None:
    """Say which phase a frame is."""
    x = picture.shape[1] - 8
    words = []
    if index in film.traced_phases:
        words.append((f"{film.traced_phases[index]} (expert)", TRACED))
    for name, frames in (("ED", film.end_diastoles), ("ES", film.end_systoles)):
        if index in frames:
            words.append((name, FOUND))
    for row, (text, colour) in enumerate(words):
        (width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)
        place = (x - width, 20 + 20 * row)
        for ink, thickness in (((0, 0, 0), 3), (colour, 1)):
            cv2.putText(
                picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, ink, thickness, cv2.LINE_AA
            )


def _header(film: Film, width: int) -> Picture:
    """Name and numbers, (HEADER_PX, width, 3)."""
    picture: Picture = np.full((HEADER_PX, width, 3), GROUND, np.uint8)
    for text, y, colour, size in (
        (film.title, 18, INK, 0.48),
        (film.subtitle, 36, SOFT, 0.4),
    ):
        (needed, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, 1)
        scale = size * min(1.0, (width - 20) / max(needed, 1))
        cv2.putText(picture, text, (10, y), cv2.FONT_HERSHEY_SIMPLEX, scale, colour, 1, cv2.LINE_AA)
    return picture


def _enlarge(frame: Picture) -> Picture:
    size = (ZOOM * frame.shape[1], ZOOM * frame.shape[0])
    return cv2.resize(np.asarray(frame), size, interpolation=cv2.INTER_CUBIC).astype(np.uint8)


def _enlarge_mask(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    size = (ZOOM * mask.shape[1], ZOOM * mask.shape[0])
    smooth = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.GaussianBlur(smooth, (0, 0), ZOOM / 2) > 0.5)


def _outline(picture: Picture, mask: NDArray[np.bool_], colour: tuple[int, int, int]) -> None:
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, contours, -1, colour, 1, cv2.LINE_AA)


def _web(colour: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _can_encode(name: str) -> bool:
    import av

    try:
        av.codec.Codec(name, "w")
    except (av.error.FFmpegError, ValueError):
        return False
    return True


def _encode(
    path: Path, frames: Iterator[Picture], fps: float, encoder: str, container_format: str
) -> None:
    """Encode RGB pictures of even sides."""
    import av

    with av.open(str(path), "w", format=container_format) as container:
        stream: Any = container.add_stream(encoder, rate=Fraction(fps).limit_denominator(1001))
        stream.pix_fmt = "yuv420p" if encoder == "libx264" else "yuvj420p"
        # Without mbtree, which gives other bytes from run to run.
        options = {"crf": "24", "x264-params": "mbtree=0"}
        stream.options = options if encoder == "libx264" else {}
        for index, picture in enumerate(frames):
            if index == 0:
                stream.height, stream.width = picture.shape[:2]
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
