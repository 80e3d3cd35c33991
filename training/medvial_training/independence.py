"""What tested data has to do with the model's training data, and how a report says so."""

from pathlib import Path

from medvial.models import Manifest
from medvial_training.provenance import provenance

BEGUN_FROM, ELSEWHERE = "weights_from_sha256", "weights_from_other_data"
"""What a manifest says of a training that began from another model's weights: which they were, and
whether that model may have seen films that are tested."""


def same_data(manifest: Manifest, data: Path) -> bool | None:
    """Whether the model was trained on the training split of these data; None if not recorded."""
    recorded = manifest.training.get("splits_sha256", {}).get("train")
    if recorded is None:
        return None
    return bool(recorded == provenance(data)["splits_sha256"].get("train"))


def notice(split: str, what: str) -> str | None:
    """Why a result on a split of the model's own data is no test; None on the test split.

    Args:
        split: train, valid or test.
        what: The samples, in plural: films, videos.
    """
    return {
        "train": f"these very {what}: not a test",
        "valid": f"the model, and what is learned after it, were chosen on these {what}: "
        "not an independent test",
    }.get(split)


def trained_on(manifest: Manifest, same: bool | None, split: str, what: str) -> str:
    """In words: the model's training data, and what it has to do with the tested samples.

    Args:
        manifest: The model's.
        same: Of `same_data`.
        split: The tested one.
        what: The samples, in plural.
    """
    described = str(manifest.training.get("data", {}).get("description") or "").rstrip(". ")
    described = described or "data that its manifest does not name"
    if same is None:
        return f"{described}; whether these {what} were among them is not recorded"
    if manifest.training.get(ELSEWHERE):
        return f"{described}, from weights of other data: overlap was not checked"
    if not same:
        return f"{described}: another selection than this data’s, so overlap was not checked"
    kept_out = f"the training split of the same data, these {what} kept out"
    return f"{described}: {notice(split, what) or kept_out}"
