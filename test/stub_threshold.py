"""A container program for the tests: the share of bright pixels, and where they are.

The environment variable FAILURE makes it do one thing that works on a desk and fails on the
platform.
"""

import json
import os
import random
import signal
import socket
import sys
import time
from http import HTTPStatus
from pathlib import Path

import numpy as np

from medvial import server
from medvial.algorithm import Algorithm
from medvial.models import ModelFolder
from medvial.stacks import open_stack

FAILURE = os.environ.get("FAILURE", "")
OUTPUT = Path("/output")
KEPT = []


class Threshold(Algorithm):
    """Bright pixels of a scan."""

    def load(self):
        if FAILURE != "model in invoke":
            self.read_model()

    def read_model(self):
        self.threshold = 100
        if FAILURE == "any model":
            return
        model = ModelFolder.open(self.model_path, task="stub")
        self.threshold = model.read_json("threshold.json")

    def predict(self):
        if FAILURE == "model in invoke":
            self.read_model()
        misbehave(self)
        path = self.image_for("scan")
        if FAILURE == "only mha":
            (path,) = self.input_for("scan").glob("*.mha")
        if FAILURE == "any file":
            path = [p for p in sorted(self.input_path.rglob("*")) if p.is_file()][-1]
        if FAILURE == "case before":
            KEPT.append(path.read_bytes())
            path = Path("/tmp/first").with_suffix(path.suffix)
            path.write_bytes(KEPT[0])
        with open_stack(path) as stack:
            self.geometry = stack.info.geometry
            self.masks = [(np.asarray(s) > self.threshold).astype(np.uint8) for s in stack]

    def save(self):
        value = float(np.mean([mask.mean() for mask in self.masks]))
        self.write_output("bright-share", value + random.random() * (FAILURE == "random"))
        with self.image_output("bright", self.geometry) as image:
            for mask in self.masks:
                image.write(mask)

    def run(self):
        if FAILURE == "swallowed":
            try:
                super().run()
            except Exception as error:
                print("something went wrong:", error)
            return
        super().run()
        spoil_outputs()


def misbehave(algorithm):
    """What fails while a case is read."""
    if FAILURE == "writes home":
        (Path.home() / ".cache").mkdir()
    elif FAILURE == "downloads" and len(socket.if_nameindex()) < 2:
        raise OSError("Temporary failure in name resolution")
    elif FAILURE == "shared memory":
        Path("/dev/shm/batch").write_bytes(bytes(100 << 20))
    elif FAILURE == "memory":
        np.ones(1 << 27)  # 1 GiB
    elif FAILURE == "baked in /tmp":
        Path("/tmp/baked.json").read_text()
    elif FAILURE == "key of inputs.json":
        entries = json.loads((algorithm.input_path / "inputs.json").read_text())
        assert [entry["interface"]["slug"] for entry in entries] == ["scan"]
    elif FAILURE == "slow":
        time.sleep(300)
    elif FAILURE == "grows":
        KEPT.append(np.ones(4 << 20))
    elif FAILURE == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(10)
    talk()


def talk():
    """What the platform's logs cannot take."""
    out = sys.stdout.buffer
    if FAILURE == "stderr":
        print("UserWarning: careful", file=sys.stderr)
    elif FAILURE == "progress bar":
        print("10 %\r20 %")
    elif FAILURE == "latin-1":
        out.write("5 µm\n".encode("latin-1"))
        out.flush()
    elif FAILURE == "long line":
        print("x" * 70_000)


def spoil_outputs():
    """Outputs as a program writes them that does not use the base class for it."""
    value = OUTPUT / "bright-share.json"
    mask = next((OUTPUT / "images" / "bright").iterdir())
    if FAILURE == "NaN":
        value.write_text("NaN")
    elif FAILURE == "text":
        value.write_text('"0.5"')
    elif FAILURE == "path from slug":
        value.rename(OUTPUT / "share.json")
    elif FAILURE == "debug file":
        (OUTPUT / "debug.json").write_text("{}")
    elif FAILURE == "two masks":
        (mask.parent / "second.mha").write_bytes(mask.read_bytes())
    elif FAILURE == "float mask":
        write_mask(mask, "MET_FLOAT", "0.5 0.5 2", np.zeros((3, 20, 30), np.float32))
    elif FAILURE == "no spacing":
        write_mask(mask, "MET_UCHAR", "1 1 1", np.zeros((3, 20, 30), np.uint8))


def write_mask(path, element, spacing, pixels):
    header = (
        f"ObjectType = Image\nNDims = 3\nBinaryData = True\nElementSpacing = {spacing}\n"
        f"DimSize = 30 20 3\nElementType = {element}\nElementDataFile = LOCAL\n"
    )
    path.write_bytes(header.encode() + pixels.tobytes())


def break_server():
    """What the platform refuses of a server."""
    handler, reply = server._Handler, server._Handler._reply
    if FAILURE == "status 200":

        def ok(self, status, text, **headers):
            reply(self, HTTPStatus.OK if status == HTTPStatus.CREATED else status, text, **headers)

        handler._reply = ok
    elif FAILURE == "redirect":
        handler._health = lambda self: self._reply(HTTPStatus.FOUND, "", Location="/health/")
    return ["--port", "8080"] if FAILURE == "other port" else []


if __name__ == "__main__":
    raise SystemExit(Threshold.main(break_server()))
