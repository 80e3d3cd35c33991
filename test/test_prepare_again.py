"""Step 1 of cldetection again: nothing twice, and on from where a killed run stopped."""

import os
import signal
import subprocess
import sys
import time
from collections import namedtuple

import cv2
import pytest
from films import CONFIG, make_film, run, write_images, write_stack

from medvial.cldetection.config import Config
from medvial.cldetection.landmarks import load_landmark_set
from medvial.cldetection.preprocess import preprocess
from medvial.errors import InputError
from medvial_training.tasks.cldetection import film_store
from medvial_training.tasks.cldetection.film_store import FilmStore
from medvial_training.tasks.cldetection.sources import open_source


def snapshot(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "progress.jsonl"
    }


def test_second_run_does_nothing_and_changed_input_is_done_again(tmp_path, caplog):
    source = write_images(tmp_path / "raw")
    out = tmp_path / "out"
    run(source, out)
    stamps = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    with caplog.at_level("INFO"):
        run(source, out)
    assert "Everything is prepared" in caplog.text
    assert "4 films to train on, 1 to validate, 1 to test" in caplog.text
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == stamps

    cv2.imwrite(str(source / "images" / "b.png"), make_film(77))
    run(source, out)
    changed = {
        path.name for path in (out / "images").iterdir() if path.stat().st_mtime_ns != stamps[path]
    }
    assert changed == {"b.png"}

    run(source, out, model=Config(landmark_set="isbi-19", height=128, width=64))
    assert {cv2.imread(str(path)).shape for path in (out / "images").iterdir()} == {(128, 64, 3)}


def test_other_data_in_the_same_folder_replace_the_films(tmp_path):
    run(write_images(tmp_path / "raw"), tmp_path / "out")
    run(write_stack(tmp_path / "raw2", [make_film(n) for n in range(4)]), tmp_path / "out")
    names = {path.name for path in (tmp_path / "out" / "images").iterdir()}
    assert names == {f"00{number}.png" for number in range(1, 5)}


def test_half_a_line_of_progress_is_forgiven(tmp_path):
    source = write_images(tmp_path / "raw")
    run(source, tmp_path / "out")
    whole = snapshot(tmp_path / "out")
    progress = tmp_path / "out" / "progress.jsonl"
    progress.write_bytes(progress.read_bytes()[:-40])
    run(source, tmp_path / "out")
    assert len(FilmStore(tmp_path / "out", CONFIG).records) == 6
    assert snapshot(tmp_path / "out") == whole


KILLED = """
import sys, time
from pathlib import Path
from medvial.cldetection.config import Config
from medvial_training.tasks.cldetection import film_store, prepare
slow = film_store.preprocess
def wait(*args, **options):
    time.sleep(0.15)
    return slow(*args, **options)
film_store.preprocess = wait
config = Config(landmark_set="isbi-19", height=64, width=128)
prepare.prepare(Path(sys.argv[1]), Path(sys.argv[2]), model=config, workers=1)
"""


def test_killed_run_goes_on_and_ends_the_same(tmp_path):
    source = write_stack(tmp_path / "raw", [make_film(n) for n in range(7)], compressed=True)
    run(source, tmp_path / "whole")
    out = tmp_path / "out"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(source), str(out)],
        env=environment,
        stderr=subprocess.DEVNULL,
    ) as process:
        deadline = time.monotonic() + 60
        while len(list((out / "images").glob("*.png"))) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    made = {path: path.stat().st_mtime_ns for path in (out / "images").glob("*.png")}
    assert 3 <= len(made) < 7
    assert not (out / "config.json").exists()

    run(source, out)
    assert snapshot(out) == snapshot(tmp_path / "whole")
    kept = [path for path, stamp in made.items() if path.stat().st_mtime_ns == stamp]
    assert len(kept) >= 2  # the last one may have lacked its line in the log


def test_space_is_asked_only_for_the_films_that_are_missing(tmp_path, monkeypatch):
    source = write_images(tmp_path / "raw")
    run(source, tmp_path / "out")
    size = CONFIG.height * CONFIG.width
    disk = namedtuple("disk", "free")
    monkeypatch.setattr(film_store.shutil, "disk_usage", lambda _: disk(2 * size))
    store = FilmStore(tmp_path / "out", CONFIG)
    store.check_space(8)  # 6 are there
    with pytest.raises(InputError, match="free space for 3 films"):
        store.check_space(9)
    larger = FilmStore(tmp_path / "out", Config(landmark_set="isbi-19", height=128, width=128))
    with pytest.raises(InputError, match="free space for 6 films"):
        larger.check_space(6)
    store.path("a").write_bytes(b"damaged")
    with pytest.raises(InputError, match="free space for 3 films"):
        store.check_space(8)


@pytest.mark.parametrize(("cores", "threads"), [(16, 4), (2, 2), (None, 1)])
def test_threads_do_not_grow_with_the_cores(tmp_path, monkeypatch, cores, threads):
    taken = []
    pool = film_store.ThreadPoolExecutor
    monkeypatch.setattr(
        film_store, "ThreadPoolExecutor", lambda count: taken.append(count) or pool(count)
    )
    monkeypatch.setattr(film_store.os, "cpu_count", lambda: cores)
    raw = open_source(write_images(tmp_path / "raw"), None, load_landmark_set("isbi-19"))
    (tmp_path / "out" / "images").mkdir(parents=True)
    store = FilmStore(tmp_path / "out", CONFIG)
    store.make(raw, dict.fromkeys((film.image_id for film in raw.films), False))
    assert taken == [threads]
    assert len(store.records) == 6


def test_memory_holds_few_films_at_a_time(tmp_path, monkeypatch):
    """The bounded queue: the reader never runs ahead of the resizing threads by more than two."""
    source = write_stack(tmp_path / "raw", [make_film(n) for n in range(12)])
    raw = open_source(source, None, load_landmark_set("isbi-19"))
    read, made, ahead = 0, 0, []

    def counting(wanted):
        nonlocal read
        for item in raw_read(wanted):
            read += 1
            ahead.append(read - made)
            yield item

    def slow(pixels, config, mirrored=False):
        nonlocal made
        time.sleep(0.01)
        result = preprocess(pixels, config, mirrored=mirrored)
        made += 1
        return result

    raw_read = raw.read
    object.__setattr__(raw, "read", counting)
    monkeypatch.setattr("medvial_training.tasks.cldetection.film_store.preprocess", slow)
    store = FilmStore(tmp_path / "out", CONFIG)
    (tmp_path / "out" / "images").mkdir(parents=True)
    store.make(raw, dict.fromkeys((film.image_id for film in raw.films), False), workers=2)
    assert max(ahead) <= 4
    assert len(store.records) == 12
