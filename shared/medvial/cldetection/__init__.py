"""Cephalometric landmarks on lateral X-rays.

The verbs of the task: `Config`, `preprocess`, `find`, `postprocess`, and `build_model` in
`medvial.cldetection.model`, which needs torch.
"""

from medvial.cldetection.config import Config
from medvial.cldetection.postprocess import find, postprocess
from medvial.cldetection.preprocess import preprocess

__all__ = ["Config", "find", "postprocess", "preprocess"]
