"""The software bill of materials of an image (CycloneDX 1.6, JSON).

Read from what the installers left in the layers: Python's *.dist-info/METADATA and Debian's list of
packages. The same image gives the same bytes.
"""

import email.parser
import re
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense, License, LicenseExpression
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.spdx import fixup_id, is_expression
from packageurl import PackageURL

from medvial.outputs import write_bytes
from medvial_rehearsal.archive.image import Image
from medvial_rehearsal.archive.tree import Tree

_NAME_LIMIT = 100  # characters; longer ones are the licence's whole text
_CLASSIFIER = "License :: "


def write_sbom(path: Path, image: Image) -> None:
    """Write the bill of materials of an image.

    Raises:
        InputError: It cannot be written.
    """
    components = {c.bom_ref.value: c for c in (*_python(image.tree), *_debian(image.tree))}
    root = _container(image)
    bom = Bom(
        components=components.values(),
        serial_number=uuid.uuid5(uuid.NAMESPACE_URL, f"sha256:{image.image_id}"),
        metadata=BomMetaData(component=root, timestamp=_created(image)),
    )
    bom.register_dependency(root, components.values())
    write_bytes(path, (JsonV1Dot6(bom).output_as_string(indent=1) + "\n").encode())


def _container(image: Image) -> Component:
    name, _, _ = image.tag.rpartition(":")
    return Component(
        name=name or image.tag,
        version=str(image.labels.get("org.opencontainers.image.revision", "unknown")),
        type=ComponentType.CONTAINER,
        bom_ref=f"sha256:{image.image_id}",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=image.image_id)],
        properties=[Property(name="medvial:file-tree-sha256", value=image.tree.digest())],
    )


def _created(image: Image) -> datetime:
    """When the image says that it was made; not now, which would change with every export."""
    text = str(image.config.get("created", ""))
    match = re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", text)
    try:
        return datetime.fromisoformat(match[0] if match else "").replace(tzinfo=UTC)
    except ValueError:
        return datetime.fromtimestamp(0, UTC)


def _python(tree: Tree) -> Iterator[Component]:
    for entry in tree:
        if entry.content is None or not entry.path.endswith(".dist-info/METADATA"):
            continue
        text = entry.content.decode(errors="replace")
        headers = email.parser.HeaderParser().parsestr(text)
        name, version = headers.get("Name"), headers.get("Version")
        if name and version:
            # The purl specification's form of a PyPI name.
            plain = name.lower().replace("_", "-")
            licence = _licence_of(
                headers.get("License-Expression"),
                headers.get("License"),
                headers.get_all("Classifier") or [],
            )
            yield _component(name, version, PackageURL("pypi", None, plain, version), licence)


def _debian(tree: Tree) -> Iterator[Component]:
    distribution = _distribution(tree)
    for stanza in _stanzas(tree):
        fields = email.parser.HeaderParser().parsestr(stanza)
        name, version = fields.get("Package"), fields.get("Version")
        if not name or not version or not fields.get("Status", "installed").endswith("installed"):
            continue
        qualifiers = {"arch": fields.get("Architecture", ""), "distro": "-".join(distribution)}
        purl = PackageURL("deb", distribution[0], name, version, qualifiers)
        yield _component(name, version, purl, "")


def _stanzas(tree: Tree) -> list[str]:
    """Debian's package records; images without a package manager have one file for each."""
    texts = [
        entry.content.decode(errors="replace")
        for entry in tree
        if entry.content is not None and entry.path.startswith("var/lib/dpkg/status")
    ]
    return [stanza for text in texts for stanza in text.split("\n\n") if stanza.strip()]


def _distribution(tree: Tree) -> tuple[str, str]:
    text = (tree.content("etc/os-release") or b"").decode(errors="replace")
    pairs = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    return pairs.get("ID", "debian").strip('"'), pairs.get("VERSION_ID", "").strip('"')


def _licence_of(expression: str | None, text: str | None, classifiers: list[str]) -> str:
    """The licence as it is stated: expression, short name, or classifier; "" if it is not."""
    if expression:
        return expression
    if text and len(text) <= _NAME_LIMIT and "\n" not in text and text != "UNKNOWN":
        return text
    named = [c.split(" :: ")[-1] for c in classifiers if c.startswith(_CLASSIFIER)]
    return named[0] if named else ""


def _component(name: str, version: str, purl: PackageURL, licence: str) -> Component:
    licences = [_licence(licence)] if licence else []
    return Component(
        name=name, version=version, purl=purl, bom_ref=purl.to_string(), licenses=licences
    )


def _licence(text: str) -> License:
    """By its SPDX id or expression, else by the name it was given."""
    if identifier := fixup_id(text):
        return DisjunctiveLicense(id=identifier)
    return LicenseExpression(text) if is_expression(text) else DisjunctiveLicense(name=text)
