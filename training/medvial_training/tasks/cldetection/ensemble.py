r"""Several trainings as one model: the mean of the points that they find.

Members differ in their seed, and, with `--fold.number` and `--fold.of` of step 2, in the films that
they validate on:

python -m medvial_training.tasks.cldetection.ensemble --data data/isbi \
        --members "[runs/fold1/model,runs/fold2/model,runs/fold3/model]" --out runs/ensemble/model

Members that were trained on all films (`--fold.all true`) are calibrated by models with folds:

python -m medvial_training.tasks.cldetection.ensemble --data data/isbi \
        --members "[runs/all1/model,runs/all2/model]" \
        --calibrate_by "[runs/fold1/model,runs/fold2/model]" --out runs/ensemble/model
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from safetensors.torch import load_file
from torch import nn

from medvial.cldetection.config import Config
from medvial.cldetection.model import build_model
from medvial.cldetection.postprocess import Film, Learned
from medvial.cldetection.predictor import TASK
from medvial.errors import InputError
from medvial.models import ModelFolder
from medvial.outputs import check_replaceable
from medvial_training.cli import run_command
from medvial_training.independence import ELSEWHERE
from medvial_training.provenance import check_trained_on
from medvial_training.tasks.cldetection.dataset import (
    Sample,
    check_prepared,
    load_config,
    load_samples,
)
from medvial_training.tasks.cldetection.fold import FOLDS, Fold, check_films, fold_of
from medvial_training.tasks.cldetection.write_model import predict_unseen, write_model


def ensemble(
    data: Path,
    members: tuple[Path, ...],
    out: Path,
    calibrate_by: tuple[Path, ...] = (),
    views: int | None = None,
) -> None:
    """Make one model folder of several; calibration and intervals are learned anew.

    Members that validated on the same films: from what their mean says about these. Members with
    folds of their own: from what is said about the films of each fold by those that were not
    trained on them, as in cross-conformal prediction (Vovk, Annals of Mathematics and Artificial
    Intelligence 74, 2015). These are more films, judged by fewer networks than the ensemble has,
    which err more than it does. Members that were trained on all films: from what other models say
    in this way, which are no part of the ensemble.

    It takes as many times longer as it has members. Steps 3 and 4 use it like any other.

    Args:
        data: Folder that step 1 wrote and that every member was trained on.
        members: Model folders of step 2, alike but for their weights.
        out: The model folder to write; one that is there is replaced.
        calibrate_by: Model folders of step 2, like the members, whose validation films are learned
            from; the members themselves when not given.
        views: Test-time augmentation of the ensemble; as of its members when not given.

    Raises:
        InputError: There are fewer than two members (one if others calibrate it), they are not
            alike, are of other data, or have no validation films.
    """
    if len(members) < (1 if calibrate_by else 2):
        raise InputError(
            "Expected at least two model folders as members, or one with --calibrate_by, got "
            f"{len(members)}."
        )
    _check_out(out, (*members, *calibrate_by))
    folders = [ModelFolder.open(path, task=TASK) for path in members]
    judges = [ModelFolder.open(path, task=TASK) for path in calibrate_by]
    config = _common_config([*folders, *judges])
    config = dataclasses.replace(config, members=len(folders))
    if views is not None:
        config = dataclasses.replace(config, views=views)
    load_config(data)  # with the landmark set, which may be one of the user's own
    for folder in (*folders, *judges):
        check_trained_on(folder.manifest, data, folder.path)
    check_prepared(data, config)
    notes: dict[str, Any] = {"members_sha256": _weights(folders, config)}
    if judges:
        notes["calibrated_by_sha256"] = _weights(judges, config)
    if any(folder.manifest.training.get(ELSEWHERE) for folder in (*folders, *judges)):
        notes[ELSEWHERE] = True
    folds = _folds(judges or folders)
    samples, unseen = _unseen(folds, config, data)
    if judges or len(folds) > 1:
        notes[FOLDS] = [dataclasses.asdict(fold) for fold in folds]
    else:
        notes |= next(iter(folds)).notes(samples["valid"])
    folds_of_all = dict.fromkeys([*(fold_of(folder.manifest) for folder in folders), *folds])
    films = [film for fold in folds_of_all for film in load_samples(data, config, fold)["train"]]
    samples["train"] = list({film.image_id: film for film in films}.values())
    learned = [Learned.from_dict(each.read_json("postprocess.json")) for each in judges or folders]
    blur = [each.intervals.blur_px2 for each in learned if each.intervals]
    write_model(
        out,
        _networks(folders, config),
        config,
        samples,
        data,
        blur_px2=max(blur, default=0.0),
        unseen=unseen,
        notes=notes,
    )


def _check_out(out: Path, models: Sequence[Path]) -> None:
    """Refuse to replace what is no model folder, or is one of the models or holds one."""
    place = out.resolve()
    inside = [path for path in models if place in (path.resolve(), *path.resolve().parents)]
    if inside:
        raise InputError(f"Expected another --out than {out}, which holds the model {inside[0]}.")
    check_replaceable(out)


def _networks(folders: Sequence[ModelFolder], config: Config) -> dict[str, nn.Module]:
    """The members' networks of each name as one; `config` is that of the whole."""
    nets = {name: build_model(config) for name in config.networks}
    for name, net in nets.items():
        parts = net.members if config.members > 1 else [net]
        for part, folder in zip(parts, folders, strict=True):  # type: ignore[arg-type]
            part.load_state_dict(load_file(folder.path / f"{name}.safetensors"))
    return nets


def _weights(folders: Sequence[ModelFolder], config: Config) -> list[str]:
    """The digests of all weights.

    Raises:
        InputError: Two models are the same.
    """
    last = f"{config.networks[-1]}.safetensors"  # first networks may be the same
    if len({folder.manifest.files[last] for folder in folders}) < len(folders):
        raise InputError("Expected models with weights of their own, got one of them twice.")
    files = [f"{name}.safetensors" for name in config.networks]
    return [folder.manifest.files[file] for folder in folders for file in files]


def _folds(folders: Sequence[ModelFolder]) -> dict[Fold, list[ModelFolder]]:
    """The models by the fold that they validated on.

    Raises:
        InputError: Their folds are not of the same dealing, or one validated on none.
    """
    folds: dict[Fold, list[ModelFolder]] = {}
    for folder in folders:
        folds.setdefault(fold_of(folder.manifest), []).append(folder)
    for fold in folds:
        if fold.all:
            raise InputError(
                f"Expected models with validation films to learn from, got {folds[fold][0].path}, "
                "which was trained on all. Give --calibrate_by models of step 2 with a fold each."
            )
    counts = sorted({fold.of for fold in folds})
    if len(counts) > 1:
        raise InputError(
            f"Expected models with the same fold.of, got {', '.join(map(str, counts))}: what one "
            "of them validated on, any of the others may have been trained on."
        )
    return folds


def _unseen(
    folds: dict[Fold, list[ModelFolder]], config: Config, data: Path
) -> tuple[dict[str, list[Sample]], list[Film]]:
    """What models say about the films that they validated on.

    Returns:
        The samples, in valid those of the films; and the films.
    """
    valid, films = [], []
    samples: dict[str, list[Sample]] = {}
    for fold, group in folds.items():
        samples = load_samples(data, config, fold)
        for folder in group:
            check_films(folder.manifest, samples["valid"], folder.path)
        own = dataclasses.replace(config, members=len(group))
        with TemporaryDirectory() as scratch:
            nets = _networks(group, own)
            films += predict_unseen(Path(scratch) / "model", nets, own, samples, data)
        valid += samples["valid"]
    return samples | {"valid": valid}, films


def _common_config(folders: list[ModelFolder]) -> Config:
    """The configuration that all of them have.

    Raises:
        InputError: They differ, or one is an ensemble itself.
    """
    first, *others = [dataclasses.asdict(folder.config(Config)) for folder in folders]
    for folder, other in zip(folders[1:], others, strict=True):
        wrong = [f"{k} {first[k]} and {other[k]}" for k in first if first[k] != other[k]]
        if wrong:
            raise InputError(
                f"Expected models that are alike, got {folders[0].path} and {folder.path} with "
                f"{', '.join(wrong)}."
            )
    if first["members"] != 1:
        raise InputError(f"Expected models that are no ensembles, got {first['members']} in one.")
    return Config(**first)


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    return run_command(ensemble, arguments, as_positional=False)


if __name__ == "__main__":
    raise SystemExit(main())
