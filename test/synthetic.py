"""Small inputs with known answers that several tests use."""

import shutil
import subprocess

import numpy as np


def gaussian_logits(points, height=48, width=32, sigma=2.0, stride=2):
    """Logits of Gaussians around points (x, y) in network pixels: (L, height, width) float32."""
    rows, columns = np.mgrid[:height, :width]
    maps = []
    for x, y in points:
        cx, cy = (x + 0.5) / stride - 0.5, (y + 0.5) / stride - 0.5
        maps.append(-((columns - cx) ** 2 + (rows - cy) ** 2) / (2 * sigma**2))
    return np.array(maps, dtype=np.float32)


def engine_answers():
    """Whether a Docker engine can be used."""
    docker = shutil.which("docker")
    return bool(docker) and not subprocess.run([docker, "info"], capture_output=True).returncode
