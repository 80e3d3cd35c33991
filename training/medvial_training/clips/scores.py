"""Validation of clip classification, where a video counts once, however many clips it has."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional
from torchmetrics import Metric
from torchmetrics.functional.classification import (
    binary_auroc,
    multiclass_accuracy,
    multiclass_recall,
)

from medvial_training.clips.dataset import Item

TOP = 5


class MeanProbabilities(Metric):
    """Mean of the class probabilities of each video's views, over all processes."""

    sums: Tensor
    counts: Tensor

    def __init__(self, videos: int, classes: int) -> None:
        super().__init__()
        self.add_state("sums", torch.zeros(videos, classes, dtype=torch.float64), "sum")
        self.add_state("counts", torch.zeros(videos, dtype=torch.float64), "sum")

    def update(self, videos: Tensor, probabilities: Tensor) -> None:
        """Add views: numbers of their videos (N,), and probabilities (N, C)."""
        self.sums.index_add_(0, videos, probabilities.to(self.sums))
        self.counts.index_add_(0, videos, torch.ones_like(videos).to(self.counts))

    def compute(self) -> Tensor:
        """(videos, C)."""
        return self.sums / self.counts.clamp(min=1)[:, None]


def by_patient(probabilities: Tensor, items: Sequence[Item]) -> tuple[Tensor, Tensor] | None:
    """Mean over each patient's videos, where all patients are known.

    Args:
        probabilities: (videos, C).
        items: The videos; one patient's videos of two classes are scored apart.

    Returns:
        Probabilities (patients, C) and labels (patients,); None where a patient is not known.
    """
    if not all(item.patient for item in items):
        return None
    numbers: dict[tuple[str, int], int] = {}
    of_video = [numbers.setdefault((item.patient, item.label), len(numbers)) for item in items]
    pooled = MeanProbabilities(len(numbers), probabilities.shape[1]).to(probabilities.device)
    pooled.sums.index_add_(0, torch.tensor(of_video, device=probabilities.device), probabilities)
    counts = torch.bincount(torch.tensor(of_video), minlength=len(numbers)).to(probabilities)
    return pooled.sums / counts[:, None], torch.tensor([label for _, label in numbers])


def scores(probabilities: Tensor, labels: Tensor, positive: int) -> dict[str, float]:
    """Scores of videos or of patients.

    Args:
        probabilities: (N, C), rows that add up to 1.
        labels: (N,) classes.
        positive: The class that counts as positive where there are two.

    Returns:
        `loss`, the cross-entropy; `accuracy`, top-1 over all; `balanced_accuracy`, the mean over
        the classes that occur; `top5` where there are more than five classes; `auroc` where there
        are two and both occur.
    """
    p, classes = probabilities.double().cpu(), probabilities.shape[1]
    labels = labels.cpu()
    occur = torch.bincount(labels, minlength=classes) > 0
    recall = multiclass_recall(p, labels, classes, average="none")
    result = {
        "loss": functional.nll_loss(p.clamp(min=1e-12).log(), labels),
        "accuracy": multiclass_accuracy(p, labels, classes, average="micro"),
        "balanced_accuracy": recall[occur].mean(),
    }
    if classes > TOP:
        result["top5"] = multiclass_accuracy(p, labels, classes, top_k=TOP, average="micro")
    if classes == 2 and bool(occur.all()):
        result["auroc"] = binary_auroc(p[:, positive], (labels == positive).long())
    return {name: float(value) for name, value in result.items()}
