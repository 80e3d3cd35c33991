"""The platform's kinds of sockets, sockets.json, and the inputs.json of a case."""

import json
import uuid
from pathlib import Path

import pytest

from medvial.errors import InputError
from medvial.outputs import write_json
from medvial.socket_kinds import all_kinds
from medvial.sockets import Socket, load_interfaces, select_interface, validate

ROOT = Path(__file__).parent.parent
XYZ = [1.5, 2, 0.5]
VERSION = {"major": 1, "minor": 0}
ONE = {
    "Point": {"point": XYZ},
    "2D bounding box": {"corners": [XYZ] * 4},
    "Distance measurement": {"start": XYZ, "end": XYZ},
    "Polygon": {"seed_point": XYZ, "path_points": [XYZ] * 5, "sub_type": "brush", "groups": ["a"]},
    "Line": {"seed_points": [XYZ] * 2, "path_point_lists": [[XYZ] * 3]},
    "Angle": {"lines": [[XYZ] * 2] * 2},
    "Ellipse": {"major_axis": [XYZ] * 2, "minor_axis": [XYZ] * 2},
    "Three-point angle": {"angle": [XYZ] * 3},
}
MANY = {
    "Point": ("Multiple points", "points"),
    "2D bounding box": ("Multiple 2D bounding boxes", "boxes"),
    "Distance measurement": ("Multiple distance measurements", "lines"),
    "Polygon": ("Multiple polygons", "polygons"),
    "Line": ("Multiple lines", "lines"),
    "Angle": ("Multiple angles", "angles"),
    "Ellipse": ("Multiple ellipses", "ellipses"),
    "Three-point angle": ("Multiple three-point angles", "angles"),
}
VALUES = {
    "String": (["", "abc"], [1, None]),
    "Integer": ([3, -1, 4.0], [3.5, "3", True, None]),
    "Float": ([3, 55.3], [None, "1", False]),
    "Bool": ([True], [1, "true", None]),
    "Anything": ([None, {}, [1]], []),
    "Chart": ([{"mark": "bar"}], [[], "bar", None]),
    "Choice": (["a"], [["a"], 1]),
    "Multiple choice": ([[], ["a", "b"]], ["a", [1]]),
    "Affine transform registration": (
        [{"3d_affine_transform": [[1, 0, 0, 0.5]] * 4}],
        [{}, {"3d_affine_transform": [[1, 0, 0]] * 4}, {"3d_affine_transform": [[1] * 4] * 3}],
    ),
}
FILES = {
    "PDF file": ".pdf",
    "SQREG file": ".sqreg",
    "Thumbnail jpg": ".jpeg",
    "Thumbnail png": ".png",
    "OBJ file": ".obj",
    "MP4 file": ".mp4",
    "Newick tree-format file": ".newick",
    "BIOM format": ".biom",
    "CSV file": ".csv",
    "ZIP file": ".zip",
}
IMAGES = ["Image", "Segmentation", "Heat Map", "Displacement field", "DICOM Image Set"]


def socket(kind, schema=None):
    return Socket("a-value", kind, "a-value.json", schema)


def test_every_kind_of_the_platform_is_known():
    many = [kind for kind, _ in MANY.values()]
    assert sorted(all_kinds()) == sorted([*ONE, *many, *VALUES, *FILES, *IMAGES])


def test_kinds_are_stored_as_the_platform_stores_them():
    kinds = all_kinds()
    assert {n for n, k in kinds.items() if k.super_kind == "Image"} == set(IMAGES)
    assert {n for n, k in kinds.items() if k.super_kind == "Value"} == {*ONE, *VALUES}
    assert all(kinds[name].extension == extension for name, extension in FILES.items())
    assert all(kinds[kind].extension == ".json" for kind, _ in MANY.values())


@pytest.mark.parametrize("kind", ONE)
def test_an_annotation_is_checked(kind):
    value = {"type": kind, "version": VERSION, **ONE[kind]}
    validate(socket(kind), value)
    validate(socket(kind), value | {"name": "n", "probability": 1})
    for change in (
        {"type": "Another"},
        {"version": {"major": -1, "minor": 0}},
        {"probability": 1.5},
        {"scale": "0.1"},
        *({key: None} for key in ONE[kind]),
    ):
        with pytest.raises(InputError, match=r"Expected a-value\.json to be valid"):
            validate(socket(kind), value | change)
    for key in value:
        with pytest.raises(InputError, match=f"'{key}' is a required property"):
            validate(socket(kind), {k: v for k, v in value.items() if k != key})


@pytest.mark.parametrize("kind", ONE)
def test_a_list_of_annotations_is_checked(kind):
    name, key = MANY[kind]
    items = [ONE[kind], {**ONE[kind], "name": "1", "type": kind, "probability": 0}]
    value = {"type": name, "version": VERSION, key: items}
    validate(socket(name), value)
    validate(socket(name), {**value, "name": "all", key: []})
    for change in ({key: [{}]}, {key: {}}, {"type": kind}, {key: [{**ONE[kind], "version": 1}]}):
        with pytest.raises(InputError, match=r"Expected a-value\.json to be valid"):
            validate(socket(name), value | change)


def test_points_have_three_finite_numbers():
    for point in ([1, 2], [1, 2, 3, 4], [1, 2, None], ["1", 2, 3]):
        with pytest.raises(InputError, match=r"got at \$\.point"):
            validate(socket("Point"), {"type": "Point", "version": VERSION, "point": point})


@pytest.mark.parametrize("kind", VALUES)
def test_a_value_is_checked(kind):
    right, wrong = VALUES[kind]
    for value in right:
        validate(socket(kind), value)
    for value in wrong:
        with pytest.raises(InputError, match=f"to be valid {kind}"):
            validate(socket(kind), value)


def test_a_socket_can_have_a_schema_of_its_own_on_top():
    percent = {"maximum": 100, "minimum": 0}
    validate(socket("Float", percent), 55.3)
    with pytest.raises(InputError, match="101 is greater than the maximum of 100"):
        validate(socket("Float", percent), 101)
    with pytest.raises(InputError, match="is not of type 'number'"):
        validate(socket("Float", percent), "55")


def test_a_schema_of_draft_4_means_what_it_did_then():
    draft4 = {"$schema": "http://json-schema.org/draft-04/schema#"}
    exclusive = draft4 | {"minimum": 0, "exclusiveMinimum": True}
    validate(socket("Float", exclusive), 0.1)
    with pytest.raises(InputError, match=r"a-value\.json to be valid Float"):
        validate(socket("Float", exclusive), 0)


def test_a_schema_elsewhere_is_never_fetched():
    elsewhere = {"$ref": "http://127.0.0.1:9/schema.json"}
    with pytest.raises(InputError, match="to refer to its own parts only"):
        validate(socket("Float", elsewhere), 1)


IN = {"slug": "a-film", "kind": "Image", "relative_path": "images/films"}
OUT = {"slug": "a-number", "kind": "Float", "relative_path": "numbers/a.json"}
MASK = {"slug": "a-mask", "kind": "Segmentation", "relative_path": "images/mask", "segments": [1]}

AGE = {"slug": "an-age", "kind": "Integer", "relative_path": "patient/age.json"}
SERIES = {"slug": "a-series", "kind": "DICOM Image Set", "relative_path": "images/series"}


def load(folder, *interfaces):
    write_json(folder / "sockets.json", {"interfaces": interfaces})
    return load_interfaces(folder / "sockets.json")


def interface(inputs=(IN,), outputs=(OUT,)):
    return {"inputs": list(inputs), "outputs": list(outputs)}


def test_sockets_are_read(tmp_path):
    (found,) = load(tmp_path, interface(outputs=[OUT, MASK]))
    assert found.inputs[0].super_kind == "Image"
    assert found.socket("a-mask").segments == (1,)
    assert found.socket("nothing") is None


@pytest.mark.parametrize(
    ("inputs", "outputs", "message"),
    [
        ([IN | {"kind": "Picture"}], [OUT], "Expected a kind of String, .*; got 'Picture'"),
        ([IN | {"relative_path": "films"}], [OUT], "a folder below images/, got 'films'"),
        ([IN | {"relative_path": "images"}], [OUT], "a folder below images/, got 'images'"),
        ([IN | {"relative_path": "images/a.mha"}], [OUT], "a folder below images/"),
        ([IN], [OUT | {"relative_path": "a.txt"}], r"to end with \.json, got 'a\.txt'"),
        ([IN], [OUT | {"relative_path": ".json"}], r"to end with \.json, got '\.json'"),
        ([IN], [OUT | {"relative_path": "images/a.json"}], "not to be below images/"),
        ([OUT | {"relative_path": "/a.json"}], [OUT | {"slug": "b"}], "to be a plain one below"),
        ([OUT | {"relative_path": "../a.json"}], [OUT | {"slug": "b"}], "to be a plain one below"),
        ([OUT | {"relative_path": "a//b.json"}], [OUT | {"slug": "b"}], "to be a plain one below"),
        ([IN], [OUT | {"relative_path": "inputs.json"}], "platform's own inputs.json"),
        ([IN, IN | {"slug": "b"}], [OUT], "path images/films once among the sockets"),
        ([IN, IN | {"relative_path": "images/b"}], [OUT], "slug a-film once among the sockets"),
        ([IN], [MASK | {"kind": "DICOM Image Set", "segments": None}], "a-mask to be an input"),
        ([IN], [OUT | {"segments": [1]}], "segments of a Segmentation only, got some of a-number"),
        ([IN], [MASK | {"segments": [1, 3]}], r"without a gap.*got \[1, 3\]"),
        ([IN], [MASK | {"segments": ["1"]}], r"without a gap.*got \['1'\]"),
        ([IN], [MASK | {"segments": [[1]]}], "unhashable"),
        ([IN], ["a-mask"], "Expected interfaces of inputs and outputs"),
        ([IN], [OUT | {"like": "a-film"}], "like of image outputs only, got one of a-number"),
        ([IN | {"like": "a-film"}], [OUT], "like of image outputs only, got one of a-film"),
        ([IN], [MASK | {"like": "a-mask"}], r"one of the image inputs \['a-film'\], got 'a-mask'"),
        ([AGE], [MASK | {"like": "an-age"}], r"one of the image inputs \[\], got 'an-age'"),
        ([SERIES], [MASK | {"like": "a-series"}], r"image inputs \[\], got 'a-series'"),
        ([IN], [OUT | {"schema": 3}], "schema of a-number to be an object, got 3"),
        ([IN], [OUT | {"schema": {"type": "nummer"}}], "of a-number to be a JSON schema"),
        ([IN], [MASK | {"schema": {}}], "a schema of JSON kinds only, got one of a-mask"),
        ([IN], [OUT | {"slug": "A number"}], "a slug of lower-case letters"),
        ([IN], [OUT | {"kind": "MP4 file"}], r"to end with \.mp4"),
        ([], [OUT], "inputs and outputs in every interface"),
        ([IN], [], "inputs and outputs in every interface"),
        ([IN], [OUT | {"relative": 1}], "unexpected keyword argument 'relative'"),
        ([IN], [OUT | {"relative_path": 3}], "to be texts"),
    ],
)
def test_sockets_that_the_platform_could_not_have_are_refused(tmp_path, inputs, outputs, message):
    with pytest.raises(InputError, match=message) as error:
        load(tmp_path, interface(inputs, outputs))
    assert "sockets.json" in str(error.value)


def test_two_interfaces_of_the_same_inputs_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"got \['a-film'\] in two"):
        load(tmp_path, interface(), interface(outputs=[MASK]))


def test_a_slug_is_one_socket_in_all_interfaces(tmp_path):
    other = OUT | {"relative_path": "b.json"}
    with pytest.raises(InputError, match="a-number to be the same socket everywhere"):
        load(tmp_path, interface(), interface([IN, OUT | {"slug": "b"}], [other]))


def test_an_output_is_like_an_input_in_whichever_interface_has_it(tmp_path):
    mask = MASK | {"like": "a-film"}
    found = load(tmp_path, interface(outputs=[mask]), interface([AGE], [mask]))
    assert [i.outputs[0].like for i in found] == ["a-film", "a-film"]


def test_no_interface_is_refused(tmp_path):
    with pytest.raises(InputError, match="at least one interface"):
        load(tmp_path)


@pytest.fixture
def two(tmp_path):
    return load(tmp_path, interface(), interface([IN, AGE]))


def entry(*keys, slug):
    return {key: {"slug": slug, "title": "any"} for key in keys} | {"value": None}


@pytest.mark.parametrize("keys", [("interface",), ("interface", "socket"), ("socket",)])
def test_inputs_json_of_every_generation(tmp_path, two, keys):
    entries = [entry(*keys, slug="an-age"), entry(*keys, slug="a-film")]
    write_json(tmp_path / "input" / "inputs.json", entries)
    assert select_interface(two, tmp_path / "input") is two[1]
    write_json(tmp_path / "input" / "inputs.json", entries[1:])
    assert select_interface(two, tmp_path / "input") is two[0]


def test_without_inputs_json_the_paths_decide(tmp_path, two):
    (tmp_path / "input" / "images" / "films").mkdir(parents=True)
    assert select_interface(two, tmp_path / "input") is two[0]
    write_json(tmp_path / "input" / "patient" / "age.json", 70)
    assert select_interface(two, tmp_path / "input") is two[1]


def test_the_input_folder_may_be_a_symlink_and_its_files_too(tmp_path, two):
    real = tmp_path / "real" / str(uuid.uuid4())
    (real / "elsewhere").mkdir(parents=True)
    (real / "images").mkdir()
    (real / "images" / "films").symlink_to(real / "elsewhere", target_is_directory=True)
    (tmp_path / "input").symlink_to(real, target_is_directory=True)
    assert select_interface(two, tmp_path / "input") is two[0]


@pytest.mark.parametrize("text", ["{}", "[1]", '[{"socket": {}}]', '["a-film"]', "[", ""])
def test_a_broken_inputs_json_is_an_error(tmp_path, two, text):
    (tmp_path / "input").mkdir()
    (tmp_path / "input" / "inputs.json").write_text(text)
    with pytest.raises(InputError, match=r"inputs\.json"):
        select_interface(two, tmp_path / "input")


@pytest.mark.parametrize("path", sorted(ROOT.glob("algorithms/*/sockets.json")), ids=str)
def test_the_tasks_have_sockets_that_the_platform_could_have(path):
    interfaces = load_interfaces(path)
    assert all(s.kind in all_kinds() for i in interfaces for s in (*i.inputs, *i.outputs))
    assert json.loads(path.read_text())
