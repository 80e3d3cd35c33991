"""Checking exported archives: tiny hand-made ones, each with one defect."""

import gzip
import hashlib
import io
import json
import tarfile

import pytest

from medvial.archive import check_image, check_model, main
from medvial.errors import InputError

LAYERS = {"aa/layer.tar": b"x" * 700, "bb/layer.tar": b"y" * 30}


def write_tar(path, members):
    """A .tar.gz of (name, content) pairs, or ready TarInfo objects without content."""
    with tarfile.open(path, "w:gz") as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
                continue
            name, content = member
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def image_config(**changes):
    """An image configuration; `config` entries and top-level ones are told apart by case."""
    inner = {"User": "1000:1000", "Labels": {"org.grand-challenge.api-method": "invoke"}}
    outer = {"architecture": "amd64", "os": "linux"}
    for key, value in changes.items():
        (inner if key[0].isupper() else outer)[key] = value
    return json.dumps(outer | {"config": inner}).encode()


def write_image(path, config=None, *, form="{}.json", images=1, leave_out=(), name=None):
    config = image_config() if config is None else config
    name = name or form.format(hashlib.sha256(config).hexdigest())
    entry = {"Config": name, "RepoTags": ["medvial-x:latest"], "Layers": list(LAYERS)}
    members = {**LAYERS, name: config, "manifest.json": json.dumps([entry] * images).encode()}
    return write_tar(path, [(n, c) for n, c in members.items() if n not in leave_out])


def write_model(path, changes=(), prefix="./"):
    files = {"model.onnx": b"weights", "postprocess.json": b"{}"}
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    manifest = json.dumps({"task": "cldetection", "files": sums}).encode()
    files = {**files, "manifest.json": manifest, **dict(changes)}
    members = [(prefix + n, c) for n, c in files.items() if c is not None]
    folder = tarfile.TarInfo(prefix)
    folder.type = tarfile.DIRTYPE
    return write_tar(path, [folder, *members])


@pytest.mark.parametrize("form", ["{}.json", "blobs/sha256/{}"])
def test_a_good_image_of_old_and_new_engines(tmp_path, form):
    image = check_image(write_image(tmp_path / "x.tar.gz", form=form))
    assert image.tag == "medvial-x:latest"
    assert image.image_id == hashlib.sha256(image_config()).hexdigest()
    assert (image.user, image.api_method, image.layers) == ("1000:1000", "invoke", (700, 30))


def test_an_image_without_the_label_runs_by_exec(tmp_path):
    image = check_image(write_image(tmp_path / "x.tar.gz", image_config(Labels=None)))
    assert image.api_method == "exec"


@pytest.mark.parametrize("user", ["algorithm", "1000", "algorithm:users", "65534:0"])
def test_users_that_the_platform_takes(tmp_path, user):
    assert check_image(write_image(tmp_path / "x.tar.gz", image_config(User=user))).user == user


@pytest.mark.parametrize("user", ["", None, "root", "0", "root:1000", "0:0", "00", "a b"])
def test_users_that_the_platform_refuses(tmp_path, user):
    path = write_image(tmp_path / "x.tar.gz", image_config(User=user))
    with pytest.raises(InputError, match=r"Expected a user other than root.*Set USER"):
        check_image(path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images": 2}, r"Expected exactly one image in .*x\.tar\.gz, got 2.*docker save NAME:TAG"),
        ({"images": 0}, "Expected exactly one image in .*, got 0"),
        ({"leave_out": ["manifest.json"]}, "Expected what `docker save` writes"),
        ({"leave_out": ["bb/layer.tar"]}, r"Expected every layer .*bb/layer\.tar"),
        ({"name": "0" * 64 + ".json"}, "to have the sha256 of its name.*altered"),
        (
            {"name": "c.json", "leave_out": ["c.json"]},
            r"Expected the image's configuration c\.json",
        ),
        ({"config": image_config(architecture="arm64")}, "linux/amd64.*got linux/arm64"),
        (
            {"config": image_config(Labels={"org.grand-challenge.api-method": "http"})},
            "Expected the label .* to be one of .*exec.*got 'http'",
        ),
    ],
)
def test_a_defect_of_an_image_is_named(tmp_path, arguments, message):
    with pytest.raises(InputError, match=message):
        check_image(write_image(tmp_path / "x.tar.gz", **arguments))


@pytest.mark.parametrize(
    "manifest",
    [
        *(["x"], [None], "x", 3, {"Config": "c"}, [{}], [{"Config": "c"}], [{"Layers": []}]),
        [{"Config": 3, "Layers": []}],
        [{"Config": "c", "Layers": [3]}],
        [{"Config": "c", "Layers": [], "RepoTags": "x"}],
    ],
)
def test_a_manifest_of_another_form_is_refused(tmp_path, manifest):
    path = write_tar(tmp_path / "x.tar.gz", [("manifest.json", json.dumps(manifest).encode())])
    with pytest.raises(InputError, match="list of objects with Config and Layers, got"):
        check_image(path)


@pytest.mark.parametrize("config", [b"[]", b"3", b"null"])
def test_a_configuration_that_is_no_object_is_refused(tmp_path, config):
    with pytest.raises(InputError, match="Expected a JSON object in"):
        check_image(write_image(tmp_path / "x.tar.gz", config))


@pytest.mark.parametrize(
    "config", [image_config(Labels=["x"]), b'{"os": "linux", "architecture": "amd64", "config": 3}']
)
def test_settings_that_are_no_objects_are_refused(tmp_path, config):
    with pytest.raises(InputError, match="Expected config and its Labels"):
        check_image(write_image(tmp_path / "x.tar.gz", config))


@pytest.mark.parametrize("check", [check_image, check_model])
def test_an_incomplete_archive_is_refused(tmp_path, check):
    path = tmp_path / "x.tar.gz"
    for content in (b"", b"no gzip", gzip.compress(b"no tar" * 200)):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"Expected a complete \.tar\.gz at .*x\.tar\.gz"):
            check(path)
    with pytest.raises(InputError, match="Expected a complete"):
        check(tmp_path / "missing.tar.gz")


def test_a_damaged_end_is_found(tmp_path):
    path = write_image(tmp_path / "x.tar.gz")
    whole = path.read_bytes()
    for damaged in (whole[:-20], whole[:-8] + b"\0" * 8):  # cut off; a wrong checksum
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="Expected a complete"):
            check_image(path)


@pytest.mark.parametrize("prefix", ["", "./"])
def test_a_good_model(tmp_path, prefix):
    model = check_model(write_model(tmp_path / "model.tar.gz", prefix=prefix))
    assert model.task == "cldetection"
    assert model.files["model.onnx"] == len(b"weights")
    assert set(model.files) == {"model.onnx", "postprocess.json", "manifest.json"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prefix": "model/"}, r"Expected manifest\.json at the top.*tar -C model"),
        ({"changes": {"manifest.json": None}}, r"Expected manifest\.json at the top"),
        ({"changes": {"manifest.json": b"{"}}, r"Expected JSON in manifest\.json"),
        ({"changes": {"manifest.json": b"[1]"}}, r"Expected a JSON object in manifest\.json"),
        ({"changes": {"manifest.json": b'{"files": [1]}'}}, r"Expected files in manifest\.json"),
        ({"changes": {"model.onnx": None}}, r"missing: \['model\.onnx'\], not listed: none"),
        ({"changes": {"a.txt": b""}}, r"missing: none, not listed: \['a\.txt'\]"),
        ({"changes": {"model.onnx": b"WEIGHTS"}}, r"got others for \['model\.onnx'\].*step 4"),
        ({"changes": {"../x": b""}}, r"Expected paths inside the model folder.*\.\./x"),
        ({"changes": {"/etc/x": b""}, "prefix": ""}, "Expected paths inside the model folder"),
    ],
)
def test_a_defect_of_a_model_is_named(tmp_path, arguments, message):
    with pytest.raises(InputError, match=message):
        check_model(write_model(tmp_path / "model.tar.gz", **arguments))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_a_model_of_links_is_refused(tmp_path, kind):
    link = tarfile.TarInfo("model.onnx")
    link.type, link.linkname = kind, "elsewhere"
    with pytest.raises(InputError, match=r"Expected only files and folders.*model\.onnx"):
        check_model(write_tar(tmp_path / "model.tar.gz", [link]))


def test_a_file_twice_is_refused(tmp_path):
    path = write_tar(tmp_path / "model.tar.gz", [("a", b""), ("./a", b"")])
    with pytest.raises(InputError, match="Expected a once"):
        check_model(path)


def test_the_program_prints_what_is_there(tmp_path, capsys):
    image = write_image(tmp_path / "x.tar.gz")
    model = write_model(tmp_path / "model.tar.gz")
    assert main(["--image", str(image), "--model", str(model)]) == 0
    text = capsys.readouterr().out
    assert hashlib.sha256(image.read_bytes()).hexdigest() in text
    assert "a model of cldetection: manifest.json" in text


def test_the_program_fails_with_one_line(tmp_path, capsys):
    image = write_image(tmp_path / "x.tar.gz", images=2)
    assert main(["--image", str(image)]) == 1
    captured = capsys.readouterr()
    assert not captured.out
    assert len(captured.err.splitlines()) == 1
