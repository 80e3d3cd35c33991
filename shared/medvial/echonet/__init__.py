"""Left ventricle and ejection fraction in apical four-chamber echocardiograms.

The verbs of the task are in the modules of this package: `Config` in `config`, `preprocess`,
and `build_segmentation` and `build_ejection_fraction` in `model`, which needs torch.
"""

from medvial.echonet.config import Config

__all__ = ["Config"]
