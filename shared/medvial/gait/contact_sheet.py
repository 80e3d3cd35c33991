"""A picture to check at a glance who was followed: frames with boxes, crops below them."""

import cv2
import numpy as np

from medvial.cine import Cine
from medvial.gait.blazepose import Image
from medvial.gait.crop import CropOptions, crop_squares, cut
from medvial.gait.tracker import Person, colour

_TILE_WIDTH = 320  # pixels of a frame on the sheet
_PATIENT, _OTHER, _RIVAL = (0, 200, 0), (150, 150, 150), (230, 120, 0)  # RGB
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def contact_sheet(
    cine: Cine, person: Person, *, count: int = 12, columns: int = 4, margin: float = 0.1
) -> Image:
    """Frames spread over the time in sight, each with its crop: (H, W, 3) RGB uint8.

    The patient's box is green, those of others are grey, of others who might be the patient
    orange; the thin square is what is cut out.

    Raises:
        InputError: Not one frame can be decoded.
    """
    times = person.frame_times_s
    start, end = person.track.start_s, person.track.end_s
    inside = np.flatnonzero((times >= start - 0.4) & (times <= end + 0.4))
    inside = inside if len(inside) else np.arange(len(times))
    wanted = {int(i) for i in inside[np.linspace(0, len(inside) - 1, count).astype(int)]}
    tiles: list[Image] = []
    for index, (time_s, frame) in enumerate(cine.every(1)):
        if index in wanted:
            tiles.append(_tile(colour(frame), time_s, index, person, margin))
        if index >= max(wanted):
            break
    while len(tiles) % columns:
        tiles.append(np.full_like(tiles[0], 255))
    rows = [np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
    return np.vstack(rows)


def _tile(frame: Image, time_s: float, index: int, person: Person, margin: float) -> Image:
    moment = np.array([time_s])
    square = crop_squares(person, moment, CropOptions(margin=margin))[0]
    drawn = frame.copy()
    thick = max(2, frame.shape[1] // 250)
    for other in person.others:
        if other.start_s - 0.2 <= time_s <= other.end_s + 0.2:
            rival = any(other is each for each in person.rivals)
            _rectangle(drawn, other.boxes_at(moment)[0], _RIVAL if rival else _OTHER, thick)
    _rectangle(drawn, person.track.boxes_at(moment)[0], _PATIENT, thick)
    x, y, side = square
    corners = np.array([x - side / 2, y - side / 2, x + side / 2, y + side / 2])
    _rectangle(drawn, corners, _PATIENT, max(1, thick // 3))
    height = round(_TILE_WIDTH * frame.shape[0] / frame.shape[1])
    small = cv2.resize(drawn, (_TILE_WIDTH, height), interpolation=cv2.INTER_AREA)
    crop = cut(frame, square, _TILE_WIDTH // 2)
    below = np.full((_TILE_WIDTH // 2, _TILE_WIDTH, 3), 255, np.uint8)
    below[:, : crop.shape[1]] = crop
    for row, text in enumerate((f"{time_s:.2f} s", f"frame {index}")):
        place = (_TILE_WIDTH // 2 + 12, 28 + 24 * row)
        cv2.putText(below, text, place, _FONT, 0.55, (0, 0, 0), 1, cv2.LINE_AA)
    return cv2.copyMakeBorder(
        np.vstack([small, below]), 3, 3, 3, 3, cv2.BORDER_CONSTANT, value=(255, 255, 255)
    ).astype(np.uint8)


def _rectangle(image: Image, box: np.ndarray, colour: tuple[int, int, int], thick: int) -> None:
    x0, y0, x1, y1 = (round(float(value)) for value in box)
    cv2.rectangle(image, (x0, y0), (x1, y1), colour, thick)
