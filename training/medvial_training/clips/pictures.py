"""What the tracked run shows after each validation: confusion matrix and sample videos."""

import logging
from collections.abc import Sequence

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from medvial_training.clips.dataset import ViewClips
from medvial_training.tracking import Tracker

log = logging.getLogger(__name__)

RIGHT, WRONG = "#1a7f37", "#c62828"
COLUMNS = 4
LARGEST_WITH_NUMBERS = 20  # classes


class ClipPictures(Callback):
    """Draws after each validation; what fails is left out, with one warning."""

    def __init__(self, valid: ViewClips, count: int) -> None:
        """Of some of the validation videos: always the same, spread over their table.

        Args:
            valid: The validation clips.
            count: Videos that are shown.
        """
        self.valid, self.failed = valid, False
        chosen = np.linspace(0, len(valid.items) - 1, min(count, len(valid.items)))
        self.shown = sorted({round(float(number)) for number in chosen})

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Called by Lightning, when the module has the probabilities of all videos."""
        trackers = [one for one in trainer.loggers if isinstance(one, Tracker)]
        probabilities = getattr(module, "probabilities", None)
        if not trackers or probabilities is None or self.failed or trainer.sanity_checking:
            return
        try:
            figures = self.draw(np.asarray(probabilities))
        except Exception as error:  # any: a picture must not stop training
            self.failed = True
            log.warning("Training goes on without pictures: %s: %s", type(error).__name__, error)
            return
        for tracker in trackers:
            for name, figure in figures.items():
                tracker.note_figure(figure, f"{name}/epoch-{trainer.current_epoch:04d}.png")

    def draw(self, probabilities: NDArray[np.float64]) -> dict[str, Figure]:
        """The pictures of one validation.

        Args:
            probabilities: (videos, C).
        """
        labels = self.valid.config.labels
        truth = np.array([item.label for item in self.valid.items])
        frames = [self.valid.middle_frame(number) for number in self.shown]
        return {
            "confusion": confusion_figure(truth, probabilities.argmax(axis=1), labels),
            "samples": samples_figure(frames, truth[self.shown], probabilities[self.shown], labels),
        }


def confusion_figure(
    truth: NDArray[np.int64], predicted: NDArray[np.int64], labels: Sequence[str]
) -> Figure:
    """Videos by true and by predicted class.

    Args:
        truth: (N,) classes.
        predicted: (N,) classes.
        labels: Names of the classes.
    """
    classes = len(labels)
    counts = np.zeros((classes, classes), dtype=int)
    np.add.at(counts, (truth, predicted), 1)
    side = 2.6 + 0.45 * min(classes, LARGEST_WITH_NUMBERS)
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(counts, cmap="Blues", vmin=0)
    figure.colorbar(image, ax=axes, label="videos", ticks=MaxNLocator(integer=True))
    axes.set(xlabel="predicted", ylabel="true")
    if classes <= LARGEST_WITH_NUMBERS:
        axes.set_xticks(range(classes), labels, rotation=45, ha="right")
        axes.set_yticks(range(classes), labels)
        for (row, column), count in np.ndenumerate(counts):
            light = count > counts.max() / 2
            axes.text(
                column, row, str(count), ha="center", va="center", color="w" if light else "k"
            )
    return figure


def samples_figure(
    frames: Sequence[NDArray[np.uint8]],
    truth: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    labels: Sequence[str],
) -> Figure:
    """The middle frames of some videos, titled green where the class was found and red where not.

    Args:
        frames: (H, W, 3) each.
        truth: (N,) classes.
        probabilities: (N, C).
        labels: Names of the classes.
    """
    rows = -(-len(frames) // COLUMNS)
    figure = Figure(figsize=(2.6 * COLUMNS, 2.7 * rows), layout="constrained")
    all_axes = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    for axes in all_axes:
        axes.axis("off")
    for axes, frame, true, p in zip(all_axes, frames, truth, probabilities, strict=False):
        found = int(p.argmax())
        axes.imshow(frame)
        title = f"{labels[found]} {p[found]:.0%}"
        if found != true:
            title += f"\ntrue: {labels[true]}"
        axes.set_title(title, color=RIGHT if found == true else WRONG, fontsize=9, wrap=True)
    return figure
