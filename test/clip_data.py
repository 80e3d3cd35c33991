"""Small videos for the tests of clip classification; here so that other processes can import it."""

import os

import numpy as np

from medvial.errors import InputError
from medvial_training.clips.spool import spooled
from medvial_training.clips.store import Frames

SIZES = {"a": (3, 5, 4), "b": (2, 7, 9), "c": (6, 4, 3)}  # frames, height, width


def pixels(name, changed=0):
    rng = np.random.default_rng([ord(name), changed])
    return rng.integers(0, 256, (*SIZES[name], 3), np.uint8)


def read(name, changed=0):
    frames = pixels(name, changed)
    return Frames(frames, np.arange(len(frames)) / 3, {"found": 0.5})


def fails(number):
    raise OSError(number, os.strerror(number), "there/c.mp4")


def refuse():
    raise InputError("nobody is in it")


def last_value_of_b(store):
    return int(store.frames("b")[1, 6, 8, 2])


def read_spooled(name):
    frames = spooled(iter(pixels(name)))
    return Frames(frames, np.arange(len(frames)) / 3)


def refuse_after_spooling(name):
    read_spooled(name)
    raise InputError("its sheet cannot be drawn")


def unlike(name):
    return Frames(spooled([*pixels(name), *pixels("b")]), np.arange(3))
