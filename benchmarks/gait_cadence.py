"""Cadence of drawn walkers, as the container reads it from their videos, against what was drawn.

    python -m medvial_training.phantoms.gait --out phantoms
    python benchmarks/gait_cadence.py phantoms/walking [--videos 90]

Says of how many videos a cadence is read, and how far it is off. These are phantoms, of one to two
seconds most: nothing is said about people.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from medvial.gait.blazepose import BlazePose
from medvial.gait.person_quality import assess
from medvial.gait.tracker import follow
from medvial.gait.walking.kinematics import Measurement, measure
from medvial.gait.walking.landmarks import walk_landmarks
from medvial.video import open_cine


def main() -> None:
    """Measure, print the worst videos and a line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="with PhantomTruth.csv and videos/")
    parser.add_argument("--videos", type=int, default=90, help="how many, the first by name")
    options = parser.parse_args()
    truth = pd.read_csv(options.folder / "PhantomTruth.csv").sort_values("video")
    truth = truth.head(options.videos)
    blazepose = BlazePose()
    found = [
        cadence(options.folder / "videos" / video, blazepose) for video in tqdm(truth["video"])
    ]
    read = np.array([np.nan if one.value is None else one.value for one in found])
    off = np.abs(read / truth["cadence_per_min"].to_numpy() - 1)
    for index in np.argsort(-np.nan_to_num(off))[:5]:
        row = truth.iloc[index]
        print(f"{row['video']}: drawn {row['cadence_per_min']:.0f}, read {read[index]:.0f}")
    known = off[np.isfinite(off)]
    print(
        f"{len(known)} of {len(off)} videos have a cadence; off by {np.median(known):.1%} (median) "
        f"and {np.quantile(known, 0.9):.1%} (90th percentile); {np.sum(known > 0.1)} by over 10 %"
    )


def cadence(video: Path, blazepose: BlazePose) -> Measurement:
    """As the container reads it."""
    with open_cine(video) as cine:
        person = follow(cine, blazepose)
        direction = assess(person, cine.info.notes).direction
        return measure(walk_landmarks(cine, person, blazepose, direction))["cadence"]


if __name__ == "__main__":
    main()
