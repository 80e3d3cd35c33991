"""Step 1 of cldetection on a stack of 40 films, against doing it plainly on the whole stack.

    python benchmarks/step1_stack.py [--films FOLDER] [--count 40] [--repeats 3]

Every run is a fresh process; wall time and peak resident memory include Python's start and all
imports. The plain way is what the CL-Detection 2023 baseline does: SimpleITK reads the whole stack
into an array; each film loses its zero padding and is resized in double precision with an
anti-aliasing Gaussian (scikit-image's `resize`, which is not installed here, spelled out with
scipy.ndimage), as RGB; both write PNG files of network size. Ours also finds repeated films,
makes the splits and measures mean and std.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "shared"), str(ROOT / "training")]
SLICE_HEIGHT, SLICE_WIDTH = 2400, 2880  # of CL-Detection 2023
LANDMARKS = 38
MOST_MB, LEAST_RATIO = 400, 3.0


def main() -> int:
    """Make the stacks, time both ways on each, print a table; exit code 1 beyond the limits."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--films", type=Path, default=ROOT.parent / "shared/data/isbi2015/images")
    parser.add_argument("--count", type=int, default=40, help="films in the stack")
    parser.add_argument("--repeats", type=int, default=3, help="runs of which the median counts")
    parser.add_argument("--run", nargs=3, metavar=("WAY", "SOURCE", "OUT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        way, source, out = options.run
        run_once(way, Path(source), Path(out))
        return 0
    good = True
    print(f"{options.count} films, median of {options.repeats}, {os.cpu_count()} CPU cores")
    print(
        f"{'stack':<14}{'way':<8}{'wall s':>9}{'CPU s':>9}{'peak MB':>9}{'film/s':>8}{'times':>7}"
    )
    for form in ("uncompressed", "compressed"):
        with tempfile.TemporaryDirectory(prefix="step1_stack.") as folder:
            source = Path(folder) / "raw"
            write_stack(source, options.films, options.count, compressed=form == "compressed")
            plain, ours = measure_both(source, options.repeats)
        ratio = plain[0] / ours[0]
        for way, (wall, cpu, peak_mb), times in (("plain", plain, 1.0), ("ours", ours, ratio)):
            speed = options.count / wall
            print(f"{form:<14}{way:<8}{wall:9.2f}{cpu:9.2f}{peak_mb:9.0f}{speed:8.1f}{times:7.1f}")
        good = good and ratio >= LEAST_RATIO and ours[2] <= MOST_MB
    print(f"at least {LEAST_RATIO:g} times and at most {MOST_MB} MB: {'yes' if good else 'NO'}")
    return 0 if good else 1


def write_stack(folder: Path, films: Path, count: int, *, compressed: bool) -> None:
    """A stack of real films where there are some, else of phantoms, in the challenge's form."""
    import numpy as np

    from medvial.errors import InputError
    from medvial.metaimage_writer import ImageGeometry, MetaImageWriter
    from medvial.stacks import open_stack
    from medvial_training.phantoms.cldetection import make_phantom

    real = sorted(films.glob("*.jpg"))[:count] if films.is_dir() else []
    folder.mkdir(parents=True)
    points = []
    path, geometry = folder / "train_stack.mha", ImageGeometry((SLICE_WIDTH, SLICE_HEIGHT, count))
    with MetaImageWriter(path, geometry, channels=3, compressed=compressed) as stack:
        for number in range(1, count + 1):
            if len(real) == count:
                (film,) = open_stack(real[number - 1])
                if isinstance(film, InputError):
                    raise film
            else:
                film = np.repeat(make_phantom(number)[0][..., None], 3, axis=2)
            slice_ = np.zeros((SLICE_HEIGHT, SLICE_WIDTH, 3), np.uint8)
            slice_[: film.shape[0], : film.shape[1]] = film
            stack.write(slice_)
            points += [
                {"name": name, "point": [1000 + 9 * name, 40 * name, number], "scale": "0.1"}
                for name in range(1, LANDMARKS + 1)
            ]
    (folder / "train-gt.json").write_text(json.dumps({"points": points}))


def measure_both(source: Path, repeats: int) -> list[tuple[float, float, float]]:
    """Per way the medians of wall s, CPU s and peak MB; the ways take turns."""
    runs: dict[str, list[tuple[float, float, float]]] = {"plain": [], "ours": []}
    for _ in range(repeats):
        for way, results in runs.items():
            results.append(measure(way, source))
    return [
        (statistics.median(wall), statistics.median(cpu), statistics.median(peak_mb))
        for wall, cpu, peak_mb in (zip(*results, strict=True) for results in runs.values())
    ]


def measure(way: str, source: Path) -> tuple[float, float, float]:
    """Wall time and CPU time in s, and peak resident memory in MB, of a fresh process."""
    with tempfile.TemporaryDirectory(prefix="step1_out.") as out:
        command = [sys.executable, __file__, "--run", way, str(source), out]
        start = time.perf_counter()
        result = subprocess.run(command, capture_output=True, text=True)
        wall = time.perf_counter() - start
    if result.returncode:
        raise SystemExit(f"{way}: {result.stderr}")
    used = json.loads(result.stdout.splitlines()[-1])
    return wall, used["cpu_s"], used["peak_mb"]


def run_once(way: str, source: Path, out: Path) -> None:
    """One run; the last line of its output says what it took."""
    if way == "ours":
        from medvial_training.tasks.cldetection.prepare import prepare

        prepare(source, out)
    else:
        prepare_plainly(source, out)
    used = resource.getrusage(resource.RUSAGE_SELF)
    peak_mb = used.ru_maxrss * 1024 / 1e6  # Linux gives kB
    print(json.dumps({"cpu_s": used.ru_utime + used.ru_stime, "peak_mb": peak_mb}))


def prepare_plainly(source: Path, out: Path) -> None:
    """The whole stack at once, one film after the other, in double precision."""
    import cv2
    import numpy as np
    import SimpleITK as sitk  # noqa: N813 the library's customary name
    from scipy import ndimage

    from medvial.cldetection.config import Config

    size = np.array([Config().height, Config().width])
    (out / "images").mkdir()
    stack = sitk.GetArrayFromImage(sitk.ReadImage(str(source / "train_stack.mha")))
    for number, film in enumerate(stack, start=1):
        last_row = np.flatnonzero(film.sum(axis=(1, 2)))[-1]
        last_column = np.flatnonzero(film.sum(axis=(0, 2)))[-1]
        content = film[: last_row + 1, : last_column + 1] / 255.0
        factors = np.array(content.shape[:2]) / size
        sigma = (*np.maximum(0, (factors - 1) / 2), 0)  # scikit-image's anti-aliasing
        smooth = ndimage.gaussian_filter(content, sigma, mode="mirror")
        small = ndimage.zoom(smooth, (*(1 / factors), 1), order=1, mode="mirror", grid_mode=True)
        image = np.rint(np.clip(small, 0, 1) * 255).astype(np.uint8)
        cv2.imwrite(str(out / "images" / f"{number:03d}.png"), image)


if __name__ == "__main__":
    raise SystemExit(main())
