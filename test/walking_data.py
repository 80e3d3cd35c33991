"""Small walking videos with known answers: bars that cross the picture, upright or leaning."""

import csv

import numpy as np
from cines import write_video

from medvial.video_classification.config import ClipConfig

HEIGHT, WIDTH, FRAMES, FPS = 72, 128, 30, 15
CONFIG = ClipConfig(
    widths=(4, 6), clip_s=1.0, clip_frames=4, clips=2, resize=40, crop=32, fps=8.0, dropout=0.0
)


def walk(seed, leaning, frames=FRAMES):
    """(T, H, W, 3): a bar on a ground of its own, (seed) else alike."""
    rng = np.random.default_rng(seed)
    ground = rng.integers(30, 90, (9, 16, 3)).repeat(8, axis=0).repeat(8, axis=1)
    film = np.repeat(ground[None].astype(np.uint8), frames, axis=0)
    colour = rng.integers(150, 255, 3)
    start, speed, phase = 8 + int(rng.integers(8)), 2.5 + rng.random(), rng.random() * 6
    pace, reach = 0.4 + rng.random(), 3 + 3 * rng.random()
    for t in range(frames):
        left = start + speed * t
        for y in range(14, 62):
            swing = reach * np.sin(pace * t + phase) * (y - 14) / 48
            shift = (62 - y) * (0.35 if leaning else 0.0) + swing
            x = round(left + shift)
            film[t, y, max(0, x) : max(0, x + 9)] = colour
    return film


def write_walks(folder, patients=8, videos=1, site="", first=0):
    """labels.csv and videos/: every second patient leans, which is ASD; same number, same film."""
    (folder / "videos").mkdir(parents=True, exist_ok=True)
    rows = []
    for patient in range(first, first + patients):
        for number in range(videos):
            name = f"w{patient:02d}_{number}.mp4"
            film = walk([patient, number], patient % 2 == 0)
            write_video(
                folder / "videos" / name, film, rate=FPS, codec="libx264", pix_fmt="yuv420p"
            )
            label = ("ASD", "ASD_not")[patient % 2]
            rows.append([name, f"P{patient:02d}", label, site or "AB"[patient // 2 % 2]])
    write_labels(folder, rows)
    return folder


def write_labels(folder, rows):
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["video", "patient", "label", "site"], *rows])


def read_rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
