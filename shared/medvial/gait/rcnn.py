"""People found by torchvision's Faster or Keypoint R-CNN instead of BlazePose's small detector.

It finds people who are small, far or partly hidden more surely, at 1 to 3 s a look on a CPU: for a
GPU, or for recordings that the small detector fails on. Landmarks are BlazePose's all the same, and
a detection without them is no person. The container does not have it: whoever prepares training
data with it trains on other crops than the container will cut.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np

from medvial.errors import InputError
from medvial.gait.blazepose import BlazePose, Circle, Image, Points, suppress

DOWNLOAD = "torchvision:"
NETWORKS = ("keypointrcnn_resnet50_fpn", "fasterrcnn_resnet50_fpn")

_PERSON = 1  # class of COCO
_SHOULDERS, _HIPS = (5, 6), (11, 12)  # of COCO's 17 keypoints
_CLASSES = {"keypointrcnn_resnet50_fpn": 2, "fasterrcnn_resnet50_fpn": 91}
_RADIUS = 0.55  # of BlazePose's circle, by the body's longer side
_HIPS_BELOW_TOP = 0.47  # by the stature (Winter, Biomechanics and Motor Control, 2009, fig. 4.1)


class RcnnPeople(BlazePose):
    """Detects by an R-CNN, finds landmarks by BlazePose; goes where a `BlazePose` goes.

    Args:
        weights: A state dictionary of one of NETWORKS trained on COCO (.pth, .pt or .safetensors),
            or "torchvision:" and its name, which downloads it.
        folder: Of BlazePose's networks; None looks where `fetch_weights` puts them.
        threads: Of LiteRT.

    Raises:
        InputError: PyTorch is not installed, or the weights are none of these networks.
    """

    def __init__(self, weights: str, folder: Path | None = None, threads: int = 2) -> None:
        super().__init__(folder, threads)
        self._net = load_rcnn(weights)

    def detect(self, frame: Image, threshold: float = 0.5) -> list[Circle]:
        """People on a frame (H, W, 3) RGB, best first."""
        import torch

        device = next(self._net.parameters()).device
        pixels = torch.from_numpy(np.ascontiguousarray(frame)).to(device)
        with torch.inference_mode():
            # (H, W, C) to (C, H, W)
            found = self._net([pixels.permute(2, 0, 1).float() / 255])[0]
        found = {name: value.cpu().numpy().astype(np.float64) for name, value in found.items()}
        return suppress(circles_of(found, threshold))

    def detect_in(
        self, frame: Image, regions: list[tuple[int, int, int, int]], threshold: float = 0.5
    ) -> list[Circle]:
        """People in parts (x0, y0, x1, y1) of a frame: one look at the smallest that holds all."""
        if len(regions) < 2:
            return super().detect_in(frame, regions, threshold)
        corners = np.array(regions)
        x0, y0 = corners[:, :2].min(axis=0).tolist()
        x1, y1 = corners[:, 2:].max(axis=0).tolist()
        return super().detect_in(frame, [(x0, y0, x1, y1)], threshold)


def circles_of(found: dict[str, Points], threshold: float) -> list[Circle]:
    """BlazePose's circles of what an R-CNN has found, best first.

    Args:
        found: `boxes` (N, 4) x0, y0, x1, y1 in pixels, `labels` (N,), `scores` (N,) 0 to 1, and of
            a Keypoint R-CNN `keypoints` (N, 17, 3).
        threshold: Least score.
    """
    people = np.flatnonzero((found["labels"] == _PERSON) & (found["scores"] >= threshold))
    circles = []
    for row in people[np.argsort(-found["scores"][people], kind="stable")]:
        x0, y0, x1, y1 = found["boxes"][row]
        hips, up = np.array([(x0 + x1) / 2, y0 + _HIPS_BELOW_TOP * (y1 - y0)]), 0.0
        if "keypoints" in found:
            points = found["keypoints"][row, :, :2]
            hips = points[list(_HIPS)].mean(axis=0)
            across, along = points[list(_SHOULDERS)].mean(axis=0) - hips
            up = math.atan2(across, -along)
        radius = max(1.0, _RADIUS * float(max(x1 - x0, y1 - y0)))
        score = float(found["scores"][row])
        circles.append(Circle(float(hips[0]), float(hips[1]), radius, up, score))
    return circles


def load_rcnn(weights: str) -> Any:
    """The network of some weights, ready to detect, on the GPU where there is one.

    Raises:
        InputError: PyTorch is not installed, or the weights are none of NETWORKS.
    """
    try:
        import torch
        from torchvision.models import detection
    except ImportError as error:
        raise InputError(
            f"Finding people by an R-CNN needs PyTorch and torchvision ({error}). Install them, "
            "or leave the detector to BlazePose."
        ) from None
    if weights.startswith(DOWNLOAD):
        name = weights.removeprefix(DOWNLOAD)
        if name not in NETWORKS:
            raise InputError(f"Expected {DOWNLOAD} and one of {', '.join(NETWORKS)}, got {name!r}.")
        net = getattr(detection, name)(weights="DEFAULT")
    else:
        state = _read(Path(weights))
        name = NETWORKS[0] if any(".keypoint_" in key for key in state) else NETWORKS[1]
        net = getattr(detection, name)(
            weights=None, weights_backbone=None, num_classes=_CLASSES[name]
        )
        try:
            net.load_state_dict(state)
        except RuntimeError as error:
            raise InputError(
                f"Expected weights of {' or '.join(NETWORKS)} trained on COCO in {weights}, got "
                f"others: {str(error).splitlines()[-1].strip()}"
            ) from None
    return net.eval().to("cuda" if torch.cuda.is_available() else "cpu")


def _read(path: Path) -> dict[str, Any]:
    """A state dictionary; nothing else of a pickle is loaded."""
    import pickle

    import torch
    from safetensors.torch import load_file

    if not path.is_file():
        raise InputError(f"Expected weights of an R-CNN at {path}, found none.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise InputError(f"Expected a state dictionary in {path}, got: {error}.") from None
    state = state.get("model", state) if isinstance(state, dict) else {}
    return dict(state)
