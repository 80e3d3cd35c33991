"""The gate of the geometry of image outputs."""

import json

import pytest
from local_rehearsal import LocalRehearsal

from medvial_rehearsal.container.output_gates import geometry_kept
from medvial_rehearsal.gates import Status
from medvial_rehearsal.new import new


@pytest.fixture
def context(tmp_path):
    """The rehearsal of an algorithm of two images whose output is a copy of the first."""
    new("copy", input=["Image:ct", "Image:pet"], output=["Image:picture"], into=tmp_path)
    return LocalRehearsal.of(tmp_path / "copy", tmp_path / "work")


def be_like(context, slug):
    """Let the output be like an input, or none."""
    path = context.algorithm / "sockets.json"
    sockets = json.loads(path.read_text())
    (output,) = sockets["interfaces"][0]["outputs"]
    output["like"] = slug
    path.write_text(json.dumps(sockets))


def project(context):
    """Let the output be of one slice."""
    program = context.algorithm / "process.py"
    made = "self.picture = SimpleITK.MaximumProjection(ct, 2)"
    program.write_text(program.read_text().replace("self.picture = ct", made))


def test_the_geometry_of_the_input_passes(context):
    assert geometry_kept(context).found == "1 images"


def test_an_image_that_is_like_none_may_be_a_projection(context):
    be_like(context, None)
    project(context)
    outcome = geometry_kept(context)
    assert outcome.status is Status.WARNING
    assert outcome.found.startswith("picture: size [32, 24, 1] instead of [32, 24, 5]")
    assert '"like" in sockets.json' in outcome.mend


def test_an_image_has_to_be_like_its_own_input_and_no_other(context):
    (pet,) = (context.case.input / "images" / "pet").iterdir()
    pet.write_bytes(pet.read_bytes().replace(b"ElementSpacing = 0.5 ", b"ElementSpacing = 1.5 "))
    assert context.reference.exit_code == 0
    be_like(context, "pet")  # after the run: the program itself would have refused
    del context.interfaces
    outcome = geometry_kept(context)
    assert outcome.status is Status.FAILED
    wrong = "picture is not like pet: spacing [0.5, 0.75, 2.0] instead of [1.5, 0.75, 2.0]"
    assert outcome.found == wrong
