"""Step 3 of echonet: test a model on prepared videos, and show the result."""

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from medvial.echonet.config import Config
from medvial.echonet.networks import EchoNetworks
from medvial.echonet.postprocess import POSTPROCESS, Learned
from medvial.errors import InputError
from medvial.models import Manifest, ModelFolder
from medvial.outputs import read_json, write_json
from medvial_training.independence import notice, same_data, trained_on
from medvial_training.metrics import Bootstrap
from medvial_training.provenance import DATA_FIELDS, git_revision
from medvial_training.shares import join_shares
from medvial_training.tasks.echonet.measure import Measured, measure
from medvial_training.tasks.echonet.recordings import Recording, Recordings, Split
from medvial_training.tasks.echonet.report import Tested, write_pictures
from medvial_training.tasks.echonet.result_tables import write_tables
from medvial_training.tasks.echonet.scores import METHODS, all_scores, gather
from medvial_training.tasks.echonet.source_logs import write_source_logs

log = logging.getLogger(__name__)

TASK = "echonet"


def evaluate(
    data: Path = Path("data/echonet"),
    model: Path = Path("runs/echonet/model"),
    out: Path = Path("runs/echonet/test"),
    split: Split = "test",
    all_clips: bool = False,
    overlays: int = 6,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
    progress: bool = True,
) -> dict[str, Any]:
    """Analyse the videos of a split as the container does, score them, and show the result.

    Writes metrics.json, tables, the source's files, overlay videos and report.html.

    Args:
        data: Folder that step 1 wrote.
        model: Model folder, of step 2 or any other; one network alone is tested alone.
        out: Folder for the results; files of the same names are replaced.
        split: The videos to test.
        all_clips: Also average over the clips at every frame, as the source does: about thirty
            times the work of beat by beat, for nearly the same number.
        overlays: Overlay videos to draw: half of them the worst, half typical ones.
        resamples: Bootstrap resamples of the patients, for the intervals.
        level: Coverage of the intervals. The source's own are of 0.9; for Dice they stand in
            metrics.json as `source_interval`.
        seed: Seed of resamples and of the draws of beats.
        progress: Show progress bars.

    Returns:
        What metrics.json holds; nothing in processes beside the main one.

    Raises:
        InputError: The data or the model is unusable, they do not fit each other, or patients
            are shared between splits.
    """
    folder = ModelFolder.open(model, task=TASK)
    return evaluate_networks(
        EchoNetworks.load(folder),
        read_learned(folder),
        folder.manifest,
        data,
        out,
        split=split,
        all_clips=all_clips,
        overlays=overlays,
        bootstrap=Bootstrap(resamples, seed, level),
        logs=model.parent,
        progress=progress,
    )


def evaluate_networks(
    networks: EchoNetworks,
    learned: Learned,
    manifest: Manifest,
    data: Path,
    out: Path,
    *,
    split: Split = "test",
    all_clips: bool = False,
    overlays: int = 6,
    bootstrap: Bootstrap,
    logs: Path | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """As `evaluate`, with any networks; `logs` holds <network>/log.csv of their training."""
    if overlays < 0:
        raise InputError(f"Expected --overlays of 0 or more, got {overlays}.")
    recordings = Recordings(data, split)
    _check(recordings, networks.config, data, split)

    def work(recording: Recording) -> Measured:
        return measure(networks, learned, recordings, recording, all_clips=all_clips)[0]

    measured = join_shares().map(
        work, recordings.all, description="Analysing", unit="video", progress=progress
    )
    if measured is None:  # the main process goes on alone
        return {}
    ef = gather(measured)
    metrics = all_scores(measured, ef, bootstrap, bootstrap.seed)
    metrics |= _circumstances(data, manifest, networks, learned, split, bootstrap)
    write_tables(out, split, measured, ef)
    if logs is not None:
        write_source_logs(out, logs)
    tested = Tested(networks, learned, recordings, measured, ef, metrics, bootstrap, logs)
    write_pictures(out, tested, overlays=overlays, progress=progress)
    write_json(out / "metrics.json", metrics)  # last: its presence says that all is there
    _log_result(metrics, out)
    return metrics


def read_learned(folder: ModelFolder) -> Learned:
    """What was learned after training; nothing, if the model holds none."""
    if POSTPROCESS not in folder.manifest.files:
        return Learned()
    return Learned.from_dict(folder.read_json(POSTPROCESS))


def _check(recordings: Recordings, config: Config, data: Path, split: str) -> None:
    if not recordings.all:
        raise InputError(f"Expected videos in {data / split}.csv, got none. Run step 1 again.")
    got = recordings.frames(recordings.all[0]).shape[1:]
    if got != (config.height, config.width):
        raise InputError(
            f"Expected frames of {config.width} x {config.height}, which the model was trained "
            f"on, in {data}, got {got[1]} x {got[0]}. Prepare the data with the model's size."
        )


def _circumstances(
    data: Path,
    manifest: Manifest,
    networks: EchoNetworks,
    learned: Learned,
    split: str,
    bootstrap: Bootstrap,
) -> dict[str, Any]:
    """What was tested on what, by which software; no path of a machine."""
    source = read_json(data / "source.json") if (data / "source.json").is_file() else {}
    config, same = networks.config, same_data(manifest, data)
    return {
        "task": TASK,
        "split": split,
        "phantom": bool(source.get("phantom")),
        "data": {name: source.get(name) for name in DATA_FIELDS},
        "model": {
            "files": manifest.files,
            "networks": {
                "segmentation": config.segmentation if networks.segmentation else None,
                "ejection_fraction": config.ejection_fraction if networks.regression else None,
            },
            "frame": [config.width, config.height],
            "clip": _clip(config),
            "interval_coverage": learned.coverage if learned.half_width is not None else None,
            "trained_on": trained_on(manifest, same, split, "videos"),
            "trained_on_phantoms": bool(manifest.training.get("data", {}).get("phantom")),
        },
        "notice": notice(split, "videos") if same else None,
        "bootstrap": {"unit": "patient", **vars(bootstrap)},
        "methods": METHODS,
        "git_revision": git_revision(),
        "date": datetime.now(UTC).date().isoformat(),
    }


def _clip(config: Config) -> str:
    """How clips are sampled, in words."""
    if config.frame_interval_s > 0:
        return f"{config.clip_frames} frames, {1000 * config.frame_interval_s:g} ms apart"
    return f"{config.clip_frames} frames, one in {config.frame_period}"


def _log_result(metrics: dict[str, Any], out: Path) -> None:
    parts = []
    if metrics["dice"] is not None:
        value = metrics["dice"]["pooled"]["overall"]["value"]
        parts.append(f"Dice {np.nan if value is None else value:.4f}")
    main = metrics["main_method"]
    scores = metrics["ejection_fraction"].get(main, {})
    if scores.get("videos"):
        parts.append(f"EF MAE {scores['mae']['value']:.2f} points ({main})")
    phantom = "; PHANTOMS, says nothing about clinical accuracy" if metrics["phantom"] else ""
    videos = metrics["counts"]["videos"]
    log.info("%s (%d videos%s).", ", ".join(parts) or "Nothing was scored", videos, phantom)
    log.info("Report: %s", out / "report.html")
