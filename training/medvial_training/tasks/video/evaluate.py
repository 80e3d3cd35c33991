"""Step 3 of video: test a model on prepared videos, and show the result."""

import dataclasses
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from medvial.errors import InputError
from medvial.models import ModelFolder, load_network
from medvial.outputs import write_json
from medvial.video_classification import ClipConfig
from medvial.video_classification.learned import Learned
from medvial.video_classification.model import build_model
from medvial.video_classification.predictor import POSTPROCESS, TASK
from medvial_training.classification_scores import classification_scores
from medvial_training.clips.dataset import Item
from medvial_training.clips.predictions import Prediction, predict, predictions_table
from medvial_training.independence import notice, same_data, trained_on
from medvial_training.metrics import Bootstrap
from medvial_training.provenance import DATA_FIELDS, git_revision
from medvial_training.shares import join_shares
from medvial_training.tables import write_csv
from medvial_training.tasks.video.report import Tested, write_pictures
from medvial_training.tasks.video.videos import Prepared, Split

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)


def evaluate(
    data: Path = Path("data/video"),
    model: Path = Path("runs/video/model"),
    out: Path = Path("runs/video/test"),
    split: Split = "test",
    clips: int | None = None,
    crops: Literal[1, 3] | None = None,
    pictures: int = 12,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
    progress: bool = True,
) -> dict[str, Any]:
    """Classify the videos of a split as the container does, score them, and show the result.

    Writes metrics.json, predictions.csv, figures/ and report.html.

    Args:
        data: Folder that step 1 wrote.
        model: Model folder, of step 2 or any other.
        out: Folder for the results; files of the same names are replaced.
        split: The videos to test.
        clips: Clips of each video, spread evenly over it; the model's own number if not given.
        crops: Squares of each clip, the middle or three; the model's own number if not given.
        pictures: Videos to show: the surest errors first, then others.
        resamples: Bootstrap resamples of the patients, for the intervals.
        level: Coverage of the intervals.
        seed: Seed of the resamples.
        progress: Show a progress bar.

    Returns:
        What metrics.json holds; nothing in processes beside the main one.

    Raises:
        InputError: An option, the data or the model is unusable, they do not fit each other, or
            splits share a patient, a group or a video.
    """
    if pictures < 0:
        raise InputError(f"Expected --pictures of 0 or more, got {pictures}.")
    bootstrap = Bootstrap(resamples, seed, level)
    folder = ModelFolder.open(model, task=TASK)
    config = _with_views(folder.config(ClipConfig), clips, crops)
    learned = read_learned(folder)
    prepared = Prepared.open(data)
    prepared.check_config(config)
    items = prepared.items(split, config.labels)
    if not items:
        raise InputError(f"Expected videos in {data / split}.csv, got none. Run step 1 again.")
    network = load_network(folder, lambda: build_model(config))

    def work(item: Item) -> Prediction:
        return next(predict(prepared.store, [item], network, config, learned.temperature))

    found = join_shares().map(
        work, items, description="Classifying", unit="video", progress=progress
    )
    if found is None:  # the main process goes on alone
        return {}
    table = _with_groups(predictions_table(found, config, learned), prepared, split)
    metrics = _scores(table, config, learned, prepared.patients_known, bootstrap)
    metrics |= _circumstances(prepared, folder, config, learned, split, bootstrap)
    write_csv(out / "predictions.csv", [str(name) for name in table], table.to_numpy().tolist())
    tested = Tested(prepared, config, table, metrics, model.parent / "log.csv")
    write_pictures(out, tested, pictures)
    write_json(out / "metrics.json", metrics)  # last: its presence says that all is there
    _log_result(metrics, out)
    return metrics


def read_learned(folder: ModelFolder) -> Learned:
    """What was learned after training; the defaults, if the model holds none."""
    if POSTPROCESS not in folder.manifest.files:
        return Learned()
    return Learned.from_dict(folder.read_json(POSTPROCESS))


def _with_views(config: ClipConfig, clips: int | None, crops: Literal[1, 3] | None) -> ClipConfig:
    if clips is not None and clips < 1:
        raise InputError(f"Expected --clips of at least 1, got {clips}.")
    return dataclasses.replace(config, clips=clips or config.clips, crops=crops or config.crops)


def _with_groups(table: "pd.DataFrame", prepared: Prepared, split: str) -> "pd.DataFrame":
    """The group of each video, which intervals resample, beside its patient."""
    groups = prepared.splits[split].set_index("image_id")["group"]
    table.insert(2, "group", [groups[video] for video in table["video"]])
    return table


def _scores(
    table: "pd.DataFrame",
    config: ClipConfig,
    learned: Learned,
    patients_known: bool,
    bootstrap: Bootstrap,
) -> dict[str, Any]:
    """Scores by video and, where the source names patients, by patient."""

    def scored(by: Literal["patient", "video"]) -> dict[str, Any]:
        return classification_scores(
            table,
            config.labels,
            config.positive,
            by=by,
            threshold=learned.threshold,
            bootstrap=bootstrap,
        )

    return {"videos": scored("video"), "patients": scored("patient") if patients_known else None}


def _circumstances(
    prepared: Prepared,
    folder: ModelFolder,
    config: ClipConfig,
    learned: Learned,
    split: str,
    bootstrap: Bootstrap,
) -> dict[str, Any]:
    """What was tested on what, by which software; no path of a machine."""
    about, manifest = prepared.about, folder.manifest
    same = same_data(manifest, prepared.folder)
    said = notice(split, "videos") if same else None
    if about.get("within_video"):
        said = (
            "training, validation and test are parts of the same videos: this says nothing about "
            "new videos"
        )
    network = config.network if config.fusion == "slow" else f"{config.fusion} {config.depth}"
    return {
        "task": TASK,
        "split": split,
        "phantom": bool(about.get("phantom")),
        "data": {name: about.get(name) for name in DATA_FIELDS},
        "model": {
            "files": manifest.files,
            "network": network,
            "clip_s": config.clip_s,
            "clip_frames": config.clip_frames,
            "views": [config.clips, config.crops],
            "size": [config.resize, config.crop],
            "temperature": learned.temperature,
            "trained_on": trained_on(manifest, same, split, "videos"),
            "trained_on_phantoms": bool(manifest.training.get("data", {}).get("phantom")),
        },
        "notice": said,
        "within_video": bool(about.get("within_video")),
        "bootstrap": {"unit": "patient or group", **vars(bootstrap)},
        "git_revision": git_revision(),
        "date": datetime.now(UTC).date().isoformat(),
    }


def _log_result(metrics: dict[str, Any], out: Path) -> None:
    scores = metrics["patients"] or metrics["videos"]
    named = ("accuracy", "top5_accuracy", "balanced_accuracy", "auroc")
    known = [(name, scores.get(name, {}).get("value")) for name in named]
    log.info(
        "%s (%d %ss%s).",
        ", ".join(f"{name} {value:.4f}" for name, value in known if value is not None),
        scores["cases"],
        scores["unit"],
        "; PHANTOMS, says nothing about real videos" if metrics["phantom"] else "",
    )
    if metrics["notice"]:
        log.info("Notice: %s.", metrics["notice"])
    log.info("Report: %s", out / "report.html")
