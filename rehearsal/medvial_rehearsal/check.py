"""`medvial check`: gates A and B over archives, without Docker."""

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from medvial.errors import InputError
from medvial.outputs import write_json
from medvial_rehearsal import gates
from medvial_rehearsal.archive import ledger as ledgers
from medvial_rehearsal.archive.image import Image
from medvial_rehearsal.archive.image_gates import ImageContext, check_image
from medvial_rehearsal.archive.model_gates import ModelContext, check_model
from medvial_rehearsal.archive.sbom import write_sbom
from medvial_rehearsal.project import project_root

LEDGER = project_root() / "export" / "ledger.json"

_STEP_WIDTH = 70  # characters of a build step that are shown

log = logging.getLogger(__name__)


def check(
    image: Path,
    model: Path | None = None,
    *,
    only_model: bool = False,
    json: Path | None = None,
    sbom: Path | None = None,
    ledger: Path = LEDGER,
    record: bool = False,
    uploaded: bool = False,
) -> int:
    """Check what is about to be uploaded, without Docker.

    Args:
        image: The image as `docker save` wrote it: .tar, .tar.gz or .tar.xz.
        model: The model tarball.
        only_model: The first archive is a model tarball; there is no image.
        json: Write the outcomes there.
        sbom: Write the image's software bill of materials (CycloneDX) there.
        ledger: Where exports are written down.
        record: Write the image down in the ledger, if nothing is wrong with it.
        uploaded: Only mark the image as uploaded in the ledger.

    Returns:
        0 if nothing failed, else 1.

    Raises:
        InputError: There is no such file, an option has nothing to do beside another, the ledger
            cannot be read or written, or there is no image to mark.
    """
    image_only = {"--sbom": sbom, "--record": record, "a second archive": model}
    if only_model:
        _refuse("--only-model", image_only | {"--uploaded": uploaded})
    if uploaded:
        _refuse("--uploaded", image_only | {"--json": json})
    for path in filter(None, (image, model)):
        if not path.is_file():
            raise InputError(f"Expected an archive, found no file at {path}. export.sh writes it.")
    if only_model:
        outcomes = check_model(ModelContext(image))
        gates.show(outcomes)
    else:
        context = ImageContext(image, ledger)
        outcomes = check_image(context)
        if uploaded:
            return _mark_uploaded(context)
        outcomes += check_model(ModelContext(model)) if model else []
        gates.show(outcomes)
        if context.image is not None:
            show_layers(context.image)
            _write(context, sbom, record=record and not gates.exit_code(outcomes))
    if json is not None:
        write_json(json, [dataclasses.asdict(outcome) for outcome in outcomes])
    return gates.exit_code(outcomes)


def show_layers(image: Image, console: Console | None = None) -> None:
    """Print the layers with their sizes, and the digest of the file tree they make."""
    console = console or gates.standard_console()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("layer", justify="right")
    table.add_column("MB", justify="right")
    table.add_column("files", justify="right")
    table.add_column("made by")
    pairs = zip(image.layers, image.layer_steps, strict=True)
    for number, (layer, step) in enumerate(pairs, start=1):
        made_by = gates.printable(" ".join((step.partition("/bin/sh -c ")[2] or step).split()))
        table.add_row(
            str(number),
            f"{layer.size / 1e6:.1f}",
            str(len(layer.entries)),
            Text(made_by[:_STEP_WIDTH] or "unknown"),
        )
    console.print()
    console.print(table)
    console.print(f"file tree sha256 {image.tree.digest()}", highlight=False)


def _refuse(option: str, others: Mapping[str, object]) -> None:
    idle = [name for name, value in others.items() if value]
    if idle:
        raise InputError(
            f"Expected {option} without {', '.join(idle)}, which it would leave undone. Run "
            "medvial check twice, once for each."
        )


def _write(context: ImageContext, sbom: Path | None, *, record: bool) -> None:
    assert context.image is not None
    if sbom is not None:
        write_sbom(sbom, context.image)
    if record:
        ledgers.record(context.ledger, _export(context, uploaded=None))


def _mark_uploaded(context: ImageContext) -> int:
    if context.image is None:
        raise InputError(f"Expected an image archive at {context.path}: check it first.")
    ledgers.record(context.ledger, _export(context, uploaded=ledgers.now()))
    log.info("marked %s as uploaded in %s", context.image.image_id[:12], context.ledger)
    return 0


def _export(context: ImageContext, *, uploaded: str | None) -> ledgers.Export:
    image, archive = context.image, context.archive
    assert image is not None
    assert archive is not None
    return ledgers.Export(
        image_id=image.image_id,
        tag=image.tag,
        archive=archive.path.name.removesuffix(".part"),
        archive_sha256=archive.sha256,
        tree_sha256=image.tree.digest(),
        revision=str(image.labels.get("org.opencontainers.image.revision", "unknown")),
        exported=ledgers.now(),
        uploaded=uploaded,
    )
