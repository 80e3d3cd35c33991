"""The software bill of materials of an image."""

import json

import pytest
from archives import APP, BASE, write_image
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from medvial_rehearsal.archive.image import load_image, only_entry, read_archive
from medvial_rehearsal.archive.sbom import write_sbom


def bill(tmp_path, files=None, **changes):
    archive = read_archive(
        write_image(tmp_path / "x.tar", BASE, {**APP, **(files or {})}, **changes)
    )
    path = tmp_path / "x.cdx.json"
    write_sbom(path, load_image(archive, only_entry(archive)))
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(path.read_text()) is None
    return json.loads(path.read_text())


def test_python_and_debian_packages_are_listed(tmp_path, recwarn):
    found = {c["name"]: c for c in bill(tmp_path)["components"]}
    assert set(found) == {"numpy", "libc6"}
    assert found["numpy"]["purl"] == "pkg:pypi/numpy@2.4.6"
    assert found["numpy"]["licenses"] == [{"license": {"id": "BSD-3-Clause"}}]
    assert found["libc6"]["version"] == "2.36-9+deb12u10"
    purl = "pkg:deb/debian/libc6@2.36-9%2Bdeb12u10?arch=amd64&distro=debian-12"
    assert found["libc6"]["purl"] == purl
    assert not recwarn.list


def test_the_image_is_described_and_the_same_twice(tmp_path):
    first = bill(tmp_path)
    assert first == bill(tmp_path)
    assert first["metadata"]["timestamp"] == "2026-02-03T04:05:06+00:00"
    component = first["metadata"]["component"]
    assert (component["type"], component["name"]) == ("container", "medvial-x")
    assert component["version"] == "abc1234"
    assert first["serialNumber"] != bill(tmp_path, {"new": b""})["serialNumber"]


@pytest.mark.parametrize(
    ("headers", "licences"),
    [
        (b"License: MIT", [{"license": {"id": "MIT"}}]),
        (b"License-Expression: MIT AND BSD-2-Clause", [{"expression": "MIT AND BSD-2-Clause"}]),
        (
            b"License: UNKNOWN\nClassifier: License :: OSI Approved :: Zope",
            [{"license": {"name": "Zope"}}],
        ),
        (b"License: a\n b\n c", None),
        (b"License: " + b"x" * 200, None),
        (b"", None),
    ],
)
def test_licences_are_given_where_they_are_stated(tmp_path, headers, licences):
    content = b"Name: Some_Thing.x\nVersion: 1\n" + headers + b"\n\n"
    (found,) = [
        c
        for c in bill(tmp_path, {"a/s-1.dist-info/METADATA": content})["components"]
        if c["name"] == "Some_Thing.x"
    ]
    assert found["purl"] == "pkg:pypi/some-thing.x@1"
    assert found.get("licenses") == licences


@pytest.mark.parametrize("created", [None, "", "0000", "2026-99-99T00:00:00Z", 3])
def test_an_image_without_a_date_has_the_first_one(tmp_path, created):
    assert bill(tmp_path, created=created)["metadata"]["timestamp"].startswith("1970-01-01")


def test_an_image_without_a_package_manager(tmp_path):
    stanza = b"Package: tzdata\nVersion: 1\nArchitecture: all\n"
    found = bill(
        tmp_path, {"var/lib/dpkg/status.d/tzdata": stanza, "x.dist-info/METADATA": b"\xff"}
    )
    assert {c["name"] for c in found["components"]} == {"numpy", "libc6", "tzdata"}
