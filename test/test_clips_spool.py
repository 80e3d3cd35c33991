"""Frames of long videos pass through files: what comes back, what is left behind, memory."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import long_films
import numpy as np
import pytest
from clip_data import SIZES, pixels, read_spooled, refuse_after_spooling, unlike

from medvial_training.clips.spool import handed_over, spooled, spooling_in
from medvial_training.clips.store import ClipStore, Source

MOST_MIB = 1000


@pytest.mark.parametrize("workers", [1, 2])
def test_spooled_frames_reach_the_store_and_leave_no_file(tmp_path, workers):
    (tmp_path / "left.spool").write_bytes(b"of a killed run")
    videos = [Source(name, "v", partial(read_spooled, name)) for name in SIZES]
    videos.append(Source("sheet", "v", partial(refuse_after_spooling, "a")))
    videos.append(Source("unlike", "v", partial(unlike, "a")))
    records = ClipStore(tmp_path).make(videos, workers)
    assert [r.reason for r in records[3:]] == [
        "its sheet cannot be drawn",
        "expected frames of one size, got 4 x 5 and 9 x 7",
    ]
    store = ClipStore(tmp_path)
    for name in SIZES:
        np.testing.assert_array_equal(store.frames(name), pixels(name))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["frames.bin", "frames.jsonl"]


def test_without_a_store_the_file_vanishes(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    frames = spooled(iter(pixels("c")))
    np.testing.assert_array_equal(frames, pixels("c"))
    assert handed_over(frames) is frames
    assert spooled([]).shape == (0, 0, 0, 3)
    assert not list(tmp_path.iterdir())
    with spooling_in(tmp_path):
        part = spooled(iter(pixels("c")))[1:]  # no longer what the file holds
    assert handed_over(part) is part


@pytest.mark.slow  # a minute: ten of film
@pytest.mark.parametrize("task", ["video", "walking"])
def test_ten_minutes_of_video_take_little_memory(tmp_path, task):
    long_films.write_long(tmp_path / "raw" / "a" / "long.mp4", 600)
    long_films.write_long(tmp_path / "raw" / "b" / "short.mp4", 10)
    command = [sys.executable, long_films.__file__, task, tmp_path / "raw", tmp_path / "out"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600).stdout
    frames, mib = map(int, said.split()[-2:])
    assert frames > 17_000
    assert (tmp_path / "out" / "frames.bin").stat().st_size > 850_000_000
    assert mib < MOST_MIB
    assert not list(Path(tmp_path / "out").glob("*.spool"))
