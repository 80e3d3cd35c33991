"""The ultrasound sector in full-screen captures whose sector is known, and in what has none."""

import cv2
import numpy as np
import pytest

from medvial.echonet.sector import find_sector

HEIGHT, WIDTH = 240, 320
APEX, DEPTH, HALF_DEG = (165, 20), 190, 38


def fan(half_deg=HALF_DEG, apex=APEX, depth=DEPTH, near=0, shape=(HEIGHT, WIDTH)):
    """Mask (H, W) of a sector."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    radius = np.hypot(x - apex[0], y - apex[1])
    angle = np.degrees(np.arctan2(x - apex[0], y - apex[1]))
    return (np.abs(angle) < half_deg) & (radius < depth) & (radius >= near)


def screen(count=16, *, gain=1.0, text=True, seed=5, **shape):
    """Grey frames (T, H, W) of flickering speckle in a sector, with what scanners draw around."""
    rng = np.random.default_rng(seed)
    inside = fan(**shape)
    frames = []
    for t in range(count):
        speckle = cv2.GaussianBlur(rng.rayleigh(40, inside.shape).astype(np.float32), (0, 0), 1.2)
        frame = np.where(inside, np.clip(gain * 3 * (speckle - 30), 0, 255), 0).astype(np.uint8)
        if text:
            draw_screen(frame, t, count)
        frames.append(frame)
    return np.stack(frames)


def draw_screen(frame, t, count):
    height, width = frame.shape
    cv2.putText(frame, "PATIENT 0001", (5, 14), 0, 0.4, (255,), 1)
    cv2.putText(frame, f"HR {60 + t // 4}", (width - 60, height - 30), 0, 0.4, (255,), 1)
    for y in range(20, 210, 15):
        cv2.line(frame, (width - 14, y), (width - 8, y), (200,), 1)
    frame[40:100, width - 34 : width - 26] = np.linspace(255, 0, 60).astype(np.uint8)[:, None]
    x = np.arange(int(width * (t + 1) / count))
    trace = height - 12 - 16 * (x % 80 == 40) - (3 * np.sin(x / 9)).astype(int)
    cv2.polylines(frame, [np.stack([x, trace], 1).astype(np.int32)], False, (220,), 1)


def overlap(sector, truth):
    mask = sector.mask() > 0
    return (mask & truth).sum() / (mask | truth).sum()


SHAPES = {
    "plain": {},
    "narrow": {"half_deg": 22},
    "wide": {"half_deg": 45, "depth": 175},
    "off-centre": {"apex": (140, 24)},
    "curved array": {"near": 40, "apex": (160, 0), "half_deg": 33, "depth": 210},
    "portrait": {"shape": (320, 200), "apex": (100, 50), "depth": 190, "half_deg": 26},
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("gain", [1.0, 0.3])
def test_sector_of_a_screen(name, gain):
    truth = fan(**SHAPES[name])
    sector = find_sector(screen(gain=gain, **SHAPES[name]))
    assert sector.found
    assert overlap(sector, truth) > 0.9
    columns, rows = truth.any(axis=0).nonzero()[0], truth.any(axis=1).nonzero()[0]
    expected = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    assert np.abs(np.subtract(sector.box, expected)).max() <= 5
    middle = SHAPES[name].get("apex", APEX)[0]
    assert sector.apex_x == pytest.approx(middle, abs=4)


def test_nothing_of_the_screen_is_left():
    sector = find_sector(screen())
    drawn = np.zeros((HEIGHT, WIDTH), np.uint8)
    draw_screen(drawn, 15, 16)
    drawn[fan()] = 0
    assert (drawn[sector.mask() > 0] > 0).sum() < 20


def test_large_frames():
    small = screen(8)
    frames = [
        cv2.resize(f, (3 * WIDTH, 3 * HEIGHT), interpolation=cv2.INTER_NEAREST) for f in small
    ]
    sector = find_sector(frames)
    truth = cv2.resize(fan().astype(np.uint8), (3 * WIDTH, 3 * HEIGHT), interpolation=0) > 0
    assert sector.image_shape == (3 * HEIGHT, 3 * WIDTH)
    assert overlap(sector, truth) > 0.93


def test_still_image_is_found_by_its_brightness():
    frame = screen(1)[0]
    sector = find_sector([frame] * 5)
    assert sector.found
    assert overlap(sector, fan()) > 0.9


def test_region_of_the_file_limits_the_sector():
    frames = screen(text=False)
    frames |= screen(text=False, seed=6, apex=(60, 20), half_deg=20)
    region = (100, 10, 310, 220)
    sector = find_sector(frames, region)
    assert sector.box[0] >= region[0]
    assert sector.box[1] >= region[1]
    assert sector.found


@pytest.mark.parametrize("value", [0, 200])
def test_no_sector(value):
    frames = np.zeros((8, HEIGHT, WIDTH), np.uint8)
    cv2.putText(frames[0], "NO SIGNAL", (80, 120), 0, 1, (255,), 1)
    frames[:] = frames[0]
    if value:
        frames[:, 100:106, :] = value  # a line is no sector
    sector = find_sector(frames)
    assert not sector.found
    assert sector.box == (0, 0, WIDTH, HEIGHT)
    assert sector.mask().all()
    assert "No ultrasound sector was found" in sector.notes[0]


def test_cropped_clip_is_taken_whole():
    frames = screen(text=False, shape=(150, 140), apex=(70, 0), depth=150, half_deg=40)
    sector = find_sector(frames)
    assert sector.found
    assert sector.box[2] - sector.box[0] > 130
    assert sector.box[3] - sector.box[1] > 144
