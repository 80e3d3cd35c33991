"""The image's description of itself."""

import hashlib
import json

import pytest

from medvial.image_manifest import describe


@pytest.fixture
def app(tmp_path):
    (tmp_path / "requirements.txt").write_text("numpy==2\n")
    return tmp_path


def description(app, sockets):
    (app / "sockets.json").write_text(json.dumps(sockets))
    facts = {"task": "x", "api_method": "exec", "gpu": True, "revision": "abc"}
    return describe(app, app / "requirements.txt", **facts)


def test_it_holds_the_facts_and_what_sockets_json_says(app):
    sockets = {"resources": {"memory_gb": 16}, "weights": ["/opt/w.onnx"], "interfaces": [{"a": 1}]}
    assert description(app, sockets) == {
        "task": "x",
        "api_method": "exec",
        "gpu": True,
        "revision": "abc",
        "resources": {"memory_gb": 16},
        "weights": ["/opt/w.onnx"],
        "requirements_sha256": hashlib.sha256(b"numpy==2\n").hexdigest(),
        "interfaces": [{"a": 1}],
    }


def test_memory_has_a_default_and_weights_none(app):
    found = description(app, {"interfaces": []})
    assert (found["resources"], found["weights"]) == ({"memory_gb": 8}, [])
