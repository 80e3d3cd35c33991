"""The model folder of a run: the network, and what is learned on the validation videos."""

import dataclasses
import logging
import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn

from medvial.models import SAFETENSORS, ModelFolder, load_network
from medvial.outputs import replace_folder, write_json
from medvial.video_classification import ClipConfig
from medvial.video_classification.learned import Learned
from medvial.video_classification.model import build_model
from medvial.video_classification.predictor import POSTPROCESS, TASK
from medvial_training.classification_scores import classification_scores
from medvial_training.clips.predictions import learn, predict, predictions_table
from medvial_training.metrics import Bootstrap
from medvial_training.tasks.video.videos import Prepared

log = logging.getLogger(__name__)

SCORES = ("accuracy", "top5_accuracy", "balanced_accuracy", "auroc")


def write_model(
    run: Path,
    net: nn.Module,
    config: ClipConfig,
    training: dict[str, Any],
    prepared: Prepared | None,
) -> Path:
    """Write run/model: the network, what is learned after training, and the manifest.

    The folder is made beside its place and moved there whole.

    Args:
        run: The run's folder.
        net: Its best network.
        config: Its configuration.
        training: Provenance, for the manifest.
        prepared: The data whose validation videos are learned from; None learns nothing.
    """
    part = run / "model.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    tensors = {name: value.contiguous() for name, value in net.cpu().state_dict().items()}
    save_file(tensors, part / SAFETENSORS)
    folder = _seal(part, config, Learned(), training, {})
    if prepared is not None:
        learned, metrics = _learn(folder, config, prepared)
        _seal(part, config, learned, training, metrics)
    replace_folder(part, run / "model")
    log.info("Model folder: %s", run / "model")
    return run / "model"


def _seal(
    part: Path,
    config: ClipConfig,
    learned: Learned,
    training: dict[str, Any],
    metrics: dict[str, Any],
) -> ModelFolder:
    write_json(part / POSTPROCESS, learned.as_dict())
    return ModelFolder.seal(
        part, task=TASK, config=dataclasses.asdict(config), training=training, metrics=metrics
    )


def _learn(
    folder: ModelFolder, config: ClipConfig, prepared: Prepared
) -> tuple[Learned, dict[str, Any]]:
    """Temperature and threshold, and the validation videos' scores with them."""
    items = prepared.items("valid", config.labels)
    network = load_network(folder, lambda: build_model(config))
    predictions = list(predict(prepared.store, items, network, config))
    learned = learn(predictions, config)
    at_temperature = predict(prepared.store, items, network, config, learned.temperature)
    table = predictions_table(list(at_temperature), config, learned)
    scores = classification_scores(
        table,
        config.labels,
        config.positive,
        threshold=learned.threshold,
        bootstrap=Bootstrap(resamples=100),
    )
    values = {name: scores[name]["value"] for name in SCORES if name in scores}
    known = {name: value for name, value in values.items() if value is not None}
    log.info(
        "Validation: %s, temperature %.3g%s",
        ", ".join(f"{name} {value:.4f}" for name, value in known.items()),
        learned.temperature,
        "; PHANTOMS, says nothing about real videos" if prepared.about.get("phantom") else "",
    )
    return learned, {"valid": known | {"cases": scores["cases"]}}
