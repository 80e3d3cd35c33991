"""Whether a model has learned from what it is tested on, told by the content of the files."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medvial.models import Manifest
from medvial_training.fold_manifest import FINAL
from medvial_training.folds import Folds
from medvial_training.leaks import known_of
from medvial_training.provenance import provenance

log = logging.getLogger(__name__)

LEARNED_FROM = "learned_from"  # in a manifest's training: system, part, digests
VIDEOS = "videos.csv"
PARTS = {"train": "trained on", "valid": "chosen on"}
_NAMED = 5


def origin_of(data: Path, folds: Folds) -> dict[str, Any]:
    """What a system's network is trained on: data, tables, code, and the files by SHA-256.

    Args:
        data: The system's folder of step 1.
        folds: Its folds.

    Returns:
        Of `provenance`, with `learned_from`: the files that the final network is trained on (train)
        and chosen on (valid).
    """
    digests = known_of(data / VIDEOS, folds.table["video"].tolist())["sha256"]
    rows = list(zip(digests, folds.table[FINAL], strict=True))
    files = {name: sorted({d for d, part in rows if d and part == name}) for name in PARTS}
    return provenance(data) | {LEARNED_FROM: files}


def parts_of(
    manifest: Manifest, system: str, data: Path, videos: Sequence[str]
) -> list[str] | None:
    """The part of the model's own data that each video's file was in.

    Args:
        manifest: The model's.
        system: Whose network is tested.
        data: The system's folder of step 1.
        videos: Names of the tested videos.

    Returns:
        For each train, valid, or nothing where the file was in neither; None where the manifest, of
        an earlier version, does not say.
    """
    recorded = manifest.training.get(LEARNED_FROM, {}).get(system)
    if recorded is None:
        return None
    part = {digest: name for name in PARTS for digest in recorded.get(name, [])}
    return [part.get(digest, "") for digest in known_of(data / VIDEOS, videos)["sha256"]]


def overlap_in_words(parts: Sequence[str] | None, what: str) -> str:
    """What a report says of it.

    Args:
        parts: Of `parts_of`.
        what: The tested things, in plural: videos, recordings.
    """
    if parts is None:
        return "whether it was trained on some of these patients is not recorded"
    counts = {name: sum(part == name for part in parts) for name in PARTS}
    if not any(counts.values()):
        return (
            f"none of these {what} is a file that it was trained or chosen on (by SHA-256); "
            f"whether it knows these patients from other {what} was not checked"
        )
    told = ", ".join(f"{n} that it was {PARTS[name]}" for name, n in counts.items() if n)
    return f"among its {len(parts)} {what} are {told} (by SHA-256): not a test"


def warn(parts: Sequence[str] | None, videos: Sequence[str], what: str, where: Path) -> None:
    """Name in the log what a model has learned from.

    Args:
        parts: Of `parts_of`.
        videos: Names of the tested videos.
        what: What they are, in plural.
        where: The table that has them all.
    """
    known = [video for video, part in zip(videos, parts or [], strict=False) if part]
    if known:
        more = f" and {len(known) - _NAMED} more ({where})" if len(known) > _NAMED else ""
        log.warning(
            "%d of %d %s are files that the model was trained or chosen on: %s%s.",
            *(len(known), len(videos), what, ", ".join(known[:_NAMED]), more),
        )
