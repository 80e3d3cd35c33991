"""Small echocardiography data with known answers."""

import csv
import dataclasses

import av
import numpy as np

from medvial.echonet import Config

CONFIG = Config(
    height=64,
    width=64,
    segmentation_widths=(4, 6),
    ejection_fraction_widths=(4, 6),
    clip_frames=4,
)
LIST_COLUMNS = ["FileName", "EF", "ESV", "EDV", "FrameHeight", "FrameWidth", "FPS"]
LIST_COLUMNS += ["NumberOfFrames", "Split"]
TRACING_COLUMNS = ["FileName", "X1", "Y1", "X2", "Y2", "Frame"]


def disc_rows(centre_x, top, bottom, half_width):
    """A tracing as the experts make them: the long axis, then 20 discs of one width."""
    rows = [[centre_x, top, centre_x, bottom]]
    for y in np.linspace(top + 1, bottom - 1, 20):
        rows.append([centre_x - half_width, y, centre_x + half_width, y])
    return rows


def make_frames(seed, count=20, size=64):
    """A dark ventricle that grows and shrinks, (T, H, W) uint8, each seed in other surroundings."""
    rng = np.random.default_rng(seed)
    rough = rng.integers(40, 220, (8, 8)).repeat(size // 8, axis=0).repeat(size // 8, axis=1)
    frames = np.repeat(rough[None].astype(np.uint8), count, axis=0)
    for number in range(count):
        half = 10 + round(3 * np.cos(number / 3))
        frames[number, 14:50, 32 - half : 32 + half + 1] = 20
    return frames


def write_avi(path, frames, fps=50):
    """Motion JPEG, as EchoNet-Dynamic's videos are."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=fps)
        stream.height, stream.width = frames.shape[1:]
        stream.pix_fmt = "yuvj420p"
        for frame in frames:
            rgb = np.repeat(frame[..., None], 3, axis=-1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, "rgb24")))
        container.mux(stream.encode())


def write_table(path, columns, rows):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)


def list_row(name, ef=60.0, split="TRAIN", fps=50, frames=20):
    return [name, ef, 100 - ef, 100, 64, 64, fps, frames, split]


def trace(name, frame, half_width):
    return [[name, *row, frame] for row in disc_rows(32, 14, 50, half_width)]


def write_echonet(folder, count=8, splits=("TRAIN", "TRAIN", "VAL", "TEST"), frames=20):
    """`count` videos in the layout of EchoNet-Dynamic; ED and ES in either order."""
    (folder / "Videos").mkdir(parents=True)
    listed, traced = [], []
    for number in range(count):
        name = f"0X{number:04d}"
        write_avi(folder / "Videos" / f"{name}.avi", make_frames(number, frames))
        listed.append(list_row(name, 40.0 + 3 * number, splits[number % len(splits)]))
        order = [(9, 7), (0, 13)] if number % 2 else [(0, 13), (9, 7)]
        for frame, half in order:
            traced += trace(f"{name}.avi", frame, half)
    write_table(folder / "FileList.csv", LIST_COLUMNS, listed)
    write_table(folder / "VolumeTracings.csv", TRACING_COLUMNS, traced)
    return folder


def changed(config=CONFIG, **values):
    return dataclasses.replace(config, **values)
