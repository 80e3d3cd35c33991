"""Colour frames of many videos in one file: made, read, resumed, changed."""

import errno
import multiprocessing
import os
import time
from functools import partial

import numpy as np
import pytest
from clip_data import SIZES, fails, last_value_of_b, pixels, read, refuse

from medvial.errors import InputError
from medvial_training.clips.store import ClipStore, Source
from medvial_training.processes import worker_pool


def sources(names="abc", **changed):
    return [Source(n, f"v{changed.get(n, 0)}", partial(read, n, changed.get(n, 0))) for n in names]


@pytest.mark.parametrize("workers", [1, 2])
def test_videos_of_unequal_sizes_come_back(tmp_path, workers):
    records = ClipStore(tmp_path, "s").make(sources(), workers)
    assert [r.name for r in records] == ["a", "b", "c"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["frames.bin", "frames.jsonl"]
    store = ClipStore(tmp_path)
    for name, size in SIZES.items():
        frames = store.frames(name)
        assert frames.shape == (*size, 3)
        assert not frames.flags.writeable
        np.testing.assert_array_equal(frames, pixels(name))
        np.testing.assert_array_equal(store.times_s(name), np.arange(size[0]) / 3)
        assert store.records[name].notes == {"found": 0.5}


def test_a_rejected_video_is_kept_with_its_reason(tmp_path):
    videos = [*sources("a"), Source("bad", "v", refuse), *sources("b")]
    records = ClipStore(tmp_path).make(videos, 1)
    assert [r.reason for r in records] == ["", "nobody is in it", ""]
    store = ClipStore(tmp_path)
    assert store.is_done(videos)
    np.testing.assert_array_equal(store.frames("b"), pixels("b"))
    with pytest.raises(InputError, match=r"video bad in .*frames\.bin, got nobody is in it"):
        store.frames("bad")
    with pytest.raises(InputError, match=r"video zzz in .*, got no such video"):
        store.times_s("zzz")


def forbidden():
    raise AssertionError("read again")


def test_only_what_is_new_or_changed_is_read(tmp_path):
    ClipStore(tmp_path).make(sources("ab"), 1)
    keep = Source("a", "v0", forbidden)
    ClipStore(tmp_path).make([keep, *sources("bc", b=1)], 1)
    store = ClipStore(tmp_path)
    np.testing.assert_array_equal(store.frames("a"), pixels("a"))
    np.testing.assert_array_equal(store.frames("b"), pixels("b", 1))
    np.testing.assert_array_equal(store.frames("c"), pixels("c"))
    bytes_of_all = sum(int(np.prod(s)) * 3 for s in SIZES.values())
    assert (tmp_path / "frames.bin").stat().st_size == bytes_of_all
    ClipStore(tmp_path).make([keep], 1)  # the others are no longer wanted
    assert (tmp_path / "frames.bin").stat().st_size == 3 * 5 * 4 * 3


def test_other_settings_read_every_video_again(tmp_path):
    ClipStore(tmp_path, "small").make(sources("ab"), 1)
    assert ClipStore(tmp_path, "small").is_done(sources("ab"))
    assert not ClipStore(tmp_path, "large").is_done(sources("ab"))
    ClipStore(tmp_path, "large").make(sources("ab", a=2, b=2), 1)
    np.testing.assert_array_equal(ClipStore(tmp_path).frames("a"), pixels("a", 2))


def broken():
    raise RuntimeError("killed here")


def test_an_interrupted_run_goes_on(tmp_path):
    with pytest.raises(RuntimeError, match="killed here"):
        ClipStore(tmp_path).make([*sources("ab"), Source("c", "v0", broken)], 1)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["frames.bin.part", "frames.jsonl"]
    with (tmp_path / "frames.bin.part").open("ab") as file:
        file.write(b"frames without a line")
    with (tmp_path / "frames.jsonl").open("a") as file:
        file.write('{"name": "c", "key"')
    known = [Source("a", "v0", forbidden), Source("b", "v0", forbidden)]
    ClipStore(tmp_path).make([*known, *sources("c")], 1)
    for name in SIZES:
        np.testing.assert_array_equal(ClipStore(tmp_path).frames(name), pixels(name))


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.EIO, r"Expected to read there/c\.mp4, got: Input/output error\. Look after the so"),
        (errno.EACCES, r"Expected to read there/c\.mp4, got: Permission denied"),
        (errno.ENOSPC, r"Expected to write .*frames\.bin\.part, got: No space left.* Free some"),
    ],
)
def test_what_cannot_be_read_is_told_from_what_cannot_be_written(
    tmp_path, number, message, workers
):
    videos = [*sources("ab"), Source("c", "v0", partial(fails, number))]
    with pytest.raises(InputError, match=message):
        ClipStore(tmp_path).make(videos, workers)
    ClipStore(tmp_path).make([*(Source(n, "v0", forbidden) for n in "ab"), *sources("c")], 1)


def slow(name):
    time.sleep(0.3)
    return read(name)


def make_slowly(folder):
    ClipStore(folder).make([Source(n, "v0", partial(slow, n)) for n in SIZES], 1)


def test_a_killed_run_goes_on(tmp_path):
    process = multiprocessing.get_context("fork").Process(target=make_slowly, args=(tmp_path,))
    process.start()
    log = tmp_path / "frames.jsonl"
    while not (log.is_file() and log.read_text()):
        time.sleep(0.02)
    process.kill()
    process.join()
    ClipStore(tmp_path).make([Source("a", "v0", forbidden), *sources("bc")], 1)
    for name in SIZES:
        np.testing.assert_array_equal(ClipStore(tmp_path).frames(name), pixels(name))


def test_other_processes_map_the_file_themselves(tmp_path):
    ClipStore(tmp_path).make(sources(), 1)
    store = ClipStore(tmp_path)
    expected = last_value_of_b(store)  # maps it here
    assert store.__getstate__()["_bytes"] is None
    with worker_pool(1) as pool:
        assert pool.submit(last_value_of_b, store).result() == expected


def test_a_cut_off_file_and_two_videos_of_one_name_are_refused(tmp_path):
    ClipStore(tmp_path).make(sources(), 1)
    os.truncate(tmp_path / "frames.bin", 100)
    with pytest.raises(InputError, match=r"frames\.bin of 774 bytes, got 100\. Run step 1"):
        ClipStore(tmp_path).frames("a")
    with pytest.raises(InputError, match="a name for each video, got two named a"):
        ClipStore(tmp_path).make(sources("aa"), 1)
    ClipStore(tmp_path).make(sources(), 1)  # reads all again
    np.testing.assert_array_equal(ClipStore(tmp_path).frames("c"), pixels("c"))
