"""Classes of videos from clips: what walking videos and videos of any kind share.

`ClipConfig` in `config`; which frames make a clip in `sampling`; `preprocess`; `build_model` in
`model`, which needs torch; `classify`.
"""

from medvial.video_classification.config import ClipConfig

__all__ = ["ClipConfig"]
