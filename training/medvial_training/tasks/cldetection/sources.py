"""Raw cephalograms with their truth: a stack with a JSON file, or images with a CSV table."""

import logging
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from medvial.cldetection.landmarks import LandmarkSet
from medvial.errors import InputError
from medvial.stacks import IMAGE_SUFFIXES, STACK_SUFFIXES, Slice, find_image_files, open_stack
from medvial_training.tasks.cldetection.truth import Truth, read_csv_truth, read_json_truth

log = logging.getLogger(__name__)

STACK, STACK_TRUTH = "train_stack.mha", "train-gt.json"


@dataclass(frozen=True)
class RawFilm:
    """A film, not read yet, and what experts marked on it."""

    image_id: str
    """Unique; the name of its prepared image."""
    path: Path
    slice_index: int
    """In the stack, from 0."""
    truth: Truth

    @property
    def patient(self) -> str:
        """The patient, or the film where the patient is not known."""
        return self.truth.patient or self.image_id

    @property
    def version(self) -> str:
        """Changes with the file the film is in."""
        stat = self.path.stat()
        return f"{self.path.name}:{stat.st_size}:{stat.st_mtime_ns}:{self.slice_index}"


@dataclass(frozen=True)
class RawData:
    """All films of a source, and what cannot be used of it."""

    films: list[RawFilm]
    left_out: dict[str, str]
    """Reason by name of films that are there but cannot be used."""
    labels: Path

    def read(self, wanted: Collection[str]) -> Iterator[tuple[RawFilm, Callable[[], Slice]]]:
        """The films with the given ids, each with what gives its pixels.

        A stack is read here, in one pass, and never further than the last film wanted; an image
        of its own is read by the call, which may be made in another thread.
        """
        by_path: dict[Path, list[RawFilm]] = {}
        for film in self.films:
            if film.image_id in wanted:
                by_path.setdefault(film.path, []).append(film)
        for path, films in by_path.items():
            if path.suffix.lower() in STACK_SUFFIXES:
                yield from _read_stack(path, {film.slice_index: film for film in films})
            else:
                yield films[0], partial(_read_image, path)


def open_source(source: Path, labels: Path | None, landmark_set: LandmarkSet) -> RawData:
    """Find the films of a source and check all that can be checked without their pixels.

    Args:
        source: Folder with train_stack.mha and train-gt.json (CL-Detection 2023), the stack
            itself, or a folder of images.
        labels: JSON file of a stack or CSV table of images; None looks for train-gt.json, or the
            only .csv, beside the films.
        landmark_set: Of the truth.

    Raises:
        InputError: Names the file, the row and what is wrong with it.
    """
    if not source.exists():
        raise InputError(f"Expected a folder or a stack of films, found none at {source}.")
    labels = labels or _find_labels(source)
    if not labels.is_file():
        raise InputError(f"Expected the truth in a .json or .csv file, found none at {labels}.")
    if labels.suffix.lower() == ".json":
        return _open_stack_source(_find_stack(source), labels, landmark_set)
    if labels.suffix.lower() == ".csv":
        return _open_image_source(source, labels, landmark_set)
    raise InputError(f"Expected the truth in a .json or .csv file, got {labels}.")


def _find_labels(source: Path) -> Path:
    folder = source if source.is_dir() else source.parent
    if (folder / STACK_TRUTH).is_file():
        return folder / STACK_TRUTH
    tables = sorted(folder.glob("*.csv"))
    if len(tables) == 1:
        return tables[0]
    names = ", ".join(path.name for path in tables) or "no .csv"
    raise InputError(
        f"Expected {STACK_TRUTH} or one .csv table in {folder}, found {names}. Name the truth with "
        "--labels."
    )


def _find_stack(source: Path) -> Path:
    if source.is_file():
        return source
    if (source / STACK).is_file():
        return source / STACK
    stacks = find_image_files(source)
    if len(stacks) > 1:
        names = ", ".join(path.name for path in stacks[:5])
        raise InputError(f"Expected {STACK} or one stack in {source}, found {names}.")
    return stacks[0]


def _open_stack_source(path: Path, labels: Path, landmark_set: LandmarkSet) -> RawData:
    with open_stack(path) as stack:
        info = stack.info
    truths = read_json_truth(labels, landmark_set, info.count)
    digits = max(3, len(str(info.count)))
    films, left_out = [], {}
    for number in range(1, info.count + 1):
        image_id = f"{number:0{digits}d}"
        if number not in truths:
            left_out[image_id] = f"no landmark of it in {labels.name}"
            continue
        truths[number].check_inside(info.width, info.height)
        films.append(RawFilm(image_id, path, number - 1, truths[number]))
    return RawData(films, left_out, labels)


def _open_image_source(source: Path, labels: Path, landmark_set: LandmarkSet) -> RawData:
    truths = read_csv_truth(labels, landmark_set)
    folders = [labels.parent, source, source / "images"]
    paths = [_find_image(truth, folders) for truth in truths]
    films, left_out = [], {}
    for image_id, path, truth in zip(_image_ids(paths, truths), paths, truths, strict=True):
        try:
            with open_stack(path) as stack:
                info = stack.info
        except InputError as error:
            left_out[image_id] = str(error)
            continue
        if info.count != 1:
            raise InputError(
                f"{truth.where}: expected an image of one film, got {path} with {info.count}. A "
                "stack's truth is a .json file."
            )
        truth.check_inside(info.width, info.height)
        films.append(RawFilm(image_id, path, 0, truth))
    return RawData(films, left_out, labels)


def _find_image(truth: Truth, folders: list[Path]) -> Path:
    for folder in folders:
        if (folder / truth.file).is_file():  # an absolute path replaces the folder
            path = folder / truth.file
            break
    else:
        places = ", ".join(str(folder) for folder in folders if folder.is_dir())
        raise InputError(f"{truth.where}: expected the film {truth.file} in {places}, found none.")
    if path.suffix.lower() not in IMAGE_SUFFIXES + STACK_SUFFIXES:
        known = ", ".join(IMAGE_SUFFIXES + STACK_SUFFIXES)
        raise InputError(f"{truth.where}: expected a film that ends with {known}, got {path.name}.")
    return path


def _image_ids(paths: list[Path], truths: list[Truth]) -> list[str]:
    """The files' names without suffix, with their folder's name where they would repeat."""
    stems = Counter(path.stem for path in paths)
    names = [p.stem if stems[p.stem] == 1 else f"{p.parent.name}_{p.stem}" for p in paths]
    # They become file names and cells of tables.
    ids = [re.sub(r"[^\w.+-]", "_", name) for name in names]
    rows: dict[str, Truth] = {}
    for image_id, truth in zip(ids, truths, strict=True):
        other = rows.setdefault(image_id, truth)
        if other is not truth:
            raise InputError(
                f"{truth.where}: expected every film once, got {truth.file} again (first in "
                f"{other.where}), or two files of the same name."
            )
    return ids


def _read_stack(
    path: Path, wanted: dict[int, RawFilm]
) -> Iterator[tuple[RawFilm, Callable[[], Slice]]]:
    with open_stack(path) as stack:
        for index, pixels in enumerate(stack):
            if index in wanted:
                yield wanted[index], partial(_same, pixels)
            del pixels  # it would stay while the next one is read
            if index == max(wanted):
                return


def _same(pixels: Slice) -> Slice:
    return pixels


def _read_image(path: Path) -> Slice:
    with open_stack(path) as stack:
        return next(iter(stack))
