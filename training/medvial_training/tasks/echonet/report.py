"""The report of a test: figures, overlay videos of chosen films, and the page."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

from medvial.echonet.networks import EJECTION_FRACTION, SEGMENTATION, EchoNetworks
from medvial.echonet.postprocess import Learned
from medvial.outputs import write_bytes
from medvial_training.figure_style import WARN
from medvial_training.metrics import Bootstrap
from medvial_training.report import figure_png, fixed, image_uri, write_report
from medvial_training.tasks.echonet import figures
from medvial_training.tasks.echonet.dice import per_video
from medvial_training.tasks.echonet.measure import Measured, frame_rate, measure
from medvial_training.tasks.echonet.overlay_video import Film, write_still, write_video
from medvial_training.tasks.echonet.recordings import Recordings
from medvial_training.tasks.echonet.scores import METHODS, EjectionFractions, overlaps

TEMPLATE = Path(__file__).parent / "templates" / "report.html"
PHANTOM = "Phantoms: says nothing about clinical accuracy"
SHORT = {
    "result": "mean over the beats (the container’s)",
    "one_clip": "one clip, at the start",
    "all_clips": "mean over all clips",
    "r_script": "beat by beat, R script’s rules",
    "masks": "masks, mean over the beats",
    "masks_traced_frames": "masks, at the traced frames",
    "traces": "the expert’s own traces",
}


@dataclass(frozen=True)
class Tested:
    """Everything that a report is made of."""

    networks: EchoNetworks
    learned: Learned
    recordings: Recordings
    measured: list[Measured]
    ef: EjectionFractions
    metrics: dict[str, Any]
    """What metrics.json holds."""
    bootstrap: Bootstrap
    logs: Path | None = None
    """Folder with <network>/log.csv of the training."""


@dataclass(frozen=True)
class Case:
    """A film that the page shows."""

    index: int
    kind: str
    """worst or typical."""


def write_pictures(out: Path, tested: Tested, *, overlays: int, progress: bool) -> None:
    """Write overlays/<video>.mp4 and .png of chosen films, figures/*.png and report.html."""
    chosen = choose_cases(tested, overlays)
    bar = tqdm(chosen, desc="Drawing", unit="film", disable=None if progress else True)
    cases = [_draw_case(out / "overlays", tested, case) for case in bar]
    drawn: dict[str, dict[str, Any]] = {}
    for name, figure in draw_figures(tested).items():
        if tested.metrics["phantom"]:
            figure.suptitle(PHANTOM, fontsize=8, color=WARN)
        content = figure_png(figure)
        write_bytes(out / "figures" / f"{name}.png", content)
        drawn[name] = {"uri": image_uri(content), "width_px": round(96 * figure.get_figwidth())}
    write_report(out / "report.html", TEMPLATE, _context(tested, drawn, cases))


def choose_cases(tested: Tested, count: int) -> list[Case]:
    """The worst films by EF error (by Dice without EF), and as many around the median."""
    order = _worst_first(tested)
    worst = order[: count // 2 + count % 2]
    rest = order[len(worst) :]
    middle = max(0, (len(rest) - count // 2) // 2)
    typical = rest[middle : middle + count // 2]
    return [Case(i, "worst") for i in worst] + [Case(i, "typical") for i in typical]


def draw_figures(tested: Tested) -> dict[str, Figure]:
    """The figures that the results allow, by name."""
    metrics, ef = tested.metrics, tested.ef
    drawn: dict[str, Figure | None] = {}
    if ef.main and metrics["ejection_fraction"][ef.main]["videos"]:
        values = ef.predicted[ef.main]
        drawn["agreement"] = figures.agreement_figure(ef.truth, values)
        drawn["roc"] = figures.roc_figure(ef.truth, values, metrics["auc"])
    if metrics["error_by_beats"]:
        drawn["beats"] = figures.beats_figure(metrics["error_by_beats"])
    if metrics["dice"] is not None:
        drawn["dice"] = figures.dice_figure(per_video(overlaps(tested.measured)))
    if tested.logs is not None:
        names = (SEGMENTATION, EJECTION_FRACTION)
        drawn["training"] = figures.training_figure(
            {name: tested.logs / name / "log.csv" for name in names}
        )
    return {name: figure for name, figure in drawn.items() if figure is not None}


def _worst_first(tested: Tested) -> list[int]:
    """Films with a segmentation, by EF error, largest first; by Dice where there is no EF."""
    ef = tested.ef
    badness = np.full(len(tested.measured), np.nan)
    if ef.main:
        badness = np.abs(ef.predicted[ef.main] - ef.truth)
    if not np.isfinite(badness).any():
        dice = {row["video"]: row["overall"] for row in per_video(overlaps(tested.measured))}
        badness = np.array([-dice.get(name, np.nan) for name in ef.videos])
    known = [i for i in range(len(badness)) if np.isfinite(badness[i])]
    usable = [i for i in known if tested.measured[i].sizes.size]
    return sorted(usable, key=lambda i: -badness[i])


def _draw_case(folder: Path, tested: Tested, case: Case) -> dict[str, Any]:
    """Draw one film; its masks are found once more, so that no film's masks are kept."""
    measured = tested.measured[case.index]
    film = _film(tested, case.index)
    still = folder / f"{measured.recording.video}.png"
    write_still(still, film)
    name = None
    if measured.recording.is_cine:
        name = write_video(folder / measured.recording.video, film).name
    return {
        "kind": case.kind,
        "video": measured.recording.video,
        "file": name,
        "caption": film.subtitle,
        "picture": image_uri(still.read_bytes()),
    }


def _film(tested: Tested, index: int) -> Film:
    recording = tested.measured[index].recording
    model = tested.networks, tested.learned
    again, masks = measure(*model, tested.recordings, recording, masks_only=True)
    assert masks is not None  # only films with a segmentation are chosen
    beats = [] if again.analysis is None else [b.beat for b in again.analysis.beats]
    return Film(
        title=recording.video,
        subtitle=_subtitle(tested, index),
        frames=tested.recordings.frames(recording),
        masks=masks,
        fps=frame_rate(recording),
        end_diastoles=[beat.ed for beat in beats if beat.ed_seen],
        end_systoles=[beat.es for beat in beats if beat.es_seen],
        traced={t.frame: tested.recordings.mask(t) for t in recording.traces},
        traced_phases={t.frame: t.phase for t in recording.traces},
    )


def _subtitle(tested: Tested, index: int) -> str:
    """The film's numbers in one line of plain ASCII, for the picture's header."""
    measured, ef = tested.measured[index], tested.ef
    parts = [f"EF expert {fixed(_known(ef.truth[index]), 1)} %"]
    if ef.main:
        value = fixed(_known(ef.predicted[ef.main][index]), 1)
        parts.append(f"model {value} %")
    if ef.main == "result" and "masks" in ef.predicted:
        parts.append(f"masks {fixed(_known(ef.predicted['masks'][index]), 1)} %")
    row = next(iter(per_video(overlaps([measured]))), None)
    if row is not None:
        parts.append(f"Dice {fixed(_known(row['overall']), 3)}")
    if measured.recording.is_cine:
        parts.append(f"{frame_rate(measured.recording):.0f} frames/s")
    if tested.metrics["phantom"]:
        parts.append("PHANTOM")
    return "   ".join(parts).replace("\N{MINUS SIGN}", "-").replace("–", "-")


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _context(
    tested: Tested, drawn: dict[str, dict[str, Any]], cases: list[dict[str, Any]]
) -> dict[str, Any]:
    """What the template names."""
    metrics = tested.metrics
    main = metrics["main_method"]
    return {
        "metrics": metrics,
        "phantom": metrics["phantom"],
        "notice": metrics["notice"],
        "main": metrics["ejection_fraction"].get(main) if main else None,
        "main_title": METHODS[main] if main else None,
        "methods": METHODS,
        "short": SHORT,
        "level": f"{100 * tested.bootstrap.level:g} %",
        "figures": drawn,
        "worst": [case for case in cases if case["kind"] == "worst"],
        "typical": [case for case in cases if case["kind"] == "typical"],
    }
