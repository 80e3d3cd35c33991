r"""Several trainings, that differ in their seed, as one model: the mean of their heatmaps.

python -m medvial_training.tasks.cldetection.ensemble --data data/isbi \
        --members "[runs/seed1/model,runs/seed2/model,runs/seed3/model]" --out runs/ensemble/model
"""

import dataclasses
from pathlib import Path

from safetensors.torch import load_file

from medvial.cldetection.config import Config
from medvial.cldetection.model import build_model
from medvial.cldetection.postprocess import Learned
from medvial.cldetection.predictor import TASK
from medvial.errors import InputError
from medvial.models import SAFETENSORS, ModelFolder
from medvial_training.cli import run_command
from medvial_training.provenance import check_trained_on
from medvial_training.tasks.cldetection.dataset import (
    check_prepared,
    load_config,
    load_samples,
)
from medvial_training.tasks.cldetection.train import write_model


def ensemble(data: Path, members: tuple[Path, ...], out: Path, views: int | None = None) -> None:
    """Make one model folder of several; calibration and intervals are learned for their mean.

    It takes as many times longer as it has members. Steps 3 and 4 use it like any other.

    Args:
        data: Folder that step 1 wrote and that every member was trained on.
        members: Model folders of step 2, alike but for their weights.
        out: The model folder to write; one that is there is replaced.
        views: Test-time augmentation of the ensemble; as of its members when not given.

    Raises:
        InputError: There are fewer than two, they are not alike, or are of other data.
    """
    if len(members) < 2:
        raise InputError(f"Expected at least two model folders as members, got {len(members)}.")
    folders = [ModelFolder.open(path, task=TASK) for path in members]
    config = _common_config(folders)
    config = dataclasses.replace(config, members=len(folders), views=views or config.views)
    load_config(data)  # with the landmark set, which may be one of the user's own
    for folder in folders:
        check_trained_on(folder, data)
    check_prepared(data, config)
    weights = [folder.manifest.files[SAFETENSORS] for folder in folders]
    if len(set(weights)) < len(weights):
        raise InputError("Expected members with weights of their own, got one of them twice.")
    net = build_model(config)
    for member, folder in zip(net.members, folders, strict=True):  # type: ignore[arg-type]
        member.load_state_dict(load_file(folder.path / SAFETENSORS))
    learned = [Learned.from_dict(folder.read_json("postprocess.json")) for folder in folders]
    blur = [each.intervals.blur_px2 for each in learned if each.intervals]
    write_model(
        out,
        net,
        config,
        load_samples(data, config),
        data,
        blur_px2=max(blur, default=0.0),
        notes={"members_sha256": weights},
    )


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
                f"Expected members that are alike, got {folders[0].path} and {folder.path} with "
                f"{', '.join(wrong)}."
            )
    if first["members"] != 1:
        raise InputError(f"Expected single networks as members, got {first['members']} in one.")
    return Config(**first)


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    return run_command(ensemble, arguments, as_positional=False)


if __name__ == "__main__":
    raise SystemExit(main())
