"""A set of leg agility recordings: subjects, scores of both legs, OpenPose files, videos, truth."""

import logging
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import numpy as np
from tqdm import tqdm

from medvial.errors import InputError
from medvial.outputs import write_json
from medvial_training.phantoms.gait_agility import Trial, revisit, sample_scores
from medvial_training.phantoms.gait_files import (
    spaced,
    write_openpose_folder,
    write_openpose_zip,
    write_table,
    write_video,
)
from medvial_training.phantoms.gait_openpose import (
    FPS,
    HEIGHT,
    WIDTH,
    AgilityPhantom,
    make_leg_agility,
)

log = logging.getLogger(__name__)

Form = Literal["zip", "folder"]
MARKER, LABELS, TRUTH = "PHANTOM.json", "labels.csv", "PhantomTruth.csv"
DESCRIPTION = (
    "Drawn phantoms of the leg agility test with scores by the item's rule. They test software and "
    "say nothing about clinical accuracy."
)
UNRATED_SHARE = 0.05  # of legs: 3 of 62 in the source's data
UNRATED = "X"
LABEL_FIELDS = ("VideoId", "subject", "mds_updrs_left", "mds_updrs_right")
TRUTH_FIELDS = (
    *("VideoId", "leg", "score", "interruptions_level", "slowing_level", "decrement_level"),
    *("interruptions", "arrests", "taps", "start_s", "end_s", "peaks_s", "amplitudes_deg"),
    *("fps", "frames", "width", "height", "yaw_deg", "people"),
)


@dataclass(frozen=True)
class _Plan:
    """One recording to make."""

    name: str
    number: int
    subject: str
    left: int | None
    right: int | None
    film: bool


def write_leg_agility(
    out: Path,
    subjects: int = 40,
    *,
    seed: int = 1,
    most_visits: int = 2,
    form: Form = "zip",
    videos: int = 0,
    video_height: int = 480,
    workers: int = 2,
) -> None:
    """Write a set of phantom leg agility recordings.

    Leaves openpose/VIDEOID.zip or openpose/VIDEOIDJson/ (BODY_25, one JSON file a frame),
    labels.csv (VideoId, subject, mds_updrs_left, mds_updrs_right; X: not rated), PHANTOM.json,
    which marks the folder as phantoms, videos/VIDEOID.mp4 of the first `videos` recordings, and
    what no real set has: PhantomTruth.csv, one row a rated leg, with times and elevations of its
    taps. Scores are as unbalanced as in the source's data; the legs are examined one after the
    other, in any order.

    Args:
        out: Folder to write to.
        subjects: Number of subjects.
        seed: Same seed, same files.
        most_visits: Most recordings of a subject; the fewest is one.
        form: "zip", or "folder".
        videos: How many recordings are written as video too.
        video_height: Rows of the videos; the files of OpenPose are those of 540 x 960 pictures.
        workers: Processes that draw.

    Raises:
        InputError: Numbers that make no set.
    """
    if subjects < 1 or most_visits < 1 or videos < 0 or workers < 1 or video_height < 114:
        raise InputError(
            "Expected at least one subject, one visit, no less than 0 videos of 114 rows and one "
            f"process, got {subjects} subjects, {most_visits} visits, {videos} videos of "
            f"{video_height} rows, {workers} processes."
        )
    (out / "openpose").mkdir(parents=True, exist_ok=True)
    if videos:
        (out / "videos").mkdir(exist_ok=True)
    marker = {"phantom": True, "description": DESCRIPTION, "subjects": subjects, "seed": seed}
    write_json(out / MARKER, {**marker, "fps": FPS})
    plans = _plans(subjects, seed, most_visits, videos)
    job = partial(_write, out, seed, form, 2 * (video_height // 2))
    with ProcessPoolExecutor(workers, mp_context=get_context("forkserver")) as pool:
        done = pool.map(job, plans)
        rows = list(tqdm(done, desc="Leg agility", unit="video", total=len(plans), disable=None))
    labels = [[plan.name, plan.subject, _cell(plan.left), _cell(plan.right)] for plan in plans]
    write_table(out / LABELS, LABEL_FIELDS, labels)
    write_table(out / TRUTH, TRUTH_FIELDS, [line for row in rows for line in row])
    log.info(
        "%d phantom recordings of %d subjects in %s. %s", len(plans), subjects, out, DESCRIPTION
    )


def _plans(subjects: int, seed: int, most_visits: int, videos: int) -> list[_Plan]:
    rng = np.random.default_rng([seed, 0])
    plans: list[_Plan] = []
    for number, first in enumerate(sample_scores(rng, subjects).tolist(), 1):
        scores = first
        for visit in range(1, int(rng.integers(1, most_visits + 1)) + 1):
            left, right = (None if rng.random() < UNRATED_SHARE else score for score in scores)
            subject = f"PHANTOM{number:03d}"
            name = f"{subject}_{visit}_LA_1"
            plans.append(_Plan(name, len(plans), subject, left, right, len(plans) < videos))
            scores = [revisit(rng, score) for score in first]
    return plans


def _cell(score: int | None) -> object:
    return UNRATED if score is None else score


def _write(out: Path, seed: int, form: Form, video_height: int, plan: _Plan) -> list[list[object]]:
    key = [seed, 1, plan.number]
    phantom = make_leg_agility(key, plan.left, plan.right)
    folder = out / "openpose"
    if form == "zip":
        write_openpose_zip(folder / f"{plan.name}.zip", plan.name, phantom.people)
    else:
        write_openpose_folder(folder / f"{plan.name}Json", plan.name, phantom.people)
    if plan.film:
        width = 2 * round(video_height * WIDTH / HEIGHT / 2)
        small = make_leg_agility(key, plan.left, plan.right, height=video_height, width=width)
        write_video(out / "videos" / f"{plan.name}.mp4", small.film(), small.fps, small.shape)
    return [
        _truth(plan.name, leg, trial, phantom) for leg, trial in phantom.trials.items() if trial
    ]


def _truth(name: str, leg: str, trial: Trial, phantom: AgilityPhantom) -> list[object]:
    height, width = phantom.shape
    return [
        *(name, leg, trial.score, trial.interruptions_level, trial.slowing_level),
        *(trial.decrement_level, trial.interruptions, trial.arrests, len(trial.peaks_s)),
        *(f"{trial.start_s:.3f}", f"{trial.end_s:.3f}", spaced(trial.peaks_s)),
        *(spaced(trial.amplitudes_deg, 2), phantom.fps, len(phantom.people), width, height),
        *(f"{phantom.yaw_deg:.2f}", len(phantom.cast)),
    ]
