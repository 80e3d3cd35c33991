"""A set of walking videos: patients, sites, labels, truth."""

import io
import logging
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from medvial.errors import InputError
from medvial.outputs import write_bytes, write_json
from medvial_training.phantoms.gait_files import spaced, write_table, write_video
from medvial_training.phantoms.gait_video import Person, Shortcut, WalkingPhantom, make_walker

log = logging.getLogger(__name__)

MARKER, LABELS, TRUTH, FRAMES, JOINTS = (
    *("PHANTOM.json", "labels.csv", "PhantomTruth.csv"),
    *("PhantomFrames.csv", "PhantomJoints.npz"),
)
DESCRIPTION = (
    "Drawn phantoms of people who walk, with analytic joints. They test software and say nothing "
    "about clinical accuracy."
)
SITES = (("A", 30.0), ("B", 25.0), ("C", 50.0))  # name and frames per second
GOWNS = (0.83, 0.58, 0.02)  # hues of the sites' own shirts, where these give the label away
SetShortcut = Literal[Shortcut, "site"]
LABEL_FIELDS = ("video", "patient", "site", "label", "disease", "visit")
TRUTH_FIELDS = (
    *("video", "fps", "frames", "width", "height", "facing", "px_per_m", "bystander"),
    *("height_m", "speed_m_s", "cadence_per_min", "step_m", "step_time_s", "trunk_deg"),
    *("kyphosis_deg", "neck_deg", "gaze_deg", "thigh_shift_deg", "knee_shift_deg", "limp"),
    *("contacts_right_s", "contacts_left_s", "shirt"),
)
FRAME_FIELDS = (
    *("video", "frame", "x0", "y0", "x1", "y1", "visible"),
    *("other_x0", "other_y0", "other_x1", "other_y1"),
)


@dataclass(frozen=True)
class _Plan:
    """One video to make."""

    name: str
    patient: int
    asd: bool
    site: str
    fps: float
    visit: int
    shirt: float | None
    """Hue of the site's own shirts, if it has any."""


@dataclass(frozen=True)
class _Rows:
    """A video's lines in the tables, and its joints (T, 25, 2)."""

    label: list[object]
    truth: list[object]
    frames: list[list[object]]
    joints: NDArray[np.float32]


def write_walking(
    out: Path,
    patients: int = 60,
    *,
    seed: int = 1,
    height: int = 180,
    width: int = 320,
    clip_s: float = 2.4,
    least_videos: int = 2,
    most_videos: int = 4,
    shortcut: SetShortcut = "none",
    shortcut_share: float = 0.95,
    workers: int = 2,
) -> None:
    """Write a set of phantom walking videos.

    Leaves videos/*.mp4 (H.264; 25, 30 or 50 frames a second by site), labels.csv (video, patient,
    site, label ASD or ASD_not, disease, visit), PHANTOM.json, which marks the folder as phantoms,
    and what no real set has: PhantomTruth.csv, one row a video; PhantomFrames.csv, the boxes of the
    patient and of somebody else in each frame, empty where not in the picture; PhantomJoints.npz,
    per video the patient's exact BODY_25 joints (T, 25, 2) as (x, y) in pixels. Half of the
    patients have the deformity, at every site alike; clothes, room and light know nothing of it,
    unless `shortcut` says so.

    Args:
        out: Folder to write to.
        patients: Number of patients.
        seed: Same seed, same files.
        height: Rows.
        width: Columns.
        clip_s: Length of a video in seconds.
        least_videos: Fewest videos of a patient.
        most_videos: Most videos of a patient.
        shortcut: What gives the label away: the colour of the "clothes" or of the "background";
            "site", where patients wear shirts of the site's colour, while most of A have the
            deformity, most of B have not, and of C one half has; or "none". Only for tests of how
            one would notice.
        shortcut_share: In how many patients it does, 0 to 1; in the others it misleads.
        workers: Processes that draw.

    Raises:
        InputError: Numbers that make no set.
    """
    if patients < 2 or not 1 <= least_videos <= most_videos or workers < 1:
        raise InputError(
            "Expected at least two patients, one video a patient and one process, got "
            f"{patients} patients of {least_videos} to {most_videos} videos, {workers} processes."
        )
    if height % 2 or width % 2:
        raise InputError(f"Expected even sides for MP4, got {width} x {height} (width x height).")
    (out / "videos").mkdir(parents=True, exist_ok=True)
    marker = {"phantom": True, "description": DESCRIPTION, "patients": patients, "seed": seed,
              "shortcut": shortcut, "shortcut_share": shortcut_share}  # fmt: skip
    write_json(out / MARKER, marker)
    share = shortcut_share if shortcut == "site" else None
    plans = _plans(patients, seed, least_videos, most_videos, share)
    job = partial(_write, out, seed, (height, width), clip_s, shortcut, shortcut_share)
    with ProcessPoolExecutor(workers, mp_context=get_context("forkserver")) as pool:
        done = pool.map(job, plans, chunksize=4)
        rows = list(tqdm(done, desc="Walking", unit="video", total=len(plans), disable=None))
    write_table(out / LABELS, LABEL_FIELDS, (row.label for row in rows))
    write_table(out / TRUTH, TRUTH_FIELDS, (row.truth for row in rows))
    write_table(out / FRAMES, FRAME_FIELDS, (line for row in rows for line in row.frames))
    content = io.BytesIO()
    joints: dict[str, Any] = {p.name: row.joints for p, row in zip(plans, rows, strict=True)}
    np.savez_compressed(content, **joints)
    write_bytes(out / JOINTS, content.getvalue())
    log.info("%d phantom videos of %d patients in %s. %s", len(rows), patients, out, DESCRIPTION)


def _plans(
    patients: int, seed: int, least: int, most: int, share: float | None = None
) -> list[_Plan]:
    """Every patient's videos, in random order.

    Half of the patients have the deformity, sites dealt out within each half; or, where a share is
    given, that share of site A, the others of B, and half of C.
    """
    rng = np.random.default_rng([seed, 0])
    own = np.arange(patients)
    asd, sites = own % 2 == 0, own // 2 % len(SITES)
    if share is not None:
        place, sites = np.divmod(own, len(SITES))
        rates = np.array([share, 1 - share, 0.5])[sites]
        before, after = (np.floor(n * rates + 0.5) for n in (place, place + 1))
        asd = after > before
    order = rng.permutation(patients)
    plans = []
    for number, patient in enumerate(order, 1):
        site, fps = SITES[sites[patient]]
        shirt = None if share is None else GOWNS[sites[patient]]
        for visit in range(1, int(rng.integers(least, most + 1)) + 1):
            name = f"phantom{number:04d}_{visit}"
            plans.append(_Plan(name, number, bool(asd[patient]), site, fps, visit, shirt))
    return plans


def _write(
    out: Path, seed: int, shape: tuple[int, int], clip_s: float, shortcut: SetShortcut,
    shortcut_share: float, plan: _Plan,
) -> _Rows:  # fmt: skip
    phantom = make_walker(
        [seed, plan.patient],
        plan.asd,
        video=plan.visit,
        height=shape[0],
        width=shape[1],
        fps=plan.fps,
        clip_s=clip_s,
        shortcut="none" if shortcut == "site" else shortcut,
        shortcut_share=shortcut_share,
        shirt_hue=plan.shirt,
    )
    file = f"{plan.name}.mp4"
    write_video(out / "videos" / file, phantom.frames, plan.fps, shape)
    walker = phantom.walker
    label = "ASD" if phantom.asd else "ASD_not"
    return _Rows(
        [file, f"phantom{plan.patient:04d}", plan.site, label, walker.disease, plan.visit],
        _truth(file, phantom),
        _boxes(file, phantom),
        phantom.patient.joints_px.astype(np.float32),
    )


def _truth(file: str, phantom: WalkingPhantom) -> list[object]:
    count, height, width = phantom.frames.shape[:3]
    walker = phantom.walker
    numbers = (
        *(walker.height_m, phantom.cadence * walker.step_m / 60, phantom.cadence, walker.step_m),
        *(60 / phantom.cadence, walker.trunk_deg, walker.kyphosis_deg, walker.neck_deg),
        *(walker.gaze_deg, walker.thigh_shift_deg, walker.knee_shift_deg, walker.limp),
    )
    return [
        *(file, phantom.fps, count, width, height, phantom.facing, f"{phantom.px_per_m:.3f}"),
        int(phantom.bystander is not None),
        *(f"{number:.4f}" for number in numbers),
        *(spaced(phantom.contacts_s[side]) for side in ("right", "left")),
        spaced(phantom.look.shirt, 0),
    ]


def _boxes(file: str, phantom: WalkingPhantom) -> list[list[object]]:
    def cells(person: Person | None, frame: int) -> list[str]:
        box = None if person is None else person.boxes_px[frame]
        if box is None or np.isnan(box).any():
            return [""] * 4
        return [f"{value:.2f}" for value in box]

    return [
        [file, frame, *cells(phantom.patient, frame), f"{visible:.3f}",
         *cells(phantom.bystander, frame)]
        for frame, visible in enumerate(phantom.patient.visible)
    ]  # fmt: skip
