r"""How well the marks of ISBI 2015 repeat: films that training and Test1 share were marked twice.

    python benchmarks/isbi2015_repeats.py --labels OUT/isbi.csv \
        --pairs OUT/leak-free/data/near_duplicates.csv

Mean of two doctors against mean of the same two doctors on the same film, at another time; MRE,
SDR 2 mm and the mean shift of each landmark, the later ones (Test1, 151 to 300) less those of
training (1 to 150). The first file is what `isbi2015.sh` makes, the second what step 1 found. What
is left without the shift, by the root of 2, is the noise of one marking: it is in both.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from medvial.cldetection.landmarks import load_landmark_set

TRAINING = 150  # numbers up to this; Test1 up to twice this


def marks(labels: Path) -> dict[int, np.ndarray]:
    """(19, 2) marks in mm as (x, y), by the number of the film."""
    table = pd.read_csv(labels)
    columns = [f"p{number}{axis}" for number in range(1, 20) for axis in "xy"]
    points = table[columns].to_numpy().reshape(-1, 19, 2) * table["scale"].to_numpy()[:, None, None]
    numbers = [int(Path(str(name)).stem) for name in table["file"]]
    return dict(zip(numbers, points, strict=True))


def main() -> None:
    """Print the agreement, and a row per landmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--pairs", type=Path, required=True)
    options = parser.parse_args()
    known = marks(options.labels)
    pairs = pd.read_csv(options.pairs)[["image_a", "image_b"]].astype(int).to_numpy()
    pairs = np.sort(pairs, axis=1)
    pairs = pairs[(pairs[:, 0] <= TRAINING) & (pairs[:, 1] > TRAINING)]
    shift = np.array([known[later] - known[earlier] for earlier, later in pairs])
    errors, mean = np.linalg.norm(shift, axis=2), shift.mean(axis=0)
    rest = np.linalg.norm(shift - mean, axis=2)
    print(f"{len(pairs)} films marked twice: MRE {errors.mean():.3f} mm, ", end="")
    print(f"SDR 2 mm {100 * (errors < 2).mean():.1f} %; ", end="")
    print(f"without the mean shift {rest.mean():.3f} mm, {100 * (rest < 2).mean():.1f} %;")
    spread = np.sqrt((rest**2).mean() * len(pairs) / (len(pairs) - 1))
    print(f"noise of one marking: mean {rest.mean() / 2**0.5:.2f}, ", end="")
    print(f"root mean square {spread / 2**0.5:.2f} mm\n")
    print("| landmark | MRE, mm | mean shift x, mm | y, mm |\n|---|---|---|---|")
    for index, symbol in enumerate(load_landmark_set("isbi-19").symbols):
        x, y = mean[index]
        print(f"| {symbol} | {errors[:, index].mean():.2f} | {x:+.2f} | {y:+.2f} |")


if __name__ == "__main__":
    main()
