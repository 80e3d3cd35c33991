"""What a network says of stored videos, and what is learned from it on validation videos."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from medvial.models import Network
from medvial.video_classification.classify import Classified, classify
from medvial.video_classification.config import ClipConfig
from medvial.video_classification.learned import Learned
from medvial_training.calibrate import fit_temperature, fit_threshold
from medvial_training.cases import cases_of, probability_columns
from medvial_training.clips.dataset import Item
from medvial_training.clips.store import ClipStore

log = logging.getLogger(__name__)

LEAST_PER_CLASS = 5  # validation videos; with fewer, the smoothed targets say more than they do


@dataclass(frozen=True)
class Prediction:
    """What a network says of one video."""

    item: Item
    classified: Classified
    logits: NDArray[np.float64]
    """(V, C) of each view: clips times squares."""


def predict(
    store: ClipStore,
    items: Sequence[Item],
    network: Network,
    config: ClipConfig,
    temperature: float = 1.0,
    *,
    progress: bool = False,
) -> Iterator[Prediction]:
    """Classify stored videos by the very function of the container.

    Args:
        store: Holds the videos.
        items: Which.
        network: (N, 3, T, h, w) normalised to logits (N, C).
        config: What a clip is, and how many there are.
        temperature: Divides the logits.
        progress: Show a progress bar.
    """
    bar = tqdm(items, desc="Classifying", unit="video", disable=None if progress else True)
    for item in bar:
        views: list[NDArray[np.float32]] = []

        def noted(batch: NDArray[np.float32], kept: list[Any] = views) -> NDArray[np.float32]:
            kept.append(network(batch))
            return np.asarray(kept[-1], dtype=np.float32)

        frames = store.frames(item.video)
        times_s = store.times_s(item.video)
        classified = classify(frames.__getitem__, times_s, noted, config, temperature)
        yield Prediction(item, classified, np.concatenate(views).astype(np.float64))


def predictions_table(
    predictions: Sequence[Prediction], config: ClipConfig, learned: Learned
) -> pd.DataFrame:
    """A row a video: `video`, `patient`, `label`, `predicted`, the threshold, and p_LABEL.

    A video whose patient nobody knows is a patient of its own.
    """
    labels, columns = config.labels, probability_columns(config.labels)
    rows = [
        {
            "video": p.item.video,
            "patient": p.item.patient or p.item.video,
            "label": labels[p.item.label],
            "predicted": learned.label(p.classified.probabilities, config),
            "clips": len(p.classified.starts_s),
            "threshold": learned.threshold,
        }
        | dict(zip(columns, p.classified.probabilities.tolist(), strict=True))
        for p in predictions
    ]
    return pd.DataFrame(rows)


def learn(predictions: Sequence[Prediction], config: ClipConfig) -> Learned:
    """Temperature and, of two classes with a positive one, threshold, from validation videos.

    Args:
        predictions: Of the validation videos; too few for their classes teach nothing.
        config: Gives the classes.
    """
    if len(predictions) < LEAST_PER_CLASS * len(config.labels):
        log.info(
            "%d validation videos of %d classes are too few to learn a temperature from: it is 1.",
            len(predictions),
            len(config.labels),
        )
        return Learned()
    counts = [len(p.logits) for p in predictions]
    temperature = fit_temperature(
        np.concatenate([p.logits for p in predictions]),
        np.repeat([p.item.label for p in predictions], counts),
        np.repeat(np.arange(len(predictions)), counts),
    )
    learned = Learned(temperature=temperature, videos=len(predictions))
    if config.positive is None or len(config.labels) != 2:
        return learned
    positive = config.labels.index(config.positive)
    table = predictions_table([_at(p, temperature) for p in predictions], config, learned)
    cases = cases_of(table, config.labels)
    threshold = fit_threshold(cases.probabilities[:, positive], cases.truth == positive)
    return Learned(temperature=temperature, threshold=threshold, videos=len(predictions))


def _at(prediction: Prediction, temperature: float) -> Prediction:
    """The same at another temperature."""
    scaled = prediction.logits / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    views = powers / powers.sum(axis=1, keepdims=True)
    starts_s = prediction.classified.starts_s
    clips = views.reshape(len(starts_s), -1, views.shape[1]).mean(axis=1)
    return Prediction(
        prediction.item, Classified(starts_s, clips, clips.mean(axis=0)), prediction.logits
    )
